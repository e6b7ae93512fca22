"""The figures as a table for people and as a file for programs."""

from pathlib import Path

import msgspec

from bench.conditions import Conditions
from bench.figure import Figure, short

HEADS = ("figure", "value", "spread", "target", "ratio", "against, notes")
_MET = {True: "met", False: "MISSED", None: ""}
_UNSURE = "?"
"""Behind a verdict that not every pair shares."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run."""

    conditions: Conditions
    figures: list[Figure]
    troubles: dict[str, str]
    """Families that were not measured, and why."""


def table(report: Report) -> str:
    """The whole run in one table, with its conditions under it."""
    rows = [HEADS, *(_row(figure) for figure in report.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in [*widths, len(HEADS[-1])]))
    for family, why in report.troubles.items():
        lines.append(f"{family}: not measured: {why}")
    return "\n".join([*(line.rstrip() for line in lines), "", _verdict(report.figures), *report.conditions.lines()])


def write(report: Report, path: Path) -> None:
    """As JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def _verdict(figures: list[Figure]) -> str:
    aimed = [figure for figure in figures if figure.met is not None]
    missed = [f"{figure.family}: {figure.name}" for figure in aimed if not figure.met]
    count = f"{len(aimed) - len(missed)} of {len(aimed)} targets met"
    return f"{count}; missed: {', '.join(missed)}" if missed else count


def _row(figure: Figure) -> tuple[str, ...]:
    spread = ""
    if figure.samples > 1 and figure.low is not None and figure.high is not None:
        spread = f"{short(figure.low)}-{short(figure.high)}, n={figure.samples}"
    target = ""
    if figure.target is not None and figure.met is not None:
        what = "ratio " if figure.ratio is not None else ""
        bound = ">=" if figure.at_least else "<="
        target = f"{what}{bound} {short(figure.target)} {_MET[figure.met]}{'' if figure.sure else _UNSURE}"
    ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else ""
    notes = "; ".join(one for one in (figure.against, figure.note) if one)
    value = f"{short(figure.value)} {figure.unit}" if figure.value is not None else "not yet"
    return (f"{figure.family}: {figure.name}", value, spread, target, ratio, notes)
