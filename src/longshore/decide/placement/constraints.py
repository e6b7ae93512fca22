"""What a placement constraint means: one comparison with a node's name, platform, or one of its labels; and the same
words about the labels of a service.

Knows a node and a text; no tasks, no table, nothing of room. Admission refuses through `parse` whatever could not be
read here later, and the services controller asks `eligible` which nodes a global service covers, so that a constraint
means the same at every door.
"""

import functools
import operator
import re
from collections.abc import Callable, Iterable
from enum import StrEnum

import msgspec

from longshore.model.errors import Invalid
from longshore.model.objects import Availability, Node, NodeStatus
from longshore.model.placing import NODE_NAME, PlacementRules, Taint, TaintEffect
from longshore.model.spec import ServiceSpec

NODE_LABEL = "node.labels."
ENGINE_LABEL = "engine.labels."
PLATFORM_OS = "node.platform.os"
PLATFORM_ARCH = "node.platform.arch"

# The first operator splits, so a value may hold anything but begin with '=': `a===b` is a slip of the finger.
_KEY = r"(?P<key>[^\s=!<>(),]+)"
_COMPARED = re.compile(rf"{_KEY}\s*(?P<operator>==|!=|>=|<=|>|<)\s*(?P<value>[^\s=].*)", re.DOTALL)
_LISTED = re.compile(rf"{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[^()]*)\)")
_PRESENT = re.compile(rf"(?P<negated>!?)\s*{_KEY}")
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")

ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
"""As kernels call them, and as images do."""


class Operator(StrEnum):
    """How a constraint compares."""

    IS = "=="
    IS_NOT = "!="
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    MISSING = "!"
    GREATER = ">"
    AT_LEAST = ">="
    LESS = "<"
    AT_MOST = "<="


_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
}


_ALONE = (Operator.EXISTS, Operator.MISSING)


class Constraint(msgspec.Struct, frozen=True):
    """What `key` of a node must be, or of a service's labels."""

    key: str
    """`node.name`, a platform's, or `node.labels.` or `engine.labels.` and a label's key; a service's label by its own
    key."""
    operator: Operator
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        match self.operator:
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator} ({', '.join(self.values)})"
            case Operator.EXISTS:
                return self.key
            case Operator.MISSING:
                return f"!{self.key}"
        return f"{self.key}{self.operator}{self.values[0]}"

    def holds(self, node: Node) -> bool:
        """Whether it holds on `node`."""
        return self.holds_for(fact_of(node, self.key))

    def holds_for(self, found: str | None) -> bool:
        """Whether it holds where `found` is what its key names. What is not there differs from every value, and is
        neither greater nor less than any number; so is what is no number itself."""
        match self.operator:
            case Operator.IS | Operator.IN:
                return found in self.values
            case Operator.IS_NOT | Operator.NOT_IN:
                return found not in self.values
            case Operator.EXISTS:
                return found is not None
            case Operator.MISSING:
                return found is None
        if found is None or not _NUMBER.fullmatch(found):
            return False
        return _COMPARE[self.operator](float(found), float(self.values[0]))


def fact_of(node: Node, key: str) -> str | None:
    """What `key` names of a node; None if it has no such thing."""
    if key == NODE_NAME:
        return node.name
    if key == PLATFORM_OS:
        return node.engine.platform or None
    if key == PLATFORM_ARCH:
        return ARCHITECTURES.get(node.engine.architecture, node.engine.architecture) or None
    if key.startswith(ENGINE_LABEL):
        return node.engine.labels.get(key.removeprefix(ENGINE_LABEL))
    return node.labels.get(key.removeprefix(NODE_LABEL))


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Constraint:
    """The constraint that `text` writes. Raises Invalid, in words, for what could not hold or fail to hold."""
    found = _read(text)
    if found is None or (found.operator in _ALONE and not found.key.startswith((NODE_LABEL, ENGINE_LABEL))):
        raise Invalid(
            f"constraint {text!r} is not of the form node.labels.KEY==VALUE; use ==, !=, in (A, B), notin (A, B), > or "
            "< between two words, or KEY or !KEY alone for a label that is or is not there"
        )
    _check_key(text, found.key)
    return Constraint(found.key, found.operator, _as_known(found.key, found.values))


@functools.lru_cache(maxsize=4096)
def parse_selector(text: str) -> Constraint:
    """What `text` says of one label of a service: the same words about a label's own key. Raises Invalid."""
    found = _read(text)
    if found is None:
        raise Invalid(
            f"{text!r} is not of the form KEY==VALUE; use ==, !=, in (A, B), notin (A, B), > or < between a label's "
            "key and its value, or KEY or !KEY alone"
        )
    return found


def _read(text: str) -> Constraint | None:
    """What is written, whatever it is about; None if it is of no known form."""
    said = text.strip()
    if found := _LISTED.fullmatch(said):
        values = tuple(dict.fromkeys(value.strip() for value in found["values"].split(",")))
        if "" in values:
            raise Invalid(f"constraint {text!r} lists nothing at one place; write KEY in (A, B)")
        return Constraint(found["key"], Operator(found["operator"]), values)
    if found := _COMPARED.fullmatch(said):
        how, value = Operator(found["operator"]), found["value"]
        if how in _COMPARE and not _NUMBER.fullmatch(value):
            raise Invalid(f"constraint {text!r} compares with {value!r}, which is no number")
        return Constraint(found["key"], how, (value,))
    if found := _PRESENT.fullmatch(said):
        return Constraint(found["key"], Operator.MISSING if found["negated"] else Operator.EXISTS)
    return None


def check_over(text: str) -> str:
    """What makes domains of nodes. Raises Invalid for what does not."""
    if text != NODE_NAME and not (text.startswith(NODE_LABEL) and text != NODE_LABEL):
        raise Invalid(f"{text!r} makes no domains of nodes; use node.name or node.labels.KEY")
    return text


def _check_key(text: str, key: str) -> None:
    labels = next((prefix for prefix in (NODE_LABEL, ENGINE_LABEL) if key.startswith(prefix) and key != prefix), "")
    if key not in (NODE_NAME, PLATFORM_OS, PLATFORM_ARCH) and not labels:
        raise Invalid(
            f"constraint {text!r} is about {key!r}; use node.name or node.labels.KEY, node.platform.os, "
            "node.platform.arch or engine.labels.KEY"
        )


def _as_known(key: str, values: tuple[str, ...]) -> tuple[str, ...]:
    if key != PLATFORM_ARCH:
        return values
    return tuple(dict.fromkeys(ARCHITECTURES.get(value, value) for value in values))


def of_platform(platform: str) -> tuple[Constraint, ...]:
    """What a platform, `linux/amd64`, comes to."""
    if not platform:
        return ()
    os, _, arch = platform.partition("/")
    return (Constraint(PLATFORM_OS, Operator.IS, (os,)), Constraint(PLATFORM_ARCH, Operator.IS, (arch,)))


def minded(taints: Iterable[Taint], rules: PlacementRules, *effects: TaintEffect) -> tuple[Taint, ...]:
    """The taints of these effects that no toleration covers."""
    return tuple(
        taint for taint in taints if taint.effect in effects and not any(one.covers(taint) for one in rules.tolerations)
    )


def suits(node: Node, spec: ServiceSpec) -> bool:
    """Whether a node is of the kind that a service may run on, whatever state it is in: constraints, platform, and
    taints that drive tasks away."""
    rules = spec.placement
    return all(parse(text).holds(node) for text in rules.constraints) and (
        all(one.holds(node) for one in of_platform(rules.platform))
        and not minded(node.taints, rules, TaintEffect.NO_EXECUTE)
    )


def eligible(node: Node, spec: ServiceSpec) -> bool:
    """Whether a global service of `spec` should have a task on `node`: the user lets it take tasks, it answers, every
    constraint holds and no taint forbids it. Room is not asked: a task that finds none waits there and says so."""
    return (
        node.availability is Availability.ACTIVE
        and node.status is NodeStatus.READY
        and suits(node, spec)
        and not minded(node.taints, spec.placement, TaintEffect.NO_SCHEDULE)
    )


def covers(node: Node, spec: ServiceSpec, *, has: bool) -> bool:
    """Whether a global service shall have a task on `node`: one that is only closed to new tasks, paused or tainted so,
    keeps what it `has`."""
    if not has:
        return eligible(node, spec)
    paused = node.availability is Availability.PAUSED
    return (
        (paused or node.availability is Availability.ACTIVE) and node.status is NodeStatus.READY and suits(node, spec)
    )


def gives_up(node: Node, spec: ServiceSpec) -> bool:
    """Whether `node` shall have no task of a service: the user takes it out of service, or a taint drives it away."""
    return node.availability.gives_up or bool(minded(node.taints, spec.placement, TaintEffect.NO_EXECUTE))
