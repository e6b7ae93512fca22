"""When what happens in a cluster became known outside: the event stream, read in a thread, each event with its moment.

Not `?watch` of a list, which gathers for up to 0.1 s: the stream of events tells each change as soon as it is durable,
so the clock stops when anybody could have known.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable

from bench.figure import Trouble
from longshore.client import Client
from longshore.model.errors import Failure
from longshore.model.objects import Kind
from longshore.model.views import EventView

Tasks = dict[str, EventView]
"""The newest event of each task."""


class Follower:
    """Follows one service's tasks until a condition holds. Make it before what is to be measured begins."""

    def __init__(self, client: Client, service: str, done: Callable[[Tasks], bool]) -> None:
        self._client = client
        self._service = service
        self._done = done
        # Behind this revision nothing is missed, also while the stream is being opened.
        self._after = str(client.cluster().revision)
        self._tasks: Tasks = {}
        self._moment: float | None = None
        self._failure: Failure | None = None
        self._thread = threading.Thread(target=self._read, name="follower", daemon=True)
        self._thread.start()

    def moment(self, limit_s: float) -> float:
        """When (`time.perf_counter`) the condition first held."""
        self._thread.join(limit_s)
        if self._failure is not None:
            raise self._failure
        if self._moment is None:
            told = Counter(event.state for event in self._tasks.values())
            seen = ", ".join(f"{count} {state}" for state, count in sorted(told.items())) or "nothing"
            raise Trouble(f"{self._service} is not there after {limit_s:.0f} s; its tasks: {seen}")
        return self._moment

    def _read(self) -> None:
        try:
            for event in self._client.events(service=self._service, after=self._after):
                now = time.perf_counter()
                if event.kind is not Kind.TASK:
                    continue
                self._tasks[event.name] = event
                if self._done(self._tasks):
                    self._moment = now
                    return
        except Failure as failure:
            self._failure = failure


def count(tasks: Tasks, state: str) -> int:
    """How many are in this state, by what was told last."""
    return sum(event.state == state for event in tasks.values())
