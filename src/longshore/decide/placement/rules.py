"""What rules about neighbours come to: affinity, even spread, taints and preferences, as room and as points.

Required rules are filters, with the words that a user reads; those with a weight give each node whole points, and the
node with most points is taken before any policy is asked. A domain is the nodes whose `over` is equal; a node without
that label is in none. Says as well which rules of a service bear on other nodes once one of its tasks has a place
(`reaching`), so that `place` asks those anew. Knows where tasks are; nothing of cpu, memory or ports.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.constraints import NODE_LABEL, Constraint, minded
from longshore.decide.placement.holdings import PLENTY
from longshore.decide.placement.whom import Whom, whom_of
from longshore.model.objects import Node
from longshore.model.placing import NODE_NAME, Affinity, Spread, Taint, TaintEffect

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

TAINT_POINTS = 100
"""What a taint with PreferNoSchedule weighs: as much as the greatest weight of a preference."""


class Domains(msgspec.Struct, frozen=True):
    """Which nodes are one."""

    of_row: Counts
    """The number of each row's domain; the last number, which no domain has, where it is in none."""
    count: int

    def sums(self, column: Counts) -> Counts:
        """What the rows of each domain come to; one more for rows in none."""
        return np.bincount(self.of_row, weights=column, minlength=self.count + 1).astype(np.int64)

    @property
    def inside(self) -> Mask:
        """The rows that are in a domain."""
        return self.of_row < self.count


class Peers(Protocol):
    """Where others are."""

    def of(self, whom: Whom, /) -> Counts: ...

    def sums(self, whom: Whom, over: str, /) -> Counts: ...

    def there(self, whom: Whom, over: str, /) -> Counts: ...


class Table(Protocol):
    """What of the nodes these rules look at."""

    @property
    def nodes(self) -> Sequence[Node]: ...

    def holds(self, constraint: Constraint, /) -> Mask: ...

    def domains(self, over: str, /) -> Domains: ...

    def of_service(self, service: str, /) -> Counts: ...

    def repelled(self, ask: Ask, /) -> Mapping[str, Mapping[int, int]]: ...

    @property
    def peers(self) -> Peers: ...

    def open_domains(self, ask: Ask, over: str, /) -> Mask: ...

    @property
    def tainted(self) -> tuple[int, ...]: ...


Filter = Callable[[Table, Ask], Counts]


def domains_of(nodes: Iterable[Node], over: str) -> Domains:
    """The domains of some nodes, numbered in order of row."""
    number_of: dict[str, int] = {}
    found: list[int] = []
    for node in nodes:
        value = node.name if over == NODE_NAME else node.labels.get(over.removeprefix(NODE_LABEL))
        found.append(-1 if value is None else number_of.setdefault(value, len(number_of)))
    numbers = np.array(found, np.int64)
    return Domains(np.where(numbers < 0, len(number_of), numbers), len(number_of))


# -- required


def taint_filters(table: Table, ask: Ask) -> dict[str, Filter]:
    """One for each taint that some node has and the service does not tolerate."""
    effects = (TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE)
    tainted = [table.nodes[row] for row in table.tainted]
    found = {taint for node in tainted for taint in minded(node.taints, ask.rules, *effects)}
    return {f"taint {taint}": partial(_untainted, taint=taint) for taint in sorted(found, key=str)}


def rule_filters(table: Table, ask: Ask) -> dict[str, Filter]:
    """The filters about other tasks, by their explanation."""
    filters: dict[str, Filter] = {}
    if ask.rules.per_node_max is not None:
        filters[f"{ask.rules.per_node_max} of {ask.service} there already"] = _per_node
    for one in _required(ask.rules.affinity):
        filters[_near_words(one)] = partial(_near, affinity=one)
    for one in _required(ask.rules.anti_affinity):
        filters[_apart_words(one)] = partial(_apart, affinity=one)
    for over in table.repelled(ask):
        filters[f"others there keep {ask.service} away by {over}"] = partial(_repelled, over=over)
    for spread in ask.rules.spread:
        if spread.skew_max is not None:
            filters[_even_words(spread)] = partial(_even, spread=spread, skew_max=spread.skew_max)
    return filters


def reaching(table: Table, ask: Ask) -> dict[str, Filter]:
    """Those of them by which one more task of the service may change the room of other nodes than its own."""
    near = [one for one in _required(ask.rules.affinity) if _means_itself(ask, one)]
    apart = [one for one in _required(ask.rules.anti_affinity) if _means_itself(ask, one) and one.over != NODE_NAME]
    words = [_near_words(one) for one in near] + [_apart_words(one) for one in apart]
    words += [_even_words(one) for one in ask.rules.spread if one.skew_max is not None]
    filters = rule_filters(table, ask) if words else {}
    return {one: filters[one] for one in words}


def has_rules(table: Table, ask: Ask) -> bool:
    """Whether the service has rules about others, or they about it, or nodes are liked for anything."""
    rules = ask.rules
    own = rules.per_node_max is not None or rules.affinity or rules.anti_affinity or rules.spread or ask.preferred
    return bool(own or table.repelled(ask) or _is_anybody_disliked(table))


def _is_anybody_disliked(table: Table) -> bool:
    return any(one.effect is TaintEffect.PREFER_NO_SCHEDULE for row in table.tainted for one in table.nodes[row].taints)


def _near_words(one: Affinity) -> str:
    return f"not near {whom_of(one)} by {one.over}"


def _apart_words(one: Affinity) -> str:
    return f"not apart from {whom_of(one)} by {one.over}"


def _even_words(one: Spread) -> str:
    return f"uneven by {one.over}, over {one.skew_max} more than elsewhere"


def _means_itself(ask: Ask, one: Affinity) -> bool:
    """Whether a rule of the service's own is about its own tasks, too."""
    return whom_of(one).covers(ask.service, ask.labels)


def waits_for_others(ask: Ask) -> bool:
    """Whether a task that finds no room may find some once another was placed."""
    return bool(_required(ask.rules.affinity)) or any(one.skew_max is not None for one in ask.rules.spread)


def _required(affinities: Iterable[Affinity]) -> list[Affinity]:
    return [one for one in affinities if one.weight is None]


def _untainted(table: Table, ask: Ask, taint: Taint) -> Counts:
    room = np.full(len(table.nodes), PLENTY, np.int64)
    room[[row for row in table.tainted if taint in table.nodes[row].taints]] = 0
    return room


def _per_node(table: Table, ask: Ask) -> Counts:
    assert ask.rules.per_node_max is not None
    return np.maximum(ask.rules.per_node_max - table.of_service(ask.service), 0)


def _near(table: Table, ask: Ask, affinity: Affinity) -> Counts:
    """Where the domain has one already. Of tasks that are to be near one another, the first may go anywhere; where one
    of them is to come, it goes there."""
    domains, whom = table.domains(affinity.over), whom_of(affinity)
    sums = table.peers.there(whom, affinity.over)
    if _means_itself(ask, affinity) and not sums.any():
        sums = table.peers.sums(whom, affinity.over)
        if not sums.any():
            return domains.inside * np.int64(PLENTY)
    return ((sums > 0)[domains.of_row] & domains.inside) * np.int64(PLENTY)


def _apart(table: Table, ask: Ask, affinity: Affinity) -> Counts:
    """Where the domain has none yet. A node in no domain is apart from all."""
    domains = table.domains(affinity.over)
    free = (table.peers.sums(whom_of(affinity), affinity.over) == 0)[domains.of_row] | ~domains.inside
    room = 1 if _means_itself(ask, affinity) else PLENTY
    column: Counts = np.where(domains.inside, free * np.int64(room), PLENTY)
    return column


def _repelled(table: Table, ask: Ask, over: str) -> Counts:
    domains = table.domains(over)
    free = (domains.sums(_column(table, table.repelled(ask)[over])) == 0)[domains.of_row] | ~domains.inside
    column: Counts = free * np.int64(PLENTY)
    return column


def _even(table: Table, ask: Ask, spread: Spread, skew_max: int) -> Counts:
    """Where one more does not exceed the domain with fewest by more than the skew. Domains in which no node would take
    the service, whatever room it has, are not counted: nothing can be evened out there."""
    domains = table.domains(spread.over)
    sums = table.peers.sums(Whom(ask.service), spread.over)[: domains.count]
    open = table.open_domains(ask, spread.over)
    there = table.peers.there(Whom(ask.service), spread.over)[: domains.count]
    fewest = int(there[open].min()) if open.any() else 0
    room: Counts = np.append(np.maximum(fewest + skew_max - sums, 0), 0)
    column: Counts = room[domains.of_row]
    return column


# -- preferred


def points(table: Table, ask: Ask) -> Counts | None:
    """What weights come to on each node; None if there are none, which is equal everywhere."""
    found: list[Counts] = [table.holds(constraint) * np.int64(weight) for constraint, weight in ask.preferred]
    signed = [(1, one) for one in ask.rules.affinity] + [(-1, one) for one in ask.rules.anti_affinity]
    found += [_has(table, one) * np.int64(sign * one.weight) for sign, one in signed if one.weight is not None]
    found += [_lean(table, ask, spread) for spread in ask.rules.spread if spread.skew_max is None]
    if _is_anybody_disliked(table):
        found.append(_disliked(table, ask))
    return sum(found, np.zeros(len(table.nodes), np.int64)) if found else None


def points_move(ask: Ask) -> bool:
    """Whether one more task of the service changes what weights come to."""
    affinities = (*ask.rules.affinity, *ask.rules.anti_affinity)
    soft = any(one.weight is not None and _means_itself(ask, one) for one in affinities)
    return soft or any(one.skew_max is None for one in ask.rules.spread)


def foremost(scores: npt.NDArray[np.float64], points: Counts | None) -> npt.NDArray[np.float64]:
    """The scores of those with most points alone; where there is no room, a score is minus infinity already."""
    if points is None:
        return scores
    open = scores > -np.inf
    return np.where(points == points[open].max(), scores, -np.inf) if open.any() else scores


def _has(table: Table, affinity: Affinity) -> Mask:
    domains = table.domains(affinity.over)
    return (table.peers.there(whom_of(affinity), affinity.over) > 0)[domains.of_row] & domains.inside


def _lean(table: Table, ask: Ask, spread: Spread) -> Counts:
    """Less for each task that the domain has. Nodes without the label are a domain of their own."""
    domains = table.domains(spread.over)
    return (table.peers.sums(Whom(ask.service), spread.over) * np.int64(-spread.weight))[domains.of_row]


def _disliked(table: Table, ask: Ask) -> Counts:
    found = np.zeros(len(table.nodes), np.int64)
    for row in table.tainted:
        taints = table.nodes[row].taints
        found[row] = -TAINT_POINTS * len(minded(taints, ask.rules, TaintEffect.PREFER_NO_SCHEDULE))
    return found


def _column(table: Table, rows: Mapping[int, int]) -> Counts:
    counts = np.zeros(len(table.nodes), np.int64)
    for row, count in rows.items():
        counts[row] = count
    return counts
