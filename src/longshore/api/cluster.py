"""The cluster as a whole: whether it is there, what it counts, a copy of all it knows."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from io import BufferedReader
from pathlib import Path

from aiohttp import web

from longshore.api.routes import ANYONE, Ask, NoQuery, route
from longshore.api.streams import pour
from longshore.api.wire import answer
from longshore.control.metrics import CONTENT_TYPE
from longshore.model.errors import Unavailable
from longshore.model.views import ClusterView

SQLITE = "application/vnd.sqlite3"
COPY_PREFIX = "backup-"
"""Of the folders in which a copy is made; what a manager that was killed left of them is removed at the next start."""
_PIECE_BYTES = 256 * 1024


@route("GET", "/health", "Whether it lives", {200: "text/plain"}, opens_to=ANYONE)
async def show_health(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return web.Response(text="OK")


@route("GET", "/metrics", "What it counts, for Prometheus", {200: "text/plain"})
async def show_metrics(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    world, sessions = ask.deps.store.read(), ask.deps.sessions.connected()
    page = await asyncio.to_thread(ask.deps.metrics.page, world, sessions=sessions)
    return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})


@route("GET", "/v1/cluster", "Show the cluster", {200: ClusterView})
async def show_cluster(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    world = ask.deps.store.read()
    if world.cluster is None:
        raise Unavailable("the cluster has not been started yet")
    return answer(
        200,
        ClusterView(
            id=world.cluster.id,
            version=ask.deps.version,
            revision=world.revision,
            scheduler=ask.deps.scheduler,
            started_at=ask.deps.started_at,
        ),
    )


@route("GET", "/v1/backup", "Copy the store while it works", {200: SQLITE}, refuses=(409,), head=False)
async def back_up(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    # A folder of its own, because the store makes the file anew, and with its owner's rights, because of what is in it.
    folder = Path(tempfile.mkdtemp(prefix=COPY_PREFIX, dir=ask.deps.folder))
    try:
        path = folder / "longshore.db"
        await ask.deps.store.backup(path)
        copy = await asyncio.to_thread(path.open, "rb")
    finally:
        # An open file needs no name: however the sending ends, nothing of it is left.
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    with copy:
        size = os.fstat(copy.fileno()).st_size
        return await pour(ask.deps.streams, ask.request, SQLITE, _pieces(copy), length=size)


async def _pieces(copy: BufferedReader) -> AsyncGenerator[bytes, None]:
    while piece := await asyncio.to_thread(copy.read, _PIECE_BYTES):
        yield piece


def remove_old_copies(folder: Path) -> None:
    for left in folder.glob(f"{COPY_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


ROUTES = (show_health, show_metrics, show_cluster, back_up)
