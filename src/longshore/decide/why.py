"""Why a task is as it is: its record, its story and the sums of placement, told in one sentence and the evidence.

Adds nothing that is not written somewhere: the cause of a stop is read from the task's story, that of an end from what
its worker said, what follows from the restart policy. Does not compute placement; the explanation comes in.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from longshore.decide import dependencies, restart
from longshore.decide.placement.constraints import eligible
from longshore.model.changes import Event
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Kind, Node, ReleasePhase, Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot, service_of_task
from longshore.model.spec import Mode, ServiceSpec
from longshore.model.views import EventView, NearMiss, Ranked, Verdict, Why

GONE = "removed"
"""State of a record that was deleted."""


class Explanation(Protocol):
    """What placement says of a task: which filter refuses which nodes, the scores of the others, and a sentence."""

    @property
    def refusals(self) -> Sequence[Verdict]: ...

    @property
    def scores(self) -> Mapping[str, float]: ...

    @property
    def sentence(self) -> str: ...

    @property
    def advice(self) -> str: ...

    @property
    def nearest(self) -> Sequence[NearMiss]: ...

    @property
    def top(self) -> Sequence[Ranked]: ...


class Sequel(msgspec.Struct, frozen=True, kw_only=True):
    """What follows an ended task in its slot: another task, a time at which there may be one, or nothing."""

    task: str = ""
    at: float | None = None
    never: str = ""
    """Why nothing follows."""


def why(
    task: Task,
    story: Sequence[Event],
    explanation: Explanation | None = None,
    sequel: Sequel | None = None,
    waits: str = "",
) -> Why:
    """The explanation of `task`. `explanation` is for a task that waits for a node, `sequel` for one that ended,
    `waits` says what keeps the release that is to follow it from starting."""
    refusals = tuple(explanation.refusals) if explanation else ()
    scores = dict(explanation.scores) if explanation else {}
    if task.state is State.NEW:
        summary = _waiting(task, explanation)
    elif task.live:
        summary = _living(task, story)
    else:
        summary = _ended(task, story, sequel)
    return Why(
        task=task.id,
        state=task.state,
        wanted=task.wanted,
        summary=f"{summary}; {waits}." if waits and task.counts else f"{summary}.",
        refusals=refusals,
        scores=scores,
        nearest=tuple(explanation.nearest) if explanation else (),
        top=tuple(explanation.top) if explanation else (),
        story=tuple(told(event) for event in story),
    )


def sequel_of(world: Snapshot, task: Task) -> Sequel | None:
    """What follows `task`; None while it lives."""
    if task.live:
        return None
    here = [one for one in world.tasks_of_service(task.service).values() if one.slot == task.slot]
    later = [one for one in here if one.generation > task.generation]
    if later:
        return Sequel(task=min(later, key=lambda one: one.generation).id)
    service = world.services.get(task.service)
    if service is None:
        return Sequel(never=f"service {task.service} was removed")
    filler = next((one for one in here if one.counts), None)
    release = world.release(task.service, service.release)
    over = task.release != service.release or (release is not None and release.phase is ReleasePhase.PAUSED)
    if filler is not None and over:
        return Sequel(never=f"{filler.id} fills its slot")
    if service.spec.mode is Mode.GLOBAL and not _covers(world, service, task.pinned):
        return Sequel(never=f"{task.service} has no task on {task.pinned} now")
    if task.release != service.release:
        waits, following = dependencies.told(world, service), dependencies.release_for(world, service, task)
        if not waits:
            return Sequel(at=task.finished_at)
        if following is None or (following.spec.mode is Mode.JOB and task.state is State.FINISHED):
            return Sequel(never=waits)
        return _sequel(task, following.spec)
    if service.spec.mode is Mode.JOB and task.state is State.FINISHED:
        return Sequel(never="its part of the job is done")
    if service.spec.mode is not Mode.GLOBAL and task.slot > service.spec.replicas:
        return Sequel(never=f"{task.service} was scaled to {service.spec.replicas}")
    return _sequel(task, service.spec)


def waiting(world: Snapshot, task: Task) -> str:
    """What the release waits for that is to follow the one of `task`; empty if none does."""
    service = world.services.get(task.service)
    return dependencies.told(world, service) if service is not None and task.release != service.release else ""


def _sequel(task: Task, spec: ServiceSpec) -> Sequel:
    """By the restart policy alone."""
    at = restart.again(task, spec)
    if at is not None:
        return Sequel(at=at)
    policy = spec.restart
    if policy.attempts_max is not None and restart.attempt_after(task, spec) > policy.attempts_max:
        return Sequel(never=_spent(policy.attempts_max))
    return Sequel(never=f"restart.condition is {policy.condition}")


def _spent(most: int) -> str:
    if not most:
        return "it is not to be restarted (restart.attempts_max)"
    return f"restarts in a row: {most} of {most} are spent (restart.attempts_max)"


def _covers(world: Snapshot, service: Service, name: str) -> bool:
    node = world.nodes.get(name)
    return node is not None and eligible(node, service.spec)


def told(event: Event) -> EventView:
    """An event as the API tells it."""
    service = node = state = ""
    record = event.after
    match event.kind:
        case Kind.TASK:
            service = service_of_task(event.id)
        case Kind.SERVICE:
            service = event.id
        case Kind.RELEASE:
            service = event.id.rpartition("@")[0]
        case Kind.NODE:
            node = event.id
        case Kind.VOLUME:
            service = event.id.partition(".")[0]
    if isinstance(record, Task):
        node, state = record.node, record.state
    elif isinstance(record, Node):
        state = record.status
    elif record is None and event.kind in (Kind.TASK, Kind.NODE):
        state = GONE
    return EventView(
        id=event.mark,
        at=event.at,
        kind=event.kind,
        name=event.id,
        by=event.by,
        reason=event.reason,
        message=event.message,
        service=service,
        node=node,
        state=state,
    )


# -- sentences


def _waiting(task: Task, explanation: Explanation | None) -> str:
    if task.claims:
        return f"{task.id} waits while room is being made for it {task.message}"
    if explanation is not None:
        told = f"{task.id} waits {'to be placed' if explanation.scores else 'for a node'}: {explanation.sentence}"
        return told + (f"; {explanation.advice}" if explanation.advice else "")
    return f"{task.id} waits for a node" + (f": {task.message}" if task.reason is Reason.NO_NODE else "")


def _living(task: Task, story: Sequence[Event]) -> str:
    if task.wanted is not Wanted.RUNNING:
        return f"{task.id} is being stopped on {task.node}: {_stop_cause(task, story)}"
    said = f": {task.message}" if task.message else ""
    if task.reason is Reason.NODE_AWAITED:
        return f"{task.id} may still run on {task.node}, and a single writer is not replaced before it has ended{said}"
    row = f", after {task.attempt} in its slot that failed in a row" if task.attempt else ""
    row += f", away from {' and '.join(task.avoids)}" if task.avoids and task.node not in task.avoids else ""
    match task.state:
        case State.PLACED:
            return f"{task.id} is placed on {task.node}, which has not taken it yet"
        case State.ACCEPTED:
            return f"{task.id} is taken by {task.node} and about to start{row}"
        case State.PREPARING:
            return f"{task.id} waits on {task.node} for its image{said}"
        case State.STARTING:
            return f"{task.id} is starting on {task.node}{row}{said}"
    if task.ready:
        move = f", and is to move to {task.moves_to}" if task.moves_to else ""
        return f"{task.id} runs on {task.node} and is ready{row}{move}"
    if task.reason is Reason.UNHEALTHY:
        return f"{task.id} runs on {task.node}, but its check fails{said}"
    return f"{task.id} runs on {task.node}, but has not passed its check yet"


def _ended(task: Task, story: Sequence[Event], sequel: Sequel | None) -> str:
    said = f": {task.message}" if task.message else ""
    code = f" with code {task.exit_code}" if task.exit_code is not None else ""
    on = f" on {task.node}"
    match task.state, task.reason:
        case State.STOPPED, Reason.FENCED:
            ending = f"was stopped{on} by its worker, as a single writer that has lost its manager{said}"
        case State.STOPPED, _:
            ending = f"was stopped{on}: {_stop_cause(task, story)}"
        case State.FINISHED, _:
            ending = f"finished{on}{code}"
        case State.LOST, _:
            ending = f"was lost with its node{said or f' {task.node}'}"
        case _, Reason.OOM_KILLED:
            ending = f"was killed{on} because it ran out of memory{said}"
        case _, Reason.EXITED:
            ending = f"exited{on}{code}" + ("" if task.message == f"exit code {task.exit_code}" else said)
        case _, Reason.IMAGE_MISSING:
            ending = f"has no image{on}{said}"
        case _, Reason.PORT_TAKEN:
            ending = f"found its host port taken by another program{on}{said}"
        case _, Reason.UNHEALTHY:
            ending = f"was given up because its check failed{on}{said}"
        case _:
            ending = f"ended{on}: {task.reason}{code}{said}"
    return f"{task.id} {ending}{_after(task, sequel)}"


def _after(task: Task, sequel: Sequel | None) -> str:
    """What comes next. A task that ended like others before it is part of a crash loop, and that is said."""
    if sequel is None:
        return ""
    own = task.state in (State.FAILED, State.REJECTED) or (task.state is State.FINISHED and not sequel.never)
    row = f"; it is number {task.attempt + 1} in a row to end" if own and task.attempt else ""
    if row and task.attempt + 1 >= restart.LOOP_ENDS:
        row = f"; crash loop: {row.removeprefix('; ')}"
    if sequel.task:
        return f"{row}; {sequel.task} took its place"
    if sequel.never:
        return f"{row}; nothing takes its place: {sequel.never}"
    if sequel.at is None:
        return row
    at_once = sequel.at <= (task.finished_at or 0.0)
    return f"{row}; the next follows " + ("at once" if at_once else f"at {restart.moment(sequel.at)} at the earliest")


def _stop_cause(task: Task, story: Sequence[Event]) -> str:
    """The reason of the first event that wanted the task stopped."""
    for event in story:
        if isinstance(event.after, Task) and event.after.wanted is not Wanted.RUNNING:
            return f"{event.reason}" + (f" ({event.message})" if event.message else "")
    # The log before it was compacted; the task itself still knows why it is as it is.
    return f"{task.reason}"
