"""A worker that does not read, over a real socket: it is cut off and has it all when it comes again, and nobody else
waits for it."""

import asyncio
import hashlib
import socket
import time
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession
from bench.frames import framed, unframed, upgrade
from msgspec.structs import replace

from longshore import channel
from longshore.channel import SESSION_PATH, dial, worker_end
from longshore.model.lifecycle import State
from longshore.model.messages import Assignment, Down, Heartbeat, Hello, Welcome
from longshore.model.objects import Capacity, EngineFacts, NodeStats, Task
from tests import situations
from tests.contracts.serving import Manager, assigned, following, put, serving

_DOWN: msgspec.json.Decoder[Down] = msgspec.json.Decoder(Down)
SECRET = "secret of the worker"
LARGE = situations.service("web", env={"LARGE": "x" * 100_000})
TASKS = 60
UNSENT_BYTES_MAX = 512 * 1024
"""What may wait for a worker, beside one message: after each 256 KiB it is asked whether the other end reads."""
HELLO = Hello(
    node="n1",
    version="1",
    token_sha256=hashlib.sha256(SECRET.encode()).hexdigest(),
    address="127.0.0.1",
    capacity=Capacity(cpu=1.0),
    engine=EngineFacts(id="e"),
)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "SEND_TIMEOUT_S", 0.5)


class DeafWorker:
    """One whose machine takes what fits into its buffers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = b""

    @classmethod
    async def connect(cls, manager: Manager) -> "DeafWorker":
        host, port = manager.url.removeprefix("http://").split(":")
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, (host, int(port)))
        worker = cls(*await asyncio.open_connection(sock=small, limit=1024))
        worker._writer.write(upgrade(host, int(port), SESSION_PATH, manager.secrets["join"]))
        await worker._reader.readuntil(b"\r\n\r\n")
        worker.send(HELLO)
        assert isinstance(await worker.receive(), Welcome)
        assert isinstance(await worker.receive(), Assignment)
        return worker

    def send(self, message: Hello | Heartbeat) -> None:
        self._writer.write(framed(msgspec.json.encode(message)))

    async def receive(self) -> Down:
        while (frame := unframed(self._rest, 0)) is None:
            self._rest += await self._reader.read(1024)
        self._rest = self._rest[frame[2] :]
        return _DOWN.decode(frame[1])

    async def drained(self) -> int:
        """Everything that still comes, until the end; how many bytes that were."""
        count = 0
        try:
            while piece := await self._reader.read(1 << 20):
                count += len(piece)
        except ConnectionResetError:
            return count
        finally:
            self._writer.close()
        return count


def _tasks(node: str, first: int) -> list[Task]:
    return [situations.task(slot, state=State.PLACED, on=node) for slot in range(first, first + TASKS)]


async def _until_gone(manager: Manager, others: int) -> None:
    for _ in range(1000):
        if manager.deps.sessions.connected() <= others:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the session goes on")


async def test_who_does_not_read_its_assignment_is_cut_off_and_has_it_all_when_it_comes_again(tmp_path: Path) -> None:
    async with following(tmp_path, LARGE, *situations.releases(LARGE)) as manager, ClientSession() as http:
        deaf = await DeafWorker.connect(manager)
        other = worker_end(await dial(http, manager.url + SESSION_PATH, secret=manager.secrets["join"]))
        await other.send(replace(HELLO, node="n2", token_sha256=hashlib.sha256(b"n2").hexdigest()))
        assert isinstance(await other.receive(), Welcome)
        assert isinstance(await other.receive(), Assignment)
        began = time.monotonic()
        await put(manager.store, *_tasks("n1", 1))
        await put(manager.store, *_tasks("n2", 1 + TASKS))
        assert len((await assigned(other)).put) == TASKS
        await manager.told("GET", "/v1/nodes/n1", object)
        assert time.monotonic() - began < 0.5, "somebody waited for the one that does not read"
        await _until_gone(manager, 1)
        assert manager.deps.sessions.liveness.closed("n1")
        assert await deaf.drained() < TASKS * 100_000, "all of it was kept for it after all"
        manager.secrets["own"] = SECRET
        again = worker_end(await dial(http, manager.url + SESSION_PATH, secret=SECRET))
        await again.send(HELLO)
        assert isinstance(await again.receive(), Welcome)
        whole = await assigned(again)
        assert whole.full
        assert len(whole.put) == TASKS
        await again.close()
        await other.close()


async def test_who_beats_and_never_reads_the_answers_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path) as manager:
        deaf = await DeafWorker.connect(manager)
        (session,) = manager.deps.streams.sessions
        transport = session._transport
        assert transport is not None
        # Else the machine's buffers take a hundred thousand answers.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        beat, most = Heartbeat(stats=NodeStats()), 0
        async with asyncio.timeout(60):
            while manager.deps.sessions.connected():
                for _ in range(32):
                    deaf.send(beat)
                await asyncio.sleep(0)
                most = max(most, transport.get_write_buffer_size())
        assert 0 < most < UNSENT_BYTES_MAX
        await deaf.drained()
