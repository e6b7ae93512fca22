"""The wire to an engine that speaks Docker's API: addresses, versions, time limits, and what can go wrong on the way.

Knows HTTP and how API versions are agreed on; must not know what is asked or answered, so that every call is limited
and every foreign exception translated in this one place.

Nothing is pinned: a client that insists on one API version stops working when the engine is upgraded under it
(Engine 20.10 speaks at most 1.41, Engine 29 at least 1.44).
"""

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from longshore.model.errors import Failure, Invalid, Unavailable

API_NEWEST = (1, 51)
"""The newest API version that was read and tested against; a newer engine is spoken to in this one."""

QUICK_CONNECTIONS = 32
"""At once, for calls that answer at once; everything that may hold a connection for long has a pool of its own
without a limit, so that a hundred slow stops never keep a ping from getting through."""

T = TypeVar("T")
Version = tuple[int, int]


class Declined(Unavailable):
    """The engine answered, and said no. Whoever asked knows which failure of the port that is; where nothing more
    particular is known it is what the port allows everywhere, Unavailable, with the engine's own words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Silent(Unavailable):
    """A stream brought nothing for as long as its reader wanted to wait. The engine may be well."""


class Reply(msgspec.Struct, frozen=True):
    """An answer that was not a refusal."""

    status: int
    body: bytes
    at: float | None
    """When it was sent, by the engine's clock, in whole seconds; None if it does not say."""
    api: str
    """The newest version that the engine speaks; empty if it does not say."""

    def read(self, kind: type[T]) -> T:
        return read_json(self.body, kind)


class _Versions(msgspec.Struct, frozen=True, rename="pascal"):
    api_version: str
    min_api_version: str = msgspec.field(name="MinAPIVersion", default="")


class _Words(msgspec.Struct, frozen=True):
    message: str = ""


def read_json(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Unavailable(f"the engine's answer makes no sense: {error}") from error


class Wire:
    """One engine's address and the connections to it. Made without a running loop; connects when first used."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None,
        plain_tcp: bool,
        connect_limit_s: float,
        answer_limit_s: float,
    ) -> None:
        self.url = url
        self.socket_path, self._base = _address(url, tls=tls is not None, plain_tcp=plain_tcp)
        self.local = bool(self.socket_path)
        """Whether the engine runs on this very machine, as far as its address tells."""
        self._tls = tls
        self._connect_limit_s = connect_limit_s
        self._answer_limit_s = answer_limit_s
        self._quick: aiohttp.ClientSession | None = None
        self._long: aiohttp.ClientSession | None = None
        self._version: Version | None = None
        self._agreeing = asyncio.Lock()
        self._closed = False

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        tar: bytes | AsyncIterable[bytes] | None = None,
        limit_s: float | None = None,
    ) -> Reply:
        """Ask and read the whole answer. `body` is JSON, `tar` what some calls take in its place. `limit_s` is for what
        is known to take long."""
        long = limit_s is not None
        limit = self._quick_limit() if limit_s is None else self._limit(limit_s)
        for last in (False, True):
            version = await self._agreed()
            try:
                return await self._ask(method, _versioned(version, path), query, body, limit, tar=tar, long=long)
            except Declined as declined:
                used_up = isinstance(tar, AsyncIterable)
                if last or used_up or not _is_about_version(declined):
                    raise
                self._forget(version)
        raise AssertionError("unreachable")

    async def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None = None,
        *,
        silence_s: float | None = None,
        answer_limit_s: float | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Ask and read the answer piece by piece, for as long as it comes; `body` is JSON. The first piece is empty and
        says that the engine has answered. Raises Silent after `silence_s` without a piece; close it to hang up."""
        limit = self._limit(None, silence_s)
        headers = _headers(body)
        for last in (False, True):
            version = await self._agreed()
            with self._translated():
                # Apart from the limit on silence, as a stream may be silent for ever but not before it has begun.
                async with asyncio.timeout(answer_limit_s or self._answer_limit_s):
                    response = await self._pool(long=True).request(
                        method,
                        self._base + _versioned(version, path),
                        params=query,
                        data=body,
                        headers=headers,
                        timeout=limit,
                    )
                async with response:
                    if response.status < 400:
                        yield b""
                        async for piece in response.content.iter_any():
                            yield piece
                        return
                    declined = Declined(response.status, _words(await response.read(), response.reason))
            if last or not _is_about_version(declined):
                raise declined
            self._forget(version)

    async def stream_lines(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        silence_s: float | None = None,
        answer_limit_s: float | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The same in lines, as streams of JSON come; an empty one first, once the engine has answered."""
        rest = b""
        async with aclosing(
            self.stream(method, path, query, silence_s=silence_s, answer_limit_s=answer_limit_s)
        ) as pieces:
            async for piece in pieces:
                if not piece:
                    yield piece
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    if line.strip():
                        yield line
        if rest.strip():
            yield rest

    async def ping(self) -> Reply:
        """The one call that every version of every engine answers."""
        return await self._ask("GET", "/_ping", None, None, self._quick_limit(), long=False)

    async def close(self) -> None:
        self._closed = True
        for pool in (self._quick, self._long):
            if pool is not None:
                await pool.close()

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        limit: aiohttp.ClientTimeout,
        *,
        tar: bytes | AsyncIterable[bytes] | None = None,
        long: bool,
    ) -> Reply:
        headers = {"Content-Type": "application/x-tar"} if tar is not None else _headers(body)
        sent = body if tar is None else tar
        with self._translated():
            async with self._pool(long=long).request(
                method, self._base + path, params=query, data=sent, headers=headers, timeout=limit
            ) as response:
                content = await response.read()
                if response.status >= 400:
                    raise Declined(response.status, _words(content, response.reason))
                return Reply(
                    response.status,
                    content,
                    at=_seconds(response.headers.get("Date")),
                    api=response.headers.get("Api-Version", ""),
                )

    async def _agreed(self) -> Version:
        if self._version is None:
            async with self._agreeing:
                if self._version is None:
                    self._version = await self._agree()
        return self._version

    async def _agree(self) -> Version:
        """The newest version that both sides know; the engine's oldest if all of its are newer than ours."""
        said = (await self.ping()).api
        newest = _version(said) if said else None
        if newest is not None and newest <= API_NEWEST:
            return newest
        versions = (await self._ask("GET", "/version", None, None, self._quick_limit(), long=False)).read(_Versions)
        return max(min(_version(versions.api_version), API_NEWEST), _version(versions.min_api_version or "1.0"))

    def _quick_limit(self) -> aiohttp.ClientTimeout:
        return self._limit(self._answer_limit_s)

    def _limit(self, total_s: float | None, silence_s: float | None = None) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total_s, sock_connect=self._connect_limit_s, sock_read=silence_s)

    def _forget(self, version: Version) -> None:
        if self._version == version:  # otherwise somebody has agreed on another one meanwhile
            self._version = None

    def _pool(self, *, long: bool) -> aiohttp.ClientSession:
        if self._closed:
            raise self._closing()
        pool = self._long if long else self._quick
        if pool is None:
            pool = aiohttp.ClientSession(connector=self._connector(0 if long else QUICK_CONNECTIONS))
            if long:
                self._long = pool
            else:
                self._quick = pool
        return pool

    def _connector(self, limit: int) -> aiohttp.BaseConnector:
        if self.socket_path:
            return aiohttp.UnixConnector(self.socket_path, limit=limit)
        return aiohttp.TCPConnector(limit=limit, ssl=self._tls or True, socket_factory=_watched_socket)

    def _closing(self) -> Unavailable:
        return Unavailable(f"the client of the engine at {self.url} is closed")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Failure:
            raise
        except RuntimeError as error:
            if not self._closed:
                raise
            raise self._closing() from error  # how aiohttp says that a stream was closed under its reader
        except aiohttp.SocketTimeoutError as error:
            raise Silent(f"the engine at {self.url} has sent nothing for a while") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Whatever answers there next may be another version of it.
            self._version = None
            why = _why(error)
            raise Unavailable(f"the engine at {self.url} does not answer: {why}") from error


def _address(url: str, *, tls: bool, plain_tcp: bool) -> tuple[str, str]:
    """(path of the socket or empty, what URLs begin with). Raises Invalid."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        if not parts.path:
            raise Invalid(f"{url!r} names no socket: make it unix:///path", field="engine")
        return parts.path, "http://localhost"
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Invalid(f"{url!r} is no address of an engine: {error}", field="engine") from error
    if parts.scheme not in ("tcp", "http", "https") or not host:
        raise Invalid(f"{url!r} is no address of an engine: make it unix:///path or tcp://host:port", field="engine")
    tls = tls or parts.scheme == "https"
    if not (tls or plain_tcp or _is_loopback(host)):
        raise Invalid(
            f"{url!r} is another machine's engine without TLS: whoever can listen in or reach it is root there; "
            "use TLS, or allow it explicitly on a network you trust",
            field="engine",
        )
    name = f"[{host}]" if ":" in host else host
    return "", f"{'https' if tls else 'http'}://{name}:{port or (2376 if tls else 2375)}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _watched_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """With the kernel's keepalive: a stream whose other end was unplugged would otherwise be silent for ever."""
    family, kind, protocol = address[:3]
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return sock


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error.os_error, ssl.SSLError):
        cause = error.os_error
        if cause.errno and cause.errno > 0:  # asyncio puts words of its own instead of the system's
            return os.strerror(cause.errno)
        return cause.strerror or str(error)
    return str(error) or "no answer in time"


def _headers(body: bytes | None) -> dict[str, str]:
    return {"Content-Type": "application/json"} if body is not None else {}


def _is_about_version(declined: Declined) -> bool:
    return declined.status == 400 and "client version" in declined.message


def _version(text: str) -> Version:
    try:
        major, minor = text.split(".")[:2]
        return int(major), int(minor)
    except ValueError as error:
        raise Unavailable(f"no container engine answers there: it says its API version is {text!r}") from error


def _versioned(version: Version, path: str) -> str:
    return f"/v{version[0]}.{version[1]}{path}"


def _words(content: bytes, reason: str | None) -> str:
    """What the engine says is wrong, in its own words."""
    try:
        words = msgspec.json.decode(content, type=_Words).message
    except msgspec.DecodeError:
        words = content.decode(errors="replace")
    return words.strip() or reason or "no reason given"


def _seconds(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None
