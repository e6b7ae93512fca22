"""The design of kirannhegde/Container-Orchestrator: an image and how many of it, and a table of nodes and containers.

Its creations come one after the other, in the order in which they were asked for: the next begins once the one before
runs, or cannot for now. A creation is a service named after its image; the same image once more is another number of
the same service.
"""

import asyncio
import re
from collections.abc import Iterable

import msgspec
import structlog

from longshore.api.compat.cube import HostPort, host_ports, online
from longshore.api.compat.reading import Fields
from longshore.control.operations import Operations
from longshore.decide.postings import service_name
from longshore.model.errors import Compacted, Invalid
from longshore.model.lifecycle import State
from longshore.model.objects import Task
from longshore.model.snapshot import Snapshot
from longshore.model.spec import ServiceSpec
from longshore.model.views import NodeView, ServiceView, ServiceWish
from longshore.ports import Store

log = structlog.get_logger("longshore.api")

TURN_S = 60.0
"""For so long at most a creation keeps the next one waiting."""
_CREATED_HERE = "created.from"


class Creation(msgspec.Struct, frozen=True):
    image: str = msgspec.field(name="ImageNameTag")
    replicas: int = msgspec.field(name="NumOfReplicas")


class Created(msgspec.Struct, frozen=True, kw_only=True):
    image: str = msgspec.field(name="ImageNameTag")
    replicas: int = msgspec.field(name="NumOfReplicas")
    running: int = msgspec.field(name="actualNumOfReplicas")
    service: str = msgspec.field(name="Service")
    message: str = msgspec.field(name="Message")


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """Capacities are bytes of memory."""

    id: int
    name: str = msgspec.field(name="nodeName")
    address: str = msgspec.field(name="nodeIpaddr")
    capacity: int = msgspec.field(name="nodeCapacity")
    available: int = msgspec.field(name="nodeAvailCapacity")
    status: str
    tasks: int


class ContainerRow(msgspec.Struct, frozen=True, kw_only=True):
    image: str = msgspec.field(name="Image")
    required: int = msgspec.field(name="RequiredNumOfReplicas")
    actual: int = msgspec.field(name="actualNumOfReplicas")
    node: str = msgspec.field(name="nodeName")
    address: str = msgspec.field(name="nodeIpaddr")
    service: str
    task: str
    state: str
    ports: dict[str, list[HostPort]] | None = msgspec.field(name="HostPorts")


class ClusterState(msgspec.Struct, frozen=True):
    nodes: tuple[NodeRow, ...]
    containers: tuple[ContainerRow, ...]


def read_creation(body: Fields) -> Creation:
    """`{"ImageNameTag": "nginx:latest", "NumOfReplicas": 3}`, also with both inside an `Image`."""
    if isinstance(body.value("Image"), dict):
        body = body.within("Image")
    image = body.text("ImageNameTag", "Image").strip()
    if not image:
        raise Invalid("ImageNameTag is missing", field="ImageNameTag")
    replicas = body.whole("NumOfReplicas", "RequiredNumOfReplicas") if body.has("NumOfReplicas") else 1
    return Creation(image, replicas)


def read_path(parts: Iterable[str]) -> Creation:
    """`image/3`, or `registry/repository/image/3`, where the registry may have slashes of its own."""
    *names, replicas = [part for part in parts if part] or [""]
    if not re.fullmatch(r"[0-9]{1,6}", replicas):
        raise Invalid(f"{replicas[:40]!r} is no number of replicas", field="replicas")
    if not names:
        raise Invalid("the path names no image: /create_container/IMAGE/REPLICAS", field="image")
    return Creation("/".join(names), int(replicas))


async def create(turn: asyncio.Lock, store: Store, operations: Operations, asked: Creation) -> Created:
    """Wish for it, durably, once it is its turn; then give it time to run before the next one's."""
    log.info("replicas are asked for", image=asked.image, replicas=asked.replicas, others_first=turn.locked())
    async with turn:
        name = _service_for(store.read(), asked.image)
        # The design has no word on how replicas are reached; nobody could, if their ports were not published.
        labels = {_CREATED_HERE: asked.image}
        spec = ServiceSpec(image=asked.image, replicas=asked.replicas, labels=labels, publish_exposed=True)
        await operations.apply_service(name, ServiceWish(spec=spec))
        view = await _settled(store, operations, name)
    status = view.status
    message = "as wished" if status.settled else status.message or f"{status.ready} of {status.wanted} run so far"
    return Created(image=asked.image, replicas=asked.replicas, running=status.running, service=name, message=message)


def _service_for(world: Snapshot, image: str) -> str:
    """The service that was created of this image here, else a name that is free."""
    plain = service_name(image.removesuffix(":latest"))
    for number in range(1, 1000):
        name = plain if number == 1 else f"{plain[:36]}-{number}"
        service = world.services.get(name)
        if service is None and not world.tasks_of_service(name):
            return name
        if service is not None and service.spec.labels.get(_CREATED_HERE) == image:
            return name
    raise Invalid(f"there are services of all names like {plain}", field="ImageNameTag")


async def _settled(store: Store, operations: Operations, name: str) -> ServiceView:
    """The service as soon as it runs as wished or says what keeps it from that; after a while in any case."""
    try:
        async with asyncio.timeout(TURN_S):
            async for _ in store.watch(store.read().revision - 1):
                view = operations.service_view(name)
                if view.status.settled or view.status.message:
                    return view
    except (TimeoutError, Compacted):
        pass  # the wish stands, and /status tells how far it is
    return operations.service_view(name)


def state(world: Snapshot, nodes: Iterable[NodeView]) -> ClusterState:
    """All nodes, and each container that is wanted or there."""
    rows = tuple(
        NodeRow(
            id=number,
            name=node.name,
            address=node.address,
            capacity=node.capacity.memory,
            available=max(0, node.capacity.memory - node.reserved.memory),
            status=online(node),
            tasks=node.tasks,
        )
        for number, node in enumerate(nodes, start=1)
    )
    return ClusterState(rows, tuple(_containers(world)))


def _containers(world: Snapshot) -> Iterable[ContainerRow]:
    for service, tasks in sorted(world.services_with_tasks.items()):
        running = sum(task.counts and task.state is State.RUNNING for task in tasks.values())
        wished = world.services.get(service)
        for task in sorted(tasks.values(), key=lambda task: (task.slot, task.generation)):
            if task.live:
                yield _container(world, task, wished.spec.replicas if wished is not None else 0, running)


def _container(world: Snapshot, task: Task, required: int, running: int) -> ContainerRow:
    release, node = world.release(task.service, task.release), world.nodes.get(task.node)
    return ContainerRow(
        image=release.spec.image if release is not None else "",
        required=required,
        actual=running,
        node=task.node,
        address=node.address if node is not None else "",
        service=task.service,
        task=task.id,
        state=task.state,
        ports=host_ports((*task.ports, *task.exposed)),
    )
