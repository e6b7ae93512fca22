"""A worker: one runner that lives as long as it, and one session after another.

Knows channels, not how they come about. When a session ends everything keeps running, and what was not acknowledged
waits for the next session. It says hello only once its engine answers, so a node that joins is a node that can work;
when a session breaks it is back at once, with what it last knew of an engine that answered. One that stops on purpose
says so, so that it may be away for a moment.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from longshore import __version__
from longshore.agent.commands import CommandProber
from longshore.agent.fence import Fence
from longshore.agent.prober import SocketProber
from longshore.agent.runner import Runner
from longshore.loop.together import together
from longshore.model.containers import Assigned, LogLine
from longshore.model.errors import Denied, NotFound, Unavailable
from longshore.model.messages import (
    Acknowledge,
    Assignment,
    AssignmentPart,
    Description,
    Entries,
    Farewell,
    Heartbeat,
    Hello,
    Leaving,
    LogEnd,
    LogLines,
    LogsUnwanted,
    LogsWanted,
    Observation,
    Reports,
    Welcome,
)
from longshore.model.objects import Capacity, NodeStats
from longshore.model.parts import Gathering
from longshore.model.placing import Supply, Taint
from longshore.ports import Clock, Engine, LeaseGuard, Prober, WorkerChannel

log = structlog.get_logger("longshore.worker")

ENGINE_WAIT_S = 1.0
DESCRIBE_EVERY_BEATS = 40
WELCOME_TIMEOUT_S = 10.0
SILENT_BEATS = 6
"""A manager that answered none of this many heartbeats is gone."""
LEAVE_S = 0.5
"""For a last word. Who stops must not be held up by a manager that does not listen."""
LOG_LINES_MAX = 200
"""Lines in one message."""


ServeEntries = Callable[[Entries], None]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker must remember between its lives."""

    node: str
    token: str
    """Its own secret; made here, and never sent but to open the manager's door."""
    cluster: str = ""
    """The cluster it belongs to, once it was welcomed."""


class Worker:
    """One node's worker."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        identity: Identity,
        address: str,
        labels: dict[str, str],
        taints: tuple[Taint, ...] = (),
        resources: dict[str, Supply] | None = None,
        pids: int = 0,
        starts: asyncio.Semaphore,
        share: float = 1.0,
        remember: Callable[[Identity], None],
        figures: Callable[[tuple[str, ...]], Awaitable[NodeStats]],
        prober: Prober | None = None,
        serve_entries: ServeEntries | None = None,
        guard: LeaseGuard | None = None,
    ) -> None:
        """`share`: the part of the machine that this node offers, where several share one. `remember` keeps an
        identity safe. `figures` reads what is in use, given the ids of this node's containers. `prober` asks over real
        sockets and through the engine, unless told otherwise. `serve_entries` takes what the node serves, if it can be
        an entry. `pids` is how many processes the machine has room for, zero if nobody knows. `guard` ends
        single-writer tasks that this worker cannot."""
        self.identity = identity
        self.name = identity.node
        self.fence = Fence(clock, guard)
        self._engine = engine
        self._clock = clock
        self._address = address
        self._labels = labels
        self._taints = taints
        self._resources = resources or {}
        self._pids = pids
        self._starts = starts
        self._share = share
        self._remember = remember
        self._runner: Runner | None = None
        self._welcomed = asyncio.Event()
        self._known: Description | None = None
        """What the machine is, while its engine answers."""
        self._figures = figures
        self._stats = NodeStats()
        """What was in use when it was last measured."""
        self._measured = asyncio.Event()
        self._prober = prober or CommandProber(engine, SocketProber(address))
        self._serve_entries = serve_entries

    async def run(self) -> None:
        """Run containers, until cancelled; sessions come and go meanwhile."""
        await self._welcomed.wait()
        assert self._runner is not None
        try:
            await self._runner.run()
        finally:
            await self._prober.close()

    async def serve(self, channel: WorkerChannel) -> None:
        """One session to its end. Raises Denied if the manager does not want this worker, ever."""
        try:
            description = await self._description()
            await channel.send(
                Hello(
                    node=self.name,
                    version=__version__,
                    labels=self._labels,
                    taints=self._taints,
                    resources=self._resources,
                    token_sha256=hashlib.sha256(self.identity.token.encode()).hexdigest(),
                    address=self._address,
                    capacity=description.capacity,
                    engine=description.engine,
                )
            )
            async with asyncio.timeout(WELCOME_TIMEOUT_S):
                welcome = await channel.receive()
            if isinstance(welcome, Farewell):
                _take_leave(welcome)
            if not isinstance(welcome, Welcome):
                raise Unavailable(f"the manager began with {type(welcome).__name__}, not with a welcome")
            self._begin(welcome)
            if not welcome.entry:
                self.serve_entries(Entries(revision=0, full=True))
            await _Session(self, channel, welcome, description).run()
        except TimeoutError:
            raise Unavailable("the manager did not answer hello") from None
        except asyncio.CancelledError:
            await _say_farewell(channel)
            raise
        finally:
            await channel.close()

    def _begin(self, welcome: Welcome) -> None:
        if self.identity.cluster not in ("", welcome.cluster):
            raise Denied(f"this is cluster {welcome.cluster}, but this worker belongs to {self.identity.cluster}")
        if not self.identity.cluster:
            self.identity = msgspec.structs.replace(self.identity, cluster=welcome.cluster)
            self._remember(self.identity)
            log.info("joined", node=self.name, cluster=welcome.cluster)
        self.fence.told(welcome.lease_s)
        if self._runner is None:
            self._runner = Runner(
                self._engine,
                self._prober,
                self.fence,
                cluster=welcome.cluster,
                node=self.name,
                starts=self._starts,
            )
            self._welcomed.set()

    def serve_entries(self, entries: Entries) -> None:
        """What the node is to serve as an entry; nothing, if it is none."""
        if self._serve_entries is not None:
            self._serve_entries(entries)

    async def _description(self) -> Description:
        """What the machine is, as soon as its engine answers. Not asked again of one that answered the last heartbeat:
        a busy engine takes seconds, and a node whose connection broke has one to be back."""
        while self._known is None:
            try:
                self._known = await self.describe()
            except Unavailable as failure:
                log.warning("waiting for the engine", node=self.name, reason=failure.message)
                await asyncio.sleep(ENGINE_WAIT_S)
        return self._known

    async def describe(self) -> Description:
        facts, capacity = await self._engine.describe()
        capacity = msgspec.structs.replace(capacity, pids=self._pids)
        return Description(capacity=_part(capacity, self._share), engine=facts)

    async def describe_again(self) -> Description:
        """As it is now: an engine may be upgraded, or a machine given more memory, under a running worker."""
        self._known = await self.describe()
        return self._known

    def held(self) -> list[tuple[Assigned, Observation | None]]:
        """The tasks that a manager gave it, and what was last seen of each."""
        return self._runner.held() if self._runner is not None else []

    @property
    def runner(self) -> Runner:
        assert self._runner is not None, "no session has begun"
        return self._runner

    async def heartbeat(self) -> Heartbeat:
        await self._measured.wait()
        try:
            await self._engine.ping()
        except Unavailable as failure:
            self._known = None
            return Heartbeat(stats=self._stats, engine_error=failure.message)
        return Heartbeat(stats=self._stats)

    async def measure(self) -> None:
        """Take the figures for the next heartbeats: an engine that starts containers may take seconds for them."""
        self._stats = await self._figures(self.runner.container_ids)
        self._measured.set()

    def now(self) -> float:
        """By the clock of its lease."""
        return self._clock.monotonic()

    async def send_logs(self, wanted: LogsWanted, channel: WorkerChannel) -> None:
        """Send a container's log lines until they end."""
        error = ""
        try:
            lines: list[LogLine] = []
            source = self._engine.logs(wanted.container_id, follow=wanted.follow, tail=wanted.tail, since=wanted.since)
            async for line in source:
                lines.append(line)
                # A follower sees each line as it comes; the rest travels in larger parts.
                if wanted.follow or len(lines) >= LOG_LINES_MAX:
                    await channel.send(LogLines(request=wanted.request, lines=tuple(lines)))
                    lines.clear()
            if lines:
                await channel.send(LogLines(request=wanted.request, lines=tuple(lines)))
        except (NotFound, Unavailable) as failure:
            error = failure.message
        await channel.send(LogEnd(request=wanted.request, error=error))


class _Session:
    """One session of a worker that was welcomed."""

    def __init__(self, worker: Worker, channel: WorkerChannel, welcome: Welcome, said: Description) -> None:
        self._worker = worker
        self._channel = channel
        self._beat_s = welcome.heartbeat_s
        self._said = said
        self._acknowledged = asyncio.Event()
        self._gathering = Gathering()
        self._seq = 0
        self._beats: deque[float | None] = deque()
        """When each heartbeat that is not answered yet was sent; None for one that does not count as life."""
        self._logs: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """To its end. Raises Unavailable when the connection is lost, Denied at a final farewell."""
        try:
            await together(
                listen=self._listen(),
                heartbeat=self._beat(),
                measure=self._measure(),
                report=self._report(),
                describe=self._describe(),
            )
        finally:
            for task in self._logs.values():
                task.cancel()

    async def _listen(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENT_BEATS * self._beat_s):
                    message = await self._channel.receive()
            except TimeoutError:
                raise Unavailable("the manager is silent") from None
            match message:
                case AssignmentPart() | Assignment():
                    whole = self._gathering.take(message)
                    if whole is not None:
                        self._worker.runner.assign(whole)
                case Entries():
                    self._worker.serve_entries(message)
                case Acknowledge(seq=0):
                    self._answered()
                case Acknowledge(seq=seq):
                    if seq == self._seq:
                        self._acknowledged.set()
                case LogsWanted():
                    self._logs[message.request] = asyncio.create_task(self._send_logs(message), name="logs")
                case LogsUnwanted(request=request):
                    if request in self._logs:
                        self._logs[request].cancel()
                case Farewell():
                    _take_leave(message)
                case Welcome():
                    raise Unavailable("the manager welcomed twice")

    def _answered(self) -> None:
        """A heartbeat was: the oldest that is not, as answers come in order."""
        sent_at = self._beats.popleft() if self._beats else None
        if sent_at is not None:
            self._worker.fence.renew(sent_at)

    async def _send_logs(self, wanted: LogsWanted) -> None:
        try:
            await self._worker.send_logs(wanted, self._channel)
        except Unavailable as failure:
            log.debug("log cut off", node=self._worker.name, reason=failure.message)
        finally:
            self._logs.pop(wanted.request, None)

    async def _beat(self) -> None:
        """At a steady pace: a beat that comes late is taken for one that is missed."""
        due = self._worker.now()
        while True:
            beat = await self._worker.heartbeat()
            self._beats.append(None if beat.engine_error else self._worker.now())
            await self._channel.send(beat)
            due = max(due + self._beat_s, self._worker.now())
            await asyncio.sleep(due - self._worker.now())

    async def _measure(self) -> None:
        while True:
            await self._worker.measure()
            await asyncio.sleep(self._beat_s)

    async def _describe(self) -> None:
        """Say what the machine is, also at once: hello may have said what was so a while ago. Beside the beats, as a
        busy engine takes its time for it."""
        while True:
            try:
                now = await self._worker.describe_again()
            except Unavailable:
                now = self._said  # the heartbeat says so
            if now != self._said:
                await self._channel.send(now)
                self._said = now
            await asyncio.sleep(DESCRIBE_EVERY_BEATS * self._beat_s)

    async def _report(self) -> None:
        outbox = self._worker.runner.outbox
        while True:
            batch = await outbox.batch()
            self._seq += 1
            self._acknowledged.clear()
            await self._channel.send(Reports(seq=self._seq, observations=batch))
            await self._acknowledged.wait()
            outbox.acknowledge(batch)


def _part(capacity: Capacity, share: float) -> Capacity:
    """A share of a machine, rounded down so that the parts never exceed the whole."""
    return Capacity(
        cpu=int(capacity.cpu * share * 1000) / 1000,
        memory=int(capacity.memory * share),
        disk=capacity.disk,
        pids=int(capacity.pids * share),
    )


def _take_leave(farewell: Farewell) -> None:
    if farewell.final:
        raise Denied(farewell.reason, known=True)
    raise Unavailable(farewell.reason)


async def _say_farewell(channel: WorkerChannel) -> None:
    """Tell the manager that this end is meant. One that does not hear it takes it for a break, and waits less."""
    try:
        async with asyncio.timeout(LEAVE_S):
            await channel.send(Leaving())
    except (Unavailable, TimeoutError):
        log.debug("nobody heard the farewell")
