"""Sessions and the logs that travel on them, and how everything that goes on ends when a manager stops."""

import asyncio
import gc
import hashlib
import socket
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession

from longshore.channel import MESSAGE_BYTES_MAX, SESSION_PATH, WebSocketChannel, dial, worker_end
from longshore.model.containers import LogLine
from longshore.model.errors import Denied, Unavailable
from longshore.model.lifecycle import State
from longshore.model.messages import (
    Assignment,
    Down,
    Farewell,
    Hello,
    Leaving,
    LogEnd,
    LogLines,
    LogsUnwanted,
    LogsWanted,
    Up,
    Welcome,
)
from longshore.model.objects import Capacity, EngineFacts, Object
from longshore.model.views import Problem
from tests import situations
from tests.contracts.serving import Manager, assigned, following, put, serving
from tests.contracts.sse import reading

WEB = situations.service("web", replicas=3)
RECORDS: tuple[Object, ...] = (
    WEB,
    *situations.releases(WEB),
    *(situations.task(slot, state=State.NEW) for slot in (1, 2, 3)),
)
OWN = "own-secret-of-n1"
"""What the worker shows once it has joined."""


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    async with serving(tmp_path, *RECORDS) as running:
        yield running


async def test_all_streams_end_at_once_when_the_manager_stops(tmp_path: Path) -> None:
    async with serving(tmp_path, *RECORDS) as manager, ClientSession() as http:
        paths = ["/v1/events?watch=true", "/v1/services?watch=true", "/v1/tasks?watch=true"] * 10
        responses = [await http.get(manager.url + path, headers=manager.bearing("admin")) for path in paths]
        worker = await _join(manager, http)
        stopping = time.monotonic()
        await manager.stop()
        assert time.monotonic() - stopping < 1.0
        with pytest.raises(Unavailable):
            await worker.receive()
        for response in responses:
            assert (await response.read()) is not None  # whole: the stream was ended, not cut


# -- sessions and logs


async def _welcomed(manager: Manager, http: ClientSession, who: str = "join") -> WebSocketChannel[Up, Down]:
    channel = await _greeted(manager, http, who)
    assert isinstance(await channel.receive(), Welcome)
    return channel


async def _greeted(
    manager: Manager, http: ClientSession, who: str = "join", *, address: str = "127.0.0.1"
) -> WebSocketChannel[Up, Down]:
    channel = worker_end(await dial(http, manager.url + SESSION_PATH, secret=manager.secrets[who]))
    await channel.send(
        Hello(
            node="n1",
            version="1",
            token_sha256=hashlib.sha256(OWN.encode()).hexdigest(),
            address=address,
            capacity=Capacity(cpu=1.0),
            engine=EngineFacts(id="e"),
        )
    )
    return channel


async def _join(manager: Manager, http: ClientSession, who: str = "join") -> WebSocketChannel[Up, Down]:
    channel = await _welcomed(manager, http, who)
    assert isinstance(await channel.receive(), Assignment)
    return channel


async def test_an_assignment_that_is_larger_than_any_message_arrives(tmp_path: Path) -> None:
    huge = situations.service("huge", env={f"TEXT_{i}": "x" * 60_000 for i in range(4)})
    tasks = [situations.task(slot, of="huge", state=State.PLACED) for slot in range(1, 71)]
    async with following(tmp_path, huge, *situations.releases(huge), *tasks) as manager, ClientSession() as http:
        worker = await _welcomed(manager, http)
        whole = await assigned(worker)
        assert whole.full
        assert len(msgspec.json.encode(whole)) > MESSAGE_BYTES_MAX
        assert sorted(one.task.slot for one in whole.put) == list(range(1, 71))
        await worker.close()


async def test_a_session_opens_to_workers_tokens(manager: Manager) -> None:
    async with ClientSession() as http:
        worker = await _join(manager, http)
        assert manager.deps.sessions.connected() == 1
        await worker.close()
        for who, known in (("unknown", False), ("expired", False), ("spent", False)):
            with pytest.raises(Denied) as denied:
                await dial(http, manager.url + SESSION_PATH, secret=manager.secrets[who])
            assert denied.value.known is known
        with pytest.raises(Denied):
            await dial(http, manager.url + SESSION_PATH, secret="")


@pytest.mark.parametrize("farewell", [True, False])
async def test_a_connection_that_breaks_leaves_little_time_and_a_farewell_the_whole_timeout(
    manager: Manager, farewell: bool
) -> None:
    liveness = manager.deps.sessions.liveness
    async with ClientSession() as http:
        worker = await _join(manager, http)
        if farewell:
            await worker.send(Leaving())
        await worker.close()
        await _ended(manager)
        assert liveness.closed("n1") is not farewell
        manager.secrets["own"] = OWN
        again = await _join(manager, http, "own")
        assert not liveness.closed("n1")
        newer = await _join(manager, http, "own")
        with pytest.raises(Unavailable):
            await again.receive()
        assert not liveness.closed("n1"), "an older connection that ends is no news"
        await newer.close()


async def _ended(manager: Manager) -> None:
    """The manager has noticed that nobody is there any more."""
    for _ in range(500):
        if not manager.deps.sessions.connected():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the session goes on")


async def test_a_session_without_tokens(tmp_path: Path) -> None:
    async with serving(tmp_path, auth=False) as manager, ClientSession() as http:
        with pytest.raises(Denied):
            await dial(http, manager.url + SESSION_PATH, secret="lsj_wrong")
        manager.secrets["nobody"] = ""
        await (await _join(manager, http, "nobody")).close()


@pytest.mark.parametrize("sent", ['{"type":"hello"}', "nonsense", '{"type":"reboot"}', b"\x00", '{"type":1}'])
async def test_who_makes_no_sense_is_told_and_sent_away(manager: Manager, sent: str | bytes) -> None:
    async with ClientSession() as http:
        connection = await dial(http, manager.url + SESSION_PATH, secret=manager.secrets["join"])
        await (connection.send_bytes(sent) if isinstance(sent, bytes) else connection.send_str(sent))
        worker = worker_end(connection)
        farewell = await asyncio.wait_for(worker.receive(), 5)
        assert isinstance(farewell, Farewell)
        assert farewell.reason
        with pytest.raises(Unavailable):
            await asyncio.wait_for(worker.receive(), 5)
        with pytest.raises(Unavailable):
            await worker.send(Hello(node="n1", version="1", address="", capacity=Capacity(), engine=EngineFacts()))


async def test_a_message_that_is_too_long_ends_the_session(manager: Manager) -> None:
    async with ClientSession() as http:
        worker = await _join(manager, http)
        long = Hello(node="x" * MESSAGE_BYTES_MAX, version="", address="", capacity=Capacity(), engine=EngineFacts())
        with pytest.raises(Unavailable):
            await worker.send(long)
        connection = await dial(http, manager.url + SESSION_PATH, secret=manager.secrets["join"])
        with suppress(OSError):
            await connection.send_str("x" * (MESSAGE_BYTES_MAX + 10))
        other = worker_end(connection)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(other.receive(), 5)
        await other.close()
        await worker.close()


async def _serve_logs(worker: WebSocketChannel[Up, Down], lines: int, *, error: str | None) -> list[Down]:
    """Answer one wish for logs; with `error` None the log never ends."""
    seen: list[Down] = []
    request = None
    while not (isinstance(seen[-1] if seen else None, LogsUnwanted) and request is not None):
        message = await worker.receive()
        seen.append(message)
        if isinstance(message, LogsWanted):
            request = message.request
            for number in range(lines):
                line = LogLine(at=float(number), stream="stdout", text=f"line {number}\nä")
                await worker.send(LogLines(request=message.request, lines=(line,)))
            if error is not None:
                await worker.send(LogEnd(request=message.request, error=error))
                return seen
    return seen


async def test_a_log_is_read_to_its_end(manager: Manager) -> None:
    async with ClientSession() as http, asyncio.TaskGroup() as group:
        worker = await _join(manager, http)
        await put(manager.store, situations.task(5, on="n1"))
        serving_logs = group.create_task(_serve_logs(worker, 3, error=""))
        response, body = await manager.ask("GET", "/v1/tasks/web.5.1/logs?tail=3&since=2026-01-01T00:00:00Z")
        assert (response.status, response.content_type) == (200, "application/x-ndjson")
        lines = [msgspec.json.decode(line, type=LogLine) for line in body.splitlines()]
        assert [line.text for line in lines] == [f"line {number}\nä" for number in range(3)]
        wanted = next(one for one in await serving_logs if isinstance(one, LogsWanted))
        assert (wanted.tail, wanted.follow, wanted.since) == (3, False, 1767225600.0)
        await worker.close()


async def test_a_log_that_breaks_off_says_so(manager: Manager) -> None:
    async with ClientSession() as http, asyncio.TaskGroup() as group:
        worker = await _join(manager, http)
        await put(manager.store, situations.task(5, on="n1"))
        group.create_task(_serve_logs(worker, 1, error="the disk is on fire"))
        _, body = await manager.ask("GET", "/v1/tasks/web.5.1/logs")
        assert [msgspec.json.decode(line) for line in body.splitlines()][1:] == [{"error": "the disk is on fire"}]
        group.create_task(_serve_logs(worker, 0, error="the disk is on fire"))
        problem = await manager.told("GET", "/v1/tasks/web.5.1/logs", Problem, 503)
        assert "on fire" in problem.detail
        problem = await manager.told("GET", "/v1/tasks/web.1.1/logs", Problem, 404)
        await worker.close()


async def test_a_followed_log_that_is_quiet_answers_soon_and_lets_go_of_the_worker(manager: Manager) -> None:
    async with ClientSession() as http, asyncio.TaskGroup() as group:
        worker = await _join(manager, http)
        await put(manager.store, situations.task(5, on="n1"))
        serving_logs = group.create_task(_serve_logs(worker, 0, error=None))
        async with asyncio.timeout(3):
            async with reading(manager, "/v1/tasks/web.5.1/logs?follow=true"):
                pass
            assert isinstance((await serving_logs)[-1], LogsUnwanted)
        await worker.close()


async def test_a_reader_that_does_not_keep_up_is_cut_off_and_lets_go_of_the_worker(manager: Manager) -> None:
    async with ClientSession() as http:
        worker = await _join(manager, http)
        await put(manager.store, situations.task(5, on="n1"))
        async with asyncio.timeout(30), reading(manager, "/v1/tasks/web.5.1/logs?follow=true") as reader:
            wanted = await worker.receive()
            assert isinstance(wanted, LogsWanted)
            line = LogLine(at=1.0, stream="stdout", text="x" * 16_000)
            for _ in range(3_000):
                await worker.send(LogLines(request=wanted.request, lines=(line,)))
            last = (await reader.response.read()).splitlines()[-1]
            assert "keep up" in msgspec.json.decode(last)["error"]
            assert await worker.receive() == LogsUnwanted(request=wanted.request)
        await worker.close()


@pytest.mark.parametrize("address", ["::1%x; shut", "a b", "10.0.0.1\nserver", "fe80::1%eth0", "-x"])
async def test_an_address_that_is_none_opens_no_session(manager: Manager, address: str) -> None:
    async with ClientSession() as http:
        worker = await _greeted(manager, http, address=address)
        farewell = await worker.receive()
        assert isinstance(farewell, Farewell)
        assert farewell.final
        assert "a node's address is" in farewell.reason
        await worker.close()


@pytest.mark.parametrize("broken", [True, False])
async def test_a_session_that_ended_is_gone_without_the_collector(manager: Manager, broken: bool) -> None:
    async with ClientSession() as http:
        worker = await _join(manager, http)
        (session,) = manager.deps.streams.sessions
        left = weakref.ref(session)
        del session
        gc.collect()
        gc.disable()
        try:
            if broken:
                connection = worker._socket.get_extra_info("socket")
                connection.shutdown(socket.SHUT_RDWR)
            else:
                await worker.close()
            await _ended(manager)
            for _ in range(500):
                if left() is None:
                    break
                await asyncio.sleep(0.01)
            assert left() is None, "it is part of a circle"
        finally:
            gc.enable()
        await worker.close()
