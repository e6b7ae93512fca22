"""Sees who is displaced, and says where that should not have been.

Whoever is displaced gives way to a task of higher priority that claims its node, and its service keeps what its updates
would leave it. Told by the witness what changes; knows which places lost their task by displacement, as that is what
placement itself knows at once, and of the others only those that had been lost for a while: who decided may not have
heard of the rest.
"""

import math
from collections import defaultdict
from collections.abc import Callable

from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, Preemption, ServiceSpec

_Slot = tuple[str, int]


class Displacing:
    """Of one world."""

    def __init__(self) -> None:
        self._lost_at: dict[_Slot, float] = {}
        """When each slot was left without a task that serves."""
        self._displaced: set[_Slot] = set()
        """Those that were left so by displacement."""
        self._former: dict[str, list[tuple[float, ServiceSpec]]] = defaultdict(list)
        """By service: what was wished before, and when it gave way to another wish."""
        self._removed_at: dict[str, float] = {}
        """By service. What a removed one had belongs to nobody, and may be displaced; it may be wished again since."""

    def wished(self, before: Service, after: Service | None, now: float) -> None:
        """A service is wished otherwise than `before`, or no more."""
        self._former[before.name].append((now, before.spec))
        if after is None:
            self._removed_at[before.name] = now

    def see(self, after: Task, before: Task, reason: Reason, now: float) -> None:
        """A task changed."""
        slot = (after.service, after.slot)
        if after.counts and after.ready:
            self._lost_at.pop(slot, None)
            self._displaced.discard(slot)
        elif before.counts and before.ready:
            self._lost_at[slot] = now
            if reason is Reason.DISPLACED:
                self._displaced.add(slot)

    def wrong(self, task: Task, before: Task, snapshot: Snapshot, now: float, unaware_s: float) -> list[str]:
        """What is wrong with the displacement of a task. `now` is the true time, and news may be
        so old as `unaware_s` when something is decided on them."""
        removed_at = self._removed_at.get(task.service, -math.inf)
        if task.service not in snapshot.services or removed_at > now - unaware_s:
            return []
        wishes = self._known(task.service, snapshot, now - unaware_s)
        own = min(spec.priority for spec in wishes)
        by = [
            spec
            for name in snapshot.services_with_tasks
            if _claims(snapshot, name, task.node)
            for spec in self._known(name, snapshot, now - unaware_s)
            if spec.priority > own
        ]
        if not by:
            return [f"{task.id} is displaced on {task.node}, which nobody of higher priority claims"]
        below = any(spec.preemption is Preemption.BELOW_MINIMUM for spec in by)
        counted = all(spec.update.parallelism and spec.mode is Mode.REPLICATED for spec in wishes)
        if below or not before.ready or not counted:
            return []
        most, replicas = max(spec.update.parallelism for spec in wishes), min(spec.replicas for spec in wishes)
        lost = self._lost(task.service, replicas, snapshot, lambda at: at <= now - unaware_s)
        return [f"{task.id} is displaced, although {task.service} has lost {lost - 1}"] if lost > most else []

    def _known(self, name: str, snapshot: Snapshot, since: float) -> list[ServiceSpec]:
        """What a service was wished to be at any time since then."""
        service = snapshot.services.get(name)
        former = [spec for until, spec in self._former[name] if until > since]
        return [*former, service.spec] if service is not None else former

    def _lost(self, service: str, slot_last: int, snapshot: Snapshot, long: Callable[[float], bool]) -> int:
        """How many slots of a service, up to one, were known to serve nobody."""
        serving = {one.slot for one in snapshot.tasks_of_service(service).values() if one.counts and one.ready}
        slots = [(service, slot) for slot in range(1, slot_last + 1) if slot not in serving]
        return sum(one in self._displaced or (one in self._lost_at and long(self._lost_at[one])) for one in slots)


def _claims(snapshot: Snapshot, service: str, node: str) -> bool:
    """Whether a task of a service waits for room on a node."""
    tasks = snapshot.tasks_of_service(service).values()
    return any(one.claims == node and one.state is State.NEW and one.wanted is Wanted.RUNNING for one in tasks)
