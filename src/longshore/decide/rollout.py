"""Which task of an older release gives way next.

One at a time, and only while every slot is filled by a task that is ready: so a new release that does not become ready
stops the rollout by itself, with all other tasks still on the old one. Tasks that serve nobody (not ready, or of a
job) give way at once. It only stops tasks; `services` fills the slots it empties with the current release.
"""

from longshore.decide.placement.constraints import eligible
from longshore.model.changes import Change, raise_wanted
from longshore.model.lifecycle import Owner, Wanted
from longshore.model.objects import Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode


def decide(world: Snapshot, name: str, now: float) -> tuple[list[Change], float | None]:
    """Changes that take service `name` one step nearer to its current release."""
    service = world.services.get(name)
    if service is None:
        return [], None
    counting = _counting(world, service)
    outdated = [task for task in counting if task.release != service.release]
    if not outdated:
        return [], None
    useless = [task for task in outdated if not task.ready or service.spec.mode is Mode.JOB]
    if useless:
        return _give_way(useless, service.release), None
    if sum(task.ready for task in counting) < _slots(world, service, counting):
        return [], None
    return _give_way(outdated[:1], service.release), None


def _counting(world: Snapshot, service: Service) -> list[Task]:
    """The tasks that fill its slots, in order; those that are too many are `services`' to remove, and serve nobody."""
    tasks = [task for task in world.tasks_of_service(service.name).values() if task.counts]
    if service.spec.mode is not Mode.GLOBAL:
        tasks = [task for task in tasks if task.slot <= service.spec.replicas]
    return sorted(tasks, key=lambda task: task.slot)


def _slots(world: Snapshot, service: Service, counting: list[Task]) -> int:
    """How many there should be. A slot that was just emptied is still one, or the rest would follow at once."""
    if service.spec.mode is not Mode.GLOBAL:
        return service.spec.replicas
    nodes = {name for name, node in world.nodes.items() if eligible(node, service.spec)}
    return len(nodes | {task.pinned for task in counting})


def _give_way(tasks: list[Task], release: int) -> list[Change]:
    changes = (
        raise_wanted(
            task, Wanted.STOPPED, Reason.OUTDATED, Owner.ROLLOUT, f"release {task.release} gives way to {release}"
        )
        for task in tasks
    )
    return [change for change in changes if change is not None]
