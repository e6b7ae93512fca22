"""Why a service stands as it does: what holds its release up, what it was taken back from, and which task to look at.

Adds to its status what a user has to know first: that the cluster waits for a word of theirs, or that it has already
done something about a failure, and therefore looks well. Knows the records of one service; a task is explained by
`why`.
"""

from longshore.decide.status import status_of, troubled
from longshore.model.objects import ReleasePhase, Service, Task
from longshore.model.snapshot import Snapshot
from longshore.model.views import Phase, ServiceStatus


def of_service(world: Snapshot, service: Service) -> tuple[str, Task | None]:
    """The explanation in sentences, and the task to go on with: the one in trouble, else the first; None without."""
    status, task = status_of(world, service), troubled(world, service)
    # What a task is to be explained for, and what a release is held up by, have sentences of their own.
    said = "" if task is not None or status.rollout is ReleasePhase.PAUSED else status.message
    if task is None:
        tasks = world.tasks_of_service(service.name).values()
        task = min(tasks, key=lambda one: (one.slot, not one.counts, -one.generation), default=None)
    return ". ".join((_standing(service, status, said), *_of_release(world, service))) + ".", task


def _standing(service: Service, status: ServiceStatus, said: str) -> str:
    if status.phase is Phase.COMPLETE:
        return f"{service.name} is complete"
    how = "as wished" if status.settled else status.phase
    return f"{service.name} is {how}, {status.ready} of {status.wanted} ready" + (f": {said}" if said else "")


def _of_release(world: Snapshot, service: Service) -> list[str]:
    name, number = service.name, service.release
    release = world.release(name, number)
    if release is None:
        return []
    if release.phase is ReleasePhase.PAUSED:
        return [
            f"Release {number} is paused: {release.message}",
            f"`longshore rollout resume {name}` goes on with it, `longshore rollback {name}` goes back",
        ]
    failed = world.release(name, release.rolls_back)
    if failed is not None:
        return [f"Release {failed.number} failed and was taken back to release {number}: {failed.message}"]
    return [f"Release {number} is being rolled out"] if release.phase is ReleasePhase.ROLLING else []
