"""Figures per commit, one line a run, in a file that is kept with the code: what became faster, what slower, and when.

    python -m bench.history [WORDS…]     each figure that has all these words in its name, commit after commit

A run is added with `python -m bench --keep`. Values alone, with the load that they were measured under: a figure of a
busy machine stands beside that of a quiet one, and only the reader can tell what that means.
"""

import subprocess
import sys
from pathlib import Path

import msgspec

from bench.figure import short
from bench.report import Report

FILE = Path(__file__).with_name("history.jsonl")
ROOT = FILE.parent.parent


class Kept(msgspec.Struct, frozen=True):
    """One run."""

    commit: str
    """Its first letters; with a `+` if files were changed since."""
    at: str
    processor: str
    cores: int
    busy_before: float
    figures: dict[str, float]
    """`family: name (unit)` to the median."""


def kept(report: Report, commit: str) -> Kept:
    """What is kept of a run."""
    seen = report.conditions
    return Kept(
        commit=commit,
        at=seen.at,
        processor=seen.processor,
        cores=seen.cores,
        busy_before=round(seen.busy_before, 2),
        figures={
            f"{one.family}: {one.name} ({one.unit})": float(f"{one.value:.4g}")
            for one in report.figures
            if one.value is not None
        },
    )


def add(report: Report, file: Path = FILE) -> None:
    """Write a run behind the others."""
    with file.open("ab") as lines:
        lines.write(msgspec.json.encode(kept(report, _commit())) + b"\n")


def read(file: Path = FILE) -> list[Kept]:
    """All runs, the oldest first."""
    if not file.exists():
        return []
    return [msgspec.json.decode(line, type=Kept) for line in file.read_bytes().splitlines()]


def told(runs: list[Kept], words: list[str]) -> list[str]:
    """A line for each figure that has all the words in its name: its values, in order of time."""
    names = {name: None for run in runs for name in run.figures if all(word in name for word in words)}
    lines = []
    for name in names:
        values = [f"{run.commit} {short(run.figures[name])}" for run in runs if name in run.figures]
        lines.append(f"{name}: {', '.join(values)}")
    return lines


def _commit() -> str:
    words = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=8", "--dirty=+", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    runs = read()
    if not runs:
        print(f"{FILE} is not there yet: python -m bench --keep")
    for run in runs:
        print(f"{run.commit}  {run.at}  {run.cores} cores ({run.processor}), {run.busy_before:.0%} busy before")
    print("\n".join(told(runs, sys.argv[1:])))


if __name__ == "__main__":
    main()
