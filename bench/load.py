"""Asks one address again and again over kept connections, and says how fast the answers came. A process of its own:

    python -m bench.load HOST PORT PATH TOKEN_FILE CONNECTIONS SECONDS

Raw sockets and no HTTP library, so that it takes a fraction of the CPU that the manager needs to answer and does not
measure itself; it prints its own share of a core, which has to stay below 0.8 for the figure to count. Knows just as
much HTTP as the manager speaks: answers with a Content-Length.
"""

import asyncio
import sys
import time
from pathlib import Path

import msgspec

from bench.figure import Trouble

WARM_UP_S = 0.5


class Answers(msgspec.Struct, frozen=True):
    """What came, once warm."""

    latencies_s: list[float]
    took_s: float
    own_cpu: float
    """Share of one core that asking took."""
    bytes_each: int


class _Asker(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last one is whole."""

    def __init__(self, request: bytes, latencies: list[tuple[float, float]], broken: asyncio.Future[None]) -> None:
        self._request = request
        self._latencies = latencies
        self._broken = broken
        self._asked = 0.0
        self._left = -1
        """Bytes of the answer that are still to come; -1 while its head is not whole."""
        self._head = b""
        self.size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = b""
            if not head.startswith(b"HTTP/1.1 200"):
                self._break(f"the manager answered {head.splitlines()[0].decode()}")
                return
            self.size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            self._left = self.size - len(body)
        else:
            self._left -= len(data)
        if self._left == 0:
            now = time.perf_counter()
            self._latencies.append((now, now - self._asked))
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._break("the manager closed a connection")

    def close(self) -> None:
        self._transport.abort()

    def _ask(self) -> None:
        self._left = -1
        self._asked = time.perf_counter()
        self._transport.write(self._request)

    def _break(self, why: str) -> None:
        if not self._broken.done():
            self._broken.set_exception(Trouble(why))


async def ask(host: str, port: int, path: str, token: str, connections: int, seconds: float) -> Answers:
    """For so many seconds after a warm-up."""
    loop = asyncio.get_running_loop()
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    latencies: list[tuple[float, float]] = []
    broken: asyncio.Future[None] = loop.create_future()
    askers = [
        (await loop.create_connection(lambda: _Asker(request, latencies, broken), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(WARM_UP_S)
    began, cpu = time.perf_counter(), time.process_time()
    done, _ = await asyncio.wait([broken], timeout=seconds)
    took_s, own_s = time.perf_counter() - began, time.process_time() - cpu
    if done:
        broken.result()
    broken.cancel()
    for asker in askers:
        asker.close()
    kept = [latency for at, latency in latencies if began <= at <= began + took_s]
    return Answers(kept, took_s, own_s / took_s, askers[0].size)


def main() -> None:
    host, port, path, token_file, connections, seconds = sys.argv[1:]
    token = Path(token_file).read_text().strip()
    answers = asyncio.run(ask(host, int(port), path, token, int(connections), float(seconds)))
    sys.stdout.buffer.write(msgspec.json.encode(answers))


if __name__ == "__main__":
    main()
