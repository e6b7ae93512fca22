"""The `Prober` port over real sockets: an HTTP GET or a TCP connection to a container.

Decides on which way to go there, for each question anew, as networks change under a running worker. Must not know how
often it asks, nor what becomes of the result. The way matters: a host port that is asked on the loopback address is
answered by the engine's own proxy, which takes connections for a container that does not listen at all. So a container
is asked at its own address wherever that is known to be it, and through its host port elsewhere.
"""

import asyncio
import errno
import ipaddress
import os
import socket
from contextlib import suppress

import aiohttp
from yarl import URL

from longshore import __version__
from longshore.agent.words import one_line
from longshore.model.containers import Target
from longshore.model.errors import Refused, Unavailable
from longshore.model.spec import HttpProbe

BODY_BYTES = 10 * 1024
BODY_S = 0.1
"""What is read of an answer after its status, so that programs do not see their answers cut off."""
ACCEPTED = range(200, 400)
REASON_MAX = 60
"""Characters that are told of the words after a status, which are the program's own."""
_NO_WAY = frozenset({errno.ENETUNREACH, errno.ENETDOWN})
_OURS = _NO_WAY | {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
"""Faults of the worker's own machine: they say nothing of the container."""
_WORDS = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset"}


class SocketProber:
    """Asks from this machine; `address` is where the node's published ports answer."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._here = False
        """Whether that was this machine's own address at any time. A cable that is cut may take it away, of which the
        containers know nothing."""
        self._session: aiohttp.ClientSession | None = None

    async def probe(self, target: Target) -> None:
        question = f"GET {target.probe.http.path}" if target.probe.http is not None else "connect"
        try:
            self._here = self._here or speaks_from(self._address) == self._address
            host, port = way_to(target, self._address, here=self._here)
            if target.probe.http is not None:
                await self._get(target.probe.http, host, port)
            else:
                question = f"connect to {host}:{port}"
                transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
                transport.close()
        except aiohttp.ClientConnectorError as error:
            raise _failure(f"connect to {host}:{port}", error.os_error) from error
        except OSError as error:
            raise _failure(question, error) from error

    async def _get(self, probe: HttpProbe, host: str, port: int) -> None:
        name = f"[{host}]" if ":" in host else host
        url = URL(f"http://{name}:{port}{probe.path}", encoded=True)
        try:
            async with self._open().get(url, headers=probe.headers, allow_redirects=False) as response:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with asyncio.timeout(BODY_S):
                        await response.content.read(BODY_BYTES)
        except OSError:
            raise
        except aiohttp.ServerDisconnectedError as error:
            raise Unavailable(f"GET {probe.path}: the connection ended without an answer") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise Unavailable(f"GET {probe.path}: what answers does not speak HTTP") from error
        status = response.status
        if not (status in probe.accepts if probe.accepts else status in ACCEPTED):
            reason = one_line(response.reason or "", REASON_MAX)
            raise Unavailable(f"GET {probe.path}: {status} {reason}".rstrip())

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A connection for each question: one that is kept may have died unseen, or lead to another container that
            # has got the address since.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                headers={"User-Agent": f"longshore/{__version__}"},
                auto_decompress=False,
                skip_auto_headers=("Accept-Encoding",),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def way_to(target: Target, address: str, *, here: bool) -> tuple[str, int]:
    """Host and port to ask, from a worker whose node's ports answer at `address`; `here` if that is this machine's own.

    A container's own address means something only where its engine's network is. That is here if the node's address is
    this machine's, and this machine would speak to the container from the very address that the engine has on that
    network. An engine in a container, in a namespace of its own or on another machine fails one or the other. Its
    containers are never asked at their own addresses, not even for want of another way: whoever has that address here
    might answer.
    """
    container, published = target.container, target.published
    asked = target.probe.http or target.probe.tcp
    assert asked is not None, "admission lets no probe in that asks nothing"
    if here and container.gateway and speaks_from(container.address) == container.gateway:
        return container.address, asked.port
    if published is not None:
        return (address if _is_any(published.ip) else published.ip), published.host
    raise Unavailable(f"the worker is not on the engine's network and cannot reach port {asked.port}; publish it")


def speaks_from(address: str) -> str:
    """The address of this machine that it would speak to another from; empty if there is none. Nothing is sent for
    it. Raises OSError for a fault of this machine's own, where that says nothing of the way there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        ipaddress.ip_address(address)  # a name would have to be looked up
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.connect((address, 9))
            return str(one.getsockname()[0])
    except ValueError:
        return ""
    except OSError as error:
        if error.errno in _OURS - _NO_WAY:
            raise
        return ""


def _is_any(ip: str) -> bool:
    return ipaddress.ip_address(ip).is_unspecified


def _failure(question: str, error: OSError) -> Unavailable | Refused:
    number = error.errno or 0
    words = _WORDS.get(number) or (os.strerror(number) if number > 0 else str(error)).lower()
    said = f"{question}: {words}"
    ours = number in _OURS or isinstance(error, socket.gaierror)  # the node's name could not be looked up
    return Refused(said) if ours else Unavailable(said)
