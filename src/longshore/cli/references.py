"""What a name on the command line means: a service, a slot, or a task.

`web` is a service, `web.3` what is in a slot of it, `web.3.1` one task. Knows how ids are made and asks the client; a
name that looks like a task's may still be a service's.
"""

import re
from collections.abc import Iterable

from longshore.client import Client
from longshore.model.errors import NotFound
from longshore.model.objects import Task

_TASK = re.compile(r".+\.\d+\.\d+")
_SLOT = re.compile(r"(?P<service>.+)\.(?P<slot>\d+)")


def tasks_of(client: Client, name: str) -> list[Task]:
    """The tasks that `name` means, all generations of them, by slot and generation. Raises NotFound if it means
    nothing; a service without tasks is an empty list."""
    if _TASK.fullmatch(name):
        try:
            return [client.task(name)]
        except NotFound:
            pass
    slot = _SLOT.fullmatch(name)
    if slot is not None:
        found = [task for task in client.tasks(service=slot["service"]) if task.slot == int(slot["slot"])]
        if found:
            return found
    found = list(client.tasks(service=name))
    if not found:
        _must_exist(client, name)
    return found


def is_task(name: str, tasks: Iterable[Task]) -> bool:
    """Whether `name` means the one task there, by its id."""
    return any(task.id == name for task in tasks)


def newest(tasks: Iterable[Task]) -> list[Task]:
    """The newest task of each slot, by service and slot."""
    found: dict[tuple[str, int], Task] = {}
    for task in tasks:
        standing = found.get((task.service, task.slot))
        if standing is None or standing.generation < task.generation:
            found[task.service, task.slot] = task
    return [found[key] for key in sorted(found)]


def standing(tasks: Iterable[Task]) -> list[Task]:
    """Of each slot the task that fills it, else the newest; by service and slot. A newer one may have failed beside it,
    for a release that was taken back."""
    tasks = list(tasks)
    filled = {(task.service, task.slot): task for task in tasks if task.counts}
    return [filled.get((task.service, task.slot), task) for task in newest(tasks)]


def slot_name(task: Task) -> str:
    """`web.3`."""
    return f"{task.service}.{task.slot}"


def _must_exist(client: Client, name: str) -> None:
    try:
        client.service(name)
    except NotFound as missing:
        raise NotFound(f"there is no service or task {name}; `longshore ls` and `longshore ps` list them") from missing
