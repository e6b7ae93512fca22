"""What a manager's end of a session does for one worker among many, on channels within this program."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from longshore.channel import pipe
from longshore.control.sessions import WRITES_MAX, Sessions
from longshore.decide.nodes import forgotten
from longshore.model.changes import Change, deleted
from longshore.model.errors import Unavailable
from longshore.model.lifecycle import Owner
from longshore.model.messages import Assignment, Description, Farewell, Hello, Welcome
from longshore.model.objects import Capacity, Cluster, EngineFacts, Kind, NodeStatus, Object, Role, Task, Token
from longshore.model.reasons import Reason
from longshore.ports import ManagerChannel, WorkerChannel
from longshore.simulate.clockwork import VirtualClock, run_in_virtual_time
from longshore.simulate.unruly import CALM, StoreTroubles, UnrulyStore
from longshore.store.memory import MemoryStore
from tests import situations

SERVICE = situations.service("web", replicas=3)
TOKEN = Token(id="node-n1", role=Role.NODE, sha256="0" * 64, node="n1", created_at=1.0)


class SlowToClose:
    """A manager's end whose other end is stuck or gone, which costs whoever closes it that time."""

    def __init__(self, channel: ManagerChannel) -> None:
        self.send, self.receive, self._close = channel.send, channel.receive, channel.close

    async def close(self) -> None:
        await asyncio.sleep(2.0)
        await self._close()


class Yard:
    """A manager's sessions, and a worker's end of one."""

    def __init__(self, store: UnrulyStore, sessions: Sessions, group: asyncio.TaskGroup) -> None:
        self.store = store
        self.worker: WorkerChannel
        self.sessions = sessions
        self._group = group
        self.serving: list[asyncio.Task[bool]] = []

    async def dial(self, around: Callable[[ManagerChannel], ManagerChannel] = lambda channel: channel) -> WorkerChannel:
        """A worker's end of a session of n1 whose hello is sent."""
        manager, worker = pipe()
        self.serving.append(self._group.create_task(self.sessions.serve(around(manager), TOKEN)))
        hello = Hello(node="n1", version="1", address="::1", capacity=Capacity(), engine=EngineFacts(id="e"))
        await worker.send(hello)
        return worker

    async def put(self, *tasks: Task) -> None:
        await self.store.commit([self._change(task) for task in tasks])

    async def remove(self, *ids: str) -> None:
        world = self.store.read()
        changes = []
        for id in ids:
            task = world.task(id)
            assert task is not None
            changes.append(deleted(Kind.TASK, id, task.revision, Owner.SERVICES, Reason.CONTAINER_REMOVED))
        await self.store.commit(changes)

    async def declare_down(self) -> None:
        node = self.store.read().nodes["n1"]
        down = replace(node, status=NodeStatus.DOWN)
        change = Change(
            kind=Kind.NODE, id="n1", before=node.revision, after=down, by=Owner.NODES, reason=Reason.NODE_SILENT
        )
        await self.store.commit([change])

    def _change(self, task: Task) -> Change:
        before = self.store.read().task(task.id)
        revision = before.revision if before is not None else 0
        return Change(kind=Kind.TASK, id=task.id, before=revision, after=task, by=Owner.SERVICES, reason=Reason.CREATED)

    async def told(self) -> Assignment:
        message = await self.worker.receive()
        assert isinstance(message, Assignment)
        return message


def in_a_yard(main: Callable[[Yard], Awaitable[None]]) -> None:
    async def run() -> None:
        clock = VirtualClock()
        store = UnrulyStore(MemoryStore(clock), random.Random(1), CALM)
        records: list[tuple[Kind, str, Object]] = [
            (Kind.CLUSTER, "c", Cluster(id="c", created_at=1.0)),
            (Kind.TOKEN, TOKEN.id, TOKEN),
            (Kind.SERVICE, "web", SERVICE),
            *((Kind.RELEASE, one.id, one) for one in situations.releases(SERVICE)),
        ]
        await store.commit(
            [
                Change(kind=kind, id=id, before=0, after=one, by=Owner.USER, reason=Reason.CREATED)
                for kind, id, one in records
            ]
        )
        sessions = Sessions(store, clock, heartbeat_timeout_s=5.0, wake_node=lambda node: None)
        async with asyncio.TaskGroup() as group:
            following = group.create_task(sessions.run())
            yard = Yard(store, sessions, group)
            yard.worker = await yard.dial()
            assert isinstance(await yard.worker.receive(), Welcome)
            assert (await yard.told()).full
            await main(yard)
            for task in (following, *yard.serving):
                task.cancel()

    run_in_virtual_time(run())


def test_a_worker_is_told_of_a_task_that_was_deleted() -> None:
    async def main(yard: Yard) -> None:
        await yard.put(*(replace(situations.task(slot), node="n1", revision=0) for slot in (1, 2)))
        assert [one.task.id for one in (await yard.told()).put] == ["web.1.1", "web.2.1"]
        await yard.remove("web.1.1")
        assert (await yard.told()).removed == ("web.1.1",)

    in_a_yard(main)


def test_a_worker_is_told_of_a_task_that_came_and_went_in_a_moment() -> None:
    """Whatever it was told meanwhile, in the end it holds nothing."""

    async def main(yard: Yard) -> None:
        held: set[str] = set()

        async def listen() -> None:
            while True:
                message = await yard.told()
                held.update(one.task.id for one in message.put)
                held.difference_update(message.removed)

        listening = asyncio.create_task(listen())
        for generation in range(1, 40):
            task = replace(situations.task(3), id=f"web.3.{generation}", generation=generation, node="n1", revision=0)
            await yard.put(task)
            await yard.remove(task.id)
        await asyncio.sleep(1)
        assert held == set()
        listening.cancel()

    in_a_yard(main)


def test_a_worker_that_says_more_than_can_be_written_down_is_cut_off() -> None:
    async def main(yard: Yard) -> None:
        yard.store.troubles = StoreTroubles(land_s=(600.0, 600.0))
        for number in range(WRITES_MAX + 2):
            await yard.worker.send(Description(capacity=Capacity(cpu=1.0 + number), engine=EngineFacts(id="e")))
        with pytest.raises(Unavailable):
            await yard.worker.receive()

    in_a_yard(main)


def test_a_hello_that_the_store_held_up_does_not_end_the_session_after_it() -> None:
    async def main(yard: Yard) -> None:
        await yard.worker.close()
        await yard.declare_down()
        yard.store.troubles = StoreTroubles(land_s=(5.0, 5.0))
        late = await yard.dial()
        await asyncio.sleep(1)
        yard.store.troubles = CALM
        yard.worker = await yard.dial()
        assert isinstance(await yard.worker.receive(), Welcome)
        assert (await yard.told()).full
        answer = await late.receive()
        assert isinstance(answer, Farewell)
        assert not answer.final
        await yard.put(replace(situations.task(1), node="n1", revision=0))
        assert [one.task.id for one in (await yard.told()).put] == ["web.1.1"]

    in_a_yard(main)


def test_a_session_that_ends_while_the_one_before_it_is_closed_is_over() -> None:
    async def main(yard: Yard) -> None:
        stuck = await yard.dial(SlowToClose)
        assert isinstance(await stuck.receive(), Welcome)
        await yard.dial()
        await asyncio.sleep(1)
        assert not yard.sessions.liveness.closed("n1")
        yard.serving[-1].cancel()  # its connection is lost, too
        await asyncio.sleep(5)
        assert yard.sessions.connected() == 0
        assert yard.sessions.liveness.closed("n1")

    in_a_yard(main)


def test_a_worker_whose_node_is_removed_while_it_says_hello_is_sent_away() -> None:
    async def main(yard: Yard) -> None:
        await yard.worker.close()
        await yard.declare_down()
        world = yard.store.read()
        yard.store.troubles = StoreTroubles(land_s=(1.0, 1.0), lost_before=0.0, lost_after=0.0)
        removing = asyncio.create_task(yard.store.commit(forgotten(world, world.nodes["n1"], Owner.NODES)))
        await asyncio.sleep(0.5)
        late = await yard.dial()
        await removing
        answer = await late.receive()
        assert isinstance(answer, Farewell)
        assert answer.final
        assert "n1" not in yard.store.read().nodes
        assert await yard.serving[-1] is False

    in_a_yard(main)
