"""Events and watches: in order, without gaps, taken up again, and what becomes of readers that do not read."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from longshore.api.streams import Streams
from longshore.main.clock import MachineClock
from longshore.model.lifecycle import State
from longshore.model.objects import Kind, Object, ReleasePhase, Task
from longshore.model.views import EventView, Problem, ServiceView
from longshore.store.memory import MemoryStore
from tests import situations
from tests.contracts.serving import Manager, put, remove, serving
from tests.contracts.sse import Frame, reading

WEB = situations.service("web", replicas=3)
RECORDS: tuple[Object, ...] = (
    WEB,
    *situations.releases(WEB),
    *(situations.task(slot, state=State.NEW) for slot in (1, 2, 3)),
)


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    async with serving(tmp_path, *RECORDS) as running:
        yield running


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
        first = await asyncio.wait_for(anext(stream.blocks), 5)
    await _change(manager, 2)
    async with reading(manager, "/v1/events?watch=true", {"Last-Event-ID": first["id"]}) as stream:
        assert [view.name for view in _events(await stream.take(1))] == ["web.2.1"]


async def test_events_are_filtered_and_their_reader_does_not_fall_behind_for_it(tmp_path: Path) -> None:
    async with serving(tmp_path, *RECORDS, streams=Streams(keep_alive_s=0.1)) as manager:
        path = "/v1/events?watch=true&kind=task&name=web.3.1&service=web"
        async with reading(manager, path) as stream:
            revision = await _change(manager, 1)
            async with asyncio.timeout(5):
                while (block := await anext(stream.blocks)).get("id") != str(revision):
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
        tail = b""
        with suppress(ConnectionResetError):
            async with asyncio.timeout(5):
                while piece := await loop.sock_recv(silent, 1024 * 1024):
                    tail = piece
        assert not tail.endswith(b"0\r\n\r\n"), "it was ended, which waits for a reader, and not cut"
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
        other = situations.releases(situations.service("db"))
        await put(manager.store, situations.task(1, 2, State.NEW), *other, situations.task(1, of="db", state=State.NEW))
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


async def test_a_service_is_shown_again_when_its_release_changes(manager: Manager) -> None:
    """Which may be all that changes: a pause, or the end of the time that a release is watched for."""
    async with reading(manager, "/v1/services?watch=true") as stream:
        await stream.take(2)
        release = manager.store.read().release("web", 1)
        assert release is not None
        await put(manager.store, replace(release, phase=ReleasePhase.PAUSED))
        (frame,) = await stream.take(1)
        assert msgspec.json.decode(frame["data"], type=ServiceView).status.rollout is ReleasePhase.PAUSED


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
