"""How a task gives way to another one of its slot: for a new release, for a node that is drained, for a move.

Start-first, another task of the slot is started beside the one that fills it, and stands by. Once it is ready it takes
over: it counts from then on, and the former leaves the rotation, runs on for its drain delay, and is stopped. So no
request meets a slot that nobody fills. Stop-first, where two may not run at once, the former leaves and is stopped,
and `services` fills the slot anew. What serves nobody gives way at once. Which release is wanted, and whether it goes
on, is `deployments`' business; where a task goes is placement's.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from longshore.decide import moves, restart
from longshore.decide.dependencies import meanwhile, release_for, waits
from longshore.decide.fence import is_fenced
from longshore.decide.placement.constraints import eligible, gives_up
from longshore.model.changes import Change, Guard, changed, on_node, raise_wanted
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Kind, Node, ReleasePhase, Service, Task, slot_by_node, task_id
from longshore.model.reasons import Reason
from longshore.model.signs import Signs, signs
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, MountKind, ServiceSpec, UpdateOrder, drain_s_of, volumes_of

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
    service = meanwhile(world, service)
    if not stirs(world, service):
        return [], None
    step = _Step(world, service, now)
    if service.spec.mode is Mode.JOB:
        step.clear_for_job()
    else:
        step.run()
    return step.changes, min(step.looks, default=None)


def stirs(world: Snapshot, service: Service) -> bool:
    """Whether any task of a service may be about to give way, or to take over from one that is."""
    given_up = world.nodes.derive(_given_up)
    return any(_may_stir(service, signs(part), given_up) for part in world.tasks_of_service(service.name).parts)


def _may_stir(service: Service, seen: Signs, given_up: frozenset[str]) -> bool:
    """Whether any of these tasks may give way, or is what another gives way to."""
    if seen.gives_way or seen.releases - {service.release}:
        return True
    if seen.pinned and service.spec.mode is not Mode.GLOBAL:
        return True
    return bool(given_up) and not given_up.isdisjoint(seen.nodes)


def _given_up(nodes: Mapping[str, Node]) -> frozenset[str]:
    """Names of the nodes that are to give their tasks up, or those of them that do not tolerate a taint."""
    return frozenset(name for name, node in nodes.items() if node.availability.gives_up or node.taints)


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
        self._at_once = self._rules.parallelism or math.inf
        """Slots that may be worked on side by side."""
        self._now = now
        self._waits = bool(waits(world, service))
        """Whether nothing may give way to the current release yet. What it has begun goes on."""
        self.changes: list[Change] = []
        self.looks: list[float] = []
        self._emptied: set[int] = set()
        """Slots that this look empties."""
        self._turn: list[str] = []
        """Tasks in the whole cluster that may move now, if any of this service is to."""
        self._steadying: set[int] = set()
        """Slots whose next task runs and has only that moment to wait out. Others are begun meanwhile: else an update
        would take so many moments more, and nobody serves less for it."""
        self._slots: dict[int, list[Task]] = defaultdict(list)
        for task in sorted(world.tasks_of_service(service.name).values(), key=lambda one: (one.slot, one.generation)):
            if service.spec.mode is Mode.GLOBAL or task.slot <= service.spec.replicas:
                self._slots[task.slot].append(task)

    def run(self) -> None:
        self._stop_what_has_left()
        if self._end_moves():
            return  # to be looked at again as they are then
        self.give_way(self._overdue())
        gone = {change.id for change in self.changes}
        held = {slot for slot, here in self._slots.items() if self._tend([one for one in here if one.id not in gone])}
        outdated = [task for task in self.outdated() if task.slot not in held and task.id not in gone]
        useless = [task for task in outdated if not task.ready and self._cause(task) is not Reason.MOVED]
        self.give_way(useless)
        ready = [task for task in outdated if task.ready]
        stranded = [task for task in ready if self._is_stranded(task)]
        for task in stranded:
            self._leave(task, self._words(task, Reason.NODE_DRAINED), Reason.NODE_DRAINED)
        # At most as many again as may be under way at once: what does not run is found out before there are more.
        passed_by = sorted(self._steadying)[: self._rules.parallelism or None]
        busy = [*held.difference(passed_by), *(task.slot for task in (*useless, *stranded))]
        self._begin([task for task in ready if task not in stranded], busy)

    def clear_for_job(self) -> None:
        """A job's tasks serve nobody: each older one gives way at once, and nobody stands by."""
        self._stop_what_has_left()
        if self._end_moves():
            return
        for task in self._every():
            if task.stands_by:
                self._raise(task, Wanted.REMOVED, Reason.SUPERSEDED, "a job has nobody stand by")
        self.give_way(self.outdated())

    # -- what is under way

    def _end_moves(self) -> bool:
        """Note the end of moves: of those that are given up, and of those that came to where they were to; whether
        there are any. What moved is not bound to its node, and may be started anywhere the next time."""
        every = self._every()
        moving = [task for task in every if task.counts and task.moves_to]
        self._turn = moves.whose_turn(self._world) if moving else []
        for task in moving:
            words, at = moves.why_stays(self._world, self._service, task, every, self._turn, self._now)
            if words:
                self._give_up(task, words)
            elif at is not None:
                self.looks.append(at)
        for task in every:
            if task.counts and moves.was_sent(self._world, self._service, task):
                if task.state is State.RUNNING:
                    self._change(task, self._taken_over(task), Reason.MOVED, f"runs on {task.node}")
                elif task.state is State.NEW and task.reason is Reason.NO_NODE:
                    free = replace(self._taken_over(task), reason=Reason.REPLACES, message="")
                    self._change(task, free, Reason.MOVE_GIVEN_UP, f"goes anywhere: {task.message}")
        return any(change.reason in (Reason.MOVED, Reason.MOVE_GIVEN_UP) for change in self.changes)

    def _give_up(self, former: Task, words: str) -> None:
        """Have a task stay where it is, and remove what was to take over from it."""
        stays = replace(former, moves_to="", moves_turn=0, move_ended_at=self._now)
        self._change(former, stays, Reason.MOVE_GIVEN_UP, words)
        gone = {change.id for change in self.changes}
        for task in self._slots[former.slot]:
            if task.relieves == former.id and task.pinned and task.id not in gone:
                self._raise(task, Wanted.REMOVED, Reason.MOVE_GIVEN_UP, f"{former.id} is to stay")

    def _taken_over(self, task: Task) -> Task:
        """`task` once it fills its slot, wherever it was sent to."""
        if not moves.was_sent(self._world, self._service, task):
            return replace(task, relieves="")
        return replace(task, relieves="", pinned="", move_ended_at=self._now)

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
        elif former is None or (not former.ready and not former.moves_to) or self._serves(relief):
            if former is not None:
                self._leave(replace(former, moves_to="", moves_turn=0), f"{relief.id} takes over")
            moved = Reason.MOVED if former is not None and former.moves_to else Reason.RELIEVED
            self._change(relief, self._taken_over(relief), moved, f"takes over from {relief.relieves}")
        elif self._finds_no_room(relief):
            self._emptied.add(relief.slot)
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
            self._steadying.add(relief.slot)
        return at <= self._now

    def _is_wanted(self, relief: Task, former: Task) -> bool:
        cause = self._cause(former)
        drained = self._waits and cause is Reason.NODE_DRAINED and relief.release == former.release
        pinned = former.moves_to if cause is Reason.MOVED else ""
        if self._service.spec.mode is Mode.GLOBAL:
            pinned = former.pinned
        wanted = relief.release == self._service.release or drained
        return cause is not None and wanted and relief.pinned == pinned

    def _finds_no_room(self, relief: Task) -> bool:
        """A task that leaves a node may wait for room elsewhere; a new release takes the room of the old one."""
        former = self._world.task(relief.relieves)
        unplaced = relief.state is State.NEW and relief.reason is Reason.NO_NODE
        if not unplaced or self._waits or self._rules.order is not None or former is None:
            return False
        unserved = self._unready() | self._emptied
        if self._cause(former) is not Reason.OUTDATED or len(unserved) >= self._at_once:
            return False
        at = relief.created_at + NO_ROOM_S
        if at > self._now:
            self.looks.append(at)
        return at <= self._now

    # -- what comes next

    def outdated(self) -> list[Task]:
        """The tasks that count and are to give way, in order."""
        causes = (None, Reason.OUTDATED) if self._waits else (None,)
        return [task for task in self._every() if task.counts and self._cause(task) not in causes]

    def _cause(self, task: Task) -> Reason | None:
        """Why a task is to give way; None if it may stay."""
        if self._service.spec.mode is Mode.GLOBAL and not task.pinned:
            return None  # of a time when the service was not global: `services` removes it
        # A global service has no task on such a node at all, which `services` sees to.
        if self._service.spec.mode is not Mode.GLOBAL and self._is_given_up(task):
            return Reason.NODE_DRAINED
        if task.release == self._service.release:
            return Reason.MOVED if task.moves_to else None
        release = self._world.release(self._service.name, self._service.release)
        held = release is not None and release.phase in (ReleasePhase.PAUSED, ReleasePhase.FAILED)
        return None if held else Reason.OUTDATED

    def _is_given_up(self, task: Task) -> bool:
        """Whether its node is to have no such task: by what its own release tolerates, which placement went by. By
        another's it would leave, and its slot be filled there again, for as long as that other has to wait."""
        node, own = self._world.nodes.get(task.node), self._world.release(task.service, task.release)
        return node is not None and gives_up(node, own.spec if own is not None else self._service.spec)

    def _is_stranded(self, task: Task) -> bool:
        """Whether its node is to give it up, and its volumes are there: then nobody can relieve it, and to wait until
        another serves would be to wait for ever."""
        release = self._world.release(task.service, task.release)
        volumes = release is not None and volumes_of(release.spec)
        return bool(volumes) and self._cause(task) is Reason.NODE_DRAINED

    def give_way(self, tasks: Iterable[Task]) -> None:
        """Stop tasks that serve nobody."""
        for task in tasks:
            cause = self._cause(task) or Reason.OUTDATED
            self._raise(task, Wanted.STOPPED, cause, self._words(task, cause))

    def _begin(self, ready: Sequence[Task], busy: Sequence[int]) -> None:
        """Begin with as many more slots as the rules allow."""
        if not ready or self._must_pause():
            return
        first = all(self._goes_first(task) for task in ready)
        # A slot that nobody serves is being worked on as well: none is emptied beside it, and a new release that does
        # not run goes no further. To start a task elsewhere takes nothing from anybody.
        careful, free = self._at_once - len(self._unready().union(busy)), self._at_once - len(set(busy))
        gentle = free if first else careful
        room = {Reason.OUTDATED: careful, Reason.NODE_DRAINED: gentle, Reason.MOVED: gentle}
        # In turn, or one of a later turn waits here for room that the first would make, which waits for it to be done.
        turns = {id: turn for turn, id in enumerate(self._turn)}
        for task in sorted(ready, key=lambda task: turns.get(task.id, -1)):
            cause = self._cause(task)
            assert cause is not None
            if cause is Reason.MOVED and task.id not in self._turn:
                self.looks.append(self._now + moves.TURN_LOOK_S)
                continue
            if room[cause] <= 0:
                continue
            room = {one: left - 1 for one, left in room.items()}
            if self._goes_first(task):
                self._start_relief(task, cause)
            else:
                self._leave(task, self._words(task, cause), cause)

    def _goes_first(self, former: Task) -> bool:
        """Whether what follows a task may run beside it, by the rules of the release that follows. Beside a single
        writer nobody may, whatever follows."""
        if is_fenced(self._world, former):
            return False
        same = self._world.release(self._service.name, former.release) if self._waits else None
        return starts_first(same.spec if same is not None else self._service.spec)

    def _must_pause(self) -> bool:
        """Between two steps."""
        latest = max((task.created_at for task in self._every() if task.release == self._service.release), default=0.0)
        at = latest + self._rules.delay_s
        if self._rules.delay_s and at > self._now:
            self.looks.append(at)
            return True
        return False

    def _unready(self) -> set[int]:
        """Slots that nobody serves. One that was just emptied is still one; one that has to wait is nobody's work."""
        return {slot for slot in self._unserved() if not self._has_to_wait(slot)}

    def _has_to_wait(self, slot: int) -> bool:
        here = self._slots.get(slot)
        former = restart.left_by(here) if here else None
        return self._waits and release_for(self._world, self._service, former) is None

    def _unserved(self) -> set[int]:
        served = {slot for slot, here in self._slots.items() if any(task.counts and task.ready for task in here)}
        if self._service.spec.mode is not Mode.GLOBAL:
            return set(range(1, self._service.spec.replicas + 1)) - served
        slot_of = slot_by_node(self._slots)
        nodes = [name for name, node in self._world.nodes.items() if eligible(node, self._service.spec)]
        counting = [task.pinned for task in self._every() if task.counts and task.pinned]
        return {slot_of.get(name, -place) for place, name in enumerate({*nodes, *counting}, 1)} - served

    def _start_relief(self, former: Task, cause: Reason) -> None:
        """Start a task that is to take over, unless the last one that was to failed too lately."""
        here = self._slots[former.slot]
        newest, attempt = here[-1], 0
        release = former.release if self._waits else self._service.release
        pinned = former.pinned if self._service.spec.mode is Mode.GLOBAL else former.moves_to
        # One that was to take over elsewhere says nothing of this one.
        if newest.relieves and not newest.live and newest.release == release and newest.pinned == pinned:
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
            release=release,
            pinned=pinned,
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
        change = raise_wanted(task, wanted, reason, Owner.ROLLOUT, message, self._rests_on(task, reason))
        if change is not None:
            self.changes.append(change)

    def _change(self, task: Task, after: Task, reason: Reason, message: str) -> None:
        self.changes.append(changed(task, after, Owner.ROLLOUT, reason, message, self._rests_on(task, reason)))

    def _rests_on(self, task: Task, reason: Reason) -> Guard | None:
        """A task leaves its node for what the node's record says."""
        return on_node(task.node, self._world.nodes.get(task.node)) if reason is Reason.NODE_DRAINED else None

    def _words(self, task: Task, cause: Reason) -> str:
        if cause is Reason.OUTDATED:
            return f"release {task.release} gives way to {self._service.release}"
        if cause is Reason.MOVED:
            return f"moves to {task.moves_to}"
        node = self._world.nodes.get(task.node)
        if node is not None and not node.availability.gives_up:
            return f"node {task.node} is tainted"
        return f"node {task.node} is {node.availability if node is not None else 'gone'}"

    def _every(self) -> list[Task]:
        return [task for here in self._slots.values() for task in here]
