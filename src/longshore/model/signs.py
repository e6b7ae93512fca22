"""What can be said of the tasks of a few slots together, so that who decides for their service need not look at each.

Worked out once for each part of a service (`sharing.Part`) and remembered with it: a look at fifty thousand tasks costs
a glance at their parts, and a closer one at those that changed. Knows tasks alone; not their service, not the time.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from longshore.model.lifecycle import TERMINAL, State, Wanted
from longshore.model.objects import Task, by_slot
from longshore.model.reasons import Reason
from longshore.model.sharing import Part

_FAILED = frozenset({State.FAILED, State.REJECTED})
_HINDERED = frozenset({Reason.UNHEALTHY, Reason.NO_NODE})


class Signs(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Counts of tasks, unless it says otherwise."""

    tasks: int
    live: int
    counting: int
    running: int
    """Of those that count, as the next three."""
    serving: int
    """That run and are ready."""
    pending: int
    """That have no node yet."""
    hindered: bool
    """Whether one says what keeps it from being ready."""
    slots: int
    """In which there is a task."""
    slot_last: int
    done: int
    """That finished, and whose records are to stay."""
    done_releases: frozenset[int]
    releases: frozenset[int]
    """Of those that count."""
    nodes: frozenset[str]
    """Of those that count."""
    served: dict[int, tuple[int, float]]
    """How many serve, by release, and when the last of them became ready."""
    finished: dict[int, int]
    """In how many slots the newest finished, by release."""
    gives_way: bool
    """Whether one leaves, stands by or is to move."""
    pinned: bool
    """Whether one that counts is."""
    failed: bool
    """Whether one failed, or runs and is not ready."""
    leaves_for_good: bool
    """Whether all are to be removed, and none has ended."""

    @property
    def alone(self) -> bool:
        """Whether each slot has one task, and that counts or has done its work."""
        return self.tasks == self.slots == self.counting + self.done

    @property
    def plain(self) -> bool:
        """Whether each slot has one task, and that counts."""
        return self.tasks == self.slots == self.counting


def signs(part: Part) -> Signs:
    return part.derive(_signs)


def releases_of(part: Part) -> frozenset[int]:
    """Numbers of the releases that its tasks name."""
    return part.derive(_releases)


def _releases(tasks: Iterable[Task]) -> frozenset[int]:
    return frozenset(task.release for task in tasks)


def _signs(tasks: Iterable[Task]) -> Signs:
    every = list(tasks)
    live = [task for task in every if task.state not in TERMINAL]
    willing = [task for task in live if task.wanted is Wanted.RUNNING]
    counting = [task for task in willing if not task.relieves]
    running = [task for task in counting if task.state is State.RUNNING]
    serving = [task for task in running if task.ready]
    finished = [task for task in every if task.state is State.FINISHED] if len(live) < len(every) else []
    done = [task for task in finished if task.wanted is not Wanted.REMOVED]
    slots = {task.slot for task in every}
    return Signs(
        tasks=len(every),
        live=len(live),
        counting=len(counting),
        running=len(running),
        serving=len(serving),
        pending=sum(task.state is State.NEW for task in counting) if len(running) < len(counting) else 0,
        hindered=any(task.reason in _HINDERED and not task.ready for task in counting),
        slots=len(slots),
        slot_last=max(slots),
        done=len(done),
        done_releases=frozenset(task.release for task in done),
        releases=frozenset(task.release for task in counting),
        nodes=frozenset(task.node for task in counting),
        served=_served(serving),
        finished=_finished(every) if finished else {},
        gives_way=len(counting) < len(willing)
        or (len(willing) < len(live) and any(task.wanted is Wanted.LEAVING for task in live))
        or any(task.moves_to for task in live),
        pinned=any(task.pinned for task in counting),
        failed=len(serving) < len(running) or any(task.state in _FAILED or _unready(task) for task in every),
        leaves_for_good=len(live) == len(every) and all(task.wanted is Wanted.REMOVED for task in every),
    )


def _served(serving: Iterable[Task]) -> dict[int, tuple[int, float]]:
    found: dict[int, tuple[int, float]] = {}
    for task in serving:
        count, latest = found.get(task.release, (0, 0.0))
        found[task.release] = count + 1, max(latest, task.ready_changed_at or task.started_at or 0.0)
    return found


def _finished(tasks: Iterable[Task]) -> dict[int, int]:
    newest = (here[-1] for here in by_slot(tasks).values())
    return dict(Counter(task.release for task in newest if task.state is State.FINISHED))


def finished(parts: Iterable[Part], release: int, slot_last: int) -> int:
    """In how many slots up to `slot_last` the newest task is of a release, and finished."""
    count = 0
    for part in parts:
        seen = signs(part)
        if seen.slot_last <= slot_last:
            found = seen.finished
        else:
            found = _finished(task for task in part.tasks.values() if task.slot <= slot_last)
        count += found.get(release, 0)
    return count


def _unready(task: Task) -> bool:
    return task.state is State.RUNNING and not task.ready
