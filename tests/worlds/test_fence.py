"""A slot of a single-writer service never has two writers: worlds without chance, at exact times.

The witness of every world looks for two writers all the time; what is staged here is what else is promised.
"""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from longshore.agent.dialling import RETRY_URGENT_S
from longshore.agent.guard import POLL_S
from longshore.model.lease import DEAD_AFTER, GIVE_UP_AFTER, STOP_AFTER
from longshore.model.lifecycle import State
from longshore.model.objects import Availability, Task
from longshore.model.reasons import Reason
from longshore.model.spec import OnFailure, UpdateRules
from longshore.simulate.site import Site
from longshore.simulate.world import HEARTBEAT_TIMEOUT_S as T
from tests.worlds.stage import SOON_S, Stage, play, service

BEAT_S = T / 4
SINGLE = service(single_writer=True)


async def writing(stage: Stage) -> tuple[Site, Task]:
    """A single-writer service that has run for a while, and where."""
    await stage.apply("db", SINGLE)
    await stage.serving(1, "db")
    await stage.world.pass_time(2 * T)
    (task,) = stage.tasks("db")
    return stage.world.sites[task.node], task


def runs(site: Site, task: Task) -> bool:
    return bool(site.boxes(task.id, running=True))


def given_up(stage: Stage, task: Task) -> bool:
    return stage.task(task.id).state is State.LOST


Harm = Callable[[Stage, Site], None]
HARMS: dict[str, Harm] = {
    "killed": lambda stage, site: site.kill_worker(),
    "stopped": lambda stage, site: site.stop_worker(),
    "frozen": lambda stage, site: site.freeze_worker(),
    "no engine": lambda stage, site: site.end_engine(),
    "engine hangs": lambda stage, site: site.hang_engine(),
}


@pytest.mark.parametrize("phase_s", [0.0, 0.7])
@pytest.mark.parametrize("harm", sorted(HARMS))
def test_it_is_dead_before_it_is_given_up(harm: str, phase_s: float) -> None:
    async def scene(stage: Stage) -> None:
        site, task = await writing(stage)
        await stage.world.pass_time(phase_s)
        HARMS[harm](stage, site)
        begun = stage.now
        await stage.world.until(lambda: not runs(site, task), DEAD_AFTER * T + POLL_S + 0.01)
        assert stage.now - begun > (STOP_AFTER - 0.25) * T - 0.1, "it had no time to come back"
        assert stage.task(task.id).live
        await stage.world.until(lambda: given_up(stage, task), GIVE_UP_AFTER * T)
        assert stage.now - begun > GIVE_UP_AFTER * T - BEAT_S - 0.1
        await stage.serving(1, "db")
        (after,) = [one for one in stage.tasks("db") if one.counts]
        assert after.node != task.node
        site.thaw_worker()
        site.heal_engine()
        site.start_worker()
        await stage.world.pass_time(4 * T)
        assert stage.running() == [(after.node, after.id)]

    play(scene, nodes=2)


def test_what_is_no_single_writer_does_not_wait_for_one() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply("web", replicas=2)
        site, task = await writing(stage)
        site.kill_worker()
        await stage.world.until(lambda: stage.task(task.id).reason is Reason.NODE_AWAITED, 1.1)
        left_s = GIVE_UP_AFTER * T - 1.0
        said = stage.task(task.id).message
        assert said.startswith(f"node {site.name} is down; {task.id} is given up in ")
        assert left_s - BEAT_S - 0.1 < float(said.split(" in ")[1].split(" ")[0]) <= left_s
        await stage.serving(2, "web")
        assert stage.task(task.id).live
        site.start_worker()
        await stage.world.pass_time(3 * T)
        assert stage.ready("db") == [task.id], "it was back in time"
        assert stage.task(task.id).reason is not Reason.NODE_AWAITED

    play(scene, nodes=2)


def test_a_worker_that_lost_its_manager_stops_it_well_and_nothing_else() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply("web")
        site, task = await writing(stage)
        stage.world.kill_manager()
        begun = stage.now
        await stage.world.until(lambda: not runs(site, task), T + SOON_S)
        assert (STOP_AFTER - 0.25) * T - 0.1 < stage.now - begun < STOP_AFTER * T + 0.5
        assert site.boxes(task.id)[0].seen().exit_code != 137, "it was killed, not stopped"
        assert stage.told("the guard of") == 0
        stage.world.start_manager()
        await stage.world.until(lambda: not stage.task(task.id).live, SOON_S)
        said = stage.task(task.id)
        assert (said.state, said.reason) == (State.STOPPED, Reason.FENCED)
        assert said.message == f"no word from the manager for {T:g} s"
        await stage.serving(1, "db")
        assert stage.ready("web") == ["web.1.1"]

    play(scene, nodes=2)


def test_a_manager_that_is_away_for_less_than_the_timeout_stops_nothing() -> None:
    async def scene(stage: Stage) -> None:
        site, task = await writing(stage)
        for _ in range(3):
            stage.world.kill_manager()
            await stage.world.pass_time(T - BEAT_S - 2 * RETRY_URGENT_S)
            stage.world.start_manager()
            await stage.world.pass_time(T)
        assert stage.ready("db") == [task.id]
        assert [box.runs for box in site.boxes(task.id)] == [1]

    play(scene, nodes=2)


@pytest.mark.parametrize("harm", ["kill_worker", "stop_worker"])
def test_a_worker_that_is_started_again_takes_the_lease_over(harm: str) -> None:
    async def scene(stage: Stage) -> None:
        site, task = await writing(stage)
        for _ in range(3):
            getattr(site, harm)()
            await stage.world.pass_time(T / 2)
            site.start_worker()
            await stage.world.pass_time(2 * T)
        assert stage.ready("db") == [task.id]
        assert [box.runs for box in site.boxes(task.id)] == [1]

    play(scene, nodes=2)


def test_a_worker_that_finds_no_manager_renews_nothing() -> None:
    async def scene(stage: Stage) -> None:
        site, task = await writing(stage)
        stage.world.kill_manager()
        site.kill_worker()
        await stage.world.pass_time(1.0)
        site.start_worker()
        await stage.world.until(lambda: not runs(site, task), DEAD_AFTER * T)
        stage.world.start_manager()
        await stage.world.until(lambda: not stage.task(task.id).live, SOON_S)
        assert stage.task(task.id).reason is Reason.FENCED
        await stage.serving(1, "db")

    play(scene, nodes=2)


EARLY_S = (0.03, 0.02, 0.015, 0.01, 0.005, 0.0)
"""Before a heartbeat is due: from one of these moments on it is under way."""


@pytest.mark.parametrize("early_s", EARLY_S)
def test_an_answer_that_is_read_late_counts_from_when_it_was_asked_for(early_s: float) -> None:
    read_late(early_s)


def read_late(early_s: float) -> None:
    """A worker stands still just after a heartbeat, reads its answer much later, and is cut off by then."""

    async def scene(stage: Stage) -> None:
        site, task = await writing(stage)
        before = site.guard.lease.renewed_at
        await stage.world.until(lambda: site.guard.lease.renewed_at > before, 2 * BEAT_S)
        await stage.world.pass_time(BEAT_S - early_s)
        site.freeze_worker()
        await stage.world.pass_time((STOP_AFTER - 0.25) * T)
        site.mute()  # else it would be heard again
        site.thaw_worker()
        await stage.world.pass_time(0.02)
        site.freeze_worker()
        await stage.world.until(lambda: given_up(stage, task), (GIVE_UP_AFTER + 0.1) * T)
        await stage.serving(1, "db")
        site.thaw_worker()

    play(scene, nodes=2)


def test_a_start_that_a_frozen_engine_does_late_is_ended_at_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply("db", SINGLE)
        await stage.world.until(lambda: any(one.guard.lease.containers for one in stage.world.sites.values()), SOON_S)
        (task,) = stage.tasks("db")
        site = stage.world.sites[task.node]
        assert not runs(site, task), "it is about to start"
        site.hang_engine()
        await stage.world.until(lambda: given_up(stage, task), 4 * T)
        await stage.serving(1, "db")
        site.heal_engine()
        await stage.world.pass_time(2 * POLL_S)
        assert not runs(site, task)

    play(scene, nodes=2)


@pytest.mark.parametrize("step_ms", range(0, 300, 20))
@pytest.mark.parametrize(("image", "hang_s"), [("registry/app:7", 0.75 * T), ("longshore/demo:1", 0.0)])
def test_what_a_hanging_engine_is_asked_for_runs_beside_nobody(image: str, hang_s: float, step_ms: int) -> None:
    """Whatever it hung at, the image, the container or the start: it answers when another writer is there, and the
    worker has heard from its manager again, who knows nothing of the task that it had."""

    async def scene(stage: Stage) -> None:
        await stage.apply("db", replace(SINGLE, image=image))
        await stage.world.until(lambda: any(one.node for one in stage.tasks("db")), SOON_S)
        await stage.world.pass_time(step_ms / 1000)
        (task,) = stage.tasks("db")
        site = stage.world.sites[task.node]
        site.freeze_worker()
        await stage.world.pass_time(hang_s)
        site.hang_engine()
        site.mute()
        site.thaw_worker()
        await stage.world.pass_time(0.05)
        site.freeze_worker()
        await stage.world.until(lambda: given_up(stage, task), (GIVE_UP_AFTER + 2) * T)
        await stage.remove("db")
        await stage.world.until(lambda: not stage.tasks("db"), SOON_S)
        await stage.apply("db", SINGLE)
        await stage.serving(1, "db")
        site.thaw_worker()
        await stage.world.pass_time(1.0)
        site.heal_engine()
        for _ in range(100):
            await stage.world.pass_time(0.01)
            # A start that was on its way before the lease ended is the guard's to end.
            assert all(site.guard.is_late(box) for box in site.boxes(running=True))
        assert not site.boxes()

    play(scene, nodes=2)


def test_a_drained_or_updated_one_stops_before_the_next_begins() -> None:
    async def scene(stage: Stage) -> None:
        site, _ = await writing(stage)
        await stage.set_node(site.name, Availability.DRAINED)
        await stage.world.until(
            lambda: [one.node for one in stage.tasks("db") if one.ready] not in ([], [site.name]), 10
        )
        rules = UpdateRules(on_failure=OnFailure.CONTINUE)
        await stage.apply("db", replace(SINGLE, image="longshore/demo:2", update=rules))
        await stage.world.pass_time(10.0)
        await stage.serving(1, "db")
        # Still one of its former release, until it has ended.
        await stage.apply("db", replace(SINGLE, image="longshore/demo:1", single_writer=False, update=rules))
        await stage.world.pass_time(10.0)
        await stage.serving(1, "db")
        assert stage.told("stands by") == 0

    play(scene, nodes=2)


def test_the_breaker_holds_for_single_writers_too() -> None:
    """Most nodes at once: nobody is given up, and when the manager hears them again, what their workers stopped is
    started anew."""

    async def scene(stage: Stage) -> None:
        site, task = await writing(stage)
        for one in stage.world.sites.values():
            one.kill_worker()
        await stage.world.pass_time(6 * T)
        assert stage.task(task.id).live
        assert not runs(site, task)
        for one in stage.world.sites.values():
            one.start_worker()
        await stage.serving(1, "db", within_s=2 * T)

    play(scene, nodes=3)
