"""Engines for tests: the real one of this machine, the fake one, and what their tests ask for.

Every test gets labels of its own and removes what bears them, so that tests neither see each other's containers nor
those of a cluster that runs on the same engine.
"""

import asyncio
import hashlib
import io
import os
import random
import secrets
import ssl
import tarfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from longshore.engine.docker import DockerEngine
from longshore.engine.fake import FakeEngine, FakeMachine, Speeds
from longshore.model.containers import Container, ContainerOrder, Status
from longshore.model.errors import Refused, Unavailable
from longshore.model.objects import PublishedPort
from longshore.model.spec import Pull, ServiceSpec
from longshore.ports import Engine

DEMO = "longshore/demo:1"
NOWHERE = "127.0.0.1:1/longshore/missing:1"
"""An image of a registry that refuses connections; the fake refuses its name."""
NODE = "n1"
DISTRIBUTION = "application/vnd.docker.container"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
QUICK = Speeds(
    create=(0.001, 0.002), start=(0.005, 0.01), stop=(0.005, 0.01), remove=(0.001, 0.002), pull=(0.005, 0.01)
)


class MachineClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Orders:
    """Makes the orders of one test, and knows the labels that they share."""

    def __init__(self) -> None:
        self.cluster = f"test-{secrets.token_hex(6)}"
        self._numbers = iter(range(1, 1000))

    def __call__(
        self,
        *command: str,
        spec: ServiceSpec | None = None,
        node: str = NODE,
        ports: tuple[PublishedPort, ...] = (),
        name: str = "",
        fingerprint: str = "",
    ) -> ContainerOrder:
        """For a shell script, for a program with arguments, or for the demo image's own web server without any."""
        number = next(self._numbers)
        arguments = ("sh", "-c", *command) if len(command) == 1 else (command or None)
        return ContainerOrder(
            name=name or f"{self.cluster}-web.1.{number}",
            task=f"web.1.{number}",
            service="web",
            cluster=self.cluster,
            node=node,
            fingerprint=fingerprint or f"{number:016x}",
            spec=spec or ServiceSpec(image=DEMO, command=arguments),
            ports=ports,
        )


Connect = Callable[[], Engine]


def docker_url() -> str:
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def skip_unless_local(engine: Engine) -> None:
    if isinstance(engine, DockerEngine) and not docker_url().startswith("unix://"):
        pytest.skip("the engine is on another machine, as far as its address tells: its accounts are not here")


async def clean_up(engine: Engine, *clusters: str) -> None:
    for cluster in clusters:
        for node in (NODE, "n2"):
            for container in await engine.containers(cluster, node):
                await engine.remove(container.id)


@pytest.fixture
def orders() -> Orders:
    return Orders()


@pytest.fixture
def machine() -> FakeMachine:
    return FakeMachine(random.Random(7), MachineClock(), images=(DEMO,), speeds=QUICK)


@pytest.fixture
async def docker(orders: Orders) -> AsyncIterator[DockerEngine]:
    """The real engine of this machine."""
    engine = DockerEngine(docker_url())
    try:
        try:
            await engine.prepare(DEMO, Pull.NEVER)
        except Unavailable as failure:
            pytest.skip(f"no Docker Engine: {failure.message} (scripts/engine up)")
        except Refused as failure:
            pytest.skip(f"the Docker Engine has no {DEMO}: {failure.message} (scripts/image)")
        try:
            yield engine
        finally:
            await clean_up(engine, orders.cluster)
    finally:
        await engine.close()


@pytest.fixture(params=["fake", "docker"])
async def connect(request: pytest.FixtureRequest, machine: FakeMachine) -> AsyncIterator[Connect]:
    """Makes clients of one and the same engine."""
    made: list[Engine] = []

    def client() -> Engine:
        engine: Engine = FakeEngine(machine) if request.param == "fake" else DockerEngine(docker_url())
        made.append(engine)
        return engine

    yield client
    for engine in made:
        await engine.close()


@pytest.fixture
async def engine(connect: Connect, orders: Orders) -> AsyncIterator[Engine]:
    """An engine that has the demo image: the fake, then the real one."""
    engine = connect()
    try:
        await engine.prepare(DEMO, Pull.NEVER)
    except Unavailable as failure:
        pytest.skip(f"no Docker Engine: {failure.message} (scripts/engine up)")
    except Refused as failure:
        pytest.skip(f"the Docker Engine has no {DEMO}: {failure.message} (scripts/image)")
    yield engine
    cleaner = connect()  # as a test may have closed its own
    await clean_up(cleaner, orders.cluster)


async def until(
    engine: Engine, orders: Orders, id: str, holds: Callable[[Container], bool], within_s: float = 20.0
) -> Container:
    """The container as soon as that holds of it. Looks again at each event, as a worker does."""
    async with asyncio.timeout(within_s):
        async for _ in engine.events(orders.cluster, NODE):
            seen = await engine.container(id)
            assert seen is not None, "it is gone"
            if holds(seen):
                return seen
    raise AssertionError("events ended by themselves")


def exited(container: Container) -> bool:
    return container.status is Status.EXITED


async def started(engine: Engine, order: ContainerOrder) -> str:
    id = (await engine.create(order)).id
    await engine.start(id)
    return id


async def heard(engine: Engine, id: str, text: str, within_s: float = 20.0) -> None:
    """Return once it has written that line: a process that was started need not have got anywhere yet."""
    async with asyncio.timeout(within_s):
        async for line in engine.logs(id, follow=True, tail=None, since=None):
            if line.text == text:
                return
    raise AssertionError(f"it never said {text!r}")


async def ended(engine: Engine, orders: Orders, order: ContainerOrder) -> Container:
    """What is left of a container that was started and has exited by itself."""
    return await until(engine, orders, await started(engine, order), exited)


class Peer:
    """A real HTTP server that answers like an engine of a version that is not at hand, or like a broken one."""

    def __init__(self, api: str = "1.41", api_min: str = "1.12") -> None:
        self.api, self.api_min = api, api_min
        self.pings_tell = True
        """Whether its answer to a ping tells its version."""
        self.asked: list[str] = []
        """Each request as `METHOD /path`, with the version in it."""
        self.answers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        """By `METHOD /path` without the version."""
        self.url = ""

    def count(self, request: str) -> int:
        return sum(request in one for one in self.asked)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if request.path == "/_ping":
            return web.Response(text="OK", headers={"Api-Version": self.api} if self.pings_tell else {})
        if request.path == "/version":
            return web.json_response({"ApiVersion": self.api, "MinAPIVersion": self.api_min})
        _, version, path = request.path.split("/", 2)
        spoken, oldest, newest = (number(one) for one in (version[1:], self.api_min, self.api))
        if spoken < oldest:
            words = f"client version {version[1:]} is too old. Minimum supported API version is {self.api_min}"
            return web.json_response({"message": words}, status=400)
        if spoken > newest:
            words = f"client version {version[1:]} is too new. Maximum supported API version is {self.api}"
            return web.json_response({"message": words}, status=400)
        known = self.answers.get(f"{request.method} /{path}")
        return await known(request) if known else web.json_response({"message": "page not found"}, status=404)


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@asynccontextmanager
async def serving(
    peer: Peer, port: int = 0, path: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """On a loopback port, or on a socket at `path`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", peer.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        if path is not None:
            await web.UnixSite(runner, str(path)).start()
            peer.url = f"unix://{path}"
        else:
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
            peer.url = f"tcp://127.0.0.1:{runner.addresses[0][1]}"
        yield peer
    finally:
        await runner.cleanup()


class Registry:
    """As much of an image registry as a pull needs, with one image of one file. Engines take one on a loopback address
    without TLS."""

    def __init__(self) -> None:
        self.pulls = 0
        """How often the image's manifest was asked for by tag."""
        self.broken_layer = False
        self.hold: asyncio.Event | None = None
        """If there is one, layers come once it is set."""
        self._blobs: dict[str, bytes] = {}
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            # New in each test, or the engine would have it already.
            tar.addfile(tarfile.TarInfo(secrets.token_hex(8)))
        self._layer = self._add(layer.getvalue())
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [self._layer["digest"]]},
        }
        self._manifest = msgspec.json.encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": f"{DISTRIBUTION}.image.v1+json", **self._add(msgspec.json.encode(config))},
                "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar", **self._layer}],
            }
        )

    def _add(self, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self._blobs[digest] = content
        return {"size": len(content), "digest": digest}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind, _, reference = request.path.rpartition("/")
        if request.path == "/v2/":
            return web.json_response({})
        if kind.endswith("/manifests"):
            if reference not in ("1", f"sha256:{hashlib.sha256(self._manifest).hexdigest()}"):
                words = {"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}
                return web.json_response({"errors": [words]}, status=404)
            self.pulls += reference == "1" and request.method == "HEAD"
            digest = f"sha256:{hashlib.sha256(self._manifest).hexdigest()}"
            headers = {"Content-Type": MANIFEST, "Docker-Content-Digest": digest}
            return web.Response(body=self._manifest, headers=headers)
        if reference == self._layer["digest"]:
            if self.hold is not None:
                await self.hold.wait()
            if self.broken_layer:
                return web.json_response({"errors": [{"code": "DENIED", "message": "not for you"}]}, status=403)
        return web.Response(body=self._blobs[reference])


@asynccontextmanager
async def registry() -> AsyncIterator[tuple[Registry, str]]:
    """A registry and the name of its image."""
    served = Registry()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield served, f"127.0.0.1:{runner.addresses[0][1]}/one/file:1"
    finally:
        await runner.cleanup()
