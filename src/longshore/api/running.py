"""How an API is served, a manager's and a worker's alike. Knows aiohttp's runner; no route, no store."""

import logging

from aiohttp import web


def make_runner(app: web.Application, *, shutdown_s: float) -> web.AppRunner:
    """How the API is to be run: without aiohttp's access log (the door has its own, which knows no secrets), without
    unpacking bodies (nobody needs it, and it is one more parser for strangers), ending what nobody waits for."""
    # aiohttp logs what strangers send as our errors, with tracebacks. Bugs in routes are logged at the door.
    quiet = logging.getLogger("longshore.api.http")
    quiet.setLevel(logging.CRITICAL)
    return web.AppRunner(
        app,
        access_log=None,
        logger=quiet,
        auto_decompress=False,
        handler_cancellation=True,
        shutdown_timeout=shutdown_s,
    )
