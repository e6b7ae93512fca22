"""Which services are fenced: what a single writer may be, and which tasks must be dead before another is started.

Knows specs and releases; not when a task's container is dead, which is `model.lease`'s and the manager's patience.
"""

from longshore.model.errors import Invalid
from longshore.model.objects import Task
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, ServiceSpec, UpdateOrder


def check(spec: ServiceSpec, field: str) -> None:
    """Raise Invalid where `single_writer` cannot be meant."""
    if spec.single_writer and spec.mode is Mode.GLOBAL:
        raise Invalid("the slots of a global service never move; leave it out", field=f"{field}.single_writer")
    if spec.single_writer and spec.update.order is UpdateOrder.START_FIRST:
        raise Invalid("a single writer stops before the next one starts; leave it out", field=f"{field}.update.order")


def is_fenced(world: Snapshot, task: Task) -> bool:
    """Whether no other task of its slot may be started before this one's container is dead."""
    release = world.release(task.service, task.release)
    return release is not None and release.spec.single_writer
