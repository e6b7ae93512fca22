"""What the driver of HAProxy promises, with a real one: it serves what it is told, and nothing that changes costs a
request."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from longshore.agent.entry import CONFIG, PID, Entry
from longshore.model.messages import Entries, Listener, Server
from longshore.model.spec import Ingress
from tests.clusters import free_port

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is not installed: apt-get install haproxy"
)

HOST = "127.0.0.1"
WITHIN_S = 10.0


class App:
    """A server that tells its name and what it was asked; `/slow` waits for `go`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.go = asyncio.Event()
        self.asked = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                if head.startswith(b"GET /slow"):
                    await self.go.wait()
                body = self.name.encode() + b"\n" + head
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
                if b"\r\nconnection: close" in head.lower():
                    break
        writer.close()

    async def end(self) -> None:
        self.go.set()
        for writer in self._writers:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def server(self, *, leaving: bool = False) -> Server:
        return Server(task=f"{self.name}.1.1", address=HOST, port=self.port, leaving=leaving)


@asynccontextmanager
async def apps(*names: str) -> AsyncIterator[list[App]]:
    made = [App(name) for name in names]
    servers = [await asyncio.start_server(app.answer, HOST, 0) for app in made]
    for app, server in zip(made, servers, strict=True):
        app.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        for app, server in zip(made, servers, strict=True):
            server.close()
            await app.end()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Entry]:
    """An entry whose worker lives in this block; HAProxy goes on behind it."""
    entry = Entry(folder)
    task = asyncio.create_task(entry.run())
    try:
        yield entry
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    """A path as long as data folders get, and no HAProxy in it in the end."""
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    yield deep
    with suppress(OSError, ValueError):
        os.kill(int((deep / PID).read_text()), signal.SIGKILL)


async def ask(port: int, path: str = "/") -> list[str]:
    """The lines of the answer's body; ConnectionError or ValueError if there is none."""
    async with asyncio.timeout(WITHIN_S):
        return await _ask(port, path)


async def _ask(port: int, path: str) -> list[str]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(head.partition(b"\r\n")[0].decode())
        return body.decode().splitlines()
    finally:
        writer.close()


async def comes_to(look: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not look():  # noqa: ASYNC110  (another process changes what is looked at)
            await asyncio.sleep(0.01)


async def served_by(port: int, *names: str) -> None:
    """Wait until these, and no others, answer there."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            with suppress(OSError, ValueError):
                if {(await ask(port))[0] for _ in range(6)} == set(names):
                    return
            await asyncio.sleep(0.02)


def listener(port: int, *servers: Server, mode: Ingress = Ingress.HTTP) -> Listener:
    return Listener(port=port, service="web", mode=mode, servers=servers)


def told(*put: Listener, full: bool = False, removed: tuple[int, ...] = ()) -> Entries:
    return Entries(revision=1, full=full, put=put, removed=removed)


async def test_it_serves_what_it_is_told(folder: Path) -> None:
    port = free_port()
    async with apps("a", "b") as (a, b), running(folder) as entry:
        entry.tell(told(listener(port, a.server()), full=True))
        await served_by(port, "a")
        assert f"x-forwarded-for: {HOST}" in await ask(port)
        entry.tell(told(listener(port, a.server(), b.server())))
        await served_by(port, "a", "b")
        entry.tell(told(listener(port, b.server())))
        await served_by(port, "b")
        await comes_to(lambda: f"{b.port}\n" in (folder / CONFIG).read_text())
        assert f":{a.port}" not in (folder / CONFIG).read_text()
        entry.tell(told(full=True))
        await comes_to(lambda: not (folder / CONFIG).exists())
        with pytest.raises((OSError, ValueError)):
            await ask(port)


async def test_what_leaves_finishes_what_it_has(folder: Path) -> None:
    port = free_port()
    async with apps("a", "b") as (a, b), running(folder) as entry:
        entry.tell(told(listener(port, a.server()), full=True))
        await served_by(port, "a")
        before = a.asked
        slow = asyncio.create_task(ask(port, "/slow"))
        await comes_to(lambda: a.asked > before)
        entry.tell(told(listener(port, a.server(leaving=True), b.server())))
        await served_by(port, "b")
        entry.tell(told(listener(port, b.server())))  # stopped by now, as far as the manager knows
        await served_by(port, "b")
        assert not slow.done()
        a.go.set()
        assert (await slow)[0] == "a"


async def test_what_is_lost_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is gone closes no connection, so whoever asked it would wait for as long as it pleases."""
    monkeypatch.setattr("longshore.agent.entry.LOST_S", 0.1)
    monkeypatch.setattr("longshore.agent.entry.LEFTOVERS_S", 0.1)
    port = free_port()
    async with apps("a", "b") as (a, b), running(folder) as entry:
        entry.tell(told(listener(port, a.server()), full=True))
        await served_by(port, "a")
        before = a.asked
        slow = asyncio.create_task(ask(port, "/slow"))
        await comes_to(lambda: a.asked > before)
        gone = replace(a.server(), lost=True)
        entry.tell(told(listener(port, gone, b.server())))
        await served_by(port, "b")
        with pytest.raises((OSError, ValueError)):
            await slow


async def test_a_reload_cuts_nothing(folder: Path) -> None:
    port, other = free_port(), free_port()
    async with apps("a", "b") as (a, b), running(folder) as entry:
        entry.tell(told(listener(port, a.server()), full=True))
        await served_by(port, "a")
        before = a.asked
        slow = asyncio.create_task(ask(port, "/slow"))
        await comes_to(lambda: a.asked > before)
        entry.tell(told(listener(other, b.server(), mode=Ingress.TCP)))
        await served_by(other, "b")
        await served_by(port, "a")
        a.go.set()
        assert (await slow)[0] == "a"
        entry.tell(told(removed=(other,)))
        await comes_to(lambda: f":{other}" not in (folder / CONFIG).read_text())
        await served_by(port, "a")


async def test_a_port_that_another_has_is_had_once_it_is_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longshore.agent.entry.TRY_AGAIN_S", 0.1)
    port = free_port()
    async with apps("a", "other") as (a, other), running(folder) as entry:
        entry.tell(told(listener(other.port, a.server()), listener(port, a.server()), full=True))
        await served_by(port, "a")
        assert (await ask(other.port))[0] == "other"
        await served_by(port, "a")
        entry.tell(told(removed=(other.port,)))
        await served_by(port, "a")


@pytest.mark.skipif(
    os.geteuid() != 0
    or shutil.which("setpriv") is None
    or int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) < 1024,
    reason="takes the right to low ports from HAProxy: needs root, setpriv, and low ports that take a right",
)
async def test_where_haproxy_may_not_listen_the_others_are_served(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bin").mkdir()
    bounded = folder / "bin" / "haproxy"
    bounded.write_text(f'#!/bin/sh\nexec setpriv --bounding-set=-net_bind_service {shutil.which("haproxy")} "$@"\n')
    bounded.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bounded.parent}:{os.environ['PATH']}")
    first, second, privileged = free_port(), free_port(), free_port(range(600, 1000))
    async with apps("a", "b") as (a, b), running(folder) as entry:
        entry.tell(told(listener(first, a.server()), listener(privileged, a.server()), full=True))
        await served_by(first, "a")
        entry.tell(told(listener(first, b.server())))
        await served_by(first, "b")
        assert "cannot bind" in entry._refused[privileged]
        entry.tell(told(removed=(privileged,)))
        await comes_to(lambda: not entry._declined)
        pid = entry.pid
        entry.tell(told(listener(privileged, a.server()), listener(second, a.server())))  # now by a reload
        await comes_to(lambda: entry._declined)
        await served_by(second, "a")
        entry.tell(told(listener(first, a.server())))
        await served_by(first, "a")
        assert "cannot bind" in entry._refused[privileged]
        assert entry.pid == pid


async def test_a_port_that_comes_to_another_address(folder: Path) -> None:
    port = free_port()
    async with apps("a") as (a,), running(folder) as entry:
        entry.tell(told(listener(port, a.server()), full=True))
        await served_by(port, "a")
        pid = entry.pid
        for ip, everywhere in (("0.0.0.0", True), (HOST, False)):  # noqa: S104
            entry.tell(told(replace(listener(port, a.server()), ip=ip)))
            await comes_to(lambda everywhere=everywhere: listens("127.0.0.2", port) is everywhere)  # type: ignore[misc]
            assert {(await ask(port))[0] for _ in range(20)} == {"a"}
            assert entry.pid == pid


def listens(ip: str, port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((ip, port)) == 0


async def test_a_refused_connection_is_tried_elsewhere(folder: Path) -> None:
    port = free_port()
    nobody = Server(task="gone.1.1", address=HOST, port=free_port())
    async with apps("a") as (a,), running(folder) as entry:
        entry.tell(told(listener(port, nobody, a.server()), full=True))
        await comes_to(lambda: entry.pid)
        await served_by(port, "a")
        assert {(await ask(port))[0] for _ in range(20)} == {"a"}


async def test_the_next_worker_finds_it(folder: Path) -> None:
    port = free_port()
    async with apps("a", "b") as (a, b):
        async with running(folder) as entry:
            entry.tell(told(listener(port, a.server()), full=True))
            await served_by(port, "a")
            pid = entry.pid
        await served_by(port, "a")
        async with running(folder) as entry:
            await comes_to(lambda: entry.pid)
            assert entry.pid == pid
            await served_by(port, "a")  # no manager has said anything yet
            entry.tell(told(listener(port, b.server()), full=True))
            await served_by(port, "b")
            assert entry.pid == pid


@pytest.mark.parametrize("told_again", [True, False], ids=["with a manager", "without a manager"])
async def test_one_that_died_is_started_again(folder: Path, told_again: bool) -> None:
    port = free_port()
    async with apps("a") as (a,):
        async with running(folder) as entry:
            entry.tell(told(listener(port, a.server()), full=True))
            await served_by(port, "a")
            pid = entry.pid
            if told_again:
                os.kill(pid, signal.SIGKILL)
                await comes_to(lambda: entry.pid not in (0, pid))
                await served_by(port, "a")
                return
        os.kill(pid, signal.SIGKILL)
        async with running(folder) as entry:
            await comes_to(lambda: entry.pid not in (0, pid))
            await served_by(port, "a")


async def test_without_haproxy_it_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    async with running(folder) as entry:
        entry.tell(told(listener(free_port()), full=True))
        said = ""

        def look() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "apt-get install haproxy" in said

        await comes_to(look)
