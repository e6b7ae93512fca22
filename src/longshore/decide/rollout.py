"""How a task gives way to another one of its slot: for a new release, for a node that is drained, for a move.

Start-first, another task of the slot is started beside the one that fills it, and stands by. Once it is ready it takes
over: it counts from then on, and the former leaves the rotation, runs on for its drain delay, and is stopped. So no
request meets a slot that nobody fills. Stop-first, where two may not run at once, the former leaves and is stopped,
and `services` fills the slot anew. What serves nobody gives way at once. Which release is wanted, and whether it goes
on, is `deployments`' business; where a task goes is placement's.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from longshore.decide import restart
from longshore.decide.fence import is_fenced
from longshore.decide.placement.constraints import eligible
from longshore.model.changes import Change, raise_wanted
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Kind, ReleasePhase, Service, Task, task_id
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, MountKind, ServiceSpec, UpdateOrder, drain_s_of

STEADY_S = 1.0
"""A task without a check takes over once it has run for so long."""
NO_ROOM_S = 5.0
"""A new release's task that finds no room beside the former one for so long takes its place instead."""

Again = float | None


def decide(world: Snapshot, name: str, now: float) -> tuple[list[Change], Again]:
    """Changes that take service `name` one step further, and when to look again."""
    service = world.services.get(name)
    if service is None:
        return [], None
    step = _Step(world, service, now)
    if service.spec.mode is Mode.JOB:
        step.clear_for_job()
    else:
        step.run()
    return step.changes, min(step.looks, default=None)


def starts_first(spec: ServiceSpec) -> bool:
    """Whether a task of this spec may run beside the one that it relieves."""
    if spec.single_writer:
        return False
    if spec.update.order is not None:
        return spec.update.order is UpdateOrder.START_FIRST
    fixed = any(port.host is not None for port in spec.ports)
    writes = any(mount.kind is not MountKind.TMPFS and mount.source and not mount.read_only for mount in spec.mounts)
    return not fixed and not writes


class _Step:
    """One look at one service."""

    def __init__(self, world: Snapshot, service: Service, now: float) -> None:
        self._world = world
        self._service = service
        self._rules = service.spec.update
        self._now = now
        self.changes: list[Change] = []
        self.looks: list[float] = []
        self._slots: dict[int, list[Task]] = defaultdict(list)
        for task in sorted(world.tasks_of_service(service.name).values(), key=lambda one: (one.slot, one.generation)):
            if service.spec.mode is Mode.GLOBAL or task.slot <= service.spec.replicas:
                self._slots[task.slot].append(task)

    def run(self) -> None:
        self._stop_what_has_left()
        self.give_way(self._overdue())
        gone = {change.id for change in self.changes}
        held = {slot for slot, here in self._slots.items() if self._tend([one for one in here if one.id not in gone])}
        outdated = [task for task in self.outdated() if task.slot not in held and task.id not in gone]
        useless = [task for task in outdated if not task.ready]
        self.give_way(useless)
        self._begin([task for task in outdated if task.ready], [*held, *(task.slot for task in useless)])

    def clear_for_job(self) -> None:
        """A job's tasks serve nobody: each older one gives way at once, and nobody stands by."""
        self._stop_what_has_left()
        for task in self._every():
            if task.stands_by:
                self._raise(task, Wanted.REMOVED, Reason.SUPERSEDED, "a job has nobody stand by")
        self.give_way(self.outdated())

    # -- what is under way

    def _stop_what_has_left(self) -> None:
        for task in self._every():
            if task.live and task.wanted is Wanted.LEAVING:
                at = (task.leaving_at or 0.0) + drain_s_of(self._service.spec)
                if at > self._now:
                    self.looks.append(at)
                else:
                    self._raise(task, Wanted.STOPPED, Reason.RELIEVED, "its drain delay has passed")

    def _overdue(self) -> list[Task]:
        """Tasks on nodes whose deadline for giving them up has passed: they go, whether another is ready or not."""
        found = []
        for task in self._every():
            node = self._world.nodes.get(task.node)
            if task.counts and node is not None and node.availability.gives_up and node.drain_by is not None:
                if node.drain_by <= self._now:
                    found.append(task)
                else:
                    self.looks.append(node.drain_by)
        return found

    def _tend(self, here: Sequence[Task]) -> bool:
        """Look after the task that stands by in a slot; whether there is one."""
        relief = next((task for task in here if task.stands_by), None)
        if relief is None:
            return False
        former = next((task for task in here if task.counts), None)
        if former is not None and not self._is_wanted(relief, former):
            self._raise(relief, Wanted.REMOVED, Reason.SUPERSEDED, f"{former.id} is to stay")
        elif former is None or not former.ready or self._serves(relief):
            if former is not None:
                self._leave(former, f"{relief.id} takes over")
            self._change(relief, replace(relief, relieves=""), Reason.RELIEVED, f"takes over from {relief.relieves}")
        elif self._finds_no_room(relief):
            self._raise(relief, Wanted.REMOVED, Reason.NO_NODE, "no room to start it first")
            self._leave(former, f"gives way, as nothing fits beside it: {relief.message}")
        return True

    def _serves(self, relief: Task) -> bool:
        """Whether it is ready; without a check to tell, whether it has run for a moment."""
        spec = self._service.spec
        if not relief.ready:
            return False
        if spec.health is not None or spec.readiness is not None:
            return True
        at = (relief.started_at or self._now) + min(STEADY_S, self._rules.monitor_s)
        if at > self._now:
            self.looks.append(at)
        return at <= self._now

    def _is_wanted(self, relief: Task, former: Task) -> bool:
        return relief.release == self._service.release and self._cause(former) is not None

    def _finds_no_room(self, relief: Task) -> bool:
        """A task that leaves a node may wait for room elsewhere; a new release takes the room of the old one."""
        former = self._world.task(relief.relieves)
        waits = relief.state is State.NEW and relief.reason is Reason.NO_NODE
        if not waits or self._rules.order is not None or former is None:
            return False
        if self._cause(former) is not Reason.OUTDATED or len(self._unready()) >= max(self._rules.parallelism, 1):
            return False
        at = relief.created_at + NO_ROOM_S
        if at > self._now:
            self.looks.append(at)
        return at <= self._now

    # -- what comes next

    def outdated(self) -> list[Task]:
        """The tasks that count and are to give way, in order."""
        return [task for task in self._every() if task.counts and self._cause(task) is not None]

    def _cause(self, task: Task) -> Reason | None:
        """Why a task is to give way; None if it may stay."""
        if self._service.spec.mode is Mode.GLOBAL and not task.pinned:
            return None  # of a time when the service was not global: `services` removes it
        node = self._world.nodes.get(task.node)
        # A global service has no task on such a node at all, which `services` sees to.
        if node is not None and node.availability.gives_up and self._service.spec.mode is not Mode.GLOBAL:
            return Reason.NODE_DRAINED
        if task.release == self._service.release:
            return None
        release = self._world.release(self._service.name, self._service.release)
        held = release is not None and release.phase in (ReleasePhase.PAUSED, ReleasePhase.FAILED)
        return None if held else Reason.OUTDATED

    def give_way(self, tasks: Iterable[Task]) -> None:
        """Stop tasks that serve nobody."""
        for task in tasks:
            cause = self._cause(task) or Reason.OUTDATED
            self._raise(task, Wanted.STOPPED, cause, self._words(task, cause))

    def _begin(self, ready: Sequence[Task], busy: Sequence[int]) -> None:
        """Begin with as many more slots as the rules allow."""
        if not ready or self._must_pause():
            return
        alone = any(is_fenced(self._world, task) for task in ready)  # by the release that they run
        first = starts_first(self._service.spec) and not alone
        at_once = self._rules.parallelism or len(self._slots)
        # A slot that nobody serves is being worked on as well: none is emptied beside it, and a new release that does
        # not run goes no further. To start a task elsewhere takes nothing from anybody.
        careful, free = at_once - len(self._unready().union(busy)), at_once - len(set(busy))
        room = {Reason.OUTDATED: careful, Reason.NODE_DRAINED: free if first else careful}
        for task in ready:
            cause = self._cause(task)
            assert cause is not None
            if room[cause] <= 0:
                continue
            room = {one: left - 1 for one, left in room.items()}
            if first:
                self._start_relief(task, cause)
            else:
                self._leave(task, self._words(task, cause), cause)

    def _must_pause(self) -> bool:
        """Between two steps."""
        latest = max((task.created_at for task in self._every() if task.release == self._service.release), default=0.0)
        at = latest + self._rules.delay_s
        if self._rules.delay_s and at > self._now:
            self.looks.append(at)
            return True
        return False

    def _unready(self) -> set[int]:
        """Slots that nobody serves. One that was just emptied is still one."""
        served = {slot for slot, here in self._slots.items() if any(task.counts and task.ready for task in here)}
        if self._service.spec.mode is not Mode.GLOBAL:
            return set(range(1, self._service.spec.replicas + 1)) - served
        slot_of = {here[-1].pinned: slot for slot, here in self._slots.items()}
        nodes = [name for name, node in self._world.nodes.items() if eligible(node, self._service.spec)]
        counting = [here[-1].pinned for slot, here in self._slots.items() if any(task.counts for task in here)]
        return {slot_of.get(name, -place) for place, name in enumerate({*nodes, *counting}, 1)} - served

    def _start_relief(self, former: Task, cause: Reason) -> None:
        """Start a task that is to take over, unless the last one that was to failed too lately."""
        here = self._slots[former.slot]
        newest, attempt = here[-1], 0
        if newest.relieves and not newest.live and newest.release == self._service.release:
            at = restart.again(newest, self._service.spec)
            if at is None:
                return  # it is given up; what becomes of the release is decided elsewhere
            if at > self._now:
                self.looks.append(at)
                return
            attempt = restart.attempt_after(newest, self._service.spec)
        id = task_id(self._service.name, former.slot, newest.generation + 1)
        relief = Task(
            id=id,
            service=self._service.name,
            slot=former.slot,
            generation=newest.generation + 1,
            release=self._service.release,
            pinned=former.pinned if self._service.spec.mode is Mode.GLOBAL else "",
            relieves=former.id,
            attempt=attempt,
            reason=Reason.STANDS_BY,
            message=f"to take over from {former.id}: {cause}",
            created_at=self._now,
        )
        self.changes.append(
            Change(
                kind=Kind.TASK,
                id=id,
                before=0,
                after=relief,
                by=Owner.ROLLOUT,
                reason=Reason.STANDS_BY,
                message=relief.message,
            )
        )

    # -- changes

    def _leave(self, task: Task, message: str, cause: Reason = Reason.RELIEVED) -> None:
        """Take a task out of rotation; it is stopped later, or at once if nobody is to be waited for."""
        if not task.ready or not drain_s_of(self._service.spec):
            self._raise(task, Wanted.STOPPED, cause, message)
            return
        self._change(task, replace(task, wanted=Wanted.LEAVING, leaving_at=self._now), cause, message)
        self.looks.append(self._now + drain_s_of(self._service.spec))

    def _raise(self, task: Task, wanted: Wanted, reason: Reason, message: str) -> None:
        change = raise_wanted(task, wanted, reason, Owner.ROLLOUT, message)
        if change is not None:
            self.changes.append(change)

    def _change(self, task: Task, after: Task, reason: Reason, message: str) -> None:
        self.changes.append(
            Change(
                kind=Kind.TASK,
                id=task.id,
                before=task.revision,
                after=after,
                by=Owner.ROLLOUT,
                reason=reason,
                message=message,
            )
        )

    def _words(self, task: Task, cause: Reason) -> str:
        if cause is Reason.OUTDATED:
            return f"release {task.release} gives way to {self._service.release}"
        node = self._world.nodes.get(task.node)
        return f"node {task.node} is {node.availability if node is not None else 'gone'}"

    def _every(self) -> list[Task]:
        return [task for here in self._slots.values() for task in here]
