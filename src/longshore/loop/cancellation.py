"""A trap of task groups, closed in one place.

A TaskGroup whose parent is cancelled while a child fails raises the child's failure and forgets the cancellation. Code
that handles that failure and goes on (a session that ended, to be dialled again) would then never stop. It calls this
first.
"""

import asyncio


def heed_cancellation() -> None:
    """Raise CancelledError if the current task was cancelled and that was lost on the way."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
