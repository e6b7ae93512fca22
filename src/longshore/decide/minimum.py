"""What a service can spare: how many of its tasks that serve may be taken from it for the sake of another service.

As many as its own updates would leave unserved at worst (`update.parallelism`), less those that are unserved already;
none while it is giving way to itself, for an update, a drain or a move, as that has its turn. Knows counts of tasks;
which task goes, and for whom, is placement's to choose.
"""

from longshore.decide.placement.constraints import eligible
from longshore.decide.placement.holdings import PLENTY
from longshore.decide.rollout import stirs
from longshore.model.objects import Service
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
    serving = sum(signs(part).serving for part in world.tasks_of_service(service.name).parts)
    return max(most - (_wanted(world, service) - serving), 0)


def _wanted(world: Snapshot, service: Service) -> int:
    if service.spec.mode is not Mode.GLOBAL:
        return service.spec.replicas
    counting = {task.pinned for task in world.tasks_of_service(service.name).values() if task.counts}
    return len(counting.union(name for name, node in world.nodes.items() if eligible(node, service.spec)))
