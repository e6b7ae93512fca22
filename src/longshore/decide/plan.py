"""What an apply would do, found by doing it to a copy: the same wishes, decisions and placement, without the commit.

Snapshots are immutable, so the copy costs nothing and what is shown cannot differ from what would happen if nothing
else did. The decisions come in as arguments; what a rollout does later, step by step, is only named.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from longshore.decide.admission import admit
from longshore.decide.dependencies import waits
from longshore.decide.differences import differences
from longshore.decide.wishes import apply_app, services_of_app
from longshore.model.changes import COMMIT_CHANGES_MAX, Change
from longshore.model.lifecycle import State
from longshore.model.objects import Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, ServiceSpec
from longshore.model.views import Effect, FieldChange, Plan, PlannedService, PlannedTask

DecideService = Callable[[Snapshot, str, float], tuple[Sequence[Change], float | None]]
Place = Callable[[Snapshot, float], tuple[Sequence[Change], float | None]]


def plan(
    world: Snapshot,
    app: str,
    specs: Mapping[str, ServiceSpec],
    now: float,
    *,
    decide_services: DecideService,
    place: Place,
) -> Plan:
    """What `apply_app` with the same arguments would lead to. Raises what it would raise."""
    names = sorted({*specs, *(service.name for service in services_of_app(world, app))})
    after = _applied(world, apply_app(world, app, specs, now), now)
    for name in names:
        changes, _ = decide_services(after, name, now)
        after = _applied(after, changes, now)
    # A pass may place only so many; another then places the rest, or nothing.
    while changes := place(after, now)[0]:
        following = _applied(after, changes, now)
        if _waiting(following) == _waiting(after):
            after = following
            break
        after = following
    services = tuple(_planned(world, after, name) for name in names)
    return Plan(app=app, revision=world.revision, services=services)


def _applied(world: Snapshot, changes: Sequence[Change], now: float) -> Snapshot:
    for first in range(0, len(changes), COMMIT_CHANGES_MAX):
        world, _ = world.apply(changes[first : first + COMMIT_CHANGES_MAX], (), now)
    return world


def _waiting(world: Snapshot) -> int:
    return sum(task.state is State.NEW for task in world.tasks())


def _planned(world: Snapshot, after: Snapshot, name: str) -> PlannedService:
    old, new = world.services.get(name), after.services.get(name)
    before, following = world.tasks_of_service(name), after.tasks_of_service(name)
    counted = [task for task in _ordered(before) if task.counts]
    kept = {task.id for task in counted if (one := following.get(task.id)) is not None and one.counts}
    return PlannedService(
        name=name,
        effect=_effect(old, new),
        changes=_changes(old, new),
        start=tuple(_start(task) for task in _ordered(following) if task.id not in before and task.counts),
        replace=tuple(
            task.id for task in counted if task.id in kept and new is not None and task.release != new.release
        ),
        stop=tuple(task.id for task in counted if task.id not in kept),
        waits=waits(after, new) if new is not None else (),
    )


def _ordered(tasks: Mapping[str, Task]) -> list[Task]:
    return sorted(tasks.values(), key=lambda task: (task.slot, task.generation))


def _start(task: Task) -> PlannedTask:
    # Until placement writes why, a new task's message tells what it replaces.
    refused = task.message if task.reason is Reason.NO_NODE else "no node fits"
    if task.claims:
        refused = f"{task.reason} {task.message}"
    return PlannedTask(id=task.id, node=task.node, message="" if task.node else refused)


def _effect(old: Service | None, new: Service | None) -> Effect:
    if new is None:
        return Effect.REMOVE
    if old is None:
        return Effect.CREATE
    if old.spec == new.spec:
        return Effect.KEEP
    return Effect.SCALE if replace(old.spec, replicas=new.spec.replicas) == new.spec else Effect.UPDATE


def _changes(old: Service | None, new: Service | None) -> tuple[FieldChange, ...]:
    """What differs; of a new service, what differs from the defaults."""
    if new is None:
        return ()
    if old is not None:
        return differences(old.spec, new.spec)
    default = replace(admit(ServiceSpec(image="none", mode=new.spec.mode)), image="", mode=Mode.REPLICATED)
    return tuple(replace(change, before="") for change in differences(default, new.spec))
