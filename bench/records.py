"""Records as a cluster that has run for a while holds them, for the figures of the store and of the API."""

import time
from pathlib import Path

from longshore.decide.admission import admit
from longshore.main.clock import MachineClock
from longshore.model.changes import COMMIT_CHANGES_MAX, Change
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Capacity, EngineFacts, Kind, Node, Object, Release, Service, Task, task_id
from longshore.model.reasons import Reason
from longshore.model.spec import ServiceSpec
from longshore.store.sqlite import SqliteStore

NODES = 10
SPEC = admit(ServiceSpec(image="longshore/demo:1", env={"GREETING": "hello"}))


async def fill(path: Path, *, services: int, tasks_each: int) -> None:
    """A new store at `path` with nodes, services and running tasks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    now = time.time()
    records: list[tuple[Kind, str, Object]] = [(Kind.NODE, f"n{n}", _node(f"n{n}", now)) for n in range(NODES)]
    for name in (f"app{number:02}" for number in range(services)):
        spec = admit(ServiceSpec(image=SPEC.image, replicas=tasks_each))
        service = Service(name=name, spec=spec, created_at=now, updated_at=now)
        release = Release(service=name, number=1, spec=spec, created_at=now)
        records += [(Kind.SERVICE, name, service), (Kind.RELEASE, release.id, release)]
        tasks = (running_task(name, slot, now) for slot in range(1, tasks_each + 1))
        records += [(Kind.TASK, task.id, task) for task in tasks]
    changes = [written(kind, id, record) for kind, id, record in records]
    store = await SqliteStore.open(path, MachineClock())
    try:
        for first in range(0, len(changes), COMMIT_CHANGES_MAX):
            await store.commit(changes[first : first + COMMIT_CHANGES_MAX])
    finally:
        await store.close()


def running_task(service: str, slot: int, now: float) -> Task:
    """As it is once its worker has reported that it runs."""
    return Task(
        id=task_id(service, slot, 1),
        service=service,
        slot=slot,
        generation=1,
        release=1,
        node=f"n{slot % NODES}",
        state=State.RUNNING,
        ready=True,
        container_id=f"{slot:064x}",
        reason=Reason.STARTED,
        created_at=now,
        placed_at=now,
        started_at=now,
    )


def written(kind: Kind, id: str, record: Object) -> Change:
    """The change that makes a record."""
    return Change(kind=kind, id=id, before=0, after=record, by=Owner.MANAGER, reason=Reason.CREATED)


def _node(name: str, now: float) -> Node:
    return Node(
        name=name,
        address="10.0.0.1",
        labels={"zone": "a"},
        capacity=Capacity(cpu=64.0, memory=256 << 30, disk=1 << 40),
        engine=EngineFacts(id=name, name=name, version="20.10.24", api_version="1.41", architecture="amd64"),
        joined_at=now,
        changed_at=now,
    )
