"""What every prober promises, and what only one over real sockets can show: which way it takes, and in which words it
says what was wrong."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from longshore.agent.prober import REASON_MAX, SocketProber, speaks_from, way_to
from longshore.engine.docker import DockerEngine
from longshore.engine.fake import FakeEngine, FakeMachine, FakeProber
from longshore.model.containers import Assigned, Container, Status, Target, target_of
from longshore.model.errors import Refused, Unavailable
from longshore.model.objects import PublishedPort
from longshore.model.spec import HttpProbe, Probe, Pull, ServiceSpec, TcpProbe
from tests.engines import DEMO, Orders, docker, machine, orders
from tests.situations import task

__all__ = ["docker", "machine", "orders"]

NOBODY = Container(id="c1", task="web.1.1", fingerprint="f", status=Status.RUNNING)
Answer = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def published(port: int, probe: Probe, ip: str = "127.0.0.1") -> Target:
    return Target(container=NOBODY, probe=probe, published=PublishedPort(container=80, host=port, ip=ip))


def http(**more: object) -> Probe:
    return Probe(http=HttpProbe(**({"port": 80} | more)))  # type: ignore[arg-type]


TCP = Probe(tcp=TcpProbe(port=80))


@pytest.fixture
async def prober() -> AsyncIterator[SocketProber]:
    one = SocketProber("127.0.0.1")
    yield one
    await one.close()


@asynccontextmanager
async def program(answer: Answer) -> AsyncIterator[int]:
    """The port of a program that answers like this to what it is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # nothing was asked, or whoever asked has gone
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def says(text: str, body: bytes = b"") -> Answer:
    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{text}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    return answer


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


async def outcome(prober: SocketProber, target: Target) -> str:
    """Empty if it passes, else what was wrong. Nothing here may take long, so a wait without end is a failure."""
    async with asyncio.timeout(5.0):
        try:
            await prober.probe(target)
        except Unavailable as failure:
            return failure.message
    return ""


# -- HTTP


@pytest.mark.parametrize(
    ("status", "accepts", "said"),
    [
        ("200 OK", (), ""),
        ("204 No Content", (), ""),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", (), ""),
        ("304 Not Modified", (), ""),
        ("404 Not Found", (), "GET /: 404 Not Found"),
        ("500 Internal Server Error", (), "GET /: 500 Internal Server Error"),
        ("503", (), "GET /: 503"),
        ("200 OK", (204,), "GET /: 200 OK"),
        ("404 Not Found", (200, 404), ""),
    ],
)
async def test_the_status_decides(prober: SocketProber, status: str, accepts: tuple[int, ...], said: str) -> None:
    async with program(says(f"HTTP/1.1 {status}")) as port:
        assert await outcome(prober, published(port, http(accepts=accepts))) == said


async def test_words_after_a_status_that_no_report_could_carry(prober: SocketProber) -> None:
    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 \xdcberlastet\x80 " + b"x" * 200 + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with program(answer) as port:
        said = await outcome(prober, published(port, http()))
    assert said.encode().startswith(b"GET /: 503 ")
    assert len(said) <= len("GET /: 503 ") + REASON_MAX


async def test_an_address_that_this_machine_has_lost(prober: SocketProber) -> None:
    """With the cable; the containers are as well as before, and are asked at their own addresses."""
    async with program(says("HTTP/1.1 200 OK")) as port:
        container = replace(HERE, address="127.0.0.1", gateway="127.0.0.1")
        target = Target(container=container, probe=http(port=port), published=PublishedPort(container=port, host=1))
        assert await outcome(prober, target) == ""
        prober._address = "203.0.113.9"
        assert await outcome(prober, target) == ""


async def test_a_name_that_cannot_be_looked_up_is_not_the_containers_fault() -> None:
    one = SocketProber("nobody.invalid")
    with pytest.raises(Refused):
        await one.probe(Target(container=NOBODY, probe=TCP, published=PORT))
    await one.close()


async def test_what_is_asked_arrives_as_it_was_written(prober: SocketProber) -> None:
    heard: list[bytes] = []

    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(asked)
        await says("HTTP/1.1 200 OK")(asked, reader, writer)

    async with program(answer) as port:
        probe = http(path="/a%2Fb?x=[1]&y=%20", headers={"Host": "web.example", "X-Key": "a b"})
        assert await outcome(prober, published(port, probe)) == ""
    line, *headers = heard[0].decode().split("\r\n")
    assert line == "GET /a%2Fb?x=[1]&y=%20 HTTP/1.1"
    assert {"Host: web.example", "X-Key: a b"} <= set(headers)


async def test_each_question_has_its_own_connection(prober: SocketProber) -> None:
    peers: list[object] = []

    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername"))
        await says("HTTP/1.1 200 OK", b"ok")(asked, reader, writer)

    async with program(answer) as port:
        for _ in range(3):
            assert await outcome(prober, published(port, http())) == ""
    assert len(set(peers)) == 3


async def test_a_body_without_end_is_not_read_to_its_end(prober: SocketProber) -> None:
    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with program(answer) as port:
        assert await outcome(prober, published(port, http())) == ""


async def test_a_body_that_does_not_come_is_not_waited_for(prober: SocketProber) -> None:
    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await reader.read()  # until whoever asked has gone

    async with program(answer) as port:
        assert await outcome(prober, published(port, http())) == ""


async def test_nothing_listens(prober: SocketProber) -> None:
    port = free_port()
    for probe in (http(), TCP):
        assert await outcome(prober, published(port, probe)) == f"connect to 127.0.0.1:{port}: refused"


async def test_a_connection_that_ends_without_an_answer(prober: SocketProber) -> None:
    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Says nothing."""

    async with program(answer) as port:
        said = await outcome(prober, published(port, http(path="/health")))
        assert said == "GET /health: the connection ended without an answer"


async def test_another_protocol(prober: SocketProber) -> None:
    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()

    async with program(answer) as port:
        assert await outcome(prober, published(port, http())) == "GET /: what answers does not speak HTTP"


async def test_who_is_asked_and_is_silent_can_be_given_up(prober: SocketProber) -> None:
    gone = asyncio.Event()

    async def answer(asked: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()

    async with program(answer) as port:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await prober.probe(published(port, http()))
        async with asyncio.timeout(5.0):
            await gone.wait()


# -- TCP


async def test_a_connection_is_enough(prober: SocketProber) -> None:
    async with program(says("")) as port:
        assert await outcome(prober, published(port, TCP)) == ""


# -- faults of this machine


@pytest.fixture
def no_files_left() -> Iterator[Callable[[], None]]:
    """Called, it takes the rest of the files that this process may open, until the test ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take() -> None:
        with socket.socket() as next_one:
            resource.setrlimit(resource.RLIMIT_NOFILE, (next_one.fileno(), before[1]))

    yield take
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("probe", [http(), TCP], ids=["http", "tcp"])
@pytest.mark.parametrize("container", [NOBODY, replace(NOBODY, address="127.0.0.5", gateway="127.0.0.1")])
async def test_a_worker_out_of_files_says_nothing_of_the_container(
    prober: SocketProber, no_files_left: Callable[[], None], probe: Probe, container: Container
) -> None:
    async with program(says("HTTP/1.1 200 OK")) as port:
        target = replace(published(port, probe), container=container)
        no_files_left()
        with pytest.raises(Refused, match="too many open files"):
            await prober.probe(target)


# -- the way


HERE = replace(NOBODY, address="127.0.0.5", gateway="127.0.0.1")
"""As on an engine of this machine: it is spoken to from the gateway's address."""
ELSEWHERE = replace(NOBODY, address="203.0.113.5", gateway="203.0.113.1")
PORT = PublishedPort(container=80, host=30_000)


@pytest.mark.parametrize(
    ("container", "port", "address", "way"),
    [
        pytest.param(HERE, None, "127.0.0.1", ("127.0.0.5", 80), id="its own address"),
        pytest.param(HERE, PORT, "127.0.0.1", ("127.0.0.5", 80), id="rather than a host port"),
        pytest.param(HERE, PORT, "203.0.113.9", ("203.0.113.9", 30_000), id="not if the node is another machine"),
        pytest.param(HERE, PORT, "node.example", ("node.example", 30_000), id="or may be"),
        pytest.param(ELSEWHERE, PORT, "127.0.0.1", ("127.0.0.1", 30_000), id="an engine elsewhere, and ports here"),
        pytest.param(ELSEWHERE, replace(PORT, ip="127.0.0.2"), "127.0.0.1", ("127.0.0.2", 30_000), id="as narrowed"),
        pytest.param(ELSEWHERE, replace(PORT, ip="::"), "127.0.0.1", ("127.0.0.1", 30_000), id="any address"),
        pytest.param(NOBODY, PORT, "127.0.0.1", ("127.0.0.1", 30_000), id="no address"),
    ],
)
def test_the_way(container: Container, port: PublishedPort | None, address: str, way: tuple[str, int]) -> None:
    here = speaks_from(address) == address
    assert way_to(Target(container=container, probe=TCP, published=port), address, here=here) == way


@pytest.mark.parametrize("container", [ELSEWHERE, NOBODY])
def test_no_way(container: Container) -> None:
    """Rather than to ask whoever has that address here."""
    with pytest.raises(Unavailable, match="cannot reach port 80; publish it"):
        way_to(Target(container=container, probe=TCP), "127.0.0.1", here=True)


# -- real containers


async def test_a_container_is_asked_at_its_own_address(
    docker: DockerEngine, orders: Orders, prober: SocketProber
) -> None:
    """Published too, on a port that only this machine's loopback has: there the engine's proxy takes connections for
    ports at which nobody listens."""
    port = free_port()
    order = orders(ports=(PublishedPort(container=81, host=port, ip="127.0.0.1"),))
    id = (await docker.create(order)).id
    await docker.start(id)
    seen = await docker.container(id)
    assert seen is not None
    assert seen.address
    assert seen == (await docker.containers(orders.cluster, order.node))[0], "a list shows the same"
    one = Assigned(task=replace(task(1), ports=order.ports), spec=ServiceSpec(image=DEMO))
    assert await reached(prober, target_of(one, seen, http(port=8080, path="/health"))) == ""
    assert await reached(prober, target_of(one, seen, Probe(tcp=TcpProbe(port=8080)))) == ""
    said = f"connect to {seen.address}:81: refused"
    assert await outcome(prober, target_of(one, seen, Probe(tcp=TcpProbe(port=81)))) == said
    said = "GET /nothing: 404 Not Found"
    assert await outcome(prober, target_of(one, seen, http(port=8080, path="/nothing"))) == said
    await docker.stop(id, 2.0)
    ended = await docker.container(id)
    assert ended is not None
    assert (ended.address, ended.gateway) == ("", "")


async def reached(prober: SocketProber, target: Target) -> str:
    """The outcome, once its program has begun to listen."""
    async with asyncio.timeout(10.0):
        while "refused" in (said := await outcome(prober, target)):  # noqa: ASYNC110  (no event tells)
            await asyncio.sleep(0.02)
    return said


# -- the fake


async def test_the_fake_answers_as_its_machine_is_told(machine: FakeMachine, orders: Orders) -> None:
    engine, prober = FakeEngine(machine), FakeProber(machine)
    await engine.prepare(DEMO, Pull.MISSING)
    id = (await engine.create(orders())).id
    seen = await engine.container(id)
    assert seen is not None
    target = Target(container=seen, probe=TCP)
    with pytest.raises(Unavailable, match="refused"):
        await prober.probe(target)
    await engine.start(id)
    await prober.probe(target)
    machine.ail(id, "GET /: 500")
    with pytest.raises(Unavailable, match="GET /: 500"):
        await prober.probe(target)
    machine.ail(id, "")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await prober.probe(target)
    machine.recover(id)
    await prober.probe(target)
    await engine.close()
