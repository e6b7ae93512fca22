"""What each node is to tasks of one class while a pass goes on: kept, and repaired where something was taken.

Classes take turns, since the oldest task goes first. In between, the tasks of others change what the nodes are to this
one, but only those that they went to. Where a policy knows that a task more never makes a node better, and by how much
it makes it worse at least, a score from before is a bound: it is lowered by that much, and the node is looked at again
only when it comes first. When that happens often, all that changed is looked at in one sum. Other policies look at
everything that changed when the class has its turn. Either way the outcome is that of scoring all nodes for each task.

Knows no tasks: it finds the best row, and is told through `Taken` which rows were given one.
"""

import math
from collections.abc import Sequence

import numpy as np

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.filters import Sieve, reaches_others, sieve, still_fits
from longshore.decide.placement.scoring.scores import Policy, columns, columns_of, numbers
from longshore.decide.placement.table import Counts, Mask, NodeTable, Vector

LOOKS = 2
"""So many nodes are looked at alone before all that changed are looked at together."""
FEW = 4
"""Up to so many rows are scored faster one by one than in columns."""

_CLOSED = -math.inf
"""The score of a node without room."""


class Taken:
    """The rows that were given tasks in a pass, in order."""

    def __init__(self, nodes: int) -> None:
        self.count = 0
        self.rows: Counts = np.zeros(256, np.int64)
        self.falls: Vector = np.zeros(256, np.float64)
        """By how much each of these tasks lowered the score of its node at least, for every class."""
        self.times: Counts = np.zeros(nodes, np.int64)
        """How many tasks each row was given."""
        self.fell = False
        """Whether any score is known to have been lowered."""

    def add(self, row: int, fall: float) -> None:
        """One more."""
        if self.count == len(self.rows):
            self._grow(1)
        self.rows[self.count] = row
        self.falls[self.count] = fall
        self.fell = self.fell or fall > 0
        self.times[row] += 1
        self.count += 1

    def add_all(self, rows: Counts) -> None:
        """Many more, of which nobody says by how much they lowered what."""
        if self.count + len(rows) > len(self.rows):
            self._grow(len(rows))
        self.rows[self.count : self.count + len(rows)] = rows
        self.falls[self.count : self.count + len(rows)] = 0.0
        self.times += np.bincount(rows, minlength=len(self.times))
        self.count += len(rows)

    def _grow(self, more: int) -> None:
        size = max(2 * len(self.rows), self.count + more)
        self.rows, self.falls = np.resize(self.rows, size), np.resize(self.falls, size)


class Ranking:
    """The nodes as one class sees them."""

    def __init__(self, table: NodeTable, ask: Ask, policy: Policy, taken: Taken) -> None:
        self._table = table
        self._ask = ask
        self._policy = policy
        self._taken = taken
        self._reaches = reaches_others(table, ask)
        self._left: Sieve | None = sieve(table, ask)
        """What the filters left when all were asked; None again once the bounds have it in them, as many classes may
        be kept."""
        self._left_at = taken.count
        """How much had been taken when all filters were asked."""
        self._left_times = taken.times.copy()
        """How many tasks each row had been given by then."""
        self._open: Mask = self.left().room > 0
        """False where there is no room; true where there was some when that was last looked at."""
        self._bounds: Vector | None = None
        """What each score is at most; minus infinity where there is no room. None while nobody asked."""
        self._seen = 0
        """How much of what was taken the bounds have in them."""
        self._exact_at: Counts = np.zeros(0, np.int64)
        """How often each row had been given a task when its score was worked out."""
        self._crowd = table.crowd

    def left(self, rows: Sequence[int] | None = None) -> Sieve:
        """What the filters leave now: of all nodes, or at least of some rows."""
        taken = self._taken
        if self._left is not None:
            if self._left_at == taken.count:
                return self._left
            if rows is not None and not self._reaches and (taken.times == self._left_times)[[*rows]].all():
                return self._left
        self._left, self._left_at = sieve(self._table, self._ask), taken.count
        self._left_times = taken.times.copy()
        return self._left

    def best(self, apart: Sequence[int] = ()) -> int | None:
        """The best row with room of all but those `apart`; the first of equals, which is the first by name."""
        if self._reaches:
            self._begin_anew()
        if self._policy.turns:
            return self._next(apart)
        bounds, taken = self._caught_up(), self._taken
        if not len(bounds):
            return None
        for looks in range(LOOKS + 2):
            row = int(bounds.argmax()) if not apart else _first(bounds, apart)
            bound = bounds.item(row)
            if bound == _CLOSED or row in apart:
                return None
            if taken.times.item(row) == self._exact_at.item(row):
                return row
            if looks >= LOOKS:
                self._repair(np.flatnonzero(taken.times != self._exact_at))
            elif self._look(row) == bound:
                return row
        raise AssertionError("once all that changed was looked at, every score is exact")

    def best_of(self, rows: Sequence[int]) -> int | None:
        """The same of a few rows, in order."""
        if self._reaches:
            self._begin_anew()
        rows = self.with_room(rows)
        if len(rows) <= 1:
            return rows[0] if rows else None
        return self._policy.best_of(self._table, self._ask, rows)

    def with_room(self, rows: Sequence[int]) -> list[int]:
        """Those of `rows` that have room."""
        return [row for row in rows if self._open.item(row) and still_fits(self._table, self._ask, row)]

    def _next(self, apart: Sequence[int]) -> int | None:
        """The row whose turn it is of those with room."""
        others = self._open
        if apart:
            others = others.copy()
            others[[*apart]] = False
        begin = (self._table.last + 1) % max(len(others), 1)
        for part, first in ((others[begin:], begin), (others[:begin], 0)):
            while len(part) and part[place := int(part.argmax())]:
                if still_fits(self._table, self._ask, first + place):
                    return first + place
                part[place] = False
        return None

    def _begin_anew(self) -> None:
        if self._left is None or self._left_at != self._taken.count:
            self._open = self.left().room > 0
            self._bounds = None

    def _caught_up(self) -> Vector:
        """The bounds with all in them that was taken."""
        taken, since = self._taken, self._seen
        self._seen = taken.count
        if self._bounds is None or (self._policy.crowds and self._crowd != self._table.crowd):
            return self._scored()
        if since == taken.count:
            return self._bounds
        if self._policy.fall is None:
            rows = set(taken.rows[since : taken.count].tolist())
            if len(rows) <= FEW:
                for row in rows:
                    self._look(row)
            else:
                self._repair(np.array([*rows]))
        elif taken.fell:
            # Of a row that is there twice only one fall counts: less than there was, so still a bound.
            self._bounds[taken.rows[since : taken.count]] -= taken.falls[since : taken.count]
        return self._bounds

    def _scored(self) -> Vector:
        """All scores as they are now."""
        self._open = self.left().room > 0
        scores = self._policy.score(columns(self._table, self._ask, turns=self._policy.turns), self._ask)
        self._bounds = np.where(self._open, scores, _CLOSED)
        self._exact_at = self._taken.times.copy()
        self._crowd = self._table.crowd
        self._left, self._left_times = None, self._left_times[:0]
        return self._bounds

    def _look(self, row: int) -> float:
        """Work out the score of one row, and whether it has room still. One that has none never has again."""
        assert self._bounds is not None
        score = _CLOSED
        if self._open.item(row) and still_fits(self._table, self._ask, row):
            score = self._policy.score(numbers(self._table, self._ask, row), self._ask)
        self._bounds[row] = score
        self._exact_at[row] = self._taken.times[row]
        return score

    def _repair(self, rows: Counts) -> None:
        """The same of several, each there once."""
        assert self._bounds is not None
        self._exact_at[rows] = self._taken.times[rows]
        self._bounds[rows] = _CLOSED
        rows = rows[self._open[rows] & still_fits(self._table, self._ask, rows)]
        self._bounds[rows] = self._policy.score(columns_of(self._table, self._ask, rows), self._ask)


def _first(bounds: Vector, apart: Sequence[int]) -> int:
    """The row of the best bound, of those that are not `apart`; the first of equals."""
    others = bounds.copy()
    others[[*apart]] = _CLOSED
    return int(others.argmax())
