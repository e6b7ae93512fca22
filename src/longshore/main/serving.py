"""Running a server until it is told to stop, and ending as the command line ends."""

import asyncio
import gc
import signal
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import Any

from longshore.main import sight
from longshore.model.errors import Failure

YOUNG, YOUNG_LOOKS = 5_000, 5
"""After so many objects more than before the collector looks through what is new; each fifth time a little further."""
YOUNG_EVERY_S = 0.1
"""At latest. What waits is made anew with each message, so in a large cluster much is new though nothing is more, and
the longer that is left, the longer the collector holds the loop up."""
OLD_EVERY_S = 3600.0
"""Through all there is, which takes a second with ten thousand workers. What lives long ends without its help: of a
session that ended, one kilobyte is left for it."""
NEVER = 1_000_000_000


def serve(main: Coroutine[Any, Any, None], log_level: str, log_format: str | None) -> None:
    """Run `main` until SIGINT or SIGTERM. Raises the Failure that ended it; a bug comes out with its traceback."""
    sight.speak(level=log_level, form=log_format)
    gc.set_threshold(YOUNG, YOUNG_LOOKS, NEVER)
    failure: Failure | None = None
    try:
        asyncio.run(_until_signalled(main))
    except* Failure as failures:
        failure = _first(failures)
    if failure is not None:
        raise failure


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def _until_signalled(main: Coroutine[Any, Any, None]) -> None:
    serving = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    collecting = loop.create_task(_collect(), name="collect")
    asked = False

    def stop() -> None:
        nonlocal asked
        asked = True
        serving.cancel()

    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop)
    try:
        await serving
    except asyncio.CancelledError:
        if not asked:
            raise
    finally:
        collecting.cancel()


async def _collect() -> None:
    """Have the collector look often where that is soon done, and seldom where it is not."""
    now = asyncio.get_running_loop().time
    old_due = now() + OLD_EVERY_S
    while True:
        await asyncio.sleep(YOUNG_EVERY_S)
        if now() < old_due:
            gc.collect(1)
        else:
            gc.collect()
            old_due = now() + OLD_EVERY_S


def _first(failures: BaseException) -> Failure:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    assert isinstance(failures, Failure)
    return failures
