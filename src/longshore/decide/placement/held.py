"""The nodes, and what the tasks on each hold: kept from one snapshot to the next, and repaired where they differ.

Snapshots share what did not change, so the identity of a node's record, and of the mapping of its tasks, tells which
rows have to be looked at anew; the rest costs a comparison of two pointers a node. The outcome is that of counting
everything (tests hold it to that), and whoever wants that begins with a new one. Knows what tasks hold, nothing of
what they ask for, and nothing of what a pass of placement takes: that is the table's.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from longshore.decide.placement.ask import HostPort
from longshore.decide.placement.constraints import Constraint
from longshore.decide.placement.holdings import Extra, extra_of
from longshore.decide.placement.hostports import PORT_RETRY_S, HostPorts
from longshore.decide.placement.rules import Domains, domains_of
from longshore.decide.placement.whom import Labels, labels_of
from longshore.model.lifecycle import ON_NODE
from longshore.model.objects import Availability, Node, NodeStatus, Task
from longshore.model.reasons import Reason
from longshore.model.sharing import Shared
from longshore.model.snapshot import Snapshot

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Vector = npt.NDArray[np.float64]
Age = tuple[float, str, int, int]
Need = tuple[int, int, int, Extra | None, Labels]
"""Cpu, memory, disk, what few hold beyond these, and what others may choose them by."""
Needs = dict[tuple[str, int], Need | None]
"""Of releases, by service and number."""
Beyond = tuple[str, Extra | None, Mapping[str, tuple[str, ...]]]
"""What one of the few holds: its id, what counts, and the devices it was given."""

CONSTRAINTS_MAX = 256
"""Constraints whose answers are kept; a cluster's services seldom have so many different ones."""

MACHINES_GONE_MAX = 1000
"""So many machines may have been known and be gone."""

_NOBODY = Node(name="")

Array = TypeVar("Array", Counts, Mask, Vector)
Kind = TypeVar("Kind", str, Labels)


def age(task: Task) -> Age:
    """Oldest first: the order in which waiting tasks are placed."""
    return (task.created_at, task.service, task.slot, task.generation)


class Holding(msgspec.Struct):
    """What the tasks of one node hold."""

    cpu_millis: int = 0
    memory: int = 0
    disk: int = 0
    tasks: int = 0
    services: dict[str, int] = {}
    """Tasks of each service."""
    labelled: dict[Labels, int] = {}
    """Tasks by the labels of their services, where those have any."""
    unlabelled: int = 0
    """The others, but those of which no release is kept."""
    ports: list[HostPort] = []
    """Host ports in use, and those that another program was found to hold."""
    refused: list[tuple[HostPort, float]] = []
    """The latter, with until when."""
    newest: tuple[float, Age] | None = None
    """When the task that was placed here last was, and its age: of those that one pass placed, the last by age."""
    beyond: list[Beyond] = []
    """What tasks hold beyond cpu, memory, disk and ports."""
    passing: bool = False
    """Whether it may be another one later although no task changed."""


_EMPTY = Holding()


class Held:
    """The nodes of the snapshot that was seen last, one row per node, by name."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.row_of: dict[str, int] = {}
        self.nodes: list[Node] = []
        self.up: Mask = np.zeros(0, np.bool_)
        self.heard: Mask = np.zeros(0, np.bool_)
        self.active: Mask = np.zeros(0, np.bool_)
        self.cpu: Counts = np.zeros(0, np.int64)
        self.memory: Counts = np.zeros(0, np.int64)
        self.disk: Counts = np.zeros(0, np.int64)
        self.machine: Counts = np.zeros(0, np.int64)
        """The number of each node's machine. Numbers are never given twice."""
        self.machines_are_shared = False
        """Whether two nodes are on one machine."""
        self.cpu_held: Counts = np.zeros(0, np.int64)
        self.memory_held: Counts = np.zeros(0, np.int64)
        self.disk_held: Counts = np.zeros(0, np.int64)
        self.tasks: Counts = np.zeros(0, np.int64)
        self.unlabelled: Counts = np.zeros(0, np.int64)
        """Tasks whose services have no labels."""
        self.newest_at: Vector = np.zeros(0, np.float64)
        """When each node was given its newest task."""
        self.ports = HostPorts()
        self.of_service: dict[str, dict[str, int]] = {}
        """How many tasks of a service each node has that has any, by the node's name."""
        self.of_labels: dict[Labels, dict[str, int]] = {}
        """The same by the labels of services, where those have any."""
        self.beyond: dict[str, list[Beyond]] = {}
        """By the node's name, where there is any."""
        self.tainted: tuple[int, ...] = ()
        """The rows that have taints: few, or none."""
        self._domains: dict[str, Domains] = {}
        self._world = Snapshot()
        """What was seen last. A release of the same name may have come since, with other needs."""
        self._unseen = False
        """Whether there are rows whose tasks nobody has looked at."""
        self._holdings: list[Holding] = []
        self._passing: set[str] = set()
        self._number_of: dict[str, int] = {}
        self._holds: dict[Constraint, Mask] = {}

    def see(self, world: Snapshot, now: float) -> None:
        """Be what `world` is at `now`."""
        if len(self._number_of) > 2 * len(world.nodes) + MACHINES_GONE_MAX:
            self.__init__()  # type: ignore[misc]  # begin anew: numbers of machines that are gone have piled up
        self.ports.give_back()
        before, self._world = self._world, world
        if world.nodes is not before.nodes:
            self._see_nodes(before.nodes, world.nodes)
        unseen, self._unseen = self._unseen, False
        needs: tuple[Needs, Needs] = ({}, {})
        for row in sorted({*self._changed(before, unseen=unseen), *(self.row_of[name] for name in self._passing)}):
            name = self.names[row]
            differing = None if unseen else _differing((before, world), name, now, needs)
            if differing is None or not self._repair(row, differing):
                self._hold(row, _holding(world, world.tasks_of_node(name).values(), now, needs[1]))
        self.ports.refuse((self.machine.item(row), one) for row, one in self._refusals())

    def _see_nodes(self, before: Shared[Node], records: Shared[Node]) -> None:
        changed = records.differing(before)
        if any((name in records) is not (name in self.row_of) for name in changed):
            self._renumber(records)
        for name in changed:
            if name in records:
                self._describe(self.row_of[name], records[name])
        self._domains.clear()
        self.tainted = tuple(row for row, node in enumerate(self.nodes) if node.taints)
        self.machines_are_shared = len(set(self.machine.tolist())) < len(self.names)

    def _changed(self, before: Snapshot, *, unseen: bool) -> list[int]:
        """The rows whose tasks are not those that they were before."""
        if unseen:
            return [*range(len(self.names))]
        changed = self._world.nodes_with_tasks.differing(before.nodes_with_tasks)
        return [self.row_of[name] for name in changed if name in self.row_of]

    def holds(self, constraint: Constraint) -> Mask:
        """On which nodes `constraint` holds."""
        mask = self._holds.get(constraint)
        if mask is None:
            if len(self._holds) >= CONSTRAINTS_MAX:
                self._holds.clear()
            mask = self._holds[constraint] = np.array([constraint.holds(node) for node in self.nodes], np.bool_)
        return mask

    def domains(self, over: str) -> Domains:
        """Which nodes are one by a label, or by name."""
        if over not in self._domains:
            self._domains[over] = domains_of(self.nodes, over)
        return self._domains[over]

    def newest_row(self) -> int | None:
        """The row of the task that was placed last of all."""
        if not len(self.newest_at) or self.newest_at.max() == -np.inf:
            return None
        rows = np.flatnonzero(self.newest_at == self.newest_at.max()).tolist()
        return max(rows, key=lambda row: self._holdings[row].newest or (0.0,)) if len(rows) > 1 else int(rows[0])

    def _refusals(self) -> Iterable[tuple[int, tuple[HostPort, float]]]:
        for name in sorted(self._passing):
            row = self.row_of[name]
            yield from ((row, one) for one in self._holdings[row].refused)

    # -- rows

    def _renumber(self, records: Mapping[str, Node]) -> None:
        """Give rows to those who joined, and take them from those who left."""
        for name in self.row_of.keys() - records.keys():
            self._hold(self.row_of[name], _EMPTY)
        names = tuple(sorted(records))
        rows = [self.row_of.get(name, -1) for name in names]
        old = np.array(rows, np.int64)
        self.up, self.heard, self.active = _moved(self.up, old), _moved(self.heard, old), _moved(self.active, old)
        self.cpu, self.memory, self.disk = _moved(self.cpu, old), _moved(self.memory, old), _moved(self.disk, old)
        self.machine, self.tasks = _moved(self.machine, old), _moved(self.tasks, old)
        self.cpu_held, self.memory_held = _moved(self.cpu_held, old), _moved(self.memory_held, old)
        self.disk_held, self.unlabelled = _moved(self.disk_held, old), _moved(self.unlabelled, old)
        self.newest_at = _moved(self.newest_at, old)
        self.newest_at[old < 0] = -np.inf
        self.nodes = [self.nodes[row] if row >= 0 else _NOBODY for row in rows]
        self._unseen = True
        self._holdings = [self._holdings[row] if row >= 0 else _EMPTY for row in rows]
        self.names, self.row_of = names, {name: row for row, name in enumerate(names)}
        self._holds.clear()

    def _describe(self, row: int, node: Node) -> None:
        self.nodes[row] = node
        self.up[row] = node.status is NodeStatus.READY
        self.heard[row] = not node.held
        self.active[row] = node.availability is Availability.ACTIVE
        self.cpu[row] = node.capacity.cpu_millis
        self.memory[row] = node.capacity.memory
        self.disk[row] = node.capacity.disk
        for constraint, mask in self._holds.items():
            mask[row] = constraint.holds(node)
        number = self._number_of.setdefault(node.machine, len(self._number_of))
        before = self.machine.item(row)
        self.ports.grow(len(self._number_of))
        for port in self._holdings[row].ports:
            self.ports.free(before, port)
            self.ports.use(number, port)
        self.machine[row] = number

    def _hold(self, row: int, after: Holding) -> None:
        """Write down what the tasks of one node hold now."""
        before, name = self._holdings[row], self.names[row]
        self._holdings[row] = after
        _recount(self.of_service, name, before.services, after.services)
        if before.labelled or after.labelled:
            _recount(self.of_labels, name, before.labelled, after.labelled)
        if before.ports != after.ports:
            machine = self.machine.item(row)
            for port in before.ports:
                self.ports.free(machine, port)
            for port in after.ports:
                self.ports.use(machine, port)
        self._write(row, after)

    def _write(self, row: int, after: Holding) -> None:
        name = self.names[row]
        self.cpu_held[row], self.memory_held[row], self.disk_held[row] = after.cpu_millis, after.memory, after.disk
        self.tasks[row], self.unlabelled[row] = after.tasks, after.unlabelled
        self.newest_at[row] = -np.inf if after.newest is None else after.newest[0]
        if after.beyond:
            self.beyond[name] = after.beyond
        else:
            self.beyond.pop(name, None)
        if after.passing:
            self._passing.add(name)
        else:
            self._passing.discard(name)

    def _repair(self, row: int, differing: tuple[Holding, Holding]) -> bool:
        """Write down what the tasks of one node hold now: less by the first and more by the second than until now.
        False, and nothing, if that does not tell: then all of them are to be counted."""
        (less, more), holding, name = differing, self._holdings[row], self.names[row]
        newest_goes = less.newest is not None and less.newest == holding.newest != more.newest
        if holding is _EMPTY or holding.passing or less.passing or newest_goes:
            return False
        holding.cpu_millis += more.cpu_millis - less.cpu_millis
        holding.memory += more.memory - less.memory
        holding.disk += more.disk - less.disk
        holding.tasks += more.tasks - less.tasks
        holding.unlabelled += more.unlabelled - less.unlabelled
        _shift(self.of_service, name, holding.services, less.services, more.services)
        if less.labelled or more.labelled:
            _shift(self.of_labels, name, holding.labelled, less.labelled, more.labelled)
        machine = self.machine.item(row)
        for port in less.ports:
            holding.ports.remove(port)
            self.ports.free(machine, port)
        for port in more.ports:
            holding.ports.append(port)
            self.ports.use(machine, port)
        if less.beyond:
            gone = {id for id, _, _ in less.beyond}
            holding.beyond = [one for one in holding.beyond if one[0] not in gone]
        holding.beyond += more.beyond
        holding.refused += more.refused
        holding.passing = more.passing
        holding.newest = max((one for one in (holding.newest, more.newest) if one is not None), default=None)
        self._write(row, holding)
        return True


def _recount(of: dict[Kind, dict[str, int]], name: str, before: Iterable[Kind], after: Mapping[Kind, int]) -> None:
    """Write down how many of each kind the node `name` has now."""
    for kind in before:
        if kind not in after:
            _count(of, kind, name, 0)
    for kind, count in after.items():
        _count(of, kind, name, count)


def _shift(
    of: dict[Kind, dict[str, int]], name: str, has: dict[Kind, int], less: Mapping[Kind, int], more: Mapping[Kind, int]
) -> None:
    """Write down how many of each kind the node `name` has that `has` some, after it lost some and was given others."""
    for kind in {**less, **more}:
        has[kind] = has.get(kind, 0) + more.get(kind, 0) - less.get(kind, 0)
        _count(of, kind, name, has[kind])
        if not has[kind]:
            del has[kind]


def _count(of: dict[Kind, dict[str, int]], kind: Kind, name: str, count: int) -> None:
    if count:
        of.setdefault(kind, {})[name] = count
    elif kind in of:
        of[kind].pop(name, None)
        if not of[kind]:
            del of[kind]


def _moved(column: Array, old: Counts) -> Array:
    """A column in another order of rows; zero for rows that were not there."""
    after = np.zeros(len(old), column.dtype)
    known = old >= 0
    after[known] = column[old[known]]
    return after


def _differing(
    worlds: tuple[Snapshot, Snapshot], node: str, now: float, needs: tuple[Needs, Needs]
) -> tuple[Holding, Holding] | None:
    """What the tasks of one node hold that are not as they were: those that were, as they were then, and those that
    are; None if nothing is known of then. `needs` are those of the two `worlds`."""
    before, world = worlds
    seen, tasks = before.nodes_with_tasks.get(node), world.tasks_of_node(node)
    if seen is None:
        return None
    pairs = [(seen.get(id), tasks.get(id)) for id in tasks.differing(seen)]
    differing = [pair for pair in pairs if not _holds_alike(*pair)]
    less = [old for old, _ in differing if old is not None]
    more = [new for _, new in differing if new is not None]
    return _holding(before, less, now, needs[0]) if less else _EMPTY, _holding(world, more, now, needs[1])


def _holds_alike(old: Task | None, new: Task | None) -> bool:
    """Whether two versions of a task on one node hold the same there: most of what is reported changes nothing here."""
    if old is None or new is None or old.state not in ON_NODE or new.state not in ON_NODE:
        return False
    return (old.release, old.ports, old.devices, old.placed_at, old.created_at) == (
        new.release,
        new.ports,
        new.devices,
        new.placed_at,
        new.created_at,
    )


def _holding(world: Snapshot, tasks: Iterable[Task], now: float, needs: Needs) -> Holding:
    """The sums of one node. Plain integers: NumPy's are slow one at a time."""
    cpu_millis = memory = disk = count = unlabelled = 0
    services: dict[str, int] = {}
    labelled: dict[Labels, int] = {}
    ports: list[HostPort] = []
    refused: list[tuple[HostPort, float]] = []
    newest: tuple[float, Age] | None = None
    beyond: list[Beyond] = []
    unknown = False
    for task in tasks:
        if task.placed_at is not None and (newest is None or task.placed_at >= newest[0]):
            placed = (task.placed_at, age(task))
            newest = placed if newest is None else max(newest, placed)
        if task.state not in ON_NODE:
            refused += _refused(task, now)
            continue
        kind = (task.service, task.release)
        need = needs[kind] if kind in needs else needs.setdefault(kind, need_of(world, task))
        if need is None:
            unknown = True
        else:
            cpu_millis += need[0]
            memory += need[1]
            disk += need[2]
            if need[4]:
                labelled[need[4]] = labelled.get(need[4], 0) + 1
            else:
                unlabelled += 1
        extra = need[3] if need is not None else None
        if extra is not None or task.devices:
            beyond.append((task.id, extra, task.devices))
        count += 1
        services[task.service] = services.get(task.service, 0) + 1
        if task.ports:
            ports += [(port.host, port.protocol) for port in task.ports]
    ports += [port for port, _ in refused]
    passing = unknown or bool(refused)
    return Holding(
        cpu_millis, memory, disk, count, services, labelled, unlabelled, ports, refused, newest, beyond, passing
    )


def need_of(world: Snapshot, task: Task) -> Need | None:
    """What a task on a node holds; None if its release is not kept."""
    release = world.release(task.service, task.release)
    if release is None:
        return None
    resources = release.spec.resources
    extra, labels = extra_of(release.spec), labels_of(release.spec.labels)
    return resources.cpu_millis, resources.memory, resources.disk, extra, labels


def _refused(task: Task, now: float) -> list[tuple[HostPort, float]]:
    """The host ports that an ended task was given and did not get, while they count as used."""
    if task.reason is not Reason.PORT_TAKEN or task.finished_at is None:
        return []
    until = task.finished_at + PORT_RETRY_S
    return [((port.host, port.protocol), until) for port in task.ports] if until > now else []
