"""What the tasks on each node hold beyond cpu, memory, disk and ports, and whom they keep away.

Pids, named resources, and the very devices that a task was given; and the required anti-affinity of the tasks there,
which binds the others too. Kept beside the table, by row, for the few services that ask: a task that asks for none of
it costs nothing here. Knows nodes and what was counted; not which node is better.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from longshore.model.objects import Node
from longshore.model.spec import ServiceSpec

Counts = npt.NDArray[np.int64]
Named = tuple[tuple[str, int], ...]
Repelled = tuple[str, str]
"""A service, and over what tasks of it are kept away."""

PLENTY = 2**62
"""More than any need."""


class Extra(msgspec.Struct, frozen=True):
    """What of a task's spec counts here."""

    pids: int
    named: Named
    repels: tuple[Repelled, ...]


def extra_of(spec: ServiceSpec) -> Extra | None:
    """None for the many that hold and forbid nothing of it."""
    repels = tuple((one.service, one.over) for one in spec.placement.anti_affinity if one.weight is None)
    if not spec.resources.pids and not spec.resources.named and not repels:
        return None
    return Extra(spec.resources.pids, tuple(sorted(spec.resources.named.items())), repels)


class Holdings:
    """By row."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._pids: dict[int, int] = {}
        self._counted: dict[str, dict[int, int]] = {}
        self._given: dict[str, dict[int, set[str]]] = {}
        self._repelling: dict[Repelled, dict[int, int]] = {}
        self._free: dict[str, Counts] = {}
        """What was asked for, kept up to date."""

    def count(self, row: int, extra: Extra | None, devices: Mapping[str, Iterable[str]]) -> None:
        """Add what one task holds."""
        for name, ids in devices.items():
            self._given.setdefault(name, {}).setdefault(row, set()).update(ids)
        if extra is None:
            return
        self._pids[row] = self._pids.get(row, 0) + extra.pids
        for name, count in extra.named:
            counted = self._counted.setdefault(name, {})
            counted[row] = counted.get(row, 0) + count
        for repelled in extra.repels:
            rows = self._repelling.setdefault(repelled, {})
            rows[row] = rows.get(row, 0) + 1

    def take(self, row: int, extra: Extra | None) -> dict[str, tuple[str, ...]]:
        """Give one more task what it needs on a node that has it; the devices that are its own, the first free ones in
        the node's own order."""
        if extra is None:
            return {}
        devices = {
            name: self._devices_free(name, row)[:count]
            for name, count in extra.named
            if not isinstance(self._nodes[row].resources.get(name, 0), int)
        }
        self.count(row, extra, devices)
        for name, _ in extra.named:
            if name in self._free:
                self._free[name][row] = self._free_on(name, row)
        return devices

    def free(self, name: str) -> Counts:
        """How much of a named resource each node has left."""
        if name not in self._free:
            self._free[name] = np.array([self._free_on(name, row) for row in range(len(self._nodes))], np.int64)
        return self._free[name]

    def pids_free(self) -> Counts:
        """How many more processes each node has room for; plenty where nobody knows."""
        known = [node.capacity.pids for node in self._nodes]
        return np.array(
            [max(most - self._pids.get(row, 0), 0) if most else PLENTY for row, most in enumerate(known)], np.int64
        )

    def unclaimed(self, name: str, row: int) -> int:
        """How much of a named resource a node has that nobody holds; less than nothing where more is held than it
        has."""
        supply = self._nodes[row].resources.get(name, 0)
        return (supply if isinstance(supply, int) else len(supply)) - self._counted.get(name, {}).get(row, 0)

    def pids_unclaimed(self, row: int) -> int:
        """The same of processes."""
        most = self._nodes[row].capacity.pids
        return most - self._pids.get(row, 0) if most else PLENTY

    def repelled(self, service: str) -> dict[str, dict[int, int]]:
        """What keeps tasks of `service` away: how many such tasks each row has, by over what they keep it away."""
        return {over: rows for (whom, over), rows in sorted(self._repelling.items()) if whom == service}

    def _free_on(self, name: str, row: int) -> int:
        supply = self._nodes[row].resources.get(name, 0)
        if isinstance(supply, int):
            return max(supply - self._counted.get(name, {}).get(row, 0), 0)
        return len(self._devices_free(name, row))

    def _devices_free(self, name: str, row: int) -> tuple[str, ...]:
        supply = self._nodes[row].resources.get(name, 0)
        assert not isinstance(supply, int), "devices are asked of nodes that have them"
        given = self._given.get(name, {}).get(row, set())
        return tuple(device for device in supply if device not in given)
