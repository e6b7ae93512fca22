"""What a service can spare: how many of its tasks that serve may be taken from it for the sake of another service.

As many as its own updates would leave unserved at worst (`update.parallelism`), less those that are unserved already;
none while it is giving way to itself, for an update, a drain or a move, as that has its turn. A task of more than are
wanted makes up for none: it is about to go as well. Knows counts of tasks; which task goes, and for whom, is
placement's to choose.
"""

from longshore.decide.placement.constraints import eligible
from longshore.decide.placement.holdings import PLENTY
from longshore.decide.rollout import stirs
from longshore.model.objects import Service
from longshore.model.sharing import Part
from longshore.model.signs import signs
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode


def spare(world: Snapshot, service: Service) -> int:
    """How many tasks of `service` that serve it can do without now."""
    most = service.spec.update.parallelism
    if service.spec.mode is Mode.JOB or not most:
        return PLENTY
    if stirs(world, service):
        return 0
    return max(most - _unserved(world, service), 0)


def _unserved(world: Snapshot, service: Service) -> int:
    """How many places of a service that are to be served are not."""
    tasks = world.tasks_of_service(service.name)
    if service.spec.mode is Mode.GLOBAL:
        counting = {task.pinned: task.ready for task in tasks.values() if task.counts}
        wanted = counting.keys() | {name for name, node in world.nodes.items() if eligible(node, service.spec)}
        return len(wanted) - sum(counting.values())
    return service.spec.replicas - sum(_serving(part, service.spec.replicas) for part in tasks.parts)


def _serving(part: Part, slot_last: int) -> int:
    """How many tasks of a part serve, in slots up to one."""
    if signs(part).slot_last <= slot_last:
        return signs(part).serving
    return sum(task.counts and task.ready for task in part.tasks.values() if task.slot <= slot_last)
