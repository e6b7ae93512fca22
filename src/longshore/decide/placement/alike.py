"""How the tasks of one class are given nodes: one at a time while classes take turns, or many at once.

A class is the tasks of one release: they ask the same. Knows what they ask and what the nodes are to them (`ranking`,
`bulk`); not which tasks there are, and nothing of records.
"""

from collections.abc import Callable, Iterator, Mapping

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.bulk import Block, Bulk
from longshore.decide.placement.filters import reaches_others, rows_within
from longshore.decide.placement.ranking import Ranking, Taken
from longshore.decide.placement.scoring.scores import Policy, numbers_of
from longshore.decide.placement.table import NodeTable
from longshore.decide.placement.volumes import Ties
from longshore.model.objects import PublishedPort

Again = float | None
Fall = Callable[[NodeTable, int], float] | None
"""By how much at least a task lowers the score of its node, by the policy that other classes go by."""


class Alike:
    """The tasks of one class in one pass."""

    def __init__(self, table: NodeTable, ask: Ask, policy: Policy, taken: Taken, fall: Fall) -> None:
        """`fall` is that of the cluster's policy; `policy` has another only if it is another."""
        self._table = table
        self.ask = ask
        self.policy = policy
        self._taken = taken
        self._fall = fall
        self._ranking = Ranking(table, ask, policy, taken)
        self._given = 0
        self._why_not: dict[Ties, tuple[str, Again]] = {}
        self._why_not_at = 0
        """How many tasks of others had been given nodes when that was said."""
        self.may_be_many = not reaches_others(table, ask)

    def best(self, ties: Ties, avoids: Mapping[str, float]) -> int | None:
        """The best row for one task."""
        if not ties and not avoids:
            return self._ranking.best()
        row_of = self._table.row_of
        if not ties:
            apart = [row_of[name] for name in avoids if name in row_of]
            row = self._ranking.best(apart)
            return self._ranking.best() if row is None and apart else row
        rows = rows_within(self._table, ties)
        apart = [row for row in rows if self._table.names[row] not in avoids]
        row = self._ranking.best_of(apart)
        return self._ranking.best_of(rows) if row is None and len(apart) < len(rows) else row

    def give(self, row: int) -> tuple[PublishedPort, ...]:
        """Put a task on a node, and return the ports it is given."""
        self._taken.add(row, self._fall(self._table, row) if self._fall is not None else 0.0)
        self._given += 1
        return self._table.take(row, self.ask)

    def about(self, row: int) -> str:
        """No rule says anything of a node here."""
        return ""

    def give_many(self, count: int) -> Iterator[tuple[str, tuple[PublishedPort, ...], str]]:
        """Nodes for `count` tasks, or for as many as there is room for; with the ports and the policy's words."""
        names = self._table.names
        for block in self.blocks(count):
            nodes = [names[row] for row in block.rows.tolist()]
            figures = numbers_of(self._table, self.ask, block.rows, block.steps)
            said = [self.policy.said(node, one, self.ask) for node, one in zip(nodes, figures, strict=True)]
            yield from zip(nodes, self.take(block), said, strict=True)

    def blocks(self, count: int) -> Iterator[Block]:
        """The same as rows: each block is to be taken before the next one is asked for."""
        bulk = Bulk(self._table, self.ask, self.policy)
        while count and (block := bulk.next(self._ranking.left().room, count)):
            count -= len(block.rows)
            yield block

    def take(self, block: Block) -> list[tuple[PublishedPort, ...]]:
        """Put a block's tasks on their nodes, and return the ports of each."""
        self._taken.add_all(block.rows)
        self._given += len(block.rows)
        return self._table.take_all(block.rows, self.ask)

    def refusal(self, ties: Ties) -> tuple[str, Again]:
        """Why no node takes a task, and when a host port that another program held is to be tried again. Remembered
        while no other class is given anything: where this one has no room, none of it goes, so what refused goes on
        refusing."""
        if self._why_not_at != self._taken.count - self._given:
            self._why_not, self._why_not_at = {}, self._taken.count - self._given
        if ties not in self._why_not:
            left = self._ranking.left(rows_within(self._table, ties) if ties else None)
            self._why_not[ties] = left.refusal(self._table, self.ask, ties)
        return self._why_not[ties]
