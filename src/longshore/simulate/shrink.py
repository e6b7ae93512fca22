"""From a world that breaks to a short one that breaks in the same way.

A script is a list of lines, so lines are taken away, in halves first and at last one by one, for as long as what is
left still breaks a sentence of the same kind; then calms and machines. Knows nothing of what the lines mean. The same
world gives the same short one each time.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from longshore.simulate.chance import Line, Storm, script
from longshore.simulate.run import Outcome, run_world
from longshore.simulate.wishing import NAMES

T = TypeVar("T")
WORLDS_MAX = 600
"""Played for one shrinking. What is shortest then is good enough."""
_PARTICULAR = re.compile(rf"\b(?:{'|'.join(NAMES)})\b(?:\.\d+)*|\S*\d\S*")


class Script(msgspec.Struct, frozen=True):
    """All that a world is made from, as a file keeps it."""

    seed: int
    """Of the chance that is not in the lines."""
    nodes: int
    storms: tuple[Storm, ...]

    @property
    def lines(self) -> int:
        return sum(len(storm.lines) for storm in self.storms)


def kind(sentence: str) -> str:
    """A broken sentence without what is particular to its world: names and numbers."""
    return _PARTICULAR.sub("*", sentence)


def drawn(seed: int, nodes: int, steps: int) -> Script:
    """The script that a seed draws."""
    return Script(seed, nodes, script(seed, nodes, steps))


def play(one: Script, *, file: str = "", hasty: bool = False) -> Outcome:
    """Play a script; `file` is where it can be found again."""
    return run_world(one.seed, nodes=one.nodes, steps=one.lines, storms=one.storms, hasty=hasty, file=file)


def shrink(whole: Script, told: Callable[[str], None]) -> Script | None:
    """A short script that still breaks in the same way; None if `whole` does not break. `told` hears of each step."""
    first = play(whole, hasty=True)
    if not first.broken:
        return None
    return _Shrinking(whole, kind(first.broken[0]), told).run()


class _Shrinking:
    """One of them."""

    def __init__(self, whole: Script, wanted: str, told: Callable[[str], None]) -> None:
        self._best = whole
        self._wanted = wanted
        self._told = told
        self._played = 0

    def run(self) -> Script:
        self._told(f"{self._best.lines} lines break: {self._wanted}")
        before = -1
        while before != self._best.lines:  # what one pass leaves may make more of the others needless
            before = self._best.lines
            self._drop_storms()
            reduced(self._flat(), lambda lines: self._breaks(self._with(lines)))
        self._calm_down()
        return self._best

    def _drop_storms(self) -> None:
        reduced(self._best.storms, lambda storms: self._breaks(replace(self._best, storms=tuple(storms))))

    def _calm_down(self) -> None:
        """Calms without dead machines and slow stores, where it makes no difference; fewer nodes."""
        for place in range(len(self._best.storms)):
            for change in ({"dead": 0}, {"slow": False}):
                storms = list(self._best.storms)
                storms[place] = replace(storms[place], **change)
                if storms[place] != self._best.storms[place]:
                    self._breaks(replace(self._best, storms=tuple(storms)))
        for nodes in range(1, self._best.nodes):
            if self._breaks(replace(self._best, nodes=nodes)):
                return

    def _flat(self) -> list[tuple[int, Line]]:
        return [(place, line) for place, storm in enumerate(self._best.storms) for line in storm.lines]

    def _with(self, lines: Sequence[tuple[int, Line]]) -> Script:
        storms = [
            replace(storm, lines=tuple(line for at, line in lines if at == place))
            for place, storm in enumerate(self._best.storms)
        ]
        return replace(self._best, storms=tuple(storms))

    def _breaks(self, tried: Script) -> bool:
        """Whether it breaks in the same way; then it is the best so far."""
        if self._played >= WORLDS_MAX or not tried.lines:
            return False
        self._played += 1
        if all(kind(sentence) != self._wanted for sentence in play(tried, hasty=True).broken):
            return False
        self._best = tried
        self._told(f"{tried.lines} lines on {tried.nodes} nodes are enough, after {self._played} worlds")
        return True


def reduced(items: Sequence[T], enough: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """A part of `items` that is still enough, from which nothing can be taken away in one piece of any tried size."""
    pieces = 2
    while len(items) > 1:
        smaller = next((rest for rest in _without_a_piece(items, pieces) if enough(rest)), None)
        if smaller is not None:
            items, pieces = smaller, max(pieces - 1, 2)
        elif pieces >= len(items):
            break
        else:
            pieces = min(2 * pieces, len(items))
    return items


def _without_a_piece(items: Sequence[T], pieces: int) -> Iterator[Sequence[T]]:
    """The last piece first: what happened late is needed least often."""
    bounds = [len(items) * place // pieces for place in range(pieces + 1)]
    for first, end in reversed(list(pairwise(bounds))):
        yield [*items[:first], *items[end:]]
