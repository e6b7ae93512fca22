"""Whether a slot whose task ended is filled again, and when.

Knows one ended task and its service's rules; not the rest of the world. A task that was stopped or lost through no
fault of its own is replaced at once. One that ended by itself is replaced by the restart policy: the first time at
once (or after `delay_s`), then with a wait that doubles, so that one crash costs nothing and a crash loop little. Waits
are a little longer or shorter from task to task, so that what failed together does not come back together. A slot that
fails again and again on one node keeps away from it for a while, where it can.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from longshore.model.lifecycle import State
from longshore.model.objects import Service, Task
from longshore.model.reasons import Reason
from longshore.model.spec import Mode, RestartOn, ServiceSpec

BACKOFF_FIRST_S = 1.0
"""The wait before the second restart in a row; each further one waits twice as long."""
JITTER = 0.1
"""The part by which a wait longer than the first may be shorter or longer."""
LOOP_ENDS = 3
"""So many ends in a row are a crash loop; as many on one node, and the slot keeps away from it."""
AVOID_S = 600.0

_OWN_ENDS = frozenset({State.FAILED, State.REJECTED, State.FINISHED})


def left_by(here: Sequence[Task]) -> Task:
    """The last task that filled the slot whose tasks, at least one, are `here`, the oldest first. What only stood by to
    take over from another says nothing of a slot that this one filled for a while longer."""
    return next((task for task in reversed(here) if not task.relieves), here[-1])


def next_at(task: Task, service: Service) -> float | None:
    """When the slot that `task`, which ended, was the last to fill may get the next of `service`; None is never. A new
    release starts afresh, whatever became of the old one; a job applied anew runs again."""
    return again(task, service.spec) if task.release == service.release else 0.0


def again(task: Task, spec: ServiceSpec) -> float | None:
    """The same for the release that the task ran."""
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
        wait = max(wait, _backoff_s(task, attempts, policy.delay_max_s))
    return (task.finished_at or 0.0) + wait


def attempt_after(task: Task, spec: ServiceSpec) -> int:
    """The `attempt` of the task that replaces `task`: how many ended by themselves, in a row, before it."""
    if task.state in (State.STOPPED, State.LOST):
        return task.attempt
    ran_s = _ran_s(task, task.finished_at) if task.finished_at is not None else 0.0
    if task.reason is Reason.PORT_TAKEN and not _port_is_fixed(spec):
        # The next task gets another port, so this is not the same attempt once more.
        return task.attempt
    return 1 if ran_s >= spec.restart.window_s else task.attempt + 1


def moment(at: float) -> str:
    """When a slot is filled again, as sentences have it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def loop_of(task: Task, spec: ServiceSpec) -> int:
    """How many tasks of its slot ended by themselves in a row, `task`, the newest, being the last of them, if these are
    enough to be called a crash loop; else zero."""
    job_done = spec.mode is Mode.JOB and task.state is State.FINISHED
    if task.state not in _OWN_ENDS or job_done:
        return 0
    ends = attempt_after(task, spec)
    return ends if ends >= LOOP_ENDS else 0


def avoided(
    task: Task, slot: Collection[Task], others: Collection[Task], spec: ServiceSpec, now: float
) -> Mapping[str, float]:
    """The nodes that `task`, which waits for one, should keep away from, with the moment until which.

    `slot` are the tasks of its slot, `others` all of its service. What the task before it kept away from holds on; a
    node is added on which the last few of this release failed in a row, and none is kept on which the release has
    proved to run.
    """
    before = sorted((one for one in slot if one.generation < task.generation and one.node), key=_generation)
    if not before or spec.mode is Mode.GLOBAL:
        return {}
    avoids = dict(before[-1].avoids)
    last = before[-LOOP_ENDS:]
    failed = all(_failed(one, spec) and one.release == task.release and one.node == last[0].node for one in last)
    if len(last) == LOOP_ENDS and failed:
        avoids[last[0].node] = (last[-1].finished_at or 0.0) + AVOID_S
    if not avoids:
        return {}
    proved = {
        one.node
        for one in others
        if one.release == task.release and one.ready and _ran_s(one, now) >= spec.restart.window_s
    }
    return {node: until for node, until in sorted(avoids.items()) if until > now and node not in proved}


def _generation(task: Task) -> int:
    return task.generation


def _failed(task: Task, spec: ServiceSpec) -> bool:
    """Whether it ended by itself, without a stable run, and not for a port that its next does not need."""
    if task.state not in _OWN_ENDS or (task.reason is Reason.PORT_TAKEN and not _port_is_fixed(spec)):
        return False
    return _ran_s(task, task.finished_at or 0.0) < spec.restart.window_s


def _ran_s(task: Task, now: float) -> float:
    return now - task.started_at if task.started_at is not None else 0.0


def _backoff_s(task: Task, attempts: int, longest_s: float) -> float:
    # 2 ** 32 seconds is already past any limit a user can set; the cap keeps the power finite.
    wait = BACKOFF_FIRST_S * 2.0 ** min(attempts - 2, 32)
    if attempts == 2:
        return min(wait, longest_s)
    # Of -1 to 1, by the task's name: the same in every process and whenever it is asked.
    turn = zlib.crc32(task.id.encode()) / 2**31 - 1
    return min(wait, longest_s / (1 + JITTER)) * (1 + JITTER * turn)


def _port_is_fixed(spec: ServiceSpec) -> bool:
    return any(port.host is not None for port in spec.ports)
