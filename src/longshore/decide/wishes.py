"""What a user's verbs change: the wish, as records. Only these functions make changes in the user's name.

Every spec comes in through `admission`, also one that is only scaled or restarted: a policy that grew stricter holds
for all doors. A wish that is fulfilled already changes nothing. Tasks are not touched here: controllers see the new
wish and act on it, so removing a service deletes its record and nothing else.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from longshore.decide.admission import (
    admit,
    admit_app_name,
    admit_dial,
    admit_name,
    admit_node_labels,
    admit_node_name,
    check_replicas,
)
from longshore.decide.dependencies import check_app, check_service
from longshore.decide.differences import differences
from longshore.decide.grammar import DAY_S, ITEMS_MAX
from longshore.decide.ingress import check_claims
from longshore.decide.nodes import forgotten
from longshore.decide.placing import patched_resources, patched_taints
from longshore.model.changes import COMMIT_CHANGES_MAX, Change, deleted
from longshore.model.errors import Conflict, Invalid, NotFound
from longshore.model.lifecycle import Owner
from longshore.model.objects import Availability, Kind, Node, NodeStatus, Release, ReleasePhase, Service, release_id
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, ServiceSpec, same_containers
from longshore.model.views import NodePatch, ServiceWish

APP_SERVICES_MAX = 60
"""A service that changes is two records, and an app is applied in one commit."""
_FIELDS_TOLD = 5


def apply_service(world: Snapshot, name: str, wish: ServiceWish, now: float, *, author: str = "") -> list[Change]:
    """Create or update one service.

    A service stays in its app unless the wish names another: one without an app may be taken into one, but no app
    loses a service to another.
    """
    admit_name(name, field="name")
    if wish.name is not None and wish.name != name:
        raise Invalid(f"the body names {wish.name!r} and the path {name!r}; make them the same", field="name")
    if wish.app:
        admit_app_name(wish.app, field="app")
    spec = admit(wish.spec)
    current = world.services.get(name)
    app = wish.app or (current.app if current else "")
    if current is not None and current.app and current.app != app:
        raise Conflict(f"service {name} belongs to app {current.app}; remove it there first, or choose another name")
    if app and (current is None or current.app != app) and len(services_of_app(world, app)) >= APP_SERVICES_MAX:
        raise Invalid(f"app {app} has {APP_SERVICES_MAX} services, which is the most; choose another app", field="app")
    standing = {key: one.spec for key, one in world.services.items() if key != name}
    check_claims({name: spec}, standing)
    check_service(name, spec, standing)
    return _write(world, name, app, spec, now, author)


def apply_app(
    world: Snapshot, app: str, specs: Mapping[str, ServiceSpec], now: float, *, author: str = ""
) -> list[Change]:
    """Create and update all services of an app, and remove those that it no longer names. All or nothing."""
    admit_app_name(app, field="app")
    if len(specs) > APP_SERVICES_MAX:
        raise Invalid(
            f"an app has at most {APP_SERVICES_MAX} services, and this has {len(specs)}; divide it into several apps",
            field="services",
        )
    admitted = {}
    for name in sorted(specs):
        admit_name(name, field="services")
        admitted[name] = admit(specs[name], field=f"services.{name}")
    check_claims(admitted, {key: one.spec for key, one in world.services.items() if one.app != app})
    check_app(admitted)
    changes: list[Change] = []
    for name, spec in admitted.items():
        current = world.services.get(name)
        if current is not None and current.app != app:
            owner = f"app {current.app}" if current.app else "no app"
            raise Conflict(f"service {name} exists and belongs to {owner}; remove it there first, or rename yours")
        changes += _write(world, name, app, spec, now, author)
    for service in services_of_app(world, app):
        if service.name not in admitted:
            changes.append(_removal(service))
    if len(changes) > COMMIT_CHANGES_MAX:
        raise Invalid(
            f"this changes {len(changes)} records at once and {COMMIT_CHANGES_MAX} is the most; remove services first, "
            "then add the others",
            field="services",
        )
    return changes


def scale(world: Snapshot, name: str, replicas: int, now: float) -> list[Change]:
    """Another number of tasks, or of completions for a job; the containers stay as they are."""
    service = _service(world, name)
    if service.spec.mode is Mode.GLOBAL:
        raise Invalid(
            f"service {name} is global, with one task on each eligible node; change its constraints instead",
            field="replicas",
        )
    check_replicas(replicas, field="replicas")
    return _write(world, name, service.app, admit(replace(service.spec, replicas=replicas)), now, "")


def restart(world: Snapshot, name: str, now: float, *, author: str = "") -> list[Change]:
    """A new release of the same spec: all tasks are replaced by the rules of an update."""
    service = _service(world, name)
    number = _next_release(world, name)
    after = replace(service, spec=admit(service.spec), release=number, updated_at=now)
    reason, message = Reason.RESTART_ASKED, f"release {number}"
    return [_service_change(service, after, reason, message), _release_change(after, now, reason, message, author)]


# -- rollouts


def roll_back(world: Snapshot, name: str, to: int | None, now: float) -> list[Change]:
    """Back to an earlier release: number `to`, else the last one that was done."""
    service = _service(world, name)
    releases = world.own_releases(service)
    kept = ", ".join(str(number) for number in sorted(releases) if number != service.release) or "none"
    if to is not None:
        target = releases.get(to)
        if target is None:
            raise NotFound(f"release {to} of {name} is not kept; kept are {kept}")
        if to == service.release:
            raise Invalid(f"{name} is at release {to} already; kept are {kept}", field="to")
    else:
        last = last_good(world, service)
        if last is None:
            raise Conflict(f"no other release of {name} was ever done; name one with --to (kept are {kept})")
        target = last
    return go_back(world, service, target, now, by=Owner.USER, message="asked")


def last_good(world: Snapshot, service: Service) -> Release | None:
    """The release before the current one that was done last."""
    releases = world.own_releases(service)
    done = [one for one in releases.values() if one.phase is ReleasePhase.DONE and one.number != service.release]
    return max(done, key=lambda one: (one.finished_at or 0.0, one.number), default=None)


def go_back(world: Snapshot, service: Service, target: Release, now: float, *, by: Owner, message: str) -> list[Change]:
    """Make an earlier release the current one again, in as many tasks as there are to be now. Tasks that still run it
    stay. Raises Invalid or Conflict if it may not be wished any more."""
    spec = admit(replace(target.spec, replicas=service.spec.replicas))
    check_claims({service.name: spec}, {key: one.spec for key, one in world.services.items() if key != service.name})
    after = replace(service, spec=spec, release=target.number, updated_at=now)
    words = f"release {service.release} back to {target.number}: {message}"
    again = replace(
        target,
        rolls_back=service.release if by is Owner.DEPLOYMENTS else 0,
        phase=ReleasePhase.ROLLING,
        message="",
        failed_slots=(),
        resumed_at=now,
        finished_at=None,
    )
    return [
        replace(_service_change(service, after, Reason.ROLLED_BACK, words), by=by),
        replace(phase_change(target, again, Reason.ROLLED_BACK, by), message=words),
    ]


def pause_rollout(world: Snapshot, name: str) -> list[Change]:
    """Take the current release no further for now."""
    release = _current_release(world, name)
    if release.phase is ReleasePhase.PAUSED:
        return []
    if release.phase is not ReleasePhase.ROLLING:
        raise Conflict(f"release {release.number} of {name} is {release.phase}; there is nothing to pause")
    after = replace(release, phase=ReleasePhase.PAUSED, message="paused by a user")
    return [phase_change(release, after, Reason.ROLLOUT_PAUSED, Owner.USER)]


def resume_rollout(world: Snapshot, name: str, now: float) -> list[Change]:
    """Go on with the current release; failures so far are forgiven."""
    release = _current_release(world, name)
    if release.phase is ReleasePhase.ROLLING:
        return []
    if release.phase is not ReleasePhase.PAUSED:
        raise Conflict(f"release {release.number} of {name} is {release.phase}; there is nothing to resume")
    after = replace(release, phase=ReleasePhase.ROLLING, message="", failed_slots=(), resumed_at=now)
    return [phase_change(release, after, Reason.ROLLOUT_RESUMED, Owner.USER)]


def _current_release(world: Snapshot, name: str) -> Release:
    service = _service(world, name)
    release = world.release(name, service.release)
    assert release is not None, f"the release of {name} is gone"
    return release


def phase_change(before: Release, after: Release, reason: Reason, by: Owner) -> Change:
    """The change of how a release stands."""
    return Change(
        kind=Kind.RELEASE,
        id=before.id,
        before=before.revision,
        after=after,
        by=by,
        reason=reason,
        message=after.message,
    )


def remove_service(world: Snapshot, name: str) -> list[Change]:
    return [_removal(_service(world, name))]


def remove_app(world: Snapshot, app: str) -> list[Change]:
    services = services_of_app(world, app)
    if not services:
        raise NotFound(f"there is no app {app}")
    return [_removal(service) for service in services]


def services_of_app(world: Snapshot, app: str) -> list[Service]:
    """By name. An app is nothing but its services."""
    return [service for _, service in sorted(world.services.items()) if service.app == app]


def patch_node(world: Snapshot, name: str, patch: NodePatch, now: float) -> list[Change]:
    """Change a node's availability, labels, taints and resources; what the patch does not name stays."""
    node = _node(world, name)
    wanted = patch.labels or {}
    admit_node_labels({key: value for key, value in wanted.items() if value is not None}, field="labels")
    merged = {**node.labels, **wanted}
    labels = {key: value for key, value in merged.items() if value is not None}
    if len(labels) > ITEMS_MAX:
        raise Invalid(f"a node has at most {ITEMS_MAX} labels; remove some first", field="labels")
    after = replace(
        node,
        labels=labels,
        taints=patched_taints(node, patch),
        resources=patched_resources(node, patch),
        availability=patch.availability or node.availability,
    )
    if patch.availability is not None or patch.deadline_s is not None:
        after = replace(after, drain_by=_deadline(after, patch.deadline_s, now))
    if after == node:
        return []
    told = [] if after.availability is node.availability else [f"{node.availability} to {after.availability}"]
    told += ["deadline"] if after.drain_by != node.drain_by and not told else []
    told += [f"label {key}" for key in sorted(wanted) if node.labels.get(key) != labels.get(key)]
    told += ["taints"] if after.taints != node.taints else []
    told += ["resources"] if after.resources != node.resources else []
    return [_node_change(node, after, Reason.NODE_CHANGED, ", ".join(told))]


def _deadline(node: Node, deadline_s: float | None, now: float) -> float | None:
    if deadline_s is None:
        return None
    if not node.availability.gives_up:
        raise Invalid("only a node that gives its tasks up has a deadline for it", field="deadline_s")
    if not 0 <= deadline_s <= DAY_S:  # written so that NaN is refused too
        raise Invalid(f"a deadline is 0 to {DAY_S:g} seconds away", field="deadline_s")
    return now + deadline_s


def register_node(world: Snapshot, name: str, healthy: bool, dial: str, now: float) -> list[Change]:
    """A record for a machine whose worker has not joined yet, so that it is shown; nothing is placed on it until one
    does. With `dial` the manager tries to reach its worker there. Of a known node only what is said changes."""
    admit_node_name(name, field="ID")
    if dial:
        admit_dial(dial, field="Api")
    node = world.nodes.get(name)
    marked = _marked(node.availability if node else Availability.ACTIVE, healthy)
    if node is not None:
        after = replace(_turned(node, marked), dial=dial or node.dial)
        return [] if after == node else [_node_change(node, after, Reason.NODE_CHANGED, f"marked {_word(healthy)}")]
    made = Node(
        name=name,
        status=NodeStatus.DOWN,
        availability=marked,
        reason=Reason.NODE_REGISTERED,
        message="no worker has joined under this name",
        dial=dial,
        changed_at=now,
    )
    return [_node_change(None, made, Reason.NODE_REGISTERED, "")]


def mark_node(world: Snapshot, name: str, healthy: bool) -> list[Change]:
    """Take a node out of placement, or back in; its tasks stay. What the cluster finds out itself stands beside it."""
    node = _node(world, name)
    after = _turned(node, _marked(node.availability, healthy))
    return [] if after == node else [_node_change(node, after, Reason.NODE_CHANGED, f"marked {_word(healthy)}")]


def _marked(before: Availability, healthy: bool) -> Availability:
    """A node that gives up its tasks goes on doing so when it is called unhealthy as well."""
    if healthy:
        return Availability.ACTIVE
    return before if before.gives_up else Availability.PAUSED


def _turned(node: Node, to: Availability) -> Node:
    """A node of another availability. It has no deadline but that of a drain which goes on."""
    goes_on = node.availability.gives_up and to.gives_up
    return replace(node, availability=to, drain_by=node.drain_by if goes_on else None)


def _word(healthy: bool) -> str:
    return "healthy" if healthy else "unhealthy"


def dismiss_node(world: Snapshot, name: str) -> list[Change]:
    """Have a node give up its tasks and be forgotten; at once if it has none and no worker of it is there."""
    node = _node(world, name)
    live = any(task.live for task in world.tasks_of_node(name).values())
    if node.status is NodeStatus.DOWN and not live:
        return remove_node(world, name)
    if node.availability is Availability.LEAVING:
        return []
    after = _turned(node, Availability.LEAVING)
    return [_node_change(node, after, Reason.NODE_CHANGED, f"{node.availability} to {after.availability}")]


def remove_node(world: Snapshot, name: str) -> list[Change]:
    """Forget a node that is gone for good, and the tokens that speak for it."""
    node = _node(world, name)
    if node.status is NodeStatus.READY:
        raise Conflict(f"node {name} is ready; drain it and stop its worker first, then remove it once it is down")
    live = sum(task.live for task in world.tasks_of_node(name).values())
    if live:
        raise Conflict(f"{live} tasks of node {name} are not given up yet; try again in a moment")
    return forgotten(world, node, Owner.USER)


def _node_change(before: Node | None, after: Node, reason: Reason, message: str) -> Change:
    return Change(
        kind=Kind.NODE,
        id=after.name,
        before=before.revision if before is not None else 0,
        after=after,
        by=Owner.USER,
        reason=reason,
        message=message,
    )


# -- records


def _service(world: Snapshot, name: str) -> Service:
    service = world.services.get(name)
    if service is None:
        raise NotFound(f"there is no service {name}")
    return service


def _node(world: Snapshot, name: str) -> Node:
    node = world.nodes.get(name)
    if node is None:
        raise NotFound(f"there is no node {name}")
    return node


def _write(world: Snapshot, name: str, app: str, spec: ServiceSpec, now: float, author: str) -> list[Change]:
    """The changes that make service `name` of `app` wish for `spec`, which was admitted."""
    current = world.services.get(name)
    if current is None:
        number = _next_release(world, name)
        made = Service(name=name, app=app, spec=spec, release=number, created_at=now, updated_at=now)
        return [_service_change(None, made, Reason.CREATED, ""), _release_change(made, now, Reason.CREATED, "", author)]
    if current.spec == spec and current.app == app:
        return []
    reason, message = _told(current, app, spec)
    if same_containers(current.spec, spec):
        # The release keeps the spec that it was made with: its tasks are what is wished already.
        after = replace(current, app=app, spec=spec, updated_at=now)
        return [_service_change(current, after, reason, message)]
    number = _next_release(world, name)
    message = f"release {number}: {message}"
    after = replace(current, app=app, spec=spec, release=number, updated_at=now)
    return [_service_change(current, after, reason, message), _release_change(after, now, reason, message, author)]


def _told(current: Service, app: str, spec: ServiceSpec) -> tuple[Reason, str]:
    """Why a service changes, and what, in words that hold no values but the count."""
    if current.app == app and replace(current.spec, replicas=spec.replicas) == spec:
        return Reason.SCALED, f"{current.spec.replicas} to {spec.replicas}"
    fields = [change.field.removeprefix("spec.") for change in differences(current.spec, spec)]
    fields += ["app"] if current.app != app else []
    more = len(fields) - _FIELDS_TOLD
    return Reason.UPDATED, ", ".join(fields[:_FIELDS_TOLD]) + (f" and {more} more" if more > 0 else "")


def _next_release(world: Snapshot, name: str) -> int:
    """One past the highest number known: a service that is made anew must not take a number that tasks of the removed
    one still run under."""
    service = world.services.get(name)
    numbers: Sequence[int] = [
        *world.releases_of(name),
        *(task.release for task in world.tasks_of_service(name).values()),
    ]
    return max([service.release if service else 0, *numbers]) + 1


def _service_change(before: Service | None, after: Service, reason: Reason, message: str) -> Change:
    return Change(
        kind=Kind.SERVICE,
        id=after.name,
        before=before.revision if before else 0,
        after=after,
        by=Owner.USER,
        reason=reason,
        message=message,
    )


def _release_change(service: Service, now: float, reason: Reason, message: str, author: str) -> Change:
    return Change(
        kind=Kind.RELEASE,
        id=release_id(service.name, service.release),
        before=0,
        after=Release(
            service=service.name,
            number=service.release,
            spec=service.spec,
            author=author,
            changed=message.partition(": ")[2],
            created_at=now,
        ),
        by=Owner.USER,
        reason=reason,
        message=message,
    )


def _removal(service: Service) -> Change:
    return deleted(Kind.SERVICE, service.name, service.revision, Owner.USER, Reason.REMOVED)
