"""What the tasks on each node hold beyond cpu, memory, disk and ports, and whom they keep away.

Pids, named resources, and the very devices that a task was given; and the required anti-affinity of the tasks there,
which binds the others too. Kept beside the table, by row, for the few services that ask: a task that asks for none of
it costs nothing here. Knows nodes and what was counted; not which node is better.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from longshore.decide.placement.whom import Labels, Whom, whom_of
from longshore.model.objects import Node
from longshore.model.spec import WHOLE_MILLIS, ServiceSpec

Counts = npt.NDArray[np.int64]
Named = tuple[tuple[str, int], ...]
Repelled = tuple[Whom, str]
"""Some tasks, and over what they are kept away."""

PLENTY = 2**62
"""More than any need."""


class Extra(msgspec.Struct, frozen=True):
    """What of a task's spec counts here."""

    pids: int
    named: Named
    repels: tuple[Repelled, ...]
    shares: Named = ()
    """Thousandths of one device."""

    @property
    def given(self) -> Named:
        """What a task may be given devices of."""
        return (*self.named, *self.shares)


def extra_of(spec: ServiceSpec) -> Extra | None:
    """None for the many that hold and forbid nothing of it."""
    need = spec.resources
    repels = tuple((whom_of(one), one.over) for one in spec.placement.anti_affinity if one.weight is None)
    if not need.pids and not need.named and not need.shares and not repels:
        return None
    shares = tuple((name, need.millis_of(name)) for name in sorted(need.shares))
    return Extra(need.pids, tuple(sorted(need.named.items())), repels, shares)


class Holdings:
    """By row."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._pids: dict[int, int] = {}
        self._counted: dict[str, dict[int, int]] = {}
        self._given: dict[str, dict[int, dict[str, int]]] = {}
        """Thousandths of each device that was given."""
        self._parted: dict[str, dict[int, set[str]]] = {}
        """The devices that were given in part."""
        self._repelling: dict[str, dict[Repelled, dict[int, int]]] = {}
        """By the name of the service that is kept away; those that are chosen by labels have none."""
        self._free: dict[str, Counts] = {}
        """What was asked for, kept up to date."""
        self._devices: dict[str, Counts] = {}
        """The same of devices."""

    def count(self, row: int, extra: Extra | None, devices: Mapping[str, Iterable[str]]) -> None:
        """Add what one task holds."""
        shares = dict(extra.shares) if extra is not None else {}
        for name, ids in devices.items():
            given = self._given.setdefault(name, {}).setdefault(row, {})
            for id in ids:
                given[id] = given.get(id, 0) + shares.get(name, WHOLE_MILLIS)
            if name in shares:
                self._parted.setdefault(name, {}).setdefault(row, set()).update(ids)
        if extra is None:
            return
        self._pids[row] = self._pids.get(row, 0) + extra.pids
        for name, count in extra.named:
            counted = self._counted.setdefault(name, {})
            counted[row] = counted.get(row, 0) + count
        for repelled in extra.repels:
            rows = self._repelling.setdefault(repelled[0].service, {}).setdefault(repelled, {})
            rows[row] = rows.get(row, 0) + 1

    def take(self, row: int, extra: Extra | None) -> dict[str, tuple[str, ...]]:
        """Give one more task what it needs on a node that has it, or is to have it; the devices that are its own, the
        first free ones in the node's own order; of one in part that of which least is free."""
        if extra is None:
            return {}
        devices = {
            name: tuple(id for id, millis in self._parts_of(name, row).items() if millis == WHOLE_MILLIS)[:count]
            for name, count in extra.named
            if not isinstance(self._nodes[row].resources.get(name, 0), int)
        }
        for name, need in extra.shares:
            parts = self._parts_of(name, row)
            enough = [id for id, millis in parts.items() if millis >= need]
            devices[name] = (min(enough, key=parts.__getitem__),) if enough else ()
        self.count(row, extra, devices)
        for name in devices:
            if name in self._devices:
                parts = self._parts_of(name, row)
                self._devices[name][row, : len(parts)] = [*parts.values()]
        for name, _ in extra.given:
            if name in self._free:
                self._free[name][row] = self._free_on(name, row)
        return devices

    def free(self, name: str) -> Counts:
        """How much of a named resource each node has left; of devices those that are wholly free."""
        if name not in self._free:
            self._free[name] = np.array([self._free_on(name, row) for row in range(len(self._nodes))], np.int64)
        return self._free[name]

    def devices(self, name: str) -> Counts:
        """Thousandths that are free of each device, in the nodes' own order; zero where there is none. To read."""
        if name not in self._devices:
            parts = [[*self._parts_of(name, row).values()] for row in range(len(self._nodes))]
            most = max(map(len, parts), default=0)
            found = [one + [0] * (most - len(one)) for one in parts]
            self._devices[name] = np.array(found, np.int64).reshape(len(parts), most)
        return self._devices[name]

    def pids_free(self) -> Counts:
        """How many more processes each node has room for; plenty where nobody knows."""
        known = [node.capacity.pids for node in self._nodes]
        return np.array(
            [max(most - self._pids.get(row, 0), 0) if most else PLENTY for row, most in enumerate(known)], np.int64
        )

    def unclaimed(self, name: str, row: int) -> int:
        """How much of a named resource a node has that nobody holds, in whole or in part; less than nothing where more
        is held than it has."""
        supply = self._nodes[row].resources.get(name, 0)
        count = supply if isinstance(supply, int) else len(supply) - len(self._parted.get(name, {}).get(row, ()))
        return count - self._counted.get(name, {}).get(row, 0)

    def pids_unclaimed(self, row: int) -> int:
        """The same of processes."""
        most = self._nodes[row].capacity.pids
        return most - self._pids.get(row, 0) if most else PLENTY

    def repelled(self, service: str, labels: Labels) -> dict[str, Counter[int]]:
        """What keeps tasks of `service` with these labels away: how many such tasks each row has, by over what they
        keep it away."""
        found: dict[str, Counter[int]] = {}
        for name in (service, "") if self._repelling else ():
            for (whom, over), rows in self._repelling.get(name, {}).items():
                if whom.covers(service, labels):
                    found.setdefault(over, Counter()).update(rows)
        return dict(sorted(found.items()))

    def _free_on(self, name: str, row: int) -> int:
        supply = self._nodes[row].resources.get(name, 0)
        if isinstance(supply, int):
            return max(supply - self._counted.get(name, {}).get(row, 0), 0)
        return sum(millis == WHOLE_MILLIS for millis in self._parts_of(name, row).values())

    def _parts_of(self, name: str, row: int) -> dict[str, int]:
        """What is free of each of a node's devices; nothing of what is only counted."""
        supply = self._nodes[row].resources.get(name, 0)
        if isinstance(supply, int):
            return {}
        given = self._given.get(name, {}).get(row, {})
        return {device: max(WHOLE_MILLIS - given.get(device, 0), 0) for device in supply}
