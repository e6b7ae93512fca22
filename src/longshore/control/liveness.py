"""For how long each node may still be silent, as the holder of the sessions knows it. In memory only.

A node may be silent for the heartbeat timeout. One whose connection ended without a farewell may be away for a much
shorter time: a worker that lives dials again at once, so one that does not is gone. Nobody is judged by what was not
listened to: a manager that starts or that stood still gives every node a fresh timeout; so does one that was cut off,
once it hears the first of them again; and whoever waits to be let in is there. Knows one monotonic clock; not channels,
not the store, and not what becomes of a node that is silent.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog

from longshore.model import lease
from longshore.ports import Clock

log = structlog.get_logger("longshore.sessions")

RECONNECT_S = 1.0
"""What a node has to come back after its connection ended. Its worker dials again after 0.1 s."""
RECONNECT_PART = 0.2
"""The same as a part of the heartbeat timeout, where that is set so long that this is more."""
BEATS_PER_TIMEOUT = 4
"""A worker beats this often within the heartbeat timeout, so one lost beat is no alarm."""
BEATS_QUIET = 2
"""A node of which so many beats are missing is quiet: not given up yet, but counted when others are."""
LOOK_EVERY_S = 0.25


class Liveness:
    """Of all nodes of one manager."""

    def __init__(self, clock: Clock, *, timeout_s: float) -> None:
        self.beat_s = timeout_s / BEATS_PER_TIMEOUT
        self.lease_s = lease.lease_of(timeout_s)
        """What workers are told."""
        self._clock = clock
        self._timeout_s = timeout_s
        self._reconnect_s = max(RECONNECT_S, timeout_s * RECONNECT_PART)
        self._began = self._since = self._looked = clock.monotonic()
        """When it started, since when it has listened without a break, and when it last made sure of that."""
        self._heard: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        """When a heartbeat was last heard, and is about to be answered: nothing else renews a worker's lease."""
        self._ended: dict[str, float] = {}
        """When the connection of a node that has no other broke."""
        self._knocking: Counter[str] = Counter()
        """How many workers of a node are being let in; more than one if an attempt is not over before the next."""

    # -- what sessions tell

    def heard(self, node: str) -> None:
        self._heard[node] = self._clock.monotonic()
        self._ended.pop(node, None)

    def listen_anew(self) -> None:
        """Give every node a fresh timeout."""
        self._since = self._clock.monotonic()

    def was_missed(self, node: str) -> bool:
        """Whether it was heard once, and is quiet."""
        return node in self._heard and bool(self.quiet((node,)))

    def beat(self, node: str) -> None:
        """A heartbeat that counts as life. To be told before it is answered."""
        self.heard(node)
        self._answered[node] = self._clock.monotonic()

    def broken(self, node: str) -> None:
        """The only connection of `node` ended, and its worker did not say that it would."""
        if not self._knocking[node]:
            self._ended[node] = self._clock.monotonic()

    @contextmanager
    def knocking(self, node: str) -> Iterator[None]:
        """A worker of `node` is let in, in this block, for which it waits: it is there, though it says nothing."""
        self._knocking[node] += 1
        try:
            yield
        finally:
            self._knocking[node] -= 1
            self.heard(node)

    async def run(self) -> None:
        """Notice when this manager stands still, until cancelled."""
        self._looked = self._clock.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._look()

    # -- what others ask

    def silence_left_s(self, node: str) -> float:
        """Seconds for which `node` may still be silent; zero or less if it has been silent for too long."""
        # Before the answer: after a standstill this may be asked before `run` has noticed it.
        self._look()
        if self._knocking[node]:
            return self._timeout_s
        due = self._heard.get(node, self._since) + self._timeout_s
        if node in self._ended:
            due = min(due, self._ended[node] + self._reconnect_s)
        return max(due, self._since + self._timeout_s) - self._clock.monotonic()

    def fence_left_s(self, node: str, lease_s: float) -> float:
        """Seconds until the single-writer tasks of `node` may be given up, whose worker was told `lease_s` last. What
        broke its connection did not stop them, so that shortens nothing; a worker that only says hello keeps none."""
        # Nor does what this manager could not hear lengthen it, as it did not answer that either.
        wait_s = lease.wait_of(max(self.lease_s, lease_s))
        return self._answered.get(node, self._began) + wait_s - self._clock.monotonic()

    def closed(self, node: str) -> bool:
        """Whether its connection broke and there is no other."""
        return node in self._ended

    def quiet(self, nodes: Iterable[str]) -> frozenset[str]:
        """Those that are missed, whether or not their time is over. What fails at one moment does not end at one
        moment: beats of nodes on one cable are up to a beat apart."""
        limit = self._clock.monotonic() - BEATS_QUIET * self.beat_s
        heard, ended = self._heard.get, self._ended
        missed = [node for node in nodes if heard(node, limit) <= limit or node in ended]
        return frozenset(node for node in missed if not self._knocking[node])

    def _look(self) -> None:
        now = self._clock.monotonic()
        gap_s, self._looked = now - self._looked, now
        if gap_s > self.beat_s:
            log.warning("this manager stood still; every node has a fresh heartbeat timeout", seconds=round(gap_s, 1))
            self._since = now
        elif gap_s > self._reconnect_s / 2:
            # Too short for a beat to be missed; long enough for a worker that knocks not to be heard in time.
            self._ended = dict.fromkeys(self._ended, now)
