"""Situations for placement in a few words: what a service's tasks need, where its tasks are, what was decided.

Nodes and snapshots are those of `tests.situations`; this adds what only placement looks at.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from longshore.decide.placement.place import decide
from longshore.decide.placement.scoring.scores import DEFAULT
from longshore.model.changes import Change
from longshore.model.lifecycle import ON_NODE, TERMINAL, State
from longshore.model.objects import Node, NodeStatus, Object, PublishedPort, Service, Task, task_id
from longshore.model.reasons import Reason
from longshore.model.spec import PlacementRules, Port, Protocol, Resources
from tests import situations
from tests.situations import GIB, NOW, node, world

__all__ = [
    "GIB",
    "NOW",
    "THREE",
    "node",
    "nodes",
    "outcome",
    "placed",
    "port",
    "published",
    "service",
    "task",
    "waiting",
    "world",
]

THREE = (node("n1"), node("n2"), node("n3"))


def nodes(count: int, status: NodeStatus = NodeStatus.READY) -> list[Node]:
    """`n1` up to so many, all alike."""
    return [node(f"n{number}", status=status) for number in range(1, count + 1)]


def port(container: int, host: int | None = None, protocol: Protocol = Protocol.TCP) -> Port:
    """A container port, on `host` or on a host port that the cluster chooses."""
    return Port(container=container, host=host, protocol=protocol)


def published(*hosts: int, protocol: Protocol = Protocol.TCP) -> tuple[PublishedPort, ...]:
    """Host ports that a task was given."""
    return tuple(PublishedPort(container=80, host=host, protocol=protocol) for host in hosts)


def service(
    name: str = "web",
    *,
    cpu: float = 0.0,
    memory: int = 0,
    ports: Iterable[Port] = (),
    constraints: Iterable[str] = (),
    **fields: Any,
) -> Service:
    """A service by what each of its tasks needs."""
    return situations.service(
        name,
        resources=Resources(cpu=cpu, memory=memory),
        ports=tuple(ports),
        placement=PlacementRules(constraints=tuple(constraints)),
        **fields,
    )


def task(
    service: str = "web",
    slot: int = 1,
    *,
    on: str = "",
    state: State | None = None,
    generation: int = 1,
    **fields: Any,
) -> Task:
    """A task that waits for a node; with `on` one that runs there, or is in `state`."""
    if state is None:
        state = State.RUNNING if on else State.NEW
    facts: dict[str, Any] = {
        "release": 1,
        "created_at": 100.0,
        "placed_at": 100.0 if state in ON_NODE or on else None,
        "finished_at": NOW if state in TERMINAL else None,
    }
    return Task(
        id=task_id(service, slot, generation),
        service=service,
        slot=slot,
        generation=generation,
        node=on,
        state=state,
        **(facts | fields),
    )


def waiting(count: int, service: str = "web", **fields: Any) -> list[Task]:
    """So many tasks that wait for a node."""
    return [task(service, slot, **fields) for slot in range(1, count + 1)]


def outcome(changes: Sequence[Change]) -> dict[str, str]:
    """What became of each task: its node, with the host ports it was given, or why there is none."""
    told = {}
    for change in changes:
        after = change.after
        assert isinstance(after, Task)
        if after.reason is Reason.PLACED:
            told[change.id] = " ".join([after.node, *(f"{port.host}/{port.protocol}" for port in after.ports)])
        else:
            told[change.id] = after.message
    return told


def placed(*records: Object, policy: str = DEFAULT) -> dict[str, str]:
    """What becomes of the tasks that wait among these records."""
    return outcome(decide(world(*records), NOW, policy)[0])
