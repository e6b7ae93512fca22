"""Coroutines that belong together: when one ends, all end, and what ended it is what is raised.

Why not a TaskGroup: on Python 3.11 and 3.12 a group whose child fails just as its parent is cancelled forgets the
cancellation, and afterwards `Task.cancelling` cannot tell the two apart. Code that handles the failure and goes on (a
session that ended, to be dialled again) would then never stop. Here a cancellation always comes through.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(**mains: Coroutine[Any, Any, object]) -> None:
    """Run all until the first one ends, then cancel the others and wait for them. Raises what the first raised.

    The keys name the tasks. If several end at once, the one named first counts.
    """
    tasks = [asyncio.create_task(main, name=name.replace("_", " ")) for name, main in mains.items()]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ended = [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    bugs = [one for one in outcomes if isinstance(one, AssertionError)]
    if bugs:
        raise bugs[0]  # a bug is never hidden behind an expected failure
    await ended[0]
