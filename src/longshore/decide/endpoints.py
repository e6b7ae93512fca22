"""Where the requests for a service may be sent: its tasks' ports, and what the entries make of them.

A task is an endpoint while it runs, is ready and counts; one that leaves still is one, marked as such, so that it may
finish what it has. Everything else (not ready, stopped, standing by, on a node that is gone) is none. Which port of a
task answers for which of the service is told by the release that the task runs, not by the newest wish.

Entries are told of lost tasks too, as such: nobody closes the connections to a machine that is gone, so whoever asked
it would wait for ever.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from longshore.decide.ingress import claims
from longshore.model.lifecycle import State, Wanted
from longshore.model.messages import Listener, Server
from longshore.model.objects import Node, NodeStatus, PublishedPort, Service, Task
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Port
from longshore.model.views import EndpointState, EndpointView

ENTRY_LABEL, ENTRY_VALUE = "entry", "true"


def is_entry(node: Node | None) -> bool:
    """Whether it answers for the services' ports with `ingress`."""
    return node is not None and node.labels.get(ENTRY_LABEL) == ENTRY_VALUE


def endpoints(world: Snapshot, service: str) -> dict[str, EndpointView]:
    """The endpoints of a service by id, in order of its tasks and their ports."""
    found = {}
    tasks = world.tasks_of_service(service).values()
    for task in sorted(tasks, key=lambda one: (one.slot, one.generation)):
        for one in endpoints_of(world, task):
            found[one.id] = one
    return found


def endpoints_of(world: Snapshot, task: Task) -> Iterator[EndpointView]:
    """Those of one task."""
    state, node = _state(task), world.nodes.get(task.node)
    if state is None or node is None or node.status is not NodeStatus.READY:
        return
    for wish, port in _ports(world, task):
        yield EndpointView(
            id=f"{task.id}:{port.container}/{port.protocol}",
            service=task.service,
            task=task.id,
            node=task.node,
            address=node.address if _anywhere(port.ip) else port.ip,
            port=port.host,
            container=port.container,
            protocol=port.protocol,
            ingress=wish.ingress,
            listen=wish.listen,
            state=state,
        )


def _ports(world: Snapshot, task: Task) -> Iterator[tuple[Port, PublishedPort]]:
    """What is wished of each port of a task, and what it got. Placement gives them in the order of the spec."""
    release = world.release(task.service, task.release)
    if release is not None:
        yield from zip(release.spec.ports, task.ports, strict=False)


def _lost(world: Snapshot, task: Task) -> Iterator[tuple[int, Server]]:
    """Where a task was that is lost with its node, by the ports of the entries."""
    node = world.nodes.get(task.node)
    for wish, port in _ports(world, task):
        if node is not None and wish.listen is not None:
            address = node.address if _anywhere(port.ip) else port.ip
            yield wish.listen, Server(task=task.id, address=address, port=port.host, lost=True)


def _state(task: Task) -> EndpointState | None:
    if task.state is not State.RUNNING or not task.ready:
        return None
    if task.wanted is Wanted.LEAVING:
        return EndpointState.LEAVING
    return EndpointState.READY if task.counts else None


def _anywhere(ip: str) -> bool:
    return ip in (Port(container=1).ip, "::")


def listeners(world: Snapshot) -> dict[int, Listener]:
    """What every entry serves, by port. A port that two services have, which only a rollback can bring about, is the
    older one's."""
    found: dict[int, Listener] = {}
    for service in sorted(world.services.values(), key=lambda one: (one.created_at, one.name)):
        for listen, listener in _listeners_of(world, service).items():
            found.setdefault(listen, listener)
    return found


def _listeners_of(world: Snapshot, service: Service) -> Mapping[int, Listener]:
    tasks = world.tasks_of_service(service.name).values()
    wished = claims(service.spec)
    # What the newest wish no longer names is answered for while tasks of an older release still do.
    for number in sorted({task.release for task in tasks if _state(task)}, reverse=True):
        release = world.release(service.name, number)
        if release is not None:
            wished = {**claims(release.spec), **wished}
    if not wished:
        return {}
    servers: dict[int, list[Server]] = defaultdict(list)
    for one in endpoints(world, service.name).values():
        if one.listen is not None:
            leaving = one.state is EndpointState.LEAVING
            servers[one.listen].append(Server(task=one.task, address=one.address, port=one.port, leaving=leaving))
    for task in sorted((one for one in tasks if one.state is State.LOST), key=lambda one: (one.slot, one.generation)):
        for listen, server in _lost(world, task):
            servers[listen].append(server)
    found = {}
    for listen, port in sorted(wished.items()):
        assert port.ingress is not None
        found[listen] = Listener(
            port=listen, ip=port.ip, service=service.name, mode=port.ingress, servers=tuple(servers[listen])
        )
    return found
