"""A simulated machine's guard, and a worker that is frozen: what lives beside a worker's process, and what holds it up.

The real guard's program cannot run here; this one keeps its promises on a `FakeMachine`: it kills by the kernel, also
where the engine hangs, at its next poll after a container's lease has ended. It outlives the worker, and dies with the
machine's power.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from longshore.agent.guard import POLL_S
from longshore.engine.fake_containers import Box
from longshore.engine.fake_machine import FakeMachine, Mood
from longshore.model.containers import Status
from longshore.model.errors import Failure
from longshore.model.lease import Lease
from longshore.model.messages import Down, Up
from longshore.ports import Clock, WorkerChannel

T = TypeVar("T")


class SimulatedGuard:
    """Of one machine; satisfies the port `LeaseGuard`."""

    def __init__(self, machine: FakeMachine, clock: Clock, acts: Callable[[str, Box], None]) -> None:
        """`acts` is told what it does to which container, before it does it."""
        self.lease = Lease()
        """The file: it outlives the worker, and not the machine's run."""
        self._machine = machine
        self._clock = clock
        self._acts = acts
        self._timer: asyncio.TimerHandle | None = None

    # -- what the worker asks

    def left(self) -> Lease | None:
        return self.lease if self.lease.containers else None

    def keep(self, lease: Lease) -> None:
        self.lease = lease
        self._look_at(min(lease.containers.values(), default=None))

    async def stand(self) -> None:
        """It always does."""

    # -- what the world asks

    def lose_power(self) -> None:
        self.lease = Lease()
        self._look_at(None)

    def is_late(self, box: Box) -> bool:
        """Whether the engine began this container after its lease had ended, as one that hung may do, and there was no
        poll since."""
        end = self.lease.containers.get(box.id)
        return end is not None and box.started_at >= end and self._clock.monotonic() - box.started_at <= 2 * POLL_S

    # -- inside

    def _look_at(self, end: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if end is not None:
            at = max(end, self._clock.monotonic()) + POLL_S
            self._timer = asyncio.get_running_loop().call_at(at, self._look)

    def _look(self) -> None:
        now = self._clock.monotonic()
        left = [at for id, at in self.lease.containers.items() if at > now or not self._end(id)]
        self._look_at(min(left, default=None))

    def _end(self, id: str) -> bool:
        """Whether this container does not run and never will."""
        box = self._machine.boxes.get(id)
        if box is None or box.status is Status.EXITED:
            return True
        if box.running:
            self._acts("kills", box)
            self._machine.kill(id)
            return True
        if self._machine.mood is not Mood.UP:
            return False
        self._acts("removes", box)
        self._machine.vanish(id)
        return True


class Freezer:
    """Holds a worker up, as SIGSTOP does its process: what it asks for does not begin, and what it is told waits."""

    def __init__(self) -> None:
        self._moves = asyncio.Event()
        self._moves.set()

    @property
    def frozen(self) -> bool:
        return not self._moves.is_set()

    def freeze(self) -> None:
        self._moves.clear()

    def thaw(self) -> None:
        self._moves.set()

    async def moved(self) -> None:
        if self.frozen:
            await self._moves.wait()

    async def held(self, ask: Awaitable[T]) -> T:
        """What was asked, once it is known to a process that moves."""
        try:
            outcome = await ask
        except Failure:
            await self._moves.wait()
            raise
        await self.moved()
        return outcome


class FrozenChannel:
    """A worker's end of a session whose process may be frozen."""

    def __init__(self, channel: WorkerChannel, freezer: Freezer) -> None:
        self._channel = channel
        self._freezer = freezer

    async def send(self, message: Up) -> None:
        await self._freezer.moved()
        await self._channel.send(message)

    async def receive(self) -> Down:
        return await self._freezer.held(self._channel.receive())

    async def close(self) -> None:
        await self._channel.close()
