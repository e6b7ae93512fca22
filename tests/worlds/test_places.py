"""Rules about places in a whole cluster: who gives a node up, who waits for whom, and whose devices are whose."""

from typing import Any

from longshore.model.placing import Affinity, PlacementRules, Supply, Taint, TaintEffect
from longshore.model.spec import HealthCheck, Mode, Resources
from longshore.model.views import NodePatch
from tests.worlds.stage import SOON_S, Stage, play

CHECK = HealthCheck(test=("CMD", "true"), interval_s=1.0)
OUT = Taint(key="out", effect=TaintEffect.NO_EXECUTE)
CLOSED = Taint(key="closed")


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
