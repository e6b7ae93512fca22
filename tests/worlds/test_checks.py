"""Liveness and readiness: what becomes of tasks whose containers do not answer, and when they are asked."""

import asyncio
from collections import Counter

import pytest
from msgspec.structs import replace

from longshore.agent.probes import Probes
from longshore.engine.limits import PROGRAMS_MAX
from longshore.model.containers import Assigned, Container, Status, Target
from longshore.model.errors import Refused, Unavailable
from longshore.model.lifecycle import State
from longshore.model.objects import Kind
from longshore.model.reasons import Reason
from longshore.model.spec import ExecProbe, HttpProbe, Mode, Probe, RestartOn, RestartPolicy, ServiceSpec, TcpProbe
from longshore.simulate.clockwork import run_in_virtual_time
from tests.situations import task
from tests.worlds.stage import SOON_S, Stage, play

LIVENESS = Probe(tcp=TcpProbe(port=80), interval_s=2.0, timeout_s=1.0, retries=3)
READINESS = Probe(http=HttpProbe(port=80, path="/health"), interval_s=2.0, timeout_s=1.0, retries=2)
NOTICED_S = 3 * 2.0 + 1.0
"""Three intervals and a time-out."""


def told_of(stage: Stage, task: str) -> int:
    """How often its record was written."""
    return len(stage.world.durable.story(Kind.TASK, task))


# -- liveness


@pytest.mark.parametrize(("words", "said"), [("", "connect to port 80: no answer in 1 s"), ("refused", "refused")])
def test_a_container_that_is_not_alive_is_replaced(words: str, said: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2, liveness=LIVENESS)
        await stage.serving(2)
        await stage.world.pass_time(10.0)
        site, box = stage.box("web.1.1")
        site.ail(box, words)
        await stage.world.until(lambda: not stage.task("web.1.1").live, NOTICED_S + SOON_S)
        ended = stage.task("web.1.1")
        assert (ended.state, ended.reason, ended.message) == (State.FAILED, Reason.UNHEALTHY, said)
        await stage.serving(2)
        assert stage.ready() == ["web.1.2", "web.2.1"]

    play(scene, nodes=2)


def test_two_failures_are_not_three() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(liveness=LIVENESS)
        await stage.serving(1)
        site, box = stage.box("web.1.1")
        for _ in range(5):
            site.ail(box, "refused")
            await stage.world.pass_time(3.9)
            site.recover(box)
            await stage.world.pass_time(2.1)
        assert stage.ready() == ["web.1.1"]

    play(scene, nodes=1)


def test_liveness_alone_delays_nothing_and_is_no_news() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(liveness=LIVENESS)
        assert await stage.serving(1) < 0.6
        before = told_of(stage, "web.1.1")
        await stage.world.pass_time(60.0)
        assert told_of(stage, "web.1.1") == before

    play(scene, nodes=1)


def test_a_job_that_hangs_has_failed_although_it_ended_well_when_told_to() -> None:
    async def scene(stage: Stage) -> None:
        policy = RestartPolicy(condition=RestartOn.ON_FAILURE, attempts_max=0)
        await stage.apply(mode=Mode.JOB, liveness=LIVENESS, restart=policy)
        await stage.serving(1)
        site, box = stage.box("web.1.1")
        site.ail(box, "")
        await stage.world.until(lambda: not stage.task("web.1.1").live, NOTICED_S + SOON_S)
        ended = stage.task("web.1.1")
        assert (ended.state, ended.exit_code) == (State.FAILED, 0)

    play(scene, nodes=1)


def test_failures_while_it_starts_do_not_count() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(liveness=replace(LIVENESS, start_period_s=20.0))
        await stage.serving(1)
        site, box = stage.box("web.1.1")
        site.ail(box, "refused")
        await stage.world.pass_time(19.0)
        assert stage.ready() == ["web.1.1"]
        await stage.world.until(lambda: not stage.task("web.1.1").live, NOTICED_S + SOON_S)

    play(scene, nodes=1)


def test_a_worker_that_is_killed_in_the_middle_leaves_the_exit_code() -> None:
    """Nobody is left who knows why it was stopped, and its slot is filled all the same."""

    async def scene(stage: Stage) -> None:
        await stage.apply(liveness=LIVENESS)
        await stage.serving(1)
        site, box = stage.box("web.1.1")
        site.cut()  # nothing that it says arrives before the next second
        site.ail(box, "")
        await stage.world.until(lambda: not box.running, NOTICED_S + SOON_S)
        site.kill_worker()
        site.start_worker()
        await stage.world.until(lambda: stage.ready() == ["web.1.2"], 2 * SOON_S)
        assert not stage.task("web.1.1").live

    play(scene, nodes=1)


# -- commands

COMMAND = Probe(exec=ExecProbe(command=("true",)), interval_s=2.0, timeout_s=1.0, retries=3)


@pytest.mark.parametrize(("words", "said"), [("", "true: no end in 1 s"), ("no", "true: exit code 1: no")])
def test_a_container_whose_command_fails_is_replaced(words: str, said: str) -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(liveness=COMMAND, readiness=COMMAND)
        await stage.serving(1)
        site, box = stage.box("web.1.1")
        site.ail(box, words)
        await stage.world.until(lambda: not stage.task("web.1.1").live, NOTICED_S + SOON_S)
        ended = stage.task("web.1.1")
        assert (ended.state, ended.reason, ended.message) == (State.FAILED, Reason.UNHEALTHY, said)
        await stage.serving(1)

    play(scene, nodes=1)


def test_an_engine_that_does_not_answer_is_no_failure_of_a_container() -> None:
    async def scene(stage: Stage) -> None:
        once = replace(COMMAND, retries=1)
        await stage.apply(replicas=2, liveness=once, readiness=once)
        await stage.serving(2)
        for at_s in (5.0, 5.3, 5.6, 5.9, 6.2):
            await stage.world.pass_time(at_s)
            for site in stage.world.sites.values():
                site.hang_engine()
            await stage.world.pass_time(3.0)  # longer than the probes' time-out, shorter than the node's
            for site in stage.world.sites.values():
                site.heal_engine()
            assert stage.ready() == ["web.1.1", "web.2.1"], [one.message for one in stage.tasks()]

    play(scene, nodes=1)


def test_programs_that_hung_end_once_the_container_answers() -> None:
    """However many they were: until then no more of them are begun."""

    async def scene(stage: Stage) -> None:
        await stage.apply(readiness=COMMAND)
        await stage.serving(1)
        site, box = stage.box("web.1.1")
        site.ail(box, "")
        await stage.world.pass_time(2.0 * 2 * PROGRAMS_MAX)
        assert stage.ready() == []
        site.recover(box)
        await stage.serving(1, within_s=2 * 2.0 + 1.0)

    play(scene, nodes=1)


def test_those_that_hang_hold_up_no_other() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=8, liveness=replace(COMMAND, timeout_s=30.0))
        await stage.apply("api", liveness=COMMAND)
        await stage.serving(8)
        for number in range(1, 9):
            site, box = stage.box(f"web.{number}.1")
            site.ail(box, "")
        await stage.world.pass_time(10.0)
        site, box = stage.box("api.1.1")
        site.ail(box, "no")
        await stage.world.until(lambda: not stage.task("api.1.1").live, NOTICED_S + SOON_S)

    play(scene, nodes=1)


# -- readiness


def test_a_task_is_ready_only_while_it_passes_and_each_turn_is_told_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2, readiness=READINESS)
        await stage.serving(2)
        site, box = stage.box("web.1.1")
        before = told_of(stage, "web.1.1")
        site.ail(box, "GET /health: 503 Service Unavailable")
        await stage.world.until(lambda: stage.ready() == ["web.2.1"], 2 * 2.0 + 0.1)
        sick = stage.task("web.1.1")
        assert (sick.state, sick.reason) == (State.RUNNING, Reason.UNHEALTHY)
        assert sick.message == "GET /health: 503 Service Unavailable"
        await stage.world.pass_time(60.0)
        site.recover(box)
        await stage.world.until(lambda: stage.ready() == ["web.1.1", "web.2.1"], 2.1)
        assert stage.task("web.1.1").reason is Reason.HEALTHY
        assert told_of(stage, "web.1.1") == before + 2
        assert box.runs == 1

    play(scene, nodes=2)


def test_a_worker_that_comes_back_takes_nothing_out_of_rotation() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=4, readiness=READINESS, liveness=LIVENESS)
        await stage.serving(4)
        before = {one.id: told_of(stage, one.id) for one in stage.tasks()}
        for site in stage.world.sites.values():
            site.kill_worker()
            await stage.world.pass_time(1.0)
            site.start_worker()
        await stage.world.pass_time(30.0)
        assert {one.id: told_of(stage, one.id) for one in stage.tasks()} == before
        site, box = stage.box("web.1.1")
        site.ail(box, "")
        await stage.world.until(lambda: "web.1.1" not in stage.ready(), NOTICED_S)

    play(scene, nodes=2)


def test_a_release_whose_readiness_fails_stops_the_rollout_by_itself() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=3, readiness=READINESS)
        await stage.serving(3)

        broken = Probe(http=HttpProbe(port=80, path="/missing"), interval_s=1.0)
        await stage.apply(replicas=3, readiness=broken)
        await stage.world.pass_time(120.0)
        assert stage.ready() == ["web.1.1", "web.2.1", "web.3.1"]
        held = stage.world.read().release("web", 2)
        assert held is not None
        assert "GET /missing: 404 Not Found" in held.message
        await stage.apply(replicas=3, readiness=READINESS)
        await stage.serving(3, within_s=2 * SOON_S)

    play(scene, nodes=3)


# -- when they are asked


def running(
    number: int, state: State, *, liveness: Probe | None = None, readiness: Probe | None = None
) -> tuple[Assigned, Container]:
    one = replace(task(1, state=state), id=f"web.{number}.1")
    container = Container(id=f"c{number}", task=one.id, fingerprint="f", status=Status.RUNNING)
    spec = ServiceSpec(image="web", liveness=liveness, readiness=readiness)
    return Assigned(task=one, spec=spec), container


class Recorder:
    """A prober that notes when it was asked, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, str]] = []
        self.hung: set[str] = set()
        self.given_up = 0
        self.failure: Unavailable | Refused | None = None

    async def probe(self, target: Target) -> None:
        self.asked.append((asyncio.get_running_loop().time(), target.container.id))
        if target.container.id in self.hung:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up += 1
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None: ...

    def times(self, container: str) -> list[float]:
        return [at for at, id in self.asked if id == container]


async def probing(prober: Recorder, *all: tuple[Assigned, Container]) -> tuple[Probes, list[str], asyncio.Task[None]]:
    turned: list[str] = []
    probes = Probes(prober, turned.append)
    living = asyncio.create_task(probes.run())
    await asyncio.sleep(0)
    for one, container in all:
        probes.follow(one, container)
    return probes, turned, living


def test_a_thousand_that_are_found_together_are_not_asked_together() -> None:
    async def main() -> None:
        prober = Recorder()
        found = [running(number, State.RUNNING, liveness=Probe(tcp=TcpProbe(port=1))) for number in range(1000)]
        prober.hung = {"c3", "c4"}
        _, _, living = await probing(prober, *found)
        await asyncio.sleep(100.0)
        living.cancel()
        for second in range(100):
            asked = sum(second <= at < second + 1 for at, _ in prober.asked)
            assert 70 <= asked <= 130, f"{asked} in second {second}"
        assert max(Counter(at for at, _ in prober.asked).values()) < 5
        assert {len(prober.times(container.id)) for _, container in found} == {10}

    run_in_virtual_time(main())


def test_one_that_has_just_started_is_asked_at_once_and_then_at_its_interval() -> None:
    async def main() -> None:
        prober = Recorder()
        probes, turned, living = await probing(prober, running(1, State.STARTING, readiness=READINESS))
        await asyncio.sleep(20.0)
        first, second, *rest = prober.times("c1")
        assert first == 0.0
        assert 1.0 <= second < 2.0
        gaps = [after - before for before, after in zip([second, *rest], rest, strict=False)]
        assert gaps == pytest.approx([2.0] * len(gaps))
        assert turned == ["web.1.1"]
        assert probes.checks("web.1.1").readiness.passes is True
        living.cancel()

    run_in_virtual_time(main())


def test_what_ended_is_not_asked_and_not_forgotten_until_it_is_gone() -> None:
    async def main() -> None:
        prober = Recorder()
        one, container = running(1, State.STARTING, liveness=LIVENESS, readiness=READINESS)
        prober.hung = {"c1"}
        probes, _, living = await probing(prober, (one, container))
        await asyncio.sleep(10.0)
        assert probes.checks("web.1.1").liveness.passes is False
        probes.follow(one, None)
        asked = len(prober.asked)
        await asyncio.sleep(10.0)
        assert len(prober.asked) == asked == prober.given_up
        assert probes.checks("web.1.1").liveness.passes is False
        probes.forget("web.1.1")
        assert probes.checks("web.1.1").liveness.passes is None
        living.cancel()

    run_in_virtual_time(main())


def test_a_question_that_could_not_be_asked_is_no_result() -> None:
    async def main() -> None:
        prober = Recorder()
        prober.failure = Refused("too many open files")
        probes, turned, living = await probing(prober, running(1, State.STARTING, liveness=LIVENESS))
        await asyncio.sleep(60.0)
        assert len(prober.asked) > 20
        assert (probes.checks("web.1.1").liveness.passes, turned) == (None, [])
        living.cancel()

    run_in_virtual_time(main())
