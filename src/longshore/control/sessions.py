"""The manager's ends of all sessions: who is there, what they shall hold, what they say.

Knows channels and the store; not how a channel came about (a worker dialled, or the manager did, or a simulator made
it). What they tell of a node's life goes to `liveness`; the store learns ready and down.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count

import structlog

from longshore.control.census import Census
from longshore.control.entries import EntryFeed
from longshore.control.joining import admitted, relied_on
from longshore.control.liveness import Liveness
from longshore.control.logs import LogStreams
from longshore.control.records import Records
from longshore.loop.patience import Patience
from longshore.loop.slices import Slices
from longshore.loop.together import together
from longshore.model.changes import Event
from longshore.model.containers import Assigned, LogLine
from longshore.model.errors import Compacted, Conflict, Denied, Invalid, NotFound, Unavailable
from longshore.model.lifecycle import State, Wanted
from longshore.model.messages import (
    Acknowledge,
    Assignment,
    Description,
    Farewell,
    Heartbeat,
    Hello,
    Leaving,
    LogEnd,
    LogLines,
    Reports,
    Up,
    Welcome,
)
from longshore.model.objects import Kind, Node, NodeStats, NodeStatus, Task, Token
from longshore.model.parts import cut
from longshore.model.snapshot import Snapshot
from longshore.ports import Clock, ManagerChannel, Store

log = structlog.get_logger("longshore.sessions")

HELLO_TIMEOUT_S = 10.0
WRITES_MAX = 1000
"""What a worker may have said that is not written down yet. One that waits for answers never comes near."""

_Wish = tuple[float, Wanted, bool]


class _Session:
    """One worker's live connection."""

    def __init__(self, node: str, channel: ManagerChannel) -> None:
        self.node = node
        self.channel = channel
        self.changed = asyncio.Event()
        """Something of its assignment may have changed."""
        self.sent: dict[str, _Wish] = {}
        """What the worker was told of each task, as far as it matters to it."""
        self.logs = LogStreams(channel)
        self.writes: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(WRITES_MAX)
        """What the worker said and is to be written down."""
        self.said_farewell = False
        """Whether its worker stops on purpose, and means to be back."""

    def to_write(self, write: Callable[[], Awaitable[None]]) -> None:
        """Have it written down in its turn. Raises Unavailable if too much waits for that."""
        try:
            self.writes.put_nowait(write)
        except asyncio.QueueFull:
            raise Unavailable(f"the worker said {WRITES_MAX} things that are not written down yet") from None


class Sessions:
    """All sessions of one manager."""

    def __init__(
        self, store: Store, clock: Clock, *, heartbeat_timeout_s: float, wake_node: Callable[[str], None]
    ) -> None:
        self.liveness = Liveness(clock, timeout_s=heartbeat_timeout_s)
        self.census = Census(self.liveness, clock)
        self._store = store
        self._clock = clock
        self._timeout_s = heartbeat_timeout_s
        self._wake_node = wake_node
        self._entries = EntryFeed(store)
        self._held: set[str] = set()
        """Nodes that are silent and kept."""
        self._stats: dict[str, NodeStats] = {}
        self._live: dict[str, _Session] = {}
        self._records = Records(store, clock, self.liveness)
        self._dialled: dict[str, str] = {}
        self.slices = Slices()
        """What sessions do when many of them have something to do: they leave room for whoever asks the API."""
        self._hellos = count(1)
        self._newest: dict[str, int] = {}
        """By node: the number of the last hello of a worker that may be let in."""

    # -- what others ask

    def usage(self, node: str) -> NodeStats | None:
        """The figures of its last heartbeat; None if it has no session."""
        return self._stats.get(node) if node in self._live else None

    def busy(self, node: str) -> float | None:
        """Cores in use on it at its last heartbeat."""
        stats = self.usage(node)
        return stats.cpu_used if stats is not None else None

    def dialled(self, node: str) -> str:
        """`host:port` at which its worker was dialled; empty if it was not."""
        return self._dialled.get(node, "")

    def connected(self) -> int:
        """How many workers have a session."""
        return len(self._live)

    async def logs(self, task: Task, *, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        """A task's log lines, from its worker. Raises NotFound if it has no container, Unavailable if its worker is
        not there or stops answering."""
        if not task.container_id:
            raise NotFound(f"task {task.id} is {task.state} and has no container to read from")
        session = self._live.get(task.node)
        if session is None:
            raise Unavailable(f"node {task.node}, which holds the log of {task.id}, is not connected")
        async for line in session.logs.read(task.container_id, follow=follow, tail=tail, since=since):
            yield line

    # -- assignments follow the store

    async def run(self) -> None:
        """Tell sessions when their tasks change, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.liveness.run(), name="liveness")
            group.create_task(self._follow(), name="assignments")

    async def _follow(self) -> None:
        placed: dict[str, str] = {}
        """Nodes of the tasks that were changed since `before`."""
        while True:
            world = self._store.read()
            self._tell_held({node.name for node in world.nodes.values() if node.held})
            before = world
            for session in self._live.values():
                session.changed.set()
            self._entries.look_again()
            try:
                async for batch in self._store.watch(world.revision):
                    if batch.revision > world.revision:
                        before, world = world, self._store.read()
                        placed.clear()
                    for event in batch.events:
                        self._entries.hear(event)
                        if event.kind is Kind.TASK:
                            self._poke(event.after, event.id, _holder(event, before, placed))
                        elif event.kind is Kind.NODE:
                            self._hear_held(event)
            except Compacted:
                log.warning("fell behind the store; looking at every assignment", revision=world.revision)

    def _hear_held(self, event: Event) -> None:
        is_held = isinstance(event.after, Node) and event.after.held
        if is_held != (event.id in self._held):
            self._tell_held({*self._held, event.id} if is_held else self._held - {event.id})

    def _tell_held(self, held: set[str]) -> None:
        """Say once when evictions are held, and once when they are no more."""
        if held and not self._held:
            log.warning("evictions are held: too many nodes are silent at once", nodes=sorted(held))
        elif self._held and not held:
            log.info("evictions are no longer held")
        self._held = held

    def _poke(self, task: object, task_id: str, node: str) -> None:
        """Have the session of a node look again, if its worker does not know this version of a task."""
        session = self._live.get(node)
        if session is not None and session.sent.get(task_id) != (_wish(task) if isinstance(task, Task) else None):
            session.changed.set()

    def _welcome_back(self, node: str) -> None:
        """A node lives. If most were missed until now, what silenced them is over for the others too, but their words
        do not arrive at one moment: the last of them is not to be given up for that."""
        if self.liveness.was_missed(node) and self.census.held(self._store.read()):
            self.liveness.listen_anew()

    # -- one session

    async def serve(self, channel: ManagerChannel, token: Token | None, *, dialled: str = "") -> bool:
        """One session from Hello to its end. `token` is what the worker came with; None if this manager dialled it,
        at `dialled`. Whether the worker was wanted: False if it is not to try the same again."""
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                hello = await channel.receive()
            if not isinstance(hello, Hello):
                raise Invalid("a session begins with hello")
            await self.slices.place()
            await self._admit(hello, token, dialled)
            self._dialled[hello.node] = dialled
        except (Denied, Invalid) as failure:
            log.warning("worker refused", reason=failure.message)
            await _farewell(channel, failure.message, final=True)
            return False
        except Conflict as failure:
            await _farewell(channel, failure.message, final=False)
            return True
        except (Unavailable, TimeoutError):
            await channel.close()
            return True
        await self._hold(_Session(hello.node, channel))
        return True

    async def _admit(self, hello: Hello, token: Token | None, dialled: str) -> None:
        """Write the node down as ready. Meanwhile the end of an earlier session says nothing of its worker. Raises
        Conflict if its worker has dialled again while the store was slow: nobody waits for this session any more."""
        number = next(self._hellos)
        while True:
            world = self._store.read()
            connected = hello.node in self._live
            lease_s = self.liveness.lease_s
            changes = admitted(
                world,
                hello,
                token,
                now=self._clock.now(),
                connected=connected,
                lease_s=lease_s,
                dialled=dialled,
            )
            self._newest[hello.node] = max(self._newest.get(hello.node, 0), number)
            # Before it is written down as ready: else the nodes controller, woken by that, finds it silent still.
            self._welcome_back(hello.node)
            self.liveness.heard(hello.node)
            landed = not changes
            with suppress(Conflict):
                if changes:
                    with self.liveness.knocking(hello.node):
                        await self._store.commit(changes, relied_on(world, token))
                landed = True
            if self._newest[hello.node] > number:
                raise Conflict(f"the worker of {hello.node} has said hello again since")
            if landed:
                return

    async def _hold(self, session: _Session) -> None:
        node = session.node
        older = self._live.get(node)
        self._live[node] = session
        try:
            if older is not None:
                await older.channel.close()
            self.liveness.heard(node)
            log.info("worker connected", node=node)
            cluster = self._store.read().cluster
            assert cluster is not None
            entry = self._entries.is_entry(node)
            await session.channel.send(
                Welcome(
                    cluster=cluster.id,
                    node=node,
                    heartbeat_s=self.liveness.beat_s,
                    lease_s=self.liveness.lease_s,
                    entry=entry,
                )
            )
            await together(
                listen=self._listen(session),
                write=self._write(session),
                assign=self._assign(session),
                entries=self._entries.tell(node, session.channel),
            )
        except Unavailable as ended:
            log.info("worker disconnected", node=node, reason=ended.message)
        except Denied as ended:
            log.info("worker sent away", node=node, reason=ended.message)
            await _farewell(session.channel, ended.message, final=True)
        finally:
            session.logs.end("the worker's session ended")
            if self._live.get(node) is session:
                del self._live[node]
                if not session.said_farewell:
                    self.liveness.broken(node)
            # First, since to close what is broken may take its time, and that of the node runs.
            self._wake_node(node)
            await session.channel.close()

    async def _assign(self, session: _Session) -> None:
        """Send the whole assignment once, then what changes of it."""
        full = True
        while True:
            session.changed.clear()
            world = self._store.read()
            tasks = world.tasks_of_node(session.node)
            put = [task for id, task in sorted(tasks.items()) if session.sent.get(id) != _wish(task)]
            removed = tuple(sorted(session.sent.keys() - tasks.keys()))
            if full or put or removed:
                assigned = tuple(_assigned(world, task) for task in put)
                message = Assignment(revision=world.revision, full=full, put=assigned, removed=removed)
                # Before it is sent: what changes while it is under way is measured against what it says.
                session.sent = {id: _wish(task) for id, task in tasks.items()}
                full = False
                for part in cut(message):
                    await session.channel.send(part)
            await session.changed.wait()
            await self.slices.place()

    async def _listen(self, session: _Session) -> None:
        try:
            async with Patience(2 * self._timeout_s) as patience:
                while True:
                    message = await session.channel.receive()
                    patience.heard()
                    await self.slices.place()
                    await self._hear(session, message)
        except TimeoutError:
            raise Unavailable("the worker is silent") from None

    async def _hear(self, session: _Session, message: Up) -> None:
        match message:
            case Heartbeat():
                await self._beat(session, message)
            case Reports():
                session.to_write(partial(self._report, session, message))
            case Description():
                session.to_write(partial(self._records.described, session.node, message))
            case LogLines():
                session.logs.lines(message.request, message.lines)
            case LogEnd():
                session.logs.finish(message.request, message.error)
            case Leaving():
                self.liveness.heard(session.node)
                session.said_farewell = True
                log.info("worker says farewell", node=session.node)
            case Hello():
                raise Unavailable("the worker said hello twice")

    async def _beat(self, session: _Session, beat: Heartbeat) -> None:
        self._stats[session.node] = beat.stats
        if not beat.engine_error:
            self._welcome_back(session.node)
            self.liveness.beat(session.node)
        await session.channel.send(Acknowledge(seq=0))
        if beat.engine_error:
            return
        node = self._store.read().nodes.get(session.node)
        if node is None:
            raise Denied(f"node {session.node} was removed from this cluster", known=True)
        if node.status is NodeStatus.DOWN or node.held:
            session.to_write(partial(self._records.returned, session.node, self._clock.now()))
        if node.lease_s > self.liveness.lease_s:
            session.to_write(partial(self._records.lease_shortened, session.node))

    async def _write(self, session: _Session) -> None:
        """Write down what the worker says, in its order. Beside listening: a store that stalls keeps no heartbeat from
        being heard and answered."""
        while True:
            await (await session.writes.get())()

    async def _report(self, session: _Session, reports: Reports) -> None:
        """Make observations durable, then acknowledge them."""
        await self._records.observed(session.node, reports.observations)
        await self.slices.place()
        await session.channel.send(Acknowledge(seq=reports.seq))


def _holder(event: Event, before: Snapshot, placed: dict[str, str]) -> str:
    """The node of the task that an event tells of; empty if it has none. Of one that was deleted the event does not
    say: it was there in the world `before`, or came and went since, and then it is among those `placed`."""
    if isinstance(event.after, Task):
        if event.after.node:
            placed[event.id] = event.after.node
        return event.after.node
    task = before.task(event.id)
    return placed.get(event.id) or (task.node if task is not None else "")


def _wish(task: Task) -> _Wish:
    """What of a task matters to its worker; all else the worker said itself."""
    return (task.created_at, task.wanted, task.state is State.LOST)


def _assigned(world: Snapshot, task: Task) -> Assigned:
    release = world.release(task.service, task.release)
    assert release is not None, f"release of {task.id} is gone"
    return Assigned(task=task, spec=release.spec)


async def _farewell(channel: ManagerChannel, reason: str, *, final: bool) -> None:
    try:
        await channel.send(Farewell(reason=reason, final=final))
    except Unavailable:
        log.debug("the refused worker had gone already")
    await channel.close()
