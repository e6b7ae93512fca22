"""How many moves a rebalance takes, and how even it leaves a cluster that nodes have joined.

Services are placed evenly on some nodes by placement itself, then empty nodes join. Rebalances are planned and carried
out, as fast as plans allow, until one has nothing left to do. Beside the fewest moves that even counts need, which is
what the new nodes have to get, and the moves of placing everything anew.
"""

import msgspec
from msgspec.structs import replace

from longshore.decide import rebalance
from longshore.decide.placement import place
from longshore.model.changes import COMMIT_CHANGES_MAX
from longshore.model.lifecycle import State
from longshore.model.moves import RebalanceWish
from longshore.model.objects import (
    Capacity,
    EngineFacts,
    Kind,
    Node,
    Object,
    Release,
    ReleasePhase,
    Service,
    Task,
    release_id,
    task_id,
)
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Resources, ServiceSpec

NODES, JOINING = 30, 10
SERVICES, EACH = 20, 20
POLICY = "spread"


class Evened(msgspec.Struct, frozen=True):
    """What came of it."""

    moves: int
    fewest: int
    anew: int
    """Tasks that are elsewhere if everything is placed anew."""
    before: float
    after: float


def evened() -> Evened:
    """Of one cluster; there is no chance in it."""
    tasks = _placed(_world(NODES, _waiting()))
    world = _world(NODES + JOINING, tasks)
    first = rebalance.plan(world, POLICY, 1.0)
    moved, planned = 0, first
    while True:
        wish = RebalanceWish(moves_max=COMMIT_CHANGES_MAX)
        planned = rebalance.plan(_world(NODES + JOINING, tasks), POLICY, 1.0, wish)
        if not planned.moves:
            break
        moved += len(planned.moves)
        target = {move.task: move.target for move in planned.moves}
        tasks = [replace(task, node=target.get(task.id, task.node)) for task in tasks]
    anew = {task.id: task.node for task in _placed(_world(NODES + JOINING, _waiting()))}
    return Evened(
        moves=moved,
        fewest=SERVICES * EACH * JOINING // (NODES + JOINING),
        anew=sum(anew[task.id] != task.node for task in world.tasks()),
        before=first.before,
        after=planned.before,
    )


def _placed(world: Snapshot) -> list[Task]:
    """The waiting tasks of a world, placed and running."""
    changes, _ = place.decide(world, 1.0, POLICY)
    placed = [change.after for change in changes if isinstance(change.after, Task)]
    return [replace(task, state=State.RUNNING, ready=True, started_at=0.0) for task in placed]


def _waiting() -> list[Task]:
    return [
        Task(
            id=task_id(f"s{number:02}", slot, 1),
            service=f"s{number:02}",
            slot=slot,
            generation=1,
            release=1,
            reason=Reason.CREATED,
        )
        for number in range(SERVICES)
        for slot in range(1, EACH + 1)
    ]


def _world(nodes: int, tasks: list[Task]) -> Snapshot:
    spec = ServiceSpec(image="x", replicas=EACH, resources=Resources(cpu=0.1, memory=64 << 20))
    objects: list[tuple[Kind, Object]] = []
    ids: list[str] = []
    for number in range(nodes):
        name = f"n{number:03}"
        size = Capacity(cpu=8.0, memory=32 << 30, disk=1 << 40)
        objects.append((Kind.NODE, Node(name=name, capacity=size, engine=EngineFacts(id=name), worker_version="bench")))
        ids.append(name)
    for number in range(SERVICES):
        name = f"s{number:02}"
        done = Release(service=name, number=1, spec=spec, phase=ReleasePhase.DONE, finished_at=0.0)
        objects += [(Kind.SERVICE, Service(name=name, spec=spec)), (Kind.RELEASE, done)]
        ids += [name, release_id(name, 1)]
    objects += [(Kind.TASK, task) for task in tasks]
    return Snapshot.restored(1, objects, [*ids, *(task.id for task in tasks)])
