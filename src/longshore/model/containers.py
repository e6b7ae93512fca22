"""What is asked of an engine and what is seen there, in our words. No engine's JSON passes `engine/`.

A container is recognised by its labels alone, so that a worker needs no memory to find its own after a restart.
"""

import hashlib
from enum import StrEnum

import msgspec

from longshore.model.objects import PublishedPort, Task
from longshore.model.spec import Probe, Protocol, Pull, ServiceSpec

LABEL_CLUSTER = "longshore.cluster"
LABEL_NODE = "longshore.node"
LABEL_TASK = "longshore.task"
LABEL_SERVICE = "longshore.service"
LABEL_SPEC = "longshore.spec"


class Status(StrEnum):
    """A container as its engine sees it."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"
    """It is listed, and the engine says no more of it for now: whoever keeps a picture keeps what it had."""


class Health(StrEnum):
    """The engine's own check."""

    NONE = "none"
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One container of ours on an engine."""

    id: str
    task: str
    """Task id, from the label; empty if somebody removed it."""
    fingerprint: str
    """Of the order it was made from, from the label."""
    status: Status
    health: Health = Health.NONE
    health_output: str = ""
    """The last check's output, if it failed."""
    exit_code: int | None = None
    """Once exited."""
    oom_killed: bool = False
    error: str = ""
    """What the engine says went wrong."""
    address: str = ""
    """Its own, on the engine's network, while it runs."""
    gateway: str = ""
    """The engine's end of that network."""
    published: tuple[PublishedPort, ...] = ()
    """All its ports that answer on the host, while it runs."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a probe asks, what, and on which ways it may get there."""

    container: Container
    probe: Probe
    published: PublishedPort | None = None
    """The host port of the probed port, if it has one."""


class Ran(msgspec.Struct, frozen=True):
    """What came of a program that was run in a container."""

    exit_code: int | None
    """None if it had not ended in time: then it goes on, as no engine offers to end it."""
    output: str
    """The end of what it wrote."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the results of a probe come to so far."""

    passes: bool | None = None
    """None until enough of them have agreed once."""
    output: str = ""
    """What made it fail."""
    passed: int = 0
    """Answers in a row, the newest included."""
    failed: int = 0
    """Failures in a row that counted."""


class Checks(msgspec.Struct, frozen=True):
    """What a worker's own probes say of a task's container."""

    liveness: Verdict = Verdict()
    readiness: Verdict = Verdict()


class ContainerOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an engine needs to make a task's container."""

    name: str
    task: str
    service: str
    cluster: str
    node: str
    fingerprint: str
    spec: ServiceSpec
    ports: tuple[PublishedPort, ...] = ()
    devices: dict[str, tuple[str, ...]] = {}
    """The task's own, by resource."""


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that a container wrote."""

    at: float
    stream: str
    """`stdout` or `stderr`."""
    text: str


class Assigned(msgspec.Struct, frozen=True, kw_only=True):
    """A task with the spec of its release: all that a worker needs to run it."""

    task: Task
    spec: ServiceSpec


# Steps: what `decide.containers` tells a worker to do next with one task. One at a time; then it looks again.


class Prepare(msgspec.Struct, frozen=True):
    """Have the image."""

    image: str
    pull: Pull


class Create(msgspec.Struct, frozen=True):
    order: ContainerOrder


class Start(msgspec.Struct, frozen=True):
    container_id: str


class Stop(msgspec.Struct, frozen=True):
    container_id: str
    grace_s: float


class Remove(msgspec.Struct, frozen=True):
    """Remove the container and its anonymous volumes; its named volumes stay."""

    container_id: str


Step = Prepare | Create | Start | Stop | Remove


def fingerprint(task: Task) -> str:
    """Identity of a task's container. Ids can come again after a service was removed and made anew; this cannot,
    because it covers the moment of the task's creation, so a stale container is never taken for the new task's.

    Spec and ports are not in it: a task never changes its release or its ports, and a worker of another version, which
    may know more fields of a spec, must find the same containers its own.
    """
    return hashlib.sha256(f"{task.id} {task.release} {task.created_at!r}".encode()).hexdigest()[:16]


def order_for(assigned: Assigned, *, cluster: str, node: str) -> ContainerOrder:
    """The order for a task's container. Its name is unique per engine, even where several clusters share one."""
    mark = fingerprint(assigned.task)
    return ContainerOrder(
        name=f"{assigned.task.id}-{mark[:8]}",
        task=assigned.task.id,
        service=assigned.task.service,
        cluster=cluster,
        node=node,
        fingerprint=mark,
        spec=assigned.spec,
        ports=assigned.task.ports,
        devices=assigned.task.devices,
    )


def target_of(assigned: Assigned, container: Container, probe: Probe) -> Target:
    """How a probe of this task's container gets there."""
    asked = probe.http or probe.tcp  # a command asks no port
    ports = (port for port in assigned.task.ports if port.protocol is Protocol.TCP)
    published = next((port for port in ports if asked is not None and port.container == asked.port), None)
    return Target(container=container, probe=probe, published=published)
