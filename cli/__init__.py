"""The command line: each command one call into the library."""

from .app import main

__all__ = ["main"]
