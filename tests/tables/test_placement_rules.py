"""Rules about places: what each refuses and prefers, in tables; and all of them together against the naive loop."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide import rollout
from longshore.decide.placement import hostports, place
from longshore.decide.placement.constraints import covers, eligible, gives_up
from longshore.decide.placement.explain import explain
from longshore.decide.placement.place import decide
from longshore.decide.placement.scoring.policies import policy_named
from longshore.model.changes import Change
from longshore.model.errors import Invalid
from longshore.model.invariants import broken
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import EngineFacts, Kind, Node, NodeStatus, Object, Release, Service, Task
from longshore.model.placing import (
    Affinity,
    PlacementRules,
    Preference,
    Spread,
    Taint,
    TaintEffect,
    Toleration,
    TolerationOperator,
)
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Resources
from tests import situations
from tests.tables import naive
from tests.tables.build import NOW, node, placed, task, waiting, world
from tests.tables.test_placement_exact import FEW, random_world, rows_of

WORLDS = 800

ZONE = "node.labels.zone"
NO = TaintEffect.NO_SCHEDULE
GPUS = ("gpu-a", "gpu-b", "gpu-c")


@pytest.fixture(autouse=True)
def few_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostports, "CHOSEN_LAST", FEW[-1])


# -- against the naive loop


def random_rules(rng: Random, service: str) -> PlacementRules:
    def some(*many: Any) -> tuple[Any, ...]:
        return tuple(rng.sample(many, rng.choice([0, 0, 0, 0, 1, 2])))

    other = rng.choice(["api", "db", "web", "zap"])
    chosen = tuple(
        Affinity(selector=selector, over=rng.choice([ZONE, "node.name"]), weight=rng.choice([None, None, 3]))
        for selector in (("tier==a",), ("tier in (a, b)", "!old"), ("tier!=a", "old"))
    )
    return PlacementRules(
        constraints=some("node.labels.zone in (a, b)", "!node.labels.old", "node.labels.size>2", "node.labels.zone"),
        prefers=some(Preference(constraint="node.labels.zone==b", weight=3), Preference(constraint="node.name!=n1")),
        platform=rng.choice(["", "", "", "", "linux/amd64"]),
        per_node_max=rng.choice([None, None, None, 1, 2]),
        tolerations=some(
            Toleration(key="dedicated", value="db"),
            Toleration(key="old", operator=TolerationOperator.EXISTS, effect=NO),
            Toleration(operator=TolerationOperator.EXISTS),
        ),
        affinity=some(
            Affinity(service=service, over=ZONE),
            Affinity(service=other),
            Affinity(service=other, over=ZONE),
            Affinity(service=other, over=ZONE, weight=4),
            Affinity(service=service, weight=2),
            *chosen,
        ),
        anti_affinity=some(
            Affinity(service=service),
            Affinity(service=service, over=ZONE),
            Affinity(service=other, over=ZONE),
            Affinity(service=other),
            Affinity(service=other, weight=5),
            Affinity(service=service, over=ZONE, weight=1),
            *chosen,
        ),
        spread=some(
            Spread(over=ZONE, skew_max=1),
            Spread(over=ZONE, weight=2),
            Spread(over="node.labels.size", skew_max=2),
            Spread(over="node.name", skew_max=3),
        ),
        policy=rng.choice(
            ["", "", "binpack", "spread", "spread=2,free=1", "image=1,steady=0.5,free=0.25", "fragmentation=1"]
        ),
    )


def random_labels(rng: Random) -> dict[str, str]:
    return (
        {"tier": rng.choice("abc"), "old": "1"}
        if rng.random() < 0.2
        else {"tier": rng.choice("ab")}
        if rng.random() < 0.7
        else {}
    )


def ruled(here: Snapshot, rng: Random) -> Snapshot:
    """The same world with rules, and nodes with labels, taints and resources."""
    records: list[Object] = []
    for _, _, one in here.objects():
        if isinstance(one, Release):
            named = {
                name: rng.choice([1, 1, 2]) for name in rng.sample(["gpu", "licences"], rng.choice([0, 0, 0, 1, 2]))
            }
            shares = {} if "gpu" in named or rng.random() < 0.8 else {"gpu": rng.choice([0.25, 0.3, 0.5])}
            need = replace(one.spec.resources, named=named, shares=shares, pids=rng.choice([0, 0, 0, 100, 400]))
            rules = random_rules(rng, one.service)
            records.append(
                replace(
                    one,
                    spec=replace(
                        one.spec, image=rng.choice("xy"), resources=need, placement=rules, labels=random_labels(rng)
                    ),
                )
            )
        elif isinstance(one, Node):
            records.append(_dressed(one, rng))
        elif isinstance(one, Task) and one.node and rng.random() < 0.2:
            records.append(replace(one, devices={"gpu": (rng.choice(GPUS),)}))
        else:
            records.append(one)
    wishes = {one.service: one.spec for one in records if isinstance(one, Release)}
    records += [Service(name=name, spec=replace(spec, replicas=rng.choice([1, 3]))) for name, spec in wishes.items()]
    return world(*records)


def _dressed(one: Node, rng: Random) -> Node:
    labels = dict(one.labels) | {"size": rng.choice("123")}
    if rng.random() < 0.2:
        labels.pop("zone", None)
    taints = (
        Taint(key="dedicated", value="db"),
        Taint(key="old", effect=rng.choice([NO, TaintEffect.NO_EXECUTE])),
        Taint(key="slow", effect=TaintEffect.PREFER_NO_SCHEDULE),
    )
    return replace(
        one,
        labels=labels,
        taints=tuple(rng.sample(taints, rng.choice([0, 0, 0, 1, 2]))),
        resources={"gpu": rng.choice([2, GPUS[:2], GPUS]), "licences": rng.choice([0, 1, 3])}
        if rng.random() < 0.8
        else {},
        capacity=replace(one.capacity, pids=rng.choice([0, 500, 1000])),
        engine=replace(one.engine, platform="linux", architecture=rng.choice(["amd64", "amd64", "arm64"])),
    )


@pytest.mark.parametrize("least", [place.BULK_LEAST, 1])
@pytest.mark.parametrize(
    "policy",
    ["spread", "binpack", "alignment", "round-robin", "epvm", "spread=1,free=0.5", "fragmentation=1,binpack=0.0625"],
)
def test_bulk_is_one_by_one_with_rules(policy: str, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where what may be placed many at once is, however few they are."""
    monkeypatch.setattr(place, "BULK_LEAST", least)
    found = waited = given = 0
    for seed in range(WORLDS):
        rng = Random(seed)
        here = ruled(random_world(rng), rng)
        changes, look = decide(here, NOW, policy)
        then, expected, expected_look = naive.situation(here, NOW, policy, FEW)
        assert rows_of(changes) == expected, f"seed {seed}"
        assert look == expected_look, f"seed {seed}"
        devices = {change.id: change.after.devices for change in changes if isinstance(change.after, Task)}
        assert {id: one for id, one in devices.items() if one} == {id: one for id, one in then.given.items() if one}
        found += sum(bool(row[1]) for row in expected)
        waited += sum(not row[1] for row in expected)
        given += sum(bool(one) for one in devices.values())
    assert min(found, waited) > WORLDS / 2, "the worlds say nothing"
    assert given > WORLDS / 20, "the worlds say nothing about devices"


# -- rule by rule


def told(rules: PlacementRules, *records: Object, tasks: int = 1, **spec: Any) -> dict[str, str]:
    """What becomes of the first tasks of `web`, which has these rules."""
    web = situations.service("web", placement=rules, **spec)
    return placed(web, *waiting(tasks), *records)


def pair(**facts: Any) -> tuple[Node, Node]:
    """Two nodes; the second has these facts."""
    return node("n1"), replace(node("n2"), **facts)


def test_a_platform_is_of_the_engine() -> None:
    arm = EngineFacts(id="e2", platform="linux", architecture="aarch64")
    assert told(PlacementRules(platform="linux/arm64"), *pair(engine=arm)) == {"web.1.1": "n2"}
    assert told(PlacementRules(platform="linux/amd64"), *pair(engine=arm)) == {
        "web.1.1": "0 of 2 nodes: platform linux/amd64 (n1, n2)"
    }


def test_at_most_so_many_a_node() -> None:
    assert told(PlacementRules(per_node_max=1), *pair(), tasks=3) == {
        "web.1.1": "n1",
        "web.2.1": "n2",
        "web.3.1": "0 of 2 nodes: 1 of web there already (n1, n2)",
    }


@pytest.mark.parametrize(
    ("taint", "tolerations", "expected"),
    [
        (Taint(key="a", value="b"), (), "n1"),
        (Taint(key="a", value="b"), (Toleration(key="a", value="b"),), "n2"),
        (Taint(key="a", value="b"), (Toleration(key="a", value="c"),), "n1"),
        (Taint(key="a", value="b"), (Toleration(key="a", operator=TolerationOperator.EXISTS),), "n2"),
        (Taint(key="a", value="b"), (Toleration(operator=TolerationOperator.EXISTS),), "n2"),
        (Taint(key="a"), (Toleration(key="a", effect=TaintEffect.NO_EXECUTE),), "n1"),
        (Taint(key="a", effect=TaintEffect.NO_EXECUTE), (Toleration(key="a", effect=TaintEffect.NO_EXECUTE),), "n2"),
        (Taint(key="a", effect=TaintEffect.PREFER_NO_SCHEDULE), (), "n1"),
        (Taint(key="a", effect=TaintEffect.PREFER_NO_SCHEDULE), (Toleration(key="a"),), "n2"),
    ],
)
def test_taints_and_tolerations(taint: Taint, tolerations: tuple[Toleration, ...], expected: str) -> None:
    """The policy alone would take the second node, which has nothing on it yet."""
    there = task("other", on="n1")
    other = situations.service("other")
    rules = PlacementRules(tolerations=tolerations)
    assert told(rules, *pair(taints=(taint,)), other, there) == {"web.1.1": expected}


def test_a_taint_that_only_prefers_gives_way_to_need() -> None:
    slow = Taint(key="slow", effect=TaintEffect.PREFER_NO_SCHEDULE)
    down = replace(node("n1"), status=NodeStatus.DOWN)
    assert told(PlacementRules(), down, replace(node("n2"), taints=(slow,))) == {"web.1.1": "n2"}


def test_named_resources_are_counted_and_devices_given() -> None:
    need = Resources(named={"gpu": 1, "licences": 2})
    nodes = pair(resources={"gpu": ("a", "b"), "licences": 3})
    web = situations.service("web", resources=need)
    here = world(web, *waiting(2), *nodes)
    first, second = (change.after for change in decide(here, NOW, "spread")[0])
    assert isinstance(first, Task)
    assert isinstance(second, Task)
    assert (first.node, first.devices) == ("n2", {"gpu": ("a",)})
    assert second.message == "0 of 2 nodes: not enough licences (n2), not enough gpu (n1)"


def test_devices_are_shared_the_tightest_first_and_never_given_away_twice() -> None:
    nodes = pair(resources={"gpu": ("a", "b")})
    web = situations.service("web", resources=Resources(shares={"gpu": 0.4}))
    half = situations.service("half", resources=Resources(shares={"gpu": 0.5}))
    there = task("half", on="n2", devices={"gpu": ("b",)})
    here = world(web, half, there, *waiting(4), *nodes)
    changes, _ = decide(here, NOW, "spread")
    after = [change.after for change in changes if isinstance(change.after, Task)]
    assert [(one.node, one.devices) for one in after[:3]] == [
        ("n2", {"gpu": ("b",)}),
        ("n2", {"gpu": ("a",)}),
        ("n2", {"gpu": ("a",)}),
    ]
    assert after[3].message == "0 of 2 nodes: not enough gpu (n1, n2)"
    then, _ = here.apply(changes, (), NOW)
    assert broken(then) == []
    given, _ = then.apply([_taking(then, after[3], "a")], (), NOW)
    assert broken(given) == ["gpu a of node n2 is given away 1.2 times"]
    found = explain(then, after[3], NOW, "spread")
    assert (found.nearest[0].node, found.nearest[0].lacks) == ("n1", ("0.4 more of one gpu",))


def _taking(here: Snapshot, one: Task, device: str) -> Change:
    record = here.task(one.id)
    assert record is not None
    placed_there = replace(record, node="n2", state=State.PLACED, devices={"gpu": (device,)})
    return Change(
        kind=Kind.TASK, id=one.id, before=record.revision, after=placed_there, by=Owner.PLACEMENT, reason=Reason.PLACED
    )


def test_who_has_a_part_of_a_device_leaves_no_whole_one() -> None:
    whole = situations.service("web", resources=Resources(named={"gpu": 1}))
    part = situations.service("part", resources=Resources(shares={"gpu": 0.1}))
    there = task("part", on="n2", devices={"gpu": ("a",)})
    found = placed(whole, part, there, *waiting(2), *pair(resources={"gpu": ("a", "b")}))
    assert found == {"web.1.1": "n2", "web.2.1": "0 of 2 nodes: not enough gpu (n1, n2)"}


def test_fragmentation_leaves_whole_devices_to_those_who_need_them() -> None:
    """By room alone the first node would do; the second has a device that is in parts already."""
    wish = situations.service("big", resources=Resources(named={"gpu": 2}), replicas=9)
    web = situations.service(
        "web", resources=Resources(shares={"gpu": 0.5}), placement=PlacementRules(policy="fragmentation=1")
    )
    nodes = (
        replace(node("n1"), resources={"gpu": ("a", "b")}),
        replace(node("n2"), resources={"gpu": ("a", "b")}),
    )
    there = task("web", 2, on="n2", devices={"gpu": ("a",)})
    assert placed(wish, web, there, *waiting(1), *nodes) == {"web.1.1": "n2"}


def test_devices_of_a_task_that_is_stopping_are_still_its_own() -> None:
    web = situations.service("web", resources=Resources(named={"gpu": 1}))
    old = task("web", 2, on="n2", devices={"gpu": ("a",)}, state=State.RUNNING, wanted=Wanted.STOPPED)
    here = world(web, *waiting(1), old, *pair(resources={"gpu": ("a", "b")}))
    (change,) = decide(here, NOW, "spread")[0]
    assert isinstance(change.after, Task)
    assert change.after.devices == {"gpu": ("b",)}


def zones() -> tuple[Node, ...]:
    return node("n1", zone="a"), node("n2", zone="a"), node("n3", zone="b"), node("n4")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"affinity": (Affinity(service="db", over=ZONE),)}, "n1"),
        ({"affinity": (Affinity(service="db"),)}, "n2"),
        ({"affinity": (Affinity(service="cache"),)}, "0 of 4 nodes: not near cache by node.name (n1, n2, n3, n4)"),
        ({"affinity": (Affinity(service="web", over=ZONE),)}, "n1"),
        ({"affinity": (Affinity(service="db", over=ZONE, weight=1),)}, "n1"),
        ({"affinity": (Affinity(service="cache", weight=1),)}, "n1"),
        ({"anti_affinity": (Affinity(service="db", over=ZONE),)}, "n3"),
        ({"anti_affinity": (Affinity(service="db", over=ZONE, weight=1),)}, "n3"),
        ({"anti_affinity": (Affinity(service="db"),), "constraints": ("node.name==n2",)}, "not apart from db"),
        ({"prefers": (Preference(constraint="node.name==n4"),)}, "n4"),
        ({"prefers": (Preference(constraint="node.name==n9"),)}, "n1"),
        ({"spread": (Spread(over=ZONE, skew_max=1),), "constraints": ("node.name==n4",)}, "uneven by node.labels.zone"),
        ({"policy": "binpack"}, "n2"),
        ({"policy": "image=1"}, "n1"),
    ],
)
def test_neighbours(rules: dict[str, Any], expected: str) -> None:
    db = situations.service("db", resources=Resources(cpu=1.0))
    found = told(PlacementRules(**rules), *zones(), db, task("db", on="n2"), resources=Resources(cpu=0.5))
    assert expected in found["web.1.1"]


def test_points_are_told() -> None:
    rules = PlacementRules(prefers=(Preference(constraint="node.name==n2", weight=3),))
    here = world(situations.service("web", placement=rules), *waiting(1), *pair())
    (change,) = decide(here, NOW, "first-fit")[0]
    assert change.message == "first-fit: n2 is the first with room; rules with a weight come to 3 points there"
    found = explain(here, next(iter(waiting(1))), NOW, "first-fit")
    assert found.sentence.endswith("; rules with a weight come to 3 points there")
    assert [(one.node, one.points) for one in found.top] == [("n2", 3), ("n1", 0)]


def test_tasks_that_are_to_be_near_one_another_go_where_the_first_went() -> None:
    rules = PlacementRules(
        affinity=(Affinity(service="web", over=ZONE),), prefers=(Preference(constraint="!node.labels.x"),)
    )
    assert told(rules, *zones(), tasks=3) == {"web.1.1": "n1", "web.2.1": "n2", "web.3.1": "n1"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"affinity": (Affinity(selector=("tier==data",)),)}, "n2"),
        ({"affinity": (Affinity(selector=("tier in (data, other)", "!old"), over=ZONE),)}, "n1"),
        ({"affinity": (Affinity(selector=("tier==none",)),)}, "not near tier==none by node.name (n1, n2, n3, n4)"),
        ({"affinity": (Affinity(selector=("tier==web",), over=ZONE),)}, "n1"),
        ({"anti_affinity": (Affinity(selector=("tier==data",), over=ZONE),)}, "n3"),
        ({"anti_affinity": (Affinity(selector=("tier",), over=ZONE, weight=1),)}, "n3"),
    ],
)
def test_neighbours_are_chosen_by_their_labels(rules: dict[str, Any], expected: str) -> None:
    db = situations.service("db", labels={"tier": "data"})
    found = told(PlacementRules(**rules), *zones(), db, task("db", on="n2"), labels={"tier": "web"})
    assert expected in found["web.1.1"]


def test_whom_somebody_keeps_away_by_label_stays_away() -> None:
    loner = situations.service(
        "db", placement=PlacementRules(anti_affinity=(Affinity(selector=("tier==web",), over=ZONE),))
    )
    rules = PlacementRules(per_node_max=1)
    found = told(rules, *zones(), loner, task("db", on="n2"), tasks=3, labels={"tier": "web"})
    assert found == {
        "web.1.1": "n3",
        "web.2.1": "n4",
        "web.3.1": "0 of 4 nodes: others there keep web away by node.labels.zone (n1, n2), "
        "1 of web there already (n3, n4)",
    }
    assert told(rules, *zones(), loner, task("db", on="n2"), labels={"tier": "x"}) == {"web.1.1": "n1"}


def test_tasks_of_the_same_label_keep_apart_whatever_their_service() -> None:
    apart = PlacementRules(anti_affinity=(Affinity(selector=("team==a",)),))
    api = situations.service("api", placement=apart, labels={"team": "a"})
    found = told(apart, *pair(), api, task("api", created_at=0.0), tasks=2, labels={"team": "a"})
    assert found == {
        "api.1.1": "n1",
        "web.1.1": "n2",
        "web.2.1": "0 of 2 nodes: not apart from team==a by node.name (n1, n2)",
    }


def test_anti_affinity_binds_the_others_too() -> None:
    loner = situations.service("db", placement=PlacementRules(anti_affinity=(Affinity(service="web", over=ZONE),)))
    expected = {"web.1.1": "n3", "web.2.1": "n4"}
    assert told(PlacementRules(per_node_max=1), *zones(), loner, task("db", on="n2"), tasks=2) == expected


def test_even_spread_is_required_or_preferred() -> None:
    required = PlacementRules(spread=(Spread(over=ZONE, skew_max=1),))
    assert [*told(required, *zones(), tasks=4).values()] == ["n1", "n3", "n2", "n3"]
    preferred = PlacementRules(spread=(Spread(over=ZONE),))
    assert sorted(told(preferred, *zones(), tasks=6).values()) == ["n1", "n2", "n3", "n3", "n4", "n4"]


def test_a_zone_that_takes_nothing_does_not_hold_the_others_back() -> None:
    required = PlacementRules(spread=(Spread(over=ZONE, skew_max=1),))
    nodes = (node("n1", zone="a"), replace(node("n3", zone="b"), status=NodeStatus.DOWN))
    assert [*told(required, *nodes, tasks=3).values()] == ["n1", "n1", "n1"]


def test_who_waits_for_others_is_looked_at_again_once_they_have_a_place() -> None:
    web = situations.service("web", placement=PlacementRules(affinity=(Affinity(service="db"),)))
    here = world(web, situations.service("db"), task("web", created_at=1.0), task("db", created_at=2.0), node("n1"))
    changes, again = decide(here, NOW, "spread")
    assert [change.reason for change in changes] == [Reason.NO_NODE, Reason.PLACED]
    assert again == NOW
    there, _ = here.apply(changes, (), NOW)
    changes, again = decide(there, NOW, "spread")
    assert [change.reason for change in changes] == [Reason.PLACED]
    assert again is None


def test_a_weighted_policy_says_what_it_is_made_of() -> None:
    other = situations.service("other", placement=PlacementRules())
    image = replace(task("web", 2, on="n2"), started_at=1.0)
    web = situations.service("web", placement=PlacementRules(policy="spread=1,image=2"))
    here = world(web, other, *waiting(1), image, *pair())
    (change,) = decide(here, NOW, "first-fit")[0]
    assert change.message == "spread=1,image=2: n2 scores 2.50: spread 0.50, image 1.00"
    found = explain(here, next(iter(waiting(1))), NOW, "first-fit")
    assert [(one.node, one.parts) for one in found.top] == [
        ("n2", {"spread": 0.5, "image": 2.0}),
        ("n1", {"spread": 1.0, "image": 0.0}),
    ]


def test_a_node_where_the_service_failed_is_liked_less_for_a_while() -> None:
    web = situations.service("web", placement=PlacementRules(policy="steady=1"))
    bad = task("web", 2, on="n1", state=State.FAILED, finished_at=NOW - 599)
    assert placed(web, *waiting(1), bad, *pair()) == {"web.1.1": "n2"}
    assert placed(web, *waiting(1), replace(bad, finished_at=NOW - 601), *pair()) == {"web.1.1": "n1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fastest", "there is no placement policy 'fastest'"),
        ("spread=", "'spread=' is no weight of a policy"),
        ("speed=1", "'speed=1' is no weight of a policy"),
        ("spread=1,spread=2", "each part has one weight"),
        ("spread=0", "each part has one weight, over 0"),
    ],
)
def test_policies_that_there_are_not(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        policy_named(text)


# -- what would have to change


def test_the_nearest_nodes_are_told_with_what_they_lack() -> None:
    rules = PlacementRules(constraints=("node.labels.zone==b",))
    web = situations.service("web", placement=rules, resources=Resources(cpu=6.0, named={"gpu": 2}))
    nodes = (
        node("n1", zone="b"),
        replace(node("n2", cpu=8.0, zone="b"), resources={"gpu": 1}),
        replace(node("n3", cpu=8.0, zone="a"), resources={"gpu": 2}),
        replace(node("n4", cpu=8.0, zone="b"), status=NodeStatus.DOWN),
    )
    found = explain(world(web, *waiting(1), *nodes), next(iter(waiting(1))), NOW, "spread")
    assert [(one.node, one.lacks) for one in found.nearest] == [
        ("n2", ("1 more gpu",)),
        ("n3", ("constraint node.labels.zone==b",)),
        ("n4", ("node is down", "2 more gpu")),
    ]
    assert found.advice == "'constraint node.labels.zone==b' is all that keeps it from 1 node"


# -- who gives a node up


def test_a_taint_that_drives_away() -> None:
    out = Taint(key="out", effect=TaintEffect.NO_EXECUTE)
    plain, bold = (
        situations.service("web", placement=PlacementRules(tolerations=tolerations)).spec
        for tolerations in ((), (Toleration(key="out", effect=TaintEffect.NO_EXECUTE),))
    )
    tainted = replace(node("n1"), taints=(out,))
    assert gives_up(tainted, plain)
    assert not gives_up(tainted, bold)
    assert not eligible(tainted, plain)
    assert eligible(tainted, bold)
    closed = replace(node("n1"), taints=(Taint(key="out"),))
    assert not gives_up(closed, plain)
    assert not eligible(closed, plain)
    assert covers(closed, plain, has=True)
    assert not covers(tainted, plain, has=True)


def test_tasks_leave_a_node_with_a_taint_that_they_do_not_tolerate() -> None:
    out = Taint(key="out", effect=TaintEffect.NO_EXECUTE)
    web = situations.service("web")
    here = situations.world(
        web, *situations.releases(web), situations.task(1), replace(node("n1"), taints=(out,)), node("n2")
    )
    changes, _ = rollout.decide(here, "web", NOW)
    relief = changes[0].after
    assert isinstance(relief, Task)
    assert (relief.id, relief.relieves, changes[0].reason) == ("web.1.2", "web.1.1", Reason.STANDS_BY)
