"""What a family of figures is given: where to write, which engine to use, and a way to say how far it is."""

import sys
import time
from pathlib import Path

import msgspec


class Run(msgspec.Struct, frozen=True):
    """One run of the benchmarks."""

    folder: Path
    """For this family alone; on the repository's disk."""
    engine: str
    """URL; empty if there is none."""
    full: bool = False
    """Whether it may take as long as the published sizes take."""

    def say(self, words: str) -> None:
        """Progress, for whoever waits."""
        print(f"  {words}", file=sys.stderr, flush=True)


class Budget:
    """Repeats a measurement at most so often, and seldom enough to be done in time, but never less than a minimum."""

    def __init__(self, seconds: float, least: int, most: int) -> None:
        self._seconds = seconds
        self._least = least
        self._most = most
        self._done = 0
        self._began = time.monotonic()

    def __iter__(self) -> "Budget":
        return self

    def __next__(self) -> int:
        spent = time.monotonic() - self._began
        each = spent / self._done if self._done else 0.0
        if self._done >= self._most or (self._done >= self._least and spent + each > self._seconds):
            raise StopIteration
        self._done += 1
        return self._done
