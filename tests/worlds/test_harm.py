"""What goes on and is not as it was taken to be: half cables, clocks that are set, engines that lie, old disks."""

import pytest

from longshore.model.lifecycle import State
from longshore.model.spec import HttpProbe, Probe, RestartPolicy
from longshore.simulate.lies import Lie
from longshore.simulate.unruly import StoreTroubles
from longshore.simulate.world import HEARTBEAT_TIMEOUT_S
from tests.worlds.stage import PROMPT, SOON_S, Stage, play

READINESS = Probe(http=HttpProbe(port=80), interval_s=1.0, timeout_s=1.0, retries=2)
STALL_S = 20.0
STALLED = StoreTroubles(land_s=(STALL_S, STALL_S), answer_s=(0.0, 0.0), lost_before=0.0, lost_after=0.0)
LISTED_S = 31.0
"""After this the worker has listed its containers once more."""


# -- cables


@pytest.mark.parametrize(("up", "down"), [(True, False), (True, True)])
def test_a_node_that_cannot_be_heard_is_replaced_and_gives_up_what_moved(up: bool, down: bool) -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=3)
        await stage.serving(3)
        site = stage.world.sites["n1"]
        site.part(up=up, down=down)
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S + 0.1)
        await stage.serving(3)
        assert {task.node for task in stage.tasks() if task.counts} == {"n2", "n3"}
        await stage.world.pass_time(20.0)
        site.mend()
        await stage.world.until(lambda: len(stage.running()) == 3, 2 * HEARTBEAT_TIMEOUT_S)
        await stage.world.until(lambda: "n1" in stage.ready_nodes(), 2 * HEARTBEAT_TIMEOUT_S)

    play(scene, nodes=3)


def test_a_node_that_hears_nothing_goes_on_and_is_told_later() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2)
        await stage.serving(2)
        site = stage.world.sites["n1"]
        site.part(up=False, down=True)
        await stage.world.pass_time(4.0)  # less than what its worker waits before it takes its manager for gone
        before = stage.running()
        await stage.scale("web", 4)
        await stage.world.pass_time(1.0)
        assert stage.running() != before, "the other node gets its part"
        assert len([one for one in stage.running() if one[0] == "n1"]) == 1
        site.mend()
        await stage.serving(4, within_s=2 * SOON_S)
        assert stage.told("is down") == 0

    play(scene, nodes=2)


def test_messages_that_take_long_move_nothing() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=4)
        await stage.serving(4)
        before = stage.running()
        for site in stage.world.sites.values():
            site.delay(3.0)
        await stage.world.pass_time(60.0)
        assert stage.running() == before
        assert stage.told("is down") == 0

    play(scene, nodes=2)


# -- news that come late


def test_news_of_an_earlier_session_do_not_undo_those_of_the_next() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(readiness=READINESS)
        await stage.serving(1)
        site, box = stage.box("web.1.1")
        stage.world.set_troubles(STALLED)
        site.ail(box, "503")
        await stage.world.pass_time(3.0)  # it is being written that the task is not ready
        site.recover(box)
        stage.world.set_troubles(PROMPT)
        await stage.world.until(lambda: not stage.ready(), 2 * STALL_S)
        await stage.serving(1, within_s=2 * SOON_S)
        await stage.world.pass_time(LISTED_S)
        assert stage.ready() == ["web.1.1"]

    play(scene, nodes=1)


# -- clocks


@pytest.mark.parametrize("by_s", [-3600.0, -86400.0, 3600.0])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_is_set_holds_nothing_up(by_s: float, restarted: bool) -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2, restart=RestartPolicy())
        await stage.serving(2)
        for id in ("web.1.1", "web.1.2"):
            site, box = stage.box(id)
            site.exit(box, 1)
            await stage.world.until(lambda: stage.task(id).state is State.FAILED, SOON_S)  # noqa: B023
            stage.world.set_wall(by_s)
            if restarted:
                stage.world.kill_manager()
                stage.world.start_manager()
            await stage.serving(2, within_s=2 * SOON_S)
        await stage.apply(replicas=2, image="longshore/demo:2")
        await stage.world.until(lambda: {task.release for task in stage.tasks() if task.counts} == {2}, 30.0)
        await stage.serving(2, within_s=2 * SOON_S)

    play(scene, nodes=2)


# -- engines


def test_a_list_that_misses_a_container_ends_no_task() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=4)
        await stage.serving(4)
        stage.world.sites["n1"].lie(Lie.MISSES)
        await stage.world.pass_time(10 * LISTED_S)
        stage.world.sites["n1"].lie(None)
        assert stage.ready() == ["web.1.1", "web.2.1", "web.3.1", "web.4.1"]

    play(scene, nodes=1)


def test_what_ran_and_is_missing_from_a_list_is_not_started_once_more() -> None:
    """The worker has forgotten it with its machine's end, and the engine gives it for a new one of its name."""

    async def scene(stage: Stage) -> None:
        site = stage.world.sites["n1"]
        site.part(up=True, down=False)  # so that its manager goes on asking for it
        await stage.apply(replicas=1)
        await stage.world.until(lambda: bool(stage.running()), SOON_S)
        site.power_off()
        await stage.world.pass_time(0.1)
        site.lies.listed = lambda found: []  # type: ignore[method-assign]
        site.power_on()
        site.mend()
        await stage.serving(1, within_s=2 * SOON_S)
        assert stage.ready() == ["web.1.2"]

    play(scene, nodes=1)


@pytest.mark.parametrize("lie", list(Lie))
def test_whatever_an_engine_says_all_is_as_wished_afterwards(lie: Lie) -> None:
    async def scene(stage: Stage) -> None:
        site = stage.world.sites["n1"]
        site.lie(lie)
        await stage.apply(replicas=4)
        await stage.world.pass_time(20.0)
        await stage.apply(replicas=4, image="longshore/demo:2")
        await stage.world.pass_time(20.0)
        site.lie(None)
        await stage.world.until(lambda: {task.release for task in stage.tasks() if task.counts} == {2}, 60.0)
        await stage.serving(4, within_s=LISTED_S)
        await stage.world.pass_time(LISTED_S)
        assert sorted(task for _, task in stage.running()) == stage.ready()

    play(scene, nodes=1)


def test_a_machine_with_the_disk_of_an_earlier_day_clears_it() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply("old", replicas=2)
        await stage.serving(2, "old")
        site = stage.world.sites["n1"]
        site.copy_disk()
        await stage.remove("old")
        await stage.apply(replicas=3)
        await stage.serving(3)
        await stage.world.until(lambda: not stage.tasks("old"), 30.0)
        site.power_off()
        await stage.world.pass_time(2 * HEARTBEAT_TIMEOUT_S)
        site.restore_disk()
        assert sorted(box.order.task for box in site.boxes()) == ["old.1.1", "old.2.1"]
        site.power_on()
        await stage.serving(3, within_s=2 * HEARTBEAT_TIMEOUT_S)
        await stage.world.until(lambda: not any(box.order.task.startswith("old") for box in site.boxes()), SOON_S)

    play(scene, nodes=1)
