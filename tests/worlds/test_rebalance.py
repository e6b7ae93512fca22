"""Rebalancing, staged with exact times: what moves, how long it takes, what gives it up, and that nothing flaps."""

from typing import Any

import pytest

from longshore.decide.moves import NO_ROOM_S
from longshore.decide.rebalance import COOL_DOWN_S, STEADY_S
from longshore.model.moves import Rebalance, RebalanceWish
from longshore.model.objects import Availability
from longshore.model.spec import HealthCheck, PlacementRules, Resources, UpdateOrder, UpdateRules
from longshore.simulate.world import HEARTBEAT_TIMEOUT_S
from tests.worlds.stage import SOON_S, Stage, play

CHECK = HealthCheck(test=("CMD", "true"), interval_s=1.0)
NO_REPLICA_LESS = "it is never fewer than were asked for"


async def crowded(stage: Stage, replicas: int, *empty: str, **fields: Any) -> None:
    """A service that runs and is done, all of it on other nodes than `empty`, which take tasks again now."""
    for name in empty:
        await stage.set_node(name, Availability.DRAINED)
    await stage.apply(replicas=replicas, health=CHECK, **fields)
    await stage.serving(replicas)
    await stage.world.pass_time(10.0)
    for name in empty:
        await stage.set_node(name, Availability.ACTIVE)


async def rebalance(stage: Stage, **wish: Any) -> Rebalance:
    return await stage.world.ask(lambda operations: operations.rebalance(RebalanceWish(**wish)))


def placed(stage: Stage) -> list[str]:
    """The nodes of the tasks that count, in order of slot."""
    return [task.node for task in stage.tasks() if task.counts]


def moving(stage: Stage) -> list[str]:
    return [task.id for task in stage.tasks() if task.live and (task.moves_to or task.stands_by or task.pinned)]


async def over(stage: Stage, within_s: float = SOON_S) -> float:
    """Let all moves end."""
    return await stage.world.until(lambda: not moving(stage), within_s)


def test_a_move_takes_nothing_away() -> None:
    async def scene(stage: Stage) -> None:
        await crowded(stage, 6, "n3")
        planned = await rebalance(stage)
        assert [move.target for move in planned.moves] == ["n3", "n3"]
        while moving(stage):
            assert len(stage.ready()) == 6, NO_REPLICA_LESS
            await stage.world.pass_time(0.05)
        assert sorted(placed(stage)) == ["n1", "n1", "n2", "n2", "n3", "n3"]
        assert (await rebalance(stage)).moves == ()

    play(scene, nodes=3)


def test_a_plan_moves_nothing() -> None:
    async def scene(stage: Stage) -> None:
        await crowded(stage, 4, "n2")
        revision = stage.world.read().revision
        planned = await stage.world.ask(lambda operations: operations.rebalance(RebalanceWish(), dry_run=True))
        assert len(planned.moves) == 2
        assert stage.world.read().revision == revision

    play(scene, nodes=2)


def test_two_move_at_a_time_and_no_more_than_the_budget() -> None:
    async def scene(stage: Stage) -> None:
        await crowded(stage, 8, "n2", update=UpdateRules(parallelism=0))
        assert len((await rebalance(stage, moves_max=3)).moves) == 3
        most = 0
        while moving(stage):
            most = max(most, sum(task.stands_by for task in stage.tasks()))
            await stage.world.pass_time(0.05)
        assert most == 2
        assert placed(stage).count("n2") == 3

    play(scene, nodes=2)


def test_nobody_moves_twice_within_the_cool_down() -> None:
    async def scene(stage: Stage) -> None:
        await crowded(stage, 2, "n2")
        await rebalance(stage)
        await over(stage)
        moved = next(task for task in stage.tasks() if task.counts and task.move_ended_at is not None)
        await stage.set_node("n1", Availability.DRAINED)
        await stage.world.until(lambda: placed(stage) == ["n2", "n2"], SOON_S)
        await stage.set_node("n1", Availability.ACTIVE)
        await stage.world.pass_time(10.0)
        (move,) = (await rebalance(stage)).moves
        assert move.task != moved.id
        await over(stage)
        assert sorted(placed(stage)) == ["n1", "n2"]
        await stage.world.pass_time(COOL_DOWN_S)
        assert (await rebalance(stage)).moves == ()

    play(scene, nodes=2)


@pytest.mark.parametrize("way", ["drained", "killed", "powered off"])
def test_a_target_that_goes_away_is_given_up(way: str) -> None:
    async def scene(stage: Stage) -> None:
        await crowded(stage, 4, "n2")
        before = placed(stage)
        stage.world.sites["n2"].slow_engine(50)
        await rebalance(stage)
        await stage.world.until(lambda: any(task.stands_by and task.node for task in stage.tasks()), SOON_S)
        if way == "drained":
            await stage.set_node("n2", Availability.DRAINED)
        elif way == "killed":
            stage.world.sites["n2"].kill_worker()
        else:
            stage.world.sites["n2"].power_off()
        await over(stage, 2 * HEARTBEAT_TIMEOUT_S + 60.0)
        assert placed(stage) == before
        assert len(stage.ready()) == 4, NO_REPLICA_LESS
        assert stage.told(" stays: n2 is") > 0

    play(scene, nodes=2)


def test_one_that_does_not_come_up_leaves_the_former_alone() -> None:
    async def scene(stage: Stage) -> None:
        await crowded(stage, 1)
        await stage.apply("api", replicas=1, health=CHECK)
        await stage.serving(1, "api")
        await stage.world.pass_time(10.0)
        stage.world.sites["n2"].fail_next_start()
        await stage.set_node("n2", Availability.ACTIVE)
        (move,) = (await rebalance(stage)).moves
        await stage.world.until(lambda: stage.told(" stays: ") == 1, SOON_S)
        await stage.world.pass_time(5.0)
        assert stage.task(move.task).node == "n1"
        assert (await rebalance(stage)).moves[0].task != move.task, "it is left alone for a while"

    async def first(stage: Stage) -> None:
        await stage.set_node("n2", Availability.DRAINED)
        await scene(stage)

    play(first, nodes=2)


def test_room_that_went_meanwhile_is_not_waited_for() -> None:
    async def scene(stage: Stage) -> None:
        half = Resources(memory=4 << 30)
        await crowded(stage, 2, "n2", resources=half)
        await stage.world.ask(lambda operations: operations.scale("web", 2))
        await stage.apply("big", replicas=1, resources=Resources(memory=5 << 30))
        await stage.serving(1, "big")
        (task,) = [task for task in stage.tasks() if task.counts and task.slot == 1]
        planned = await rebalance(stage)
        assert planned.moves == ()  # nothing fits
        await stage.remove("big")
        await stage.world.until(lambda: not stage.tasks("big"), SOON_S)
        await rebalance(stage)
        await over(stage, NO_ROOM_S + SOON_S)
        assert sorted(placed(stage)) == ["n1", "n2"]
        assert task.node == "n1"

    play(scene, nodes=2)


def test_a_release_that_comes_meanwhile_wins() -> None:
    async def scene(stage: Stage) -> None:
        await crowded(stage, 4, "n2")
        stage.world.sites["n2"].slow_engine(50)
        await rebalance(stage)
        await stage.world.until(lambda: any(task.stands_by for task in stage.tasks()), SOON_S)
        await stage.apply(replicas=4, health=CHECK, env={"NEW": "1"})
        stage.world.sites["n2"].slow_engine(1)
        await stage.world.until(
            lambda: len([task for task in stage.tasks() if task.counts and task.ready and task.release == 2]) == 4, 60.0
        )
        await over(stage)
        assert stage.told("stays: release 2 of web comes first") > 0

    play(scene, nodes=2)


def test_what_has_to_stop_first_moves_when_asked_for() -> None:
    async def scene(stage: Stage) -> None:
        await crowded(stage, 2, "n2", update=UpdateRules(order=UpdateOrder.STOP_FIRST))
        assert (await rebalance(stage)).moves == ()
        assert len((await rebalance(stage, disruptive=True)).moves) == 1
        await stage.world.until(lambda: len(stage.ready()) == 1, SOON_S)
        await over(stage)
        await stage.serving(2)
        assert sorted(placed(stage)) == ["n1", "n2"]

    play(scene, nodes=2)


def test_services_that_opted_in_move_by_themselves_once_a_node_has_proved_to_stay() -> None:
    async def scene(stage: Stage) -> None:
        stage.world.sites["n3"].power_off()
        await stage.world.until(lambda: len(stage.ready_nodes()) == 2, 4 * HEARTBEAT_TIMEOUT_S)
        await crowded(stage, 6, placement=PlacementRules(rebalance=True))
        await stage.apply("api", replicas=6, health=CHECK)
        await stage.serving(6, "api")
        stage.world.sites["n3"].power_on()
        await stage.world.until(lambda: "n3" in stage.ready_nodes(), SOON_S)
        returned = stage.now
        await stage.world.until(lambda: "n3" in placed(stage), STEADY_S + SOON_S)
        assert stage.now - returned >= STEADY_S
        await stage.world.pass_time(60.0)
        assert sorted(placed(stage)) == ["n1", "n1", "n2", "n2", "n3", "n3"]
        assert {task.node for task in stage.tasks("api") if task.counts} == {"n1", "n2"}
        before = stage.world.read().revision
        await stage.world.pass_time(2 * COOL_DOWN_S)
        assert stage.world.read().revision == before, "it goes on moving"

    play(scene, nodes=3)


def test_a_node_that_comes_and_goes_gets_nothing() -> None:
    async def scene(stage: Stage) -> None:
        stage.world.sites["n3"].power_off()
        await stage.world.until(lambda: len(stage.ready_nodes()) == 2, 4 * HEARTBEAT_TIMEOUT_S)
        await crowded(stage, 6, placement=PlacementRules(rebalance=True))
        before = stage.running()
        for _ in range(4):
            stage.world.sites["n3"].power_on()
            await stage.world.pass_time(STEADY_S / 2)
            stage.world.sites["n3"].power_off()
            await stage.world.pass_time(STEADY_S / 2)
        assert stage.running() == before

    play(scene, nodes=3)
