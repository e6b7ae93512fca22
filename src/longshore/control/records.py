"""What workers say, written down: observations of their tasks, and what they say of their nodes.

Whatever else is written meanwhile, and however long the store takes, it lands in the end, or is old news by then. Knows
the store and liveness; not sessions, nor who is told that it is durable.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from msgspec.structs import replace

from longshore.control.liveness import Liveness
from longshore.decide.reports import heard
from longshore.model.changes import COMMIT_CHANGES_MAX, Change
from longshore.model.errors import Conflict, Unavailable
from longshore.model.lifecycle import Owner
from longshore.model.messages import Description, Observation
from longshore.model.objects import Kind, Node, NodeStatus
from longshore.model.reasons import Reason
from longshore.ports import Clock, Store

log = structlog.get_logger("longshore.sessions")

STORE_RETRY_S = 0.2


class Records:
    """Of all nodes of one manager."""

    def __init__(self, store: Store, clock: Clock, liveness: Liveness) -> None:
        self._store = store
        self._clock = clock
        self._liveness = liveness
        self._writing: dict[str, asyncio.Lock] = {}
        """By node: held while what its worker observed is written."""

    async def returned(self, name: str, heard_at: float) -> None:
        """It was heard at `heard_at`. If it has fallen silent again until this has its turn, that is old news."""

        def edit(one: Node) -> Node:
            return _returned(one, heard_at) if self._liveness.silence_left_s(name) > 0 else one

        await self._write(name, edit, Reason.NODE_RETURNED)

    async def lease_shortened(self, name: str) -> None:
        """It beats as it was told in this session, so it knows."""
        lease_s = self._liveness.lease_s
        await self._write(name, lambda one: replace(one, lease_s=lease_s), Reason.NODE_CHANGED)

    async def described(self, name: str, message: Description) -> None:
        await self._write(
            name, lambda one: replace(one, capacity=message.capacity, engine=message.engine), Reason.NODE_CHANGED
        )

    async def _write(self, name: str, edit: Callable[[Node], Node], reason: Reason) -> None:
        while (node := self._store.read().nodes.get(name)) is not None:
            after = edit(node)
            if after == node:
                return
            change = Change(kind=Kind.NODE, id=name, before=node.revision, after=after, by=Owner.WORKER, reason=reason)
            try:
                await self._store.commit([change])
            except Conflict:
                continue
            except Unavailable as failure:
                # Not the session's end: the node would be judged by a connection that it did not break.
                log.warning("the record of a node waits for the store", node=name, reason=failure.message)
                await asyncio.sleep(STORE_RETRY_S)
                continue
            return

    async def observed(self, name: str, observations: Sequence[Observation]) -> None:
        """Returns once they are durable."""
        # In turn: what an earlier session of the node still writes would land after newer news, and undo them.
        async with self._writing.setdefault(name, asyncio.Lock()):
            await self._write_observations(name, list(observations))

    async def _write_observations(self, name: str, rest: list[Observation]) -> None:
        while rest:
            now, world = self._clock.now(), self._store.read()
            part = rest[:COMMIT_CHANGES_MAX]
            changes = [change for seen in part if (change := heard(world, name, seen, now)) is not None]
            try:
                if changes:
                    await self._store.commit(changes)
            except Conflict:
                continue
            except Unavailable as failure:
                log.warning("a report waits for the store", node=name, reason=failure.message)
                await asyncio.sleep(STORE_RETRY_S)
                continue
            rest = rest[COMMIT_CHANGES_MAX:]


def _returned(node: Node, heard_at: float) -> Node:
    down = node.status is NodeStatus.DOWN
    if (down and node.changed_at > heard_at) or not (down or node.held):
        return node
    changed_at = heard_at if down else node.changed_at
    return replace(node, status=NodeStatus.READY, reason=Reason.NODE_RETURNED, message="", changed_at=changed_at)
