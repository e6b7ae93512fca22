"""Which host ports of each machine are given out, and which the cluster may still choose.

A port belongs to the machine, not to the node: nodes that share an engine share its ports. A port counts whatever
address it listens on. Knows machines as numbers; no nodes, no capacity, no policy. Ports are only ever taken here,
never given back: one pass of placement frees nothing.
"""

from collections import defaultdict
from collections.abc import Set

import numpy as np
import numpy.typing as npt

from longshore.decide.placement.ask import Ask, HostPort
from longshore.model.objects import PublishedPort
from longshore.model.spec import Port, Protocol

CHOSEN_FIRST = 30000
CHOSEN_LAST = 32767
"""The range that the cluster chooses host ports from; below what Linux hands out for outgoing connections."""

PORT_RETRY_S = 30.0
"""For so long a port that another program was found to hold is taken as used on that machine."""

_ANYWHERE = Port(container=1).ip
"""Where a task with `ingress` listens: its entries are on other nodes too. The port's own address is theirs."""


class HostPorts:
    """The host ports of all machines."""

    __slots__ = ("_lowest", "_machines", "_refused_until", "_taken", "_taken_in_range")

    def __init__(self, machines: int) -> None:
        self._machines = machines
        self._taken: dict[HostPort, set[int]] = {}
        self._taken_in_range: dict[Protocol, npt.NDArray[np.int64]] = {
            protocol: np.zeros(machines, np.int64) for protocol in Protocol
        }
        # Where the search for the lowest free port goes on: nothing is given back, so what was passed stays taken.
        self._lowest: dict[tuple[int, Protocol], int] = {}
        self._refused_until: dict[int, dict[HostPort, float]] = defaultdict(dict)

    def use(self, machine: int, port: HostPort) -> None:
        """Count `port` of `machine` as used."""
        machines = self._taken.setdefault(port, set())
        if machine not in machines:
            machines.add(machine)
            if CHOSEN_FIRST <= port[0] <= CHOSEN_LAST:
                self._taken_in_range[port[1]][machine] += 1

    def refuse(self, machine: int, port: HostPort, until: float) -> None:
        """Count `port` as used because another program was found to hold it, and remember until when."""
        self.use(machine, port)
        refused = self._refused_until[machine]
        refused[port] = max(until, refused.get(port, until))

    def machines_without(self, port: HostPort) -> npt.NDArray[np.bool_]:
        """By machine: whether `port` is free."""
        free = np.ones(self._machines, np.bool_)
        free[list(self._taken.get(port, ()))] = False
        return free

    def room_to_choose(self, ask: Ask) -> npt.NDArray[np.int64]:
        """By machine: how many tasks could be given chosen ports, once the ports that `ask` names are set aside."""
        each = [(_range_for(ask, protocol) - self._taken_in_range[protocol]) // count for protocol, count in ask.chosen]
        room: npt.NDArray[np.int64] = np.minimum.reduce(each)
        return np.maximum(room, 0)

    def fits(self, machine: int, ask: Ask) -> bool:
        """Whether one more task finds its ports on `machine`."""
        return all(machine not in self._taken.get(port, ()) for port in ask.fixed) and all(
            _range_for(ask, protocol) - self._taken_in_range[protocol].item(machine) >= count
            for protocol, count in ask.chosen
        )

    def take(self, machine: int, ask: Ask) -> tuple[PublishedPort, ...]:
        """Give a task its ports on `machine`, where they fit: named ones as named, for the others the lowest free."""
        if not ask.ports:
            return ()
        for fixed in ask.fixed:
            self.use(machine, fixed)  # first, so that none of them is chosen for another port of the same task
        return tuple(
            PublishedPort(
                container=port.container,
                host=self._choose(machine, port.protocol) if port.host is None else port.host,
                protocol=port.protocol,
                ip=port.ip if port.ingress is None else _ANYWHERE,
            )
            for port in ask.ports
        )

    def free_again(self, machines: Set[int], ask: Ask) -> float | None:
        """When the first of the refused ports that `ask` could use on one of `machines` is to be tried again."""
        protocols = {protocol for protocol, _ in ask.chosen}
        return min(
            (
                until
                for machine, refused in self._refused_until.items()
                if machine in machines
                for port, until in refused.items()
                if port in ask.fixed or (port[1] in protocols and CHOSEN_FIRST <= port[0] <= CHOSEN_LAST)
            ),
            default=None,
        )

    def _choose(self, machine: int, protocol: Protocol) -> int:
        host = self._lowest.get((machine, protocol), CHOSEN_FIRST)
        while machine in self._taken.get((host, protocol), ()):
            host += 1
        assert host <= CHOSEN_LAST, "a task is given ports only where they fit"
        self._lowest[machine, protocol] = host + 1
        self.use(machine, (host, protocol))
        return host


def _range_for(ask: Ask, protocol: Protocol) -> int:
    """How many ports there are to choose from, without those in the range that `ask` names itself."""
    named = sum(CHOSEN_FIRST <= host <= CHOSEN_LAST for host, of in ask.fixed if of is protocol)
    return CHOSEN_LAST - CHOSEN_FIRST + 1 - named
