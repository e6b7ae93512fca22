"""What a worker does next with one task's containers, and what it says of them.

Wanted x observed -> the one next step, and the one true observation. The worker takes a step, looks again, and asks
again, so a step that failed, was doubled or was cut off by a crash needs no memory: the next look shows it. What an
operation cannot undo it lets finish, and compares with the wish afterwards.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from longshore.model.containers import (
    Assigned,
    Checks,
    Container,
    Create,
    Health,
    Prepare,
    Remove,
    Start,
    Status,
    Step,
    Stop,
    Verdict,
    fingerprint,
    order_for,
)
from longshore.model.lifecycle import RANK, State, Wanted
from longshore.model.messages import Observation
from longshore.model.objects import PublishedPort
from longshore.model.reasons import Reason
from longshore.model.spec import HealthCheck, Probe

UNKNOWN = Checks()
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
    assigned: Assigned | None,
    seen: Sequence[Container],
    progress: Progress | None,
    checks: Checks = UNKNOWN,
    *,
    cluster: str,
    node: str,
) -> Step | None:
    """The next thing to do; None if all is as wanted."""
    mark = fingerprint(assigned.task) if assigned is not None else ""
    grace_s = assigned.spec.stop_grace_s if assigned is not None else STALE_GRACE_S
    for other in seen:
        if other.fingerprint != mark:
            return _clear(other, STALE_GRACE_S)
    container = seen[0] if seen else None
    if assigned is None:
        return None
    task = assigned.task
    if task.wanted is Wanted.REMOVED or task.state is State.LOST:
        late = task.state is State.LOST and assigned.spec.single_writer  # another may have begun to write
        return _clear(container, 0.0 if late else grace_s) if container is not None else None
    fenced = progress is not None and progress.reason is Reason.FENCED
    if fenced and container is not None and container.status is Status.CREATED:
        return Remove(container.id)  # as below: a start may still be on its way
    if not task.live or (progress is not None and progress.state in _ENDED):
        # Kept for its logs. What runs was begun again by somebody, or by a start that outlived a killed worker.
        return Stop(container.id, grace_s) if container is not None and container.status is Status.RUNNING else None
    if task.wanted is Wanted.STOPPED:
        # A killed worker's start may still be on its way to one that was never started: only its removal ends that.
        return _clear(container, grace_s) if container is not None and container.status is not Status.EXITED else None
    if container is None:
        return None if reached(assigned, progress) >= RANK[State.STARTING] else _make(assigned, progress, cluster, node)
    if container.status is Status.RUNNING and checks.liveness.passes is False:
        return Stop(container.id, grace_s)
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


def to_probe(assigned: Assigned, seen: Sequence[Container], progress: Progress | None) -> Container | None:
    """The container that the task's probes shall ask now, if there is one: it runs, and shall go on running."""
    if assigned.task.wanted is not Wanted.RUNNING or not assigned.task.live:
        return None
    if progress is not None and progress.state in _ENDED:
        return None
    mark = fingerprint(assigned.task)
    return next((one for one in seen if one.fingerprint == mark and one.status is Status.RUNNING), None)


def judge(before: Verdict, probe: Probe, failure: str | None, *, starting: bool) -> Verdict:
    """The verdict after one more result; `failure` says why it failed, None that it did not. What made a probe fail
    stays as it was said first, so that a verdict changes only when it turns."""
    if failure is None:
        passed = min(before.passed + 1, probe.successes)
        if passed < probe.successes:
            return replace(before, passed=passed, failed=0)
        return Verdict(passes=True, passed=passed)
    if starting:
        return replace(before, passed=0)
    failed = min(before.failed + 1, probe.retries)
    if failed < probe.retries or before.passes is False:
        return replace(before, passed=0, failed=failed)
    return Verdict(passes=False, output=failure, failed=failed)


def observe(
    assigned: Assigned, seen: Sequence[Container], progress: Progress | None, checks: Checks = UNKNOWN
) -> Observation | None:
    """What is true of the task now; None if the manager knows more than can be seen here."""
    task = assigned.task
    mark = fingerprint(assigned.task)
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
        return _running(assigned, container, checks)
    if container.status is Status.EXITED:
        return _exited(assigned, container, progress, checks)
    if progress is not None and progress.state in _ENDED and progress.reason is not Reason.FENCED:
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


def _running(assigned: Assigned, container: Container, checks: Checks) -> Observation:
    if checks.liveness.passes is False:
        return _said(State.RUNNING, assigned, Reason.UNHEALTHY, checks.liveness.output, container)
    health, readiness = assigned.spec.health, assigned.spec.readiness
    checked = health is not None and not _is_off(health)
    if not checked and readiness is None:
        # Whether it passes its liveness is not waited for: that is for telling what hangs, not what has begun.
        return _said(State.RUNNING, assigned, Reason.STARTED, container=container, ready=True)
    if checked and container.health is Health.UNHEALTHY:
        return _said(State.RUNNING, assigned, Reason.UNHEALTHY, container.health_output, container)
    if readiness is not None and checks.readiness.passes is False:
        return _said(State.RUNNING, assigned, Reason.UNHEALTHY, checks.readiness.output, container)
    if (not checked or container.health is Health.HEALTHY) and (readiness is None or _passes(assigned, checks)):
        return _said(State.RUNNING, assigned, Reason.HEALTHY, container=container, ready=True)
    return _said(State.RUNNING, assigned, Reason.STARTED, "its check has not passed yet", container)


def _passes(assigned: Assigned, checks: Checks) -> bool:
    """Its readiness. A worker that was restarted goes by what it had told, until its own probes know better."""
    known = checks.readiness.passes
    return known if known is not None else assigned.task.state is State.RUNNING and assigned.task.ready


def _is_off(health: HealthCheck) -> bool:
    return health.test[:1] == ("NONE",)


def _exited(assigned: Assigned, container: Container, progress: Progress | None, checks: Checks) -> Observation:
    if assigned.task.wanted is not Wanted.RUNNING:
        return _said(State.STOPPED, assigned, Reason.STOPPED, container=container)
    if progress is not None and progress.reason is Reason.FENCED:
        return _said(State.STOPPED, assigned, Reason.FENCED, progress.message, container)
    if container.oom_killed and container.exit_code:  # it may have been a child that it could do without
        limit = assigned.spec.limits.memory
        words = f"it used more than its limit of {limit} bytes" if limit else "the machine ran out of memory"
        return _said(State.FAILED, assigned, Reason.OOM_KILLED, words, container)
    if checks.liveness.passes is False:
        return _said(State.FAILED, assigned, Reason.UNHEALTHY, checks.liveness.output, container)
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
        exposed=_exposed(assigned, container) if container is not None else (),
        reason=reason,
        message=message,
    )


def _exposed(assigned: Assigned, container: Container) -> tuple[PublishedPort, ...]:
    """What the engine published beyond the ports that placement gave."""
    if not assigned.spec.publish_exposed:
        return ()
    given = {(port.container, port.protocol) for port in assigned.task.ports}
    return tuple(port for port in container.published if (port.container, port.protocol) not in given)
