"""One fault at one step of a command: the steps are counted in a first run, and each fails in a run of its own.

A step is a file opened, written to, flushed to disk, renamed, removed, a folder made or listed (below one folder), a
picture decoded, a batch given to an encoder (which runs on the device), or a wait for a worker process. Faults: an
error of the system (ENOSPC, EIO, EMFILE), MemoryError, an error of the device as torch raises it, a signal (SIGKILL,
SIGTERM), a worker killed, or "torn": half of a write is on disk, then the process is gone.

A step's place is where in our code it was asked for. Of the steps of one place that write, the first and the last fail,
of those that read, the first; the others are like them.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Steps as Python's audit events name them, and ours.
EVENTS = {
    "open": "open",
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "mkdir",
    "os.rmdir": "remove",
    "os.listdir": "list",
    "os.scandir": "list",
    "os.link": "link",
    "os.symlink": "link",
}
#: Faults that make sense at each step.
SYSTEM = ("ENOSPC", "EIO")
FAULTS: dict[str, tuple[str, ...]] = {
    "open": ("EMFILE", "EIO", "SIGKILL"),
    "write": (*SYSTEM, "MemoryError", "torn", "SIGTERM"),
    "fsync": ("EIO", "SIGKILL"),
    "rename": ("EIO", "SIGKILL"),
    "remove": ("EIO", "SIGKILL"),
    "mkdir": (*SYSTEM, "SIGKILL"),
    "list": ("EIO", "EMFILE"),
    "link": ("EIO", "SIGKILL"),
    "decode": ("MemoryError", "SIGKILL"),
    "encode": ("MemoryError", "device", "SIGKILL"),
    "worker": ("worker killed", "SIGKILL", "SIGTERM"),
}
#: Steps that write, of which the first and the last of a place fail; of those that read, the first.
WRITES = ("write", "fsync", "rename", "remove", "mkdir", "link", "worker")
#: Innermost functions of ours that make a place; two, since one helper writes all files.
FRAMES = 2
#: Name of a thread that stands for another machine: its steps are not the command's.
ELSEWHERE = "elsewhere"
#: Seconds after which a child that neither ends nor works is killed and counted as hanging.
HANGS = 120
#: Exit status of a child whose error was not ours, of one that was killed by its own fault "torn", of one that hung.
FOREIGN, TORN, HANGING = 99, 98, 97


@dataclass
class Injector:
    """Counts the steps below `folder`, and lets step number `at` (from 0) fail with `fault`."""

    folder: Path
    at: int = -1
    fault: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)
    workers: list[Any] = field(default_factory=list)

    def step(self, kind: str, tear: Callable[[], None] = lambda: None) -> None:
        """Count a step, and fail where it is the one."""
        if threading.current_thread().name == ELSEWHERE:
            return
        number = len(self.steps)
        self.steps.append((kind, _place() if self.at < 0 else ""))
        if number != self.at:
            return
        if self.fault == "MemoryError":
            raise MemoryError
        if self.fault == "device":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if self.fault == "worker killed":
            for process in self.workers:
                process.kill()
            return
        if self.fault == "torn":
            tear()
            os._exit(TORN)
        if self.fault.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, self.fault))
            signal.pause()
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number))

    def install(self) -> None:
        """Watch this process from now on; there is no way back, so this is for a child."""
        sys.addaudithook(self._audit)
        self._watch_opening()
        real = os.fsync

        def fsync(descriptor: int) -> None:
            self.step("fsync")
            real(descriptor)

        os.fsync = fsync
        from fercleaner.encoders.hog import Hog
        from fercleaner.extraction import images

        self._before(images, "decode", "decode")
        self._before(Hog, "compute", "encode")
        self._watch_workers()

    def _watch_workers(self) -> None:
        from fercleaner.extraction import workers

        real, injector = workers.Workers.take, self

        def take(pool: Any) -> Any:
            held = getattr(pool, "_pool", None)
            if held is not None:
                injector.workers = list(held._processes.values())
                injector.step("worker")
            return real(pool)

        workers.Workers.take = take  # type: ignore[method-assign]

    def _before(self, owner: Any, name: str, kind: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.step(kind)
            return real(*args, **kwargs)

        setattr(owner, name, watched)

    def _below(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        return Path(os.path.abspath(os.fsdecode(path))).is_relative_to(self.folder)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event in EVENTS and self._below(args[0]):
            self.step(EVENTS[event])

    def _watch_opening(self) -> None:
        real, step, below = io.open, self.step, self._below

        class Watched(io.BufferedWriter):
            def write(self, data: Any) -> int:
                step("write", lambda: (super(Watched, self).write(memoryview(data)[: len(data) // 2]), self.flush()))  # type: ignore[func-returns-value]
                return super().write(data)

        class Unbuffered(io.FileIO):
            def write(self, data: Any) -> int:
                step("write", lambda: super(Unbuffered, self).write(memoryview(data)[: len(data) // 2]))  # type: ignore[arg-type, return-value]
                return super().write(data)

        def opened(file: Any, mode: str = "r", buffering: int = -1, *args: Any, **kwargs: Any) -> Any:
            ours = isinstance(file, int) and "w" in mode
            if not ours and not (below(file) and set(mode) & set("wax")):
                return real(file, mode, buffering, *args, **kwargs)
            plain = mode.replace("b", "").replace("t", "")
            closing = kwargs.get("closefd", True)
            if buffering == 0:
                return Unbuffered(file, plain, closing)
            writer = Watched(io.FileIO(file, plain, closing))
            if "b" in mode:
                return writer
            text = dict(zip(("encoding", "errors", "newline"), args, strict=False)) | kwargs
            return io.TextIOWrapper(
                writer, **{key: text[key] for key in ("encoding", "errors", "newline") if key in text}
            )

        builtins.open = io.open = opened  # type: ignore[assignment]


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its status (negative: a signal), its steps as (kind, place), what it said and imported."""

    status: int
    steps: tuple[tuple[str, str], ...]
    said: str
    modules: tuple[str, ...] = ()


def in_child(injector: Injector, work: Callable[[], int], scratch: Path) -> Outcome:
    """Run `work` in a fork of this process under an injector, stdout and stderr to a file in `scratch`."""
    said, counted, imported = (scratch / name for name in ("said.txt", "steps.txt", "modules.txt"))
    for path in (said, counted, imported):
        path.write_text("")
    child = os.fork()
    if child == 0:
        descriptor = os.open(said, os.O_WRONLY)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        status = FOREIGN
        try:
            injector.install()
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            if injector.at < 0:
                counted.write_text("\n".join("\t".join(step) for step in injector.steps))
                imported.write_text("\n".join(name for name in sys.modules if name.isprintable()))
            os._exit(status)
    waited = _wait(child)
    lines = counted.read_text().splitlines() if injector.at < 0 else []
    steps = tuple((kind, place) for kind, _, place in (line.partition("\t") for line in lines))
    status = HANGING if waited is None else os.waitstatus_to_exitcode(waited)
    return Outcome(status, steps, said.read_text(errors="replace"), tuple(imported.read_text().split()))


def _wait(child: int) -> int | None:
    """Return how a child ended, None where it had to be killed since it did not."""
    end, pause = time.monotonic() + HANGS, 0.002
    while time.monotonic() < end:
        done, waited = os.waitpid(child, os.WNOHANG)
        if done:
            return waited
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _place() -> str:
    """Return the innermost functions of ours that are running, "file:line" each."""
    found: list[str] = []
    frame = sys._getframe(2)
    while frame is not None and len(found) < FRAMES:
        name = frame.f_code.co_filename
        if "/fercleaner/" in name or "/cli/" in name:
            found.append(f"{name.rpartition('/')[2]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return " < ".join(found)


def _two(faults: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Return one of the errors of a step that reads, in turn, and the last of its faults."""
    return (*faults[number % 2 : number % 2 + 1], *faults[2:]) if len(faults) > 1 else faults


def faults_of(steps: tuple[tuple[str, str], ...], *, ends: bool) -> Iterator[tuple[int, str, str]]:
    """Yield (step number, "kind at place", fault) of each fault to try; without `ends` one step of a place."""
    alike: dict[tuple[str, str], list[int]] = {}
    for number, step in enumerate(steps):
        alike.setdefault(step, []).append(number)
    for (kind, place), numbers in alike.items():
        chosen = sorted({numbers[0], numbers[-1]}) if kind in WRITES and ends else numbers[:1]
        for number in chosen:
            for fault in FAULTS.get(kind, ()) if kind in WRITES else _two(FAULTS.get(kind, ()), number):
                yield number, f"{kind} at {place}", fault
