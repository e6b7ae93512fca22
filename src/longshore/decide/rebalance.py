"""Moves that make a cluster more even: which are worth it, which are left out and why. The decision behind
`longshore rebalance`, and that of the controller that does it for services that opted in.

Best first: each move is the one that gains most of all that are left, goes where every filter of placement has room,
and gains at least a quarter of a task. The imbalance is a sum that cannot fall below zero, so there is an end to moves,
and what was planned and done leaves nothing to plan. What moved, or was to, is left alone for a while. Does not move
anything: it marks tasks, and `rollout` has each give way to another on the node that it is to move to.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush

import msgspec
import numpy as np
from msgspec.structs import replace

from longshore.decide import moves
from longshore.decide.balance import Balance
from longshore.decide.placement.ask import ask_of
from longshore.decide.placement.filters import sieve
from longshore.decide.placement.table import Mask, NodeTable
from longshore.decide.rollout import starts_first
from longshore.model.changes import COMMIT_CHANGES_MAX, Change
from longshore.model.errors import Invalid
from longshore.model.lifecycle import Owner
from longshore.model.moves import LeftOut, Move, NodeBalance, Rebalance, RebalanceWish
from longshore.model.objects import Kind, PublishedPort, ReleasePhase, Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, ServiceSpec, volumes_of

LEAST_GAIN = 0.25
"""Of a task: what a move has to make better."""
COOL_DOWN_S = 600.0
"""The cool-down: for so long a task that was moved, or was to be, is left alone."""
STEADY_S = 30.0
"""Nodes have to stay as they are for so long before the cluster moves anything by itself."""
PACKING = ("binpack", "alignment", "first-fit")
"""Policies that want tasks close together."""
ROLLING, UNREADY = "a release of it is under way", "not all of its tasks are ready"
_TINY = 1e-9

Again = float | None


_Alike = tuple[str, int, tuple[str, ...]]
"""What makes tasks alike to a move: service, row, and what they avoid."""


class _Found(msgspec.Struct, frozen=True):
    """A move that is worth it."""

    task: Task
    alike: _Alike
    target: int
    gain: float
    """In tasks."""


def plan(
    world: Snapshot, policy: str, now: float, wish: RebalanceWish | None = None, *, automatic: bool = False
) -> Rebalance:
    """The moves that are worth it, in order; `automatic` for those services alone that opted in. Raises Invalid."""
    wish = wish or RebalanceWish()
    if not 1 <= wish.moves_max <= COMMIT_CHANGES_MAX:
        raise Invalid(f"a rebalance has 1 to {COMMIT_CHANGES_MAX} moves", field="moves_max")
    table = NodeTable(world, now)
    before = ending = Balance(world, table)
    message, waiting = "", moves.under_way(world)
    if policy in PACKING:
        message = f"the policy {policy} packs tasks together; to spread them would undo what it does"
    elif waiting:
        message = f"{len(waiting)} moves of an earlier rebalance are still to end"
    rules = _Rules(world, now, wish, automatic)
    found: list[tuple[Move, Task]] = []
    after = world
    while not message and len(found) < wish.moves_max:
        step = _Pass(after, now, rules, {task.id for _, task in found}, table)
        more = list(step.moves(wish.moves_max - len(found)))
        if not more:
            break
        found += more
        after = _moved(after, [task for _, task in more], now)
    if found:
        ending = Balance(after, NodeTable(after, now, held=table.held))
    return Rebalance(
        revision=world.revision,
        policy=policy,
        before=before.imbalance(),
        after=ending.imbalance(),
        moves=tuple(move for move, _ in found),
        under_way=tuple(task.id for task in waiting),
        nodes=tuple(
            NodeBalance(name=table.names[row], before=len(here), after=len(ending.tasks_on[row]))
            for row, here in before.tasks_on.items()
        ),
        left_out=() if message else _left_out(ending, rules),
        message=message,
    )


def mark(world: Snapshot, planned: Rebalance, by: Owner) -> list[Change]:
    """The changes that have planned moves made."""
    changes = []
    for turn, move in enumerate(planned.moves, 1):
        task = world.task(move.task)
        assert task is not None, "a plan is of the world that it is carried out on"
        changes.append(
            Change(
                kind=Kind.TASK,
                id=task.id,
                before=task.revision,
                after=replace(task, moves_to=move.target, moves_turn=turn),
                by=by,
                reason=Reason.TO_MOVE,
                message=f"from {move.source} to {move.target}, which makes the cluster {move.gain:.1%} more even",
            )
        )
    return changes


def decide(world: Snapshot, now: float, policy: str) -> tuple[list[Change], Again]:
    """The controller's: moves of services that opted in, once the nodes have been as they are for a moment."""
    willing = [one for one in world.services.values() if one.spec.placement.rebalance]
    if not willing or policy in PACKING:
        return [], None
    if moves.under_way(world):
        return [], now + STEADY_S
    changed_at = max((node.changed_at for node in world.nodes.values()), default=0.0)
    if changed_at + STEADY_S > now:
        return [], changed_at + STEADY_S
    planned = plan(world, policy, now, automatic=True)
    if planned.moves:
        return mark(world, planned, Owner.REBALANCE), now + STEADY_S
    if any(left.reason in (ROLLING, UNREADY) for left in planned.left_out):
        return [], now + STEADY_S
    counting = [task for task in world.tasks() if task.counts]
    later = [task.move_ended_at + COOL_DOWN_S for task in counting if task.move_ended_at is not None]
    later += [until for task in counting for until in task.avoids.values()]
    return [], min((at for at in later if at > now), default=None)


class _Rules:
    """What may be moved at all."""

    def __init__(self, world: Snapshot, now: float, wish: RebalanceWish, automatic: bool) -> None:
        self._world = world
        self._now = now
        self._disruptive = wish.disruptive
        self._automatic = automatic
        self._of_service: dict[str, str | None] = {}

    def against(self, task: Task) -> str | None:
        """Why a task is not moved: a reason worth telling, or none worth it (empty); None if it may be."""
        if task.service not in self._of_service:
            self._of_service[task.service] = self._against_service(self._world.services.get(task.service))
        found = self._of_service[task.service]
        if found is None and task.move_ended_at is not None and task.move_ended_at + COOL_DOWN_S > self._now:
            return f"moved less than {COOL_DOWN_S / 60:.0f} min ago"
        return found

    def _against_service(self, service: Service | None) -> str | None:
        if service is None or service.spec.mode is not Mode.REPLICATED:
            return ""
        if self._automatic and not service.spec.placement.rebalance:
            return ""
        rules = service.spec.placement
        if rules.policy in PACKING:
            return f"its own policy, {rules.policy}, packs its tasks together"
        if any(one.skew_max is not None for one in rules.spread):
            return "it is spread by a rule of its own, which a move could break"
        if volumes_of(service.spec):
            return "it has a volume, which stays where it is"
        if not starts_first(service.spec) and not self._disruptive:
            return "it would be stopped before it is started elsewhere; --disruptive does that"
        return self._changing(service)

    def _changing(self, service: Service) -> str | None:
        """One thing at a time: nothing is moved of a service that is not at rest."""
        release = self._world.release(service.name, service.release)
        if release is None or release.phase is not ReleasePhase.DONE:
            return ROLLING
        live = [task for task in self._world.tasks_of_service(service.name).values() if task.live]
        at_rest = all(task.counts and task.ready and task.release == service.release for task in live)
        return None if at_rest and len(live) == service.spec.replicas else UNREADY

    def avoided(self, task: Task) -> tuple[str, ...]:
        """Nodes on which its slot failed again and again."""
        return tuple(name for name, until in task.avoids.items() if until > self._now)


class _Pass:
    """Moves one after the other that all have room as things are. What they leave free counts in the next pass."""

    def __init__(self, world: Snapshot, now: float, rules: _Rules, moved: set[str], before: NodeTable) -> None:
        self._world = world
        self._table = NodeTable(world, now, held=before.held)
        self._balance = Balance(world, self._table)
        self._here: dict[_Alike, list[Task]] = {}
        for row, here in self._balance.tasks_on.items():
            for task in here:
                if task.id not in moved and rules.against(task) is None:
                    self._here.setdefault((task.service, row, rules.avoided(task)), []).append(task)
        for alike in self._here.values():
            alike.sort(key=lambda task: (task.created_at, task.slot))
        # No move gains more than its node is better without the task; how much it does gain is worked out for those
        # that look best, and again when something was moved since.
        self._hopes = [
            (-self._balance.leaves(here[-1], key[1]), -1, key, 0) for key, here in sorted(self._here.items())
        ]
        heapify(self._hopes)
        self._room: dict[str, Mask] = {}

    def moves(self, count: int) -> Iterator[tuple[Move, Task]]:
        """The best `count` of them at most, best first, each with the task as it is there."""
        for done in range(count):
            found = self._best(done)
            if found is None:
                return
            yield self._made(found)

    def _best(self, done: int) -> _Found | None:
        """The move that gains most after `done` others; among equals the first by service and node."""
        while self._hopes and -self._hopes[0][0] >= LEAST_GAIN - _TINY:
            less, known_at, key, target = heappop(self._hopes)
            if known_at == done and self._has_room(key, target):
                return _Found(self._here[key].pop(), key, target, -less)
            self._hope(key, done)
        return None

    def _hope(self, key: _Alike, done: int) -> None:
        """Put tasks that are alike back to where they belong by what the best move of one of them gains now."""
        _, row, avoids = key
        if not self._here[key]:
            return
        task = self._here[key][-1]
        gains = self._balance.leaves(task, row) - self._balance.arrives(task)
        gains[~self._with_room(task)] = -np.inf
        gains[[row, *(self._table.row_of[name] for name in avoids if name in self._table.row_of)]] = -np.inf
        target = int(gains.argmax())
        heappush(self._hopes, (-round(gains.item(target), 9), done, key, target))

    def _with_room(self, task: Task) -> Mask:
        """The nodes that could take it when that was last asked: within a pass, room only gets less."""
        if task.service not in self._room:
            ask = ask_of(task.service, self._spec(task))
            self._room[task.service] = self._balance.open & (sieve(self._table, ask).room > 0)
        return self._room[task.service]

    def _has_room(self, key: _Alike, target: int) -> bool:
        del self._room[key[0]]
        return bool(self._with_room(self._here[key][-1])[target])

    def _spec(self, task: Task) -> ServiceSpec:
        release = self._world.release(task.service, task.release)
        assert release is not None, "what may move runs a release that is kept"
        return release.spec

    def _made(self, found: _Found) -> tuple[Move, Task]:
        task, source, spec = found.task, found.alike[1], self._spec(found.task)
        ports: tuple[PublishedPort, ...] = self._table.take(found.target, ask_of(task.service, spec))
        self._balance.move(task, source, found.target)
        self._hope(found.alike, -1)
        move = Move(
            task=task.id,
            service=task.service,
            slot=task.slot,
            source=self._table.names[source],
            target=self._table.names[found.target],
            gain=self._balance.part(found.gain),
            cost=_cost(spec),
        )
        return move, replace(task, node=move.target, ports=ports, devices=self._table.devices)


def _cost(spec: ServiceSpec) -> str:
    if not starts_first(spec):
        return "an outage, from its stop until it is ready there"
    aside = [f"{spec.resources.cpu:g} cpu"] if spec.resources.cpu else []
    aside += [f"{spec.resources.memory >> 20} MiB"] if spec.resources.memory else []
    return "a second task until it is ready" + (f": {', '.join(aside)}" if aside else "")


def _moved(world: Snapshot, tasks: Sequence[Task], now: float) -> Snapshot:
    """The world in which these tasks are where they are to be."""
    changes = [
        Change(kind=Kind.TASK, id=task.id, before=task.revision, after=task, by=Owner.REBALANCE, reason=Reason.MOVED)
        for task in tasks
    ]
    return world.apply(changes, (), now)[0]


def _left_out(balance: Balance, rules: _Rules) -> tuple[LeftOut, ...]:
    """What would be worth a move elsewhere, if it could be moved, by service and reason."""
    found: Counter[tuple[str, str]] = Counter()
    for row, here in balance.tasks_on.items():
        gains: dict[tuple[str, int], float] = {}
        for task in here:
            reason = rules.against(task)
            if reason:
                kind = (task.service, task.release)
                if kind not in gains:
                    gains[kind] = balance.leaves(task, row) - balance.least_more(task)
                if gains[kind] >= LEAST_GAIN:
                    found[task.service, reason] += 1
    return tuple(
        LeftOut(service=service, tasks=tasks, reason=reason) for (service, reason), tasks in sorted(found.items())
    )
