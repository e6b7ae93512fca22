"""A session's connection in a simulated world: two ends, messages that take time, and cables that are cut.

Messages are encoded and decoded as on a real connection, so nothing but data crosses. They keep their order, as on
TCP. A break is noticed by both ends at once. Where the cable has fallen silent nobody notices anything: messages
vanish, and so does the news that one end has given up, until the other's patience ends too.

Where only a way of the cable is out and comes back, nothing is lost, as on TCP: what was sent meanwhile arrives late,
the news of an end's death included, and by then there may be another connection beside the old one.
"""

import asyncio
import random
from typing import Generic, TypeVar

import msgspec

from longshore.model.containers import Assigned
from longshore.model.errors import Unavailable
from longshore.model.messages import Assignment, AssignmentPart, Down, Up
from longshore.model.parts import Gathering

S = TypeVar("S")
R = TypeVar("R")

LATENCY_S = (0.0005, 0.02)
INSTANT_S = 1e-6
RESENT_S = (0.0, 3.0)
"""How long after a way is open again what waited for it is sent once more."""


class Cable:
    """The way between a machine and the manager, which outlives connections."""

    def __init__(self, rng: random.Random) -> None:
        """`rng` is its own, so that what nobody harms is as it was before cables could be."""
        self._rng = rng
        self.up_out = self.down_out = False
        """Whether nothing comes through to the manager; to the worker."""
        self.spike_s = 0.0
        """Up to so much longer takes each message."""
        self.late_until = -1.0
        """When the last of what waited for it arrives, the end of an old connection too."""
        self._links: list[Link] = []

    @property
    def whole(self) -> bool:
        return not (self.up_out or self.down_out)

    def add(self, link: "Link") -> None:
        self._links = [one for one in self._links if not one.over]
        self._links.append(link)

    def extra_s(self) -> float:
        return self._rng.uniform(0.0, self.spike_s) if self.spike_s else 0.0

    def part(self, *, up: bool, down: bool) -> None:
        """From now on these ways are out. What waited for one that is open again is sent once more."""
        opens = (self.up_out and not up) or (self.down_out and not down)
        self.up_out, self.down_out = up, down
        if not opens:
            return
        for link in self._links:
            resent_s = self._rng.uniform(*RESENT_S)
            self.late_until = max(self.late_until, asyncio.get_running_loop().time() + resent_s + 1.0)
            for end in (link.manager, link.worker):
                if not end.cut_off:
                    end.resend(resent_s)


class End(Generic[S, R]):
    """One end; satisfies the port's channel of its side."""

    def __init__(self, link: "Link", received: type[R]) -> None:
        self._link = link
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(received)
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._arrives_at = 0.0
        self._over = False
        self._held: list[bytes | None] = []
        """What is on its way here, and waits for the way to be open again."""
        self.other: End[R, S]

    async def send(self, message: S) -> None:
        if self._over:
            raise Unavailable("the connection is closed")
        self.other._travel(msgspec.json.encode(message))

    def _travel(self, frame: bytes | None) -> None:
        """A message is on its way here, or with None the news that there will be no more."""
        if self._link.silent:
            return  # lost, and nobody notices
        if self.cut_off:
            self._held.append(frame)
            return
        loop = asyncio.get_running_loop()
        # Strictly later than the one before: timers of the same instant need not fire in any order.
        self._arrives_at = max(self._arrives_at + INSTANT_S, loop.time() + self._link.latency_s())
        if self._link.cable.spike_s:
            self._link.cable.late_until = max(self._link.cable.late_until, self._arrives_at)
        loop.call_at(self._arrives_at, self._arrive, frame)

    def _arrive(self, frame: bytes | None) -> None:
        if self._over or self._link.silent:
            return
        if frame is None:
            self._break()
        else:
            self._inbox.put_nowait(frame)

    @property
    def cut_off(self) -> bool:
        """Whether nothing comes through to here."""
        cable = self._link.cable
        return cable.up_out if self is self._link.manager else cable.down_out

    def resend(self, after_s: float) -> None:
        """What waited for the way here is sent again, and arrives before all that is sent later."""
        self._arrives_at = max(self._arrives_at, asyncio.get_running_loop().time() + after_s if self._held else 0.0)
        held, self._held = self._held, []
        for frame in held:
            self._travel(frame)

    async def receive(self) -> R:
        frame = None if self._over else await self._inbox.get()
        if frame is None:
            self._inbox.put_nowait(None)
            raise Unavailable("the connection is closed")
        message = self._decoder.decode(frame)
        if isinstance(message, AssignmentPart | Assignment):
            self._link.note(message)
        return message

    async def close(self) -> None:
        """Say goodbye: the other end hears it after all that was said before."""
        loop = asyncio.get_running_loop()
        if self._over or self._link.silent or (self.other._arrives_at <= loop.time() and not self.other.cut_off):
            self.end()
            return
        self._break()
        self.other._travel(None)

    def end(self) -> None:
        """Lose it, with its process or its cable. The other end is told, if anything gets through to it."""
        was_over = self._over
        self._break()
        if self._link.silent or self.other._over:
            return
        if not self.other.cut_off:
            self.other._break()
        elif not was_over:
            self.other._travel(None)

    @property
    def over(self) -> bool:
        return self._over

    def _break(self) -> None:
        if not self._over:
            self._over = True
            self._inbox.put_nowait(None)


class Link:
    """One connection between a worker and the manager."""

    def __init__(self, rng: random.Random, cable: Cable) -> None:
        self._rng = rng
        self.cable = cable
        self.silent = False
        self.assigned: dict[str, Assigned] = {}
        """What the worker was told to hold, by task."""
        self._gathering = Gathering()
        self.manager: End[Down, Up] = End(self, Up)  # type: ignore[arg-type]  # a union is a type to msgspec
        self.worker: End[Up, Down] = End(self, Down)  # type: ignore[arg-type]
        self.manager.other, self.worker.other = self.worker, self.manager
        cable.add(self)

    @property
    def over(self) -> bool:
        return self.silent or (self.manager.over and self.worker.over)

    def latency_s(self) -> float:
        return self._rng.uniform(*LATENCY_S) + self.cable.extra_s()

    def note(self, message: AssignmentPart | Assignment) -> None:
        assignment = self._gathering.take(message)
        if assignment is None:
            return
        if assignment.full:
            self.assigned.clear()
        for id in assignment.removed:
            self.assigned.pop(id, None)
        self.assigned.update((one.task.id, one) for one in assignment.put)

    def mute(self) -> None:
        """The cable is out: nothing arrives any more, and neither end is told."""
        self.silent = True
