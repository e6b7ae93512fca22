"""What would have to change for a waiting task to fit: the nodes that miss least, and what of.

Each node is looked at with all filters, not only the first that refuses it. Nodes that lack the fewest things come
first, and what each lacks is told in numbers where it is one: so much cpu, so many bytes, so many devices.
Knows the same filters as placement; adds no rule of its own.
"""

import msgspec
import numpy as np

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.filters import filters_for
from longshore.decide.placement.table import NodeTable
from longshore.decide.placement.volumes import Ties
from longshore.model.spec import WHOLE_MILLIS
from longshore.model.views import NearMiss

MISSES_MAX = 3
"""Nodes that are told."""
_NO_RULE = ("node is", "not enough", "host port", "no host port")
"""How filters begin that say what a node has or is, and not what the service asks of its place."""
_MIB = 1024 * 1024


class _Lacking(msgspec.Struct, frozen=True):
    """What one node lacks."""

    row: int
    words: tuple[str, ...]
    """The filters that refuse it."""
    short: float
    """How much of cpu and memory is missing, in parts of what is asked."""


def nearest(table: NodeTable, ask: Ask, ties: Ties) -> tuple[NearMiss, ...]:
    """The nodes that are nearest to taking one more task, with what each would have to have."""
    filters = filters_for(table, ask)
    refused = {words: rule(table, ask) <= 0 for words, rule in filters.items()}
    found = []
    for row, name in enumerate(table.names):
        words = [tie.words for tie in ties if name not in tie.nodes]
        words += [word for word, rows in refused.items() if rows[row]]
        found.append(_Lacking(row, tuple(words), _short(table, ask, row)))
    found.sort(key=lambda one: (len(one.words), one.short, one.row))
    return tuple(
        NearMiss(node=table.names[one.row], lacks=tuple(_told(table, ask, one.row, word) for word in one.words))
        for one in found[:MISSES_MAX]
        if one.words
    )


def to_drop(table: NodeTable, ask: Ask, ties: Ties) -> str:
    """The rule of the service's own that alone keeps it from most nodes, as advice; empty if there is none."""
    refused = {words: rule(table, ask) <= 0 for words, rule in filters_for(table, ask).items()}
    others = [np.array([name not in tie.nodes for name in table.names], np.bool_) for tie in ties]
    count = np.sum([*refused.values(), *others], axis=0)
    alone = {
        words: int((rows & (count == 1)).sum()) for words, rows in refused.items() if not words.startswith(_NO_RULE)
    }
    best = max(alone, key=alone.__getitem__, default="")
    if not best or not alone[best]:
        return ""
    return f"{best!r} is all that keeps it from {alone[best]} {'node' if alone[best] == 1 else 'nodes'}"


def _short(table: NodeTable, ask: Ask, row: int) -> float:
    cpu = max(ask.cpu_millis - table.cpu_free.item(row), 0) / max(ask.cpu_millis, 1)
    memory = max(ask.memory - table.memory_free.item(row), 0) / max(ask.memory, 1)
    return float(cpu + memory)


def _told(table: NodeTable, ask: Ask, row: int, words: str) -> str:
    """A filter's words, with how much is missing where that is a number."""
    match words:
        case "not enough cpu":
            return f"{(ask.cpu_millis - table.cpu_free.item(row)) / 1000:g} more cpu"
        case "not enough memory":
            return f"{_mib(ask.memory - table.memory_free.item(row))} more memory"
        case "not enough disk":
            return f"{_mib(ask.disk - table.disk_free.item(row))} more disk"
    extra = ask.extra
    if extra is not None and words == "not enough pids":
        return f"{extra.pids - table.holdings.pids_free().item(row)} more pids"
    for name, count in extra.named if extra is not None else ():
        if words == f"not enough {name}":
            return f"{count - table.holdings.free(name).item(row)} more {name}"
    for name, need in extra.shares if extra is not None else ():
        if words == f"not enough {name}":
            most = int(table.holdings.devices(name)[row].max(initial=0))
            return f"{(need - most) / WHOLE_MILLIS:g} more of one {name}"
    return words


def _mib(count: int) -> str:
    return f"{-(-count // _MIB)} MiB" if count >= _MIB else f"{count} bytes"
