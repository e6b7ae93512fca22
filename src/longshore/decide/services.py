"""Which tasks should exist: one that counts in every slot of every service, and no others.

Reads one service and its tasks; returns the changes that bring them nearer to the wish, and when to look again if a
restart has to wait. Does not place tasks, does not pick which old release to replace next, and does not know why a
task ended: `restart.next_at` says when its slot may be filled, `dependencies` with which release. Whatever is missing
or doubled, the same function mends.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from longshore.decide import moves, restart
from longshore.decide.dependencies import meanwhile, service_for
from longshore.decide.placement.constraints import covers
from longshore.model.changes import Change, changed, deleted, on_node, raise_wanted
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Kind, NodeStatus, ReleasePhase, Service, Task, by_slot, slot_by_node, task_id
from longshore.model.reasons import Reason
from longshore.model.retention import Retention
from longshore.model.sharing import Part, Slots
from longshore.model.signs import finished, releases_of, signs
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, drain_s_of

KEPT = Retention()


def decide(world: Snapshot, name: str, now: float, kept: Retention = KEPT) -> tuple[list[Change], float | None]:
    """Changes for the tasks and releases of service `name`, and when to look again. `kept` is of what is over."""
    service = world.services.get(name)
    tasks = world.tasks_of_service(name)
    over_at = _over_at(world, service, tasks, kept) if service is not None else None
    if service is not None and over_at is not None and over_at <= now:
        return [deleted(Kind.SERVICE, name, service.revision, Owner.SERVICES, Reason.KEPT_LONG_ENOUGH)], None
    wished, service = service, meanwhile(world, service) if service is not None else None
    again = None
    if service is None:
        stir = [task for part in tasks.parts if not signs(part).leaves_for_good for task in part.tasks.values()]
        changes = _removed(stir, Reason.SERVICE_REMOVED)
    elif service.spec.mode is Mode.GLOBAL:
        stir = list(tasks.values())
        filled = by_slot(stir)
        changes, again = _slots(world, service, filled, _slots_wanted(world, service, filled), now, kept)
    else:
        parts = [part for part in tasks.covering(service.spec.replicas) if not _is_settled(service, part)]
        stir = [task for part in parts for task in part.tasks.values()]
        slots = (slot for part in parts for slot in part.slots if 1 <= slot <= service.spec.replicas)
        changes, again = _slots(world, service, by_slot(stir), dict.fromkeys(slots, ""), now, kept)
    touched = {change.id for change in changes}
    changes += [change for change in _forgotten(world, stir) if change.id not in touched]
    changes += _unused_releases(world, wished, name, tasks, kept)
    return changes, min((at for at in (again, over_at) if at is not None), default=None)


def _over_at(world: Snapshot, service: Service, tasks: Slots, kept: Retention) -> float | None:
    """When a job that is done has been kept for long enough; None is never. One that others wait for stays, and one
    that was scaled up since is not done again before all its slots are."""
    release = world.release(service.name, service.release)
    if kept.jobs_s is None or service.spec.mode is not Mode.JOB or release is None or release.finished_at is None:
        return None
    if release.phase is not ReleasePhase.DONE or service.name in world.services.derive(_waited_for):
        return None
    if finished(tasks.parts, service.release, service.spec.replicas) < service.spec.replicas:
        return None
    return max([release.finished_at, *(task.finished_at or 0.0 for task in tasks.values())]) + kept.jobs_s


def _waited_for(services: Mapping[str, Service]) -> frozenset[str]:
    return frozenset(one.service for service in services.values() for one in service.spec.depends)


def _is_settled(service: Service, part: Part) -> bool:
    """Whether each slot of a part that shall have a task has one that fills it or, in a job, has done its work, and no
    other has any: then there is nothing to do, whatever else is."""
    wanted = min(part.slots.stop - 1, service.spec.replicas) - max(part.slots.start, 1) + 1
    if not part.tasks:
        return wanted <= 0
    seen = signs(part)
    if not seen.alone or seen.slots != wanted or seen.slot_last > service.spec.replicas:
        return False
    return not seen.done or (service.spec.mode is Mode.JOB and seen.done_releases == {service.release})


def _slots(
    world: Snapshot,
    service: Service,
    filled: Mapping[int, list[Task]],
    slots: Mapping[int, str],
    now: float,
    kept: Retention,
) -> tuple[list[Change], float | None]:
    """Fill empty ones of the `slots` that shall be filled, remove tasks that are too many, forget history."""
    surplus = Reason.NODE_NOT_ELIGIBLE if service.spec.mode is Mode.GLOBAL else Reason.SCALED_DOWN
    changes: list[Change] = []
    looks: list[float] = []
    first = _turn(world, service, [])
    for slot in sorted(slots.keys() | filled.keys()):
        here = filled.get(slot, [])
        if not here:
            if first is not None:
                changes.append(_new_task(first, slot, slots[slot], here, now))
            continue
        if slot not in slots:
            changes += [_on_its_node(world, one) for one in _dismissed(service, here, surplus, now, looks)]
            continue
        counting = [task for task in here if task.counts]
        if service.spec.mode is Mode.GLOBAL:
            # Of a time when the service was not global: it may be on any node, so it does not fill this one's slot.
            changes += _removed([task for task in counting if task.pinned != slots[slot]], surplus)
            counting = [task for task in counting if task.pinned == slots[slot]]
        # Two that count in one slot can only come from a store that was edited by hand; the newest stays.
        changes += _removed(counting[:-1], Reason.SUPERSEDED)
        changes += _history(here, kept)
        turn = None if counting else _turn(world, service, here)
        at = _fill_at(turn, here) if turn is not None else None
        if at is not None and at > now:
            looks.append(at)
        elif at is not None and turn is not None:
            changes.append(_new_task(turn, slot, slots[slot], here, now))
    return changes, min(looks, default=None)


def _slots_wanted(world: Snapshot, service: Service, filled: Mapping[int, list[Task]]) -> dict[int, str]:
    """Each slot that a global service shall fill, with the node it is pinned to."""
    slot_of = slot_by_node(filled)
    slots: dict[int, str] = {}
    free = 1
    for name in sorted(world.nodes):
        if not _holds(world, service, name, filled.get(slot_of.get(name, 0), [])):
            continue
        if name not in slot_of:
            while free in filled or free in slots:
                free += 1
            slot_of[name] = free
        slots[slot_of[name]] = name
    return slots


def _holds(world: Snapshot, service: Service, node: str, here: list[Task]) -> bool:
    """Whether a global service shall have a task on `node`, whose slot's tasks are `here`: by the release that the slot
    goes on with. A paused node keeps what it has and gets nothing new."""
    turn = _turn(world, service, here)
    return turn is not None and covers(world.nodes[node], turn.spec, has=any(task.counts for task in here))


def _turn(world: Snapshot, service: Service, here: list[Task]) -> Service | None:
    """The service as the next task of a slot is to see it; None if the slot has to wait."""
    return service_for(world, service, restart.left_by(here) if here else None)


def _fill_at(service: Service, here: list[Task]) -> float | None:
    """When the slot whose tasks are `here`, none of which counts, may get a new one. None is not now: a task is still
    on its way out, the job's slot is done, or the restart policy gave up."""
    if any(task.live for task in here):
        return None
    return restart.next_at(restart.left_by(here), service) if here else 0.0


def _new_task(service: Service, slot: int, pinned: str, here: list[Task], now: float) -> Change:
    former = restart.left_by(here) if here else None
    generation = here[-1].generation + 1 if here else 1
    id = task_id(service.name, slot, generation)
    attempt = 0
    if former is not None and former.release == service.release:
        attempt = restart.attempt_after(former, service.spec)
    reason = Reason.REPLACES if former else Reason.SLOT_EMPTY
    message = f"replaces {former.id}: {former.reason}" if former else ""
    task = Task(
        id=id,
        service=service.name,
        slot=slot,
        generation=generation,
        release=service.release,
        pinned=pinned or (moves.target_of(former, service) if former is not None else ""),
        attempt=attempt,
        reason=reason,
        message=message,
        created_at=now,
    )
    return Change(kind=Kind.TASK, id=id, before=0, after=task, by=Owner.SERVICES, reason=reason, message=message)


def _history(here: list[Task], kept: Retention) -> list[Change]:
    """Remove the oldest ended tasks of a slot; never its newest, whose generation the next task counts on from."""
    ended = [task for task in here if not task.live]
    return _removed(ended[: max(0, len(ended) - kept.tasks)], Reason.HISTORY_FULL)


def _removed(tasks: Iterable[Task], reason: Reason) -> list[Change]:
    """Have these tasks removed, container and all."""
    changes = (raise_wanted(task, Wanted.REMOVED, reason, Owner.SERVICES) for task in tasks)
    return [change for change in changes if change is not None]


def _dismissed(service: Service, tasks: Iterable[Task], reason: Reason, now: float, looks: list[float]) -> list[Change]:
    """Have these tasks removed; what serves requests leaves the rotation first."""
    drain_s = drain_s_of(service.spec)
    changes = []
    for task in tasks:
        serves = drain_s and task.live and task.ready and not task.relieves
        if not serves or task.wanted not in (Wanted.RUNNING, Wanted.LEAVING):
            changes += _removed([task], reason)
        elif task.wanted is Wanted.RUNNING:
            after = replace(task, wanted=Wanted.LEAVING, leaving_at=now)
            changes.append(changed(task, after, Owner.SERVICES, reason, "leaves the rotation"))
            looks.append(now + drain_s)
        elif (at := (task.leaving_at or 0.0) + drain_s) > now:
            looks.append(at)
        else:
            changes += _removed([task], reason)
    return changes


def _on_its_node(world: Snapshot, change: Change) -> Change:
    """What is said of a task because of its node rests on the node's record."""
    task = world.task(change.id)
    if change.reason is not Reason.NODE_NOT_ELIGIBLE or task is None or not task.pinned:
        return change
    return replace(change, rests_on=on_node(task.pinned, world.nodes.get(task.pinned)))


def _forgotten(world: Snapshot, tasks: Iterable[Task]) -> list[Change]:
    """Delete the records of tasks that are to be removed and have no container any more, or none that can be reached:
    a node that returns removes whatever it finds there that has no record."""
    changes = []
    for task in _ordered(tasks):
        if task.wanted is not Wanted.REMOVED or task.live:
            continue
        node = world.nodes.get(task.node)
        unreachable = node is None or node.status is NodeStatus.DOWN or task.state is State.LOST
        if not task.container_id or unreachable:
            changes.append(deleted(Kind.TASK, task.id, task.revision, Owner.SERVICES, Reason.CONTAINER_REMOVED))
    return changes


def _unused_releases(
    world: Snapshot, service: Service | None, name: str, tasks: Slots, kept: Retention
) -> list[Change]:
    """Delete releases that neither the service nor any task names, and that are too old to go back to."""
    releases = world.releases_of(name)
    used = {service.release, *sorted(world.own_releases(service))[-kept.releases :]} if service is not None else set()
    if used >= releases.keys():
        return []
    used |= {number for part in tasks.parts for number in releases_of(part)}
    return [
        deleted(Kind.RELEASE, release.id, release.revision, Owner.SERVICES, Reason.UNUSED)
        for number, release in sorted(releases.items())
        if number not in used
    ]


def _ordered(tasks: Iterable[Task]) -> list[Task]:
    return sorted(tasks, key=lambda task: (task.slot, task.generation))
