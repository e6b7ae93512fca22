"""Running a server until it is told to stop, and ending as the command line ends."""

import asyncio
import gc
import signal
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import Any

from longshore.main import sight
from longshore.model.errors import Failure


def serve(main: Coroutine[Any, Any, None], log_level: str, log_format: str | None) -> None:
    """Run `main` until SIGINT or SIGTERM. Raises the Failure that ended it; a bug comes out with its traceback."""
    sight.speak(level=log_level, form=log_format)
    # Records live long and are many; the default thresholds look through all of them several times a second under
    # load, which holds the loop up for 100 ms at 60,000 records.
    gc.set_threshold(50_000, 20, 100)
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


def _first(failures: BaseException) -> Failure:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    assert isinstance(failures, Failure)
    return failures
