"""One session's connection, as both its ends see it: typed messages over a WebSocket, whoever dialled.

Knows aiohttp's two WebSocket classes, JSON text frames and how to end a connection that does not move; one class
serves as `ports.ManagerChannel` and `ports.WorkerChannel`. Must not know what the messages mean, tokens' records or
reconnecting: a session decides those. Compression is off (the figures are not worth a decompressor that a stranger
can feed), and so are aiohttp's own heartbeats (the session has its own, and two disagree).
"""

import asyncio
import socket as sockets
import ssl
from contextlib import suppress
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSCloseCode, WSMsgType, WSServerHandshakeError
from aiohttp.client_ws import ClientWSTimeout
from aiohttp.web import Request, WebSocketResponse

from longshore.model.errors import Denied, Unavailable
from longshore.model.messages import Down, Farewell, Up

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
SEND_TIMEOUT_S = 10.0
FRAME_BYTES_EASY = 32 * 1024
"""So much a transport that has nothing unsent takes without a wait: it asks for one above 64 KiB."""
DIAL_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
SESSION_PATH = "/v1/session"

_REASON_BYTES_MAX = 123
"""What a close frame has room for."""

Sent = TypeVar("Sent")
Received = TypeVar("Received")
Socket = WebSocketResponse[Any] | ClientWebSocketResponse[Any]

_encoder = msgspec.json.Encoder()
_UP: msgspec.json.Decoder[Up] = msgspec.json.Decoder(Up)
_DOWN: msgspec.json.Decoder[Down] = msgspec.json.Decoder(Down)


class WebSocketChannel(Generic[Sent, Received]):
    """One end of a session. Any number may send; one receives. Whatever ends it, both then raise Unavailable."""

    def __init__(
        self,
        socket: Socket,
        decoder: msgspec.json.Decoder[Received],
        farewell: bool,
        transport: asyncio.WriteTransport | None,
    ) -> None:
        self._socket = socket
        self._transport = transport
        """Below the socket, if it is known: it says whether the other end reads."""
        self._decoder = decoder
        self._farewell = farewell
        """Whether this end may say Farewell: the manager does, also to one who does not make sense."""
        self._over = ""
        """Why the session is over; empty while it is not."""

    async def send(self, message: Sent) -> None:
        if self._over:
            raise Unavailable(self._over)
        frame = _encoder.encode(message)
        if len(frame) > MESSAGE_BYTES_MAX:
            raise Unavailable(f"a message of {len(frame)} bytes is larger than a session carries ({MESSAGE_BYTES_MAX})")
        try:
            below = self._transport
            if below is not None and len(frame) <= FRAME_BYTES_EASY and not below.get_write_buffer_size():
                # Without a timer: those of two thousand answers a second would cost as much as the answers.
                await self._socket.send_frame(frame, WSMsgType.TEXT)
                return
            # Waits only after each of aiohttp's 256 KiB, while the kernel takes no more: a slow reader.
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._socket.send_frame(frame, WSMsgType.TEXT)
        except TimeoutError as error:
            failure = self._ended(f"the other end did not read for {SEND_TIMEOUT_S:.0f} s")
            self._abort()
            raise failure from error
        except (OSError, ClientError, RuntimeError) as error:
            raise self._ended("the connection broke") from error

    async def receive(self) -> Received:
        if self._over:
            raise Unavailable(self._over)
        try:
            frame = await self._socket.receive()
        except (OSError, ClientError, RuntimeError) as error:
            raise self._ended("the connection broke") from error
        if frame.type is WSMsgType.TEXT:
            try:
                return self._decoder.decode(frame.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise await self._turn_away(f"a message made no sense: {error}") from error
        if frame.type is WSMsgType.BINARY:
            raise await self._turn_away("a message was not text")
        raise self._ended(_ending(self._socket, frame.type))

    async def close(self) -> None:
        await self._close(WSCloseCode.OK, "closed")

    async def leave(self) -> None:
        """Close because this program stops; the other end is to come back soon."""
        await self._close(WSCloseCode.GOING_AWAY, "going away")

    def _ended(self, reason: str) -> Unavailable:
        """The session is over for this reason, unless there was one before."""
        self._over = self._over or reason
        return Unavailable(self._over)

    async def _turn_away(self, reason: str) -> Unavailable:
        if self._farewell:
            farewell = _encoder.encode(Farewell(reason=reason))
            with suppress(TimeoutError, OSError, ClientError, RuntimeError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._socket.send_frame(farewell, WSMsgType.TEXT)
        await self._close(WSCloseCode.INVALID_TEXT, reason)
        return Unavailable(self._over)

    async def _close(self, code: WSCloseCode, reason: str) -> None:
        """Say goodbye, but wait only briefly for the answer: the other end may be stuck or gone."""
        self._ended(reason)
        words = reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore").encode()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._socket.close(code=code, message=words)
        except (TimeoutError, OSError, ClientError, RuntimeError):
            self._abort()
        error = self._socket.exception()
        if error is not None:
            # The socket keeps what failed, whose frames have the socket, the session and all else: a circle that only
            # a long look of the collector would open.
            error.__context__ = error.__traceback__ = None

    def _abort(self) -> None:
        """End the connection now. aiohttp's close would first wait for what the other end does not read."""
        connection = self._socket.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(sockets.SHUT_RDWR)


class _Pipe(Generic[Sent, Received]):
    """One end of a session whose ends are in one program: messages are passed as they are, which nobody changes."""

    def __init__(self, received: "asyncio.Queue[Received | None]", sent: "asyncio.Queue[Sent | None]") -> None:
        self._received = received
        self._sent = sent
        self._over = False

    async def send(self, message: Sent) -> None:
        if self._over:
            raise Unavailable("the session is over")
        self._sent.put_nowait(message)

    async def receive(self) -> Received:
        message = None if self._over else await self._received.get()
        if message is None:
            self._over = True
            raise Unavailable("the session is over")
        return message

    async def close(self) -> None:
        self._over = True
        self._received.put_nowait(None)
        self._sent.put_nowait(None)


def pipe() -> tuple[_Pipe[Down, Up], _Pipe[Up, Down]]:
    """The manager's end and the worker's end of a session within this program."""
    up: asyncio.Queue[Up | None] = asyncio.Queue()
    down: asyncio.Queue[Down | None] = asyncio.Queue()
    return _Pipe(up, down), _Pipe(down, up)


def manager_end(socket: Socket, transport: asyncio.WriteTransport | None = None) -> WebSocketChannel[Down, Up]:
    """The manager's end (`ports.ManagerChannel`), whether it answered or dialled."""
    return WebSocketChannel(socket, _UP, farewell=True, transport=transport)


def worker_end(socket: Socket) -> WebSocketChannel[Up, Down]:
    """The worker's end (`ports.WorkerChannel`), whether it answered or dialled."""
    return WebSocketChannel(socket, _DOWN, farewell=False, transport=None)


async def accept(request: Request) -> WebSocketResponse[Any] | None:
    """Answer a dialler's upgrade. None if the request asks for none, or not properly."""
    socket: WebSocketResponse[Any] = WebSocketResponse(
        timeout=CLOSE_TIMEOUT_S, compress=False, max_msg_size=MESSAGE_BYTES_MAX, decode_text=False
    )
    if not socket.can_prepare(request):
        return None
    await socket.prepare(request)
    return socket


async def dial(
    http: ClientSession, url: str, *, secret: str, tls: ssl.SSLContext | bool = True
) -> ClientWebSocketResponse[Any]:
    """Connect to the session endpoint at `url`. Raises Denied if the token does not open it, Unavailable otherwise."""
    try:
        async with asyncio.timeout(DIAL_TIMEOUT_S):
            return await http.ws_connect(
                url,
                headers={"Authorization": f"Bearer {secret}"} if secret else {},
                compress=0,
                max_msg_size=MESSAGE_BYTES_MAX,
                timeout=ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S),
                decode_text=False,
                ssl=tls,
            )
    except WSServerHandshakeError as error:
        if error.status in (401, 403):
            raise Denied(f"{url} refuses the token", known=error.status == 403) from error
        raise Unavailable(f"{url} answered {error.status} instead of a session") from error
    except (ClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"{url}: {str(error) or type(error).__name__}") from error


def _ending(socket: Socket, type: WSMsgType) -> str:
    """Why there are no more messages, in words."""
    if type is WSMsgType.ERROR:
        error = socket.exception()
        return f"the connection broke: {error}" if error else "the connection broke"
    if socket.close_code in (None, WSCloseCode.ABNORMAL_CLOSURE):
        return "the connection broke"
    return f"the other end closed the session (code {socket.close_code})"
