"""The fake engine's own: its faults, its time, its chance, and the commands it understands.

That it otherwise does what a real engine does is held by `test_engine`. Everything here happens in virtual time, so
that time limits can be met and delays be measured.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from longshore.engine.fake import FakeEngine, FakeMachine, Speeds
from longshore.engine.fake_programs import FOR_EVER, Program, program_of
from longshore.model.containers import Container, ContainerOrder, Health, Status
from longshore.model.errors import Failure, NotFound, PortTaken, Refused, Unavailable
from longshore.model.objects import PublishedPort
from longshore.model.spec import Protocol, Pull, ServiceSpec
from longshore.simulate.clockwork import VirtualClock, run_in_virtual_time
from tests.engines import DEMO, NODE

SLOW_START = Speeds(start=(5.0, 5.0))


def order(number: int = 1, *command: str, ports: tuple[PublishedPort, ...] = ()) -> ContainerOrder:
    spec = ServiceSpec(image=DEMO, command=command or None)
    task = f"web.{number}.1"
    return ContainerOrder(
        name=task, task=task, service="web", cluster="c", node=NODE, fingerprint=task, spec=spec, ports=ports
    )


def virtually(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_in_virtual_time(story())


def machine(seed: int = 1, **settings: Any) -> FakeMachine:
    return FakeMachine(random.Random(seed), VirtualClock(), **settings)


async def running(engine: FakeEngine, one: ContainerOrder) -> str:
    id = (await engine.create(one)).id
    await engine.start(id)
    return id


async def look(engine: FakeEngine, id: str) -> Container:
    seen = await engine.container(id)
    assert seen is not None
    return seen


def now() -> float:
    return asyncio.get_running_loop().time()


async def failure_of(asked: Awaitable[object]) -> Failure:
    with pytest.raises(Failure) as failed:
        await asked
    return failed.value


class TestPrograms:
    @pytest.mark.parametrize(
        ("arguments", "program"),
        [
            (("true",), Program(ends_after_s=0.0)),
            (("false",), Program(ends_after_s=0.0, exit_code=1)),
            (("exit", "9"), Program(ends_after_s=0.0, exit_code=9)),
            (("sleep", "2.5"), Program(ends_after_s=2.5)),
            (("sh", "-c", "exit 3"), Program(ends_after_s=0.0, exit_code=3)),
            (("sh", "-c", "sleep 2; false"), Program(ends_after_s=2.0, exit_code=1)),
            (("/bin/sh", "-c", "sleep 1 && exit 4; echo never"), Program(ends_after_s=1.0, exit_code=4)),
            (
                ("sh", "-c", "echo 'a  b' c; sleep 1\necho d >&2"),
                Program(lines=((0.0, "stdout", "a  b c"), (1.0, "stderr", "d")), ends_after_s=1.0),
            ),
            (
                ("sh", "-c", "trap 'exit 3' TERM INT; sleep 9 & wait"),
                Program(ends_after_s=9.0, obeys={"TERM": 3, "INT": 3}),
            ),
            (("sh", "-c", "while true; do echo x; done"), Program(ends_after_s=FOR_EVER)),
            (("bin/missing-one", "x"), Program(missing="bin/missing-one")),
        ],
    )
    def test_what_a_command_does(self, arguments: tuple[str, ...], program: Program) -> None:
        assert program_of(arguments) == program

    @pytest.mark.parametrize("arguments", [(), ("nginx", "-g", "daemon off;"), ("/serve",)])
    def test_others_run_until_they_are_stopped(self, arguments: tuple[str, ...]) -> None:
        program = program_of(arguments)
        assert program.ends_after_s == FOR_EVER
        assert program.obeys["TERM"] == 0


class TestContainersGoOn:
    def test_what_was_begun_is_done_though_the_client_is_gone(self) -> None:
        async def story() -> None:
            host = machine(speeds=SLOW_START)
            engine = FakeEngine(host)
            id = (await engine.create(order())).id
            starting = asyncio.create_task(engine.start(id))
            await asyncio.sleep(1)
            starting.cancel()
            await asyncio.wait([starting])
            await engine.close()
            other = FakeEngine(host)
            assert (await look(other, id)).status is Status.CREATED
            await asyncio.sleep(5)
            assert (await look(other, id)).status is Status.RUNNING

        virtually(story)

    def test_a_stop_that_nobody_waits_for_still_kills(self) -> None:
        async def story() -> None:
            engine = FakeEngine(machine())
            id = await running(engine, order(1, "sleep", "1000"))
            stopping = asyncio.create_task(engine.stop(id, 30))
            await asyncio.sleep(1)
            stopping.cancel()
            await asyncio.sleep(28)
            assert (await look(engine, id)).status is Status.RUNNING
            await asyncio.sleep(2)
            assert (await look(engine, id)).exit_code == 137

        virtually(story)

    def test_a_kill_that_is_due_does_not_hit_the_next_run(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id = await running(engine, order())
            await engine.stop(id, 30)
            await engine.start(id)
            await asyncio.sleep(60)
            assert (await look(engine, id)).status is Status.RUNNING

        virtually(story)

    def test_what_one_run_would_have_done_does_not_happen_to_the_next(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id = await running(engine, order(1, "sh", "-c", "sleep 5; echo late; exit 1"))
            await asyncio.sleep(3)
            host.kill(id)
            await engine.start(id)
            await asyncio.sleep(4)
            assert (await look(engine, id)).status is Status.RUNNING
            assert [line async for line in engine.logs(id, follow=False, tail=None, since=None)] == []
            await asyncio.sleep(2)
            assert (await look(engine, id)).exit_code == 1

        virtually(story)

    def test_delays_are_drawn_from_the_seed(self) -> None:
        def told(seed: int) -> list[tuple[float, str]]:
            story: list[tuple[float, str]] = []

            async def live() -> None:
                engine = FakeEngine(machine(seed))
                for number in range(5):
                    await engine.prepare(f"any/image:{number}", Pull.MISSING)
                    id = await running(engine, order(number))
                    story.append((now(), id))

            virtually(live)
            return story

        assert told(3) == told(3) != told(4)


class TestFaults:
    def test_kill_and_oom(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            first, second = await running(engine, order(1)), await running(engine, order(2))
            events = engine.events("c", NODE)
            assert await anext(events) == ""
            host.kill(first, 3)
            host.kill(second, oom=True)
            assert [await anext(events), await anext(events)] == [first, second]
            seen = await look(engine, first), await look(engine, second)
            assert [(one.status, one.exit_code, one.oom_killed) for one in seen] == [
                (Status.EXITED, 3, False),
                (Status.EXITED, 137, True),
            ]
            assert host.of_task("web.2.1") == [second]

        virtually(story)

    def test_vanish(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id = await running(engine, order())
            lines = engine.logs(id, follow=True, tail=None, since=None)
            assert (await anext(lines)).text == "started"
            host.vanish(id)
            assert [line async for line in lines] == []
            assert await engine.container(id) is None
            assert isinstance(await failure_of(engine.start(id)), NotFound)

        virtually(story)

    def test_sick_and_cured(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id = await running(engine, order())
            host.sicken(id, "no answer")
            seen = await look(engine, id)
            assert (seen.health, seen.health_output) == (Health.UNHEALTHY, "no answer")
            host.cure(id)
            seen = await look(engine, id)
            assert (seen.health, seen.health_output) == (Health.HEALTHY, "")

        virtually(story)

    def test_fail_next_start(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            host.fail_next_start("OCI runtime create failed")
            id = (await engine.create(order())).id
            assert (await failure_of(engine.start(id))).message == "OCI runtime create failed"
            assert (await look(engine, id)).error == "OCI runtime create failed"
            await engine.start(id)
            assert (await look(engine, id)).error == ""

        virtually(story)

    def test_a_port_that_another_program_has(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            host.occupy(8080)
            host.occupy(53, Protocol.UDP, "127.0.0.1")
            taken = (await engine.create(order(1, ports=(PublishedPort(container=80, host=8080, ip="127.0.0.1"),)))).id
            assert isinstance(await failure_of(engine.start(taken)), PortTaken)
            free = (PublishedPort(container=53, host=53), PublishedPort(container=53, host=53, ip="127.0.0.2"))
            await running(engine, order(2, ports=free))
            host.release(8080)
            await engine.start(taken)

        virtually(story)

    def test_slow(self) -> None:
        async def story() -> None:
            host = machine(speeds=Speeds(start=(1.0, 1.0), answer=(0.0, 0.0), create=(0.0, 0.0)))
            engine = FakeEngine(host)
            host.slow(20)
            await running(engine, order(1))
            assert now() == pytest.approx(20)
            host.slow(70)
            id = (await engine.create(order(2))).id
            assert isinstance(await failure_of(engine.start(id)), Unavailable)
            assert now() == pytest.approx(80)
            await asyncio.sleep(11)
            host.slow(1)
            assert (await look(engine, id)).status is Status.RUNNING

        virtually(story)

    def test_images(self) -> None:
        async def story() -> None:
            open_, closed = FakeEngine(machine()), FakeEngine(machine(accept_any=False, images=("only:1",)))
            for pull in (Pull.MISSING, Pull.ALWAYS, Pull.NEVER):
                await open_.prepare("any/thing:2", pull)
            assert isinstance(await failure_of(open_.prepare("is/missing:2", Pull.MISSING)), Refused)
            await closed.prepare("only:1", Pull.MISSING)
            assert isinstance(await failure_of(closed.prepare("any/thing:2", Pull.MISSING)), Refused)

        virtually(story)


class TestOutages:
    def test_hanging_it_answers_after_it_moves_again(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id = (await engine.create(order())).id
            host.hang()
            asking = asyncio.create_task(engine.container(id))
            await asyncio.sleep(9)
            assert not asking.done()
            host.heal()
            assert (await asking) is not None

        virtually(story)

    def test_hanging_it_is_given_up_after_ten_seconds(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            host.hang()
            began = now()
            assert isinstance(await failure_of(engine.ping()), Unavailable)
            assert now() - began == pytest.approx(10)

        virtually(story)

    def test_hanging_streams_break_when_the_silence_is_noticed(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id = await running(engine, order())
            events = engine.events("c", NODE)
            assert await anext(events) == ""
            host.hang()
            host.kill(id)
            began = now()
            assert isinstance(await failure_of(anext(events)), Unavailable)
            assert now() - began == pytest.approx(40)

        virtually(story)

    def test_what_happened_while_it_hung_is_told_after(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id = await running(engine, order())
            events = engine.events("c", NODE)
            assert await anext(events) == ""
            host.hang()
            host.kill(id)
            telling = asyncio.ensure_future(anext(events))
            await asyncio.sleep(20)
            assert not telling.done()
            host.heal()
            assert await telling == id

        virtually(story)

    def test_down_and_back(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id, deaf = await running(engine, order()), await running(engine, order(2, "sleep", "99"))
            events = engine.events("c", NODE)
            lines = engine.logs(id, follow=True, tail=0, since=None)
            assert await anext(events) == ""
            reading = asyncio.ensure_future(anext(lines))
            stopping = asyncio.ensure_future(engine.stop(deaf, 50))
            await asyncio.sleep(1)
            host.down()
            began = now()
            for broken in (stopping, reading, anext(events), engine.ping(), engine.create(order(3))):
                assert isinstance(await failure_of(broken), Unavailable)
            assert now() == began
            host.heal()
            assert (await look(engine, id)).status is Status.RUNNING
            fresh = engine.events("c", NODE)
            assert await anext(fresh) == ""

        virtually(story)

    def test_what_it_was_doing_when_it_died_is_done_or_not(self) -> None:
        outcomes: set[Status] = set()

        async def story(seed: int) -> None:
            host = machine(seed, speeds=SLOW_START)
            engine = FakeEngine(host)
            id = (await engine.create(order())).id
            starting = asyncio.create_task(engine.start(id))
            await asyncio.sleep(1)
            host.down()
            assert isinstance(await failure_of(starting), Unavailable)
            host.heal()
            outcomes.add((await look(engine, id)).status)
            await asyncio.sleep(60)
            outcomes.add((await look(engine, id)).status)

        for seed in range(20):
            run_in_virtual_time(story(seed))
        assert outcomes == {Status.CREATED, Status.RUNNING}

    def test_restart_kills_what_runs(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            id = await running(engine, order())
            host.restart(down_s=3)
            assert isinstance(await failure_of(engine.ping()), Unavailable)
            await asyncio.sleep(4)
            seen = await look(engine, id)
            assert (seen.status, seen.exit_code) == (Status.EXITED, 137)

        virtually(story)

    def test_a_machine_without_power_runs_nothing_and_stays_off(self) -> None:
        async def story(seed: int) -> None:
            host = machine(seed, speeds=SLOW_START)
            engine = FakeEngine(host)
            ids = [await running(engine, order(1)), (await engine.create(order(2))).id]
            starting = asyncio.create_task(engine.start(ids[1]))
            await asyncio.sleep(1)
            host.restart(down_s=5)
            host.lose_power()
            assert isinstance(await failure_of(starting), Unavailable)
            await asyncio.sleep(60)
            assert isinstance(await failure_of(engine.ping()), Unavailable)
            host.hang()
            host.heal()
            assert Status.RUNNING not in [(await look(engine, id)).status for id in ids]

        for seed in range(10):
            run_in_virtual_time(story(seed))

    def test_a_reader_that_is_too_slow_is_told_to_list_again(self) -> None:
        async def story() -> None:
            host = machine()
            engine = FakeEngine(host)
            events = engine.events("c", NODE)
            assert await anext(events) == ""
            for number in range(300):
                await engine.create(order(number))
            told = [await anext(events) for _ in range(1 + 300 - 257)]
            assert told[0] == ""
            assert all(told[1:])

        virtually(story)
