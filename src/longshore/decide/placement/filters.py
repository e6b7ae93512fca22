"""Where a task cannot go, and why: each filter's name is the explanation that the user reads.

A filter returns room per node: how many more tasks that ask the same fit there by its rule alone; zero refuses. Room
instead of yes or no is what makes a class of identical tasks one pass. A node is blamed once, on the first filter that
refuses it. Knows no task but by what it asks and the nodes it is tied to; which node is better is a policy's.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import islice

import msgspec
import numpy as np

from longshore.decide.placement.ask import Ask, HostPort
from longshore.decide.placement.constraints import Constraint
from longshore.decide.placement.holdings import PLENTY as PLENTY
from longshore.decide.placement.hostports import CHOSEN_FIRST, CHOSEN_LAST
from longshore.decide.placement.rules import rule_filters, taint_filters
from longshore.decide.placement.table import Counts, Mask, NodeTable
from longshore.decide.placement.volumes import Ties
from longshore.model.views import Verdict

NO_NODES = "no nodes have joined yet"
NAMES_MAX = 5
"""Nodes that a sentence names for each filter."""

Filter = Callable[[NodeTable, Ask], Counts]
Rows = int | Counts


def _up(table: NodeTable, ask: Ask) -> Counts:
    return _plenty_where(table.up)


def _heard(table: NodeTable, ask: Ask) -> Counts:
    return _plenty_where(table.heard)


def _active(table: NodeTable, ask: Ask) -> Counts:
    return _plenty_where(table.active)


def _constraint(table: NodeTable, ask: Ask, constraint: Constraint) -> Counts:
    return _plenty_where(table.holds(constraint))


def _platform(table: NodeTable, ask: Ask) -> Counts:
    return _plenty_where(np.logical_and.reduce([table.holds(one) for one in ask.platform]))


def _cpu(table: NodeTable, ask: Ask) -> Counts:
    return _shares(table.cpu_free, ask.cpu_millis)


def _memory(table: NodeTable, ask: Ask) -> Counts:
    return _shares(table.memory_free, ask.memory)


def _disk(table: NodeTable, ask: Ask) -> Counts:
    return _shares(table.disk_free, ask.disk)


def _pids(table: NodeTable, ask: Ask) -> Counts:
    return _shares(table.holdings.pids_free(), ask.extra.pids if ask.extra is not None else 0)


def _named(table: NodeTable, ask: Ask, name: str, count: int) -> Counts:
    return _shares(table.holdings.free(name), count)


def _share(table: NodeTable, ask: Ask, name: str, need: int) -> Counts:
    room: Counts = (table.holdings.devices(name) // need).sum(axis=1)
    return room


def _fixed_port(table: NodeTable, ask: Ask, port: HostPort) -> Counts:
    return table.ports.machines_without(port)[table.machine].astype(np.int64)


def _chosen_ports(table: NodeTable, ask: Ask) -> Counts:
    return table.ports.room_to_choose(ask)[table.machine]


def _plenty_where(mask: Mask) -> Counts:
    return mask * np.int64(PLENTY)


def _shares(free: Counts, need: int) -> Counts:
    """How many times `need` is in what is free. No need fits everywhere, even where nothing is left."""
    return free // need if need else np.full_like(free, PLENTY)


def filters_for(table: NodeTable, ask: Ask) -> dict[str, Filter]:
    """The filters that `ask` has to pass, by their explanation, in the order in which they may take the blame."""
    filters: dict[str, Filter] = {
        "node is down": _up,
        "node is silent": _heard,
        "node is paused or drained": _active,
    }
    for constraint in ask.constraints:
        filters[f"constraint {constraint}"] = partial(_constraint, constraint=constraint)
    if ask.platform:
        filters[f"platform {ask.rules.platform}"] = _platform
    filters |= taint_filters(table, ask)
    filters |= {"not enough cpu": _cpu, "not enough memory": _memory}
    if ask.disk:
        filters["not enough disk"] = _disk
    if ask.extra is not None:
        filters |= {"not enough pids": _pids} if ask.extra.pids else {}
        for name, count in ask.extra.named:
            filters[f"not enough {name}"] = partial(_named, name=name, count=count)
        for name, need in ask.extra.shares:
            filters[f"not enough {name}"] = partial(_share, name=name, need=need)
    return filters | rule_filters(table, ask) | _port_filters(ask)


def _port_filters(ask: Ask) -> dict[str, Filter]:
    filters: dict[str, Filter] = {}
    for port in ask.fixed:
        filters[f"host port {port[0]}/{port[1]} in use"] = partial(_fixed_port, port=port)
    if ask.chosen:
        filters[f"no host port free from {CHOSEN_FIRST} to {CHOSEN_LAST}"] = _chosen_ports
    return filters


def _cpu_left(table: NodeTable, ask: Ask, rows: Rows) -> Mask:
    return table.cpu_free[rows] >= ask.cpu_millis


def _memory_left(table: NodeTable, ask: Ask, rows: Rows) -> Mask:
    return table.memory_free[rows] >= ask.memory


def _disk_left(table: NodeTable, ask: Ask, rows: Rows) -> Mask:
    return table.disk_free[rows] >= ask.disk


def still_fits(table: NodeTable, ask: Ask, rows: Rows) -> Mask:
    """Whether nodes that had room when all filters were asked have some still, after tasks that were put there since:
    those filters again that such a task makes refuse. Of one row or of several."""
    left = _cpu_left(table, ask, rows) & _memory_left(table, ask, rows)
    if ask.disk:
        left &= _disk_left(table, ask, rows)
    if ask.ports:
        machines = table.machine[rows]
        left &= table.ports.fit(machines, ask)
    return left


def reaches_others(table: NodeTable, ask: Ask) -> bool:
    """Whether a task on one node changes what others are to tasks of `ask`. Then all filters are asked each time."""
    return bool(ask.ports) and table.machines_are_shared


class Sieve(msgspec.Struct, frozen=True):
    """What the filters leave of a table for one ask."""

    words: tuple[str, ...]
    """The filters, in order."""
    room: Counts
    """How many more tasks fit on each node; zero where it is refused."""
    refused_by: Counts
    """The first filter that refuses each node; the number of filters if none does."""

    def verdicts(self, table: NodeTable, ties: Ties) -> tuple[Verdict, ...]:
        """Which filter refuses which nodes, for a task with these ties. The nearest miss comes first: what the nodes
        lacked that passed most other filters; those outside its ties come last."""
        left, outside = _within(table, ties), []
        for place, tie in enumerate(ties):
            nodes = [name for name in table.names if name not in tie.nodes]
            earlier = [one.nodes for one in ties[:place]]
            blamed = tuple(name for name in nodes if all(name in one for one in earlier))
            outside.append(Verdict(filter=tie.words, nodes=blamed))
        refused: list[list[str]] = [[] for _ in (*self.words, "none")]
        for name, place, is_left in zip(table.names, self.refused_by.tolist(), left.tolist(), strict=True):
            if is_left:
                refused[place].append(name)
        inside = [
            Verdict(filter=words, nodes=tuple(nodes))
            for words, nodes in reversed([*zip(self.words, refused, strict=False)])
        ]
        return tuple(verdict for verdict in (*inside, *reversed(outside)) if verdict.nodes)

    def sentence(self, table: NodeTable, ties: Ties) -> str:
        """What `no_node` says of the verdicts, without writing down all nodes: a task may be tied to one of thousands,
        and thousands of such tasks may wait."""
        rows = np.array(rows_within(table, ties), np.int64) if ties else np.arange(len(table))
        refused_by = self.refused_by[rows]
        parts = []
        for place, words in reversed([*enumerate(self.words)]):
            those = rows[refused_by == place]
            parts.append((words, [table.names[row] for row in those[:NAMES_MAX].tolist()], len(those)))
        for place, tie in reversed([*enumerate(ties)]):
            if place:
                left = frozenset.intersection(*(one.nodes for one in ties[:place])) - tie.nodes
                names = sorted(name for name in left if name in table.row_of)
                parts.append((tie.words, names[:NAMES_MAX], len(names)))
            else:
                others = (name for name in table.names if name not in tie.nodes)
                count = len(table) - sum(name in table.row_of for name in tie.nodes)
                parts.append((tie.words, [*islice(others, NAMES_MAX)], count))
        return _sentence([part for part in parts if part[2]], len(table))

    def refusal(self, table: NodeTable, ask: Ask, ties: Ties) -> tuple[str, float | None]:
        """Why no node takes a task with these ties, and when a host port that another program held is to be tried
        again."""
        machines = self._machines_without_port(table, ask, ties)
        return self.sentence(table, ties), table.ports.free_again(machines, ask)

    def _machines_without_port(self, table: NodeTable, ask: Ask, ties: Ties) -> frozenset[int]:
        """The machines of nodes that lack a host port and nothing else."""
        if not ask.ports:
            return frozenset()
        first = len(self.words) - len(_port_filters(ask))
        lacking = (self.refused_by >= first) & (self.refused_by < len(self.words)) & _within(table, ties)
        return frozenset(table.machine[lacking].tolist())


def rows_within(table: NodeTable, ties: Ties) -> list[int]:
    """The rows that a task with these ties, at least one, may go to; in order."""
    names = frozenset.intersection(*(tie.nodes for tie in ties))
    return sorted(table.row_of[name] for name in names if name in table.row_of)


def _within(table: NodeTable, ties: Ties) -> Mask:
    if not ties:
        return np.ones(len(table), np.bool_)
    left = np.zeros(len(table), np.bool_)
    left[rows_within(table, ties)] = True
    return left


def sieve(table: NodeTable, ask: Ask, without: Collection[str] = ()) -> Sieve:
    """Put all nodes through all filters, `without` some. The ties, which are a task's own, are left to the caller."""
    filters = {words: rule for words, rule in filters_for(table, ask).items() if words not in without}
    room = np.full(len(table), PLENTY, np.int64)
    refused_by = np.full(len(table), len(filters), np.int64)
    for place, rule in reversed([*enumerate(filters.values())]):
        left = rule(table, ask)
        refused_by[left <= 0] = place
        room = np.minimum(room, left)
    return Sieve(tuple(filters), room, refused_by)


def no_node(verdicts: Sequence[Verdict], nodes: int) -> str:
    """Why no node takes a task, in a sentence."""
    return _sentence([(one.filter, one.nodes[:NAMES_MAX], len(one.nodes)) for one in verdicts], nodes)


def _sentence(refusals: Sequence[tuple[str, Sequence[str], int]], nodes: int) -> str:
    """Filters with the first nodes that each refuses, and how many those are."""
    if not nodes:
        return NO_NODES
    reasons = ", ".join(f"{words} ({_listed(names, count)})" for words, names, count in refusals)
    return f"0 of {nodes} {'node' if nodes == 1 else 'nodes'}: {reasons}"


def _listed(names: Sequence[str], count: int) -> str:
    shown = ", ".join(names)
    return f"{shown} and {count - NAMES_MAX} more" if count > NAMES_MAX else shown
