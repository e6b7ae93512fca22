"""The published shapes of scheduling work: how many nodes, what is there before, what is measured, what else goes on.

Those of Kubernetes' scheduler_perf (test/integration/scheduler_perf, performance-config.yaml) with their templates and
with the floors that its CI holds them to, in tasks a second. Data, and nothing of how it is carried out; a shape whose
rules no spec has words for yet says so in `needs`, and is measured once they are there.
"""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from longshore.model.placing import Affinity, PlacementRules, Spread
from longshore.model.spec import Mode, Port, Resources, ServiceSpec, UpdateRules

MIB, GIB = 1 << 20, 1 << 30
NAMED = "scheduler-perf-node"


class Churn(StrEnum):
    """What goes on while tasks are measured."""

    NOTHING = ""
    UNFIT = "every 0.2 s one more service whose task fits no node"
    MIXED = "each second a node, a task that fits no node and a service, made and removed"
    DELETES = "100 tasks a second taken away"
    PREEMPTORS = "every 0.2 s one more service whose task displaces others"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    name: str
    nodes: int
    measured: int
    floor: float | None = None
    """Tasks a second, at least, in Kubernetes' CI."""
    before: int = 0
    """Tasks that are placed before."""
    spec: ServiceSpec = ServiceSpec(image="x")
    spec_before: ServiceSpec = ServiceSpec(image="x")
    services_before: int = 1
    """Services that those are spread over, each of `spec_before`."""
    specs_before: tuple[ServiceSpec, ...] = ()
    """Or one service of each of these."""
    churn: Churn = Churn.NOTHING
    services: int = 1
    """Services that the measured tasks are spread over."""
    cpu: float = 4.0
    """Of each node."""
    memory: int = 32 * GIB
    zones: int = 1
    tainted: int = 0
    """Of the nodes, these have a taint that nobody tolerates."""
    resources: dict[str, int] = {}
    """Of each node."""
    times: float = 10.0
    """The floor is to be met so many times over."""
    named: bool = False
    """Whether there is one node more, of which the spec knows the name and which has room for all."""
    full: bool = False
    """Whether it is only measured with --full."""
    stops: bool = False
    """Whether what is to be stopped has stopped at once, as pods without a grace period and without a kubelet have."""
    needs: str = ""
    """What it cannot be measured without."""

    def wishes_before(self) -> list[tuple[str, ServiceSpec, int]]:
        """The services whose tasks are placed before, and how many each has."""
        specs = self.specs_before or (self.spec_before,) * self.services_before
        if not self.before or len(specs) == 1:
            return [(BEFORE, specs[0], self.before)] if self.before else []
        return [(f"{BEFORE}{number}", spec, self.before // len(specs)) for number, spec in enumerate(specs)]


def _pod(cpu: float = 0.1, memory: int = 500 * MIB, *constraints: str, ports: tuple[Port, ...] = ()) -> ServiceSpec:
    rules = PlacementRules(constraints=constraints)
    return ServiceSpec(image="x", resources=Resources(cpu=cpu, memory=memory), placement=rules, ports=ports)


DEFAULT = _pod()
LIGHT = ServiceSpec(image="x")
_DAEMON = ServiceSpec(image="x", placement=PlacementRules(constraints=(f"node.name=={NAMED}",)))
_GLOBAL = ServiceSpec(image="x", mode=Mode.GLOBAL, resources=DEFAULT.resources)
_IN_ZONE = _pod(0.1, 500 * MIB, "node.labels.zone==zone-1")
_ONE_A_NODE = _pod(ports=(Port(container=80, host=8080),))

UNFIT = _pod(9.0)
"""A task that is larger than any node."""

BEFORE, MEASURED = "before", "measured"
"""Names of the services; the measured ones are numbered."""
_BOTH = (f"{MEASURED}0", BEFORE)
_ZONE = "node.labels.zone"
_AFFINITY_TIMES = 20.0


def _ruled(**rules: Any) -> ServiceSpec:
    return ServiceSpec(image="x", resources=DEFAULT.resources, placement=PlacementRules(**rules))


_APART = _ruled(anti_affinity=tuple(Affinity(service=one) for one in _BOTH))
_NEAR_ZONE = _ruled(affinity=(Affinity(service=BEFORE, over=_ZONE),))
_LIKES = _ruled(affinity=tuple(Affinity(service=one, weight=1) for one in _BOTH))
_DISLIKES = _ruled(anti_affinity=tuple(Affinity(service=one, weight=1) for one in _BOTH))
_CHOSEN = ("team==devops", "color==green")


def _choosing(**rules: Any) -> ServiceSpec:
    """Rules about all who carry these labels, as it does itself."""
    return msgspec.structs.replace(_ruled(**rules), labels={"team": "devops", "color": "green"})


_APART_CHOSEN = _choosing(anti_affinity=(Affinity(selector=_CHOSEN),))
_NEAR_CHOSEN = _choosing(affinity=(Affinity(selector=_CHOSEN, over=_ZONE),))
_LIKES_CHOSEN = _choosing(affinity=(Affinity(selector=_CHOSEN, weight=1),))
_DISLIKES_CHOSEN = _choosing(anti_affinity=(Affinity(selector=_CHOSEN, weight=1),))
_MIXED = (
    DEFAULT,
    _ruled(affinity=(Affinity(service=f"{BEFORE}1", over=_ZONE),)),
    _ruled(anti_affinity=(Affinity(service=f"{BEFORE}2"),)),
    _ruled(affinity=(Affinity(service=f"{BEFORE}3", weight=1),)),
    _ruled(anti_affinity=(Affinity(service=f"{BEFORE}4", weight=1),)),
)
_EVEN = _ruled(spread=(Spread(over=_ZONE, skew_max=5),))
_EVENISH = _ruled(spread=(Spread(over=_ZONE),))
_EVEN_BY_NODE = _ruled(spread=(Spread(over="node.name", skew_max=1),))
_LOW = replace(_pod(0.9), update=UpdateRules(parallelism=0))
"""It can spare all of its tasks, as pods without a budget for disruptions are."""
HIGH = replace(_pod(3.0), priority=10)
"""A task for which three of those have to go."""
_LICENSED = ServiceSpec(image="x", resources=Resources(cpu=0.1, memory=500 * MIB, named={"licenses": 1}))


def _affine(name: str, before: int, measured: int, floor: float, spec: ServiceSpec, spec_before: ServiceSpec) -> Shape:
    return Shape(
        name=name,
        nodes=5000,
        before=before,
        measured=measured,
        floor=floor,
        spec=spec,
        spec_before=spec_before,
        times=_AFFINITY_TIMES,
    )


def _chosen(name: str, before: int, measured: int, floor: float, spec: ServiceSpec, nodes: int = 5000) -> Shape:
    """As many services before as there are namespaces in the published one."""
    shape = _affine(name, before, measured, floor, spec, spec)
    return msgspec.structs.replace(shape, nodes=nodes, services_before=100)


def _spread(name: str, measured: int, floor: float, spec: ServiceSpec, *, full: bool = False) -> Shape:
    return Shape(
        name=name,
        nodes=5000,
        before=5000,
        measured=measured,
        floor=floor,
        spec=spec,
        spec_before=DEFAULT,
        zones=3,
        full=full,
    )


def _later(name: str, nodes: int, before: int, measured: int, floor: float | None, needs: str) -> Shape:
    return Shape(name=name, nodes=nodes, before=before, measured=measured, floor=floor, needs=needs)


SHAPES: tuple[Shape, ...] = (
    Shape(name="basic, small", nodes=500, before=500, measured=1000, spec=DEFAULT, spec_before=DEFAULT),
    Shape(name="basic", nodes=5000, before=1000, measured=10_000, floor=680, spec=DEFAULT, spec_before=DEFAULT),
    Shape(
        name="basic, many",
        nodes=5000,
        before=5000,
        measured=50_000,
        floor=810,
        spec=DEFAULT,
        spec_before=DEFAULT,
        full=True,
    ),
    Shape(
        name="daemonset, all pinned to one node",
        nodes=15_000,
        measured=30_000,
        floor=1100,
        spec=_DAEMON,
        named=True,
        full=True,
    ),
    Shape(name="global service, one task a node", nodes=5000, measured=5000, spec=_GLOBAL),
    Shape(
        name="unschedulable",
        nodes=5000,
        before=100,
        measured=10_000,
        floor=590,
        spec=DEFAULT,
        spec_before=DEFAULT,
        churn=Churn.UNFIT,
    ),
    Shape(
        name="unschedulable, 20,000 before",
        nodes=5000,
        before=20_000,
        measured=10_000,
        floor=600,
        spec=DEFAULT,
        spec_before=DEFAULT,
        churn=Churn.UNFIT,
        full=True,
    ),
    Shape(name="mixed churn", nodes=5000, measured=10_000, floor=710, spec=DEFAULT, churn=Churn.MIXED),
    Shape(
        name="deletes meanwhile",
        nodes=5000,
        before=5000,
        measured=5000,
        floor=830,
        spec=LIGHT,
        spec_before=LIGHT,
        churn=Churn.DELETES,
    ),
    Shape(
        name="node affinity",
        nodes=5000,
        before=5000,
        measured=10_000,
        floor=220,
        spec=_IN_ZONE,
        spec_before=DEFAULT,
        zones=1,
    ),
    Shape(name="host port conflict", nodes=20_000, measured=20_000, spec=_ONE_A_NODE, full=True),
    Shape(name="resource saturation", nodes=20_000, measured=20_000, spec=_pod(3.0), full=True),
    _later("while gated", 1, 10_000, 20_000, 910, "tasks that exist and wait: a service that waits has none"),
    Shape(name="extended resource", nodes=5000, measured=5000, floor=180, spec=_LICENSED, resources={"licenses": 90}),
    _affine("anti-affinity, required, node", 1000, 2000, 60, _APART, _APART),
    _affine("matching anti-affinity", 1000, 5000, 595, DEFAULT, _APART),
    _affine("affinity, required, zone", 5000, 5000, 35, _NEAR_ZONE, _NEAR_ZONE),
    _affine("affinity, preferred, node", 5000, 5000, 90, _LIKES, _LIKES),
    _affine("anti-affinity, preferred, node", 5000, 5000, 90, _DISLIKES, _DISLIKES),
    Shape(
        name="mixed base",
        nodes=5000,
        before=10_000,
        measured=5000,
        floor=140,
        spec=DEFAULT,
        specs_before=_MIXED,
        times=_AFFINITY_TIMES,
    ),
    _chosen("anti-affinity, required, by selector", 4000, 2000, 24, _APART_CHOSEN, nodes=6000),
    _chosen("anti-affinity, preferred, by selector", 4000, 2000, 55, _DISLIKES_CHOSEN),
    _chosen("affinity, required, by selector", 5000, 2000, 35, _NEAR_CHOSEN),
    _chosen("affinity, preferred, by selector", 5000, 5000, 90, _LIKES_CHOSEN),
    _spread("topology spreading, hard", 5000, 460, _EVEN),
    _spread("topology spreading, soft", 5000, 340, _EVENISH),
    _spread("topology spreading, default", 50_000, 160, _EVENISH, full=True),
    Shape(name="tainted nodes", nodes=5000, measured=4000, floor=270, spec=_EVEN_BY_NODE, tainted=1000),
    Shape(name="preemption", nodes=1000, before=4000, measured=1000, spec=HIGH, spec_before=_LOW, stops=True),
    Shape(
        name="preemption, many",
        nodes=5000,
        before=20_000,
        measured=5000,
        spec=HIGH,
        spec_before=_LOW,
        stops=True,
        full=True,
    ),
    Shape(
        name="preemption meanwhile",
        nodes=5000,
        before=20_000,
        measured=5000,
        floor=570,
        spec=DEFAULT,
        spec_before=_LOW,
        churn=Churn.PREEMPTORS,
        stops=True,
    ),
)

C2M = Shape(
    name="C2M",
    nodes=6100,
    measured=2_000_000,
    services=2000,
    spec=ServiceSpec(image="x", resources=Resources(cpu=0.01, memory=16 * MIB)),
    cpu=64.0,
    memory=256 * GIB,
)
"""Nomad's challenge of two million containers, in jobs of 1,000 as those of its first million were."""
C2M_PART = msgspec.structs.replace(C2M, name="C2M, a fiftieth", measured=40_000, services=40)

BY_NAME = {shape.name: shape for shape in (*SHAPES, C2M, C2M_PART)}


def curve(nodes: int, tasks: int) -> Shape:
    """A shape of the figure of cost per task: as many tasks as asked for, in services of 1,000, on nodes as in C2M."""
    return msgspec.structs.replace(
        C2M, name=f"curve {nodes} {tasks}", nodes=nodes, measured=tasks, services=tasks // 1000
    )


def shape_named(name: str) -> Shape:
    """One of those above, or of the curve."""
    if name.startswith("curve "):
        _, nodes, tasks = name.split()
        return curve(int(nodes), int(tasks))
    return BY_NAME[name]
