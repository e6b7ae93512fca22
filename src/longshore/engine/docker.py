"""Docker, and whatever else speaks its API, behind the `Engine` port.

Knows which call of the API does what the port asks, and which of its answers is which failure of ours; how calls travel
is `docker_http`'s, their JSON `docker_json`'s. Keeps no state of containers: the engine is asked each time, because
anybody may change things there.
"""

import asyncio
import math
import re
import shutil
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import TypeVar
from urllib.parse import quote

from longshore.engine import docker_exec, docker_json
from longshore.engine.cgroups import Account, Cgroups, used
from longshore.engine.docker_http import Declined, Silent, Wire, read_json
from longshore.engine.docker_json import About, Created, Happened, Info, Inspected, Listed, Progress
from longshore.engine.docker_logs import Lines
from longshore.engine.limits import (
    ANSWER_LIMIT_S,
    CONNECT_LIMIT_S,
    EVENTS_SILENCE_S,
    OTHERS_LIMIT_S,
    PROGRAMS_MAX,
    PULL_SILENCE_S,
    STOP_LIMIT_S,
    WORK_LIMIT_S,
)
from longshore.model.containers import LABEL_SPEC, Container, ContainerOrder, LogLine, Ran
from longshore.model.errors import Failure, NotFound, PortTaken, Refused, Unavailable
from longshore.model.objects import Capacity, EngineFacts
from longshore.model.spec import Pull

INSPECTS_AT_ONCE = 8
NAME_WAIT_S = 0.05
LOAD_LIMIT_S = 600.0
REMEMBERED_EVENTS = 512
"""Twice what an engine keeps to send again."""

T = TypeVar("T")

_PORT_TAKEN = ("port is already allocated", "address already in use")
_PORT = re.compile(r"(?:Bind for|listen \w+|bind host port(?: for)?) ((?:[\d.]+|\[[\da-f:]*\]|::):\d+)")
# What the engine says when it is itself without its containerd: a fault of the moment, not of the order.
_NOT_NOW = (
    "error while dialing",
    "transport is closing",
    "ttrpc: closed",
    "ttrpc: server closed",
    "code = unavailable",
)


class DockerEngine:
    """The `Engine` port over `url`: `unix:///path`, `tcp://host:port` (also `http://`) or `https://host:port`."""

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        plain_tcp: bool = False,
        inside: str = "",
        connect_limit_s: float = CONNECT_LIMIT_S,
        answer_limit_s: float = ANSWER_LIMIT_S,
        events_silence_s: float = EVENTS_SILENCE_S,
    ) -> None:
        """`inside` is the id of the container that the engine itself runs in, if it is one of this machine. Raises
        Invalid for an address that is none, or is another machine's without TLS unless `plain_tcp`."""
        self.url = url
        self._wire = Wire(
            url, tls=tls, plain_tcp=plain_tcp, connect_limit_s=connect_limit_s, answer_limit_s=answer_limit_s
        )
        self._events_silence_s = events_silence_s
        self._pulls: dict[str, asyncio.Future[Failure | None]] = {}
        self._cores: int | None = None
        self._cgroups = Cgroups(inside=inside)
        self._accounts: dict[str, Account | None] = {}
        """By container; None once it is known to have ended."""

    async def describe(self) -> tuple[EngineFacts, Capacity]:
        info = (await self._wire.call("GET", "/info")).read(Info)
        about = (await self._wire.call("GET", "/version")).read(About)
        disk = await asyncio.to_thread(_disk_bytes, info.docker_root_dir) if self._wire.local else 0
        self._cores = info.n_cpu
        return docker_json.facts(info, about), docker_json.capacity(info, disk)

    async def ping(self) -> None:
        await self._wire.ping()

    async def containers(self, cluster: str, node: str) -> Sequence[Container]:
        query = {"all": "1", "filters": docker_json.filters(label=docker_json.label_filter(cluster, node))}
        listed = (await self._wire.call("GET", "/containers/json", query)).read(list[Listed])
        at_once = asyncio.Semaphore(INSPECTS_AT_ONCE)

        async def look(entry: Listed) -> Container | None:
            seen = docker_json.seen_in_list(entry)
            if seen is not None:
                return seen
            async with at_once:
                try:
                    return await self.container(entry.id)
                except Unavailable:
                    return docker_json.unknown(entry)

        looked = await _all(look(entry) for entry in listed)
        return [container for container in looked if container is not None]

    async def container(self, id: str) -> Container | None:
        inspected = await self._inspect(id)
        return docker_json.seen_closely(inspected) if inspected is not None else None

    async def inspect(self, id: str) -> bytes | None:
        try:
            return (await self._wire.call("GET", f"/containers/{quote(id)}/json")).body
        except Declined as declined:
            if _is_no_such_container(declined):
                return None
            raise

    async def prepare(self, image: str, pull: Pull) -> None:
        if pull is not Pull.ALWAYS:
            try:
                await self._wire.call("GET", f"/images/{quote(image, safe='/:@')}/json")
            except Declined as declined:
                if declined.status >= 500:
                    raise
                if pull is Pull.NEVER or declined.status != 404:
                    raise Refused(declined.message) from declined
            else:
                return
        await self._pull_once(image)

    async def image_id(self, image: str) -> str | None:
        """What identifies the content that the engine has under this name, None if it has none."""
        try:
            return (await self._wire.call("GET", f"/images/{quote(image, safe='/:@')}/json")).read(Created).id
        except Declined as declined:
            if declined.status >= 500:
                raise
            return None

    async def save_image(self, image: str) -> AsyncGenerator[bytes, None]:
        """An image that it has, as a tar. Raises Refused with the engine's own words."""
        name = docker_json.image_query(image)["fromImage"]  # without a tag it would be every tag of that name
        stream = self._wire.stream(
            "GET",
            f"/images/{quote(name, safe='/:@')}/get",
            {},
            silence_s=PULL_SILENCE_S,
            answer_limit_s=PULL_SILENCE_S,
        )
        try:
            async with aclosing(stream) as pieces:
                async for piece in pieces:
                    if piece:
                        yield piece
        except Declined as declined:
            raise Refused(declined.message) from declined

    async def load_image(self, pieces: AsyncIterable[bytes]) -> None:
        """Take over what another engine's `save_image` gives. Raises Refused with the engine's own words."""
        reply = await self._wire.call("POST", "/images/load", {"quiet": "1"}, tar=pieces, limit_s=LOAD_LIMIT_S)
        must_have_worked(reply.body)

    async def create(self, order: ContainerOrder) -> Container:
        if order.spec.limits.cpu and self._cores is None:
            await self.describe()
        body = docker_json.create_body(order, cores=self._cores or 0)
        give_up = asyncio.get_running_loop().time() + OTHERS_LIMIT_S
        while True:
            try:
                reply = await self._wire.call(
                    "POST", "/containers/create", {"name": order.name}, body, limit_s=WORK_LIMIT_S
                )
                return docker_json.just_made(reply.read(Created).id, order)
            except Declined as declined:
                if declined.status != 409:
                    raise _refusal(declined) from declined
                there = await self._inspect(order.name)
                if there is not None and there.labels.get(LABEL_SPEC) == order.fingerprint:
                    return docker_json.seen_closely(there)
                if there is not None or asyncio.get_running_loop().time() > give_up:
                    raise Refused(declined.message) from declined
            # A name is taken a moment before there is a container of that name, and given back a moment after.
            await asyncio.sleep(NAME_WAIT_S)

    async def start(self, id: str) -> None:
        try:
            await self._wire.call("POST", f"/containers/{quote(id)}/start", limit_s=WORK_LIMIT_S)
        except Declined as declined:
            if _is_no_such_container(declined):
                raise NotFound(declined.message) from declined
            raise _refusal(declined) from declined

    async def stop(self, id: str, grace_s: float) -> None:
        grace = math.ceil(grace_s)
        try:
            await self._wire.call(
                "POST", f"/containers/{quote(id)}/stop", {"t": str(grace)}, limit_s=grace + STOP_LIMIT_S
            )
        except Declined as declined:
            if not _is_no_such_container(declined):
                raise

    async def remove(self, id: str) -> None:
        try:
            await self._wire.call("DELETE", f"/containers/{quote(id)}", {"force": "1", "v": "1"}, limit_s=WORK_LIMIT_S)
        except Declined as declined:
            if declined.status == 409:
                await self._wait_until_gone(id)
            elif not _is_no_such_container(declined):
                raise

    async def events(self, cluster: str, node: str) -> AsyncGenerator[str, None]:
        """A stream that brings nothing for a while may have lost its other end, so it is then opened anew, from where
        it was: what comes twice is given out once."""
        query = {
            "filters": docker_json.filters(
                type=["container"], event=list(docker_json.EVENTS), label=docker_json.label_filter(cluster, node)
            )
        }
        # The engine answers just before it begins to listen. By asking for a little of the past, by its own clock,
        # nothing is lost in between.
        began = (await self._wire.ping()).at
        if began is not None:
            query["since"] = str(int(began) - 1)
        given: deque[Happened] = deque(maxlen=REMEMBERED_EVENTS)
        while True:
            stream = self._wire.stream_lines("GET", "/events", query, silence_s=self._events_silence_s)
            try:
                async with aclosing(stream) as lines:
                    async for line in lines:
                        if not line:
                            yield ""
                            continue
                        happened = read_json(line, Happened)
                        if happened in given:
                            continue
                        given.append(happened)
                        query["since"] = happened.since
                        yield happened.actor.id
            except Silent:
                await self._wire.ping()
            else:
                raise Unavailable("the engine ended its stream of events")

    async def exec(self, id: str, command: Sequence[str], timeout_s: float) -> Ran:
        inspected = await self._inspect(id)
        if inspected is not None and len(inspected.exec_ids or ()) >= PROGRAMS_MAX:
            raise Refused(f"{PROGRAMS_MAX} programs that were run in it before have not ended")
        try:
            return await docker_exec.run(self._wire, id, command, timeout_s)
        except Declined as declined:
            # 409: it does not run.
            if declined.status in (404, 409):
                raise NotFound(declined.message) from declined
            raise

    async def logs(
        self, id: str, *, follow: bool, tail: int | None, since: float | None
    ) -> AsyncGenerator[LogLine, None]:
        query = {
            "stdout": "1",
            "stderr": "1",
            "timestamps": "1",
            "follow": "1" if follow else "0",
            "tail": "all" if tail is None else str(tail),
        }
        if since is not None:
            query["since"] = f"{since:.6f}"
        lines = Lines(after=since)  # as the engine's `since` includes that moment
        silence_s = None if follow else ANSWER_LIMIT_S
        try:
            async with aclosing(
                self._wire.stream("GET", f"/containers/{quote(id)}/logs", query, silence_s=silence_s)
            ) as pieces:
                async for piece in pieces:
                    for line in lines.feed(piece):
                        yield line
        except Declined as declined:
            # 409: it is being removed.
            if _is_no_such_container(declined) or declined.status == 409:
                raise NotFound(declined.message) from declined
            raise
        for line in lines.rest():
            yield line

    async def usage(self, ids: Sequence[str]) -> tuple[float, int]:
        """Zero for an engine on another machine: its files are not here, and its own statistics take a second each."""
        if not self._wire.local:
            return 0.0, 0
        self._accounts = {id: self._accounts[id] for id in ids if id in self._accounts}
        new = [id for id in ids if id not in self._accounts]
        for id, account in zip(new, await asyncio.to_thread(_well_known, self._cgroups, new), strict=True):
            if account is not None:
                self._accounts[id] = account
        at_once = asyncio.Semaphore(INSPECTS_AT_ONCE)
        await _all(self._find_account(id, at_once) for id in new if id not in self._accounts)
        accounts = [account for account in self._accounts.values() if account is not None]
        figures = await asyncio.to_thread(lambda: [used(account) for account in accounts])
        return sum(cpu_s for cpu_s, _ in figures), sum(memory for _, memory in figures)

    async def close(self) -> None:
        await self._wire.close()

    async def _inspect(self, id: str) -> Inspected | None:
        try:
            return (await self._wire.call("GET", f"/containers/{quote(id)}/json")).read(Inspected)
        except Declined as declined:
            if _is_no_such_container(declined):
                return None
            raise

    async def _find_account(self, id: str, at_once: asyncio.Semaphore) -> None:
        async with at_once:
            inspected = await self._inspect(id)
        if inspected is not None and inspected.state.pid:
            account = await asyncio.to_thread(self._cgroups.of_process, inspected.state.pid, id)
            self._accounts[id] = account
        elif inspected is None or inspected.state.status != "created":
            self._accounts[id] = None

    async def _pull_once(self, image: str) -> None:
        """Pull, or wait for a pull of the same image that is under way."""
        while image in self._pulls:
            under_way = self._pulls[image]
            await asyncio.wait([under_way])
            if not under_way.cancelled():  # else whoever pulled was told to stop: try it ourselves
                failure = under_way.result()
                if failure is not None:
                    raise type(failure)(failure.message) from failure
                return
        mine = self._pulls[image] = asyncio.get_running_loop().create_future()
        try:
            await self._pull(image)
        except Failure as failure:
            mine.set_result(failure)
            raise
        except BaseException:
            mine.cancel()
            raise
        else:
            mine.set_result(None)
        finally:
            del self._pulls[image]

    async def _pull(self, image: str) -> None:
        """The engine answers 200 as soon as it has begun; whether it worked is said in the last lines."""
        stream = self._wire.stream_lines(
            "POST",
            "/images/create",
            docker_json.image_query(image),
            silence_s=PULL_SILENCE_S,
            answer_limit_s=PULL_SILENCE_S,
        )
        try:
            async with aclosing(stream) as lines:
                async for line in lines:
                    error = read_json(line, Progress).error if line else ""
                    if error:
                        raise Refused(error)
        except Declined as declined:
            raise Refused(declined.message) from declined

    async def _wait_until_gone(self, id: str) -> None:
        """Somebody else is removing it. Raises Unavailable if that takes too long."""
        try:
            await self._wire.call(
                "POST", f"/containers/{quote(id)}/wait", {"condition": "removed"}, limit_s=OTHERS_LIMIT_S
            )
        except Declined as declined:
            if not _is_no_such_container(declined):
                raise


def must_have_worked(body: bytes) -> None:
    """An engine that is sent an image answers 200 before it has looked at it; whether it took it is a line of this."""
    for line in body.splitlines():
        error = read_json(line, Progress).error if line.strip() else ""
        if error:
            raise Refused(error)


def _refusal(declined: Declined) -> Failure:
    """What the engine's no to a create or start means."""
    words = declined.message
    if any(mark in words for mark in _PORT_TAKEN):
        port = _PORT.search(words)
        return PortTaken(f"{port[1]} is taken: {words}" if port else words)
    if declined.status == 503 or any(mark in words.lower() for mark in _NOT_NOW):
        return Unavailable(words)
    return Refused(words)


def _is_no_such_container(declined: Declined) -> bool:
    """And not, for example, a network that it needs."""
    return declined.status == 404 and "no such container" in declined.message.lower()


async def _all(work: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """All results in order, or the first failure and nothing left running."""
    # Not a TaskGroup: see `loop.together`.
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _well_known(cgroups: Cgroups, ids: list[str]) -> list[Account | None]:
    return [cgroups.well_known(id) for id in ids]


def _disk_bytes(directory: str) -> int:
    try:
        return shutil.disk_usage(directory).total
    except OSError:
        return 0
