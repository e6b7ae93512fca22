"""The table of controllers: what each looks at, what wakes it, what it decides.

The only place that knows all decisions together; they do not know one another.
"""

from collections.abc import Callable, Iterable

from longshore.control.census import Census
from longshore.control.dependents import Dependents, global_names
from longshore.control.liveness import Liveness
from longshore.decide import deployments, nodes, rebalance, rollout, services
from longshore.decide.placement import place
from longshore.loop.controller import Controller, Decision
from longshore.model.changes import Event, Guard
from longshore.model.objects import Availability, Kind, NodeStatus, Task
from longshore.model.reasons import Reason
from longshore.model.retention import Retention
from longshore.model.snapshot import Snapshot, service_of_task

KEPT = Retention()
CLUSTER = "cluster"
"""The one key of the placement controller: it sees all waiting tasks together and never races itself. So does that of
rebalance, with all nodes."""


def controllers(
    policy: str,
    liveness: Liveness,
    census: Census,
    busy: Callable[[str], float | None],
    kept: Retention = KEPT,
    passes: place.Kept | None = None,
) -> tuple[Controller, ...]:
    """The rows. `policy` names the placement policy; `liveness` tells for how long a node may still be silent, `census`
    whether most are, `busy` how many of its cores were in use when last measured, `kept` what is kept that is over,
    `passes` what one pass of placement leaves for the next."""
    dependents = Dependents()
    passes = place.Kept() if passes is None else passes

    def starting_keys(event: Event, world: Snapshot) -> Iterable[str]:
        """Also those that wait for the service before they start."""
        return (*_service_keys(event, world), *dependents.touched(event, world))

    return (
        Controller(
            "services",
            starting_keys,
            _all_services,
            lambda world, key, now: services.decide(world, key, now, kept),
            _as_wished,
            rests=True,
        ),
        Controller("rollout", starting_keys, _all_services, rollout.decide, _as_wished, rests=True),
        Controller("deployments", _service_keys, _all_services, deployments.decide, _as_wished, rests=True),
        Controller(
            "placement",
            _placement_keys,
            lambda world: (CLUSTER,),
            lambda world, key, now: place.decide(world, now, policy, busy, passes),
        ),
        Controller(
            "rebalance",
            _rebalance_keys,
            lambda world: (CLUSTER,),
            lambda world, key, now: rebalance.decide(world, now, policy),
        ),
        Controller(
            "nodes",
            _node_keys,
            lambda world: (*world.nodes,),
            lambda world, key, now: _node(world, key, now, liveness, census),
        ),
    )


def _node(world: Snapshot, key: str, now: float, liveness: Liveness, census: Census) -> Decision:
    left_s = liveness.silence_left_s(key)
    node = world.nodes.get(key)
    fence_left_s = liveness.fence_left_s(key, node.lease_s if node is not None else 0.0)
    if left_s > 0:
        return nodes.decide(world, key, now, left_s, fence_left_s)
    held = census.held(world)
    return nodes.decide(world, key, now, left_s, fence_left_s, closed=liveness.closed(key), held=held)


def _as_wished(world: Snapshot, key: str) -> tuple[Guard, ...]:
    """What was decided for a service rests on what was wished of it then."""
    service = world.services.get(key)
    return (Guard(kind=Kind.SERVICE, id=key, revision=service.revision if service is not None else 0),)


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
        return sorted(here.union(world.services.derive(global_names)))
    return ()


def _placement_keys(event: Event, world: Snapshot) -> Iterable[str]:
    """A task that waits, room that came free, a node or a volume that changed. A task that starts or reports cannot
    help."""
    if event.kind in (Kind.NODE, Kind.VOLUME):
        return (CLUSTER,)
    if event.kind is Kind.TASK:
        task = event.after
        if not isinstance(task, Task) or not task.node or not task.live:
            return (CLUSTER,)
    return ()


def _rebalance_keys(event: Event, world: Snapshot) -> Iterable[str]:
    """A node that joined, returned or is active again; a service that opted in; what came to rest: a release, a
    move."""
    if event.kind in (Kind.NODE, Kind.SERVICE, Kind.RELEASE) or event.reason in (Reason.MOVED, Reason.MOVE_GIVEN_UP):
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
