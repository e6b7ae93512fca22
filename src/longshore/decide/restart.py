"""Whether a slot whose task ended is filled again, and when.

Knows one ended task and its service's rules; not the rest of the world. A task that was stopped or lost through no
fault of its own is replaced at once. One that ended by itself is replaced by the restart policy: the first time at
once (or after `delay_s`), then with a wait that doubles, so that one crash costs nothing and a crash loop little.
"""

from longshore.model.lifecycle import State
from longshore.model.objects import Task
from longshore.model.reasons import Reason
from longshore.model.spec import Mode, RestartOn, ServiceSpec

BACKOFF_FIRST_S = 1.0
"""The wait before the second restart in a row; each further one waits twice as long."""


def again(task: Task, spec: ServiceSpec) -> float | None:
    """When the slot of `task`, the newest in it and ended, may be filled again; None is never."""
    if task.state in (State.STOPPED, State.LOST):
        return task.finished_at or 0.0
    policy = spec.restart
    condition = policy.condition or (RestartOn.ON_FAILURE if spec.mode is Mode.JOB else RestartOn.ANY)
    if condition is RestartOn.NONE:
        return None
    if task.state is State.FINISHED and (condition is RestartOn.ON_FAILURE or spec.mode is Mode.JOB):
        return None
    attempts = attempt_after(task, spec)
    if policy.attempts_max is not None and attempts > policy.attempts_max:
        return None
    wait = policy.delay_s
    if attempts > 1:
        # 2 ** 32 seconds is already past any limit a user can set; the cap keeps the power finite.
        wait = max(wait, min(BACKOFF_FIRST_S * 2.0 ** min(attempts - 2, 32), policy.delay_max_s))
    return (task.finished_at or 0.0) + wait


def attempt_after(task: Task, spec: ServiceSpec) -> int:
    """The `attempt` of the task that replaces `task`: how many ended by themselves, in a row, before it."""
    if task.state in (State.STOPPED, State.LOST):
        return task.attempt
    ran_s = 0.0
    if task.started_at is not None and task.finished_at is not None:
        ran_s = task.finished_at - task.started_at
    if task.reason is Reason.PORT_TAKEN and not _port_is_fixed(spec):
        # The next task gets another port, so this is not the same attempt once more.
        return task.attempt
    return 1 if ran_s >= spec.restart.window_s else task.attempt + 1


def _port_is_fixed(spec: ServiceSpec) -> bool:
    return any(port.host is not None for port in spec.ports)
