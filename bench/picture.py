"""Lines over a logarithmic axis, as an SVG of few words: what a task costs as nodes and tasks grow.

Knows figures of the family `curve` and how to draw; nothing is measured here. Plain text and no library, so that the
picture in the repository can be made again by anybody and its changes can be read.
"""

import math
import re
from collections.abc import Sequence

import msgspec

from bench.figure import Figure, short

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 40, 50, 60
COLOURS = ("#1f6feb", "#d1495b", "#2a9d5c")
_SVG = "http://www.w3.org/2000/svg"
_NAME = re.compile(r"(?P<x>[0-9]+) (?P<grows>nodes|tasks), (?P<rest>.+)")

Point = tuple[float, float]


class Line(msgspec.Struct, frozen=True):
    """One line of the picture."""

    label: str
    points: tuple[Point, ...]


def lines_of(figures: Sequence[Figure], family: str) -> list[Line]:
    """A line for each thing that grows, of those figures of a family that are named for it."""
    found: dict[str, list[Point]] = {}
    for figure in figures:
        named = _NAME.fullmatch(figure.name)
        if figure.family == family and figure.value is not None and named is not None:
            label = f"{named['grows']} grow, {named['rest']}"
            found.setdefault(label, []).append((float(named["x"]), figure.value))
    return [Line(label, tuple(sorted(points))) for label, points in found.items()]


def drawn(title: str, unit: str, lines: Sequence[Line]) -> str:
    """The picture. Up from zero, so that a flat line looks flat and a slope is not made steeper than it is."""
    every = [point for line in lines for point in line.points]
    low, high = min(x for x, _ in every), max(x for x, _ in every)
    top = _round_up(max(y for _, y in every))

    def place(point: Point) -> Point:
        x, y = point
        share = math.log(x / low) / math.log(high / low) if high > low else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="{_SVG}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{title}</text>',
    ]
    for step in range(5):
        value = top * step / 4
        _, y = place((low, value))
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{short(value)} {unit}</text>')
    for x in sorted({x for x, _ in every}):
        at, _ = place((x, 0))
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,.0f}</text>')
    for number, line in enumerate(lines):
        parts += _line(number, line, [place(point) for point in line.points])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(number: int, line: Line, places: Sequence[Point]) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    at = LEFT + 320 * number
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places),
        f'<rect x="{at}" y="{HEIGHT - 22}" width="14" height="4" fill="{colour}"/>',
        f'<text x="{at + 20}" y="{HEIGHT - 16}">{line.label}</text>',
    ]


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 8 times a power of ten."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next((step * power for step in (1.0, 2.0, 4.0, 8.0) if value <= step * power), 10.0 * power)
