"""Engines for tests: the real one of this machine, the fake one, and what their tests ask for.

Every test gets labels of its own and removes what bears them, so that tests neither see each other's containers nor
those of a cluster that runs on the same engine.
"""

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable

import pytest

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
    id = await engine.create(order)
    await engine.start(id)
    return id


async def ended(engine: Engine, orders: Orders, order: ContainerOrder) -> Container:
    """What is left of a container that was started and has exited by itself."""
    return await until(engine, orders, await started(engine, order), exited)
