"""The verbs of foreign APIs' tasks, landed as every other verb of the user's is.

Knows the operations and the decision about postings; not how any foreign API spells them.
"""

from collections.abc import Mapping

from longshore.control.operations import Operations
from longshore.decide import postings
from longshore.decide.postings import Shown
from longshore.model.errors import NotFound
from longshore.model.objects import Posting
from longshore.model.retention import POSTINGS_KEPT
from longshore.ports import Store


class Postings:
    """Tasks with the ids of those who posted them."""

    def __init__(self, store: Store, operations: Operations, kept: int = POSTINGS_KEPT) -> None:
        """Of those that are over, `kept` are."""
        self._store = store
        self._operations = operations
        self._kept = kept

    async def post(self, posting: Posting) -> Shown:
        """Have it run, durably; see `decide.postings.post`."""
        await self._operations.land(lambda world, now: postings.post(world, posting, now, self._kept))
        return self.shown(posting.id)

    async def stop(self, id: str) -> None:
        """Have it stopped. Raises NotFound."""
        await self._operations.land(lambda world, now: postings.stop(world, id, now))

    def shown(self, id: str) -> Shown:
        """Raises NotFound."""
        world = self._store.read()
        posting = world.postings.get(id)
        if posting is None:
            raise NotFound(f"there is no task {id}")
        return postings.shown(world, posting)

    def knows(self, id: str) -> bool:
        return id in self._store.read().postings

    def all(self) -> list[Shown]:
        """In the order in which they were posted."""
        world = self._store.read()
        return [
            postings.shown(world, posting)
            for posting in sorted(world.postings.values(), key=lambda one: (one.created_at, one.id))
        ]

    def labels(self, shown: Shown) -> Mapping[str, str]:
        """Of its container."""
        service = self._store.read().services.get(shown.posting.service)
        return service.spec.labels if service is not None else {}
