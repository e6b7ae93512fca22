"""What a placement constraint means: one comparison with a node's name or with one of its labels.

Knows a node and a text; no tasks, no table, nothing of room. Admission refuses through `parse` whatever could not be
read here later, and the services controller asks `eligible` which nodes a global service covers, so that a constraint
means the same at every door.
"""

import functools
import re

import msgspec

from longshore.model.errors import Invalid
from longshore.model.objects import Availability, Node, NodeStatus
from longshore.model.spec import ServiceSpec

NODE_NAME = "node.name"
NODE_LABEL = "node.labels."

# The first operator splits, so a value may hold anything but begin with '=': `a===b` is a slip of the finger.
_GRAMMAR = re.compile(r"\s*(?P<key>[^\s=!]+)\s*(?P<operator>==|!=)\s*(?P<value>[^\s=].*?)\s*", re.DOTALL)


class Constraint(msgspec.Struct, frozen=True):
    """`key` of a node must (or, if `negated`, must not) be `value`."""

    key: str
    """`node.name`, or `node.labels.` and a label's key."""
    value: str
    negated: bool = False

    def __str__(self) -> str:
        return f"{self.key}{'!=' if self.negated else '=='}{self.value}"

    def holds(self, node: Node) -> bool:
        """Whether it holds on `node`. A label that the node does not have differs from every value."""
        if self.key == NODE_NAME:
            found: str | None = node.name
        else:
            found = node.labels.get(self.key.removeprefix(NODE_LABEL))
        return (found == self.value) is not self.negated


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Constraint:
    """The constraint that `text` writes. Raises Invalid, in words, for what could not hold or fail to hold."""
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        raise Invalid(f"constraint {text!r} is not of the form node.labels.KEY==VALUE; use == or != between two words")
    key = found["key"]
    if key != NODE_NAME and not (key.startswith(NODE_LABEL) and key != NODE_LABEL):
        raise Invalid(f"constraint {text!r} is about {key!r}; use node.name or node.labels.KEY")
    return Constraint(key, found["value"], negated=found["operator"] == "!=")


def eligible(node: Node, spec: ServiceSpec) -> bool:
    """Whether a global service of `spec` should have a task on `node`: the user lets it take tasks, it answers, and
    every constraint holds. Room is not asked: a task that finds none waits there and says so."""
    return (
        node.availability is Availability.ACTIVE
        and node.status is NodeStatus.READY
        and all(parse(text).holds(node) for text in spec.placement.constraints)
    )
