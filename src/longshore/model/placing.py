"""What a user may wish of the place of a service's tasks, and what nodes offer and forbid. Pure data.

Rules come in two strengths. One that is required refuses nodes; one with a weight only prefers some, and what all
weights come to is asked before the policy. `over` names what makes nodes one domain: `node.name`, each its own, or
`node.labels.KEY`, those with an equal label.
"""

from enum import StrEnum

import msgspec

NODE_NAME = "node.name"

Supply = int | tuple[str, ...]
"""What a node has of a resource: so many, or these devices, each given to one task at a time."""

GPU = "gpu"
"""The one kind of device that engines know by number."""


class _Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything a user writes about places."""


class TaintEffect(StrEnum):
    """What a taint does to tasks that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    """None is placed there."""
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    """None is placed there while another node has room."""
    NO_EXECUTE = "NoExecute"
    """None is placed there, and those that are there give way, as on a drained node."""


class Taint(_Wish, frozen=True, kw_only=True):
    """What keeps tasks off a node, unless their service tolerates it."""

    key: str
    value: str = ""
    effect: TaintEffect = TaintEffect.NO_SCHEDULE

    def __str__(self) -> str:
        return f"{self.key}{'=' if self.value else ''}{self.value}:{self.effect}"


class TolerationOperator(StrEnum):
    EQUAL = "Equal"
    EXISTS = "Exists"


class Toleration(_Wish, frozen=True, kw_only=True):
    """Which taints a service's tasks do not mind."""

    key: str = ""
    """Empty, with `Exists`, is every taint."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    value: str = ""
    """With `Equal`: the taint's."""
    effect: TaintEffect | None = None
    """None is any."""

    def covers(self, taint: Taint) -> bool:
        """Whether a task with this toleration does not mind `taint`."""
        if self.effect not in (None, taint.effect) or self.key not in ("", taint.key):
            return False
        return self.operator is TolerationOperator.EXISTS or (bool(self.key) and self.value == taint.value)


class Preference(_Wish, frozen=True, kw_only=True):
    """A constraint that nodes are liked for."""

    constraint: str
    weight: int = 1


class Affinity(_Wish, frozen=True, kw_only=True):
    """Near to some tasks, or apart from them: those of a service, or those that carry labels."""

    service: str = ""
    """By its name in the cluster; it may be the service itself."""
    selector: tuple[str, ...] = ()
    """Instead of a name, what the labels of the tasks' service must be, its own among them: `KEY==A`, `KEY!=A`,
    `KEY in (A, B)`, `KEY notin (A, B)`, `KEY`, `!KEY`, or `KEY>1` and its like. All must hold."""
    over: str = NODE_NAME
    weight: int | None = None
    """None is required."""


class Spread(_Wish, frozen=True, kw_only=True):
    """Evenly over the domains of a label: by how many tasks of the service each has."""

    over: str
    skew_max: int | None = None
    """Required: by how many tasks a domain may exceed the one that has fewest. None only prefers those that do."""
    weight: int = 1
    """Without `skew_max`: of each task that a domain has more than the one that has fewest."""


class PlacementRules(_Wish, frozen=True, kw_only=True):
    constraints: tuple[str, ...] = ()
    """All must hold. Each is about a KEY of a node: `node.name`, `node.labels.X`, `node.platform.os`,
    `node.platform.arch` or `engine.labels.X`; it is `KEY==A`, `KEY!=A`, `KEY in (A, B)`, `KEY notin (A, B)`, `KEY`
    (there is one), `!KEY` (there is none), or `KEY>1` with `>`, `>=`, `<` or `<=` and a number."""
    prefers: tuple[Preference, ...] = ()
    """Constraints that need not hold; nodes are liked for those that do."""
    platform: str = ""
    """`linux/amd64`: the system and processor that the image is for. Empty is any."""
    per_node_max: int | None = None
    """Tasks of the service that one node may have at most."""
    tolerations: tuple[Toleration, ...] = ()
    affinity: tuple[Affinity, ...] = ()
    """Whom its tasks are to be near."""
    anti_affinity: tuple[Affinity, ...] = ()
    """Whom its tasks are to be apart from. Where that is required, it holds for the others' tasks as well."""
    spread: tuple[Spread, ...] = ()
    policy: str = ""
    """How to choose among nodes with room: a policy's name, or weights such as `spread=2,image=1`. Empty is the
    cluster's."""
    rebalance: bool = False
    """Its tasks are moved by the cluster itself where that makes it more even: when a node joins, returns or is active
    again. Else only when a user asks for it."""
