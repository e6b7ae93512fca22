"""The fewest and cheapest of some things that together give what is lacking: the arithmetic of displacement.

Exact: as few as can be; of those the ones with the lowest priorities, the highest of them compared first; then those
that hold least cpu, then least memory. Things that give and cost the same are one group, so that the search is over how
many of each. Knows numbers alone. Where there are very many ways it stops after `STEPS_MAX` steps with the best that it
has found by then, or with all but those that can be spared.
"""

from collections.abc import Sequence
from itertools import accumulate

import msgspec

STEPS_MAX = 20_000
WAYS_MAX = 256
"""Of ways that are equally good, so many are told apart by what only the asker knows."""

Numbers = tuple[int, ...]
Price = tuple[int, Numbers, int, int]
"""How many, their priorities from the highest on, their cpu and their memory."""


class Group(msgspec.Struct, frozen=True):
    """Things that are alike."""

    priority: int
    gives: Numbers
    """Of each thing that is lacking."""
    cpu_millis: int
    memory: int
    count: int


class Limit(msgspec.Struct, frozen=True):
    """How many may be taken of some groups in all."""

    places: Numbers
    """Of the groups, rising."""
    most: int


class Ways(msgspec.Struct, frozen=True):
    """The best there is."""

    price: Price
    ways: tuple[Numbers, ...]
    """How many of each group; several if they cost the same."""


def fewest(groups: Sequence[Group], lacks: Numbers, limits: Sequence[Limit] = ()) -> Ways | None:
    """The best ways to make up for what lacks; None if there is none. `groups` have their priorities falling; none is
    in two `limits`."""
    if all(lack <= 0 for lack in lacks):
        return Ways((0, (), 0, 0), ((0,) * len(groups),))
    tops = _tops(groups, len(lacks))
    most = sum(group.count for group in groups)
    at_least = max(
        next((number for number, sum in enumerate(top) if sum >= lack), most + 1)
        for top, lack in zip(tops[0], lacks, strict=True)
    )
    steps = 0
    for number in range(at_least, most + 1):
        search = _Search(groups, tops, limits, steps)
        search.look(0, number, lacks, (), 0, 0, ())
        if search.best is not None:
            return Ways((number, *search.best), tuple(search.ways))
        steps = search.steps
        if steps > STEPS_MAX:
            return _spared(groups, lacks, limits)
    return None


def _spared(groups: Sequence[Group], lacks: Numbers, limits: Sequence[Limit]) -> Ways | None:
    """All of them, or as many as may be of the last ones, less those that can be spared, the dearest first."""
    way = [group.count for group in groups]
    for limit in limits:
        left = limit.most
        for place in reversed(limit.places):
            way[place] = min(way[place], left)
            left -= way[place]
    over = [
        sum(n * one.gives[sort] for n, one in zip(way, groups, strict=True)) - lack for sort, lack in enumerate(lacks)
    ]
    if min(over) < 0:
        return None
    for place, group in enumerate(groups):
        while way[place] and all(more >= give for more, give in zip(over, group.gives, strict=True)):
            way[place] -= 1
            over = [more - give for more, give in zip(over, group.gives, strict=True)]
    priorities = tuple(group.priority for n, group in zip(way, groups, strict=True) for _ in range(n))
    cpu_millis = sum(n * group.cpu_millis for n, group in zip(way, groups, strict=True))
    memory = sum(n * group.memory for n, group in zip(way, groups, strict=True))
    return Ways((sum(way), priorities, cpu_millis, memory), (tuple(way),))


def _tops(groups: Sequence[Group], sorts: int) -> list[list[list[int]]]:
    """For each group, what the best of it and those after it give at most: of each sort, by how many they are."""
    return [
        [
            [
                0,
                *accumulate(
                    sorted((one.gives[sort] for one in groups[first:] for _ in range(one.count)), reverse=True)
                ),
            ]
            for sort in range(sorts)
        ]
        for first in range(len(groups) + 1)
    ]


class _Search:
    """Of ways with one number of things."""

    def __init__(
        self, groups: Sequence[Group], tops: list[list[list[int]]], limits: Sequence[Limit], steps: int
    ) -> None:
        self._groups = groups
        self._tops = tops
        self._limit_of = {place: limit for limit in limits for place in limit.places}
        self.steps = steps
        self.best: tuple[Numbers, int, int] | None = None
        self.ways: list[Numbers] = []

    def look(
        self, first: int, left: int, lacks: Numbers, priorities: Numbers, cpu: int, memory: int, way: Numbers
    ) -> None:
        """Take `left` more from the groups from `first` on, few of the first ones first: they are the dear ones."""
        self.steps += 1
        if self.steps > STEPS_MAX:
            return
        tops = self._tops[first]
        if left >= len(tops[0]) or any(top[left] < lack for top, lack in zip(tops, lacks, strict=True)):
            return
        if self.best is not None and priorities > self.best[0][: len(priorities)]:
            return
        if not left:
            self._found((priorities, cpu, memory), way + (0,) * (len(self._groups) - first))
            return
        one = self._groups[first]
        most = min(left, one.count)
        if first in self._limit_of:
            limit = self._limit_of[first]
            most = min(most, limit.most - sum(way[place] for place in limit.places if place < first))
        for count in range(most + 1):
            self.look(
                first + 1,
                left - count,
                tuple(lack - count * give for lack, give in zip(lacks, one.gives, strict=True)),
                priorities + (one.priority,) * count,
                cpu + count * one.cpu_millis,
                memory + count * one.memory,
                (*way, count),
            )

    def _found(self, price: tuple[Numbers, int, int], way: Numbers) -> None:
        if self.best is None or price < self.best:
            self.best, self.ways = price, [way]
        elif price == self.best and len(self.ways) < WAYS_MAX:
            self.ways.append(way)
