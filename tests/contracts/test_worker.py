"""What a worker's end of a session does, on channels within this program."""

import asyncio
import random

import pytest
from aiohttp import web

from longshore.agent.worker import Identity, Worker
from longshore.api.compat.worker import WorkerDeps, make_worker_app
from longshore.channel import pipe
from longshore.control.postings import Postings
from longshore.engine.fake import FakeEngine, FakeMachine, FakeProber
from longshore.main.clock import MachineClock
from longshore.model.containers import Assigned
from longshore.model.messages import Assignment, AssignmentPart, Hello, Welcome
from longshore.model.objects import NodeStats
from longshore.model.spec import ServiceSpec
from longshore.ports import Clock, ManagerChannel
from longshore.simulate.clockwork import VirtualClock, run_in_virtual_time
from tests.engines import DEMO
from tests.situations import task


def held(slot: int) -> Assigned:
    return Assigned(task=task(slot), spec=ServiceSpec(image=DEMO))


def ids(worker: Worker) -> list[str]:
    return [assigned.task.id for assigned, _ in worker.held()]


async def no_figures(container_ids: tuple[str, ...]) -> NodeStats:
    return NodeStats()


def made(machine: FakeMachine, clock: Clock) -> Worker:
    return Worker(
        FakeEngine(machine),
        clock,
        identity=Identity(node="n1", token="secret"),
        address="127.0.0.1",
        labels={},
        starts=asyncio.Semaphore(1),
        remember=lambda identity: None,
        figures=no_figures,
        prober=FakeProber(machine),
    )


async def welcomed(worker: Worker, group: asyncio.TaskGroup) -> tuple[ManagerChannel, "asyncio.Task[None]"]:
    """The manager's end of another session."""
    manager, end = pipe()
    serving = group.create_task(worker.serve(end))
    assert isinstance(await manager.receive(), Hello)
    await manager.send(Welcome(cluster="c", node="n1", heartbeat_s=1.0))
    return manager, serving


def test_a_part_of_an_assignment_is_nothing_before_the_rest_has_come() -> None:
    async def main() -> None:
        clock = VirtualClock()
        worker = made(FakeMachine(random.Random(1), clock), clock)
        async with asyncio.TaskGroup() as group:
            manager, serving = await welcomed(worker, group)
            await manager.send(Assignment(revision=1, full=True, put=(held(1), held(2))))
            await asyncio.sleep(1)
            assert ids(worker) == ["web.1.1", "web.2.1"]
            await manager.send(AssignmentPart(put=(held(3),)))
            await asyncio.sleep(1)
            assert ids(worker) == ["web.1.1", "web.2.1"]
            await manager.send(Assignment(revision=2, full=False, put=(held(4),), removed=("web.1.1",)))
            await asyncio.sleep(1)
            assert ids(worker) == ["web.2.1", "web.3.1", "web.4.1"]
            await manager.send(AssignmentPart(put=(held(5),)))
            await asyncio.sleep(1)
            serving.cancel()
            await asyncio.wait([serving])
            manager, serving = await welcomed(worker, group)
            await manager.send(AssignmentPart(put=(held(6),)))
            await manager.send(Assignment(revision=3, full=True, put=(held(2),)))
            await asyncio.sleep(1)
            assert ids(worker) == ["web.2.1", "web.6.1"], "with its session what was begun is over"
            serving.cancel()

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("token", "body", "status"),
    [
        (b"lsw_right", b"", 200),
        (b"lsw_wrong", b"", 401),
        (b"", b"", 401),
        (b"\xff\xfe", b"", 401),
        ("lsw_ŕight".encode(), b"", 401),
        (b"lsw_right", b"Transfer-Encoding: chunked\r\n\r\nnonsense", 400),
    ],
)
async def test_the_door_of_a_worker(token: bytes, body: bytes, status: int) -> None:
    """Whatever bytes are shown there."""
    clock = MachineClock()
    machine = FakeMachine(random.Random(1), clock)

    async def begin() -> Postings:
        raise AssertionError("nothing is run here")

    worker = made(machine, clock)
    deps = WorkerDeps(worker=worker, engine=FakeEngine(machine), secret="lsw_right", begin=begin, own=lambda: None)
    runner = web.AppRunner(make_worker_app(deps), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        method = b"POST" if body else b"GET"
        writer.write(method + b" /tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + token)
        writer.write(b"\r\n" + (body or b"\r\n"))
        line = await asyncio.wait_for(reader.readline(), 5)
        assert int(line.split()[1]) == status
        writer.close()
    finally:
        await runner.cleanup()
