"""A light worker: it says what a real one says to its manager, and has no engine, so that thousands fit into a program.

It beats as it is told, starts what it is assigned after a moment, stops what is no longer wanted, and says so until
that is acknowledged. Nothing fails here: what may fail on a machine is `site`'s. Knows the messages of a session, and
nothing of who keeps the other end.
"""

import asyncio
import random

from longshore.loop.together import together
from longshore.model.containers import Assigned
from longshore.model.lifecycle import State, Wanted
from longshore.model.messages import (
    Acknowledge,
    Assignment,
    AssignmentPart,
    Down,
    Farewell,
    Heartbeat,
    Hello,
    Observation,
    Reports,
    Up,
    Welcome,
)
from longshore.model.objects import Capacity, EngineFacts, NodeStats
from longshore.model.parts import Gathering
from longshore.model.reasons import Reason
from longshore.simulate.wire import End

START_S = (0.2, 1.0)
"""From its assignment until a task runs, drawn evenly."""
GATHER_S = 0.05
"""So long observations wait for others that go with them."""

Channel = End[Up, Down]


class LightWorker:
    """One of them."""

    def __init__(self, name: str, channel: Channel, rng: random.Random, capacity: Capacity) -> None:
        self._name = name
        self._channel = channel
        self._rng = rng
        self._capacity = capacity
        self._beat_s = 1.0
        self._gathering = Gathering()
        self._held: dict[str, Assigned] = {}
        self._to_say: dict[str, Observation] = {}
        self._news = asyncio.Event()
        self._answered = asyncio.Event()
        self._seq = 0
        self.running = 0
        """Tasks that run here."""

    async def work(self, token_sha256: str) -> None:
        """Until the session is over. Raises Unavailable then."""
        await self._channel.send(
            Hello(
                node=self._name,
                version="light",
                token_sha256=token_sha256,
                address="127.0.0.1",
                capacity=self._capacity,
                engine=EngineFacts(id=self._name),
            )
        )
        welcome = await self._channel.receive()
        assert isinstance(welcome, Welcome), f"{self._name} was not let in: {welcome}"
        self._beat_s = welcome.heartbeat_s
        await together(listen=self._listen(), beat=self._beat(), say=self._say())

    async def _listen(self) -> None:
        while True:
            message = await self._channel.receive()
            if isinstance(message, AssignmentPart | Assignment):
                whole = self._gathering.take(message)
                if whole is not None:
                    self._assign(whole)
            elif isinstance(message, Acknowledge) and message.seq == self._seq:
                self._answered.set()
            else:
                assert not isinstance(message, Farewell), f"{self._name} was sent away: {message}"

    async def _beat(self) -> None:
        # Not all at the same instant.
        await asyncio.sleep(self._rng.uniform(0.0, self._beat_s))
        while True:
            await self._channel.send(Heartbeat(stats=NodeStats(containers=self.running)))
            await asyncio.sleep(self._beat_s)

    async def _say(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            said, self._to_say = tuple(self._to_say.values()), {}
            self._seq += 1
            self._answered.clear()
            await self._channel.send(Reports(seq=self._seq, observations=said))
            await self._answered.wait()

    def _assign(self, message: Assignment) -> None:
        loop = asyncio.get_running_loop()
        for id in message.removed:
            if self._held.pop(id, None) is not None:
                self.running -= 1
        for one in message.put:
            fresh = one.task.id not in self._held
            if one.task.wanted in (Wanted.STOPPED, Wanted.REMOVED):
                self.running -= not fresh
                self._held.pop(one.task.id, None)
                self._observe(one, State.STOPPED)
            elif fresh:
                self._held[one.task.id] = one
                self.running += 1
                self._observe(one, State.ACCEPTED)
                loop.call_later(self._rng.uniform(*START_S), self._started, one)

    def _started(self, one: Assigned) -> None:
        if one.task.id in self._held:
            self._observe(one, State.RUNNING)

    def _observe(self, one: Assigned, state: State) -> None:
        runs = state is State.RUNNING
        self._to_say[one.task.id] = Observation(
            task=one.task.id,
            created_at=one.task.created_at,
            state=state,
            ready=runs,
            container_id=f"container-of-{one.task.id}" if runs else "",
            reason=Reason.STARTED if runs else Reason.STOPPED if state is State.STOPPED else Reason.ACCEPTED,
        )
        self._news.set()
