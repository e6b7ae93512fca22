"""Which task of an older release gives way next.

One at a time, and only while every slot is filled by a task that is ready: so a new release that does not become ready
stops the rollout by itself, with all other tasks still on the old one. Tasks that serve nobody (not ready, or of a
job) give way at once. It only stops tasks; `services` fills the slots it empties with the current release.
"""

from longshore.model.changes import Change, raise_wanted
from longshore.model.lifecycle import Owner, Wanted
from longshore.model.objects import Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode


def decide(world: Snapshot, name: str, now: float) -> tuple[list[Change], float | None]:
    """Changes that take service `name` one step nearer to its current release."""
    service = world.services.get(name)
    if service is None:
        return [], None
    counting = sorted((t for t in world.tasks_of_service(name).values() if t.counts), key=lambda task: task.slot)
    outdated = [task for task in counting if task.release != service.release]
    if not outdated:
        return [], None
    useless = [task for task in outdated if not task.ready or service.spec.mode is Mode.JOB]
    if useless:
        return _give_way(useless, service.release), None
    slots = service.spec.replicas if service.spec.mode is Mode.REPLICATED else len({t.slot for t in counting})
    serving = sum(task.ready for task in counting)
    if serving < min(slots, len(counting)) or len(counting) < slots:
        return [], None
    return _give_way(outdated[:1], service.release), None


def _give_way(tasks: list[Task], release: int) -> list[Change]:
    changes = (
        raise_wanted(
            task, Wanted.STOPPED, Reason.OUTDATED, Owner.ROLLOUT, f"release {task.release} gives way to {release}"
        )
        for task in tasks
    )
    return [change for change in changes if change is not None]
