"""Which device the user means, for torch and FAISS alike: "auto", "cpu", "cuda" or "cuda:NUMBER"."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from .errors import InputError

#: Where Linux shows a GPU: NVIDIA's, AMD's, and Windows' own in WSL.
GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def choose_device(device: str, count_gpus: Callable[[], int], who: str) -> str:
    """Return "cpu", "cuda" or "cuda:NUMBER"; "auto" is the first GPU where `who` sees one, else the CPU.

    Raises
    ------
    InputError
        Another word ("mps", say: FAISS has no such device, and no figure was measured on one), or a GPU that `who`
        does not see.
    """
    name, colon, number = device.partition(":")
    if device not in ("auto", "cpu", "cuda") and not (name == "cuda" and colon and number.isdecimal()):
        raise InputError(f"device '{device}' is not known; choose auto, cuda, cuda:NUMBER or cpu.")
    if device == "cpu":
        return device
    gpus = count_gpus()
    if device == "auto":
        return "cuda" if gpus else "cpu"
    if gpus == 0:
        raise InputError(f"--device {device}: {who} sees no GPU here. Use --device auto or cpu.")
    if number and int(number) >= gpus:
        raise InputError(f"--device {device}: {who} sees {gpus} GPU here, numbered from 0. Use --device cuda:0.")
    return device


def torch_device(device: str) -> str:
    """Return the torch device for `device`, as in `choose_device`."""
    return choose_device(device, torch_gpus, "torch")


def torch_gpus() -> int:
    """Return how many GPUs torch sees; torch is not loaded for it where there is no driver."""
    if "torch" not in sys.modules and not has_gpu_driver():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@cache
def has_gpu_driver() -> bool:
    """Return whether anything here drives a GPU; without it neither torch nor FAISS sees one."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return any(map(os.path.exists, GPU_FILES))
    return True


@contextmanager
def full_precision() -> Iterator[None]:
    """Have torch compute float32 as float32 in here: a GPU otherwise rounds to 10 bits (TF32) in convolutions."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
