"""The engine without Longshore: its API spoken straight with aiohttp, for the other half of each comparison.

Does no more than it takes: no labels looked up, no picture kept, no retries. What a container is made from is not
written here but translated by Longshore's own adapter, so that both halves ask the engine for the same work.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from bench.figure import Trouble
from longshore.engine import docker_json
from longshore.model.containers import LABEL_CLUSTER, Assigned, order_for
from longshore.model.objects import Task, task_id
from longshore.model.spec import ServiceSpec

T = TypeVar("T")

CLUSTER = f"bench-{os.getpid()}"
"""What the containers of this run's other half are labelled with."""
ANSWER_S = 60.0
_GONE_ANYWAY = (404, 409)
"""Answers to a removal: somebody else did it, or is doing it."""


class _Made(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="Id")


class _About(msgspec.Struct, frozen=True, rename="pascal"):
    server_version: str = ""
    driver: str = ""
    cgroup_version: str = "1"
    cgroup_driver: str = ""


class RawEngine:
    """One engine's API."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http = http
        self._base = base

    async def warm_up(self, connections: int) -> None:
        """Have so many connections, so that making them is not measured."""
        await asyncio.gather(*(self._ask("GET", "/_ping") for _ in range(connections)))

    async def describe(self) -> str:
        about = msgspec.json.decode(await self._ask("GET", "/info"), type=_About)
        return (
            f"Docker Engine {about.server_version}, storage {about.driver}, "
            f"cgroups {about.cgroup_version} by {about.cgroup_driver}"
        )

    async def create(self, name: str, body: bytes) -> str:
        answer = await self._ask("POST", f"/containers/create?name={quote(name)}", body)
        return msgspec.json.decode(answer, type=_Made).id

    async def start(self, id: str) -> None:
        await self._ask("POST", f"/containers/{id}/start")

    async def stop(self, id: str) -> None:
        await self._ask("POST", f"/containers/{id}/stop?t=10")

    async def kill(self, id: str) -> None:
        await self._ask("POST", f"/containers/{id}/kill")

    async def wait(self, id: str) -> None:
        """Until it has exited."""
        await self._ask("POST", f"/containers/{id}/wait")

    async def remove(self, id: str) -> None:
        await self._ask("DELETE", f"/containers/{id}?force=1&v=1")

    async def labelled(self, cluster: str) -> list[str]:
        """Ids of a cluster's containers, in any state."""
        wanted = quote(docker_json.filters(label=[f"{LABEL_CLUSTER}={cluster}"]))
        answer = await self._ask("GET", f"/containers/json?all=1&filters={wanted}")
        return [one.id for one in msgspec.json.decode(answer, type=list[_Made])]

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            async with self._http.request(method, self._base + path, data=body, headers=headers) as response:
                answer, status = await response.read(), response.status
        except (aiohttp.ClientError, OSError) as error:
            raise Trouble(f"the engine does not answer: {str(error) or type(error).__name__}") from error
        if status >= 400 and not (method == "DELETE" and status in _GONE_ANYWAY):
            raise Trouble(f"the engine answered {status} to {method} {path}: {answer.decode()[:200]}")
        return answer


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RawEngine]:
    parts = urlsplit(url)
    unix = parts.scheme == "unix"
    connector = aiohttp.UnixConnector(parts.path, limit=0) if unix else aiohttp.TCPConnector(limit=0)
    base = "http://localhost" if unix else f"http://{parts.hostname}:{parts.port or 2375}"
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(ANSWER_S)) as http:
        yield RawEngine(http, base)


def on_engine(url: str, work: Callable[[RawEngine], Coroutine[Any, Any, T]]) -> T:
    """Do something with an engine, on an event loop of its own."""

    async def main() -> T:
        async with connected(url) as engine:
            return await work(engine)

    return asyncio.run(main())


def bodies(spec: ServiceSpec, count: int) -> list[tuple[str, bytes]]:
    """Names and bodies for that many containers of an admitted spec, as Longshore's adapter writes them."""
    made = []
    for slot in range(1, count + 1):
        task = Task(
            id=task_id("raw", slot, 1), service="raw", slot=slot, generation=1, release=1, created_at=time.time()
        )
        order = order_for(Assigned(task=task, spec=spec), cluster=CLUSTER, node="n1")
        made.append((order.name, docker_json.create_body(order, cores=os.cpu_count() or 0)))
    return made


async def start_all(engine: RawEngine, wanted: Sequence[tuple[str, bytes]], at_once: int) -> float:
    """Create and start containers; the seconds it took."""

    async def begin(one: tuple[str, bytes]) -> None:
        await engine.start(await engine.create(*one))

    await engine.warm_up(at_once)
    began = time.perf_counter()
    await _side_by_side(begin, wanted, at_once)
    return time.perf_counter() - began


async def stop_all(engine: RawEngine, at_once: int) -> float:
    """Stop and remove the containers of this run's other half; the seconds it took."""
    ids = await engine.labelled(CLUSTER)

    async def end(id: str) -> None:
        await engine.stop(id)
        await engine.remove(id)

    began = time.perf_counter()
    await _side_by_side(end, ids, at_once)
    return time.perf_counter() - began


async def sweep(engine: RawEngine, cluster: str) -> None:
    """Remove whatever is left of a cluster's containers."""
    await _side_by_side(engine.remove, await engine.labelled(cluster), 4)


async def _side_by_side(work: Callable[[T], Awaitable[None]], items: Iterable[T], at_once: int) -> None:
    """Work through the items, so many at a time, in order."""
    line = iter(items)

    async def take() -> None:
        for item in line:
            await work(item)

    await asyncio.gather(*(take() for _ in range(at_once)))
