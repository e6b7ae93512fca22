"""What a worker does next with one task's containers, and what it says of them.

Wanted x observed -> the one next step, and the one true observation. The worker takes a step, looks again, and asks
again, so a step that failed, was doubled or was cut off by a crash needs no memory: the next look shows it. What an
operation cannot undo it lets finish, and compares with the wish afterwards.
"""

from collections.abc import Sequence

import msgspec

from longshore.model.containers import (
    Assigned,
    Container,
    Create,
    Health,
    Prepare,
    Remove,
    Start,
    Status,
    Step,
    Stop,
    fingerprint,
    order_for,
)
from longshore.model.lifecycle import RANK, State, Wanted
from longshore.model.messages import Observation
from longshore.model.reasons import Reason
from longshore.model.spec import HealthCheck

STALE_GRACE_S = 10.0
"""For containers whose task is no longer known, and with it the grace its user asked for."""


class Progress(msgspec.Struct, frozen=True):
    """How far this worker has taken a task: more than its container shows while there is none yet."""

    state: State
    reason: Reason
    message: str = ""
    prepared: bool = False
    """The image is there."""


def next_step(
    assigned: Assigned | None, seen: Sequence[Container], progress: Progress | None, *, cluster: str, node: str
) -> Step | None:
    """The next thing to do; None if all is as wanted."""
    mark = fingerprint(assigned) if assigned is not None else ""
    grace_s = assigned.spec.stop_grace_s if assigned is not None else STALE_GRACE_S
    for other in seen:
        if other.fingerprint != mark:
            return _clear(other, STALE_GRACE_S)
    container = seen[0] if seen else None
    if assigned is None:
        return None
    task = assigned.task
    if task.wanted is Wanted.REMOVED or task.state is State.LOST:
        return _clear(container, grace_s) if container is not None else None
    if not task.live or (progress is not None and progress.state in _ENDED):
        # Kept for its logs. What runs was begun again by somebody, or by a start that outlived a killed worker.
        return Stop(container.id, grace_s) if container is not None and container.status is Status.RUNNING else None
    if task.wanted is Wanted.STOPPED:
        # A killed worker's start may still be on its way to one that was never started: only its removal ends that.
        return _clear(container, grace_s) if container is not None and container.status is not Status.EXITED else None
    if container is None:
        return None if reached(assigned, progress) >= RANK[State.STARTING] else _make(assigned, progress, cluster, node)
    return Start(container.id) if container.status is Status.CREATED else None


_ENDED = frozenset({State.STOPPED, State.FINISHED, State.FAILED, State.REJECTED})


def reached(assigned: Assigned, progress: Progress | None) -> int:
    """Rank of the furthest state that this task is known to have come to, by manager or worker."""
    return max(RANK[assigned.task.state], RANK[progress.state] if progress is not None else 0)


def _make(assigned: Assigned, progress: Progress | None, cluster: str, node: str) -> Step:
    if progress is None or not progress.prepared:
        return Prepare(assigned.spec.image, assigned.spec.pull)
    return Create(order_for(assigned, cluster=cluster, node=node))


def _clear(container: Container, grace_s: float) -> Step:
    return Stop(container.id, grace_s) if container.status is Status.RUNNING else Remove(container.id)


def observe(assigned: Assigned, seen: Sequence[Container], progress: Progress | None) -> Observation | None:
    """What is true of the task now; None if the manager knows more than can be seen here."""
    task = assigned.task
    mark = fingerprint(assigned)
    container = next((one for one in seen if one.fingerprint == mark), None)
    if task.state is State.LOST:
        return None
    if not task.live:
        # Only the container's removal is still news.
        gone = container is None and task.container_id and task.wanted is Wanted.REMOVED
        return _said(task.state, assigned, Reason.CONTAINER_REMOVED) if gone else None
    if container is None:
        return _absent(assigned, progress)
    if container.status is Status.RUNNING:
        return _running(assigned, container)
    if container.status is Status.EXITED:
        return _exited(assigned, container)
    if progress is not None and progress.state in _ENDED:
        return _said(progress.state, assigned, progress.reason, progress.message, container)
    # Also if it is to be stopped: it has not ended before it is removed, see `next_step`.
    return _said(State.STARTING, assigned, Reason.STARTING, container=container)


def _absent(assigned: Assigned, progress: Progress | None) -> Observation:
    """No container: not yet, or not any more."""
    if progress is not None and progress.state in _ENDED:
        return _said(progress.state, assigned, progress.reason, progress.message)
    if assigned.task.wanted is not Wanted.RUNNING:
        return _said(State.STOPPED, assigned, Reason.STOPPED)
    if reached(assigned, progress) >= RANK[State.STARTING]:
        return _said(State.FAILED, assigned, Reason.CONTAINER_GONE, "somebody removed it")
    if progress is None:
        return _said(State.ACCEPTED, assigned, Reason.ACCEPTED)
    return _said(progress.state, assigned, progress.reason, progress.message)


def _running(assigned: Assigned, container: Container) -> Observation:
    health = assigned.spec.health
    if health is None or _is_off(health):
        return _said(State.RUNNING, assigned, Reason.STARTED, container=container, ready=True)
    if container.health is Health.HEALTHY:
        return _said(State.RUNNING, assigned, Reason.HEALTHY, container=container, ready=True)
    if container.health is Health.UNHEALTHY:
        return _said(State.RUNNING, assigned, Reason.UNHEALTHY, container.health_output, container)
    return _said(State.RUNNING, assigned, Reason.STARTED, "its check has not passed yet", container)


def _is_off(health: HealthCheck) -> bool:
    return health.test[:1] == ("NONE",)


def _exited(assigned: Assigned, container: Container) -> Observation:
    if assigned.task.wanted is not Wanted.RUNNING:
        return _said(State.STOPPED, assigned, Reason.STOPPED, container=container)
    if container.oom_killed:
        limit = assigned.spec.limits.memory
        words = f"it used more than its limit of {limit} bytes" if limit else "the machine ran out of memory"
        return _said(State.FAILED, assigned, Reason.OOM_KILLED, words, container)
    if container.exit_code == 0:
        return _said(State.FINISHED, assigned, Reason.FINISHED, container=container)
    words = f"exit code {container.exit_code}" + (f": {container.error}" if container.error else "")
    return _said(State.FAILED, assigned, Reason.EXITED, words, container)


def _said(
    state: State,
    assigned: Assigned,
    reason: Reason,
    message: str = "",
    container: Container | None = None,
    ready: bool = False,
) -> Observation:
    return Observation(
        task=assigned.task.id,
        created_at=assigned.task.created_at,
        state=state,
        ready=ready,
        container_id=container.id if container is not None else "",
        exit_code=container.exit_code if container is not None else assigned.task.exit_code,
        reason=reason,
        message=message,
    )
