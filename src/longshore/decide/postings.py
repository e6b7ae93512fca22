"""Tasks in the older sense: what a client of another orchestrator's API posted, and how it stands now.

Such a task is one container with a name, an id of its client's and a number for its state. Here it becomes a service of
one replica, by the same wishes as every other door; this module says which service, and reads the service's tasks back
as the one task that the client knows. Knows no JSON: each foreign API has its own spelling of the same posting.
"""

import hashlib
import re
from enum import IntEnum

import msgspec
from msgspec.structs import replace

from longshore.decide import grammar, restart, wishes
from longshore.decide.admission import admit
from longshore.model.changes import Change, deleted
from longshore.model.errors import Conflict, NotFound
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Kind, Posting, Service, Task
from longshore.model.reasons import Reason
from longshore.model.retention import POSTINGS_KEPT
from longshore.model.snapshot import Snapshot
from longshore.model.spec import (
    HttpProbe,
    Limits,
    Port,
    Probe,
    Protocol,
    Resources,
    RestartOn,
    RestartPolicy,
    ServiceSpec,
)
from longshore.model.views import ServiceWish

LABEL_ID = "posted.id"
LABEL_NAME = "posted.name"
"""Labels of the containers, by which a worker and `docker ps` know whose they are."""

RESTARTS_MAX = 3
"""How often a task that says nothing of restarts is begun again after it failed, without a stable run between."""
_SOME_IMAGE = "none"
"""Stands for the image that a posting does not name yet, where all else of it is looked at."""
_FORGET_EVERY = 64
_FORGET_AT_ONCE = 50
_PROBE_S = 5.0

_RESTART = {
    "": RestartPolicy(condition=RestartOn.ON_FAILURE, attempts_max=RESTARTS_MAX),
    "no": RestartPolicy(condition=RestartOn.NONE),
    "on-failure": RestartPolicy(condition=RestartOn.ON_FAILURE),
    "always": RestartPolicy(condition=RestartOn.ANY),
    "unless-stopped": RestartPolicy(condition=RestartOn.ANY),
}
RESTART_POLICIES = frozenset(_RESTART)


class Phase(IntEnum):
    """The state of such a task, by the number that its clients know."""

    PENDING = 0
    SCHEDULED = 1
    RUNNING = 2
    COMPLETED = 3
    FAILED = 4


PHASE = {
    State.NEW: Phase.SCHEDULED,
    State.PLACED: Phase.SCHEDULED,
    State.ACCEPTED: Phase.SCHEDULED,
    State.PREPARING: Phase.SCHEDULED,
    State.STARTING: Phase.SCHEDULED,
    State.RUNNING: Phase.RUNNING,
    State.STOPPED: Phase.COMPLETED,
    State.FINISHED: Phase.COMPLETED,
    State.FAILED: Phase.FAILED,
    State.REJECTED: Phase.FAILED,
    State.LOST: Phase.FAILED,
}


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A posting and how it stands."""

    posting: Posting
    phase: Phase
    task: Task | None = None
    """The one that fills its slot, else the last that did."""
    finished_at: float | None = None
    reason: str = ""
    """Why the state is what it is, in words."""

    @property
    def restarts(self) -> int:
        """Containers before the present one."""
        return self.task.generation - 1 if self.task is not None else 0


# -- what it changes


def post(world: Snapshot, posting: Posting, now: float, kept: int = POSTINGS_KEPT) -> list[Change]:
    """Have it run. The same posting once more changes nothing while it runs, and runs it again after it ended. Of
    those that are over, so many are `kept`.

    Raises Conflict if another task runs under its id, Invalid for what could not run anywhere.
    """
    admit_posting(posting)
    current = world.postings.get(posting.id)
    fresh = current is None or current.stopped_at is not None or not _runs(world, current)
    if current is not None and not fresh:
        if (
            replace(posting, service=current.service, created_at=current.created_at, revision=current.revision)
            == current
        ):
            return []
        raise Conflict(
            f"another task runs under the id {posting.id}: {current.name}; stop it first, or choose another id"
        )
    made = replace(posting, service=_service_name(world, posting, current), created_at=now)
    changes = _forgotten(world, kept, spare=posting.id) if current is None else []
    if current is not None and current.service != made.service and _service(world, current) is not None:
        changes += wishes.remove_service(world, current.service)
    changes.append(_posting_change(current, made, Reason.POSTED))
    return changes + (_service_changes(world, made, now) if made.service else [])


def admit_posting(posting: Posting, *, field: str = "spec") -> None:
    """Raises Invalid for what could not run anywhere, whether or not it names an image yet."""
    admit(spec_of(posting if posting.image else replace(posting, image=_SOME_IMAGE)), field=field)


def _runs(world: Snapshot, posting: Posting) -> bool:
    """Whether there is a container to be had or to come; what waits for an image is no task yet."""
    return bool(posting.service) and shown(world, posting).phase in (Phase.PENDING, Phase.SCHEDULED, Phase.RUNNING)


def _service_changes(world: Snapshot, posting: Posting, now: float) -> list[Change]:
    changes = wishes.apply_service(world, posting.service, ServiceWish(spec=spec_of(posting)), now)
    if changes or posting.service not in world.services:
        return changes
    return wishes.restart(world, posting.service, now)  # as it was, and ended by itself: once more


def stop(world: Snapshot, id: str, now: float) -> list[Change]:
    """Have it stopped, whatever its state. Raises NotFound."""
    posting = world.postings.get(id)
    if posting is None:
        raise NotFound(f"there is no task {id}")
    if posting.stopped_at is not None:
        return []
    after = replace(posting, stopped_at=now, last=_task(world, posting))
    changes = [_posting_change(posting, after, Reason.STOP_ASKED)]
    if _service(world, posting) is not None:
        changes += wishes.scale(world, posting.service, 0, now)
    return changes


def _forgotten(world: Snapshot, kept: int, *, spare: str) -> list[Change]:
    """Delete the postings that have been over for longest, with their services, if there are too many. Looked at now
    and then, since it is a walk over all."""
    if len(world.postings) <= kept or len(world.postings) % _FORGET_EVERY:
        return []
    ended = ((_over_at(world, one), one.id, one) for one in world.postings.values() if one.id != spare)
    over = sorted((at, id, one) for at, id, one in ended if at is not None)
    changes: list[Change] = []
    for _, _, one in over[: max(0, min(len(over) - kept, _FORGET_AT_ONCE))]:
        changes.append(deleted(Kind.POSTING, one.id, one.revision, Owner.USER, Reason.HISTORY_FULL))
        if _service(world, one) is not None:
            changes += wishes.remove_service(world, one.service)
    return changes


def _over_at(world: Snapshot, posting: Posting) -> float | None:
    """Since when nothing will come of it any more; None while something may, or if it waits for an image."""
    if posting.stopped_at is not None:
        return posting.stopped_at
    service, task = _service(world, posting), _task(world, posting)
    if service is None or task is None or task.live or restart.again(task, service.spec) is not None:
        return None
    return task.finished_at


def _posting_change(before: Posting | None, after: Posting, reason: Reason) -> Change:
    return Change(
        kind=Kind.POSTING,
        id=after.id,
        before=before.revision if before is not None else 0,
        after=after,
        by=Owner.USER,
        reason=reason,
        message=after.name,
    )


# -- which service it is


def _service_name(world: Snapshot, posting: Posting, current: Posting | None) -> str:
    """The task's name as a service's; with a mark of its id where that name is taken, so that two tasks of one name
    are two services."""
    if not posting.image:
        return ""
    plain = service_name(posting.name or "task")
    if current is not None and current.service and current.name == posting.name and not _is_taken(world, current):
        return current.service
    if plain not in world.services and not world.tasks_of_service(plain):
        return plain
    mark = hashlib.sha256(posting.id.encode()).hexdigest()[:8]
    return f"{plain[: grammar.NAME_MAX - 9].rstrip('-')}-{mark}"


def _service(world: Snapshot, posting: Posting) -> Service | None:
    """The service that runs it, unless that was removed at another door."""
    return None if _is_taken(world, posting) else world.services.get(posting.service)


def _is_taken(world: Snapshot, posting: Posting) -> bool:
    """Whether its service was removed at another door, and one of that name made anew for somebody else."""
    service = world.services.get(posting.service)
    return service is not None and service.spec.labels.get(LABEL_ID) != posting.id


def service_name(text: str) -> str:
    """The nearest thing to `text` that can name a service."""
    slug = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(slug) > grammar.NAME_MAX:
        mark = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]
        slug = f"{slug[: grammar.NAME_MAX - 9].rstrip('-')}-{mark}"
    return slug or "task"


def spec_of(posting: Posting) -> ServiceSpec:
    """The service that runs it. Its memory is set aside and is its limit, but for what no engine takes as one."""
    ports = _ports(posting)
    limit = max(posting.memory, grammar.MEMORY_LIMIT_MIN) if posting.memory > 0 else 0
    return ServiceSpec(
        image=posting.image,
        command=posting.command or None,
        env=posting.env,
        labels={LABEL_ID: posting.id, LABEL_NAME: posting.name},
        resources=Resources(cpu=posting.cpu, memory=posting.memory, disk=posting.disk),
        limits=Limits(cpu=max(posting.cpu, grammar.CPU_LIMIT_MIN) if posting.cpu > 0 else 0.0, memory=limit),
        ports=ports,
        publish_exposed=True,
        liveness=_probe(posting, ports),
        restart=_RESTART[posting.restart_policy],
    )


def _ports(posting: Posting) -> tuple[Port, ...]:
    """Bound ports as they are bound; those that are only exposed get a host port of the cluster's choice."""
    ports = []
    for text in dict.fromkeys([*posting.port_bindings, *posting.exposed_ports]):
        number, _, protocol = text.partition("/")
        host = posting.port_bindings.get(text, "")
        ports.append(
            Port(container=int(number), host=int(host) if host else None, protocol=Protocol(protocol or "tcp"))
        )
    return tuple(ports)


def _probe(posting: Posting, ports: tuple[Port, ...]) -> Probe | None:
    """A check is a GET of its first port; only 200 will do."""
    first = next((port.container for port in ports if port.protocol is Protocol.TCP), None)
    if not posting.health_check or first is None:
        return None
    return Probe(http=HttpProbe(path=posting.health_check, port=first, accepts=(200,)), interval_s=_PROBE_S)


# -- how it stands


def shown(world: Snapshot, posting: Posting) -> Shown:
    """A posting and the task that fills its slot now."""
    if not posting.service:
        phase = Phase.PENDING if posting.stopped_at is None else Phase.COMPLETED
        return Shown(posting=posting, phase=phase, finished_at=posting.stopped_at, reason=Reason.NO_IMAGE)
    task = _task(world, posting)
    if posting.stopped_at is not None:
        return _stopped(posting, task)
    service = _service(world, posting)
    if service is None or service.spec.replicas == 0:
        return _gone(posting, service, task)
    if task is None:
        return Shown(posting=posting, phase=Phase.SCHEDULED)
    waits = task.state is State.NEW and task.reason is Reason.NO_NODE
    return Shown(
        posting=posting,
        phase=Phase.PENDING if waits else PHASE[task.state],
        task=task,
        finished_at=task.finished_at,
        reason=_words(task),
    )


def _stopped(posting: Posting, task: Task | None) -> Shown:
    """Until its container has ended it still runs."""
    last = task or posting.last
    if task is not None and task.live:
        return Shown(posting=posting, phase=PHASE[task.state], task=task, reason=Reason.STOP_ASKED)
    ended = last.finished_at if last is not None else None
    return Shown(
        posting=posting,
        phase=Phase.COMPLETED,
        task=last,
        finished_at=ended if ended is not None else posting.stopped_at,
        reason=Reason.STOP_ASKED,
    )


def _gone(posting: Posting, service: Service | None, task: Task | None) -> Shown:
    """Somebody removed its service, or scaled it to nothing, at another door."""
    if task is not None and task.live:
        return Shown(posting=posting, phase=PHASE[task.state], task=task, reason=_words(task))
    reason = Reason.REMOVED if service is None else Reason.SCALED
    return Shown(
        posting=posting,
        phase=Phase.COMPLETED,
        task=task,
        finished_at=task.finished_at if task is not None else None,
        reason=reason,
    )


def _task(world: Snapshot, posting: Posting) -> Task | None:
    """The task that fills the service's lowest slot, else the last that did."""
    here = posting.service and not _is_taken(world, posting)
    tasks = world.tasks_of_service(posting.service).values() if here else ()
    return max(tasks, key=lambda task: (task.counts, -task.slot, task.generation), default=None)


def _words(task: Task) -> str:
    return f"{task.reason}: {task.message}" if task.message else task.reason.value
