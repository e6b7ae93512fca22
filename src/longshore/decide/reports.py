"""What a worker's observation changes in a task's record.

An observation may be late, doubled, or of an earlier task of the same id; the lifecycle's rank and the moment of the
task's creation tell. It only ever moves a task forward, and only on the node that the task is on.
"""

from msgspec.structs import replace

from longshore.model.changes import Change, changed
from longshore.model.lifecycle import RANK, TERMINAL, Owner, State
from longshore.model.messages import Observation
from longshore.model.objects import Task
from longshore.model.snapshot import Snapshot

MESSAGE_MAX = 2000
"""Characters of the engine's or check's own words that are kept."""


def heard(world: Snapshot, node: str, seen: Observation, now: float) -> Change | None:
    """The change that `seen`, said by `node`, makes; None if it says nothing new."""
    task = world.task(seen.task)
    if task is None or task.node != node or task.created_at != seen.created_at:
        return None
    after = _ended(task, seen) if not task.live else _moved(task, seen, now)
    if after is None or after == task:
        return None
    return changed(task, after, Owner.WORKER, seen.reason, seen.message[:MESSAGE_MAX])


def _ended(task: Task, seen: Observation) -> Task | None:
    """An ended task only loses its container; why it ended stays as it was told first."""
    if task.state is State.LOST or seen.container_id or not task.container_id:
        return None
    return replace(task, container_id="")


def _moved(task: Task, seen: Observation, now: float) -> Task | None:
    if RANK[seen.state] < RANK[task.state] or seen.state is State.LOST:
        return None
    ended = seen.state in TERMINAL
    ready = seen.ready and not ended
    started_at = task.started_at
    if started_at is None and seen.state is State.RUNNING:
        started_at = now
    return replace(
        task,
        state=seen.state,
        ready=ready,
        ready_changed_at=now if ready is not task.ready and not ended else task.ready_changed_at,
        container_id=seen.container_id,
        exit_code=seen.exit_code,
        exposed=seen.exposed or task.exposed,
        reason=seen.reason,
        message=seen.message[:MESSAGE_MAX],
        started_at=started_at,
        finished_at=now if ended else None,
    )
