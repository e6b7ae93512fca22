"""Nodes that go and come back: how long it takes until others do their work, and when nobody does anything.

Staged with exact times in a world without chance.
"""

import pytest
from msgspec.structs import replace

from longshore.control.liveness import RECONNECT_S
from longshore.decide.nodes import HELD_LOOK_S
from longshore.model.lifecycle import State
from longshore.model.objects import Availability, Kind, Node
from longshore.model.reasons import Reason
from longshore.simulate.unruly import StoreTroubles
from longshore.simulate.world import HEARTBEAT_TIMEOUT_S
from tests.worlds.stage import PROMPT, SOON_S, Stage, play

STRENGTH_S = 2.0
"""From the death of a worker's process until its tasks run elsewhere."""
SHARE_S = 0.3
"""The manager's part of it: from the moment that it knows until the last replacing task has its place."""
STALLED = StoreTroubles(land_s=(8.0, 8.0), answer_s=(0.0, 0.0), lost_before=0.0, lost_after=0.0)


async def settled(stage: Stage, replicas: int) -> list[tuple[str, str]]:
    """A service that runs, on a cluster whose manager has listened for a full timeout; what runs where."""
    await stage.apply(replicas=replicas)
    await stage.serving(replicas)
    await stage.world.pass_time(HEARTBEAT_TIMEOUT_S)
    return stage.running()


def held(stage: Stage) -> list[str]:
    return sorted(node.name for node in stage.world.read().nodes.values() if node.held)


# -- a worker that is killed, stopped, cut off


@pytest.mark.parametrize("phase_s", [0.0, 0.3, 0.6, 0.9, 1.2])
def test_the_tasks_of_a_killed_worker_run_elsewhere_within_two_seconds(phase_s: float) -> None:
    async def scene(stage: Stage) -> None:
        await settled(stage, 6)
        await stage.world.pass_time(phase_s)
        stage.world.sites["n1"].kill_worker()
        killed = stage.now
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), RECONNECT_S + 0.1)
        assert stage.now - killed >= RECONNECT_S - 0.02, "it had no time to come back"
        known = stage.now
        await stage.world.until(
            lambda: len([task for task in stage.tasks() if task.counts and task.node]) == 6, SHARE_S
        )
        await stage.serving(6, within_s=STRENGTH_S - (stage.now - killed))
        assert {task.node for task in stage.tasks() if task.counts} == {"n2", "n3"}
        assert stage.now - known < 1.0
        assert stage.told("the connection of node n1 ended, and it has not come back") > 0

    play(scene, nodes=3)


def test_a_worker_that_is_told_to_stop_has_the_whole_timeout_to_be_back() -> None:
    async def scene(stage: Stage) -> None:
        before = await settled(stage, 6)
        stage.world.sites["n1"].stop_worker()
        await stage.world.pass_time(HEARTBEAT_TIMEOUT_S - 0.5)
        stage.world.sites["n1"].start_worker()
        await stage.world.pass_time(30.0)
        assert stage.running() == before
        assert stage.told("is down") == 0
        assert {box.runs for site in stage.world.sites.values() for box in site.boxes()} == {1}

    play(scene, nodes=3)


def test_a_worker_that_is_told_to_stop_and_stays_away_is_given_up_then() -> None:
    async def scene(stage: Stage) -> None:
        await settled(stage, 3)
        stage.world.sites["n1"].stop_worker()
        stopped = stage.now
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S + 0.1)
        assert stage.now - stopped > HEARTBEAT_TIMEOUT_S - 0.1
        await stage.serving(3)

    play(scene, nodes=3)


def test_a_connection_that_breaks_moves_nothing() -> None:
    async def scene(stage: Stage) -> None:
        before = await settled(stage, 6)
        for _ in range(10):
            for site in stage.world.sites.values():
                site.cut()
            await stage.world.pass_time(0.7)
        await stage.world.pass_time(10.0)
        assert stage.running() == before
        assert stage.told("is down") == stage.told("held") == 0

    play(scene, nodes=3)


def test_a_broken_connection_does_not_wait_for_a_busy_engine() -> None:
    async def scene(stage: Stage) -> None:
        before = await settled(stage, 3)
        stage.world.sites["n1"].slow_engine(50)
        stage.world.sites["n1"].cut()
        await stage.world.pass_time(10.0)
        assert stage.running() == before
        assert stage.told("is down") == 0

    play(scene, nodes=3)


def test_a_frozen_worker_whose_connection_breaks_is_given_up_for_that() -> None:
    async def scene(stage: Stage) -> None:
        await settled(stage, 3)
        site = stage.world.sites["n1"]
        site.power_off()
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), 2 * HEARTBEAT_TIMEOUT_S)
        site.power_on()
        await stage.world.until(lambda: "n1" in stage.ready_nodes(), SOON_S)
        site.freeze_worker()
        site.cut()
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), RECONNECT_S + 0.1)
        await stage.serving(3)

    play(scene, nodes=3)


# -- a manager that cannot know


def test_a_manager_that_just_started_waits_a_full_timeout_also_for_a_broken_connection() -> None:
    async def scene(stage: Stage) -> None:
        await settled(stage, 3)
        stage.world.kill_manager()
        stage.world.start_manager()
        begun = stage.now
        await stage.world.pass_time(1.0)
        stage.world.sites["n1"].kill_worker()
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S)
        assert stage.now - begun > HEARTBEAT_TIMEOUT_S - 0.01
        await stage.serving(3)

    play(scene, nodes=3)


def test_a_store_that_stalls_makes_nobody_silent() -> None:
    """Beats are heard and answered while what their workers reported waits."""

    async def scene(stage: Stage) -> None:
        await settled(stage, 6)
        stage.world.set_troubles(STALLED)
        for site in stage.world.sites.values():  # each of them has something to report
            for box in site.boxes(running=True):
                site.exit(box, 1)
        await stage.world.pass_time(20.0)
        stage.world.set_troubles(PROMPT)
        await stage.world.pass_time(20.0)
        assert stage.told("is down") == stage.told("held") == 0
        await stage.serving(6, within_s=30.0)

    play(scene, nodes=3)


def test_who_waits_to_be_let_in_is_not_silent() -> None:
    """A worker that knocks cannot beat, and the store takes its time to write it down."""
    let_in_late()


def let_in_late() -> None:
    async def scene(stage: Stage) -> None:
        await settled(stage, 3)
        site = stage.world.sites["n1"]
        site.kill_worker()
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S)
        stage.world.set_troubles(replace(PROMPT, land_s=(8.0, 8.0)))
        site.start_worker()
        await stage.world.pass_time(0.3)
        stage.world.set_troubles(PROMPT)  # only its admission waits
        await stage.world.until(lambda: "n1" in stage.ready_nodes(), 10.0)
        await stage.world.pass_time(2.0)
        assert stage.told("node n1 is down") == 1, "it was given up while it was let in"

    play(scene, nodes=3)


@pytest.mark.parametrize(("stalled_s", "returns"), [(9.0, 1), (13.0, 0)])
def test_a_node_is_back_since_it_was_heard_and_not_since_that_was_written(stalled_s: float, returns: int) -> None:
    """What is written after another thing that waits is old news by then; the node may be silent again."""

    async def scene(stage: Stage) -> None:
        await settled(stage, 3)
        site = stage.world.sites["n1"]
        stage.world.set_troubles(replace(PROMPT, land_s=(stalled_s, stalled_s)))
        site.exit(site.boxes(running=True)[0], 1)
        await stage.world.pass_time(0.1)
        stage.world.set_troubles(PROMPT)  # only the report of that waits
        site.hang_engine()
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S + 0.2)
        site.heal_engine()
        await stage.world.pass_time(1.5)
        site.power_off()
        died, before = stage.world.now(), len(stage.world.durable.story(Kind.NODE, "n1"))
        await stage.world.pass_time(stalled_s - 5.0)
        written = [event.after for event in stage.world.durable.story(Kind.NODE, "n1")][before:]
        assert len(written) == returns
        assert all(isinstance(node, Node) and node.changed_at < died for node in written)
        await stage.world.pass_time(20.0)

    play(scene, nodes=3)


def test_a_store_that_loses_what_a_worker_says_ends_no_session() -> None:
    async def scene(stage: Stage) -> None:
        await settled(stage, 3)
        site = stage.world.sites["n1"]
        site.hang_engine()
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S + 0.2)
        link = site.link
        stage.world.set_troubles(replace(PROMPT, lost_before=1.0))
        site.heal_engine()
        await stage.world.pass_time(4.0)
        assert "n1" not in stage.ready_nodes()
        stage.world.set_troubles(PROMPT)
        await stage.world.until(lambda: "n1" in stage.ready_nodes(), 1.0)
        assert site.link is link

    play(scene, nodes=3)


# -- most nodes at once


def test_where_most_nodes_fall_silent_at_once_nobody_is_given_up_until_they_are_back() -> None:
    async def scene(stage: Stage) -> None:
        before = await settled(stage, 8)
        for name in ("n1", "n2", "n3"):
            stage.world.sites[name].mute()
        await stage.world.until(lambda: held(stage) == ["n1", "n2", "n3"], HEARTBEAT_TIMEOUT_S + 0.1)
        node = stage.world.read().nodes["n1"]
        assert node.reason is Reason.NODE_HELD
        assert node.message.startswith("silent; evictions are held: 3 of 4 nodes are silent at once")
        await stage.world.until(lambda: not held(stage), 2 * HEARTBEAT_TIMEOUT_S)
        assert stage.running() == before
        assert stage.told("is down") == 0
        assert stage.world.read().nodes["n1"].message == ""

    play(scene, nodes=4)


def test_the_last_to_be_heard_again_is_not_given_up_because_the_others_were_first() -> None:
    """What a cut cable held back arrives at one moment from this node and seconds later from that one."""

    async def scene(stage: Stage) -> None:
        before = await settled(stage, 6)
        for name in ("n1", "n2"):
            stage.world.sites[name].mute()
        await stage.world.pass_time(HEARTBEAT_TIMEOUT_S / 2)
        stage.world.sites["n3"].mute()
        await stage.world.until(lambda: held(stage) == ["n1", "n2"], HEARTBEAT_TIMEOUT_S)
        await stage.world.until(lambda: not held(stage), 3 * HEARTBEAT_TIMEOUT_S)
        await stage.world.pass_time(20.0)
        assert stage.running() == before
        assert stage.told("is down") == 0

    play(scene, nodes=3)


@pytest.mark.parametrize("harm", ["power_off", "kill_worker"])
def test_the_user_says_which_of_them_are_gone_and_the_cluster_goes_on(harm: str) -> None:
    async def scene(stage: Stage) -> None:
        await settled(stage, 6)
        for name in ("n1", "n2"):
            getattr(stage.world.sites[name], harm)()
        await stage.world.until(lambda: held(stage) == ["n1", "n2"], HEARTBEAT_TIMEOUT_S + 0.1)
        written = len(stage.world.durable.story(Kind.NODE, "n1"))
        await stage.world.pass_time(120.0)
        assert held(stage) == ["n1", "n2"], "nobody gives them up by himself"
        assert len(stage.world.durable.story(Kind.NODE, "n1")) == written, "and it is said once"
        await stage.set_node("n1", Availability.DRAINED)
        await stage.world.until(lambda: stage.ready_nodes() == ["n3"], HELD_LOOK_S + 0.1)
        await stage.serving(6)
        assert {task.node for task in stage.tasks() if task.counts} == {"n3"}

    play(scene, nodes=3)


def test_nothing_new_goes_to_a_node_that_is_silent_and_kept() -> None:
    async def scene(stage: Stage) -> None:
        for name in ("n1", "n2"):
            stage.world.sites[name].power_off()
        await stage.world.until(lambda: held(stage) == ["n1", "n2"], 2 * HEARTBEAT_TIMEOUT_S)
        await stage.apply(replicas=3)
        await stage.serving(3)
        assert {task.node for task in stage.tasks()} == {"n3"}
        for name in ("n1", "n2"):
            stage.world.sites[name].power_on()
        await stage.world.until(lambda: not held(stage), SOON_S)

    play(scene, nodes=3)


# -- a slot that fails again and again


def test_a_slot_that_fails_on_one_node_goes_to_another() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply()
        for generation in (1, 2, 3):
            id = f"web.1.{generation}"
            await stage.serving(1, within_s=5.0)
            site, box = stage.box(id)
            assert site.name == "n1"
            site.exit(box, 1)
            await stage.world.until(lambda: stage.task(id).state is State.FAILED, SOON_S)  # noqa: B023
        await stage.serving(1, within_s=5.0)
        moved = stage.task("web.1.4")
        assert (moved.node, [*moved.avoids]) == ("n2", ["n1"])
        assert "keeps away from n1, where its slot failed 3 times in a row" in "".join(
            event.message for event in stage.world.durable.story(Kind.TASK, "web.1.4")
        )
        # What it keeps away from is still known to the next, whose slot's history no longer tells.
        site, box = stage.box("web.1.4")
        site.exit(box, 1)
        await stage.world.until(lambda: stage.ready() == ["web.1.5"], 10.0)
        assert stage.task("web.1.5").node == "n2"

    play(scene, nodes=2)


def test_where_no_other_node_fits_it_stays_and_says_so() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply()
        for generation in (1, 2, 3):
            id = f"web.1.{generation}"
            await stage.serving(1, within_s=5.0)
            site, box = stage.box(id)
            site.exit(box, 1)
            await stage.world.until(lambda: stage.task(id).state is State.FAILED, SOON_S)  # noqa: B023
        await stage.serving(1, within_s=5.0)
        placed = "".join(event.message for event in stage.world.durable.story(Kind.TASK, "web.1.4"))
        assert "no other fits, although its slot failed 3 times in a row there" in placed

    play(scene, nodes=1)
