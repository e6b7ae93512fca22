"""Commands as probes: what a program's end means, in which words it is told, and that none holds up another.

Over the fake engine and the real one, but for what only one of them can be made to do.
"""

import asyncio
from time import monotonic

import pytest

from longshore.agent.commands import OUTPUT_MAX, TURN_S, CommandProber
from longshore.engine.docker import DockerEngine
from longshore.engine.fake import FakeEngine, FakeMachine, FakeProber
from longshore.engine.limits import PROGRAMS_MAX
from longshore.model.containers import Container, Ran, Status, Target
from longshore.model.errors import Refused, Unavailable
from longshore.model.spec import ExecProbe, Probe, ServiceSpec, TcpProbe
from longshore.ports import Engine
from tests.engines import DEMO, Orders, connect, docker, engine, machine, orders, started

__all__ = ["connect", "docker", "engine", "machine", "orders"]


def running(id: str) -> Container:
    return Container(id=id, task="web.1.1", fingerprint="f", status=Status.RUNNING)


def target(id: str, *command: str, timeout_s: float = 10.0) -> Target:
    return Target(container=running(id), probe=Probe(exec=ExecProbe(command=command), timeout_s=timeout_s))


@pytest.fixture
def prober(engine: Engine, machine: FakeMachine) -> CommandProber:
    return CommandProber(engine, FakeProber(machine))


async def refusal(prober: CommandProber, asked: Target) -> str:
    with pytest.raises(Unavailable) as caught:
        await prober.probe(asked)
    return caught.value.message


class TestAnswers:
    async def test_an_end_with_zero_passes(self, prober: CommandProber, engine: Engine, orders: Orders) -> None:
        await prober.probe(target(await started(engine, orders()), "true"))

    async def test_any_other_end_is_a_failure(self, prober: CommandProber, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders())
        assert await refusal(prober, target(id, "false")) == "false: exit code 1"
        told = await refusal(prober, target(id, "sh", "-c", "echo not yet >&2; exit 7"))
        assert told == "sh -c echo not yet >&2; exit 7: exit code 7: not yet"
        assert "executable file not found" in await refusal(prober, target(id, "missing-program"))

    async def test_no_end_in_time_is_a_failure(self, prober: CommandProber, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders())
        assert await refusal(prober, target(id, "sleep", "30", timeout_s=0.3)) == "sleep 30: no end in 0.3 s"
        for _ in range(PROGRAMS_MAX - 1):
            await refusal(prober, target(id, "sleep", "30", timeout_s=0.01))
        told = await refusal(prober, target(id, "true"))
        assert told == f"true: {PROGRAMS_MAX} programs that were run in it before have not ended"

    async def test_so_is_a_container_that_does_not_run(
        self, prober: CommandProber, engine: Engine, orders: Orders
    ) -> None:
        id = (await engine.create(orders())).id
        assert await refusal(prober, target(id, "true")) == "true: the container does not run"

    async def test_an_engine_that_does_not_answer_says_nothing_of_the_container(
        self, machine: FakeMachine, orders: Orders
    ) -> None:
        engine = FakeEngine(machine)
        id = await started(engine, orders())
        prober = CommandProber(engine, FakeProber(machine))
        machine.down()
        with pytest.raises(Refused, match="true: the engine of fake does not answer"):
            await prober.probe(target(id, "true"))

    async def test_an_engine_that_falls_silent_in_the_middle_neither(
        self, machine: FakeMachine, orders: Orders
    ) -> None:
        engine = FakeEngine(machine)
        id = await started(engine, orders())
        prober = CommandProber(engine, FakeProber(machine))
        asking = asyncio.create_task(prober.probe(target(id, "sleep", "0.3")))
        asyncio.get_running_loop().call_later(0.2, machine.down)
        with pytest.raises(Refused):
            await asking

    async def test_what_asks_in_another_way_goes_to_the_other_prober(
        self, machine: FakeMachine, orders: Orders
    ) -> None:
        engine = FakeEngine(machine)
        id = await started(engine, orders())
        tcp = Target(container=running(id), probe=Probe(tcp=TcpProbe(port=80)))
        await CommandProber(engine, FakeProber(machine)).probe(tcp)
        machine.ail(id, "refused")
        assert await refusal(CommandProber(engine, FakeProber(machine)), tcp) == "refused"


class TestOutput:
    @pytest.mark.parametrize(
        ("script", "told"),
        [
            ("printf 'a\\nb\\n'; exit 1", "exit code 1: a b"),
            ("printf '\\033[31mred\\007'; exit 1", "exit code 1: [31mred"),
            ("head -c 9000 /dev/zero | tr '\\0' x; exit 1", f"exit code 1: …{'x' * (OUTPUT_MAX - 1)}"),
        ],
    )
    async def test_the_end_of_it_is_told_on_one_line(
        self, docker: DockerEngine, machine: FakeMachine, orders: Orders, script: str, told: str
    ) -> None:
        prober = CommandProber(docker, FakeProber(machine))
        said = await refusal(prober, target(await started(docker, orders()), "sh", "-c", script))
        assert said.endswith(f": {told}")


class TestRights:
    """It has what the container has, and no more."""

    async def test_it_runs_as_the_containers_user(self, docker: DockerEngine, orders: Orders) -> None:
        id = await started(docker, orders(spec=ServiceSpec(image=DEMO, user="65534:65534", command=("sleep", "60"))))
        assert await docker.exec(id, ("id", "-u"), 10.0) == Ran(0, "65534")
        capable = await docker.exec(id, ("grep", "CapEff", "/proc/self/status"), 10.0)
        assert capable.output.split() == ["CapEff:", "0000000000000000"]
        assert (await docker.exec(id, ("test", "-t", "0"), 10.0)).exit_code == 1


class TestTurns:
    async def test_those_that_hang_hold_up_no_other(self, machine: FakeMachine, orders: Orders) -> None:
        engine = FakeEngine(machine)
        prober = CommandProber(engine, FakeProber(machine), at_once=1)
        ids = [await started(engine, orders()) for _ in range(4)]
        began = monotonic()
        hung = [asyncio.create_task(refusal(prober, target(id, "sleep", "30", timeout_s=6.0))) for id in ids[:3]]
        await asyncio.sleep(0)
        await prober.probe(target(ids[3], "true"))
        assert monotonic() - began < 3 * TURN_S + 1
        for one in hung:
            one.cancel()

    async def test_no_more_start_at_once_than_may(self, machine: FakeMachine, orders: Orders) -> None:
        engine = FakeEngine(machine)
        prober = CommandProber(engine, FakeProber(machine), at_once=2)
        ids = [await started(engine, orders()) for _ in range(8)]
        machine.slow(5)  # a start takes 0.1 to 0.3 s
        began = monotonic()
        await asyncio.gather(*(prober.probe(target(id, "true")) for id in ids))
        assert monotonic() - began >= 4 * 0.1

    async def test_one_that_is_given_up_gives_its_turn_up(self, machine: FakeMachine, orders: Orders) -> None:
        engine = FakeEngine(machine)
        prober = CommandProber(engine, FakeProber(machine), at_once=1)
        id = await started(engine, orders())
        for _ in range(PROGRAMS_MAX - 1):
            asked = asyncio.create_task(prober.probe(target(id, "sleep", "30")))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        async with asyncio.timeout(TURN_S + 1):
            await prober.probe(target(id, "true"))
