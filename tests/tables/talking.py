"""A manager of few words, for tests of the client: it says what a test wrote down, and keeps what it hears.

Each connection has its own script. After its last answer a connection is closed without a word of warning, as a
manager's are when it stops.
"""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from longshore.model.objects import Task

HANG_UP = b""
"""Instead of an answer: read the request, then close."""


class Heard(msgspec.Struct, frozen=True):
    """A request."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Talking:
    """Where it is, and what it heard."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[Heard] = []
        self.connections = 0


def task(id: str, **fields: Any) -> Task:
    """A task by its id, as a manager would tell of it."""
    service, slot, generation = id.rsplit(".", 2)
    return Task(id=id, service=service, slot=int(slot), generation=int(generation), release=1, **fields)


def answer(body: object = None, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole answer in JSON."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def refusal(status: int, detail: str, field: str | None = None) -> bytes:
    problem = {"title": "No", "status": status, "detail": detail, "field": field}
    return answer(problem, status, {"X-Kind": "problem"})


def stream(*pieces: bytes, ended: bool = False) -> bytes:
    """An answer in chunks; cut off behind the last one unless `ended`."""
    head = b"HTTP/1.1 200 Said\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + chunks + (b"0\r\n\r\n" if ended else b"")


@contextmanager
def talking(*scripts: Sequence[bytes]) -> Iterator[Talking]:
    """A manager whose first connection follows the first script, and so on; further ones are closed at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        manager = Talking(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread = threading.Thread(target=_serve, args=(server, manager, list(scripts)))
        thread.start()
        try:
            yield manager
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(server: socket.socket, manager: Talking, scripts: list[Sequence[bytes]]) -> None:
    threads = []
    with suppress(OSError):
        while True:
            connection, _ = server.accept()
            manager.connections += 1
            script = scripts.pop(0) if scripts else ()
            threads.append(threading.Thread(target=_follow, args=(connection, manager, script)))
            threads[-1].start()
    for thread in threads:
        thread.join()


def _follow(connection: socket.socket, manager: Talking, script: Sequence[bytes]) -> None:
    with connection, suppress(OSError):
        for said in script:
            heard = _hear(connection)
            if heard is None:
                return
            manager.heard.append(heard)
            connection.sendall(said)


def _hear(connection: socket.socket) -> Heard | None:
    """The next request; None if the client hung up."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            return None
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    while len(body) < int(headers.get("Content-Length", 0)):
        body += connection.recv(65536)
    method, target, _ = first.split(" ")
    return Heard(method, target, headers, body)
