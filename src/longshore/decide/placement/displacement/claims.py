"""What comes free on each node, and for whom it is held: the room of a pass of placement that is not there yet.

Tasks on their way out still hold what they hold. Who claims a node waits for that, and until then it is held for it, so
that nobody who comes later in the order takes it piece by piece. A slot whose task has just ended claims its place in
the same way, until it is filled again: what is of lower priority does not come in between. Knows the table of a pass
and what was taken and given up in it; not who is displaced, and for whom (`preemption`).
"""

from collections.abc import Container, Iterable, Iterator

import msgspec
import numpy as np

from longshore.decide import restart
from longshore.decide.dependencies import meanwhile, service_for
from longshore.decide.minimum import spare
from longshore.decide.placement.ask import Ask, HostPort, ask_of
from longshore.decide.placement.displacement.priorities import Turn, lowest, priorities, turn
from longshore.decide.placement.displacement.yielding import Yielding
from longshore.decide.placement.held import need_of
from longshore.decide.placement.holdings import PLENTY
from longshore.decide.placement.ranking import Taken
from longshore.decide.placement.table import Counts, NodeTable
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Service, Task, by_slot
from longshore.model.signs import Signs, signs
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, Resources

Numbers = tuple[int, ...]


class Needs(msgspec.Struct, frozen=True):
    """What of a node a task takes up that others may give up: the dimensions of a search for room."""

    cpu_millis: int
    memory: int
    disk: int
    pids: int
    named: tuple[tuple[str, int], ...]
    ports: tuple[HostPort, ...]

    def given_by(self, resources: Resources, ports: Container[HostPort]) -> Numbers:
        """How much of each a task gives up that holds these."""
        found = [resources.cpu_millis, resources.memory, resources.disk, resources.pids]
        found += [resources.named.get(name, 0) for name, _ in self.named]
        return (*found, *(int(port in ports) for port in self.ports))


def needs_of(ask: Ask) -> Needs:
    pids, named = (ask.extra.pids, ask.extra.named) if ask.extra is not None else (0, ())
    return Needs(ask.cpu_millis, ask.memory, ask.disk, pids, named, ask.fixed)


def ports_of(task: Task) -> frozenset[HostPort]:
    return frozenset((port.host, port.protocol) for port in task.ports)


class Claims:
    """Of one pass."""

    def __init__(self, world: Snapshot, table: NodeTable, taken: Taken, yielding: Yielding) -> None:
        self._world = world
        self._table = table
        self._taken = taken
        self.yielding = yielding
        self._columns: tuple[Counts, Counts, Counts] | None = None
        """Cpu, memory and disk of those that are leaving, by row."""
        self._leaving: dict[int, list[Task]] = {}
        """Those that this pass displaced."""
        self.displaced: set[str] = set()
        self._spare: dict[str, int] = {}
        self.spent = 0
        """How often a service lost a task that it could just spare."""
        self.opened: list[int] = []
        """The rows on which somebody was displaced, in order."""

    def leaving(self) -> tuple[Counts, Counts, Counts]:
        if self._columns is None:
            self.yielding.see(self._world)
            self._columns = tuple(np.zeros(len(self._table), np.int64) for _ in range(3))  # type: ignore[assignment]
            assert self._columns is not None
            for name, here in self.yielding.left.items():
                if name in self._table.row_of:
                    row = self._table.row_of[name]
                    for column, sum in zip(self._columns, (here.cpu_millis, here.memory, here.disk), strict=True):
                        column[row] += sum
        return self._columns

    def columns(self, needs: Needs) -> list[list[int]]:
        """What every node lacks of cpu, memory and disk for one more such task, once all who leave have left."""
        table, leaving = self._table, self.leaving()
        frees = (table.cpu_free, table.memory_free, table.disk_free)
        oweds = (table.cpu_owed, table.memory_owed, table.disk_owed)
        wants = (needs.cpu_millis, needs.memory, needs.disk)
        zero = [0] * len(table)
        return [
            (want - (free - owed + gone)).tolist() if want else zero
            for want, free, owed, gone in zip(wants, frees, oweds, leaving, strict=True)
        ]

    def lacks(self, row: int, needs: Needs, columns: list[list[int]] | None = None) -> Numbers:
        """The same of one node, and of all else that is needed."""
        if columns is not None:
            found = [column[row] for column in columns]
        else:
            table, gone = self._table, self.leaving()
            frees = (table.cpu_free, table.memory_free, table.disk_free)
            oweds = (table.cpu_owed, table.memory_owed, table.disk_owed)
            wants = (needs.cpu_millis, needs.memory, needs.disk)
            found = [
                want - (free.item(row) - owed.item(row) + less.item(row)) if want else 0
                for want, free, owed, less in zip(wants, frees, oweds, gone, strict=True)
            ]
        if not needs.pids and not needs.named and not needs.ports:
            return (*found, 0)
        return (*found, *self._rare(row, needs))

    def _rare(self, row: int, needs: Needs) -> list[int]:
        table = self._table
        given = [needs.given_by(resources, ports)[3:] for resources, ports in self._gone_from(row)]
        sums = [sum(column) for column in zip(*given, strict=True)] or [0] * (1 + len(needs.named) + len(needs.ports))
        machine = table.machine.item(row)
        wanted = [needs.pids - table.holdings.pids_unclaimed(row) if needs.pids else 0]
        wanted += [count - table.holdings.unclaimed(name, row) for name, count in needs.named]
        wanted += [table.ports.uses(machine, port) for port in needs.ports]
        return [want - less for want, less in zip(wanted, sums, strict=True)]

    def _gone_from(self, row: int) -> Iterator[tuple[Resources, frozenset[HostPort]]]:
        """What those hold who leave a node."""
        for task in (*self.yielding.on(self._table.names[row]).leaving, *self._leaving.get(row, ())):
            release = self._world.release(task.service, task.release)
            yield (release.spec.resources if release is not None else Resources()), ports_of(task)

    # -- what a pass does

    def hold(self, row: int, ask: Ask) -> None:
        """Hold room on a node for a task that waits for it."""
        self._taken.add(row, 0.0)
        self._table.hold(row, ask)

    def displace(self, row: int, task: Task, serves: bool) -> None:
        """Count a task of a node among those that leave it."""
        self.displaced.add(task.id)
        self._leaving.setdefault(row, []).append(task)
        need = need_of(self._world, task)
        for column, count in zip(self.leaving(), need[:3] if need is not None else (0, 0, 0), strict=True):
            column[row] += count
        if serves and self.spare(task.service) < PLENTY:
            self._spare[task.service] -= 1
            self.spent += 1
        self.opened.append(row)

    def touches(self, row: int) -> bool:
        """Whether this pass has displaced anybody on a node."""
        return row in self._leaving

    def spare(self, service: str) -> int:
        """How many tasks that serve a service can do without, after those that were taken from it in this pass."""
        if service not in self._spare:
            found = self._world.services.get(service)
            self._spare[service] = spare(self._world, found) if found is not None else PLENTY
        return self._spare[service]


class Hold(msgspec.Struct, frozen=True):
    """Room that is held on a node."""

    turn: Turn
    """When its turn is, among those that wait."""
    node: str
    ask: Ask

    @property
    def priority(self) -> int:
        return -self.turn[0]


def held_for_slots(world: Snapshot) -> list[Hold]:
    """The places of tasks that ended and are followed by others, those of the highest priority first. Of services
    above the lowest priority alone: between others nobody comes first."""
    floor, found = lowest(world), []
    for name in world.services if floor < 0 else priorities(world):
        if world.services[name].spec.priority <= floor:
            continue
        service = meanwhile(world, world.services[name])
        parts = (part for part in world.tasks_of_service(name).parts if not _is_settled(service, signs(part)))
        asks: dict[int, Ask] = {}
        for task in (task for part in parts for task in part.derive(_emptied)):
            following = _following(world, service, task)
            if following is not None:
                ask = asks.get(following.release) or ask_of(name, following.spec)
                asks[following.release] = ask
                found.append(Hold(turn(world, task), task.node, ask))
    return sorted(found, key=lambda one: one.turn)


def held_for_waiting(world: Snapshot, *, largest_first: bool) -> list[Hold]:
    """The nodes that waiting tasks claim."""
    found = []
    for name in world.services_with_tasks:
        service = world.services.get(name)
        for part in world.tasks_of_service(name).parts if service is not None else ():
            for task in part.derive(_claiming):
                release = world.release(name, task.release)
                if release is not None:
                    when = turn(world, task, largest_first=largest_first)
                    found.append(Hold(when, task.claims, ask_of(name, release.spec)))
    return found


def hold_before(world: Snapshot, table: NodeTable, task: Task, *, largest_first: bool) -> bool:
    """Hold in a table what is held for those that come before a task; whether there is any such room."""
    mine = turn(world, task, largest_first=largest_first)
    holds = [one for one in held_for_waiting(world, largest_first=largest_first) if one.turn < mine]
    holds += [one for one in held_for_slots(world) if -one.priority < mine[0]]
    holds = [one for one in sorted(holds, key=lambda one: one.turn) if one.node in table.row_of]
    for one in holds:
        table.hold(table.row_of[one.node], one.ask)
    return bool(holds)


def _claiming(tasks: Iterable[Task]) -> tuple[Task, ...]:
    return tuple(task for task in tasks if task.claims and task.state is State.NEW and task.wanted is Wanted.RUNNING)


def _emptied(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """Who filled each slot last in which none lives."""
    left = (restart.left_by(here) for here in by_slot(tasks).values() if not any(task.live for task in here))
    return tuple(task for task in left if task.node)


def _is_settled(service: Service, seen: Signs) -> bool:
    """Whether no slot of a part is to be filled again: each has a task that counts, or has done its work."""
    return seen.alone and (not seen.done or (service.spec.mode is Mode.JOB and seen.done_releases == {service.release}))


def _following(world: Snapshot, service: Service, task: Task) -> Service | None:
    """The service as the task is to see it that fills the slot of one that ended; None if none does."""
    if task.wanted is Wanted.REMOVED or (service.spec.mode is not Mode.GLOBAL and task.slot > service.spec.replicas):
        return None
    following = service_for(world, service, task)
    return following if following is not None and restart.next_at(task, following) is not None else None
