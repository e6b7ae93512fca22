"""What the nodes that are entries are told: every port with `ingress`, and the tasks behind it, as that changes.

Follows the store's events as they land, since a task that leaves is stopped soon after. What an entry was told of a
port is compared with what is so now, so nothing is sent twice and whatever was missed is made good by the next look.
Knows channels, not sessions: `sessions` lends it each one while it lives.
"""

import asyncio

from longshore.decide.endpoints import is_entry, listeners
from longshore.model.changes import Event
from longshore.model.messages import Entries, Listener
from longshore.model.objects import Kind
from longshore.model.snapshot import Snapshot, service_of_task
from longshore.ports import ManagerChannel, Store


class EntryFeed:
    """The entries of one manager."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changed: dict[str, asyncio.Event] = {}
        """Of each node that is connected, as it may become an entry."""
        self._told: dict[str, asyncio.Event] = {}
        """Of those that were told something: the entries."""
        self._seen: tuple[int, dict[int, Listener]] = (-1, {})

    def is_entry(self, node: str) -> bool:
        return is_entry(self._store.read().nodes.get(node))

    def hear(self, event: Event) -> None:
        """Something landed in the store."""
        if event.kind is Kind.TASK and not self._concerns(service_of_task(event.id)):
            return
        if event.kind is Kind.NODE and event.id in self._changed:
            self._changed[event.id].set()
        if event.kind in (Kind.TASK, Kind.SERVICE, Kind.NODE):
            for changed in self._told.values():
                changed.set()

    def look_again(self) -> None:
        """Anything may have changed."""
        for changed in self._changed.values():
            changed.set()

    def _concerns(self, service: str) -> bool:
        record = self._store.read().services.get(service)
        return record is not None and (
            any(port.ingress is not None for port in record.spec.ports)
            or any(one.service == service for one in self._seen[1].values())
        )

    async def tell(self, node: str, channel: ManagerChannel) -> None:
        """Tell a node what it serves, for as long as its session lasts. One that is no entry is told nothing, until it
        was told something once."""
        changed = self._changed[node] = asyncio.Event()
        told: dict[int, Listener] | None = None
        try:
            while True:
                changed.clear()
                world = self._store.read()
                now = self._listeners(world) if is_entry(world.nodes.get(node)) else None
                if now is not None:
                    self._told[node] = changed
                else:
                    self._told.pop(node, None)
                message = _news(world.revision, told, now)
                if message is not None:
                    await channel.send(message)
                told = now
                await changed.wait()
        finally:
            for known in (self._changed, self._told):
                if known.get(node) is changed:  # and not a newer session's
                    del known[node]

    def _listeners(self, world: Snapshot) -> dict[int, Listener]:
        """Made once for all entries."""
        if self._seen[0] != world.revision:
            self._seen = (world.revision, listeners(world))
        return self._seen[1]


def _news(revision: int, told: dict[int, Listener] | None, now: dict[int, Listener] | None) -> Entries | None:
    """What to say to a node that was told this and shall serve that; None of either is no entry."""
    if now is None:
        return Entries(revision=revision, full=True) if told is not None else None
    if told is None:
        return Entries(revision=revision, full=True, put=tuple(now.values()))
    put = tuple(one for port, one in now.items() if told.get(port) != one)
    removed = tuple(sorted(told.keys() - now.keys()))
    return Entries(revision=revision, full=False, put=put, removed=removed) if put or removed else None
