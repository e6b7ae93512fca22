"""An engine that gets its images from the one around it: two real engines, of which one has what the other lacks."""

import asyncio
import io
import secrets
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from longshore.engine.cgroups import Cgroups
from longshore.engine.docker import DockerEngine
from longshore.engine.docker_nodes import NodesEngine
from longshore.engine.supplied import SuppliedEngine
from longshore.model.errors import Refused
from longshore.model.spec import Pull
from tests.dockerd import EngineApi, PrivateEngine
from tests.engines import docker, docker_url, orders

__all__ = ["docker", "orders"]


class Source(NodesEngine):
    """The engine around, where somebody builds images."""

    def __init__(self) -> None:
        super().__init__(docker_url())
        self.image = f"127.0.0.1:1/longshore/test-{secrets.token_hex(4)}"
        """Of a registry that refuses connections."""
        self._built: set[str] = set()

    async def build(self, tag: str) -> str:
        """An image, or the same one anew."""
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            tar.addfile(tarfile.TarInfo(secrets.token_hex(8)))
        name = f"{self.image}:{tag}"
        await self.import_image(name, content.getvalue())
        self._built.add(await self.image_id(name) or "")
        return name

    def clean(self) -> None:
        api = EngineApi(docker_url())
        for id in self._built:
            with suppress(OSError):
                api.ask("DELETE", f"/images/{quote(id)}", {"force": "1"})


@pytest.fixture
async def source(docker: DockerEngine) -> AsyncIterator[Source]:
    made = Source()
    try:
        yield made
    finally:
        await made.close()
        made.clean()


@pytest.fixture
async def supplied(source: Source, private_engine: PrivateEngine) -> AsyncIterator[SuppliedEngine]:
    engine = SuppliedEngine(private_engine.api.url, inside="", source=source)
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture
def loads(private_engine: PrivateEngine) -> Callable[[], int]:
    """How often the inner engine was brought an image."""
    since = time.time()

    def count() -> int:
        only = msgspec.json.encode({"type": ["image"], "event": ["load"]}).decode()
        query = {"filters": only, "since": f"{since:.9f}", "until": f"{time.time():.9f}"}
        return len(private_engine.api.ask("GET", "/events", query).splitlines())

    return count


async def test_images_come_from_the_engine_around(
    source: Source, supplied: SuppliedEngine, loads: Callable[[], int]
) -> None:
    image = await source.build("1")

    # Several tasks of one image begin at the same time. A registry may not be asked, and none is.
    await asyncio.gather(*(supplied.prepare(image, Pull.NEVER) for _ in range(4)))
    assert await supplied.image_id(image) == await source.image_id(image) is not None
    assert loads() == 1

    # Built anew under the same name, it is another image to the next task.
    await source.build("1")
    assert await supplied.image_id(image) != await source.image_id(image)
    await supplied.prepare(image, Pull.MISSING)
    assert await supplied.image_id(image) == await source.image_id(image)
    assert loads() == 2

    # Only that one: not every tag of its name.
    other = await source.build("latest")
    await supplied.prepare(source.image, Pull.MISSING)
    assert await supplied.image_id(other) == await source.image_id(other)
    assert await source.build("2")
    assert await supplied.image_id(f"{source.image}:2") is None


async def test_a_registry_is_asked_as_on_any_other_engine(
    source: Source, supplied: SuppliedEngine, loads: Callable[[], int]
) -> None:
    there = await source.build("1")
    nowhere = f"{source.image}:nowhere"
    with pytest.raises(Refused, match="No such image"):
        await supplied.prepare(nowhere, Pull.NEVER)
    with pytest.raises(Refused, match="connection refused"):
        await supplied.prepare(nowhere, Pull.MISSING)
    with pytest.raises(Refused, match="connection refused"):
        await supplied.prepare(there, Pull.ALWAYS)
    assert loads() == 0


async def test_it_says_whose_capacity_it_has(source: Source, supplied: SuppliedEngine) -> None:
    facts, capacity = await supplied.describe()
    assert facts.version
    assert capacity == (await source.describe())[1]


async def test_what_is_no_image_is_refused(supplied: SuppliedEngine) -> None:
    async def nonsense() -> AsyncIterator[bytes]:
        yield b"this is no tar"

    with pytest.raises(Refused):
        await supplied.load_image(nonsense())


@pytest.mark.parametrize(
    ("mounts", "place"),
    [
        ("cgroup /sys/fs/cgroup/memory cgroup rw,memory,cpuacct 0 0", "memory/docker/outer/docker/inner"),
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", "system.slice/docker-outer.scope/docker/inner"),
    ],
)
def test_what_is_inside_is_booked_below_the_container_around(tmp_path: Path, mounts: str, place: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/mounts").write_text(f"{mounts}\n")
    account = tmp_path / "sys/fs/cgroup" / place
    account.mkdir(parents=True)
    cgroups = Cgroups(tmp_path, inside="outer")
    known = cgroups.well_known("inner")
    assert known is not None
    assert known.memory == account

    # Process 1 of the container is another one here.
    assert cgroups.of_process(1, "inner") == known
    assert cgroups.well_known("other") is None
    assert Cgroups(tmp_path).well_known("inner") is None
