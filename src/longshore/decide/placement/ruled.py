"""How the tasks of one class are given nodes where rules about others bear on it: all rules in view.

A rule about neighbours may make a task on one node change what other nodes are to the next, and points come before any
score. The room by the rules that reach other nodes, and the points, are summed up after each task, scores only where
one was put, by this class or by others. Where no task of the class changes another node or any points, the nodes with
most points are filled in bulk, then those with the next most. Has the ways of `alike`, so that `place` need not know
which of the two a class is.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from longshore.decide.placement.alike import Again, Fall
from longshore.decide.placement.ask import Ask
from longshore.decide.placement.bulk import Block, Bulk
from longshore.decide.placement.filters import Sieve, reaches_others, rows_within, sieve
from longshore.decide.placement.ranking import Taken
from longshore.decide.placement.rules import foremost, has_rules, points, points_move, reaching
from longshore.decide.placement.scoring.scores import Policy, columns, columns_of, numbers, numbers_of
from longshore.decide.placement.table import Counts, NodeTable, Vector
from longshore.decide.placement.volumes import Ties
from longshore.model.objects import PublishedPort


def is_ruled(table: NodeTable, ask: Ask) -> bool:
    """Whether a class has to be placed by this file."""
    return ask.extra is not None or has_rules(table, ask)


class Ruled:
    """The tasks of one class in one pass."""

    def __init__(self, table: NodeTable, ask: Ask, policy: Policy, taken: Taken, fall: Fall) -> None:
        """`fall` is that of the cluster's policy, by which other classes go."""
        self._table = table
        self.ask = ask
        self.policy = policy
        self._taken = taken
        self._fall = fall
        self._scores: Vector | None = None
        """Whether or not there is room. None while nobody asks."""
        self._scored_at = 0
        """How much had been taken when they were right."""
        self._crowd = 0
        """The crowd by which they are."""
        self._begin()

    def _begin(self) -> None:
        """Count everything."""
        table, ask = self._table, self.ask
        self._seen = self._taken.count
        self._left: Sieve | None = sieve(table, ask)
        """What the filters leave, until a task of the class takes some of it."""
        self._room: Counts = self._left.room.copy()
        self._reaching = reaching(table, ask)
        """The filters by which a task of the class changes the room of other nodes than its own."""
        self._own: Counts = sieve(table, ask, self._reaching).room if self._reaching else self._room
        """The room by all other filters."""
        self._points = points(table, ask)
        """What rules with a weight come to: who has most is taken before the policy is asked."""
        self._why_not: dict[Ties, tuple[str, Again]] = {}

    def _catch_up(self) -> None:
        if self._seen != self._taken.count:
            self._begin()

    def best(self, ties: Ties, avoids: Mapping[str, float]) -> int | None:
        """The best row for one task."""
        self._catch_up()
        return self._best_of(ties, avoids) if ties else self._best(avoids)

    def give(self, row: int) -> tuple[PublishedPort, ...]:
        """Put a task on a node, and return the ports it is given."""
        table = self._table
        self._taken.add(row, self._fall(table, row) if self._fall is not None else 0.0)
        self._seen = self._taken.count
        ports = table.take(row, self.ask)
        if points_move(self.ask):
            self._points = points(table, self.ask)
        self._left = None
        self._own[row] -= 1
        machine = table.machine.item(row)
        if ports and not table.ports.fit(np.array([machine]), self.ask).item():
            # The ports were the machine's: with them goes the room of every node that shares it.
            self._own[table.machine == machine] = 0
        if self._reaching:
            # Room may have come, too.
            self._room = np.minimum.reduce([self._own, *(rule(table, self.ask) for rule in self._reaching.values())])
            self._why_not = {}
        return ports

    @property
    def may_be_many(self) -> bool:
        """Whether a task of the class changes no node but its own, and nothing but room there."""
        self._catch_up()
        devices = self.ask.extra is not None and self.ask.extra.given
        return not (self._reaching or devices or points_move(self.ask) or reaches_others(self._table, self.ask))

    def give_many(self, count: int) -> Iterator[tuple[str, tuple[PublishedPort, ...], str]]:
        """Nodes for `count` tasks, or for as many as there is room for; with the ports and what speaks for each."""
        names = self._table.names
        for block in self.blocks(count):
            nodes = [names[row] for row in block.rows.tolist()]
            figures = numbers_of(self._table, self.ask, block.rows, block.steps)
            said = [
                self.policy.said(node, one, self.ask) + self.about(row)
                for node, one, row in zip(nodes, figures, block.rows.tolist(), strict=True)
            ]
            self._taken.add_all(block.rows)
            yield from zip(nodes, self._table.take_all(block.rows, self.ask), said, strict=True)

    def blocks(self, count: int) -> Iterator[Block]:
        """The same as rows: each block is to be taken before the next one is asked for."""
        bulk = Bulk(self._table, self.ask, self.policy)
        while count and (block := bulk.next(self._room_foremost(), count)):
            count -= len(block.rows)
            yield block

    def _room_foremost(self) -> Counts:
        """The room of those nodes with room that have most points."""
        self._catch_up()
        room, liked = self._room, self._points
        if liked is None or not (room > 0).any():
            return room
        return np.where(liked == liked[room > 0].max(), room, 0)

    def about(self, row: int) -> str:
        """What rules with a weight have to say of a node: they were asked before the policy."""
        return about_points(self._points, row)

    def refusal(self, ties: Ties) -> tuple[str, Again]:
        """Why no node takes a task, and when a host port that another program held is to be tried again. Remembered
        until something is taken: where the class has no room, none of it goes, so what refused goes on refusing."""
        self._catch_up()
        if ties not in self._why_not:
            left = self._left = self._left or sieve(self._table, self.ask)
            self._why_not[ties] = left.refusal(self._table, self.ask, ties)
        return self._why_not[ties]

    def _best_of(self, ties: Ties, avoids: Mapping[str, float]) -> int | None:
        """Of the few rows that a task is tied to."""
        rows = [row for row in rows_within(self._table, ties) if self._room[row] > 0]
        rows = [row for row in rows if self._table.names[row] not in avoids] or rows
        liked = self._points
        if liked is not None and rows:
            most = max(liked.item(row) for row in rows)
            rows = [row for row in rows if liked.item(row) == most]
        if len(rows) <= 1:
            return rows[0] if rows else None
        return self.policy.best_of(self._table, self.ask, rows)

    def _best(self, avoids: Mapping[str, float]) -> int | None:
        """The best row with room, of those to be avoided only if there is no other; the first of equals, which is the
        first by name."""
        if not len(self._table):
            return None
        scores = np.where(self._room > 0, self._scored(), -np.inf)
        if avoids:
            others = scores.copy()
            others[[self._table.row_of[name] for name in avoids if name in self._table.row_of]] = -np.inf
            row = int(foremost(others, self._points).argmax())
            if others[row] > -np.inf:
                return row
        row = int(foremost(scores, self._points).argmax())
        return row if self._room[row] > 0 else None

    def _scored(self) -> Vector:
        """The scores of all nodes, worked out anew where something was taken since."""
        table, ask, policy, taken = self._table, self.ask, self.policy, self._taken
        rows = taken.rows[self._scored_at : taken.count]
        if self._scores is None or policy.turns or (policy.crowds and self._crowd != table.crowd):
            self._scores = policy.score(columns(table, ask, turns=policy.turns), ask)
        elif len(rows) == 1:
            self._scores[rows] = policy.score(numbers(table, ask, rows.item()), ask)
        elif len(rows):
            rows = np.unique(rows)
            self._scores[rows] = policy.score(columns_of(table, ask, rows), ask)
        self._scored_at, self._crowd = taken.count, table.crowd
        return self._scores


def about_points(liked: Counts | None, row: int) -> str:
    """What points have to say of a node."""
    if liked is None or not liked.any():
        return ""
    most = liked.item(row)
    return f"; rules with a weight come to {most} {'point' if abs(most) == 1 else 'points'} there"
