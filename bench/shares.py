"""How much of a cluster's GPUs a stream of tasks gets from the placement decision itself: the draws of `gpus`.

Each class of tasks is a service, each task waits with a time of its own, and one pass places them all in that order; a
task that asks for a part of a GPU asks for a share of a device. What counts is as there: the part of all GPUs that is
allocated among the tasks that came until their demand was 100 % of them.
"""

from collections import Counter
from collections.abc import Sequence

from bench.gpus import NODES, WHOLE, Demand
from longshore.decide.placement import place
from longshore.model.lifecycle import State
from longshore.model.objects import (
    Capacity,
    EngineFacts,
    Kind,
    Node,
    Object,
    Release,
    Service,
    Task,
    release_id,
    task_id,
)
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Resources, ServiceSpec

NAME = "gpu"
NOW = 1e9
"""Later than all tasks."""

Records = list[tuple[Kind, str, Object]]


def allocated_by(tasks: Sequence[Demand], policy: str) -> float:
    """Part of all GPUs that is allocated once the demand that came is 100 % of them."""
    capacity = sum(nodes * gpus for nodes, _, _, gpus in NODES) * WHOLE
    services = {one: f"s{number:03}" for number, one in enumerate(sorted(set(tasks)))}
    waiting, slots = [], Counter[str]()
    for at, task in enumerate(tasks):
        slots[services[task]] += 1
        waiting.append(_waiting(services[task], slots[services[task]], float(at)))
    records = [*_nodes(), *_services(services, slots), *((Kind.TASK, one.id, one) for one in waiting)]
    world = Snapshot.restored(1, [(kind, one) for kind, _, one in records], [id for _, id, _ in records])
    changes, _ = place.decide(world, NOW, policy)
    placed = {change.id for change in changes if isinstance(change.after, Task) and change.after.node}
    came = given = 0
    for task, one in zip(tasks, waiting, strict=True):
        came += task.in_all
        if came > capacity:
            break
        given += task.in_all if one.id in placed else 0
    return given / capacity


def _nodes() -> Records:
    rows = [kind[1:] for kind in NODES for _ in range(kind[0])]
    return [
        (
            Kind.NODE,
            f"n{number:05}",
            Node(
                name=f"n{number:05}",
                capacity=Capacity(cpu=cores, memory=gib << 30, disk=1 << 40),
                engine=EngineFacts(id=f"n{number:05}"),
                resources={NAME: tuple(map(str, range(gpus)))},
                worker_version="bench",
            ),
        )
        for number, (cores, gib, gpus) in enumerate(rows)
    ]


def _services(services: dict[Demand, str], tasks: Counter[str]) -> Records:
    found: Records = []
    for one, name in services.items():
        shared = 0 < one.gpu_millis < WHOLE
        spec = ServiceSpec(
            image="x",
            replicas=tasks[name],
            resources=Resources(
                cpu=one.cpu_millis / 1000,
                memory=one.memory_mib << 20,
                named={NAME: one.gpus} if one.gpus and not shared else {},
                shares={NAME: one.gpu_millis / WHOLE} if shared else {},
            ),
        )
        found.append((Kind.SERVICE, name, Service(name=name, spec=spec)))
        found.append((Kind.RELEASE, release_id(name, 1), Release(service=name, number=1, spec=spec)))
    return found


def _waiting(service: str, slot: int, at: float) -> Task:
    return Task(
        id=task_id(service, slot, 1),
        service=service,
        slot=slot,
        generation=1,
        release=1,
        state=State.NEW,
        reason=Reason.CREATED,
        created_at=at,
    )
