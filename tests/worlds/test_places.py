"""Rules about places in a whole cluster: who gives a node up, who waits for whom, and whose devices are whose."""

import asyncio
from typing import Any

import pytest

from longshore.decide.placement.hostports import PORT_RETRY_S
from longshore.model.lifecycle import State
from longshore.model.objects import Availability
from longshore.model.placing import (
    Affinity,
    PlacementRules,
    Supply,
    Taint,
    TaintEffect,
    Toleration,
    TolerationOperator,
)
from longshore.model.spec import Dependency, HealthCheck, Mode, Port, Resources, UpdateRules
from longshore.model.views import NodePatch
from longshore.simulate.unruly import StoreTroubles
from longshore.simulate.world import HEARTBEAT_TIMEOUT_S
from tests.worlds.stage import SOON_S, Stage, play, service

CHECK = HealthCheck(test=("CMD", "true"), interval_s=1.0)
OUT = Taint(key="out", effect=TaintEffect.NO_EXECUTE)
CLOSED = Taint(key="closed")
LATE_S = 0.5


async def patch(stage: Stage, name: str, **fields: Any) -> None:
    await stage.world.ask(lambda operations: operations.patch_node(name, NodePatch(**fields)))


def nodes(stage: Stage, service: str = "web") -> list[str]:
    """Where the tasks that fill their slots are."""
    return sorted(task.node for task in stage.tasks(service) if task.counts)


def test_a_taint_drives_tasks_away_and_takes_nothing_away() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=4, health=CHECK)
        await stage.serving(4)
        await stage.world.pass_time(10.0)
        await patch(stage, "n1", taints=(OUT,))
        while "n1" in nodes(stage):
            assert len(stage.ready()) == 4, "it is never fewer than were asked for"
            await stage.world.pass_time(0.05)
        await patch(stage, "n2", taints=(CLOSED,))
        await stage.world.pass_time(SOON_S)
        assert "n2" in nodes(stage), "what is there may stay"
        await stage.scale("web", 8)
        await stage.serving(8)
        assert nodes(stage).count("n2") <= 2, "nothing new comes"

    play(scene, nodes=3)


def test_a_global_service_is_where_taints_let_it_be() -> None:
    async def scene(stage: Stage) -> None:
        await patch(stage, "n3", taints=(CLOSED,))
        await stage.apply(mode=Mode.GLOBAL)
        await stage.serving(2)
        await patch(stage, "n2", taints=(CLOSED,))
        await patch(stage, "n1", taints=(OUT,))
        await stage.world.until(lambda: nodes(stage) == ["n2"], SOON_S)
        await patch(stage, "n1", untaint=("out",))
        await patch(stage, "n3", untaint=("closed",))
        await stage.world.until(lambda: nodes(stage) == ["n1", "n2", "n3"], SOON_S)

    play(scene, nodes=3)


def test_who_is_to_be_near_another_waits_for_it_and_no_longer() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2, placement=PlacementRules(affinity=(Affinity(service="db"),)))
        await stage.world.pass_time(SOON_S)
        assert nodes(stage) == ["", ""]
        await stage.apply("db")
        await stage.serving(2)
        assert nodes(stage) == nodes(stage, "db") * 2

    play(scene, nodes=3)


def test_a_device_goes_from_a_task_that_ended_to_the_next() -> None:
    async def scene(stage: Stage) -> None:
        gpus: dict[str, Supply | None] = {"gpu": ("a", "b")}
        await patch(stage, "n1", resources=gpus)
        await stage.apply(replicas=3, resources=Resources(named={"gpu": 1}))
        await stage.serving(2)
        held = {task.id: task.devices["gpu"] for task in stage.tasks() if task.node}
        assert sorted(held.values()) == [("a",), ("b",)]
        ended = min(held)
        site, box = stage.box(ended)
        site.exit(box, 3)
        await stage.world.until(lambda: not stage.task(ended).live, SOON_S)
        await stage.serving(2)
        now = [task.devices["gpu"] for task in stage.tasks() if task.counts and task.node]
        assert sorted(now) == [("a",), ("b",)]

    play(scene, nodes=2)


def test_who_does_not_mind_a_taint_stays_whatever_a_release_minds_that_waits() -> None:
    """It was taken away by the rules of the one, and came back by those of the other, without end."""

    async def scene(stage: Stage) -> None:
        tolerant = PlacementRules(tolerations=(Toleration(key="out", operator=TolerationOperator.EXISTS),))
        await patch(stage, "n1", taints=(OUT,))
        await stage.apply(placement=tolerant)
        await stage.serving(1)
        await stage.apply(depends=(Dependency(service="never"),))
        await stage.world.pass_time(2 * SOON_S)
        assert stage.ready() == ["web.1.1"]

    play(scene, nodes=1)


def late(stage: Stage) -> None:
    """From now on whatever is decided takes half a second to land."""
    stage.world.set_troubles(StoreTroubles(land_s=(LATE_S, LATE_S), answer_s=(0.0, 0.0), lost_before=0, lost_after=0))


@pytest.mark.parametrize("how", ["taint", "label", "supply", "pause"])
def test_a_place_that_was_chosen_before_its_node_changed_is_chosen_anew(how: str) -> None:
    """What was said of the node was acknowledged, so nothing is placed there any more against it."""

    async def scene(stage: Stage) -> None:
        await patch(stage, "n2", availability=Availability.PAUSED)
        await patch(stage, "n1", resources={"gpu": 1})
        await stage.world.pass_time(1.0)
        rules = PlacementRules(constraints=("node.labels.zone==b",))
        late(stage)
        asking = asyncio.create_task(stage.apply(placement=rules, resources=Resources(named={"gpu": 1})))
        changes: dict[str, dict[str, Any]] = {
            "taint": {"taints": (CLOSED,)},
            "label": {"labels": {"zone": "c"}},
            "supply": {"resources": {"gpu": None}},
            "pause": {"availability": Availability.PAUSED},
        }
        # All takes as long: the service lands, then its task, and what is said of the node just before its place.
        await stage.world.pass_time(1.5 * LATE_S)
        await patch(stage, "n1", **changes[how])
        await asking
        await stage.world.pass_time(4 * LATE_S)
        assert [(task.node, task.state) for task in stage.tasks()] == [("", State.NEW)]

    play(scene, nodes=2)


def test_a_node_whose_end_lands_late_is_given_up_all_the_same() -> None:
    """What was decided of it conflicts with what a user has just done to its tasks, and nothing but that conflict says
    that it has to be decided anew."""
    late_end()


def late_end() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2)
        await stage.serving(2)
        stage.world.sites["n1"].power_off()
        died = stage.now
        await stage.world.pass_time(HEARTBEAT_TIMEOUT_S - 2 * LATE_S)
        late(stage)
        asking = asyncio.create_task(stage.remove("web"))
        await stage.world.until(lambda: "n1" not in stage.ready_nodes(), HEARTBEAT_TIMEOUT_S)
        assert stage.now - died < HEARTBEAT_TIMEOUT_S + 4 * LATE_S
        await asking

    play(scene, nodes=1)


def test_a_port_that_another_program_holds_keeps_others_from_giving_way_and_no_longer() -> None:
    """Nobody is told when a program ends; until then what gives way would make room for nothing."""

    async def scene(stage: Stage) -> None:
        stage.world.sites["n1"].occupy(8080)
        needs = Resources(cpu=1.0)
        await stage.apply(spec=service(ports=(Port(container=80, host=8080),), resources=needs, priority=10))
        await stage.world.until(lambda: stage.told("waits: 0 of 1 node: host port 8080/tcp in use") == 1, SOON_S)
        all_at_once = UpdateRules(parallelism=0)
        await stage.apply("low", spec=service(replicas=4, resources=needs, update=all_at_once))
        await stage.serving(4, "low")
        stage.world.kill_manager()
        stage.world.start_manager()  # which knows of no look that was to come
        stage.world.sites["n1"].release(8080)
        await stage.serving(1, within_s=PORT_RETRY_S + SOON_S)
        assert len(stage.ready("low")) == 3

    play(scene, nodes=1)
