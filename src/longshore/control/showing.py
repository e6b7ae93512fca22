"""Records as the API shows them: a service with its status, a node with what is set aside, an app by its services.

Plain functions of a snapshot; what is measured, and so is in no snapshot, comes in as an argument.
"""

from collections import Counter
from collections.abc import Sequence

from longshore.decide import wishes
from longshore.decide.placement.volumes import user_of
from longshore.decide.status import app_phase, removing, status_of
from longshore.model.objects import Capacity, Node, NodeStats, Service, Task, Token, Volume
from longshore.model.snapshot import Snapshot
from longshore.model.views import AppView, NodeView, Phase, ServiceStatus, ServiceView, TokenView, VolumeView

NOTHING_LEFT = ServiceStatus(
    phase=Phase.REMOVING,
    wanted=0,
    running=0,
    ready=0,
    updated=0,
    finished=0,
    failed=0,
    pending=0,
    settled=True,
)
"""Of a service that was removed, and of which nothing is left."""


def service_view(service: Service, status: ServiceStatus) -> ServiceView:
    return ServiceView(
        name=service.name,
        app=service.app,
        spec=service.spec,
        status=status,
        release=service.release,
        created_at=service.created_at,
        updated_at=service.updated_at,
        revision=service.revision,
    )


def removed_view(world: Snapshot, name: str) -> ServiceView | None:
    """A removed service, as far as its last release still tells."""
    status, releases = removing(world, name), world.releases_of(name)
    if status is None or not releases:
        return None
    last = releases[max(releases)]
    return ServiceView(
        name=name,
        app="",
        spec=last.spec,
        status=status,
        release=last.number,
        created_at=last.created_at,
        updated_at=last.created_at,
        revision=last.revision,
    )


def app_view(world: Snapshot, app: str, services: Sequence[Service]) -> AppView:
    statuses = [status_of(world, service) for service in services]
    return AppView(
        name=app,
        services=tuple(service.name for service in services),
        phase=app_phase(status.phase for status in statuses),
        settled=all(status.settled for status in statuses),
    )


def removing_view(before: Snapshot, app: str) -> AppView:
    names = tuple(service.name for service in wishes.services_of_app(before, app))
    return AppView(name=app, services=names, phase=Phase.REMOVING, settled=False)


def _reserved(world: Snapshot, live: Sequence[Task]) -> Capacity:
    """In thousandths first, as placement counts them: a sum of rounded cores need not be the rounded sum."""
    cpu_millis = memory = disk = pids = 0
    for task in live:
        release = world.release(task.service, task.release)
        if release is not None:
            cpu_millis += release.spec.resources.cpu_millis
            memory += release.spec.resources.memory
            disk += release.spec.resources.disk
            pids += release.spec.resources.pids
    return Capacity(cpu=cpu_millis / 1000, memory=memory, disk=disk, pids=pids)


def _named_used(world: Snapshot, live: Sequence[Task]) -> dict[str, int]:
    """Named resources that tasks have set aside; of devices, those that they were given, whole or in part."""
    used: Counter[str] = Counter()
    for task in live:
        release = world.release(task.service, task.release)
        named = release.spec.resources.named if release is not None else {}
        used.update({name: count for name, count in named.items() if name not in task.devices})
    used.update(name for name, _ in {(name, id) for task in live for name, ids in task.devices.items() for id in ids})
    return dict(sorted(used.items()))


def volume_view(world: Snapshot, volume: Volume) -> VolumeView:
    user = user_of(world, volume)
    return VolumeView(
        id=volume.id,
        name=volume.name,
        service=volume.service,
        slot=volume.slot,
        node=volume.node,
        task=user.id if user is not None else "",
        created_at=volume.created_at,
    )


def token_view(token: Token) -> TokenView:
    return TokenView(
        id=token.id,
        role=token.role,
        node=token.node,
        uses_left=token.uses_left,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )


def node_view(world: Snapshot, node: Node, used: NodeStats | None) -> NodeView:
    live = [task for task in world.tasks_of_node(node.name).values() if task.live]
    return NodeView(
        name=node.name,
        address=node.address,
        labels=node.labels,
        taints=node.taints,
        resources=node.resources,
        resources_used=_named_used(world, live),
        availability=node.availability,
        status=node.status,
        reason=node.reason,
        message=node.message,
        capacity=node.capacity,
        reserved=_reserved(world, live),
        used=used,
        tasks=len(live),
        engine=node.engine,
        worker_version=node.worker_version,
        joined_at=node.joined_at,
        changed_at=node.changed_at,
        revision=node.revision,
    )
