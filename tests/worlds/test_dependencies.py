"""Starts in order across the cluster, and what goes on meanwhile."""

from typing import Any

import pytest
from msgspec.structs import replace

from longshore.model.lifecycle import State
from longshore.model.objects import Availability, ReleasePhase
from longshore.model.spec import (
    Condition,
    Dependency,
    ExecProbe,
    Mode,
    Probe,
    RestartPolicy,
    ServiceSpec,
    UpdateOrder,
    UpdateRules,
)
from tests.worlds.stage import SOON_S, Stage, play, service

SLOW = Probe(exec=ExecProbe(command=("sh", "-c", "sleep 0.5; true")), interval_s=1.0, successes=3)
"""Passes after some two seconds."""
NEVER = Probe(exec=ExecProbe(command=("false",)), interval_s=1.0)


def on(name: str, condition: Condition = Condition.READY) -> tuple[Dependency, ...]:
    return (Dependency(service=name, condition=condition),)


def db(**fields: Any) -> ServiceSpec:
    return service(readiness=SLOW, **fields)


async def up(stage: Stage, **specs: ServiceSpec) -> None:
    await stage.world.ask(lambda operations: operations.apply_app("shop", specs))


async def broken(stage: Stage, task: str) -> None:
    """It runs on, and is not ready any more."""
    site, box = stage.box(task)
    site.ail(box, "no")
    await stage.world.until(lambda: not stage.task(task).ready, 2 * SOON_S)


def message(stage: Stage, name: str) -> str:
    assert stage.world.manager is not None
    return stage.world.manager.operations.service_view(name).status.message


@pytest.mark.parametrize("mode", [Mode.REPLICATED, Mode.GLOBAL])
def test_what_depends_is_started_once_it_may(mode: Mode) -> None:
    async def scene(stage: Stage) -> None:
        await up(stage, db=db(), web=service(depends=on("db"), mode=mode, replicas=2))
        await stage.world.until(lambda: stage.task("db.1.1").state is State.RUNNING, SOON_S)
        assert not stage.tasks()
        assert message(stage, "web") == "release 1 waits for db: 0 of 1 ready"
        await stage.serving(1, "db", within_s=2 * SOON_S)
        await stage.serving(2)
        assert message(stage, "web") == ""

    play(scene, nodes=2)


def test_what_breaks_later_takes_nothing_down() -> None:
    async def scene(stage: Stage) -> None:
        await up(stage, db=db(), web=service(depends=on("db"), replicas=2))
        await stage.serving(2, within_s=3 * SOON_S)
        await stage.world.pass_time(10.0)
        await broken(stage, "db.1.1")
        site, box = stage.box("web.1.1")
        site.exit(box, 1)
        await stage.world.until(lambda: stage.ready() == ["web.1.2", "web.2.1"], SOON_S)

    play(scene, nodes=2)


@pytest.mark.parametrize("order", UpdateOrder)
def test_what_changes_together_is_recreated_in_order(order: UpdateOrder) -> None:
    async def scene(stage: Stage) -> None:
        rules = UpdateRules(order=order)
        await up(stage, db=db(update=rules), web=service(depends=on("db"), replicas=2, update=rules))
        await stage.serving(2, within_s=3 * SOON_S)
        await stage.world.pass_time(10.0)
        changed = {"env": {"A": "2"}, "update": rules}
        await up(stage, db=db(**changed), web=service(depends=on("db"), replicas=2, **changed))
        await stage.world.until(lambda: any(one.release == 2 or not one.counts for one in stage.tasks()), 5 * SOON_S)
        assert [one.release for one in stage.tasks("db") if one.ready and one.counts] == [2]
        await stage.world.until(
            lambda: [one.release for one in stage.tasks() if one.counts and one.ready] == [2, 2], 5 * SOON_S
        )

    play(scene, nodes=2)


def test_a_release_that_waits_leaves_its_former_alone() -> None:
    """Its tasks are replaced and moved as before, by tasks of their own release."""

    async def scene(stage: Stage) -> None:
        await stage.apply(replicas=2)
        await stage.serving(2)
        await stage.world.pass_time(10.0)
        await stage.apply(replicas=2, depends=on("later"), env={"A": "2"})
        site, box = stage.box("web.1.1")
        site.exit(box, 1)
        await stage.world.until(lambda: stage.ready() == ["web.1.2", "web.2.1"], SOON_S)
        await stage.set_node(stage.task("web.2.1").node, Availability.DRAINED)
        await stage.world.until(lambda: "web.2.2" in stage.ready(), 2 * SOON_S)
        await stage.world.pass_time(120.0)
        assert {one.release for one in stage.tasks()} == {1}
        assert len(stage.ready()) == 2
        release = stage.world.read().release("web", 2)
        assert release is not None
        assert (release.phase, release.failed_slots) == (ReleasePhase.ROLLING, ())
        await stage.apply("later")
        await stage.world.until(
            lambda: [one.release for one in stage.tasks() if one.counts and one.ready] == [2, 2], 4 * SOON_S
        )

    play(scene, nodes=3)


def test_coming_back_waits_for_nobody() -> None:
    async def scene(stage: Stage) -> None:
        await stage.apply("db", db())
        await stage.apply(depends=on("db"))
        await stage.serving(1, within_s=3 * SOON_S)
        await stage.world.pass_time(10.0)
        await stage.apply(depends=on("db"), env={"A": "2"})
        await stage.world.until(lambda: stage.ready() == ["web.1.2"], 2 * SOON_S)
        await stage.world.pass_time(10.0)
        await broken(stage, "db.1.1")
        await stage.world.ask(lambda operations: operations.roll_back("web", 1))
        await stage.world.until(lambda: stage.ready() == ["web.1.3"], 2 * SOON_S)
        assert stage.task("web.1.3").release == 1

    play(scene, nodes=2)


def test_a_dependency_that_is_rolled_back_is_there_again() -> None:
    async def scene(stage: Stage) -> None:
        await up(stage, db=db(), web=service(depends=on("db")))
        await stage.serving(1, within_s=3 * SOON_S)
        await stage.world.pass_time(10.0)
        bad = replace(db(), readiness=NEVER, update=UpdateRules(ready_s=10.0))
        await up(stage, db=bad, web=service(depends=on("db"), env={"A": "2"}))
        await stage.world.pass_time(9.0)
        assert stage.ready() == ["web.1.1"]
        await stage.world.until(lambda: stage.ready() == ["web.1.2"], 20.0)
        assert stage.world.read().services["db"].release == 1

    play(scene, nodes=2)


def test_a_job_comes_first() -> None:
    async def scene(stage: Stage) -> None:
        job = service(mode=Mode.JOB, replicas=2, command=("sleep", "3"))
        await up(stage, migrate=job, web=service(depends=on("migrate", Condition.COMPLETED)))
        await stage.world.until(lambda: len(stage.tasks("migrate")) == 2, SOON_S)
        assert message(stage, "web") == "release 1 waits for migrate: 0 of 2 completed"
        await stage.serving(1, within_s=3 * SOON_S)
        done = [one.finished_at for one in stage.tasks("migrate")]
        assert all(at is not None and at < stage.task("web.1.1").created_at for at in done)

    play(scene, nodes=2)


def test_a_job_that_fails_for_good_is_waited_for() -> None:
    async def scene(stage: Stage) -> None:
        job = service(mode=Mode.JOB, command=("exit", "3"), restart=RestartPolicy(attempts_max=1))
        await up(stage, migrate=job, web=service(depends=on("migrate", Condition.COMPLETED)))
        await stage.world.pass_time(60.0)
        assert not stage.tasks()
        assert message(stage, "web") == "release 1 waits for migrate: 0 of 1 completed"

    play(scene, nodes=1)
