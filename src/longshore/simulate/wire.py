"""A session's connection in a simulated world: two ends, messages that take time, and cables that are cut.

Messages are encoded and decoded as on a real connection, so nothing but data crosses. They keep their order, as on
TCP. A break is noticed by both ends at once. Where the cable has fallen silent nobody notices anything: messages
vanish, and so does the news that one end has given up, until the other's patience ends too.
"""

import asyncio
import random
from typing import Generic, TypeVar

import msgspec

from longshore.model.containers import Assigned
from longshore.model.errors import Unavailable
from longshore.model.messages import Assignment, Down, Up

S = TypeVar("S")
R = TypeVar("R")

LATENCY_S = (0.0005, 0.02)
INSTANT_S = 1e-6


class End(Generic[S, R]):
    """One end; satisfies the port's channel of its side."""

    def __init__(self, link: "Link", received: type[R]) -> None:
        self._link = link
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(received)
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._arrives_at = 0.0
        self._over = False
        self.other: End[R, S]

    async def send(self, message: S) -> None:
        if self._over:
            raise Unavailable("the connection is closed")
        frame = msgspec.json.encode(message)
        if self._link.silent:
            return  # lost, and nobody notices
        loop = asyncio.get_running_loop()
        # Strictly later than the one before: timers of the same instant fire in no particular order.
        self.other._arrives_at = max(self.other._arrives_at + INSTANT_S, loop.time() + self._link.latency_s())
        loop.call_at(self.other._arrives_at, self.other._arrive, frame)

    def _arrive(self, frame: bytes) -> None:
        if not self._over and not self._link.silent:
            self._inbox.put_nowait(frame)

    async def receive(self) -> R:
        frame = None if self._over else await self._inbox.get()
        if frame is None:
            self._inbox.put_nowait(None)
            raise Unavailable("the connection is closed")
        message = self._decoder.decode(frame)
        if isinstance(message, Assignment):
            self._link.note(message)
        return message

    async def close(self) -> None:
        """Say goodbye: the other end hears it after all that was said before."""
        loop = asyncio.get_running_loop()
        if self._over or self._link.silent or self.other._arrives_at <= loop.time():
            self.end()
            return
        self._break()
        loop.call_at(self.other._arrives_at + INSTANT_S, self._closed)

    def _closed(self) -> None:
        if not self._link.silent:
            self.other._break()

    def end(self) -> None:
        """Lose it, with its process or its cable. The other end is told, if anything gets through to it."""
        self._break()
        if not self._link.silent:
            self.other._break()

    def _break(self) -> None:
        if not self._over:
            self._over = True
            self._inbox.put_nowait(None)


class Link:
    """One connection between a worker and the manager."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.silent = False
        self.assigned: dict[str, Assigned] = {}
        """What the worker was told to hold, by task."""
        self.manager: End[Down, Up] = End(self, Up)  # type: ignore[arg-type]  # a union is a type to msgspec
        self.worker: End[Up, Down] = End(self, Down)  # type: ignore[arg-type]
        self.manager.other, self.worker.other = self.worker, self.manager

    def latency_s(self) -> float:
        return self._rng.uniform(*LATENCY_S)

    def note(self, assignment: Assignment) -> None:
        if assignment.full:
            self.assigned.clear()
        for id in assignment.removed:
            self.assigned.pop(id, None)
        self.assigned.update((one.task.id, one) for one in assignment.put)

    def mute(self) -> None:
        """The cable is out: nothing arrives any more, and neither end is told."""
        self.silent = True
