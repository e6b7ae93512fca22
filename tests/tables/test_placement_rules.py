"""Rules about places: what each refuses and prefers, in tables; and all of them together against the naive loop."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide.placement import hostports
from longshore.decide.placement.place import decide
from longshore.model.objects import Node, Object, Release, Task
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
from longshore.model.snapshot import Snapshot
from tests.tables import naive
from tests.tables.build import NOW, world
from tests.tables.test_placement_exact import FEW, random_world, rows_of

WORLDS = 1500

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
        ),
        anti_affinity=some(
            Affinity(service=service),
            Affinity(service=service, over=ZONE),
            Affinity(service=other, over=ZONE),
            Affinity(service=other),
            Affinity(service=other, weight=5),
            Affinity(service=service, over=ZONE, weight=1),
        ),
        spread=some(
            Spread(over=ZONE, skew_max=1),
            Spread(over=ZONE, weight=2),
            Spread(over="node.labels.size", skew_max=2),
            Spread(over="node.name", skew_max=3),
        ),
        policy=rng.choice(["", "", "binpack", "spread", "spread=2,free=1", "image=1,steady=0.5,free=0.25"]),
    )


def ruled(here: Snapshot, rng: Random) -> Snapshot:
    """The same world with rules, and nodes with labels, taints and resources."""
    records: list[Object] = []
    for _, _, one in here.objects():
        if isinstance(one, Release):
            named = {
                name: rng.choice([1, 1, 2]) for name in rng.sample(["gpu", "licences"], rng.choice([0, 0, 0, 1, 2]))
            }
            need = replace(one.spec.resources, named=named, pids=rng.choice([0, 0, 0, 100, 400]))
            rules = random_rules(rng, one.service)
            records.append(
                replace(one, spec=replace(one.spec, image=rng.choice("xy"), resources=need, placement=rules))
            )
        elif isinstance(one, Node):
            records.append(_dressed(one, rng))
        elif isinstance(one, Task) and one.node and rng.random() < 0.2:
            records.append(replace(one, devices={"gpu": (rng.choice(GPUS),)}))
        else:
            records.append(one)
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


@pytest.mark.parametrize("policy", ["spread", "binpack", "round-robin", "epvm", "spread=1,free=0.5"])
def test_bulk_is_one_by_one_with_rules(policy: str) -> None:
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
