"""What an apply would do, told beforehand: with the real decisions, and the same as what happens."""

from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide import services
from longshore.decide.admission import admit
from longshore.decide.differences import differences
from longshore.decide.placement import place
from longshore.decide.plan import plan
from longshore.model.errors import Conflict, Invalid
from longshore.model.lifecycle import State
from longshore.model.objects import Object, Service
from longshore.model.spec import (
    HealthCheck,
    HttpProbe,
    Limits,
    Mode,
    Mount,
    MountKind,
    PlacementRules,
    Port,
    Probe,
    ServiceSpec,
)
from longshore.model.views import Effect, FieldChange, Plan, PlannedService, PlannedTask
from tests.situations import NOW, node, service, task, world

MIB = 1024 * 1024


def spec(**fields: Any) -> ServiceSpec:
    return admit(ServiceSpec(**{"image": "web:1", "replicas": 2, **fields}))


def stored(name: str = "web", release: int = 1, **fields: Any) -> Service:
    return replace(service(name, release=release, app="shop"), spec=spec(**fields))


def planned(records: list[Object], **specs: ServiceSpec) -> Plan:
    place_spread = partial(place.decide, policy="spread")
    return plan(world(*records), "shop", specs, NOW, decide_services=services.decide, place=place_spread)


def changed(field: str, before: str, after: str) -> FieldChange:
    return FieldChange(field=f"spec.{field}", before=before, after=after)


def told(one: PlannedService) -> str:
    """`2 fields; +web.1.1 on n1; ~web.1.1; -web.2.1`"""
    parts = [f"{change.field.removeprefix('spec.')}: {change.before or '-'} > {change.after}" for change in one.changes]
    parts += [f"+{task.id} {f'on {task.node}' if task.node else f'({task.message})'}" for task in one.start]
    parts += [f"~{id}" for id in one.replace]
    parts += [f"-{id}" for id in one.stop]
    return "; ".join([one.effect, *parts])


N1, N2 = node("n1"), node("n2")
BOTH: list[Object] = [N1, N2, task(1), task(2, on="n2")]


@pytest.mark.parametrize(
    ("records", "specs", "expected"),
    [
        pytest.param(
            [N1, N2],
            {"web": spec(env={"PASSWORD": "secret"})},
            ["create; image: - > web:1; replicas: - > 2; env[PASSWORD]: - > …; +web.1.1 on n1; +web.2.1 on n2"],
            id="a new service is spread",
        ),
        pytest.param(
            [],
            {"web": spec(replicas=1)},
            ["create; image: - > web:1; +web.1.1 (no nodes have joined yet)"],
            id="no node at all",
        ),
        pytest.param(
            [N1, N2],
            {"web": spec(replicas=1, placement=PlacementRules(constraints=("node.labels.gpu==yes",)))},
            [
                (
                    'create; image: - > web:1; placement.constraints: - > ["node.labels.gpu==yes"]; '
                    "+web.1.1 (0 of 2 nodes: constraint node.labels.gpu==yes (n1, n2))"
                )
            ],
            id="no node fits, and why",
        ),
        pytest.param([stored(), *BOTH], {"web": spec()}, ["keep"], id="nothing to do"),
        pytest.param(
            [stored(), *BOTH],
            {"web": spec(replicas=3)},
            ["scale; replicas: 2 > 3; +web.3.1 on n1"],
            id="more tasks",
        ),
        pytest.param(
            [stored(), *BOTH],
            {"web": spec(replicas=1)},
            ["scale; replicas: 2 > 1; -web.2.1"],
            id="fewer tasks",
        ),
        pytest.param(
            [stored(), *BOTH],
            {"web": spec(image="web:2", env={"A": "1"})},
            ["update; image: web:1 > web:2; env[A]: - > …; ~web.1.1; ~web.2.1"],
            id="a new image replaces one after the other",
        ),
        pytest.param(
            [stored(), *BOTH],
            {"web": spec(image="web:2", replicas=3)},
            ["update; image: web:1 > web:2; replicas: 2 > 3; +web.3.1 on n1; ~web.1.1; ~web.2.1"],
            id="a new image and more tasks",
        ),
        pytest.param(
            [stored(), stored("db", replicas=1), *BOTH, task(1, of="db")],
            {"web": spec()},
            ["remove; -db.1.1", "keep"],
            id="one no longer named",
        ),
        pytest.param(
            [stored(), *BOTH[:3], task(2, state=State.NEW)],
            {"web": spec(replicas=1)},
            ["scale; replicas: 2 > 1; -web.2.1"],
            id="a task that waits is not needed any more",
        ),
        pytest.param(
            [stored(), *BOTH[:3], task(2, state=State.FAILED)],
            {"web": spec()},
            ["keep; +web.2.2 on n2"],
            id="what would be mended anyway is told too",
        ),
        pytest.param(
            [N1, N2],
            {"web": spec(mode=Mode.GLOBAL)},
            ["create; image: - > web:1; mode: - > global; +web.1.1 on n1; +web.2.1 on n2"],
            id="global",
        ),
    ],
)
def test_plan(records: list[Object], specs: dict[str, ServiceSpec], expected: list[str]) -> None:
    assert [told(one) for one in planned(records, **specs).services] == expected


def test_a_plan_names_its_revision_and_changes_nothing() -> None:
    situation = world(stored(), *BOTH)
    result = plan(
        situation,
        "shop",
        {"api": spec()},
        NOW,
        decide_services=services.decide,
        place=partial(place.decide, policy="spread"),
    )
    assert (result.app, result.revision) == ("shop", situation.revision)
    assert [(one.name, one.effect) for one in result.services] == [("api", Effect.CREATE), ("web", Effect.REMOVE)]
    assert situation.services.keys() == {"web"}


def test_a_plan_of_more_tasks_than_one_commit_takes() -> None:
    (web,) = planned([N1, N2], web=spec(replicas=300)).services
    assert len(web.start) == 300
    assert {task.node for task in web.start} == {"n1", "n2"}


def test_without_room_for_all_the_rest_is_told_why() -> None:
    small = node("n1", memory=100 * MIB)
    (web,) = planned([small], web=spec(replicas=3, resources=replace(spec().resources, memory=60 * MIB))).services
    assert web.start[0] == PlannedTask(id="web.1.1", node="n1")
    assert [task.message for task in web.start[1:]] == ["0 of 1 node: not enough memory (n1)"] * 2


def test_a_plan_refuses_what_the_apply_would_refuse() -> None:
    with pytest.raises(Invalid):
        planned([], web=ServiceSpec(image=""))
    with pytest.raises(Conflict):
        planned([service("web", app="blog")], web=spec())


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(spec(), spec(), [], id="the same"),
        pytest.param(
            spec(env={"A": "old", "B": "1"}),
            spec(env={"A": "new", "C": "1"}),
            [changed("env[A]", "…", "…"), changed("env[B]", "…", ""), changed("env[C]", "", "…")],
            id="variables by name only",
        ),
        pytest.param(
            spec(labels={"a": "1"}), spec(labels={"a": "2"}), [changed("labels[a]", "1", "2")], id="labels with values"
        ),
        pytest.param(
            spec(), spec(limits=Limits(memory=64 * MIB, cpu=0.5)),
            [changed("limits.cpu", "0", "0.5"), changed("limits.memory", "0", "64 MiB")],
            id="sizes",
        ),
        pytest.param(
            spec(), spec(command=("a", "b c")), [changed("command", "", '["a","b c"]')], id="a command"
        ),
        pytest.param(spec(command=()), spec(), [changed("command", "[]", "")], id="an empty command"),
        pytest.param(spec(), spec(read_only=True), [changed("read_only", "false", "true")], id="a switch"),
        pytest.param(
            spec(ports=(Port(container=80),)),
            spec(ports=(Port(container=80, host=8080, ip="127.0.0.1"),)),
            [changed("ports", "0.0.0.0:any->80/tcp", "127.0.0.1:8080->80/tcp")],
            id="ports",
        ),
        pytest.param(
            spec(),
            spec(
                mounts=(
                    Mount(kind=MountKind.VOLUME, source="db", target="/db", read_only=True),
                    Mount(kind=MountKind.TMPFS, target="/tmp", size_bytes=MIB),
                )
            ),
            [changed("mounts", "[]", "volume db at /db (read-only), tmpfs at /tmp (1 MiB)")],
            id="mounts",
        ),
        pytest.param(
            spec(health=HealthCheck(test=("NONE",))),
            spec(health=HealthCheck(test=("CMD", "a"), interval_s=1.5)),
            [changed("health.test", '["NONE"]', '["CMD","a"]'), changed("health.interval_s", "30", "1.5")],
            id="a health check",
        ),
        pytest.param(
            spec(liveness=Probe(http=HttpProbe(port=80, headers={"Authorization": "secret"}))),
            spec(liveness=Probe(http=HttpProbe(port=80, headers={"Authorization": "other"}), retries=1)),
            [changed("liveness.http.headers[Authorization]", "…", "…"), changed("liveness.retries", "3", "1")],
            id="a probe, whose headers may be secret",
        ),
    ],
)  # fmt: skip
def test_differences(before: ServiceSpec, after: ServiceSpec, expected: list[FieldChange]) -> None:
    assert list(differences(before, after)) == expected
