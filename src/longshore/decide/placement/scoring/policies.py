"""A policy by its name, or by the weights that somebody wrote: `spread=2,image=1`.

Weights add up parts that are each from 0 to 1, so that one can read off what they trade: a part with twice the weight
counts twice. Some parts look at what happened, or is wished for, rather than at what is free, so a policy is bound to a
class of tasks before it scores; that does not change while tasks are placed. Knows the formulas of `scores`, and no
filter. Rules with weights of their own are not among the parts: they come before any policy.
"""

import re
from functools import lru_cache
from typing import Protocol

import msgspec
import numpy as np

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.scoring.fragments import Fragments, shapes_of
from longshore.decide.placement.scoring.past import Past
from longshore.decide.placement.scoring.scores import POLICIES, F, Figures, Policy, aligned, numbers
from longshore.decide.placement.scoring.scores import policy_named as built_in
from longshore.decide.placement.table import NodeTable, Vector
from longshore.model.errors import Invalid
from longshore.model.snapshot import Snapshot

FAILED_S = 600.0
"""For so long a node is less liked for a failure of the service there."""
WEIGHT_MAX = 1000.0
_WEIGHT = re.compile(r"\s*([a-z]+)\s*=\s*([0-9]{1,4}(?:\.[0-9]{1,6})?)\s*")
_EPVM, _BINPACK = POLICIES["epvm"], POLICIES["binpack"]


class Traces(msgspec.Struct, frozen=True):
    """What happened on each node, by row."""

    image: Vector
    """1 where a task with the same image was started."""
    failures: Vector
    """Tasks of the service that failed there lately."""
    fragments: Fragments | None = None


class Part(Protocol):
    """From 0 to 1, of all nodes or of one."""

    def __call__(self, figures: Figures[F], ask: Ask, traces: Traces, /) -> F: ...


def _few(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    return 1 / (figures.of_service + 1)


def _packed(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    return _BINPACK.score(figures, ask)


def _aligned(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    return aligned(figures, ask)


def _free(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    return figures.free()


def _cheap(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    return 1 / (1 - _EPVM.score(figures, ask))


def _idle(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    return 1 - figures.busy


def _image(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    return _at(traces.image, figures.row)


def _steady(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    return 1 / (_at(traces.failures, figures.row) + 1)


def _eased(figures: Figures[F], ask: Ask, traces: Traces) -> F:
    assert traces.fragments is not None, "a policy is bound before it scores"
    row, cpu_free, memory_free = (np.atleast_1d(one) for one in (figures.row, figures.cpu_free, figures.memory_free))
    eased = traces.fragments.eased(ask, row.astype(np.int64), cpu_free, memory_free)
    if isinstance(figures.row, np.ndarray):
        return (eased + 1) / 2
    return (eased.item() + 1) / 2


def _at(column: Vector, row: F) -> F:
    if isinstance(row, np.ndarray):
        return column[row.astype(np.int64)]
    return column.item(int(row))


PARTS: dict[str, Part] = {
    "spread": _few,
    "binpack": _packed,
    "alignment": _aligned,
    "free": _free,
    "epvm": _cheap,
    "load": _idle,
    "image": _image,
    "steady": _steady,
    "fragmentation": _eased,
}
"""Few tasks of the service; little left free; free in the proportion of the need; much free; little rise in cost; idle
cpu; the image is there; the service did not fail there lately; fewer devices are wasted on the tasks to come."""
_MEASURED = "load"
_TRACED = ("image", "steady")


class _Sum(msgspec.Struct, frozen=True):
    """Parts and their weights, for one class of tasks."""

    weights: tuple[tuple[str, float], ...]
    traces: Traces

    def score(self, figures: Figures[F], ask: Ask) -> F:
        total = PARTS[self.weights[0][0]](figures, ask, self.traces) * self.weights[0][1]
        for name, weight in self.weights[1:]:
            total = total + PARTS[name](figures, ask, self.traces) * weight
        return total

    def words(self, figures: Figures[float], ask: Ask) -> str:
        shown = (f"{name} {PARTS[name](figures, ask, self.traces):.2f}" for name, _ in self.weights)
        return f"scores {self.score(figures, ask):.2f}: {', '.join(shown)}"


class Weighted(Policy, frozen=True):
    """A policy that is made of parts."""

    sum: _Sum | None = None


_NOTHING = Traces(np.zeros(0), np.zeros(0))


def policy_named(text: str) -> Policy:
    """The policy that a name or weights say. Raises Invalid, and names those there are."""
    return built_in(text) if "=" not in text else _weighing(text)


@lru_cache(maxsize=256)
def _weighing(text: str) -> Policy:
    weights: dict[str, float] = {}
    for item in text.split(","):
        found = _WEIGHT.fullmatch(item)
        if found is None or found[1] not in PARTS:
            raise Invalid(f"{item.strip()!r} is no weight of a policy; write PART=WEIGHT, with {', '.join(PARTS)}")
        if found[1] in weights or not 0 < float(found[2]) <= WEIGHT_MAX:
            raise Invalid(f"{item.strip()!r}: each part has one weight, over 0 and up to {WEIGHT_MAX:g}")
        weights[found[1]] = float(found[2])
    return _weighted(_Sum(tuple(weights.items()), _NOTHING))


def _weighted(sum: _Sum) -> Weighted:
    name = ",".join(f"{part}={weight:g}" for part, weight in sum.weights)
    parts = {part for part, _ in sum.weights}
    return Weighted(name, sum.score, sum.words, measures=_MEASURED in parts, crowds="epvm" in parts, sum=sum)


def bound(policy: Policy, world: Snapshot, now: float, table: NodeTable, ask: Ask, past: Past | None = None) -> Policy:
    """`policy` for one class of tasks. `past` is put right, not read anew."""
    if not isinstance(policy, Weighted) or policy.sum is None:
        return policy
    weights = policy.sum.weights
    parts = {name for name, _ in weights}
    empty = np.zeros(len(table), np.float64)
    past = Past() if past is None else past
    if not parts.isdisjoint(_TRACED):
        past.see(world)
    traces = Traces(
        image=_with_image(past, table, ask.image) if "image" in parts else empty,
        failures=_failures(past, now, table, ask.service) if "steady" in parts else empty,
        fragments=Fragments(world.services.derive(shapes_of), table) if "fragmentation" in parts else None,
    )
    return _weighted(_Sum(weights, traces))


def parts_of(policy: Policy, table: NodeTable, ask: Ask, row: int) -> dict[str, float]:
    """What each part gives one node; nothing for a policy that is one formula."""
    if not isinstance(policy, Weighted) or policy.sum is None:
        return {}
    figures, sum = numbers(table, ask, row), policy.sum
    return {name: PARTS[name](figures, ask, sum.traces) * weight for name, weight in sum.weights}


def _with_image(past: Past, table: NodeTable, image: str) -> Vector:
    found = np.zeros(len(table), np.float64)
    found[[table.row_of[name] for name in past.started(image) if name in table.row_of]] = 1.0
    return found


def _failures(past: Past, now: float, table: NodeTable, service: str) -> Vector:
    found = np.zeros(len(table), np.float64)
    for name, at in past.failed(service):
        if at > now - FAILED_S and name in table.row_of:
            found[table.row_of[name]] += 1.0
    return found
