"""Short descriptions of situations: records with sensible defaults, and the snapshot that holds them.

Knows the model alone. A record's revision is 1 in a snapshot made here, so that decisions have something to name.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from longshore.model.changes import Change
from longshore.model.lifecycle import RANK, TERMINAL, State, Wanted
from longshore.model.objects import (
    Availability,
    Capacity,
    EngineFacts,
    Kind,
    Node,
    NodeStatus,
    Object,
    Posting,
    Release,
    Service,
    Task,
    Token,
    Volume,
    task_id,
)
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, Mount, MountKind, ServiceSpec

GIB = 1024**3
NOW = 10_000.0


def node(
    name: str,
    *,
    cpu: float = 4.0,
    memory: int = 8 * GIB,
    status: NodeStatus = NodeStatus.READY,
    availability: Availability = Availability.ACTIVE,
    machine: str = "",
    **labels: str,
) -> Node:
    """A node on a machine of its own, unless `machine` names one that it shares."""
    return Node(
        name=name,
        address="127.0.0.1",
        labels=labels,
        status=status,
        availability=availability,
        capacity=Capacity(cpu=cpu, memory=memory, disk=100 * GIB),
        engine=EngineFacts(id=machine or f"engine-of-{name}", name="fake"),
        worker_version="1.0",
        joined_at=1.0,
        changed_at=1.0,
    )


def service(
    name: str = "web", *, release: int = 1, app: str = "", mode: Mode = Mode.REPLICATED, **spec: Any
) -> Service:
    """A service; `spec` are fields of its ServiceSpec."""
    return Service(
        name=name,
        app=app,
        spec=ServiceSpec(image=f"{name}:{release}", mode=mode, **spec),
        release=release,
    )


def volume(name: str, on: str, service: str = "web", slot: int = 1, *, machine: str = "", at: float = 1.0) -> Volume:
    """A volume of a slot on a node, which has an engine of its own unless `machine` names one."""
    return Volume(
        name=name,
        service=service,
        slot=slot,
        node=on,
        machine=machine or f"engine-of-{on}",
        task=task_id(service, slot, 1),
        created_at=at,
    )


def mounting(*volumes: str, read_only: bool = False) -> tuple[Mount, ...]:
    """Named volumes, each at a path of its own."""
    return tuple(Mount(kind=MountKind.VOLUME, source=name, target=f"/{name}", read_only=read_only) for name in volumes)


def releases(*services: Service) -> list[Release]:
    """The current release of each service, and all before it."""
    return [
        Release(service=one.name, number=number, spec=structs.replace(one.spec, image=f"{one.name}:{number}"))
        for one in services
        for number in range(1, one.release + 1)
    ]


def task(
    slot: int = 1,
    generation: int = 1,
    state: State = State.RUNNING,
    *,
    of: str = "web",
    on: str | None = "n1",
    release: int = 1,
    wanted: Wanted = Wanted.RUNNING,
    ready: bool | None = None,
    **fields: Any,
) -> Task:
    """A task of `of` in `slot`, on node `on`; ready if it runs, ended at NOW if it ended."""
    running = RANK[state] >= RANK[State.RUNNING]
    facts: dict[str, Any] = {
        "node": "" if state is State.NEW else on or "",
        "ready": state is State.RUNNING if ready is None else ready,
        "container_id": "" if state in (State.NEW, State.PLACED) else f"c-{of}.{slot}.{generation}",
        "created_at": 100.0,
        "started_at": NOW - 100 if running else None,
        "finished_at": NOW if state in TERMINAL else None,
    }
    return Task(
        id=task_id(of, slot, generation),
        service=of,
        slot=slot,
        generation=generation,
        release=release,
        state=state,
        wanted=wanted,
        **(facts | fields),
    )


def _key(record: Object) -> tuple[Kind, str]:
    match record:
        case Node():
            return Kind.NODE, record.name
        case Service():
            return Kind.SERVICE, record.name
        case Release():
            return Kind.RELEASE, record.id
        case Task():
            return Kind.TASK, record.id
        case Token():
            return Kind.TOKEN, record.id
        case Posting():
            return Kind.POSTING, record.id
        case Volume():
            return Kind.VOLUME, record.id
        case _:
            return Kind.CLUSTER, record.id


def world(*records: Object) -> Snapshot:
    """The snapshot that holds these records and the releases that its services have had."""
    known = {one.id for one in records if isinstance(one, Release)}
    services = [one for one in records if isinstance(one, Service)]
    every = [*records, *(one for one in releases(*services) if one.id not in known)]
    keys = [_key(one) for one in every]
    stamped = [structs.replace(one, revision=1) for one in every]
    return Snapshot.restored(
        1, [(kind, one) for (kind, _), one in zip(keys, stamped, strict=True)], [id for _, id in keys]
    )


def said(changes: Sequence[Change]) -> list[str]:
    """Changes in short: `+web.1.1`, `-web.1.1`, `web.1.1 wanted stopped`, `web.1.1 lost`, `n1 down`."""
    return [_in_short(change) for change in changes]


def _in_short(change: Change) -> str:
    after = change.after
    if after is None:
        return f"-{change.id}"
    if change.before == 0:
        return f"+{change.id}"
    if isinstance(after, Task):
        going = after.wanted in (Wanted.LEAVING, Wanted.STOPPED)
        wished = after.wanted is Wanted.REMOVED or (after.live and going)
        return f"{change.id} wanted {after.wanted}" if wished else f"{change.id} {after.state}"
    return f"{change.id} {after.status}" if isinstance(after, Node) else f"{change.id} changed"
