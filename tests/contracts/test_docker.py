"""What only a real engine, or a real peer that speaks its API, can show: that limits bind, that versions are agreed on,
that what goes wrong on the wire is told.

The first half asks the Docker Engine of this machine, the second half a small HTTP server that answers like an engine
that is not at hand. What both engines promise is in `test_engine`.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from time import monotonic, time
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from longshore.engine.cgroups import Cgroups, used
from longshore.engine.docker import DockerEngine
from longshore.engine.docker_json import create_body
from longshore.engine.docker_logs import LINE_BYTES_MAX, Lines
from longshore.model.containers import ContainerOrder, LogLine, Status
from longshore.model.errors import Invalid, PortTaken, Refused, Unavailable
from longshore.model.objects import PublishedPort
from longshore.model.spec import (
    HealthCheck,
    Limits,
    LogRotation,
    Mount,
    MountKind,
    Protocol,
    Pull,
    Resources,
    ServiceSpec,
)
from tests.engines import (
    DEMO,
    NODE,
    Orders,
    Peer,
    docker,
    docker_url,
    ended,
    heard,
    orders,
    registry,
    serving,
    skip_unless_local,
    started,
)

__all__ = ["docker", "orders"]

ANYWHERE = "0.0.0.0"  # noqa: S104
FULL = ServiceSpec(
    image=DEMO,
    command=("sleep", "60"),
    env={"COLOUR": "red", "LONGSHORE_NODE": "mine"},
    user="65534:65534",
    working_dir="/tmp",
    hostname="host-of-mine",
    labels={"com.example.team": "blue", "longshore.task": "forged"},
    stop_signal="SIGUSR1",
    stop_grace_s=2.5,
    resources=Resources(cpu=0.5, memory=16 << 20),
    limits=Limits(cpu=0.75, memory=64 << 20, pids=64),
    mounts=(Mount(kind=MountKind.TMPFS, target="/scratch", size_bytes=1 << 20),),
    read_only=True,
    cap_drop=("ALL",),
    cap_add=("NET_BIND_SERVICE",),
    log=LogRotation(size_bytes=1 << 20, files=2),
    health=HealthCheck(test=("CMD", "true"), interval_s=1.5, timeout_s=2, retries=4, start_period_s=0.25),
)


async def raw(method: str, path: str) -> Any:
    """The engine's own answer, by a way that is not under test."""
    url = docker_url()
    unix = url.startswith("unix://")
    connector = aiohttp.UnixConnector(url.removeprefix("unix://")) if unix else aiohttp.TCPConnector()
    base = "http://localhost" if unix else url.replace("tcp://", "http://")
    async with aiohttp.ClientSession(connector=connector) as session, session.request(method, base + path) as response:
        body = await response.read()
        assert response.status < 400, body
        return msgspec.json.decode(body) if body else None


async def output(engine: DockerEngine, orders: Orders, order: ContainerOrder) -> list[str]:
    """Run it to its end, and what it said."""
    seen = await ended(engine, orders, order)
    return [line.text async for line in engine.logs(seen.id, follow=False, tail=None, since=None)]


def spec(script: str, **changes: Any) -> ServiceSpec:
    return ServiceSpec(image=DEMO, command=("sh", "-c", script), **changes)


class TestOrders:
    """What becomes of a spec."""

    async def test_every_field_arrives(self, docker: DockerEngine, orders: Orders) -> None:
        ports = (
            PublishedPort(container=80, host=28080, ip="127.0.0.1"),
            PublishedPort(container=80, host=28081),
            PublishedPort(container=53, host=28053, protocol=Protocol.UDP),
        )
        order = orders(spec=FULL, ports=ports)
        made = await raw("GET", f"/containers/{(await docker.create(order)).id}/json")
        config, host = made["Config"], made["HostConfig"]
        assert made["Name"] == f"/{order.name}"
        assert (config["Cmd"], config["User"], config["WorkingDir"]) == (["sleep", "60"], "65534:65534", "/tmp")
        assert (config["Hostname"], config["StopSignal"], config["StopTimeout"]) == ("host-of-mine", "SIGUSR1", 3)
        assert {"COLOUR=red", "LONGSHORE_NODE=mine", "LONGSHORE_SERVICE=web"} < set(config["Env"])
        assert f"LONGSHORE_TASK={order.task}" in config["Env"]
        assert config["Labels"] | {"longshore.demo": ""} == {
            "com.example.team": "blue",
            "longshore.cluster": orders.cluster,
            "longshore.node": NODE,
            "longshore.service": "web",
            "longshore.spec": order.fingerprint,
            "longshore.task": order.task,
            "longshore.demo": "",
        }
        assert config["Healthcheck"] == {
            "Test": ["CMD", "true"],
            "Interval": 1_500_000_000,
            "Timeout": 2_000_000_000,
            "StartPeriod": 250_000_000,
            "Retries": 4,
        }
        assert set(config["ExposedPorts"]) >= {"80/tcp", "53/udp"}
        assert host["PortBindings"] == {
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "28080"}, {"HostIp": ANYWHERE, "HostPort": "28081"}],
            "53/udp": [{"HostIp": ANYWHERE, "HostPort": "28053"}],
        }
        assert (host["Memory"], host["MemorySwap"], host["MemoryReservation"]) == (64 << 20, 64 << 20, 16 << 20)
        assert (host["NanoCpus"], host["CpuShares"], host["PidsLimit"]) == (750_000_000, 512, 64)
        assert (host["ReadonlyRootfs"], host["Init"], host["Privileged"]) == (True, False, False)
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert {one.removeprefix("CAP_") for one in host["CapAdd"]} == {"NET_BIND_SERVICE"}
        assert host["CapDrop"] == ["ALL"]
        assert host["RestartPolicy"]["Name"] == "no"
        assert host["NetworkMode"] in ("default", "bridge")
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1048576", "max-file": "2"}}
        (mount,) = host["Mounts"]
        assert (mount["Type"], mount["Target"], mount["TmpfsOptions"]) == ("tmpfs", "/scratch", {"SizeBytes": 1 << 20})

    async def test_the_plainest_spec_leaves_the_rest_to_the_image(self, docker: DockerEngine, orders: Orders) -> None:
        plain = orders(spec=ServiceSpec(image=DEMO, limits=Limits(pids=0)))
        made = await raw("GET", f"/containers/{(await docker.create(plain)).id}/json")
        assert made["Config"]["Cmd"] == ["/serve"]
        assert made["Config"]["Hostname"] == plain.task.replace(".", "-")
        assert made["HostConfig"]["Memory"] == made["HostConfig"]["NanoCpus"] == 0
        assert made["HostConfig"]["PidsLimit"] in (None, 0, -1)

    async def test_more_cores_than_there_are_is_no_limit(self, docker: DockerEngine, orders: Orders) -> None:
        id = await started(docker, orders(spec=ServiceSpec(image=DEMO, limits=Limits(cpu=4096.0))))
        assert (await raw("GET", f"/containers/{id}/json"))["HostConfig"]["NanoCpus"] == 0

    async def test_a_reservation_too_small_for_the_engine(self, docker: DockerEngine, orders: Orders) -> None:
        id = await started(docker, orders(spec=ServiceSpec(image=DEMO, resources=Resources(cpu=0.001, memory=4096))))
        host = (await raw("GET", f"/containers/{id}/json"))["HostConfig"]
        assert (host["MemoryReservation"], host["CpuShares"]) == (0, 2)

    async def test_a_limit_the_engine_does_not_take(self, docker: DockerEngine, orders: Orders) -> None:
        with pytest.raises(Refused, match=r"(?i)minimum memory limit"):
            await docker.create(orders(spec=ServiceSpec(image=DEMO, limits=Limits(memory=4096))))

    @pytest.mark.parametrize(
        ("task", "hostname"),
        [
            ("web.3.12", "web-3-12"),
            ("shop.web.3.12", "shop-web-3-12"),
            (f"{'w' * 63}.3.12", f"{'w' * 58}-3-12"),
        ],
    )
    def test_host_names_keep_slot_and_generation(self, orders: Orders, task: str, hostname: str) -> None:
        order = msgspec.structs.replace(orders(), task=task)
        assert msgspec.json.decode(create_body(order, cores=1))["Hostname"] == hostname

    def test_devices_are_handed_over_and_told(self, orders: Orders) -> None:
        devices = {"gpu": ("GPU-a", "GPU-b"), "usb.serial": ("/dev/ttyUSB0",), "fpga": ("f1",)}
        body = msgspec.json.decode(create_body(msgspec.structs.replace(orders(), devices=devices), cores=1))
        assert body["HostConfig"]["DeviceRequests"] == [{"DeviceIDs": ["GPU-a", "GPU-b"], "Capabilities": [["gpu"]]}]
        path = "/dev/ttyUSB0"
        expected = [{"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}]
        assert body["HostConfig"]["Devices"] == expected
        told = {f"LONGSHORE_DEVICES_{name}" for name in ("GPU=GPU-a,GPU-b", f"USB_SERIAL={path}", "FPGA=f1")}
        assert told <= set(body["Env"])
        plain = msgspec.json.decode(create_body(orders(), cores=1))["HostConfig"]
        assert not {"Devices", "DeviceRequests"} & plain.keys()

    async def test_a_device_of_the_machine_is_in_the_container(self, docker: DockerEngine, orders: Orders) -> None:
        order = msgspec.structs.replace(orders(), devices={"null": ("/dev/full",)})
        id = (await docker.create(order)).id
        try:
            await docker.start(id)
            ran = await docker.exec(id, ("test", "-c", "/dev/full"), timeout_s=10.0)
            assert ran.exit_code == 0
        finally:
            await docker.remove(id)

    def test_an_empty_entrypoint_is_sent_and_none_is_not(self, orders: Orders) -> None:
        cleared = msgspec.json.decode(create_body(orders(spec=ServiceSpec(image=DEMO, entrypoint=())), cores=1))
        assert cleared["Entrypoint"] == []
        assert "Entrypoint" not in msgspec.json.decode(create_body(orders(), cores=1))


class TestHardening:
    """What a container is kept from."""

    async def test_no_capabilities_and_no_new_privileges(self, docker: DockerEngine, orders: Orders) -> None:
        order = orders(spec=spec("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status", cap_drop=("ALL",)))
        said = dict(line.split(":\t") for line in await output(docker, orders, order))
        assert said == {"CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1"}

    async def test_a_read_only_root_with_a_tmpfs_of_some_size(self, docker: DockerEngine, orders: Orders) -> None:
        script = "touch /there || echo refused; touch /scratch/a && echo taken; dd if=/dev/zero of=/scratch/a bs=2M"
        scratch = Mount(kind=MountKind.TMPFS, target="/scratch", size_bytes=1 << 20)
        said = await output(docker, orders, orders(spec=spec(script, read_only=True, mounts=(scratch,))))
        assert any("Read-only file system" in line for line in said)
        assert {"refused", "taken"} < set(said)
        assert any("No space left on device" in line for line in said)

    async def test_a_read_only_mount(self, docker: DockerEngine, orders: Orders, tmp_path: Path) -> None:
        bind = Mount(kind=MountKind.BIND, source=str(tmp_path), target="/host", read_only=True)
        (tmp_path / "file").write_text("from the host\n")
        said = await output(docker, orders, orders(spec=spec("cat /host/file; touch /host/other", mounts=(bind,))))
        assert sorted(said) == ["from the host", "touch: /host/other: Read-only file system"]

    async def test_no_more_processes_than_the_limit(self, docker: DockerEngine, orders: Orders) -> None:
        script = "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait"
        said = await output(docker, orders, orders(spec=spec(script, limits=Limits(pids=4))))
        assert any("can't fork" in line for line in said)

    async def test_no_more_memory_than_the_limit(self, docker: DockerEngine, orders: Orders) -> None:
        script = 'x=$(head -c 100000000 /dev/zero | tr "\\0" x); echo survived'
        order = orders(spec=spec(script, limits=Limits(memory=16 << 20)))
        seen = await ended(docker, orders, order)
        assert (seen.oom_killed, seen.exit_code) == (True, 137)
        assert list(await docker.containers(orders.cluster, NODE)) == [seen]


class TestPorts:
    async def test_a_published_port_answers(self, docker: DockerEngine, orders: Orders) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        order = orders(ports=(PublishedPort(container=8080, host=port, ip="127.0.0.1"),))
        await started(docker, order)
        async with asyncio.timeout(20), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/") as response:
                        assert (await response.text()) == f"hello from {order.task} on {NODE}\n"
                        return
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.02)  # its server listens a moment after its start

    @pytest.mark.parametrize("ip", ["127.0.0.1", ANYWHERE])
    async def test_a_port_that_another_program_has(self, docker: DockerEngine, orders: Orders, ip: str) -> None:
        with socket.socket() as sock:
            sock.bind((ip, 0))
            sock.listen()
            port = sock.getsockname()[1]
            id = (await docker.create(orders(ports=(PublishedPort(container=8080, host=port, ip=ip),)))).id
            with pytest.raises(PortTaken, match=f"^{ip}:{port} is taken: .*address already in use"):
                await docker.start(id)
        await docker.start(id)

    async def test_an_address_that_the_machine_does_not_have(self, docker: DockerEngine, orders: Orders) -> None:
        id = (await docker.create(orders(ports=(PublishedPort(container=8080, host=28099, ip="192.0.2.1"),)))).id
        with pytest.raises(Refused, match="cannot assign requested address") as refused:
            await docker.start(id)
        assert not isinstance(refused.value, PortTaken)


class TestVolumes:
    """Remove the container with its anonymous volumes; named ones stay."""

    async def test_named_ones_stay_and_anonymous_ones_go(self, docker: DockerEngine, orders: Orders) -> None:
        named = Mount(kind=MountKind.VOLUME, source=f"{orders.cluster}-kept", target="/kept")
        anonymous = Mount(kind=MountKind.VOLUME, target="/lost")
        try:
            first = await ended(docker, orders, orders(spec=spec("echo it > /kept/file", mounts=(named, anonymous))))
            mounts = (await raw("GET", f"/containers/{first.id}/json"))["Mounts"]
            (lost,) = (mount["Name"] for mount in mounts if mount["Destination"] == "/lost")
            await docker.remove(first.id)
            names = {volume["Name"] for volume in (await raw("GET", "/volumes"))["Volumes"] or ()}
            assert named.source in names
            assert lost not in names
            assert await output(docker, orders, orders(spec=spec("cat /kept/file", mounts=(named,)))) == ["it"]
        finally:
            for one in await docker.containers(orders.cluster, NODE):
                await docker.remove(one.id)
            await raw("DELETE", f"/volumes/{named.source}")


class TestStates:
    async def test_a_paused_container_runs(self, docker: DockerEngine, orders: Orders) -> None:
        id = await started(docker, orders())
        await raw("POST", f"/containers/{id}/pause")
        try:
            (seen,) = await docker.containers(orders.cluster, NODE)
            assert seen.status is Status.RUNNING
            assert await docker.container(id) == seen
        finally:
            await raw("POST", f"/containers/{id}/unpause")

    async def test_usage_grows_with_work(self, docker: DockerEngine, orders: Orders) -> None:
        skip_unless_local(docker)
        id = await started(docker, orders("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; sleep 60"))
        await heard(docker, id, "done")
        cpu_s, memory = await docker.usage([id])
        assert 0.02 < cpu_s < 20
        assert 10_000 < memory < 64 << 20


class TestEvents:
    async def test_what_happened_a_moment_before_it_listened_is_told(
        self, docker: DockerEngine, orders: Orders
    ) -> None:
        """As the engine answers before it listens, and what happens in between must not be lost."""
        id = (await docker.create(orders())).id
        events = docker.events(orders.cluster, NODE)
        async with asyncio.timeout(20):
            assert [await anext(events), await anext(events)] == ["", id]


class TestLogLines:
    """Lines as they were written, whatever was written."""

    async def test_odd_bytes(self, docker: DockerEngine, orders: Orders) -> None:
        said = await output(docker, orders, orders(r"printf 'a\377b\n\n\303\251t\303\251\000\nno end'"))
        assert said == ["a�b", "", "été\x00", "no end"]

    async def test_a_long_line_comes_in_parts(self, docker: DockerEngine, orders: Orders) -> None:
        script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo short; head -c 16384 /dev/zero | tr '\\0' y; echo"
        said = await output(docker, orders, orders(script))
        assert [len(line) for line in said] == [LINE_BYTES_MAX, LINE_BYTES_MAX, 40000 - 2 * LINE_BYTES_MAX, 5, 16384]
        assert "".join(said[:3]) == "x" * 40000

    async def test_many_lines_and_their_tail(self, docker: DockerEngine, orders: Orders) -> None:
        seen = await ended(docker, orders, orders("seq 5000"))
        lines = [line async for line in docker.logs(seen.id, follow=False, tail=None, since=None)]
        assert [line.text for line in lines] == [str(number) for number in range(1, 5001)]
        assert all(one.at <= other.at for one, other in pairwise(lines))
        tail = [line.text async for line in docker.logs(seen.id, follow=True, tail=3, since=None)]
        assert tail == ["4998", "4999", "5000"]

    def test_any_cut_gives_the_same_lines(self) -> None:
        def frame(number: int, text: bytes) -> bytes:
            payload = b"2026-11-20T19:26:07.647040387Z " + text
            return bytes([number, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload

        stream = b"".join(
            [
                frame(1, b"one\n"),
                frame(1, "é".encode() * 9000),
                frame(2, b"between\n"),
                frame(1, b"two\n"),
                frame(1, b"\n"),
                frame(2, b"rest"),
            ]
        )

        def read(*pieces: bytes) -> list[LogLine]:
            lines = Lines(after=None)
            return [line for piece in pieces for line in lines.feed(piece)] + list(lines.rest())

        whole = read(stream)
        assert [(line.stream, line.text) for line in whole] == [
            ("stdout", "one"),
            ("stdout", "é" * 8192),
            ("stderr", "between"),
            ("stdout", "é" * 808 + "two"),
            ("stdout", ""),
            ("stderr", "rest"),
        ]
        assert whole[0].at == 1795202767.64704
        cuts = [*range(100), *range(18_000, len(stream))]
        assert all(read(stream[:cut], stream[cut:]) == whole for cut in cuts)
        assert read(*(stream[place : place + 7] for place in range(0, len(stream), 7))) == whole

    def test_a_character_is_not_cut(self) -> None:
        text = b"x" + "é".encode() * 10_000
        payload = b"2026-11-20T19:26:07Z " + text
        lines = list(Lines(after=None).feed(b"\1\0\0\0" + len(payload).to_bytes(4, "big") + payload))
        assert lines[0].text == "x" + "é" * 8191

    def test_the_engine_may_say_why_a_log_ends(self) -> None:
        words = b"error from daemon in stream: Error grabbing logs: unexpected EOF"
        with pytest.raises(Unavailable, match="unexpected EOF"):
            list(Lines(after=None).feed(b"\3\0\0\0" + len(words).to_bytes(4, "big") + words))


class TestPull:
    """From a registry, with its own words."""

    async def test_what_is_missing_is_pulled_once(self, docker: DockerEngine) -> None:
        async with registry() as (served, image):
            try:
                await asyncio.gather(*(docker.prepare(image, Pull.MISSING) for _ in range(5)))
                assert served.pulls == 1
                await docker.prepare(image, Pull.MISSING)
                await docker.prepare(image, Pull.NEVER)
                assert served.pulls == 1
                await docker.prepare(image, Pull.ALWAYS)
                assert served.pulls == 2
            finally:
                await raw("DELETE", f"/images/{image}")

    async def test_one_who_gives_up_leaves_it_to_the_others(self, docker: DockerEngine) -> None:
        async with registry() as (served, image):
            served.hold = asyncio.Event()
            first, second = (asyncio.create_task(docker.prepare(image, Pull.ALWAYS)) for _ in range(2))
            async with asyncio.timeout(20):
                while not served.pulls:
                    await docker.ping()
            first.cancel()
            await asyncio.wait([first])
            served.hold.set()
            await second
            await raw("DELETE", f"/images/{image}")

    async def test_a_tag_that_does_not_exist(self, docker: DockerEngine) -> None:
        async with registry() as (_, image):
            with pytest.raises(Refused, match=r"manifest unknown|not found"):
                await docker.prepare(f"{image}23", Pull.MISSING)

    async def test_an_error_after_the_pull_has_begun(self, docker: DockerEngine) -> None:
        async with registry() as (served, image):
            served.broken_layer = True
            with pytest.raises(Refused, match=r"denied|not for you|403"):
                await docker.prepare(image, Pull.MISSING)

    async def test_always_does_not_make_do_with_an_old_one(self, docker: DockerEngine) -> None:
        async with registry() as (_, image):
            await docker.prepare(image, Pull.MISSING)
        try:
            with pytest.raises(Refused, match="refused"):
                await docker.prepare(image, Pull.ALWAYS)
            await docker.prepare(image, Pull.MISSING)
        finally:
            await raw("DELETE", f"/images/{image}")

    async def test_an_image_name_that_is_none(self, docker: DockerEngine) -> None:
        for pull in Pull:
            with pytest.raises(Refused):
                await docker.prepare("Not A/Name?x=1", pull)


# From here on the other end is a peer of ours.


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with serving(Peer()) as one:
        yield one


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[DockerEngine]:
    engine = DockerEngine(peer.url, answer_limit_s=0.5, events_silence_s=0.2)
    yield engine
    await engine.close()


def says(body: object, status: int = 200) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return answer


class TestVersions:
    """Negotiated, never pinned."""

    @pytest.mark.parametrize(
        ("api", "api_min", "spoken"),
        [("1.30", "1.12", "1.30"), ("1.51", "1.24", "1.51"), ("1.60", "1.44", "1.51"), ("1.70", "1.60", "1.60")],
    )
    async def test_the_newest_that_both_know(
        self, peer: Peer, client: DockerEngine, api: str, api_min: str, spoken: str
    ) -> None:
        peer.api, peer.api_min = api, api_min
        peer.answers["GET /containers/json"] = says([])
        assert await client.containers("c", "n") == []
        assert await client.containers("c", "n") == []
        assert peer.asked[-2:] == [f"GET /v{spoken}/containers/json"] * 2
        assert peer.count("/_ping") == 1

    @pytest.mark.parametrize(("api", "api_min", "spoken"), [("1.51", "1.44", "1.51"), ("1.30", "1.12", "1.30")])
    async def test_an_engine_that_is_exchanged_under_it(
        self, peer: Peer, client: DockerEngine, api: str, api_min: str, spoken: str
    ) -> None:
        peer.answers["GET /containers/json"] = says([])
        await client.containers("c", "n")
        peer.api, peer.api_min = api, api_min
        assert await asyncio.gather(*(client.containers("c", "n") for _ in range(5))) == [[]] * 5
        assert peer.asked[-1] == f"GET /v{spoken}/containers/json"

    async def test_streams_too(self, peer: Peer, client: DockerEngine) -> None:
        peer.answers["GET /containers/x/logs"] = says("")
        peer.answers["GET /containers/json"] = says([])
        await client.containers("c", "n")
        peer.api, peer.api_min = "1.51", "1.44"
        assert [line async for line in client.logs("x", follow=False, tail=None, since=None)] == []
        assert peer.asked[-1] == "GET /v1.51/containers/x/logs"

    async def test_an_engine_that_was_away_is_asked_again(self, peer: Peer) -> None:
        async with serving(Peer("1.30")) as old:
            old.answers["GET /containers/json"] = says([])
            engine = DockerEngine(old.url)
            await engine.containers("c", "n")
        with pytest.raises(Unavailable):
            await engine.containers("c", "n")
        async with serving(Peer("1.40"), port=int(old.url.rpartition(":")[2])) as new:
            new.answers["GET /containers/json"] = says([])
            await engine.containers("c", "n")
            assert new.asked == ["GET /_ping", "GET /v1.40/containers/json"]
        await engine.close()

    async def test_one_whose_ping_does_not_tell(self, peer: Peer, client: DockerEngine) -> None:
        peer.pings_tell = False
        peer.answers["GET /containers/json"] = says([])
        await client.containers("c", "n")
        assert peer.asked == ["GET /_ping", "GET /version", "GET /v1.41/containers/json"]


class TestUnavailable:
    """It does not answer, or not so that it makes sense."""

    async def test_nobody_is_there(self, tmp_path: Path) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        for url in (f"tcp://127.0.0.1:{port}", f"unix://{tmp_path}/none.sock"):
            engine = DockerEngine(url)
            began = monotonic()
            for ask in (engine.ping, engine.describe, lambda e=engine: e.container("x"), lambda e=engine: e.start("x")):
                with pytest.raises(Unavailable, match="does not answer"):
                    await ask()
            with pytest.raises(Unavailable):
                await anext(engine.events("c", "n"))
            assert monotonic() - began < 2
            await engine.close()

    async def test_it_takes_connections_and_does_not_move(self, orders: Orders) -> None:
        with socket.socket() as frozen:
            frozen.bind(("127.0.0.1", 0))
            frozen.listen()
            engine = DockerEngine(f"tcp://127.0.0.1:{frozen.getsockname()[1]}", answer_limit_s=0.2)
            began = monotonic()
            with pytest.raises(Unavailable, match="no answer in time"):
                await engine.ping()
            with pytest.raises(Unavailable, match="no answer in time"):
                await engine.create(orders())
            with pytest.raises(Unavailable, match="no answer in time"):
                await anext(engine.logs("x", follow=True, tail=None, since=None))
            assert 0.5 < monotonic() - began < 3
            await engine.close()

    async def test_it_freezes_between_agreeing_and_answering(self, peer: Peer, client: DockerEngine) -> None:
        async def never(_: web.Request) -> web.Response:
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        peer.answers["GET /containers/x/logs"] = peer.answers["GET /containers/x/json"] = never
        with pytest.raises(Unavailable, match="no answer in time"):
            await client.container("x")
        with pytest.raises(Unavailable, match="no answer in time"):
            await anext(client.logs("x", follow=True, tail=None, since=None))

    async def test_the_address_leads_nowhere(self) -> None:
        engine = DockerEngine("tcp://127.255.255.254:1", connect_limit_s=0.3)
        with pytest.raises(Unavailable):
            await engine.ping()
        await engine.close()

    async def test_its_own_words_when_it_fails(self, peer: Peer, client: DockerEngine) -> None:
        peer.answers["GET /containers/json"] = says({"message": "database is locked"}, 500)
        with pytest.raises(Unavailable, match=r"^database is locked$"):
            await client.containers("c", "n")

    async def test_words_that_are_no_json(self, peer: Peer, client: DockerEngine) -> None:
        async def proxy(_: web.Request) -> web.Response:
            return web.Response(text="<h1>Bad Gateway</h1>", status=502)

        peer.answers["GET /containers/json"] = proxy
        with pytest.raises(Unavailable, match="Bad Gateway"):
            await client.containers("c", "n")

    @pytest.mark.parametrize("body", [{"Id": 1}, "text", None, [{"Id": "x"}]])
    async def test_answers_that_make_no_sense(self, peer: Peer, client: DockerEngine, body: object) -> None:
        peer.answers["GET /containers/json"] = says(body)
        with pytest.raises(Unavailable, match="makes no sense"):
            await client.containers("c", "n")

    async def test_one_container_that_hangs_does_not_hide_the_others(self, peer: Peer, client: DockerEngine) -> None:
        labels = {"longshore.task": "web.1.1", "longshore.spec": "abc"}
        listed = {"Id": "stuck", "State": "exited", "Status": "Exited (0)", "Labels": labels}
        peer.answers["GET /containers/json"] = says([listed, listed | {"Id": "well", "State": "running"}])
        peer.answers["GET /containers/stuck/json"] = Story(silent=True).tell
        stuck, well = await client.containers("c", "n")
        assert (stuck.id, stuck.task, stuck.fingerprint, stuck.status) == ("stuck", "web.1.1", "abc", Status.UNKNOWN)
        assert (well.id, well.status) == ("well", Status.RUNNING)

    @pytest.mark.parametrize("begun", [True, False])
    async def test_a_program_that_never_began_did_not_fail(
        self, peer: Peer, client: DockerEngine, begun: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("longshore.engine.docker_exec.BEGIN_LIMIT_S", 0.5)
        peer.answers["GET /containers/x/json"] = says({"Id": "x", "State": {"Status": "running"}})
        peer.answers["POST /containers/x/exec"] = says({"Id": "e"})
        peer.answers["POST /exec/e/start"] = Story(silent=True).tell
        peer.answers["GET /exec/e/json"] = says({"Running": True, "ExitCode": None, "Pid": 7 if begun else 0})
        if begun:
            assert (await client.exec("x", ("true",), timeout_s=0.2)).exit_code is None
        else:
            with pytest.raises(Unavailable, match="did not begin"):
                await client.exec("x", ("true",), timeout_s=0.2)

    async def test_the_time_of_a_program_begins_with_its_start(self, peer: Peer, client: DockerEngine) -> None:
        asked: list[float] = []

        async def look(_: web.Request) -> web.Response:
            asked.append(monotonic())
            ended = asked[-1] > asked[0] + 0.6
            pid = 0 if asked[-1] < asked[0] + 0.3 else 7
            return web.json_response({"Running": not ended, "ExitCode": 0 if ended else None, "Pid": pid})

        peer.answers["GET /containers/x/json"] = says({"Id": "x", "State": {"Status": "running"}})
        peer.answers["POST /containers/x/exec"] = says({"Id": "e"})
        peer.answers["POST /exec/e/start"] = Story(silent=True).tell
        peer.answers["GET /exec/e/json"] = look
        assert (await client.exec("x", ("true",), timeout_s=0.5)).exit_code == 0

    async def test_what_is_no_engine(self, peer: Peer, client: DockerEngine) -> None:
        peer.api = "nginx"
        with pytest.raises(Unavailable, match="no container engine"):
            await client.containers("c", "n")

    @pytest.mark.parametrize(
        "words",
        [
            'connection error: desc = "transport: Error while dialing dial unix /a.sock: connect: connection refused"',
            'connection error: desc = "transport: error while dialing: dial unix:///a.sock: timeout": unavailable',
            "ttrpc: closed: unknown",
        ],
    )
    async def test_an_engine_without_its_containerd(
        self, peer: Peer, client: DockerEngine, orders: Orders, words: str
    ) -> None:
        peer.answers["POST /containers/x/start"] = says({"message": words}, 500)
        with pytest.raises(Unavailable):
            await client.start("x")

    @pytest.mark.parametrize(
        ("status", "words", "port"),
        [
            (500, "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", "0.0.0.0:80"),
            (500, "Error starting userland proxy: listen tcp4 1.2.3.4:80: bind: address already in use", "1.2.3.4:80"),
            (500, "failed to bind host port for 0.0.0.0:80:172.17.0.2:8080/tcp: address already in use", "0.0.0.0:80"),
            (500, "failed to bind host port 0.0.0.0:80/tcp: address already in use", "0.0.0.0:80"),
            (409, "somebody has it: port is already allocated", ""),
        ],
    )
    async def test_a_taken_port_in_the_words_of_other_versions(
        self, peer: Peer, client: DockerEngine, status: int, words: str, port: str
    ) -> None:
        peer.answers["POST /containers/x/start"] = says({"message": words}, status)
        with pytest.raises(PortTaken) as taken:
            await client.start("x")
        assert taken.value.message == (f"{port} is taken: {words}" if port else words)

    async def test_a_network_that_is_gone_is_not_a_container_that_is_gone(
        self, peer: Peer, client: DockerEngine
    ) -> None:
        peer.answers["POST /containers/x/start"] = says({"message": "network blue not found"}, 404)
        with pytest.raises(Refused, match="network blue not found"):
            await client.start("x")


class Story:
    """A stream of events as a peer tells it: each connection one chapter."""

    def __init__(self, *chapters: list[object], silent: bool = False) -> None:
        self.chapters = list(chapters)
        self.silent = silent
        self.since: list[str] = []

    async def tell(self, request: web.Request) -> web.StreamResponse:
        self.since.append(request.query.get("since", ""))
        response = web.StreamResponse()
        await response.prepare(request)
        for line in self.chapters.pop(0) if self.chapters else []:
            await response.write(msgspec.json.encode(line) + b"\n")
        if self.silent:
            await asyncio.Event().wait()
        return response


def event(id: str, nanos: int, action: str = "die") -> dict[str, object]:
    return {"Type": "container", "Action": action, "Actor": {"ID": id, "Attributes": {}}, "timeNano": nanos}


class TestEventStreams:
    async def test_a_silent_one_is_opened_anew_from_where_it_was(self, peer: Peer, client: DockerEngine) -> None:
        a, b, c = event("a", 5_000_000_001), event("b", 5_000_000_002), event("c", 6_000_000_000)
        story = Story([a, b], [b, c], silent=True)
        peer.answers["GET /events"] = story.tell
        told: list[str] = []
        asked_at = time()
        async with asyncio.timeout(5):
            async for id in client.events("c", "n"):
                told.append(id)
                if len(story.since) == 3:
                    break
        assert told == ["", "a", "b", "", "c", ""]
        assert story.since[1:] == ["5.000000002", "6.000000000"]
        assert float(story.since[0]) < asked_at
        assert peer.count("/_ping") == 4  # its time, the version, and before each new beginning

    async def test_one_that_breaks_is_told(self, peer: Peer, client: DockerEngine) -> None:
        peer.answers["GET /events"] = Story([event("a", 1)]).tell
        events = client.events("c", "n")
        assert [await anext(events), await anext(events)] == ["", "a"]
        with pytest.raises(Unavailable, match="ended its stream"):
            await anext(events)

    async def test_an_engine_that_is_gone_when_it_is_asked_after_a_silence(self, tmp_path: Path) -> None:
        peer = Peer()
        peer.answers["GET /events"] = Story(silent=True).tell
        async with serving(peer):
            engine = DockerEngine(peer.url, events_silence_s=0.2)
            events = engine.events("c", "n")
            assert await anext(events) == ""
            waiting = asyncio.ensure_future(anext(events))
            await engine.ping()
        with pytest.raises(Unavailable):
            await waiting
        await engine.close()

    async def test_only_what_matters_is_asked_for(self, peer: Peer, client: DockerEngine) -> None:
        asked: list[dict[str, Any]] = []

        async def note(request: web.Request) -> web.StreamResponse:
            asked.append(msgspec.json.decode(request.query["filters"]))
            return web.json_response({})

        peer.answers["GET /events"] = note
        assert await anext(client.events("c", "n")) == ""
        assert asked[0]["label"] == ["longshore.cluster=c", "longshore.node=n"]
        assert asked[0]["type"] == ["container"]
        assert {"create", "start", "die", "oom", "health_status", "destroy"} == set(asked[0]["event"])


class TestRemoval:
    async def test_one_that_somebody_else_removes_is_waited_for(self, peer: Peer, client: DockerEngine) -> None:
        words = {"message": "removal of container x is already in progress"}
        peer.answers["DELETE /containers/x"] = says(words, 409)
        peer.answers["POST /containers/x/wait"] = says({"StatusCode": 0})
        await client.remove("x")
        assert peer.asked[-1].endswith("POST /v1.41/containers/x/wait")

    async def test_one_that_cannot_be_removed(self, peer: Peer, client: DockerEngine) -> None:
        words = "driver failed to remove root filesystem: device or resource busy"
        peer.answers["DELETE /containers/x"] = says({"message": words}, 500)
        with pytest.raises(Unavailable, match="resource busy"):
            await client.remove("x")


class TestAddresses:
    """Another machine's engine without TLS is refused unless explicitly allowed."""

    @pytest.mark.parametrize(
        "url", ["tcp://10.0.0.1:2375", "http://engine.example:2375", "tcp://0.0.0.0:2375", "tcp://[2001:db8::1]"]
    )
    async def test_without_tls(self, url: str) -> None:
        with pytest.raises(Invalid, match="without TLS"):
            DockerEngine(url)
        await DockerEngine(url, plain_tcp=True).close()
        await DockerEngine(url, tls=ssl.create_default_context()).close()

    @pytest.mark.parametrize(
        "url", ["tcp://127.0.0.1:2375", "tcp://localhost", "tcp://[::1]:2375", "https://engine.example", "unix:///x"]
    )
    async def test_fit_to_use(self, url: str) -> None:
        await DockerEngine(url).close()

    @pytest.mark.parametrize("url", ["", "docker", "unix://", "ftp://127.0.0.1", "tcp://", "tcp://127.0.0.1:port"])
    def test_unfit_to_use(self, url: str) -> None:
        with pytest.raises(Invalid):
            DockerEngine(url)

    async def test_tls(self, tmp_path: Path) -> None:
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=DNS:localhost"]
        openssl = await asyncio.create_subprocess_exec(
            *request, *names, "-keyout", key, "-out", certificate, stderr=asyncio.subprocess.DEVNULL
        )
        assert await openssl.wait() == 0
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        async with serving(Peer(), tls=context) as peer:
            url = peer.url.replace("127.0.0.1", "localhost")
            trusting = DockerEngine(url, tls=ssl.create_default_context(cafile=certificate))
            strict = DockerEngine(url, tls=ssl.create_default_context())
            try:
                await trusting.ping()
                with pytest.raises(Unavailable, match=r"(?i)certificate"):
                    await strict.ping()
            finally:
                await trusting.close()
                await strict.close()


class TestAccounts:
    """CPU and memory from the kernel's files."""

    ID = "c0ffee" * 10

    def tree(self, root: Path, files: dict[str, str]) -> Cgroups:
        for name, text in files.items():
            path = root / name.format(id=self.ID)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(id=self.ID))
        return Cgroups(root)

    V1 = """tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /c/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /c/mem cgroup rw,memory 0 0
cgroup2 /c/unified cgroup2 rw 0 0
"""
    V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"

    def test_version_1_of_a_process(self, tmp_path: Path) -> None:
        cgroups = self.tree(
            tmp_path,
            {
                "proc/mounts": self.V1,
                "proc/42/cgroup": "4:memory:/lot/{id}\n2:cpu,cpuacct:/lot/{id}\n0::/\n",
                "c/cpu,cpuacct/lot/{id}/cpuacct.usage": "1500000000\n",
                "c/mem/lot/{id}/memory.usage_in_bytes": "5000\n",
                "c/mem/lot/{id}/memory.stat": "cache 2\ntotal_inactive_file 1000\n",
            },
        )
        assert cgroups.well_known(self.ID) is None
        account = cgroups.of_process(42, self.ID)
        assert account is not None
        assert used(account) == (1.5, 4000)
        assert cgroups.of_process(43, self.ID) is None
        assert cgroups.of_process(42, "another container") is None

    @pytest.mark.parametrize("place", ["system.slice/docker-{id}.scope", "docker/{id}"])
    def test_version_2_where_engines_put_it(self, tmp_path: Path, place: str) -> None:
        base = f"sys/fs/cgroup/{place}"
        cgroups = self.tree(
            tmp_path,
            {
                "proc/mounts": self.V2,
                "proc/42/cgroup": f"0::/{place}\n",
                f"{base}/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
                f"{base}/memory.current": "9000\n",
                f"{base}/memory.stat": "anon 1\ninactive_file 10000\n",
            },
        )
        account = cgroups.well_known(self.ID)
        assert account is not None
        assert account == cgroups.of_process(42, self.ID)
        assert used(account) == (2.5, 0)
        (tmp_path / base.format(id=self.ID) / "memory.current").unlink()
        assert used(account) == (0.0, 0)

    def test_a_machine_without_cgroups(self, tmp_path: Path) -> None:
        assert self.tree(tmp_path, {"proc/mounts": "proc /proc proc rw 0 0\n"}).well_known(self.ID) is None

    async def test_another_machine_is_not_looked_at(self, peer: Peer, client: DockerEngine) -> None:
        assert await client.usage([self.ID]) == (0.0, 0)
        assert peer.asked == []

    async def test_one_that_ended_is_asked_after_once(self, tmp_path: Path) -> None:
        state = {"Status": "exited", "Pid": 0, "ExitCode": 0}
        async with serving(Peer(), path=tmp_path / "engine.sock") as peer:
            peer.answers[f"GET /containers/{self.ID}/json"] = says({"Id": self.ID, "State": state})
            engine = DockerEngine(peer.url)
            for _ in range(3):
                assert await engine.usage([self.ID]) == (0.0, 0)
            assert peer.count(self.ID) == 1
            await engine.close()
