"""Gives every waiting task a node, or says why there is none. The placement controller's decision.

All waiting tasks are placed in one pass, oldest first, each as if it were the only one left: the outcome is that of
asking about one task after the other, and tests hold it to that. Neighbours in that order of one release are alike, so
they share the work: filters and scores are summed up once, then each task takes the best node and only that node is
counted anew. Changes stand in the order in which they were decided, and each relies on those before it at most, so a
caller may commit any first part of them. Knows nothing of commits, of other placers (there are none), or of nodes that
fail meanwhile: the nodes controller takes their tasks from them.
Where a task's volumes are is written down before the task is.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

import numpy as np
from msgspec.structs import replace

from longshore.decide import restart
from longshore.decide.placement.ask import Ask, ask_of
from longshore.decide.placement.filters import Sieve, no_node, rows_within, sieve
from longshore.decide.placement.policies import bound, policy_named
from longshore.decide.placement.rules import foremost, points, points_move, reaching, waits_for_others
from longshore.decide.placement.scores import Policy, Vector, columns, numbers, table_for
from longshore.decide.placement.table import Busy, Counts, NodeTable, age
from longshore.decide.placement.volumes import Ties, Volumes
from longshore.model.changes import Change
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Kind, PublishedPort, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import ServiceSpec

Again = float | None


def decide(world: Snapshot, now: float, policy: str, busy: Busy | None = None) -> tuple[list[Change], Again]:
    """A node for every task that waits for one, and when to look again if a host port has to be waited for.
    `busy` measures nodes, for policies that ask what is in use."""
    chooser = policy_named(policy)
    waiting = _waiting(world)
    changes: list[Change] = []
    looks: list[float] = []
    placed = hopes = False
    if not waiting:
        return changes, None
    table = table_for(chooser, world, now, busy, measures=_measures(world, waiting))
    volumes = Volumes(world)
    for (service, number), alike in groupby(waiting, key=lambda task: (task.service, task.release)):
        release = world.release(service, number)
        if release is None:
            changes += [change for task in alike if (change := _refused(task, f"release {number} is not kept"))]
            continue
        ask = ask_of(service, release.spec)
        own = policy_named(ask.rules.policy) if ask.rules.policy else chooser
        several = _Class(table, ask, bound(own, world, now, table, ask))
        for task in alike:
            avoids = avoided(world, task, release.spec, now)
            change, again = several.settle(task, volumes.ties(task, release.spec), avoids, now)
            if change is not None and isinstance(change.after, Task) and change.after.node:
                placed = True
                changes += volumes.place(task, release.spec, world.nodes[change.after.node], now)
            else:
                hopes = hopes or waits_for_others(ask)
            changes += [change] if change is not None else []
            if again is not None:
                looks.append(again)
    if placed and hopes:
        looks.append(now)  # who was refused for want of others may find them there now
    return changes, min(looks, default=None)


def avoided(world: Snapshot, task: Task, spec: ServiceSpec, now: float) -> Mapping[str, float]:
    """The nodes that a waiting task keeps away from where it can."""
    if task.generation == 1:
        return {}
    service = world.tasks_of_service(task.service).values()
    return restart.avoided(task, [one for one in service if one.slot == task.slot], service, spec, now)


def _measures(world: Snapshot, waiting: Iterable[Task]) -> bool:
    """Whether a policy of a service's own asks what is in use."""
    kinds = {(task.service, task.release) for task in waiting}
    found = (world.release(service, number) for service, number in kinds)
    named = {one.spec.placement.policy for one in found if one is not None and one.spec.placement.policy}
    return any(policy_named(name).measures for name in named)


def _waiting(world: Snapshot) -> list[Task]:
    tasks: Iterable[Task] = (task for tasks in world.services_with_tasks.values() for task in tasks.values())
    return sorted((task for task in tasks if task.state is State.NEW and task.wanted is Wanted.RUNNING), key=age)


class _Class:
    """Tasks that ask the same, and what each node is to them: a score where there is room, minus infinity elsewhere."""

    def __init__(self, table: NodeTable, ask: Ask, policy: Policy) -> None:
        self._table = table
        self._ask = ask
        self._policy = policy
        self._left: Sieve | None = sieve(table, ask)
        """What the filters leave, until a task of the class takes some of it."""
        self._room = self._left.room.copy()
        self._reaching = reaching(table, ask)
        """The filters by which a task of the class changes the room of other nodes than its own."""
        self._own = sieve(table, ask, self._reaching).room if self._reaching else self._room
        """The room by all other filters."""
        self._scores: Vector | None = None
        """None while nobody asks, or after something that moved the scores of all nodes."""
        self._points = points(table, ask)
        """What rules with a weight come to: who has most is taken before the policy is asked."""
        self._why_not: dict[Ties, tuple[str, Again]] = {}

    def settle(self, task: Task, ties: Ties, avoids: Mapping[str, float], now: float) -> tuple[Change | None, Again]:
        """Place `task`, on a node that it avoids only if there is no other; or say why not. No change if that has been
        said already."""
        row = self._best_of(ties, avoids) if ties else self._best(avoids)
        if row is None:
            text, again = self._refusal(ties)
            return _refused(task, text), again
        message = about_ties(task, ties) or self._policy.sentence(self._table, self._ask, row)
        message += about_points(self._points, row)
        message += about_avoided(avoids, self._table.names[row])
        after = replace(
            task,
            state=State.PLACED,
            node=self._table.names[row],
            avoids=dict(avoids),
            ports=self._take(row),
            devices=self._table.devices,
            placed_at=now,
            reason=Reason.PLACED,
            message=message,
        )
        if ties or avoids:
            self._scores = None  # a node was taken out of turn
        return _change(task, after), None

    def _best_of(self, ties: Ties, avoids: Mapping[str, float]) -> int | None:
        """The same of the few rows that a task is tied to."""
        rows = [row for row in rows_within(self._table, ties) if self._room[row] > 0]
        rows = [row for row in rows if self._table.names[row] not in avoids] or rows
        if len(rows) <= 1:
            return rows[0] if rows else None
        self._table.start_round()
        scores = self._policy.score(columns(self._table, self._ask), self._ask)
        liked = self._points
        return int(max(rows, key=lambda row: (0 if liked is None else liked.item(row), scores.item(row))))

    def _best(self, avoids: Mapping[str, float]) -> int | None:
        """The best row with room, of those to be avoided only if there is no other; the first of equals, which is the
        first by name."""
        if not len(self._table):
            return None
        if self._scores is None:
            self._table.start_round()
            scores = self._policy.score(columns(self._table, self._ask), self._ask)
            self._scores = np.where(self._own > 0, scores, -np.inf)
        scores = np.where(self._room > 0, self._scores, -np.inf) if self._reaching else self._scores
        if avoids:
            others = scores.copy()
            others[[self._table.row_of[name] for name in avoids if name in self._table.row_of]] = -np.inf
            row = int(foremost(others, self._points).argmax())
            if others[row] > -np.inf:
                return row
        row = int(foremost(scores, self._points).argmax())
        return row if self._room[row] > 0 else None

    def _take(self, row: int) -> tuple[PublishedPort, ...]:
        """Put a task on a node and bring its row up to date."""
        table, crowd = self._table, self._table.crowd
        ports = table.take(row, self._ask)
        if points_move(self._ask):
            self._points = points(table, self._ask)
        self._left = None
        closed = [row]
        self._own[row] -= 1
        machine = table.machine.item(row)
        if ports and not table.ports.fits(machine, self._ask):
            # The ports were the machine's: with them goes the room of every node that shares it.
            closed = table.rows_of_machine[machine]
            self._own[closed] = 0
        if table.crowd != crowd:
            self._scores = None
        elif self._scores is not None:
            self._scores[closed] = -np.inf
            if self._own[row] > 0:
                self._scores[row] = self._policy.score(numbers(table, self._ask, row), self._ask)
        if self._reaching:
            self._reach()
        return ports

    def _reach(self) -> None:
        """Ask again what a task changed for other nodes: room may have come, too."""
        rules = [rule(self._table, self._ask) for rule in self._reaching.values()]
        self._room = np.minimum.reduce([self._own, *rules])
        self._why_not = {}
        if self._policy.rounds:
            self._scores = None

    def _refusal(self, ties: Ties) -> tuple[str, Again]:
        """Why no node takes a task, and when a host port that another program held is to be tried again. Remembered,
        because it stays true: where the class has no room, none of it goes, so what refused goes on refusing."""
        if ties not in self._why_not:
            left = self._left or sieve(self._table, self._ask)
            text = no_node(left.verdicts(self._table, ties), len(self._table))
            machines = left.machines_without_port(self._table, self._ask, ties)
            self._why_not[ties] = text, self._table.ports.free_again(machines, self._ask)
        return self._why_not[ties]


def about_ties(task: Task, ties: Ties) -> str:
    """Why a task is where it is, if it may go to few nodes only."""
    return f"pinned to {task.pinned}" if task.pinned else ", ".join(tie.words for tie in ties)


def about_points(liked: Counts | None, row: int) -> str:
    """What rules with a weight have to say of a node: they were asked before the policy."""
    if liked is None or not liked.any():
        return ""
    most = liked.item(row)
    return f"; rules with a weight come to {most} {'point' if abs(most) == 1 else 'points'} there"


def about_avoided(avoids: Mapping[str, float], node: str) -> str:
    """What a sentence about a task's place has to say of the nodes that it avoids."""
    if not avoids:
        return ""
    often = f"its slot failed {restart.LOOP_ENDS} times in a row"
    if node in avoids:
        return f"; no other fits, although {often} there"
    return f"; keeps away from {', '.join(avoids)}, where {often}"


def _refused(task: Task, text: str) -> Change | None:
    """The change that says why `task` has no node yet; None if its record says so already."""
    if task.message == text:
        return None
    return _change(task, replace(task, reason=Reason.NO_NODE, message=text))


def _change(task: Task, after: Task) -> Change:
    return Change(
        kind=Kind.TASK,
        id=task.id,
        before=task.revision,
        after=after,
        by=Owner.PLACEMENT,
        reason=after.reason,
        message=after.message,
    )
