"""The table of controllers: what each looks at, what wakes it, what it decides.

The only place that knows all decisions together; they do not know one another.
"""

from collections.abc import Callable, Iterable, Sequence

from longshore.control.census import Census
from longshore.control.dependents import Dependents, names_by_node, services_named
from longshore.control.liveness import Liveness
from longshore.decide import deployments, nodes, rebalance, rollout, services
from longshore.decide.placement import place
from longshore.loop.controller import Controller, Decision
from longshore.model.changes import Event, Guard
from longshore.model.objects import Availability, Kind, Task
from longshore.model.reasons import Reason
from longshore.model.retention import Retention
from longshore.model.snapshot import Snapshot

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

    def starting_keys(events: Sequence[Event], world: Snapshot) -> Iterable[str]:
        """Also those that wait for one of the services before they start."""
        return (*_service_keys(events, world), *dependents.touched(events, world))

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


def _service_keys(events: Sequence[Event], world: Snapshot) -> Iterable[str]:
    """Its own service and tasks; a global service also when nodes come, go or change."""
    keys = services_named(events)
    for event in events:
        if event.kind is Kind.NODE:
            here = {task.service for task in world.tasks_of_node(event.id).values()}
            keys.update(dict.fromkeys(sorted(here.union(world.services.derive(names_by_node)))))
    return keys


def _placement_keys(events: Sequence[Event], world: Snapshot) -> Iterable[str]:
    """A task that waits, room that came free, a node or a volume that changed, a service, which may have another
    priority. A task that starts or reports cannot help."""
    return (CLUSTER,) if any(_makes_room(event) for event in events) else ()


def _makes_room(event: Event) -> bool:
    if event.kind is not Kind.TASK:
        return event.kind in (Kind.NODE, Kind.VOLUME, Kind.SERVICE)
    task = event.after
    return not isinstance(task, Task) or not task.node or not task.live


def _rebalance_keys(events: Sequence[Event], world: Snapshot) -> Iterable[str]:
    """A node that joined, returned or is active again; a service that opted in; what came to rest: a release, a
    move."""
    kinds, reasons = (Kind.NODE, Kind.SERVICE, Kind.RELEASE), (Reason.MOVED, Reason.MOVE_GIVEN_UP)
    return (CLUSTER,) if any(event.kind in kinds or event.reason in reasons for event in events) else ()


def _node_keys(events: Sequence[Event], world: Snapshot) -> Iterable[str]:
    """A node that changed; one that leaves, as its last task may have ended."""
    keys: dict[str, None] = {}
    nodes = world.nodes
    for event in events:
        task = event.after
        if event.kind is Kind.NODE:
            keys[event.id] = None
        elif isinstance(task, Task) and task.node:
            node = nodes.get(task.node)
            if node is not None and node.availability is Availability.LEAVING:
                keys[task.node] = None
    return keys
