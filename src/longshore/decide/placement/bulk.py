"""Many tasks that ask the same, placed at once: the rows that one after the other would be given, in that order.

The best node for each of them is found by merging: each node has a sequence of scores, that of its next task, the one
after it, and so on, and whoever has the best one next gets the next task. Such a merge is a sort. A score that is
hidden behind a worse one of the same node has to wait for it, so each counts as the least of those before it; then
the best come first, among equals the first node, and of one node the scores in their order. So no task is looked at
alone, and the outcome is the same to the last bit (tests hold it to that).

Knows scores and room; not what the tasks are, nor what becomes of them. Holds as long as a task on one node leaves the
scores of the others as they are. What moves them all, a crowd that doubles, ends the block.
"""

import msgspec
import numpy as np

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.scoring.scores import Policy, columns_of
from longshore.decide.placement.table import Counts, Mask, NodeTable, Vector

SPARE = 4
"""So many scores are worked out at first for each task of those that lie close together."""
DEEPER = 4
"""So many times as many tasks a node are looked at when those before were too few."""
SCORES_MAX = 4_000_000
"""So many scores are worked out at once where more nodes are looked at because the last block was short."""


class Block(msgspec.Struct, frozen=True):
    """Some tasks in a row, at least one."""

    rows: Counts
    """The node of each."""
    steps: Counts
    """How many of the others that node has been given by then."""


class _Part(msgspec.Struct, frozen=True):
    """Some nodes, and the scores of so many tasks on each."""

    rows: Counts
    room: Counts
    least: Vector
    """Of each node and step the least score so far; minus infinity where there is no room. Row by row."""
    deep: int
    """Steps."""

    def before(self, score: float, row: int) -> Mask:
        """Which of all come before a score of another node."""
        before: Mask = (self.least > score) | ((self.least == score) & (self.rows[:, None] < row))
        return before


class Bulk:
    """A class in bulk. Remembers what the last block has taught of how its tasks lie: far and wide, or close."""

    def __init__(self, table: NodeTable, ask: Ask, policy: Policy) -> None:
        self._table = table
        self._ask = ask
        self._policy = policy
        self._deep = 0
        self._spare = SPARE

    def next(self, room: Counts, count: int) -> Block | None:
        """The first of `count` tasks, on nodes with so much room; None if there is no room. The table is to have taken
        the block before it is asked for the next one."""
        rows = np.flatnonzero(room > 0)
        if not len(rows):
            return None
        if self._policy.crowds:
            room = np.minimum(room, self._table.crowd + 1 - self._table.tasks)  # the last of these ends the block
        limit = min(count, int(room.max()))
        deep = min(max(self._deep, -(-count // len(rows)) + 1), limit)
        turn = self._table.turn() if self._policy.turns else None
        wide = self._wide(count, deep) if self._deep else len(rows)
        while True:
            part, rest = self._part(rows, room, wide, deep, turn)
            block, short = _first(part, rest, count)
            if len(block.rows) >= count or not short:
                break
            # Close together: fewer nodes, and more of each.
            self._deep = deep = min(DEEPER * deep, limit)
            wide = self._wide(count, deep)
        if len(block.rows) < count:
            self._spare *= 2
        return self._in_one_crowd(block) if self._policy.crowds else block

    def _wide(self, count: int, deep: int) -> int:
        """How many nodes are looked at for so many tasks, if each may get so many of them."""
        return max(min(self._spare * count, SCORES_MAX) // deep, 1)

    def _part(
        self, rows: Counts, room: Counts, wide: int, deep: int, turn: Counts | None
    ) -> tuple[_Part, tuple[float, int] | None]:
        """The best `wide` of the nodes, and the best score of the others with its row."""
        rest = None
        if wide < len(rows):
            heads = self._scores(rows, np.zeros(len(rows), np.int64), turn)
            order = np.argsort(-heads, kind="stable")
            rest = heads.item(order[wide]), int(rows[order[wide]])
            rows = np.sort(rows[order[:wide]])
        steps = np.arange(deep)
        scores = self._scores(np.repeat(rows, deep), np.tile(steps, len(rows)), turn).reshape(len(rows), deep)
        scores[steps >= room[rows][:, None]] = -np.inf
        return _Part(rows, room[rows], np.minimum.accumulate(scores, axis=1), deep), rest

    def _scores(self, rows: Counts, steps: Counts, turn: Counts | None) -> Vector:
        return self._policy.score(columns_of(self._table, self._ask, rows, steps=steps, turn=turn), self._ask)

    def _in_one_crowd(self, block: Block) -> Block:
        """Up to the task that makes the crowd double."""
        over = self._table.tasks[block.rows] + block.steps >= self._table.crowd
        last = int(over.argmax())
        return Block(block.rows[: last + 1], block.steps[: last + 1]) if over[last] else block


def _first(part: _Part, rest: tuple[float, int] | None, count: int) -> tuple[Block, bool]:
    """The tasks that are sure to come first of all, at most `count`; and whether more would be if more steps of some
    node were known."""
    sure = part.least > -np.inf
    if rest is not None:
        sure &= part.before(*rest)
    # What comes after the last known step of a node that has room for more comes after that step.
    ends = np.flatnonzero(part.room > part.deep)
    short = False
    if len(ends):
        last = part.least[ends, -1]
        end = int(last.argmax())
        row = int(part.rows[ends[end]])
        before = part.before(last.item(end), row)
        before[ends[end]] = True
        short = bool((sure & ~before).any()) or bool(sure[ends[end], -1])
        sure &= before
    flat = np.flatnonzero(sure)
    least = part.least.reshape(-1)[flat]
    if len(flat) > count:
        kept = least >= np.partition(least, len(flat) - count)[len(flat) - count]
        flat, least = flat[kept], least[kept]
    order = flat[np.argsort(-least, kind="stable")][:count]
    return Block(part.rows[order // part.deep], order % part.deep), short
