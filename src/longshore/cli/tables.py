"""Lists of things, as a person reads them: rich tables on a terminal, aligned columns everywhere else, JSON if asked.

Knows how cells become text. Must not know what they are about. Rich is imported for a terminal only: it takes as long
as everything else of a short command together, and a script has no use for it.
"""

import os
import sys
from collections.abc import Sequence
from typing import TypeVar

import click
import msgspec

from longshore.cli.units import plain

T = TypeVar("T")

GOOD, DOUBTFUL, BAD, FAINT = "green", "yellow", "red", "bright_black"


class Cell(msgspec.Struct, frozen=True):
    """A text with a colour, and where it leads on terminals that can follow links."""

    text: str
    colour: str = ""
    link: str = ""


_SENTENCE_MIN = 30

Row = Sequence[str | Cell]


def on_terminal() -> bool:
    """Whether somebody looks at standard output, on a terminal that can do more than a typewriter."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def coloured() -> bool:
    return on_terminal() and not os.environ.get("NO_COLOR")


def show(headings: Sequence[str], rows: Sequence[Row]) -> None:
    """Print a table. Columns that are empty in every row are left out."""
    cells = [[_cell(one) for one in row] for row in rows]
    kept = [at for at in range(len(headings)) if not cells or any(row[at].text for row in cells)]
    headings = [headings[at] for at in kept]
    cells = [[row[at] for at in kept] for row in cells]
    if on_terminal():
        _show_rich(headings, cells)
    else:
        click.echo("\n".join(aligned(headings, [[cell.text for cell in row] for row in cells])))


def show_json(value: object) -> None:
    """Print one value as JSON that is also for eyes."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def show_json_line(value: object) -> None:
    """Print one value of a stream on one line."""
    click.echo(msgspec.json.encode(value))


def note(text: str) -> None:
    """Say something that is not the answer, so that it never gets into a pipe."""
    click.echo(text, err=True)


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns under each other, two spaces apart, nothing at their ends."""
    lines = [list(headings), *([one or "-" for one in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(headings))]
    return ["  ".join(one.ljust(width) for one, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _cell(one: str | Cell) -> Cell:
    cell = one if isinstance(one, Cell) else Cell(one)
    return msgspec.structs.replace(cell, text=plain(cell.text))


def _show_rich(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    widths = [max(map(len, [heading, *(row[at].text or "-" for row in rows)])) for at, heading in enumerate(headings)]
    for heading, width in zip(headings[:-1], widths, strict=False):
        table.add_column(heading, no_wrap=True, min_width=width)
    # The last column is the one with sentences in it: it alone is broken where the window ends.
    table.add_column(headings[-1], overflow="fold")
    for row in rows:
        texts = []
        for cell in row:
            # Never markup: brackets in a message are the message's own.
            text = Text(cell.text or "-", style=cell.colour)
            if cell.link:
                text.stylize(f"link {cell.link}")
            texts.append(text)
        table.add_row(*texts)
    console = Console()
    # In a window too narrow for the rest, lines that the terminal breaks are better than names cut short.
    least = sum(widths[:-1]) + 2 * len(widths) + min(widths[-1], _SENTENCE_MIN)
    (Console(width=least) if least > console.width else console).print(table, crop=False)
