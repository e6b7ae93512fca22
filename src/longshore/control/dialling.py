"""Sessions that the manager begins: with the workers it was told of at its start, and with those of node records that
say where their worker is.

For networks where machines may be reached but may not reach out. Whom to dial follows the store, so a node that is
registered is dialled at once and one that is removed no more. A worker that is away is tried again for ever, one that
is not the node that it should be is tried slowly, and none of them waits for another. Must not know who may be which
node: `joining` does.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog
from aiohttp import ClientSession

from longshore.channel import SESSION_PATH, dial, manager_end
from longshore.control.sessions import Sessions
from longshore.model.changes import Event
from longshore.model.errors import Compacted, Denied, Unavailable
from longshore.model.objects import Kind, Node
from longshore.model.snapshot import Snapshot
from longshore.ports import Store

log = structlog.get_logger("longshore.sessions")

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 1.0
"""A worker that was restarted is to be found well within the heartbeat timeout."""
LASTED_S = 1.0
"""A session that lasted so long was one: if it breaks, its worker is dialled at once, as its node has but a moment."""
DENIED_RETRY_S = 30.0
"""A worker that refuses our token may be given the right one later, and one that is another node may be renamed."""

Secret = Callable[[], str]
"""The token that opens the workers; asked for when the first of them is dialled."""


async def keep_dialling(store: Store, sessions: Sessions, workers: Sequence[str], secret: Secret) -> None:
    """Hold a session with each of `workers`, and with each node whose record has an address, until cancelled."""
    async with ClientSession() as http, asyncio.TaskGroup() as group:
        dialler = _Dialler(sessions, workers, lambda worker: group.create_task(_keep(sessions, http, worker, secret())))
        while True:
            world = store.read()
            dialler.follow(world)
            try:
                async for batch in store.watch(world.revision):
                    dialler.heard(batch.events, store.read())
            except Compacted:
                log.warning("fell behind the store; looking at every node", revision=world.revision)


class _Dialler:
    """One dialling task for each address that is to be dialled now."""

    def __init__(
        self, sessions: Sessions, workers: Iterable[str], begin: Callable[[str], "asyncio.Task[None]"]
    ) -> None:
        self._sessions = sessions
        self._named = set(workers)
        """Addresses from the command line, whatever node may be there."""
        self._begin = begin
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._dials: dict[str, str] = {}
        """Where the records say that nodes are to be dialled."""

    def heard(self, events: Iterable[Event], world: Snapshot) -> None:
        """Dial whom the records name now, if that may have changed."""
        nodes = [event for event in events if event.kind is Kind.NODE]
        for event in nodes:
            if event.after is None:
                self._dismiss(event.id, world)
        if any(event.after is None or _dial(event.after) != self._dials.get(event.id, "") for event in nodes):
            self.follow(world)

    def _dismiss(self, node: str, world: Snapshot) -> None:
        """A node that was removed is not dialled again for the command line's sake: it would be back at once."""
        address = self._sessions.dialled(node)
        if address in self._named and not any(self._sessions.dialled(name) == address for name in world.nodes):
            log.info("not dialled any more: its node was removed", node=node, worker=address)
            self._named.discard(address)

    def follow(self, world: Snapshot) -> None:
        self._dials = {name: node.dial for name, node in world.nodes.items() if node.dial}
        wanted = self._named.union(self._dials.values())
        for address in sorted(self._tasks.keys() - wanted):
            self._tasks.pop(address).cancel()
        for address in sorted(wanted - self._tasks.keys()):
            self._tasks[address] = self._begin(address)


def _dial(node: object) -> str:
    return node.dial if isinstance(node, Node) else ""


async def _keep(sessions: Sessions, http: ClientSession, worker: str, secret: str) -> None:
    url = f"ws://{worker}{SESSION_PATH}"
    now = asyncio.get_running_loop().time
    wait_s = RETRY_FIRST_S
    while True:
        began = now()
        try:
            connection = await dial(http, url, secret=secret)
            if not await sessions.serve(manager_end(connection), None, dialled=worker):
                wait_s = DENIED_RETRY_S
            elif now() - began > LASTED_S:
                wait_s = RETRY_FIRST_S
        except Denied as failure:
            log.warning("worker refuses this manager", worker=worker, reason=failure.message)
            wait_s = DENIED_RETRY_S
        except Unavailable as failure:
            log.info("worker not there", worker=worker, reason=failure.message, retry_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RETRY_MAX_S)
