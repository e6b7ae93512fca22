"""Asks a manager at a steady pace, whether or not it answers, and says how long each answer took. A process of its own:

    python -m bench.pace HOST PORT TOKEN_FILE PER_SECOND SECONDS

Unlike `load`, which asks again as soon as it was answered: a latency counts from the moment at which the request was
due, so a manager that stalls pays for all that would have been asked meanwhile. `Request`s come as a JSON list on
standard input and take turns.
"""

import asyncio
import sys
import time
from pathlib import Path

import msgspec

CONNECTIONS = 16


class Request(msgspec.Struct, frozen=True):
    """One kind of request; `{n}` in the body becomes a number that is never the same."""

    name: str
    method: str
    path: str
    body: str = ""


class Paced(msgspec.Struct, frozen=True):
    """What came of it."""

    latencies_s: dict[str, list[float]]
    """By the name of the request."""
    failures: dict[str, int]
    """Answers that were no success, by their first line."""


class _Connection(asyncio.Protocol):
    """One request at a time; `answered` gets the first line of the answer once all of it is there."""

    def __init__(self) -> None:
        self.done: asyncio.Future[str] | None = None
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, request: bytes) -> str:
        assert self._transport is not None
        self.done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self.done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        _, said, length = head.lower().partition(b"content-length:")
        if len(body) >= (int(length.split(b"\r\n")[0]) if said else 0):
            self._data = b""
            self._settle(head.split(b"\r\n")[0].decode())

    def connection_lost(self, error: Exception | None) -> None:
        self._settle("the connection ended")

    def _settle(self, line: str) -> None:
        if self.done is not None and not self.done.done():
            self.done.set_result(line)


async def pace(host: str, port: int, token: str, per_s: float, seconds: float, requests: list[Request]) -> Paced:
    """For so many seconds."""
    loop = asyncio.get_running_loop()
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait((await loop.create_connection(_Connection, host, port))[1])
    latencies: dict[str, list[float]] = {request.name: [] for request in requests}
    failures: dict[str, int] = {}

    async def one(number: int, due: float) -> None:
        request = requests[number % len(requests)]
        connection = await free.get()
        line = await connection.ask(_written(request, number, f"{host}:{port}", token))
        latencies[request.name].append(time.monotonic() - due)
        if " 2" not in line[:10]:
            failures[line] = failures.get(line, 0) + 1
        free.put_nowait(connection)

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(per_s * seconds)):
            due = began + number / per_s
            await asyncio.sleep(max(due - time.monotonic(), 0))
            group.create_task(one(number, due))
    while not free.empty():
        free.get_nowait().close()
    return Paced(latencies, failures)


def _written(request: Request, number: int, host: str, token: str) -> bytes:
    body = request.body.replace("{n}", str(number))
    head = f"{request.method} {request.path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n{body}".encode()


def main() -> None:
    host, port, token_file, per_s, seconds = sys.argv[1:]
    requests = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Request])
    token = Path(token_file).read_text().strip()
    paced = asyncio.run(pace(host, int(port), token, float(per_s), float(seconds), requests))
    sys.stdout.buffer.write(msgspec.json.encode(paced))


if __name__ == "__main__":
    main()
