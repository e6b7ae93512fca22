"""What anybody could mend at once, and nobody does: found by looking at the store alone, every second.

Most of what is amiss in a storm has to wait for a machine, a container or a user. This is what waits for nothing: a
decision is due, and all that it takes is one look and one commit. So it may last for as long as a commit and its
repetition take, and no longer. A decision that got lost is seen by this before something else wakes its key. So is a
task that waits for a node although one has room, which nobody told placement of.
"""

from collections.abc import Collection, Iterator, Mapping

from longshore.decide import restart
from longshore.decide.dependencies import meanwhile, service_for
from longshore.decide.placement.ask import ask_of
from longshore.decide.placement.constraints import gives_up
from longshore.decide.placement.displacement.claims import hold_before
from longshore.decide.placement.filters import rows_within, sieve
from longshore.decide.placement.scoring.policies import policy_named
from longshore.decide.placement.table import NodeTable
from longshore.decide.placement.volumes import Volumes
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Node, NodeStatus, Service, Task, by_slot
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, drain_s_of, volumes_of

MEND_S = 15.0
"""A slow store takes 1.5 s for a commit, and one that was lost is repeated after a moment; a conflict looks again."""
ROOM_EVERY_S = 5.0
"""How often room is looked for: it costs more than all else that is looked at."""
LOOKS_APART_S = 2.0
"""What was amiss at two looks that are further apart need not have been so between them."""


_Seen = tuple[Service | None, Mapping[str, Task], Mapping[str, Node]]


class Mending:
    """Remembers since when each thing has been amiss."""

    def __init__(self, policy: str) -> None:
        self._largest_first = policy_named(policy).largest_first
        self._since: dict[str, float] = {}
        self._looked_at = 0.0
        self._calm: dict[str, _Seen] = {}
        """Services of which nothing is amiss as long as they, their tasks and the nodes are what they were, however
        late it gets."""
        self._waiting: list[str] = []
        """What waited although there was room, when that was last looked at."""
        self._room_at, self._room_revision = 0.0, 0

    def look(self, world: Snapshot, now: float, at: float, quiet_since: float) -> list[str]:
        """What has been amiss for too long. `now` is the manager's time, `at` the true one; who decides could do so
        without a break since `quiet_since`."""
        if at - self._looked_at > LOOKS_APART_S:
            self._since.clear()  # an id may have been given anew meanwhile
        self._looked_at = at
        if at - self._room_at >= ROOM_EVERY_S:
            # A port that was taken may be tried again in time, and that is the only thing that comes with it alone.
            if world.revision != self._room_revision or self._waiting:
                self._waiting = [*_could_be_placed(world, now, largest_first=self._largest_first)]
            self._room_at, self._room_revision = at, world.revision
        found = {*amiss(world, now, self._calm), *self._waiting}
        self._since = {one: self._since.get(one, at) for one in sorted(found)}
        return [
            f"{one} for {MEND_S:.0f} s" for one, since in self._since.items() if at - max(since, quiet_since) > MEND_S
        ]


def amiss(world: Snapshot, now: float, calm: dict[str, _Seen]) -> Iterator[str]:
    """Each thing that one look could mend. Services that are `calm` are passed over, and those that turn out to be are
    noted there."""
    for name in {**world.services_with_tasks, **world.services}:
        service, tasks = world.services.get(name), world.tasks_of_service(name)
        seen, before = (service, tasks, world.nodes), calm.get(name)
        # By identity: a snapshot shares with the next one what does not change.
        if before is not None and all(one is other for one, other in zip(seen, before, strict=True)):
            continue
        calm.pop(name, None)
        goes_on = meanwhile(world, service) if service is not None else None
        found = [sentence for task in tasks.values() for sentence in _task(world, goes_on, task, now)]
        if goes_on is not None:
            found += [*_slots(world, goes_on, now), *_not_let_go(world, goes_on)]
        if service is not None and not found and _is_timeless(service, tasks.values()):
            calm[name] = seen
        yield from found


def _is_timeless(service: Service, tasks: Collection[Task]) -> bool:
    """Whether nothing becomes due by itself: nobody is leaving, and every slot has a live task."""
    filled = {task.slot for task in tasks if task.live}
    return not any(task.wanted is Wanted.LEAVING for task in tasks) and (
        service.spec.mode is Mode.GLOBAL or filled.issuperset(range(1, service.spec.replicas + 1))
    )


_LOOKED_AT = (Reason.NO_NODE, Reason.MAKES_ROOM)


def _task(world: Snapshot, service: Service | None, task: Task, now: float) -> Iterator[str]:
    node = world.nodes.get(task.node)
    if task.live and task.node and (node is None or node.status is NodeStatus.DOWN):
        yield f"{task.id} stays on {task.node}, which is down,"
    if task.state is State.NEW and task.wanted is Wanted.RUNNING and task.reason not in _LOOKED_AT:
        yield f"{task.id} is not looked at by placement"
    if task.wanted is Wanted.REMOVED and not task.live and not task.container_id:
        yield f"{task.id} is gone, and is not forgotten"
    if task.stands_by and (task.ready or not _is_served(world, task)):
        yield f"{task.id} stands by, and is not called"
    if service is None:
        if task.wanted is not Wanted.REMOVED:
            yield f"{task.id} is not removed with its service"
    elif task.live and task.wanted is Wanted.LEAVING and (task.leaving_at or 0.0) + drain_s_of(service.spec) < now:
        yield f"{task.id} has left, and is not stopped"
    elif task.counts and service.spec.mode is not Mode.GLOBAL and task.slot > service.spec.replicas:
        yield f"{task.id} is one too many"


def _not_let_go(world: Snapshot, service: Service) -> Iterator[str]:
    """Tasks of a service of which nothing is under way, on nodes that are to have none of them."""
    tasks = world.tasks_of_service(service.name).values()
    newest: dict[int, Task] = {}
    for task in tasks:
        if task.slot not in newest or newest[task.slot].generation < task.generation:
            newest[task.slot] = task
    if service.spec.mode is not Mode.REPLICATED or not all(one.counts and one.ready for one in newest.values()):
        return
    for task in newest.values():
        node, release = world.nodes.get(task.node), world.release(task.service, task.release)
        if node is not None and release is not None and not task.moves_to and gives_up(node, release.spec):
            yield f"{task.id} is not relieved on {task.node}, which gives it up,"


def _could_be_placed(world: Snapshot, now: float, *, largest_first: bool) -> Iterator[str]:
    """Tasks that were told that no node takes them. One speaks for all that are alike."""
    alike: dict[tuple[str, int, str, int], Task] = {}
    for name in sorted(world.services_with_tasks):
        for task in world.tasks_of_service(name).values():
            if task.state is State.NEW and task.wanted is Wanted.RUNNING and task.reason is Reason.NO_NODE:
                release = world.release(name, task.release)
                slot = task.slot if release is not None and volumes_of(release.spec) else 0
                alike.setdefault((name, task.release, task.pinned, slot), task)
    if not alike:
        return
    table, volumes = NodeTable(world, now), Volumes(world)
    for task in alike.values():
        if _has_room(world, table, volumes, task):
            left = NodeTable(world, now)
            # Counted only where it matters, as it is another table for each task.
            if not hold_before(world, left, task, largest_first=largest_first) or _has_room(world, left, volumes, task):
                yield f"{task.id} waits for a node, and one has room"


def _has_room(world: Snapshot, table: NodeTable, volumes: Volumes, task: Task) -> bool:
    release = world.release(task.service, task.release)
    if release is None:
        return False
    room = sieve(table, ask_of(task.service, release.spec)).room
    ties = volumes.ties(task, release.spec)
    return any(room[row] > 0 for row in (rows_within(table, ties) if ties else range(len(table))))


def _is_served(world: Snapshot, task: Task) -> bool:
    """Whether another one of its slot serves."""
    return any(
        one.counts and one.ready and one.slot == task.slot for one in world.tasks_of_service(task.service).values()
    )


def _slots(world: Snapshot, service: Service, now: float) -> Iterator[str]:
    """Slots that nobody fills, although nothing is waited for."""
    if service.spec.mode is Mode.GLOBAL:
        return
    slots = by_slot(world.tasks_of_service(service.name).values())
    for slot in range(1, service.spec.replicas + 1):
        here = slots.get(slot, [])
        if any(task.live for task in here):
            continue
        last = restart.left_by(here) if here else None
        following = service_for(world, service, last)
        if following is None:
            continue  # it waits for what its service depends on
        at = restart.next_at(last, following) if last is not None else 0.0
        if at is None or at > now:
            continue
        yield f"slot {service.name}.{slot} is not filled"
