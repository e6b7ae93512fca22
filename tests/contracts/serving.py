"""A manager's API on a loopback port, with a real store, real sessions and a token of every kind.

No controllers run: what the store holds is what a test put there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientResponse, ClientSession, web
from yarl import URL

from longshore.api.running import make_runner
from longshore.api.server import Deps, make_app
from longshore.api.streams import Streams
from longshore.control import tokens
from longshore.control.metrics import MeasuredStore, Metrics
from longshore.control.operations import Operations
from longshore.control.sessions import Sessions
from longshore.decide import services
from longshore.decide.placement import explain, place
from longshore.main.clock import MachineClock
from longshore.model.changes import Change
from longshore.model.lifecycle import Owner
from longshore.model.messages import Assignment, AssignmentPart
from longshore.model.objects import Cluster, Kind, Object, Release, Role, Service, Task, Token
from longshore.model.parts import Gathering
from longshore.model.reasons import Reason
from longshore.ports import Store, WorkerChannel
from longshore.store.memory import MemoryStore

POLICY = "spread"


class Manager:
    """One that serves: where it is, what it works with, and the secrets that open it."""

    def __init__(
        self, url: str, deps: Deps, http: ClientSession, secrets: dict[str, str], stop: Callable[[], Awaitable[None]]
    ) -> None:
        self.url = url
        self.stop = stop
        self.deps = deps
        self.http = http
        self.secrets = secrets
        """By who they are for: admin, join, node, expired, revoked, spent, unknown."""

    @property
    def store(self) -> Store:
        return self.deps.store

    def bearing(self, who: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets[who]}"} if who is not None else {}

    async def ask(
        self, method: str, path: str, *, who: str | None = "admin", headers: dict[str, str] | None = None, **more: Any
    ) -> tuple[ClientResponse, bytes]:
        """One request by somebody, answered whole. The path goes out as it is written; bytes are JSON."""
        given = {**self.bearing(who), **(headers or {})}
        if "data" in more and "skip_auto_headers" not in more:
            given.setdefault("Content-Type", "application/json")
        async with self.http.request(method, URL(self.url + path, encoded=True), headers=given, **more) as response:
            return response, await response.read()

    async def told(self, method: str, path: str, type: Any, status: int = 200, **more: Any) -> Any:
        """The same, as it should be."""
        response, body = await self.ask(method, path, **more)
        assert response.status == status, (method, path, response.status, body)
        return msgspec.json.decode(body, type=type)


async def put(store: Store, *records: Object) -> int:
    """Write records as they are."""
    world, revision = store.read(), 0
    changes = []
    for one in records:
        kind, id = _key(one)
        there = world.get(kind, id)
        before = there.revision if there is not None else 0
        changes.append(Change(kind=kind, id=id, before=before, after=one, by=Owner.USER, reason=Reason.CREATED))
    for first in range(0, len(changes), 100):
        revision = await store.commit(changes[first : first + 100])
    return revision


async def remove(store: Store, kind: Kind, id: str) -> int:
    there = store.read().get(kind, id)
    assert there is not None
    change = Change(kind=kind, id=id, before=there.revision, after=None, by=Owner.USER, reason=Reason.REMOVED)
    return await store.commit([change])


def _key(record: Object) -> tuple[Kind, str]:
    match record:
        case Service():
            return Kind.SERVICE, record.name
        case Release():
            return Kind.RELEASE, record.id
        case Task():
            return Kind.TASK, record.id
        case Token():
            return Kind.TOKEN, record.id
        case Cluster():
            return Kind.CLUSTER, record.id
        case _:
            return Kind.NODE, record.name


async def secrets_of(store: Store, now: float) -> dict[str, str]:
    """A secret of every kind, the good ones and the bad ones."""
    made = {
        "admin": tokens.mint(Role.ADMIN, now=now),
        "join": tokens.mint(Role.JOIN, now=now, uses=None),
        "node": tokens.mint(Role.NODE, now=now, node="n1"),
        "expired": tokens.mint(Role.ADMIN, now=now - 100, lifetime_s=1.0),
        "spent": tokens.mint(Role.JOIN, now=now, uses=0),
        "revoked": tokens.mint(Role.ADMIN, now=now),
    }
    await put(store, *(token for token, _ in made.values()))
    await remove(store, Kind.TOKEN, made["revoked"][0].id)
    return {who: secret for who, (_, secret) in made.items()} | {"unknown": "lsa_" + "x" * 43}


def assemble(
    store: Store, folder: Path, *, auth: bool = True, compat: bool = True, streams: Streams | None = None
) -> Deps:
    clock = MachineClock()
    metrics = Metrics("test")
    measured = MeasuredStore(store, metrics)
    sessions = Sessions(measured, clock, heartbeat_timeout_s=5.0, wake_node=lambda node: None)
    operations = Operations(
        measured,
        clock,
        POLICY,
        decide_services=services.decide,
        place=lambda world, now: place.decide(world, now, POLICY),
        explain=lambda world, task, now: explain.explain(world, task, now, POLICY),
        usage=sessions.usage,
    )
    return Deps(
        store=measured,
        operations=operations,
        sessions=sessions,
        clock=clock,
        metrics=metrics,
        folder=folder,
        version="test",
        scheduler=POLICY,
        started_at=clock.now(),
        auth=auth,
        compat=compat,
        streams=streams or Streams(),
    )


async def assigned(channel: WorkerChannel) -> Assignment:
    """The next assignment, once all of it has come."""
    gathering = Gathering()
    while True:
        message = await channel.receive()
        assert isinstance(message, AssignmentPart | Assignment)
        whole = gathering.take(message)
        if whole is not None:
            return whole


@asynccontextmanager
async def following(folder: Path, *records: Object) -> AsyncIterator[Manager]:
    """One whose sessions follow its store."""
    async with serving(folder, *records) as manager:
        running = asyncio.create_task(manager.deps.sessions.run())
        try:
            yield manager
        finally:
            running.cancel()


@asynccontextmanager
async def serving(
    folder: Path,
    *records: Object,
    store: Store | None = None,
    auth: bool = True,
    compat: bool = True,
    streams: Streams | None = None,
) -> AsyncIterator[Manager]:
    """A manager whose store holds `records`, a cluster and the tokens."""
    clock = MachineClock()
    store = store or MemoryStore(clock)
    await put(store, Cluster(id="c1", created_at=clock.now()), *records)
    secrets = await secrets_of(store, clock.now())
    deps = assemble(store, folder, auth=auth, compat=compat, streams=streams)
    runner = make_runner(make_app(deps), shutdown_s=2.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
        async with ClientSession() as http:
            yield Manager(url, deps, http, secrets, runner.cleanup)
    finally:
        await runner.cleanup()
        await store.close()
