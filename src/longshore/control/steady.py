"""The time that a manager decides by: the wall clock's, but never back, whatever is done to that clock.

Records say when something happened, and decisions wait from then on: were the clock set back by an hour, every
restart, drain and rollout would wait an hour more. So this clock goes on from where it was, at the pace of the
monotonic one, until the wall clock has caught up; and a new manager begins no earlier than the latest moment that it
finds in its store.
"""

from longshore.model.snapshot import Snapshot
from longshore.ports import Clock


class SteadyClock:
    """Of one life of a manager."""

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self._now = machine.now()
        self._at = machine.monotonic()

    def monotonic(self) -> float:
        return self._machine.monotonic()

    def now(self) -> float:
        at = self._machine.monotonic()
        self._now = max(self._machine.now(), self._now + at - self._at)
        self._at = at
        return self._now

    def begin_after(self, moment: float) -> None:
        """From now on it is later than `moment`."""
        self._now = max(self.now(), moment)


def latest(world: Snapshot) -> float:
    """The latest moment that a record speaks of as past."""
    moments = [node.changed_at for node in world.nodes.values()]
    moments += [service.created_at for service in world.services.values()]
    for task in world.tasks():
        moments += [task.created_at, task.started_at or 0.0, task.finished_at or 0.0]
        moments += [task.ready_changed_at or 0.0, task.leaving_at or 0.0]
    return max(moments, default=0.0)
