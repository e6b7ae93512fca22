"""Situations that have names, staged with exact times in a world without chance.

What the random worlds find sooner or later, these show at once, with what is promised of it in seconds.
"""

import asyncio

import pytest

from longshore.decide.placement.hostports import PORT_RETRY_S
from longshore.model.errors import Unavailable
from longshore.model.lifecycle import State
from longshore.model.objects import Availability, Kind, ReleasePhase
from longshore.model.reasons import Reason
from longshore.model.spec import (
    HealthCheck,
    Mode,
    PlacementRules,
    Port,
    Resources,
    RestartPolicy,
    UpdateOrder,
    UpdateRules,
)
from longshore.simulate.unruly import StoreTroubles
from longshore.simulate.world import CLUSTER, HEARTBEAT_TIMEOUT_S
from tests.worlds.stage import PROMPT, SOON_S, Stage, play, service

MONITORED_S = 2 * UpdateRules().monitor_s
"""A release that has served for so long is done."""
BEAT_S = HEARTBEAT_TIMEOUT_S / 4

# -- nodes


def test_the_tasks_of_a_dead_machine_run_elsewhere_within_the_timeout_and_a_second() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=6)
        await stage.serving(6)
        stage.world.sites["n1"].power_off()
        died = stage.now
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S + 0.1)
        assert stage.now - died >= HEARTBEAT_TIMEOUT_S - BEAT_S, "declared down too soon"
        await stage.serving(6, within_s=1.0)
        assert sorted(task for node, task in stage.running() if node != "n1") == stage.ready()

    play(scene, nodes=3)


def test_a_node_that_was_only_cut_off_gives_up_what_is_no_longer_its_own() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=3)
        await stage.serving(3)
        lost = next(task for task in stage.tasks() if task.node == "n1")
        stage.world.sites["n1"].mute()
        await stage.world.until(lambda: stage.task(lost.id).state is State.LOST, HEARTBEAT_TIMEOUT_S + 0.1)
        await stage.serving(3, within_s=1.0)
        assert ("n1", lost.id) in stage.running(), "nobody can stop it there yet"
        await stage.world.until(lambda: "n1" in stage.ready_nodes(), 2 * HEARTBEAT_TIMEOUT_S)
        await stage.world.until(lambda: len(stage.running()) == 3, SOON_S)
        assert ("n1", lost.id) not in stage.running()

    play(scene, nodes=3)


def test_a_node_that_returns_stays() -> None:
    async def scene(stage: Stage) -> None:
        stage.world.sites["n1"].power_off()
        await stage.world.pass_time(30.0)
        stage.world.sites["n1"].power_on()
        await stage.joined()
        await stage.world.pass_time(30.0)
        assert stage.told("node n1 is down") == 1

    play(scene, nodes=2)


def test_a_silent_connection_is_replaced_and_its_end_does_not_take_the_new_one_with_it() -> None:
    async def scene(stage: Stage) -> None:
        stage.world.sites["n1"].mute()
        await stage.world.pass_time(4 * HEARTBEAT_TIMEOUT_S)
        await stage.apply(replicas=2)
        await stage.serving(2)
        assert [node for node, _ in stage.running()] == ["n1", "n2"]

    play(scene, nodes=2)


def test_a_machine_whose_engine_hangs_is_served_by_others_and_cleans_up_once_it_answers() -> None:
    """Its session lives all the while: what it lost has to be told on it."""

    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2)
        await stage.serving(2)
        stage.world.sites["n1"].hang_engine()
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S + BEAT_S)
        await stage.serving(2, within_s=1.0)
        await stage.world.pass_time(10.0)
        stage.world.sites["n1"].heal_engine()
        await stage.world.until(lambda: [node for node, _ in stage.running()] == ["n2", "n2"], SOON_S)

    play(scene, nodes=2)


def test_a_drained_node_is_empty_soon_and_the_others_serve() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=4)
        await stage.serving(4)
        await stage.set_node("n1", Availability.DRAINED)
        await stage.world.until(lambda: all(node == "n2" for node, _ in stage.running()), SOON_S)
        await stage.serving(4)

    play(scene, nodes=2)


# -- the manager


def test_a_wish_is_kept_although_the_manager_died_before_it_answered() -> None:
    async def scene(stage: Stage) -> None:
        asking = asyncio.create_task(stage.apply(replicas=2))
        await stage.world.until(lambda: "web" in stage.world.read().services, 0.1)
        stage.world.kill_manager()
        with pytest.raises(Unavailable):
            await asking
        stage.world.start_manager()
        await stage.serving(2, within_s=HEARTBEAT_TIMEOUT_S)
        await stage.apply(replicas=2)
        assert stage.world.read().services["web"].release == 1, "the same wish again changes nothing"

    play(scene, nodes=2, troubles=StoreTroubles(land_s=(0.0, 0.0), answer_s=(0.5, 0.5), lost_before=0, lost_after=0))


def test_a_manager_that_was_away_declares_nobody_down() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=3)
        await stage.serving(3)
        before = stage.running()
        stage.world.kill_manager()
        await stage.world.pass_time(600.0)
        assert stage.running() == before, "workers keep everything running"
        stage.world.start_manager()
        await stage.world.pass_time(60.0)
        assert stage.running() == before
        assert stage.told("is down") == 0

    play(scene, nodes=3)


def test_what_happened_while_the_manager_was_away_is_told_to_it_later() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2)
        await stage.serving(2)
        stage.world.kill_manager()
        site, box = stage.box("web.1.1")
        site.exit(box, 3)
        await stage.world.pass_time(10.0)
        stage.world.start_manager()
        await stage.world.until(lambda: stage.task("web.1.1").state is State.FAILED, SOON_S)
        assert stage.task("web.1.1").exit_code == 3
        await stage.serving(2)

    play(scene, nodes=2)


# -- workers


def test_a_worker_that_was_killed_adopts_what_runs() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=3)
        await stage.serving(3)
        site = stage.world.sites["n1"]
        before = {box.id for box in site.boxes()}
        site.kill_worker()
        await stage.world.pass_time(2.0)
        site.start_worker()
        await stage.world.pass_time(40.0)
        assert {box.id for box in site.boxes()} == before
        assert [box.runs for box in site.boxes()] == [1, 1, 1]
        assert stage.ready() == ["web.1.1", "web.2.1", "web.3.1"]

    play(scene, nodes=1)


def test_a_join_whose_answer_is_lost_is_done_again() -> None:
    async def scene(stage: Stage) -> None:
        site = stage.world.sites["n1"]
        await stage.world.until(lambda: "n1" in stage.ready_nodes(), SOON_S)
        site.mute()  # the manager has written it down, and its welcome is not on the way yet
        assert stage.world.read().get(Kind.TOKEN, "join-n1") is None, "the join token is used up"
        await stage.world.until(lambda: site.identity.cluster == CLUSTER, 15.0)
        await stage.apply()
        await stage.serving(1)

    play(
        scene,
        nodes=1,
        join=False,
        troubles=StoreTroubles(land_s=(0.0, 0.0), answer_s=(0.5, 0.5), lost_before=0, lost_after=0),
    )


# -- engines and containers


def test_what_an_engine_killed_by_its_restart_is_replaced_once() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2)
        await stage.serving(2)
        stage.world.sites["n1"].restart_engine(1.0)
        await stage.world.until(lambda: stage.ready() == ["web.1.2", "web.2.2"], 1.0 + SOON_S)
        assert stage.told("node n1 is down") == 0
        await stage.world.pass_time(60.0)
        assert [task.id for task in stage.tasks()] == ["web.1.1", "web.1.2", "web.2.1", "web.2.2"]
        assert {task.exit_code for task in stage.tasks() if task.generation == 1} == {137}

    play(scene, nodes=1)


@pytest.mark.parametrize("seed", range(12))
def test_a_start_that_was_not_answered_is_not_done_twice(seed: int) -> None:
    """Whether the engine had done it when it went away is chance; the witness sees to it that no container is started
    once more."""

    async def scene(stage: Stage) -> None:
        await stage.apply(mode=Mode.JOB, command=("true",))
        await stage.world.until(lambda: bool(stage.world.sites["n1"].boxes()), 1.0)
        stage.world.sites["n1"].restart_engine(0.0)
        await stage.world.until(lambda: stage.tasks()[-1].state is State.FINISHED, 10.0)
        assert all(box.runs <= 1 for box in stage.world.sites["n1"].boxes())

    play(scene, nodes=1, seed=seed)


def test_a_task_with_the_name_of_an_earlier_one_gets_a_container_of_its_own() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply()
        await stage.serving(1)
        _, stale = stage.box("web.1.1")
        stage.world.sites["n1"].mute()
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S + 0.1)
        await stage.remove("web")
        await stage.world.until(lambda: not stage.tasks(), 1.0)
        await stage.apply()
        await stage.serving(1, within_s=2 * HEARTBEAT_TIMEOUT_S)
        _, box = stage.box("web.1.1")
        assert box.id != stale.id

    play(scene, nodes=1)


def test_a_slot_keeps_the_last_of_its_ended_tasks_and_their_containers() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply()
        for generation in range(1, 8):
            await stage.world.until(lambda: stage.ready() == [f"web.1.{generation}"], SOON_S)  # noqa: B023
            site, box = stage.box(f"web.1.{generation}")
            await stage.world.pass_time(15.0)
            site.exit(box, 1)
        await stage.serving(1)
        await stage.world.pass_time(5.0)
        assert [task.id for task in stage.tasks()] == ["web.1.5", "web.1.6", "web.1.7", "web.1.8"]
        assert [box.order.task for box in stage.world.sites["n1"].boxes()] == [
            "web.1.5",
            "web.1.6",
            "web.1.7",
            "web.1.8",
        ]

    play(scene, nodes=1)


def test_a_task_whose_container_vanishes_is_replaced_by_exactly_one() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2)
        await stage.serving(2)
        site, box = stage.box("web.1.1")
        site.vanish(box)
        await stage.world.until(lambda: stage.ready() == ["web.1.2", "web.2.1"], SOON_S)
        assert stage.task("web.1.1").reason is Reason.CONTAINER_GONE
        await stage.world.pass_time(60.0)
        assert [task.id for task in stage.tasks()] == ["web.1.1", "web.1.2", "web.2.1"]

    play(scene, nodes=2)


# -- room


def test_a_task_that_fits_nowhere_says_why_and_is_placed_as_soon_as_there_is_room() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply("big", resources=Resources(cpu=3.0))
        await stage.serving(1, "big")
        await stage.apply(resources=Resources(cpu=2.0))
        await stage.world.until(lambda: stage.task("web.1.1").reason is Reason.NO_NODE, SOON_S)
        assert stage.task("web.1.1").message == "0 of 1 node: not enough cpu (n1)"
        await stage.world.pass_time(60.0)
        assert stage.task("web.1.1").state is State.NEW
        await stage.remove("big")
        await stage.serving(1, within_s=1.0)
        assert not stage.tasks("big")

    play(scene, nodes=1)


def test_a_task_that_no_node_may_run_is_placed_when_one_comes() -> None:
    async def scene(stage: Stage) -> None:
        stage.world.sites["n2"].power_off()
        await stage.world.pass_time(10.0)
        await stage.apply(placement=PlacementRules(constraints=("node.labels.zone==a",)))
        await stage.world.until(lambda: stage.task("web.1.1").reason is Reason.NO_NODE, SOON_S)
        assert stage.task("web.1.1").message == ("0 of 2 nodes: constraint node.labels.zone==a (n1), node is down (n2)")
        stage.world.sites["n2"].power_on()
        await stage.serving(1)

    play(scene, nodes=2)


def test_a_port_that_another_program_holds_is_tried_again_once_it_is_free() -> None:
    async def scene(stage: Stage) -> None:
        stage.world.sites["n1"].occupy(8080)
        await stage.apply(ports=(Port(container=80, host=8080),))
        await stage.world.until(lambda: stage.told("waits: 0 of 1 node: host port 8080/tcp in use") == 1, SOON_S)
        assert stage.task("web.1.1").reason is Reason.PORT_TAKEN
        stage.world.sites["n1"].release(8080)
        await stage.serving(1, within_s=PORT_RETRY_S + 1.0)

    play(scene, nodes=1)


# -- services


def test_scaling_down_and_up_touches_only_the_slots_that_go_and_come() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=5)
        await stage.serving(5)
        stays = [stage.box(id)[1].id for id in ("web.1.1", "web.2.1")]
        await stage.scale("web", 2)
        await stage.world.until(lambda: [task.id for task in stage.tasks()] == ["web.1.1", "web.2.1"], SOON_S)
        assert [task for _, task in stage.running()] == stage.ready()
        await stage.scale("web", 4)
        await stage.serving(4, within_s=1.0)
        assert [stage.box(id)[1].id for id in ("web.1.1", "web.2.1")] == stays
        assert [task.slot for task in stage.tasks()] == [1, 2, 3, 4]

    play(scene, nodes=2)


@pytest.mark.parametrize("mode", [Mode.REPLICATED, Mode.GLOBAL])
@pytest.mark.parametrize(("order", "least"), [(UpdateOrder.START_FIRST, 4), (UpdateOrder.STOP_FIRST, 3)])
def test_a_rollout_takes_one_task_at_a_time(mode: Mode, order: UpdateOrder, least: int) -> None:
    async def scene(stage: Stage) -> None:
        rules = UpdateRules(order=order)
        await stage.apply(mode=mode, replicas=4, update=rules)
        await stage.serving(4)
        fewest = 4

        def updated() -> bool:
            nonlocal fewest
            fewest = min(fewest, len(stage.ready()))
            return all(task.release == 2 and task.ready for task in stage.tasks() if task.counts)

        await stage.apply(mode=mode, replicas=4, image="longshore/demo:2", update=rules)
        await stage.world.until(updated, 4 * SOON_S)
        assert fewest == least

    play(scene, nodes=4)


def test_a_release_that_does_not_become_ready_is_taken_back() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=3)
        await stage.serving(3)
        await stage.world.pass_time(MONITORED_S)
        sick = HealthCheck(test=("CMD", "false"), interval_s=1.0, retries=1)
        await stage.apply(spec=service(replicas=3, health=sick))
        fewest = 3

        def taken_back() -> bool:
            nonlocal fewest
            fewest = min(fewest, len(stage.ready()))
            return stage.world.read().services["web"].release == 1

        await stage.world.until(taken_back, 90.0)
        await stage.serving(3)
        assert fewest == 3
        assert stage.ready() == ["web.1.1", "web.2.1", "web.3.1"], "none of those that served was touched"
        failed = stage.world.read().release("web", 2)
        assert failed is not None
        assert (failed.phase, failed.failed_slots) == (ReleasePhase.FAILED, (1,))

    play(scene, nodes=3)


def test_a_release_that_fails_before_any_was_done_goes_no_further() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=3)
        await stage.serving(3)
        sick = HealthCheck(test=("CMD", "false"), interval_s=1.0, retries=1)
        await stage.apply(spec=service(replicas=3, health=sick))
        await stage.world.pass_time(120.0)
        assert stage.ready() == ["web.1.1", "web.2.1", "web.3.1"]
        held = stage.world.read().release("web", 2)
        assert held is not None
        assert held.phase is ReleasePhase.PAUSED
        await stage.apply(replicas=3)
        await stage.serving(3, within_s=2 * SOON_S)

    play(scene, nodes=3)


def test_a_service_that_becomes_global_is_once_on_each_node() -> None:
    async def scene(stage: Stage) -> None:
        for mode in (Mode.GLOBAL, Mode.REPLICATED, Mode.GLOBAL):
            await stage.apply(mode=mode, replicas=2)
            await stage.serving(3 if mode is Mode.GLOBAL else 2, within_s=2 * SOON_S)
            await stage.world.pass_time(10.0)
        assert sorted(node for node, _ in stage.running()) == ["n1", "n2", "n3"]

    play(scene, nodes=3)


def test_a_crash_loop_backs_off_and_gives_up_when_told_to() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(command=("exit", "1"), restart=RestartPolicy(attempts_max=5))
        await stage.world.pass_time(120.0)
        assert stage.tasks()[-1].generation == 6
        assert not stage.running()

    play(scene, nodes=1)


def test_the_stage_itself_is_prompt() -> None:
    """What the limits above rest on: a service is up in the time of its decisions, one create and one start."""

    async def scene(stage: Stage) -> None:
        await stage.apply()
        assert await stage.serving(1) < 0.6

    play(scene, nodes=1, troubles=PROMPT)
