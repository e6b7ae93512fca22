"""What the user of a world wishes of places: rules for services, and what nodes are said to be, have and forbid.

In some worlds only, and from chance of its own, so that the others are as they were before there was any of it. Drawn
from numbers, as all wishes are; knows specs, patches of nodes, and what is told of a machine. What it comes to is
`simulate.placed`'s to judge.
"""

import random
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from longshore.model.objects import Node
from longshore.model.placing import (
    Affinity,
    Preference,
    Spread,
    Supply,
    Taint,
    TaintEffect,
    Toleration,
    TolerationOperator,
)
from longshore.model.spec import Mode, ServiceSpec
from longshore.model.views import NodePatch
from longshore.simulate.wishing import NAMES

RULED = 0.5
"""Chance that a world has rules about places."""
OFTEN = 0.4
"""For each line of such a world, chance of one more of these soon after."""
VERBS = {"place": 5, "label": 1, "taint": 2, "supply": 1}
MARKS = ("label", "taint", "supply")
"""Those of them that are about a node."""
SUPPLIED_AFTER_S = 2.5
"""From the first line of a world until nodes are said to have more than cpu and memory."""
RULE = 0.22
"""Chance of each rule."""
PIDS = 1200
"""What each machine has room for."""
ARCHITECTURES = ("amd64", "amd64", "arm64")
"""Of machines, in turn."""
ZONE, RACK, NAME = "node.labels.zone", "node.labels.rack", "node.name"
CONSTRAINTS = (
    "node.labels.disk in (ssd, nvme)",
    "node.labels.disk notin (hdd, tape)",
    "node.labels.disk",
    "!node.labels.disk",
    "node.labels.rack>1",
    "node.labels.rack<=2",
    "node.labels.zone!=b",
    "node.name!=n1",
    "node.platform.arch==amd64",
)
TAINTS = (
    Taint(key="team", value="red"),
    Taint(key="team", value="red", effect=TaintEffect.PREFER_NO_SCHEDULE),
    Taint(key="upkeep", effect=TaintEffect.NO_EXECUTE),
    Taint(key="upkeep", effect=TaintEffect.NO_EXECUTE),
)
TOLERATIONS = (
    Toleration(key="team", value="red"),
    Toleration(key="team", operator=TolerationOperator.EXISTS),
    Toleration(key="upkeep", operator=TolerationOperator.EXISTS, effect=TaintEffect.NO_EXECUTE),
    Toleration(operator=TolerationOperator.EXISTS),
)
SUPPLIES: tuple[dict[str, Supply | None], ...] = (
    {"gpu": ("0", "1"), "seat": 3},
    {"gpu": ("0", "1", "2")},
    {"gpu": ("1",), "seat": 1},
    {"gpu": None, "seat": 2},
)


Marks = Callable[[Sequence[float]], list[tuple[float, str, int]]]
"""Given when the lines of a storm are: when which verb is to come between them, and its pick."""


def drawn_for(seed: int, nodes: int) -> Marks:
    """What comes between the lines of a world, storm by storm."""
    rng = random.Random(f"places {seed}")
    if rng.random() >= RULED:
        return lambda storm: []
    begins = True

    def draw(storm: Sequence[float]) -> list[tuple[float, str, int]]:
        nonlocal begins
        first = range(nodes) if begins else ()
        begins = False
        found = [(storm[0] + SUPPLIED_AFTER_S, "supply", number + nodes * rng.getrandbits(20)) for number in first]
        found += [
            (at + rng.random(), rng.choices([*VERBS], [*VERBS.values()])[0], rng.getrandbits(30))
            for at in storm
            if rng.random() < OFTEN
        ]
        return found

    return draw


def labels_of(name: str) -> dict[str, str]:
    """What the worker of a machine says of it."""
    number = int(name[1:])
    return {"zone": "ab"[number % 2], "rack": str(1 + number % 3)} | ({"disk": "ssd"} if number % 2 else {})


def architecture_of(name: str) -> str:
    return ARCHITECTURES[(int(name[1:]) - 1) % len(ARCHITECTURES)]


def ruled(spec: ServiceSpec, pick: int) -> ServiceSpec:
    """A wish, with some rules about its places."""
    rng = random.Random(f"rules {pick}")

    def some() -> bool:
        return rng.random() < RULE

    def other(weight: int | None) -> Affinity:
        return Affinity(service=rng.choice(NAMES), over=rng.choice((ZONE, RACK, NAME)), weight=weight)

    own, skews = spec.mode is not Mode.GLOBAL, (1, 1, 2, None)
    rules = replace(
        spec.placement,
        constraints=(rng.choice(CONSTRAINTS),) if some() else spec.placement.constraints,
        platform=rng.choice(("linux/amd64", "linux/amd64", "linux/arm64")) if some() else "",
        tolerations=(rng.choice(TOLERATIONS),) if rng.random() < 0.5 else (),
        prefers=(Preference(constraint=rng.choice(CONSTRAINTS), weight=rng.randint(1, 9)),) if some() else (),
        per_node_max=rng.choice((1, 2)) if some() and own else None,
        affinity=(other(rng.choice((None, None, 5))),) if some() else (),
        anti_affinity=(other(rng.choice((None, None, 5))),) if some() else (),
        spread=(Spread(over=rng.choice((ZONE, RACK, NAME)), skew_max=rng.choice(skews)),) if some() and own else (),
    )
    named = {"gpu": rng.choice((1, 1, 2))} if some() else {}
    named |= {"seat": 1} if some() else {}
    pids = rng.choice((100, 500)) if some() else 0
    return replace(spec, placement=rules, resources=replace(spec.resources, named=named, pids=pids))


def said(verb: str, pick: int, node: Node) -> NodePatch:
    """What the user changes of a node that is known."""
    return _SAID[verb](random.Random(pick), node)


def _labelled(rng: random.Random, node: Node) -> NodePatch:
    choices: Mapping[str, tuple[str | None, ...]] = {
        "zone": ("a", "b", "c", None),
        "rack": ("1", "2", "3", "top"),
        "disk": ("ssd", "hdd", None),
    }
    key = rng.choice([*choices])
    return NodePatch(labels={key: rng.choice(choices[key])})


def _tainted(rng: random.Random, node: Node) -> NodePatch:
    """One more taint, or none any more."""
    if node.taints and rng.random() < 0.6:
        return NodePatch(untaint=tuple(dict.fromkeys(one.key for one in node.taints)))
    return NodePatch(taints=(rng.choice(TAINTS),))


def _supplied(rng: random.Random, node: Node) -> NodePatch:
    return NodePatch(resources=rng.choice(SUPPLIES))


def holds(patch: NodePatch, node: Node) -> bool:
    """Whether a node is as it was said to be."""
    labels, resources = patch.labels or {}, patch.resources or {}
    return (
        all(node.labels.get(key) == value for key, value in labels.items())
        and all(node.resources.get(name) == supply for name, supply in resources.items())
        and not any(one.key in patch.untaint for one in node.taints)
        and all(one in node.taints for one in patch.taints)
    )


def words(patch: NodePatch) -> str:
    """What is said, for the story."""
    said = [f"{key}={value}" for key, value in {**(patch.labels or {}), **(patch.resources or {})}.items()]
    return ", ".join([*said, *map(str, patch.taints), *(f"no {key}" for key in patch.untaint)])


_SAID: dict[str, Callable[[random.Random, Node], NodePatch]] = {
    "label": _labelled,
    "taint": _tainted,
    "supply": _supplied,
}
