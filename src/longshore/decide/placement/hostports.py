"""Which host ports of each machine are given out, and which the cluster may still choose.

A port belongs to the machine, not to the node: nodes that share an engine share its ports. A port counts whatever
address it listens on. Knows machines as numbers; no nodes, no capacity, no policy. What is used by tasks comes and
goes; what one pass of placement takes is given back at its end, as the tasks will tell whether it was committed.
"""

from collections import defaultdict
from collections.abc import Iterable, Set

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

    __slots__ = ("_left_out", "_lowest", "_machines", "_refused_until", "_taken", "_taken_in_range", "_uses")

    def __init__(self) -> None:
        self._machines = 0
        self._uses: dict[HostPort, dict[int, int]] = {}
        """How often each port is in use, by machine: what was refused may be in use by a task as well."""
        self._taken: list[tuple[int, HostPort]] = []
        """What this pass took."""
        self._left_out: list[tuple[int, HostPort]] = []
        """What a task that does not count now has."""
        self._taken_in_range: dict[Protocol, npt.NDArray[np.int64]] = {
            protocol: np.zeros(0, np.int64) for protocol in Protocol
        }
        # Where the search for the lowest free port goes on: below it, all are in use.
        self._lowest: dict[tuple[int, Protocol], int] = {}
        self._refused_until: dict[int, dict[HostPort, float]] = {}

    def grow(self, machines: int) -> None:
        """Know so many machines."""
        if machines > self._machines:
            more = max(machines, 2 * self._machines) - self._machines
            self._machines += more
            for protocol, counts in self._taken_in_range.items():
                self._taken_in_range[protocol] = np.concatenate((counts, np.zeros(more, np.int64)))

    def use(self, machine: int, port: HostPort) -> None:
        """Count `port` of `machine` as used."""
        uses = self._uses.setdefault(port, {})
        uses[machine] = uses.get(machine, 0) + 1
        if uses[machine] == 1 and CHOSEN_FIRST <= port[0] <= CHOSEN_LAST:
            self._taken_in_range[port[1]][machine] += 1

    def free(self, machine: int, port: HostPort) -> None:
        """Take one use of `port` back."""
        uses = self._uses[port]
        uses[machine] -= 1
        if uses[machine]:
            return
        del uses[machine]
        if not uses:
            del self._uses[port]
        if CHOSEN_FIRST <= port[0] <= CHOSEN_LAST:
            self._taken_in_range[port[1]][machine] -= 1
            lowest = (machine, port[1])
            self._lowest[lowest] = min(port[0], self._lowest.get(lowest, CHOSEN_FIRST))

    def refuse(self, refusals: Iterable[tuple[int, tuple[HostPort, float]]]) -> None:
        """Remember which of the used ports another program was found to hold, and until when that counts."""
        found: dict[int, dict[HostPort, float]] = defaultdict(dict)
        for machine, (port, until) in refusals:
            found[machine][port] = max(until, found[machine].get(port, until))
        self._refused_until = dict(found)

    def leave_out(self, machine: int, port: HostPort) -> None:
        """The same until the next time that all is given back."""
        self.free(machine, port)
        self._left_out.append((machine, port))

    def give_back(self) -> None:
        """Forget what was taken and left out since the last time."""
        for machine, port in self._left_out:
            self.use(machine, port)
        self._left_out.clear()
        for machine, port in self._taken:
            self.free(machine, port)
        self._taken.clear()

    def machines_without(self, port: HostPort) -> npt.NDArray[np.bool_]:
        """By machine: whether `port` is free."""
        free = np.ones(self._machines, np.bool_)
        free[list(self._uses.get(port, ()))] = False
        return free

    def room_to_choose(self, ask: Ask) -> npt.NDArray[np.int64]:
        """By machine: how many tasks could be given chosen ports, once the ports that `ask` names are set aside."""
        each = [(_range_for(ask, protocol) - self._taken_in_range[protocol]) // count for protocol, count in ask.chosen]
        room: npt.NDArray[np.int64] = np.minimum.reduce(each)
        return np.maximum(room, 0)

    def fit(self, machines: npt.NDArray[np.int64], ask: Ask) -> npt.NDArray[np.bool_]:
        """Whether one more task finds its ports on each of `machines`."""
        left = np.ones(np.shape(machines), np.bool_)
        for port in ask.fixed:
            uses = self._uses.get(port, {})
            free = [machine not in uses for machine in np.atleast_1d(machines).tolist()]
            left &= np.array(free, np.bool_).reshape(left.shape)
        for protocol, count in ask.chosen:
            left &= _range_for(ask, protocol) - self._taken_in_range[protocol][machines] >= count
        return left

    def take(self, machine: int, ask: Ask) -> tuple[PublishedPort, ...]:
        """Give a task its ports on `machine`, where they fit: named ones as named, for the others the lowest free."""
        if not ask.ports:
            return ()
        for fixed in ask.fixed:
            self._take(machine, fixed)  # first, so that none of them is chosen for another port of the same task
        return tuple(
            PublishedPort(
                container=port.container,
                host=self._choose(machine, port.protocol) if port.host is None else port.host,
                protocol=port.protocol,
                ip=port.ip if port.ingress is None else _ANYWHERE,
            )
            for port in ask.ports
        )

    def hold(self, machine: int, ask: Ask) -> None:
        """Keep the ports that `ask` names for a task that is to come, whoever has them now."""
        for fixed in ask.fixed:
            self._take(machine, fixed)

    def uses(self, machine: int, port: HostPort) -> int:
        """How often a port of a machine is in use."""
        return self._uses.get(port, {}).get(machine, 0)

    @property
    def any_refused(self) -> bool:
        """Whether any port counts as used because another program was found to hold it."""
        return bool(self._refused_until)

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
        while machine in self._uses.get((host, protocol), ()):
            host += 1
        assert host <= CHOSEN_LAST, "a task is given ports only where they fit"
        self._lowest[machine, protocol] = host + 1
        self._take(machine, (host, protocol))
        return host

    def _take(self, machine: int, port: HostPort) -> None:
        self._taken.append((machine, port))
        self.use(machine, port)


def _range_for(ask: Ask, protocol: Protocol) -> int:
    """How many ports there are to choose from, without those in the range that `ask` names itself."""
    named = sum(CHOSEN_FIRST <= host <= CHOSEN_LAST for host, of in ask.fixed if of is protocol)
    return CHOSEN_LAST - CHOSEN_FIRST + 1 - named
