"""How many tasks a slot may have at once, by the store's records alone; what the engines run is `beside`'s."""

from collections import Counter
from collections.abc import Iterable

from longshore.decide.rollout import starts_first
from longshore.model.objects import Task
from longshore.model.snapshot import Snapshot


def doubled_in(snapshot: Snapshot, services: Iterable[str]) -> list[str]:
    """A slot has one task that fills it, and one at most that stands by to take over; the others are on their way out.
    Where two may not run at once, there is one live task."""
    found = []
    for service in services:
        live = [task for task in snapshot.tasks_of_service(service).values() if task.live]
        standing_by = Counter(task.slot for task in live if task.stands_by)
        found += [f"slot {service}.{slot} has {n} tasks that stand by" for slot, n in standing_by.items() if n > 1]
        alone = Counter(task.slot for task in live if _is_alone(snapshot, task))
        found += [f"slot {service}.{slot} has {n} live tasks" for slot, n in alone.items() if n > 1]
    return found


def _is_alone(snapshot: Snapshot, task: Task) -> bool:
    """Whether no other task of its slot may run beside it, by its own release and what was wished since."""
    release, service = snapshot.release(task.service, task.release), snapshot.services.get(task.service)
    if service is not None and service.release == task.release and starts_first(service.spec):
        return False
    return release is not None and not starts_first(release.spec)
