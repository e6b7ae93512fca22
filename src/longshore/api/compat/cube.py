"""Cube's words: task events, tasks, nodes and its errors, to postings and back. Its children share most of them.

A task here is a posting; what comes back is the union of what Cube and its children call things, because clients of
both ask at the same paths and each looks only for its own names. States are numbers, times RFC 3339 with a zero in
year 1, sizes bytes, and a node's memory kibibytes, as Cube has them.
"""

import uuid
from datetime import UTC, datetime

import msgspec

from longshore.api.compat.reading import NO_TIME, Fields, container_port, host_port
from longshore.decide.postings import RESTART_POLICIES, Shown
from longshore.model.errors import Invalid
from longshore.model.objects import NodeStatus, Posting, PublishedPort
from longshore.model.views import NodeView

KIB = 1024


class HostPort(msgspec.Struct, frozen=True):
    ip: str = msgspec.field(name="HostIp")
    port: str = msgspec.field(name="HostPort")


class CubeTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as `/tasks` shows it. Names that two clients spell in two ways are there twice."""

    id: str = msgspec.field(name="ID")
    id_again: str = msgspec.field(name="Id")
    name: str = msgspec.field(name="Name")
    state: int = msgspec.field(name="State")
    status: str = msgspec.field(name="Status")
    """The state as a word."""
    reason: str = msgspec.field(name="Reason")
    image: str = msgspec.field(name="Image")
    cpu: float = msgspec.field(name="Cpu")
    memory: int = msgspec.field(name="Memory")
    disk: int = msgspec.field(name="Disk")
    container: str = msgspec.field(name="ContainerID")
    container_again: str = msgspec.field(name="ContainerId")
    exposed_ports: dict[str, dict[str, str]] | None = msgspec.field(name="ExposedPorts")
    host_ports: dict[str, list[HostPort]] | None = msgspec.field(name="HostPorts")
    port_bindings: dict[str, str] | None = msgspec.field(name="PortBindings")
    restart_policy: str = msgspec.field(name="RestartPolicy")
    started_at: str = msgspec.field(name="StartTime")
    finished_at: str = msgspec.field(name="FinishTime")
    health_check: str = msgspec.field(name="HealthCheck")
    restarts: int = msgspec.field(name="RestartCount")
    node: str = msgspec.field(name="Node")
    service: str = msgspec.field(name="Service")


class Refusal(msgspec.Struct, frozen=True):
    """Cube's error answer."""

    status: int = msgspec.field(name="HTTPStatusCode")
    message: str = msgspec.field(name="Message")


# -- in


def read_task(task: Fields, *, id: str) -> Posting:
    """The task of an event, or one that stands alone; made a new id if it has none."""
    task.whole("State")
    task.text("ContainerID", "ContainerId")
    for moment in ("StartTime", "FinishTime"):
        task.moment(moment)
    policy = task.text("RestartPolicy")
    if policy not in RESTART_POLICIES:
        path = task.path("RestartPolicy")
        known = ", ".join(sorted(RESTART_POLICIES - {""}))
        raise Invalid(f"{path}: {policy[:60]!r} is none of {known}", field=path)
    return Posting(
        id=id or str(uuid.uuid4()),
        name=task.text("Name"),
        image=task.text("Image").strip(),
        cpu=_not_negative(task.number("Cpu"), task.path("Cpu")),
        memory=int(_not_negative(task.whole("Memory"), task.path("Memory"))),
        disk=int(_not_negative(task.whole("Disk"), task.path("Disk"))),
        exposed_ports=_exposed(task),
        port_bindings=_bindings(task),
        restart_policy=policy,
        health_check=_path(task.text("HealthCheck")),
        env=_env(task),
        command=task.texts("Cmd", "Command"),
    )


def _not_negative(value: float, path: str) -> float:
    if value < 0:
        raise Invalid(f"{path} is {value}; it cannot be less than nothing", field=path)
    return value


def _exposed(task: Fields) -> tuple[str, ...]:
    """`{"80/tcp": {}}`."""
    names = ("ExposedPorts", "ExposedPort")
    path = task.path(names[0])
    return tuple(container_port(text, path) for text in task.table(*names))


def _bindings(task: Fields) -> dict[str, str]:
    """`{"80/tcp": "8080"}`."""
    path = task.path("PortBindings")
    return {
        container_port(text, path): host_port(host, f"{path}[{text[:20]}]")
        for text, host in task.table("PortBindings").items()
    }


def _path(text: str) -> str:
    """`/health`; also `health`, and a whole URL, of which only the path can be meant."""
    if not text:
        return ""
    if "://" in text:
        text = "/" + text.partition("://")[2].partition("/")[2]
    return text if text.startswith("/") else f"/{text}"


def _env(task: Fields) -> dict[str, str]:
    """`["KEY=VALUE"]`, which the ancestors kept in their configuration and never let a task set."""
    found = {}
    for text in task.texts("Env"):
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise Invalid(f"{task.path('Env')}: {text[:60]!r} is not KEY=VALUE", field=task.path("Env"))
        found[key] = value
    return found


# -- out


def show_task(shown: Shown) -> CubeTask:
    posting, task = shown.posting, shown.task
    container = task.container_id if task is not None else ""
    return CubeTask(
        id=posting.id,
        id_again=posting.id,
        name=posting.name,
        state=int(shown.phase),
        status=shown.phase.name.lower(),
        reason=shown.reason,
        image=posting.image,
        cpu=posting.cpu,
        memory=posting.memory,
        disk=posting.disk,
        container=container,
        container_again=container,
        exposed_ports={port: {} for port in posting.exposed_ports} or None,
        host_ports=host_ports((*task.ports, *task.exposed) if task is not None else ()),
        port_bindings=posting.port_bindings or None,
        restart_policy=posting.restart_policy,
        started_at=moment(task.started_at if task is not None else None),
        finished_at=moment(shown.finished_at),
        health_check=posting.health_check,
        restarts=shown.restarts,
        node=task.node if task is not None else "",
        service=posting.service,
    )


def host_ports(ports: tuple[PublishedPort, ...]) -> dict[str, list[HostPort]] | None:
    """Docker's port map; null without ports."""
    found: dict[str, list[HostPort]] = {}
    for port in ports:
        found.setdefault(f"{port.container}/{port.protocol}", []).append(HostPort(port.ip, str(port.host)))
    return found or None


def moment(seconds: float | None) -> str:
    if seconds is None:
        return NO_TIME
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


# -- nodes


class MemoryFigures(msgspec.Struct, frozen=True):
    """What the manager knows of a node's memory between two looks at its worker, in kibibytes."""

    mem_total: int
    mem_free: int
    mem_available: int


class DiskFigures(msgspec.Struct, frozen=True):
    """Bytes."""

    all: int
    used: int
    free: int


class LoadFigures(msgspec.Struct, frozen=True):
    last1min: float


class NodeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The last heartbeat, under Cube's names and under its child's. All of them has the worker's own `/stats`."""

    memory: MemoryFigures = msgspec.field(name="MemStats")
    memory_again: MemoryFigures = msgspec.field(name="MemoryStats")
    disk: DiskFigures = msgspec.field(name="DiskStats")
    load: LoadFigures = msgspec.field(name="LoadStats")
    tasks: int = msgspec.field(name="TaskCount")


class CubeNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node as `/nodes` shows it, under the names of all five."""

    id: str = msgspec.field(name="ID")
    name: str = msgspec.field(name="Name")
    ip: str = msgspec.field(name="Ip")
    api: str = msgspec.field(name="Api")
    healthy: bool = msgspec.field(name="Healthy")
    status: str = msgspec.field(name="Status")
    reason: str = msgspec.field(name="Reason")
    role: str = msgspec.field(name="Role")
    cores: float = msgspec.field(name="Cores")
    memory: int = msgspec.field(name="Memory")
    memory_allocated: int = msgspec.field(name="MemoryAllocated")
    disk: int = msgspec.field(name="Disk")
    disk_allocated: int = msgspec.field(name="DiskAllocated")
    tasks: int = msgspec.field(name="TaskCount")
    stats: NodeFigures | None = msgspec.field(name="Stats")


def show_node(node: NodeView, dialled: str) -> CubeNode:
    return CubeNode(
        id=node.name,
        name=node.name,
        ip=node.address,
        api=f"http://{dialled}" if dialled else "",
        healthy=is_healthy(node),
        status=online(node),
        reason=f"{node.reason}: {node.message}" if node.message else node.reason.value,
        role="worker",
        cores=node.capacity.cpu,
        memory=node.capacity.memory // KIB,
        memory_allocated=node.reserved.memory // KIB,
        disk=node.capacity.disk,
        disk_allocated=node.reserved.disk,
        tasks=node.tasks,
        stats=_figures(node),
    )


def is_healthy(node: NodeView) -> bool:
    """What a node that was registered by hand is said to be; of others also what the cluster sees."""
    return node.availability == "active" and (node.status is NodeStatus.READY or not node.worker_version)


def online(node: NodeView) -> str:
    return "online" if node.status is NodeStatus.READY else "offline"


def _figures(node: NodeView) -> NodeFigures | None:
    used = node.used
    if used is None:
        return None
    free = used.memory_free // KIB
    memory = MemoryFigures(mem_total=(used.memory_used + used.memory_free) // KIB, mem_free=free, mem_available=free)
    return NodeFigures(
        memory=memory,
        memory_again=memory,
        disk=DiskFigures(all=used.disk_used + used.disk_free, used=used.disk_used, free=used.disk_free),
        load=LoadFigures(last1min=used.load_1m),
        tasks=node.tasks,
    )
