"""What a release waits for before it starts tasks: the conditions that its service names, as they stand in this world.

They order starts, and nothing else: only a release that is being rolled out for the first time waits. What it has
started already is replaced without them, so a database that breaks does not take down what uses it; and coming back to
an earlier release never waits. Meanwhile a slot goes on with the release it has. Knows services, releases and tasks;
what is done about it is `services`' and `rollout`'s, and all who tell of it ask here.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from longshore.decide import restart
from longshore.decide.placement.constraints import eligible
from longshore.model.errors import Invalid
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Release, ReleasePhase, Service, Task, by_slot
from longshore.model.ordering import cycle, flaws
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Condition, Dependency, Mode, ServiceSpec

_UNDER_WAY = (ReleasePhase.ROLLING, ReleasePhase.PAUSED)
_MISSING = "there is no such service"


def waits(world: Snapshot, service: Service) -> tuple[str, ...]:
    """What the current release of `service` still waits for, each in words; empty if it may start tasks."""
    release = world.release(service.name, service.release)
    if not service.spec.depends or release is None or release.phase not in _UNDER_WAY:
        return ()
    if any(number > release.number for number in world.releases_of(service.name)):
        return ()  # the cluster came back to it
    return tuple(words for one in service.spec.depends if (words := _lacks(world, one)))


def told(world: Snapshot, service: Service) -> str:
    """The same as one sentence; empty if it waits for nothing."""
    found = waits(world, service)
    return f"release {service.release} waits for {'; '.join(found)}" if found else ""


def release_for(world: Snapshot, service: Service, former: Task | None) -> Release | None:
    """What the next task runs in a slot of `service` that `former` filled last; None if there is to be none before what
    the current release waits for."""
    current = world.release(service.name, service.release)
    if former is not None and former.release == service.release:
        return current
    if not waits(world, service):
        return current
    own = world.own_releases(service).get(former.release) if former is not None else None
    return own if own is not None and own.spec.mode is service.spec.mode else None


def meanwhile(world: Snapshot, service: Service) -> Service:
    """The service as it goes on until its current release may start: as it was, if that has not begun and is of another
    mode, by which there would be other slots than those that are filled. These stay, however many there came to be."""
    if not waits(world, service):
        return service
    slots = by_slot(world.tasks_of_service(service.name).values())
    last = [task for here in slots.values() if (task := restart.left_by(here)).wanted is not Wanted.REMOVED]
    own = world.own_releases(service)
    numbers = {task.release for task in last} & own.keys()
    former = own[max(numbers)] if numbers and service.release not in numbers else None
    if former is None or former.spec.mode is service.spec.mode:
        return service
    spec = replace(former.spec, replicas=max(task.slot for task in last))
    return replace(service, release=former.number, spec=spec)


def service_for(world: Snapshot, service: Service, former: Task | None) -> Service | None:
    """`service` as the next task is to see it in a slot that `former` filled last: while the current release has to
    wait, as it was at the one that the slot has; None if there is to be none."""
    release = release_for(world, service, former)
    if release is None or release.number == service.release:
        return service if release is not None else None
    return replace(service, release=release.number, spec=release.spec)


def _lacks(world: Snapshot, dependency: Dependency) -> str:
    """What is missing of a condition; empty if it holds."""
    name, condition = dependency.service, dependency.condition
    service = world.services.get(name)
    release = world.release(name, service.release) if service is not None else None
    if service is None or release is None:
        return f"{name}: {_MISSING}"
    if condition is Condition.COMPLETED and service.spec.mode is not Mode.JOB:
        return f"{name}: it is no job, so it never completes"
    wanted = _slots(world, service)
    slots = {task.slot for task in world.tasks_of_service(name).values() if _meets(service, task, condition)}
    there = len(slots) if service.spec.mode is Mode.GLOBAL else sum(slot <= wanted for slot in slots)
    holds = release.phase is ReleasePhase.DONE if condition is Condition.COMPLETED else there >= wanted
    return "" if holds else f"{name}: {there} of {wanted} {condition}"


def _meets(service: Service, task: Task, condition: Condition) -> bool:
    """Whether a slot has come as far as is asked, by this task of it."""
    if task.release != service.release:
        return False
    if service.spec.mode is Mode.JOB and task.state is State.FINISHED:
        return True
    if condition is Condition.COMPLETED or not task.counts or task.state is not State.RUNNING:
        return False
    return task.ready or condition is Condition.STARTED


def _slots(world: Snapshot, service: Service) -> int:
    if service.spec.mode is not Mode.GLOBAL:
        return service.spec.replicas
    return sum(eligible(node, service.spec) for node in world.nodes.values())


# -- what may be wished


def check_app(specs: Mapping[str, ServiceSpec]) -> None:
    """Raises Invalid if a service of an app waits for one that is not in it, for what never comes, or for itself."""
    for flaw in flaws(specs):
        raise Invalid(flaw.message, field=f"services.{flaw.service}.depends[{flaw.place}]")


def check_service(name: str, spec: ServiceSpec, standing: Mapping[str, ServiceSpec]) -> None:
    """Raises Invalid if the services that there are would wait for each other in a circle with this one. One that is
    not there yet may come."""
    graph = {key: [one.service for one in each.depends] for key, each in {**standing, name: spec}.items()}
    circle = cycle({key: [one for one in others if one in graph] for key, others in graph.items() if others})
    if name in circle:
        raise Invalid(f"{' waits for '.join(circle)}; break the circle", field="spec.depends")
