"""The table of controllers: what each looks at, what wakes it, what it decides.

The only place that knows all decisions together; they do not know one another.
"""

from collections.abc import Callable, Iterable

from longshore.control.liveness import Liveness
from longshore.decide import deployments, nodes, rollout, services
from longshore.decide.placement import place
from longshore.loop.controller import Controller, Decision
from longshore.model.changes import Event
from longshore.model.objects import Availability, Kind, NodeStatus, Task
from longshore.model.snapshot import Snapshot, service_of_task
from longshore.model.spec import Mode

CLUSTER = "cluster"
"""The one key of the placement controller: it sees all waiting tasks together and never races itself."""


def controllers(policy: str, liveness: Liveness, busy: Callable[[str], float | None]) -> tuple[Controller, ...]:
    """The rows. `policy` names the placement policy; `liveness` tells for how long a node may still be silent, `busy`
    how many of its cores were in use when last measured."""
    return (
        Controller("services", _service_keys, _all_services, services.decide),
        Controller("rollout", _service_keys, _all_services, rollout.decide),
        Controller("deployments", _service_keys, _all_services, deployments.decide),
        Controller(
            "placement",
            _placement_keys,
            lambda world: (CLUSTER,),
            lambda world, key, now: place.decide(world, now, policy, busy),
        ),
        Controller(
            "nodes",
            _node_keys,
            lambda world: (*world.nodes,),
            lambda world, key, now: _node(world, key, now, liveness),
        ),
    )


def _node(world: Snapshot, key: str, now: float, liveness: Liveness) -> Decision:
    left_s = liveness.silence_left_s(key)
    node = world.nodes.get(key)
    fence_left_s = liveness.fence_left_s(key, node.lease_s if node is not None else 0.0)
    if left_s > 0:
        return nodes.decide(world, key, now, left_s, fence_left_s)
    held = nodes.held(world, liveness.quiet(world.nodes))
    return nodes.decide(world, key, now, left_s, fence_left_s, closed=liveness.closed(key), held=held)


def _all_services(world: Snapshot) -> Iterable[str]:
    return sorted(world.services.keys() | world.services_with_tasks.keys())


def _service_keys(event: Event, world: Snapshot) -> Iterable[str]:
    """Its own service and tasks; a global service also when nodes come, go or change."""
    if event.kind is Kind.SERVICE:
        return (event.id,)
    if event.kind is Kind.TASK:
        return (service_of_task(event.id),)
    if event.kind is Kind.RELEASE:
        return (event.id.rpartition("@")[0],)
    if event.kind is Kind.NODE:
        here = {task.service for task in world.tasks_of_node(event.id).values()}
        return sorted(here.union(name for name in world.services if _is_global(world, name)))
    return ()


def _is_global(world: Snapshot, name: str) -> bool:
    service = world.services.get(name)
    return service is not None and service.spec.mode is Mode.GLOBAL


def _placement_keys(event: Event, world: Snapshot) -> Iterable[str]:
    """A task that waits, room that came free, a node that changed. A task that starts or reports cannot help."""
    if event.kind is Kind.NODE:
        return (CLUSTER,)
    if event.kind is Kind.TASK:
        task = event.after
        if not isinstance(task, Task) or not task.node or not task.live:
            return (CLUSTER,)
    return ()


def _node_keys(event: Event, world: Snapshot) -> Iterable[str]:
    """A node that changed; one that was given a task, as it may have gone down meanwhile; one that leaves, as its last
    task may have ended."""
    if event.kind is Kind.NODE:
        return (event.id,)
    task = event.after
    if isinstance(task, Task) and task.node:
        node = world.nodes.get(task.node)
        leaves = node is not None and node.availability is Availability.LEAVING
        closed = node is None or node.status is NodeStatus.DOWN or node.availability.gives_up
        if leaves or (closed and task.live):
            return (task.node,)
    return ()
