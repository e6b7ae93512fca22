"""The nodes as a struct of arrays: what each has, what is free on it, what runs there. One row per node, by name.

Made of what is `held`, then kept up to date by `take` while one pass places task after task; never written back. Knows
what tasks hold, not what they ask for (that is a filter's) and not which node is better (that is a policy's). A node
whose capacity shrank below what its tasks hold has nothing free, not less than nothing.
"""

from collections.abc import Callable, Mapping

import numpy as np

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.constraints import Constraint, minded
from longshore.decide.placement.held import Counts, Held, Mask, Vector, age, need_of
from longshore.decide.placement.holdings import Holdings
from longshore.decide.placement.peers import Peers
from longshore.decide.placement.rules import Domains
from longshore.decide.placement.scoring.prices import Price
from longshore.decide.placement.whom import Labels
from longshore.model.lifecycle import ON_NODE
from longshore.model.objects import PublishedPort
from longshore.model.placing import TaintEffect
from longshore.model.snapshot import Snapshot

__all__ = ["Busy", "Counts", "Mask", "NodeTable", "Vector", "age"]

Busy = Callable[[str], float | None]
"""Cores in use on a node, as last measured; None if they were not."""


class NodeTable:
    """The nodes of one snapshot, and what the tasks placed since have taken."""

    __slots__ = (
        "_begin",
        "_last",
        "_of_service",
        "_open",
        "_prices",
        "active",
        "busy",
        "cpu",
        "cpu_free",
        "cpu_owed",
        "crowd",
        "devices",
        "disk_free",
        "disk_owed",
        "heard",
        "held",
        "holdings",
        "machine",
        "machines_are_shared",
        "memory",
        "memory_free",
        "memory_owed",
        "names",
        "nodes",
        "peers",
        "ports",
        "row_of",
        "tainted",
        "tasks",
        "up",
    )

    def __init__(
        self,
        world: Snapshot,
        now: float,
        *,
        without: str = "",
        begin: int = -1,
        busy: Busy | None = None,
        held: Held | None = None,
    ) -> None:
        """The table at `now`; what task `without` holds is left out. `begin` is the row that counts as the last one
        chosen while none was. `busy` measures nodes, for those policies that ask; its answers are taken once. `held`
        is repaired, not counted anew; of tables that share it only the newest is right."""
        self.held = held = Held() if held is None else held
        """For the next table, of another snapshot."""
        held.see(world, now)
        self.names, self.row_of, self.machine, self.ports = held.names, held.row_of, held.machine, held.ports
        self.nodes, self.tainted = held.nodes, held.tainted
        self.up, self.heard, self.active = held.up, held.heard, held.active
        self.cpu, self.memory = held.cpu, held.memory
        self.machines_are_shared = held.machines_are_shared
        self.cpu_free: Counts = held.cpu - held.cpu_held
        self.memory_free: Counts = held.memory - held.memory_held
        self.disk_free: Counts = held.disk - held.disk_held
        self.tasks: Counts = held.tasks.copy()
        self._of_service: dict[str, Counts] = {}
        self._open: dict[object, Mask] = {}
        self.devices: Mapping[str, tuple[str, ...]] = {}
        """What the task that was placed last was given of them."""
        self.holdings = Holdings(self.nodes)
        for name, those in held.beyond.items():
            for id, extra, devices in those:
                if id != without:
                    self.holdings.count(self.row_of[name], extra, devices)
        self._prices: tuple[Price, Price] | None = None
        self._begin = begin
        self._last: int | None = None
        left_out = self._leave_out(world, without) if without else None
        self.peers = Peers(held, self.of_service, left_out)
        self.cpu_owed: Counts = np.maximum(-self.cpu_free, 0)
        """What tasks hold, or room is held for, beyond what there is: what comes free pays for that first."""
        self.memory_owed: Counts = np.maximum(-self.memory_free, 0)
        self.disk_owed: Counts = np.maximum(-self.disk_free, 0)
        for free in (self.cpu_free, self.memory_free, self.disk_free):
            np.maximum(free, 0, out=free)
        self.busy = np.zeros(len(self.names), np.float64) if busy is None else self._measured(busy)
        self.crowd = 1 << (max(1, int(self.tasks.max(initial=1))) - 1).bit_length()
        """The smallest power of two that no node's count of tasks exceeds: E-PVM's maximum, which doubles."""

    def __len__(self) -> int:
        return len(self.names)

    def _measured(self, busy: Busy) -> Vector:
        """Part of each node's cpu in use; the part set aside where there is no measurement."""
        cpu = np.maximum(self.cpu, 1).tolist()
        reserved = (1 - self.cpu_free / np.maximum(self.cpu, 1)).tolist()
        cores = [busy(name) for name in self.names]
        shares = [
            set_aside if used is None else 1000 * used / all_
            for used, all_, set_aside in zip(cores, cpu, reserved, strict=True)
        ]
        return np.array(shares, np.float64)

    def prices(self) -> tuple[Price, Price]:
        """What cpu and memory in use cost by E-PVM."""
        if self._prices is None:
            base = float(max(len(self), 2))
            self._prices = (
                Price(base, self.cpu, self.cpu_free),
                Price(base, self.memory, self.memory_free),
            )
        return self._prices

    def holds(self, constraint: Constraint) -> Mask:
        """On which nodes `constraint` holds."""
        return self.held.holds(constraint)

    def suits(self, ask: Ask) -> Mask:
        """Which nodes are of the kind that `ask` may go to, whatever room and state they have."""
        mask = np.ones(len(self), np.bool_)
        for constraint in (*ask.constraints, *ask.platform):
            mask &= self.holds(constraint)
        for row in self.tainted:
            mask[row] &= not minded(self.nodes[row].taints, ask.rules, TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE)
        return mask

    def standing(self, ask: Ask) -> Mask:
        """Which nodes could take `ask` if they had room."""
        return self.up & self.heard & self.active & self.suits(ask)

    def domains(self, over: str) -> Domains:
        """Which nodes are one by a label, or by name."""
        return self.held.domains(over)

    def open_domains(self, ask: Ask, over: str) -> Mask:
        """The domains in which some node could take `ask` if it had room."""
        key = (ask.constraints, ask.platform, ask.rules.tolerations, over)
        if key not in self._open:
            domains = self.domains(over)
            found = np.zeros(domains.count + 1, np.bool_)
            found[domains.of_row[self.standing(ask)]] = True
            self._open[key] = found[: domains.count]
        return self._open[key]

    def repelled(self, ask: Ask) -> Mapping[str, Mapping[int, int]]:
        """The rows whose tasks keep those of `ask` away, by over what."""
        return self.holdings.repelled(ask.service, ask.labels)

    @property
    def last(self) -> int:
        """The row that got the newest task."""
        if self._last is None:
            newest = self.held.newest_row()
            self._last = self._begin if newest is None else newest
        return self._last

    def turn(self) -> Counts:
        """How many nodes come before each one in a round that begins after the last that got a task."""
        return np.roll(np.arange(len(self)), self.last + 1)

    def of_service(self, service: str) -> Counts:
        """How many tasks of `service` each node has. To read."""
        counts = self._of_service.get(service)
        if counts is None:
            counts = self._of_service[service] = np.zeros(len(self), np.int64)
            for name, count in self.held.of_service.get(service, {}).items():
                counts[self.row_of[name]] = count
        return counts

    def take(self, row: int, ask: Ask) -> tuple[PublishedPort, ...]:
        """Put a task that asks for `ask` on a node with room for it, and return the ports it is given."""
        self.cpu_free[row] -= ask.cpu_millis
        self.memory_free[row] -= ask.memory
        if ask.disk:
            self.disk_free[row] -= ask.disk
        tasks = self.tasks.item(row) + 1
        self.tasks[row] = tasks
        self._last = row
        if tasks > self.crowd:
            self.crowd *= 2
        self.of_service(ask.service)[row] += 1
        self.peers.add(row, ask)
        self.devices = self.holdings.take(row, ask.extra) if ask.extra is not None else {}
        return self.ports.take(self.machine.item(row), ask) if ask.ports else ()

    def take_all(self, rows: Counts, ask: Ask) -> list[tuple[PublishedPort, ...]]:
        """The same for one task after the other, at least one; together they have room."""
        counts = np.bincount(rows, minlength=len(self))
        self.cpu_free -= counts * ask.cpu_millis
        self.memory_free -= counts * ask.memory
        self.disk_free -= counts * ask.disk
        self.tasks += counts
        self._last = int(rows[-1])
        while self.tasks.max() > self.crowd:
            self.crowd *= 2
        self._of_service[ask.service] = self.of_service(ask.service) + counts
        self.peers.add_all(rows, ask)
        self.devices = {}
        if ask.extra is not None:
            assert ask.extra.given == (), "whoever is given devices is placed alone"
            for row in rows.tolist():
                self.holdings.count(row, ask.extra, {})
        if not ask.ports:
            return [()] * len(rows)
        return [self.ports.take(machine, ask) for machine in self.machine[rows].tolist()]

    def hold(self, row: int, ask: Ask) -> None:
        """Keep room on a node for a task that is to come once others have left: what is free of it is taken, the rest
        is owed. It counts as one of its service, so that rules about its own tasks are kept; nobody is near it yet."""
        for free, owed, need in (
            (self.cpu_free, self.cpu_owed, ask.cpu_millis),
            (self.memory_free, self.memory_owed, ask.memory),
            (self.disk_free, self.disk_owed, ask.disk),
        ):
            had = free.item(row)
            free[row] = max(had - need, 0)
            owed[row] += max(need - had, 0)
        self.of_service(ask.service)[row] += 1
        self.peers.hold(row, ask)
        if ask.extra is not None:
            self.holdings.take(row, ask.extra)
        self.ports.hold(self.machine.item(row), ask)

    def _leave_out(self, world: Snapshot, id: str) -> tuple[int, Labels] | None:
        """Count a task no more; its row and labels, if it was counted."""
        task = world.task(id)
        if task is None or task.state not in ON_NODE or task.node not in self.row_of:
            return None
        row, known = self.row_of[task.node], need_of(world, task)
        need = known or (0, 0, 0, None, ())
        self.cpu_free[row] += need[0]
        self.memory_free[row] += need[1]
        self.disk_free[row] += need[2]
        self.tasks[row] -= 1
        self.of_service(task.service)[row] -= 1
        for port in task.ports:
            self.ports.leave_out(self.machine.item(row), (port.host, port.protocol))
        return (row, need[4]) if known else None
