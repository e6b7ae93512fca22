"""Tasks that are to move for balance: whose turn it is, and when one stays after all.

What is to move is in the tasks' records (`moves_to`, `moves_turn`); so every service sees the same order, without
anybody who hands out turns. A move is a luxury: whatever else comes between wins, and the task stays where it is. How
one task gives way to another is `rollout`'s, which moves are worth it `rebalance`'s.
"""

from collections.abc import Collection, Iterable

from longshore.decide.placement.constraints import eligible, gives_up
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Availability, Node, NodeStatus, ReleasePhase, Service, Task
from longshore.model.reasons import Reason
from longshore.model.signs import signs
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode

AT_ONCE = 2
"""Moves under way at a time in the whole cluster."""
TURN_LOOK_S = 1.0
"""How often a service looks whether it is the turn of one of its tasks."""
NO_ROOM_S = 5.0
"""So long a move that finds no room waits, once there is none before it that may make some."""

Again = float | None


def under_way(world: Snapshot) -> list[Task]:
    """Tasks that are to move and have not, and those that were started for a move and do not run yet, in turn."""
    some = (
        task
        for tasks in world.services_with_tasks.values()
        for part in tasks.parts
        if signs(part).gives_way or signs(part).pinned
        for task in part.tasks.values()
    )
    found = [task for task in some if task.live and (task.moves_to or _arrives(world, task))]
    return sorted(found, key=lambda task: (task.moves_turn, task.service, task.slot))


def was_sent(world: Snapshot, service: Service, task: Task) -> bool:
    """Whether it was started for a move, and is bound to its node for that: not as one of a service that is global, or
    was at its release."""
    if not task.pinned or service.spec.mode is Mode.GLOBAL:
        return False
    own = world.release(task.service, task.release)
    return own is not None and own.spec.mode is Mode.REPLICATED


def _arrives(world: Snapshot, task: Task) -> bool:
    """Whether it fills its slot, which was emptied for its move, and has not come to its node yet."""
    service = world.services.get(task.service)
    return task.counts and service is not None and was_sent(world, service, task)


def whose_turn(world: Snapshot) -> list[str]:
    """Ids of the tasks that may move now, the first first."""
    return [task.id for task in under_way(world)[:AT_ONCE]]


def target_of(task: Task, service: Service) -> str:
    """The node that the task after `task`, which ended, is started on for its move."""
    stopped = task.state is State.STOPPED and task.wanted is Wanted.STOPPED and task.release == service.release
    return task.moves_to if stopped and service.spec.mode is Mode.REPLICATED else ""


def why_stays(
    world: Snapshot, service: Service, task: Task, tasks: Collection[Task], turn: Collection[str], now: float
) -> tuple[str, Again]:
    """Why a task that fills its slot and is to move stays after all; empty if it may go on, and then when to look
    again. `tasks` are those of its service, `turn` as of `whose_turn`."""
    release = world.release(service.name, service.release)
    if service.spec.mode is not Mode.REPLICATED:
        return f"{service.name} is {service.spec.mode} now", None
    if release is None or release.phase is not ReleasePhase.DONE or task.release != service.release:
        return f"release {service.release} of {service.name} comes first", None
    source, target = world.nodes.get(task.node), world.nodes.get(task.moves_to)
    if source is not None and gives_up(source, service.spec):
        return f"{source.name} is {source.availability if source.availability.gives_up else 'tainted'}", None
    if target is None or not eligible(target, service.spec) or target.held:
        return _closed(task.moves_to, target), None
    reliefs = [one for one in tasks if one.relieves == task.id and one.pinned == task.moves_to]
    relief = next((one for one in reliefs if one.wanted is Wanted.RUNNING), None)
    if relief is not None:
        return _fails(service, relief, bool(turn) and task.id == next(iter(turn)), now)
    empty = _unserved(world, service, tasks)
    return (f"{service.name}.{empty[0]} is not served", None) if empty else ("", None)


def _closed(name: str, node: Node | None) -> str:
    """What is the matter with a node that was to take a task."""
    if node is None:
        return f"{name} is gone"
    if node.status is NodeStatus.DOWN:
        return f"{name} is down"
    if node.held:
        return f"{name} is silent"
    if node.availability is not Availability.ACTIVE:
        return f"{name} is {node.availability}"
    return f"{name} takes it no more"


def _fails(service: Service, relief: Task, first: bool, now: float) -> tuple[str, Again]:
    """What becomes of the task that was started for a move."""
    if not relief.live:
        said = f": {relief.message}" if relief.message else ""
        return f"{relief.id} did not come up on {relief.pinned}: {relief.reason}{said}", None
    at = None
    if relief.state is State.NEW and relief.reason is Reason.NO_NODE and first:
        at = relief.created_at + NO_ROOM_S
        words = f"{relief.pinned} has no room: {relief.message}"
    elif relief.state is State.RUNNING and not relief.ready:
        at = (relief.started_at or now) + service.spec.update.ready_s
        words = f"{relief.id} was not ready on {relief.pinned} after {service.spec.update.ready_s:g} s"
    return (words, None) if at is not None and at <= now else ("", at)


def _unserved(world: Snapshot, service: Service, tasks: Iterable[Task]) -> list[int]:
    """Slots that nobody serves, but for those that were emptied for a move."""
    served = {task.slot for task in tasks if task.counts and task.ready}
    moving = {
        task.slot
        for task in tasks
        if task.live and ((task.moves_to and not task.counts) or was_sent(world, service, task))
    }
    return sorted(set(range(1, service.spec.replicas + 1)) - served - moving)
