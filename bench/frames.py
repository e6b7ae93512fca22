"""A client's end of a WebSocket, as little of it as a thousand of them in one process can afford.

Knows RFC 6455 as far as a session needs it: the upgrade, whole text frames, close and ping. Must not know what is said.
The masking key is zero, which the other end takes like any other, so that no byte is touched twice here: what is to be
measured is the manager, and both share two cores.
"""

import asyncio
import base64
import os
from collections.abc import Callable

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_FINAL, _MASKED = 0x80, 0x80
_SHORT, _SIXTEEN, _SIXTY_FOUR = 125, 126, 127


def framed(payload: bytes, opcode: int = _TEXT) -> bytes:
    """One whole message of a client."""
    length = len(payload)
    if length <= _SHORT:
        head = bytes((_FINAL | opcode, _MASKED | length))
    elif length < 1 << 16:
        head = bytes((_FINAL | opcode, _MASKED | _SIXTEEN)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, _MASKED | _SIXTY_FOUR)) + length.to_bytes(8, "big")
    return head + bytes(4) + payload


def unframed(data: bytes, at: int) -> tuple[int, bytes, int] | None:
    """Opcode and payload of the server's frame that begins there, and where the next one does; None if more of it is
    to come. Raises ValueError if it is no frame that a session has."""
    if len(data) < at + 2:
        return None
    first, length = data[at], data[at + 1]
    if not first & _FINAL or length & _MASKED:
        raise ValueError("a server's frame that is masked, or a part of a message")
    begin = at + 2
    if length >= _SIXTEEN:
        more = 2 if length == _SIXTEEN else 8
        if len(data) < begin + more:
            return None
        length = int.from_bytes(data[begin : begin + more], "big")
        begin += more
    end = begin + length
    return (first & 0x0F, data[begin:end], end) if len(data) >= end else None


def upgrade(host: str, port: int, path: str, secret: str) -> bytes:
    """The request that asks for a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {secret}",
    )
    return "\r\n".join((*lines, "", "")).encode()


class Socket(asyncio.Protocol):
    """One connection. `opened` is called once it is a WebSocket, `heard` with each message, `ended` once, with why."""

    __slots__ = ("_ask", "_ended", "_heard", "_is_open", "_opened", "_rest", "_transport")

    def __init__(
        self, ask: bytes, opened: Callable[[], None], heard: Callable[[bytes], None], ended: Callable[[str], None]
    ) -> None:
        self._ask = ask
        self._opened = opened
        self._heard = heard
        self._ended: Callable[[str], None] | None = ended
        self._is_open = False
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def send(self, frame: bytes) -> None:
        """A frame that `framed` has made; nothing is sent on a connection that ended."""
        if self._transport is not None and self._ended is not None:
            self._transport.write(frame)

    def abort(self) -> None:
        """Break the connection, as a machine that dies would."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._ask)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at = 0
        if not self._is_open:
            head, found, _ = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = data
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._end(head.splitlines()[0].decode(errors="replace"))
                return
            self._is_open = True
            at = len(head) + 4
            self._opened()
        while (frame := unframed(data, at)) is not None:
            opcode, payload, at = frame
            if opcode == _TEXT:
                self._heard(payload)
            elif opcode == _PING:
                self.send(framed(payload, _PONG))
            elif opcode == _CLOSE:
                self._end(f"closed: {payload[2:].decode(errors='replace')}")
                return
        self._rest = data[at:]

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection broke: {error or 'without a word'}")

    def _end(self, why: str) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            self.abort()
            ended(why)
