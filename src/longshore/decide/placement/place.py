"""Gives every waiting task a node, or says why there is none. The placement controller's decision.

All waiting tasks are placed in one pass, those of highest priority first and of them the oldest, each as if it were the
only one left: the outcome is that of asking about one task after the other, and tests hold it to that. Tasks of one
release are alike, so they share the work: what the nodes are to them is kept in a `ranking` while others have their
turn, and many in a row are placed in `bulk`. Where there is none, `making` asks whether others give way. What one pass
knows of the nodes is `Kept` for the next. Changes stand in the order in which they were decided, and each relies on
those before it at most, so a caller may commit any first part of them. Knows nothing of commits, of other placers
(there are none), or of nodes that change meanwhile: what is decided rests on the record of the node that was chosen.
Where a task's volumes are is written down before the task is.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

from msgspec.structs import replace

from longshore.decide import restart
from longshore.decide.placement.alike import Again, Alike
from longshore.decide.placement.ask import ask_of
from longshore.decide.placement.displacement.making import NOBODY, Making
from longshore.decide.placement.displacement.priorities import priority_of
from longshore.decide.placement.displacement.yielding import Yielding
from longshore.decide.placement.held import Held
from longshore.decide.placement.ranking import Taken
from longshore.decide.placement.ruled import Ruled, is_ruled
from longshore.decide.placement.rules import waits_for_others
from longshore.decide.placement.scoring.past import Past
from longshore.decide.placement.scoring.policies import bound, policy_named
from longshore.decide.placement.scoring.scores import Policy, table_for
from longshore.decide.placement.table import Busy, NodeTable
from longshore.decide.placement.volumes import Ties, Volumes
from longshore.decide.placement.waiting import Waiting
from longshore.model.changes import Change, Guard, changed, on_node
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import PublishedPort, Release, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import ServiceSpec, volumes_of

BULK_LEAST = 32
"""From so many alike in a row on, they are placed at once."""
RANKED_MAX = 8_000_000
"""So many nodes in all have their rankings kept in a pass, at 17 bytes each: 1,600 classes of 5,000 nodes."""


class Kept:
    """What one pass leaves for the next, for whoever makes one after the other. The outcome is the same without."""

    def __init__(self) -> None:
        self.held = Held()
        self.waiting = Waiting()
        self.yielding = Yielding()
        self.past = Past()


def decide(
    world: Snapshot, now: float, policy: str, busy: Busy | None = None, kept: Kept | None = None
) -> tuple[list[Change], Again]:
    """A node for every task that waits for one, and when to look again if a host port has to be waited for.
    `busy` measures nodes, for policies that ask what is in use."""
    chooser = policy_named(policy)
    kept = Kept() if kept is None else kept
    waiting = kept.waiting.of(world, largest_first=chooser.largest_first)
    if not waiting:
        return [], None
    table = table_for(chooser, world, now, busy, measures=_measures(world, waiting), held=kept.held)
    one = _Pass(world, now, chooser, table, kept)
    for (service, number), alike in groupby(waiting, key=lambda task: (task.service, task.release)):
        release = world.release(service, number)
        one.making.hold_above(priority_of(world, service))
        if release is None:
            one.refuse(alike, f"release {number} is not kept")
        else:
            one.settle([*alike], release)
    return one.changes, one.again()


def avoided(world: Snapshot, task: Task, spec: ServiceSpec, now: float) -> Mapping[str, float]:
    """The nodes that a waiting task keeps away from where it can."""
    if task.generation == 1:
        return {}
    service = world.tasks_of_service(task.service)
    return restart.avoided(task, service.of_slot(task.slot), service.values(), spec, now)


def _measures(world: Snapshot, waiting: Iterable[Task]) -> bool:
    """Whether a policy of a service's own asks what is in use."""
    kinds = {(task.service, task.release) for task in waiting}
    found = (world.release(service, number) for service, number in kinds)
    named = {one.spec.placement.policy for one in found if one is not None and one.spec.placement.policy}
    return any(policy_named(name).measures for name in named)


class _Pass:
    """One pass, and what it has come to so far."""

    def __init__(self, world: Snapshot, now: float, policy: Policy, table: NodeTable, kept: Kept) -> None:
        self._world = world
        self._now = now
        self._policy = policy
        self._table = table
        self._past = kept.past
        self._taken = Taken(len(table))
        self._volumes = Volumes(world)
        self.making = Making(world, now, table, self._taken, kept.yielding)
        self._classes: dict[tuple[str, int], Alike | Ruled] = {}
        self.changes: list[Change] = []
        self.looks: list[float] = []
        self._guards = _Guards(world)
        """Empty until something is placed."""
        self._hopes = False
        """Whether one was refused that may find room once another was placed."""

    def refuse(self, tasks: Iterable[Task], text: str) -> None:
        """Say of some tasks why they have no node."""
        self.changes += [change for task in tasks if (change := _refused(task, text))]

    def again(self) -> Again:
        """When to look again."""
        # Who was refused for want of others may find them there now.
        now = (self._now,) if self._hopes and self._guards else ()
        return min((*self.looks, *self.making.looks, *now), default=None)

    def settle(self, tasks: Sequence[Task], release: Release) -> None:
        """Give tasks of one release their nodes, in order."""
        spec, one = release.spec, self._class(release)
        mounts = bool(volumes_of(spec))
        first = 0
        while first < len(tasks):
            if not mounts and len(tasks) - first >= BULK_LEAST and one.may_be_many:
                plain = self._plain(tasks, first, spec)
                if plain - first >= BULK_LEAST:
                    first += self._settle_many(tasks[first:plain], one)
                    continue
            self._settle_one(tasks[first], spec, one)
            first += 1

    def _class(self, release: Release) -> Alike | Ruled:
        key = (release.service, release.number)
        found = self._classes.pop(key, None)
        if isinstance(found, Alike) and self._table.repelled(found.ask):
            found = None  # since it was made, tasks were placed that keep this service away
        if found is None:
            if self._classes and (len(self._classes) + 1) * len(self._table) > RANKED_MAX:
                del self._classes[next(iter(self._classes))]
            found = self._made(release)
        self._classes[key] = found  # the one used last comes last, and is forgotten last
        return found

    def _made(self, release: Release) -> Alike | Ruled:
        ask = ask_of(release.service, release.spec)
        policy = self._policy
        if ask.rules.policy:
            policy = policy_named(ask.rules.policy)
        policy = bound(policy, self._world, self._now, self._table, ask, self._past)
        if is_ruled(self._table, ask):
            return Ruled(self._table, ask, policy, self._taken, self._policy.fall)
        if policy is not self._policy:
            policy = replace(policy, fall=None)  # what others take is told by what it is to the cluster's policy
        return Alike(self._table, ask, policy, self._taken, self._policy.fall)

    def _plain(self, tasks: Sequence[Task], first: int, spec: ServiceSpec) -> int:
        """The end of the tasks from `first` on that may go anywhere."""
        for place in range(first, len(tasks)):
            if tasks[place].pinned or avoided(self._world, tasks[place], spec, self._now):
                return place
        return len(tasks)

    def _settle_many(self, tasks: Sequence[Task], one: Alike | Ruled) -> int:
        """Place the first of some tasks that may go anywhere, at least one if there is room; how many were settled."""
        done = 0
        for task, (node, ports, message) in zip(tasks, one.give_many(len(tasks)), strict=False):
            self.changes.append(_placed(task, self._guards[node], ports, {}, message, self._now))
            done += 1
        if not done:
            self._turn_away(tasks, one, (), {})
        return done or len(tasks)

    def _turn_away(self, tasks: Sequence[Task], one: Alike | Ruled, ties: Ties, avoids: Mapping[str, float]) -> None:
        """Make room for tasks of one class that no node takes, or say why."""
        if not self.making.may_help(one.ask.service):
            self._refuse(tasks, one, ties, "")
            return
        refused, others = [], []
        for task in tasks:
            if not self.making.may_displace(task):
                others.append(task)
                continue
            room = self.making.room_for(task, one.ask, ties, avoids)
            if room is None:
                refused.append(task)
            else:
                self.changes += room
        self._refuse(refused, one, ties, f"; {NOBODY}")
        self._refuse(others, one, ties, "")

    def _refuse(self, tasks: Sequence[Task], one: Alike | Ruled, ties: Ties, more: str) -> None:
        if not tasks:
            return
        text, again = one.refusal(ties)
        self.refuse(tasks, text + more)
        self._hopes = self._hopes or waits_for_others(one.ask)
        if again is not None:
            self.looks.append(again)

    def _settle_one(self, task: Task, spec: ServiceSpec, one: Alike | Ruled) -> None:
        """Place a task, on a node that it avoids only if there is no other; or say why not."""
        avoids = avoided(self._world, task, spec, self._now)
        ties = self._volumes.ties(task, spec)
        row = one.best(ties, avoids)
        if row is None:
            self._turn_away((task,), one, ties, avoids)
            return
        node = self._table.names[row]
        message = about_ties(task, ties) or one.policy.sentence(self._table, one.ask, row)
        message += one.about(row)
        message += about_avoided(avoids, node)
        ports = one.give(row)
        change = _placed(task, self._guards[node], ports, dict(avoids), message, self._now, self._table.devices)
        assert isinstance(change.after, Task)
        self.changes += self._volumes.place(change.after, spec, self._world.nodes[node], self._now)
        self.changes.append(change)


class _Guards(dict[str, Guard]):
    """Nodes as they were when they were chosen, each made once: nothing is placed on one whose record says anything
    else by then."""

    def __init__(self, world: Snapshot) -> None:
        super().__init__()
        self._world = world

    def __missing__(self, node: str) -> Guard:
        found = self[node] = on_node(node, self._world.nodes[node])
        return found


def about_ties(task: Task, ties: Ties) -> str:
    """Why a task is where it is, if it may go to few nodes only."""
    return f"pinned to {task.pinned}" if task.pinned else ", ".join(tie.words for tie in ties)


def about_avoided(avoids: Mapping[str, float], node: str) -> str:
    """What a sentence about a task's place has to say of the nodes that it avoids."""
    if not avoids:
        return ""
    often = f"its slot failed {restart.LOOP_ENDS} times in a row"
    if node in avoids:
        return f"; no other fits, although {often} there"
    return f"; keeps away from {', '.join(avoids)}, where {often}"


def _placed(
    task: Task,
    node: Guard,
    ports: tuple[PublishedPort, ...],
    avoids: dict[str, float],
    message: str,
    now: float,
    devices: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Change:
    after = replace(
        task,
        state=State.PLACED,
        node=node.id,
        avoids=avoids,
        ports=ports,
        devices=dict(devices),
        claims="",
        placed_at=now,
        reason=Reason.PLACED,
        message=message,
    )
    return changed(task, after, Owner.PLACEMENT, Reason.PLACED, message, node)


def _refused(task: Task, text: str) -> Change | None:
    """The change that says why `task` has no node yet; None if its record says so already."""
    if task.message == text:
        return None
    after = replace(task, claims="", reason=Reason.NO_NODE, message=text)
    return changed(task, after, Owner.PLACEMENT, Reason.NO_NODE, text)
