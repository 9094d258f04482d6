"""Extractors that fail on another machine, in a module that its workers can import."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from fercleaner.core.errors import StoreError
from fercleaner.encoders.hog import Hog


@dataclass(frozen=True)
class Mortal(Hog):
    """HOG whose process is killed once for each file in a folder of lives."""

    lives: str = ""

    def compute(self, batch):
        if _spent(self.lives):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().compute(batch)


@dataclass(frozen=True)
class Full(Hog):
    """HOG at which the disk is full once for each file in a folder of lives."""

    lives: str = ""

    def compute(self, batch):
        if _spent(self.lives):
            raise StoreError("/to: the feature cache cannot be written to: no space left on the disk.")
        return super().compute(batch)


def _spent(folder: str) -> bool:
    """Take one file away; two workers never take the same."""
    for path in sorted(Path(folder).glob("*")):
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        return True
    return False
