"""Whom a manager dials follows its store, and who answers there is the node that was registered or is sent away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from msgspec.structs import replace

from longshore.channel import SESSION_PATH, accept, worker_end
from longshore.control.dialling import keep_dialling
from longshore.control.joining import admitted, relied_on
from longshore.decide.nodes import forgotten
from longshore.model.changes import Change, deleted
from longshore.model.errors import Conflict, Denied, Unavailable
from longshore.model.lifecycle import Owner
from longshore.model.messages import Assignment, Down, Farewell, Hello, Welcome
from longshore.model.objects import Availability, Capacity, EngineFacts, Kind, Node, NodeStatus, Role
from longshore.model.placing import Taint
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from tests.clusters import free_port
from tests.contracts.serving import Manager, put, remove, serving

SECRET = "lsw_secret"


def hello(node: str) -> Hello:
    return Hello(node=node, version="1", address="", capacity=Capacity(cpu=1.0), engine=EngineFacts(id="e"))


def registered(name: str, dial: str = "") -> Node:
    """A record as somebody makes it by hand."""
    return Node(name=name, status=NodeStatus.DOWN, reason=Reason.NODE_REGISTERED, dial=dial)


class Answerer:
    """What waits at a port as a worker does, and says that it is node `name`."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.name = name
        self.port = port or free_port()
        self.knocks = 0
        self.told: list[Down] = []
        self.live = 0
        self._runner: web.AppRunner | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get(SESSION_PATH, self._session)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _session(self, request: web.Request) -> web.StreamResponse:
        self.knocks += 1
        if request.headers.get("Authorization") != f"Bearer {SECRET}":
            return web.Response(status=401)
        connection = await accept(request)
        assert connection is not None
        channel = worker_end(connection)
        self.live += 1
        try:
            await channel.send(hello(self.name))
            while True:
                self.told.append(await channel.receive())
        except Unavailable:
            return connection
        finally:
            self.live -= 1


async def comes(look: Callable[[], bool], what: str) -> None:
    for _ in range(1000):
        if look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not in time: {what}")


@asynccontextmanager
async def dialling(folder: Path, *workers: Answerer, named: tuple[str, ...] = ()) -> AsyncIterator[Manager]:
    """A manager that dials, and what answers it."""
    async with serving(folder) as manager:
        main = asyncio.create_task(keep_dialling(manager.store, manager.deps.sessions, named, lambda: SECRET))
        try:
            for worker in workers:
                await worker.start()
            yield manager
            assert not main.done()
        finally:
            main.cancel()
            await asyncio.gather(main, return_exceptions=True)
            for worker in workers:
                await worker.stop()


def status(manager: Manager, name: str) -> NodeStatus | None:
    node = manager.store.read().nodes.get(name)
    return node.status if node is not None else None


async def test_a_node_that_is_registered_with_an_address_is_dialled(tmp_path: Path) -> None:
    worker = Answerer("n9")
    async with dialling(tmp_path, worker) as manager:
        await put(manager.store, registered("n9", worker.address), registered("n8"))
        await comes(lambda: status(manager, "n9") is NodeStatus.READY, "n9 is ready")
        await comes(lambda: len(worker.told) == 2, "it is welcomed")
        assert [type(one) for one in worker.told] == [Welcome, Assignment]
        assert manager.deps.dialled("n9") == worker.address
        assert status(manager, "n8") is NodeStatus.DOWN


async def test_a_worker_that_comes_later_is_found(tmp_path: Path) -> None:
    worker = Answerer("n9")
    async with dialling(tmp_path) as manager:
        await put(manager.store, registered("n9", worker.address))
        await worker.start()
        try:
            await comes(lambda: status(manager, "n9") is NodeStatus.READY, "n9 is ready")
        finally:
            await worker.stop()


async def test_another_node_at_that_address_is_sent_away_and_stays_away(tmp_path: Path) -> None:
    worker, other = Answerer("n7"), Answerer("n6")
    async with dialling(tmp_path, worker, other) as manager:
        await put(manager.store, registered("n9", worker.address))
        await comes(lambda: bool(worker.told), "it is told")
        (farewell,) = worker.told
        assert isinstance(farewell, Farewell)
        assert farewell.final
        assert farewell.reason == f"the worker at {worker.address} is n7, and n9 is to be there"
        await put(manager.store, registered("n6", other.address))
        await comes(lambda: status(manager, "n6") is NodeStatus.READY, "others are dialled meanwhile")
        assert (worker.knocks, worker.live) == (1, 0)
        assert (status(manager, "n9"), status(manager, "n7")) == (NodeStatus.DOWN, None)


@pytest.mark.parametrize("named", [False, True])
async def test_a_removed_node_is_dialled_no_more(tmp_path: Path, named: bool) -> None:
    """Not even one of the command line, which would be back at once."""
    worker = Answerer("n9")
    async with dialling(tmp_path, worker, named=(worker.address,) if named else ()) as manager:
        if not named:
            await put(manager.store, registered("n9", worker.address))
        await comes(lambda: len(worker.told) == 2, "it is welcomed")
        await remove(manager.store, Kind.NODE, "n9")
        await comes(lambda: not worker.live, "its session ends")
        assert manager.deps.sessions.connected() == 0
        again = Answerer("n8")
        await again.start()
        await put(manager.store, registered("n8", again.address))
        await comes(lambda: status(manager, "n8") is NodeStatus.READY, "another is dialled")
        await again.stop()
        assert worker.knocks == 1
        await put(manager.store, registered("n9", worker.address))
        await comes(lambda: worker.knocks == 2, "it is, once it is registered again")


async def test_a_node_that_moves_is_dialled_where_it_is_now(tmp_path: Path) -> None:
    before, after = Answerer("n9"), Answerer("n9")
    async with dialling(tmp_path, before, after) as manager:
        await put(manager.store, registered("n9", before.address))
        await comes(lambda: len(before.told) == 2, "it is welcomed")
        node = manager.store.read().nodes["n9"]
        await put(manager.store, Node(name="n9", status=node.status, dial=after.address, worker_version="1"))
        await comes(lambda: after.live == 1 and not before.live, "it is dialled there, and there alone")


async def test_an_address_of_the_command_line_takes_whoever_is_there(tmp_path: Path) -> None:
    worker = Answerer("anything")
    async with dialling(tmp_path, worker, named=(worker.address,)) as manager:
        await comes(lambda: status(manager, "anything") is NodeStatus.READY, "it is ready")
        # And a record changes nothing of a session that is right.
        node = manager.store.read().nodes["anything"]
        await put(manager.store, replace(node, dial=worker.address, availability=Availability.PAUSED))
        await comes(lambda: manager.store.read().nodes["anything"].dial == worker.address, "it is written")
        assert (worker.knocks, worker.live) == (1, 1)


def test_taints_and_resources_of_a_worker_are_taken_once() -> None:
    said = replace(hello("n9"), taints=(Taint(key="a"),), resources={"gpu": ("0",)})
    (change,) = admitted(Snapshot(), said, None, now=0.0, connected=False, lease_s=9.0)
    first = change.after
    assert isinstance(first, Node)
    assert (first.taints, first.resources) == ((Taint(key="a"),), {"gpu": ("0",)})
    changed = replace(first, taints=(), resources={"gpu": 2}, status=NodeStatus.DOWN)
    world = Snapshot().apply([replace(change, after=changed)], (), 0.0)[0]
    (again,) = admitted(world, said, None, now=1.0, connected=False, lease_s=9.0)
    assert isinstance(again.after, Node)
    assert (again.after.taints, again.after.resources) == ((), {"gpu": 2})


async def test_a_worker_is_no_node_that_is_to_be_elsewhere(tmp_path: Path) -> None:
    async with serving(tmp_path, registered("n9", "127.0.0.1:7441")) as manager:
        world = manager.store.read()
        with pytest.raises(Denied, match=r"node n9 is to be at 127.0.0.1:7441, and this worker is at 10.0.0.1:7441"):
            admitted(world, hello("n9"), None, now=0.0, connected=False, lease_s=9.0, dialled="10.0.0.1:7441")
        with pytest.raises(Denied, match="is n8, and n9 is to be there"):
            admitted(world, hello("n8"), None, now=0.0, connected=False, lease_s=9.0, dialled="127.0.0.1:7441")
        (change,) = admitted(world, hello("n9"), None, now=0.0, connected=False, lease_s=9.0, dialled="127.0.0.1:7441")
        assert isinstance(change.after, Node)
        assert (change.after.status, change.after.dial) == (NodeStatus.READY, "127.0.0.1:7441")


async def test_those_who_join_with_one_token_do_not_wait_for_one_another(tmp_path: Path) -> None:
    async with serving(tmp_path) as manager:
        world, commit = manager.store.read(), manager.store.commit
        token = next(one for one in world.tokens.values() if one.role is Role.JOIN and one.uses_left is None)

        def join(name: str) -> list[Change]:
            said = replace(hello(name), token_sha256="a" * 64)
            return admitted(world, said, token, now=0.0, connected=False, lease_s=9.0)

        for name in ("n1", "n2"):  # decided on one world, and both land
            await commit(join(name), relied_on(world, token))
        assert manager.store.read().tokens[token.id] == token
        revoked = deleted(Kind.TOKEN, token.id, token.revision, Owner.USER, Reason.TOKEN_REVOKED)
        await commit([revoked])
        with pytest.raises(Conflict):
            await commit(join("n3"), relied_on(world, token))


async def test_a_hello_that_was_on_its_way_does_not_bring_a_removed_node_back(tmp_path: Path) -> None:
    async with serving(tmp_path, registered("n1")) as manager:
        store, before = manager.store, manager.store.read()
        token = next(one for one in before.tokens.values() if one.role is Role.NODE)

        def returned(world: Snapshot) -> list[Change]:
            return admitted(world, hello("n1"), token, now=0.0, connected=False, lease_s=9.0)

        decided = returned(before)
        await store.commit(forgotten(before, before.nodes["n1"], Owner.NODES))
        # Of a node that is registered anew meanwhile, only its token tells.
        await put(store, registered("n1"))
        late = [replace(change, before=store.read().nodes["n1"].revision) for change in decided]
        with pytest.raises(Conflict):
            await store.commit(late, relied_on(before, token))
        with pytest.raises(Denied, match="node n1 was removed from this cluster") as denied:
            returned(store.read())
        assert denied.value.known
        await put(store, replace(token, sha256="b" * 64))
        with pytest.raises(Denied, match="or has joined anew"):
            returned(store.read())
