"""Keeps a node's single-writer containers only while its manager is known to be there.

Holds the lease: renewed by heartbeats that were answered, kept where the guard reads it, and over when they are not.
What runs when it is over is stopped for good, whatever is heard afterwards: the manager may have counted on that.
Knows containers by their ids alone; which are meant, and what is done with them, is the runner's. The moments are
`model.lease`'s.
"""

import asyncio
import math
from collections.abc import Callable, Collection

import structlog

from longshore.model.errors import Unavailable
from longshore.model.lease import Lease
from longshore.ports import Clock, LeaseGuard

log = structlog.get_logger("longshore.fence")

LOOK_EVERY_S = 0.2
GUARD_EVERY_S = 1.0
"""How often it is made sure that the guard stands."""

Fenced = Callable[[], Collection[str] | None]


class Fence:
    """Of one node."""

    def __init__(self, clock: Clock, guard: LeaseGuard | None) -> None:
        """Without a guard, what the worker cannot stop by itself goes on."""
        self._clock = clock
        self._guard = guard
        self._lease = (guard.left() if guard is not None else None) or Lease()
        self._lease_s = self._lease.lease_s
        self._over = {id for id, at in self._lease.containers.items() if at < self._lease.ends_at}
        """Ids of containers whose lease has ended."""
        self._fenced: Fenced = lambda: None
        self._wake: Callable[[], None] = lambda: None
        self._concerned = asyncio.Event()
        """Whether there may be something to keep to the lease."""
        self._concerned.set()

    def mind(self, fenced: Fenced, wake: Callable[[], None]) -> None:
        """From now on `fenced` tells the ids of the containers that are meant, None while that is not known, and `wake`
        has them looked at."""
        self._fenced, self._wake = fenced, wake

    def concern(self, concerned: bool) -> None:
        """Whether any container may be meant from now on. Until it is said, some may."""
        if concerned:
            self._concerned.set()
        else:
            self._concerned.clear()

    # -- what the manager says

    def told(self, lease_s: float) -> None:
        """The lease from now on. A shorter one holds at once, a longer one from the next renewal."""
        self._lease_s = lease_s
        if lease_s < self._lease.lease_s:
            self._renew(self._lease.shortened(lease_s))

    def renew(self, sent_at: float) -> None:
        """A heartbeat was answered that was sent then."""
        was_over = self.is_over
        if was_over:
            self._end()
        self._renew(self._lease.renewed(sent_at, self._lease_s))
        if was_over and not self.is_over:
            self._wake()

    # -- what the runner asks

    @property
    def is_over(self) -> bool:
        """Whether what is fenced must not run, nor be started."""
        return self._clock.monotonic() >= self._lease.stop_at

    @property
    def presses(self) -> bool:
        """Whether something runs that a manager's answer would keep from being stopped."""
        return bool(self._lease.containers) and not self.is_over

    def ends(self, container_id: str) -> bool:
        """Whether this container is to be stopped, or was: its lease has ended."""
        if self.is_over:
            self._over.add(container_id)
        return container_id in self._over

    def grace_s(self, container_id: str, asked_s: float) -> float:
        """The grace that is left for the stop of a container whose lease has ended."""
        return self._lease.grace_s(container_id, asked_s, self._clock.monotonic())

    @property
    def words(self) -> str:
        silence_s = self._lease.silence_s
        return f"no word from the manager {f'for {silence_s:g} s' if silence_s else 'yet, since the machine started'}"

    async def cover(self) -> None:
        """Before a container that is fenced starts: see to it that it ends in time. Raises Unavailable."""
        if self.is_over:
            raise Unavailable("a single writer is not started before the manager has answered")
        self._hold(self._lease)
        if self._guard is not None:
            await self._guard.stand()

    async def run(self) -> None:
        """Notice when the lease is over, and when the guard is gone, until cancelled."""
        loop = asyncio.get_running_loop()
        at = stood_at = loop.time()
        while True:
            await self._concerned.wait()
            at += LOOK_EVERY_S * max(1, math.ceil((loop.time() - at) / LOOK_EVERY_S))
            await asyncio.sleep(at - loop.time())
            if self.is_over:
                self._end()
            elif self._guard is not None and at - stood_at > GUARD_EVERY_S - LOOK_EVERY_S / 2 and self._ids():
                stood_at = at
                try:
                    await self._guard.stand()
                except Unavailable as failure:
                    log.warning("single-writer tasks have no guard", reason=failure.message)

    # -- inside

    def _ids(self) -> tuple[str, ...]:
        """Those that are fenced; those that an earlier life of this worker left, until they were looked at."""
        known = self._fenced()
        return tuple(self._lease.containers if known is None else sorted(known))

    def _end(self) -> None:
        # What was under the lease, too: the guard may have ended it before it was looked at.
        ended = {*self._ids(), *self._lease.containers} - self._over
        if ended:
            log.warning("stops single-writer tasks", reason=self.words, containers=sorted(ended))
            self._over |= ended
            self._wake()

    def _renew(self, lease: Lease) -> None:
        try:
            self._hold(lease)
        except Unavailable as failure:
            log.warning("the guard knows an older lease", reason=failure.message)

    def _hold(self, lease: Lease) -> None:
        """Keep the lease, and where the guard reads it if there is anything to guard, or was."""
        before, self._lease = self._lease, lease.covering(self._ids(), self._over, self._clock.monotonic())
        if self._guard is not None and (self._lease.containers or before.containers):
            self._guard.keep(self._lease)
