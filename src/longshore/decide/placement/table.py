"""The nodes as a struct of arrays: what each has, what is free on it, what runs there. One row per node, by name.

Built from a snapshot, then kept up to date by `take` while one pass places task after task; never written back. Knows
what tasks hold, not what they ask for (that is a filter's) and not which node is better (that is a policy's). A node
whose capacity shrank below what its tasks hold has nothing free, not less than nothing.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.constraints import Constraint, minded
from longshore.decide.placement.holdings import Extra, Holdings, extra_of
from longshore.decide.placement.hostports import PORT_RETRY_S, HostPorts
from longshore.decide.placement.rules import Domains, domains_of
from longshore.model.lifecycle import ON_NODE
from longshore.model.objects import Availability, Node, NodeStatus, PublishedPort, Task
from longshore.model.placing import TaintEffect
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Busy = Callable[[str], float | None]
"""Cores in use on a node, as last measured; None if they were not."""
Age = tuple[float, str, int, int]


def age(task: Task) -> Age:
    """Oldest first: the order in which waiting tasks are placed."""
    return (task.created_at, task.service, task.slot, task.generation)


class NodeTable:
    """The nodes of one snapshot, and what the tasks placed since have taken."""

    __slots__ = (
        "_domains",
        "_holds",
        "_of_service",
        "_open",
        "_sums",
        "active",
        "busy",
        "cpu",
        "cpu_free",
        "crowd",
        "devices",
        "disk_free",
        "heard",
        "holdings",
        "last",
        "machine",
        "memory",
        "memory_free",
        "names",
        "nodes",
        "ports",
        "row_of",
        "rows_of_machine",
        "tainted",
        "tasks",
        "turn",
        "up",
    )

    def __init__(
        self, world: Snapshot, now: float, *, without: str = "", begin: int = -1, busy: Busy | None = None
    ) -> None:
        """The table at `now`; what task `without` holds is left out. `begin` is the row that counts as the last one
        chosen while none was. `busy` measures nodes, for those policies that ask; its answers are taken once."""
        self.names = tuple(sorted(world.nodes))
        self.nodes = tuple(world.nodes[name] for name in self.names)
        self.row_of = {name: row for row, name in enumerate(self.names)}
        self.up: Mask = np.array([node.status is NodeStatus.READY for node in self.nodes], np.bool_)
        self.heard: Mask = np.array([not node.held for node in self.nodes], np.bool_)
        self.active: Mask = np.array([node.availability is Availability.ACTIVE for node in self.nodes], np.bool_)
        self.cpu: Counts = np.array([node.capacity.cpu_millis for node in self.nodes], np.int64)
        self.memory: Counts = np.array([node.capacity.memory for node in self.nodes], np.int64)
        machines, self.rows_of_machine = _machines(self.nodes)
        self.machine: Counts = np.array(machines, np.int64)
        self.ports = HostPorts(len(self.rows_of_machine))
        self.tainted = tuple(row for row, node in enumerate(self.nodes) if node.taints)
        """The rows that have taints: few, or none."""
        self.holdings = Holdings(self.nodes)
        self.devices: dict[str, tuple[str, ...]] = {}
        """What the task that was placed last was given of them."""
        self._holds: dict[Constraint, Mask] = {}
        self._domains: dict[str, Domains] = {}
        self._sums: dict[str, dict[str, Counts]] = {}
        self._open: dict[tuple[object, ...], Mask] = {}
        tally = _Tally(world, now, without, self.holdings)
        for name, machine in zip(self.names, machines, strict=True):
            tally.count(name, world.tasks_of_node(name).values(), machine, self.ports)
        self.cpu_free = np.maximum(self.cpu - np.array(tally.cpu_millis, np.int64), 0)
        self.memory_free = np.maximum(self.memory - np.array(tally.memory, np.int64), 0)
        disk: Counts = np.array([node.capacity.disk for node in self.nodes], np.int64)
        self.disk_free = np.maximum(disk - np.array(tally.disk, np.int64), 0)
        self.tasks: Counts = np.array(tally.tasks, np.int64)
        self.busy = np.zeros(len(self.names), np.float64) if busy is None else self._measured(busy)
        self.crowd = 1 << (max([1, *tally.tasks]) - 1).bit_length()
        """The smallest power of two that no node's count of tasks exceeds: E-PVM's maximum, which doubles."""
        self.last = self.row_of.get(tally.newest_node, begin)
        """The row that got the newest task; `begin` if none did."""
        self.turn: Counts = np.arange(len(self.names))
        self._of_service = tally.of_service
        self.start_round()

    def __len__(self) -> int:
        return len(self.names)

    def _measured(self, busy: Busy) -> npt.NDArray[np.float64]:
        """Part of each node's cpu in use; the part set aside where there is no measurement."""
        cpu = np.maximum(self.cpu, 1).tolist()
        reserved = (1 - self.cpu_free / np.maximum(self.cpu, 1)).tolist()
        cores = [busy(name) for name in self.names]
        shares = [
            set_aside if used is None else 1000 * used / all_
            for used, all_, set_aside in zip(cores, cpu, reserved, strict=True)
        ]
        return np.array(shares, np.float64)

    def holds(self, constraint: Constraint) -> Mask:
        """On which nodes `constraint` holds."""
        mask = self._holds.get(constraint)
        if mask is None:
            mask = self._holds[constraint] = np.array([constraint.holds(node) for node in self.nodes], np.bool_)
        return mask

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
        if over not in self._domains:
            self._domains[over] = domains_of(self.nodes, over)
        return self._domains[over]

    def rows_of(self, service: str) -> Mapping[int, int]:
        """The rows that have tasks of `service`, with how many."""
        return self._of_service.get(service, {})

    def sums(self, service: str, over: str) -> Counts:
        """How many tasks of `service` each domain has; at the end, how many are in none."""
        found = self._sums.setdefault(service, {})
        if over not in found:
            found[over] = self.domains(over).sums(self.rows_of(service))
        return found[over]

    def open_domains(self, ask: Ask, over: str) -> Mask:
        """The domains in which some node could take `ask` if it had room."""
        key = (ask.constraints, ask.platform, ask.rules.tolerations, over)
        if key not in self._open:
            domains = self.domains(over)
            found = np.zeros(domains.count + 1, np.bool_)
            found[domains.of_row[self.standing(ask)]] = True
            self._open[key] = found[: domains.count]
        return self._open[key]

    def repelled(self, service: str) -> Mapping[str, Mapping[int, int]]:
        """The rows whose tasks keep those of `service` away, by over what."""
        return self.holdings.repelled(service)

    def of_service(self, service: str) -> Counts:
        """How many tasks of `service` each node has."""
        counts = np.zeros(len(self), np.int64)
        for row, count in self._of_service.get(service, {}).items():
            counts[row] = count
        return counts

    def count_of(self, service: str, row: int) -> int:
        """How many tasks of `service` one node has."""
        return self._of_service.get(service, {}).get(row, 0)

    def start_round(self) -> None:
        """Number the nodes from the one after the last that got a task: whose turn is it, who is after that."""
        if self.names:
            self.turn = (np.arange(len(self)) - (self.last + 1)) % len(self)

    def take(self, row: int, ask: Ask) -> tuple[PublishedPort, ...]:
        """Put a task that asks for `ask` on a node with room for it, and return the ports it is given."""
        self.cpu_free[row] -= ask.cpu_millis
        self.memory_free[row] -= ask.memory
        self.disk_free[row] -= ask.disk
        self.tasks[row] += 1
        self.turn[row] += len(self)
        self.last = row
        if self.tasks[row] > self.crowd:
            self.crowd *= 2
        of_service = self._of_service.setdefault(ask.service, {})
        of_service[row] = of_service.get(row, 0) + 1
        for over, sums in self._sums.get(ask.service, {}).items():
            sums[self._domains[over].of_row[row]] += 1
        self.devices = self.holdings.take(row, ask.extra)
        return self.ports.take(self.machine.item(row), ask)


def _machines(nodes: Iterable[Node]) -> tuple[list[int], list[list[int]]]:
    """The number of each node's machine, and each machine's rows."""
    number_of: dict[str, int] = {}
    machines = [number_of.setdefault(node.machine, len(number_of)) for node in nodes]
    rows: list[list[int]] = [[] for _ in number_of]
    for row, machine in enumerate(machines):
        rows[machine].append(row)
    return machines, rows


class _Tally:
    """Sums of what tasks hold, node by node in order of row. Plain integers: NumPy's are slow one at a time."""

    def __init__(self, world: Snapshot, now: float, without: str, holdings: Holdings) -> None:
        self._world = world
        self._holdings = holdings
        self._now = now
        self._without = without
        self._needs: dict[tuple[str, int], tuple[int, int, int, Extra | None]] = {}
        self._newest: tuple[float, Age] | None = None
        self.newest_node = ""
        self.cpu_millis: list[int] = []
        self.memory: list[int] = []
        self.disk: list[int] = []
        self.tasks: list[int] = []
        self.of_service: dict[str, dict[int, int]] = {}

    def count(self, name: str, tasks: Iterable[Task], machine: int, ports: HostPorts) -> None:
        """Add the next row."""
        row = len(self.tasks)
        cpu_millis = memory = disk = count = 0
        for task in tasks:
            if task.placed_at is not None:
                self._remember(task, task.placed_at, name)
            if task.state not in ON_NODE:
                if task.reason is Reason.PORT_TAKEN:
                    self._refuse(task, machine, ports)
                continue
            if task.id == self._without:
                continue
            need = self._needs.get((task.service, task.release)) or self._need(task)
            cpu_millis += need[0]
            memory += need[1]
            disk += need[2]
            count += 1
            if need[3] is not None or task.devices:
                self._holdings.count(row, need[3], task.devices)
            of_service = self.of_service.setdefault(task.service, {})
            of_service[row] = of_service.get(row, 0) + 1
            for port in task.ports:
                ports.use(machine, (port.host, port.protocol))
        self.cpu_millis.append(cpu_millis)
        self.memory.append(memory)
        self.disk.append(disk)
        self.tasks.append(count)

    def _need(self, task: Task) -> tuple[int, int, int, Extra | None]:
        release = self._world.release(task.service, task.release)
        need: tuple[int, int, int, Extra | None] = (0, 0, 0, None)
        if release is not None:
            resources = release.spec.resources
            need = (resources.cpu_millis, resources.memory, resources.disk, extra_of(release.spec))
        self._needs[task.service, task.release] = need
        return need

    def _remember(self, task: Task, placed_at: float, node: str) -> None:
        """Tasks placed in one pass have one `placed_at`; by age, the last of them is the one that was placed last."""
        if self._newest is None or placed_at >= self._newest[0]:
            placed = (placed_at, age(task))
            if self._newest is None or placed > self._newest:
                self._newest, self.newest_node = placed, node

    def _refuse(self, task: Task, machine: int, ports: HostPorts) -> None:
        until = task.finished_at + PORT_RETRY_S if task.finished_at is not None else self._now
        if until > self._now:
            for port in task.ports:
                ports.refuse(machine, (port.host, port.protocol), until)
