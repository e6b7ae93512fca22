"""For how long a worker may trust that it still has a manager, and a manager that a worker has stopped what it must.

The one place that knows the three moments, all counted in heartbeat timeouts: when a worker that hears nothing stops
its single-writer containers, when they are dead at the latest, and when the manager gives their tasks up. Worker and
manager count from the two ends of the same heartbeat: the worker from when it sent one that was answered, the manager
from when it heard the last. What was answered was heard, and nothing is heard before it is sent, so the worker's count
never begins after the manager's, whatever the network does to either message, and no two clocks are compared.
"""

import math
from collections.abc import Collection

import msgspec
from msgspec.structs import replace

STOP_AFTER = 1.0
"""Heartbeat timeouts without an answer, after which a worker stops what is fenced."""
DEAD_AFTER = 1.8
"""And after which all of it is dead: the lease."""
GIVE_UP_AFTER = 2.0
"""Heartbeat timeouts of silence, after which the manager may start another. The rest is for the guard's poll, and for
clocks that do not run alike."""


def lease_of(timeout_s: float) -> float:
    """The lease that a manager of this heartbeat timeout gives, in seconds."""
    return timeout_s * DEAD_AFTER


def wait_of(lease_s: float) -> float:
    """For how long a manager waits for a node whose worker was given this lease, in seconds."""
    return lease_s * GIVE_UP_AFTER / DEAD_AFTER


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's word that its manager is there, by a clock that counts while the machine sleeps."""

    renewed_at: float = 0.0
    """When the newest heartbeat that was answered was sent."""
    lease_s: float = 0.0
    """Zero is none yet."""
    containers: dict[str, float] = {}
    """Ids of those that it is for, and when each must be dead: at its end, or earlier where one that ended before was
    not renewed for them."""

    @property
    def silence_s(self) -> float:
        """For how long the manager's answer is waited for."""
        return self.lease_s * STOP_AFTER / DEAD_AFTER

    @property
    def stop_at(self) -> float:
        """When a worker begins to stop them."""
        return self.renewed_at + self.silence_s

    @property
    def ends_at(self) -> float:
        return self.renewed_at + self.lease_s

    def shortened(self, lease_s: float) -> "Lease":
        """The same with a shorter time to go by."""
        after = replace(self, lease_s=min(lease_s, self.lease_s))
        return replace(after, containers={id: min(at, after.ends_at) for id, at in self.containers.items()})

    def renewed(self, sent_at: float, lease_s: float) -> "Lease":
        """After a heartbeat that was sent then was answered. For whom it counts is said with `covering`."""
        return replace(self, renewed_at=max(self.renewed_at, sent_at), lease_s=lease_s)

    def covering(self, ids: Collection[str], over: Collection[str], now: float) -> "Lease":
        """For these containers. Those that are `over` keep the end that they had: that is final."""
        ends = {id: self.containers.get(id, now) if id in over else self.ends_at for id in sorted(ids)}
        return replace(self, containers=ends)

    def grace_s(self, container_id: str, asked_s: float, now: float) -> float:
        """Of the grace that a stop would have, what the lease leaves: whole seconds, as engines know no others."""
        return min(asked_s, max(math.floor(self.containers.get(container_id, now) - now), 0))
