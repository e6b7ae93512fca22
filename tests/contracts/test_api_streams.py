"""What goes on: events, watches, logs and sessions, how they are taken up again and how they end."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse, ClientSession

from longshore.api.streams import Streams
from longshore.channel import MESSAGE_BYTES_MAX, SESSION_PATH, WebSocketChannel, dial, worker_end
from longshore.main.clock import MachineClock
from longshore.model.containers import LogLine
from longshore.model.errors import Denied, Unavailable
from longshore.model.lifecycle import State
from longshore.model.messages import (
    Assignment,
    Down,
    Farewell,
    Hello,
    LogEnd,
    LogLines,
    LogsUnwanted,
    LogsWanted,
    Up,
    Welcome,
)
from longshore.model.objects import Capacity, EngineFacts, Kind, Object, Task
from longshore.model.views import EventView, Problem, ServiceView
from longshore.store.memory import MemoryStore
from tests import situations
from tests.contracts.serving import Manager, put, remove, serving

WEB = situations.service("web", replicas=3)
RECORDS: tuple[Object, ...] = (
    WEB,
    *situations.releases(WEB),
    *(situations.task(slot, state=State.NEW) for slot in (1, 2, 3)),
)
Frame = dict[str, str]


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    async with serving(tmp_path, *RECORDS) as running:
        yield running


class Reading:
    """A reader of server-sent events."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def blocks(self) -> AsyncIterator[Frame]:
        """Every block, also those that say nothing but an id or a comment (under the name of nothing)."""
        block: Frame = {}
        async for line in self.response.content:
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(":")
                block[name] = value.removeprefix(" ")
            else:
                yield block
                block = {}

    async def take(self, count: int, within_s: float = 5.0) -> list[Frame]:
        """The next events that carry data."""
        found: list[Frame] = []
        async with asyncio.timeout(within_s):
            while len(found) < count:
                block = await anext(self._blocks)
                found += [block] if "data" in block else []
        return found

    async def rest(self, within_s: float = 5.0) -> list[Frame]:
        """All that comes until the stream ends."""
        async with asyncio.timeout(within_s):
            return [block async for block in self._blocks]

    async def __aenter__(self) -> "Reading":
        self._blocks = self.blocks()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.response.close()


@asynccontextmanager
async def reading(
    manager: Manager, path: str, headers: dict[str, str] | None = None, *, status: int = 200
) -> AsyncIterator[Reading]:
    async with manager.http.get(manager.url + path, headers=manager.bearing("admin") | (headers or {})) as response:
        assert response.status == status, await response.read()
        async with Reading(response) as one:
            yield one


def _events(frames: list[Frame]) -> list[EventView]:
    views = [msgspec.json.decode(frame["data"], type=EventView) for frame in frames]
    assert [view.id for view in views] == [frame["id"] for frame in frames]
    return views


async def _change(manager: Manager, *slots: int, message: str = "") -> int:
    tasks = [situations.task(slot, state=State.NEW, message=message) for slot in slots]
    return await put(manager.store, *tasks)


async def _until(true: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait for what shows in no event."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# -- events


async def test_events_begin_now_and_come_in_order(manager: Manager) -> None:
    async with reading(manager, "/v1/events?watch=true") as stream:
        assert stream.response.content_type == "text/event-stream"
        revisions = [await _change(manager, 1, 2), await _change(manager, 3)]
        views = _events(await stream.take(3))
    assert [view.id for view in views] == [f"{revisions[0]}.0", f"{revisions[0]}.1", f"{revisions[1]}.0"]
    assert [view.name for view in views] == ["web.1.1", "web.2.1", "web.3.1"]


async def test_events_go_on_behind_the_last_id_also_within_a_revision(manager: Manager) -> None:
    first, second = await _change(manager, 1, 2, 3), await _change(manager, 1)
    wanted = [f"{first}.1", f"{first}.2", f"{second}.0"]
    for headers, query in (
        ({"Last-Event-ID": f"{first}.0"}, "watch=true"),
        ({}, f"watch=true&after={first}.0"),
        ({"Accept": "text/event-stream"}, f"after={first}.0"),
        ({"Last-Event-ID": f"{first}.0"}, "watch=true&after=1"),
    ):
        async with reading(manager, f"/v1/events?{query}", headers) as stream:
            assert [view.id for view in _events(await stream.take(3))] == wanted
    async with reading(manager, f"/v1/events?watch=true&after={first}") as stream:
        assert [view.id for view in _events(await stream.take(1))] == [f"{second}.0"]


async def test_a_reader_knows_where_it_is_before_the_first_event(manager: Manager) -> None:
    async with reading(manager, "/v1/events?watch=true") as stream:
        first = await asyncio.wait_for(anext(stream._blocks), 5)
    await _change(manager, 2)
    async with reading(manager, "/v1/events?watch=true", {"Last-Event-ID": first["id"]}) as stream:
        assert [view.name for view in _events(await stream.take(1))] == ["web.2.1"]


async def test_events_are_filtered_and_their_reader_does_not_fall_behind_for_it(tmp_path: Path) -> None:
    async with serving(tmp_path, *RECORDS, streams=Streams(keep_alive_s=0.1)) as manager:
        path = "/v1/events?watch=true&kind=task&name=web.3.1&service=web"
        async with reading(manager, path) as stream:
            revision = await _change(manager, 1)
            async with asyncio.timeout(5):
                while (block := await anext(stream._blocks)).get("id") != str(revision):
                    assert "data" not in block
            await _change(manager, 2, 3)
            assert [view.name for view in _events(await stream.take(1))] == ["web.3.1"]


async def test_a_forgotten_mark_is_gone(tmp_path: Path) -> None:
    store = MemoryStore(MachineClock())
    async with serving(tmp_path, *RECORDS, store=store) as manager:
        revisions = [await _change(manager, 1) for _ in range(10)]
        await store.compact(revisions[5])
        old = f"after={revisions[2]}.0"
        for query in (old, f"{old}&watch=true", "after=1&watch=true", "after=99", "after=99&watch=true"):
            assert (await manager.told("GET", f"/v1/events?{query}", Problem, 410)).detail
        async with reading(manager, "/v1/events", {"Accept": "text/event-stream", "Last-Event-ID": "2.0"}, status=410):
            pass
        page = await manager.told("GET", "/v1/events?limit=2", Any)
        assert page["items"][0]["id"] == f"{revisions[5]}.0"
        async with reading(manager, f"/v1/events?watch=true&after={revisions[6]}.0") as stream:
            assert len(_events(await stream.take(3))) == 3
        async with reading(manager, "/v1/events?watch=true", {"Last-Event-ID": "x"}, status=400):
            pass


async def test_a_quiet_stream_gives_signs_of_life_and_ends_when_it_is_old(tmp_path: Path) -> None:
    streams = Streams(keep_alive_s=0.1, lifetime_s=0.5)
    async with serving(tmp_path, *RECORDS, streams=streams) as manager:
        for path in ("/v1/events?watch=true", "/v1/tasks?watch=true"):
            async with reading(manager, path) as stream:
                blocks = await stream.rest()
            assert sum("" in block for block in blocks) >= 3, blocks


async def test_many_events_reach_a_reader_at_once(manager: Manager) -> None:
    async with reading(manager, "/v1/events?watch=true") as stream:
        for _ in range(300):
            await _change(manager, 1, 2, 3)
        views = _events(await stream.take(900))
    marks = [tuple(map(int, view.id.split("."))) for view in views]
    assert marks == sorted(set(marks))


async def test_a_reader_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    streams = Streams(write_timeout_s=0.3)
    async with serving(tmp_path, *RECORDS, streams=streams) as manager:
        host, port = manager.url.removeprefix("http://").split(":")
        silent = socket.socket()
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(silent, (host, int(port)))
        secret = manager.secrets["admin"]
        request = f"GET /v1/events?watch=true HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {secret}\r\n\r\n"
        await loop.sock_sendall(silent, request.encode())
        await _until(lambda: bool(streams.waiting))
        async with reading(manager, "/v1/events?watch=true") as stream:
            async with asyncio.timeout(20):
                while len(streams.waiting) > 1:
                    await _change(manager, 1, 2, 3, message="x" * 100_000)
                    await asyncio.sleep(0)
                    await stream.take(3)  # who reads is not held up by who does not
        silent.close()


async def test_a_reader_that_left_is_forgotten(manager: Manager) -> None:
    async with reading(manager, "/v1/events?watch=true"), reading(manager, "/v1/services?watch=true"):
        await _until(lambda: len(manager.deps.streams.waiting) == 2)
    await _until(lambda: not manager.deps.streams.waiting)


# -- watches


async def test_a_watch_shows_all_then_what_changes(manager: Manager) -> None:
    async with reading(manager, "/v1/tasks?watch=true&service=web") as stream:
        frames = await stream.take(4)
        assert [frame["event"] for frame in frames] == ["item", "item", "item", "ready"]
        assert [msgspec.json.decode(frame["data"], type=Task).slot for frame in frames[:3]] == [1, 2, 3]
        await put(manager.store, situations.task(1, 2, State.NEW), situations.task(1, of="db", state=State.NEW))
        await remove(manager.store, Kind.TASK, "web.3.1")
        frames = await stream.take(2)
    assert [(frame["event"], msgspec.json.decode(frame["data"])["id"]) for frame in frames] == [
        ("item", "web.1.2"),
        ("gone", "web.3.1"),
    ]


async def test_what_no_longer_matches_is_gone(manager: Manager) -> None:
    async with reading(manager, "/v1/tasks?watch=true&state=new&limit=1") as stream:
        assert len(await stream.take(4)) == 4
        await remove(manager.store, Kind.TASK, "web.2.1")
        await put(manager.store, situations.task(2, state=State.PLACED))
        (frame,) = await stream.take(1)
    assert (frame["event"], frame["data"]) == ("gone", '{"id":"web.2.1"}')


async def test_a_service_is_shown_again_when_its_tasks_change(manager: Manager) -> None:
    async with reading(manager, "/v1/services?watch=true") as stream:
        service, ready = await stream.take(2)
        assert (msgspec.json.decode(service["data"], type=ServiceView).status.running, ready["event"]) == (0, "ready")
        began = time.monotonic()
        for number in range(2, 302):
            await put(manager.store, situations.task(1, number, on="n1"))
        status = None
        seen = 0
        while status is None or status.running < 300:
            (frame,) = await stream.take(1)
            status = msgspec.json.decode(frame["data"], type=ServiceView).status
            seen += 1
        assert seen <= 2 + (time.monotonic() - began) / 0.1, "changes are not gathered"


async def test_a_node_is_watched(manager: Manager) -> None:
    await put(manager.store, situations.node("n1"))
    async with reading(manager, "/v1/nodes?watch=true") as stream:
        await stream.take(2)
        await put(manager.store, situations.task(1, 2, on="n1"))
        (frame,) = await stream.take(1)
        assert msgspec.json.decode(frame["data"])["tasks"] == 1
        await remove(manager.store, Kind.NODE, "n1")
        (frame,) = await stream.take(1)
        assert frame == {"event": "gone", "data": '{"id":"n1"}'}


async def test_all_streams_end_at_once_when_the_manager_stops(tmp_path: Path) -> None:
    async with serving(tmp_path, *RECORDS) as manager, ClientSession() as http:
        paths = ["/v1/events?watch=true", "/v1/services?watch=true", "/v1/tasks?watch=true"] * 10
        responses = [await http.get(manager.url + path, headers=manager.bearing("admin")) for path in paths]
        worker = await _join(manager, http)
        manager.store.read()
        stopping = time.monotonic()
        await manager.stop()
        assert time.monotonic() - stopping < 1.0
        with pytest.raises(Unavailable):
            await worker.receive()
        for response in responses:
            assert (await response.read()) is not None  # whole: the stream was ended, not cut


# -- sessions and logs


async def _join(manager: Manager, http: ClientSession, who: str = "join") -> WebSocketChannel[Up, Down]:
    channel = worker_end(await dial(http, manager.url + SESSION_PATH, secret=manager.secrets[who]))
    await channel.send(
        Hello(
            node="n1",
            version="1",
            token_sha256="0" * 64,
            address="127.0.0.1",
            capacity=Capacity(cpu=1.0),
            engine=EngineFacts(id="e"),
        )
    )
    assert isinstance(await channel.receive(), Welcome)
    assert isinstance(await channel.receive(), Assignment)
    return channel


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
