"""How sessions come about over the network: the worker dials its manager, or waits to be dialled.

Either way one session at a time, the newest one winning; what is said on it is the same. A manager that is away is
tried again soon and for ever; one that does not want this worker is not tried again.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from zlib import crc32

import structlog
from aiohttp import ClientSession, ClientWebSocketResponse, web

from longshore.agent.worker import Identity, Worker
from longshore.channel import SESSION_PATH, accept, dial, worker_end
from longshore.model.errors import Denied, Unavailable

log = structlog.get_logger("longshore.worker")

RETRY_FIRST_S = 0.1
RETRY_MAX_S = 2.0
RETRY_URGENT_S = 0.4
"""The same while single-writer tasks are about to be stopped for want of a manager."""
LASTED_S = 1.0
"""A session that lasted so long was one. One that ends sooner, as one that is refused does, is no success."""


def session_url(manager_url: str) -> str:
    """`http://host:port` -> `ws://host:port/v1/session`."""
    parts = urlsplit(manager_url if "//" in manager_url else f"http://{manager_url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, SESSION_PATH, "", ""))


def address_towards(manager_url: str) -> str:
    """The address of this machine from which it reaches the manager. Sends nothing."""
    parts = urlsplit(manager_url if "//" in manager_url else f"http://{manager_url}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((parts.hostname or "127.0.0.1", parts.port or 80))
        except OSError as error:
            raise Unavailable(f"no way from here to {manager_url}: {error}") from error
        return str(probe.getsockname()[0])


async def keep_dialling(worker: Worker, manager_url: str, joining: Callable[[], str]) -> None:
    """Hold a session with the manager, again and again. `joining` is asked for a join token where the worker's own is
    not known there. Raises Denied if the manager does not want this worker."""
    url = session_url(manager_url)
    now = asyncio.get_running_loop().time
    wait_s = RETRY_FIRST_S
    async with ClientSession() as http:
        while True:
            began = now()
            try:
                connection = await _knock(http, url, worker.identity, joining)
                await worker.serve(worker_end(connection))
            except Unavailable as failure:
                if now() - began > LASTED_S:
                    wait_s = RETRY_FIRST_S
                mine_s = own_wait_s(worker.name, wait_s)
                log.warning("no session", node=worker.name, manager=url, reason=failure.message, retry_s=mine_s)
                await asyncio.sleep(mine_s)
                wait_s = next_wait_s(worker, wait_s)


def next_wait_s(worker: Worker, wait_s: float) -> float:
    """How long is waited after one more failure."""
    return min(wait_s * 2, RETRY_URGENT_S if worker.fence.presses else RETRY_MAX_S)


def own_wait_s(name: str, wait_s: float) -> float:
    """Between half of a wait and all of it, for each worker another part: thousands that lose their manager at once do
    not all dial at once."""
    return round(wait_s * (0.5 + 0.5 * crc32(name.encode()) / 2**32), 3)


async def _knock(
    http: ClientSession, url: str, identity: Identity, joining: Callable[[], str]
) -> ClientWebSocketResponse[Any]:
    """The worker's own token first: a join whose answer was lost has made it good already."""
    try:
        return await dial(http, url, secret=identity.token)
    except Denied as failure:
        if identity.cluster:
            again = "to have it back, give its worker another folder (--data) and a join token"
            raise Denied(f"{failure.message}; node {identity.node} or its token was removed: {again}") from failure
        secret = joining()
        if not secret:
            raise
        return await dial(http, url, secret=secret)


class Doorstep:
    """Where a manager that dials finds its session. Who may come in is the port's business."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._current: asyncio.Task[None] | None = None

    def mount(self, app: web.Application) -> None:
        """Answer at the session's path of `app`."""
        app.router.add_get(SESSION_PATH, self._session)
        app.on_shutdown.append(self._leave)

    async def _leave(self, app: web.Application) -> None:
        """A server that is stopped waits for its requests to end, and a session never ends by itself."""
        if self._current is not None:
            self._current.cancel()

    async def _session(self, request: web.Request) -> web.StreamResponse:
        connection = await accept(request)
        if connection is None:
            return web.Response(status=426, headers={"Upgrade": "websocket"}, text="a session is a WebSocket\n")
        if self._current is not None:
            self._current.cancel()
        mine = self._current = asyncio.current_task()
        channel = worker_end(connection)
        try:
            await self._worker.serve(channel)
        except Unavailable as failure:
            log.info("session ended", node=self._worker.name, reason=failure.message)
        except Denied as failure:  # that manager does not want this worker; others, or the same one later, may
            log.warning("sent away", node=self._worker.name, reason=failure.message)
        finally:
            if self._current is mine:
                self._current = None
        return connection
