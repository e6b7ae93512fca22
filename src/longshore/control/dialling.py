"""Sessions that the manager begins: with the workers it was told of at its start.

For networks where machines may be reached but may not reach out. A worker that is away is tried again for ever, and
none of them waits for another.
"""

import asyncio
from collections.abc import Sequence

import structlog
from aiohttp import ClientSession

from longshore.channel import SESSION_PATH, dial, manager_end
from longshore.control.sessions import Sessions
from longshore.model.errors import Denied, Unavailable

log = structlog.get_logger("longshore.sessions")

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0
DENIED_RETRY_S = 30.0
"""A worker that refuses our token may be given the right one later."""


async def keep_dialling(sessions: Sessions, workers: Sequence[str], secret: str) -> None:
    """Hold a session with each `host:port`, until cancelled."""
    async with ClientSession() as http, asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(_keep(sessions, http, worker, secret), name=f"dial {worker}")


async def _keep(sessions: Sessions, http: ClientSession, worker: str, secret: str) -> None:
    url = f"ws://{worker}{SESSION_PATH}"
    now = asyncio.get_running_loop().time
    wait_s = RETRY_FIRST_S
    while True:
        began = now()
        try:
            connection = await dial(http, url, secret=secret)
            await sessions.serve(manager_end(connection), None)
        except Denied as failure:
            log.warning("worker refuses this manager", worker=worker, reason=failure.message)
            wait_s = DENIED_RETRY_S
        except Unavailable as failure:
            log.info("worker not there", worker=worker, reason=failure.message, retry_s=wait_s)
        else:
            if now() - began > RETRY_MAX_S:  # a session that ends at once, as one that is refused, is no success
                wait_s = RETRY_FIRST_S
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RETRY_MAX_S)
