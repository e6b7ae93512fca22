"""What the manager has not acknowledged yet: the newest observation of each task, and no more.

An older observation of a task is dropped when a newer one comes, because the newest says everything; so the outbox is
bounded by the node's tasks however long the manager is away. One batch is under way at a time, and what comes meanwhile
goes with the next: the slower the manager, the larger the batches.
"""

import asyncio

from longshore.model.messages import Observation


class Outbox:
    """Observations on their way to the manager."""

    def __init__(self) -> None:
        self._unacknowledged: dict[str, Observation] = {}
        self._newest: dict[str, Observation] = {}
        self._said: set[str] = set()
        """Tasks whose newest observation need not be said again."""
        self._news = asyncio.Event()

    def say(self, observation: Observation) -> bool:
        """Have it delivered, unless it was said already; tells whether it is news."""
        task = observation.task
        if task in self._said and self._newest[task] == observation:
            return False
        self._said.add(task)
        self._newest[task] = self._unacknowledged[task] = observation
        self._news.set()
        return True

    def said(self, task: str) -> Observation | None:
        """The newest observation of a task, whoever knows of it."""
        return self._newest.get(task)

    def forget(self, task: str) -> None:
        """The task is no longer this node's: nothing more is to be said of it."""
        self._said.discard(task)
        self._newest.pop(task, None)
        self._unacknowledged.pop(task, None)

    def forget_said(self) -> None:
        """Say everything again when asked: the manager may remember less than it acknowledged (a restored backup)."""
        self._said.clear()

    async def batch(self) -> tuple[Observation, ...]:
        """All that waits, as soon as anything does. What was not acknowledged comes again."""
        while not self._unacknowledged:
            self._news.clear()
            await self._news.wait()
        return tuple(self._unacknowledged.values())

    def acknowledge(self, batch: tuple[Observation, ...]) -> None:
        """The manager has these; newer observations of the same tasks stay."""
        for observation in batch:
            if self._unacknowledged.get(observation.task) is observation:
                del self._unacknowledged[observation.task]
