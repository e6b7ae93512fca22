"""Bugs that somebody could write, each planted into the running program by a small patch.

They test the worlds: a simulator that does not notice these would not notice the real ones either. Each patch replaces
one function by one that does a little less, or a little wrong; what it breaks is its docstring. `caught_by` is a seed
whose world is known to notice, so that the usual run needs one world for each.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace

from longshore.agent import runner, worker
from longshore.agent.outbox import Outbox
from longshore.agent.runner import Runner
from longshore.agent.worker import Worker
from longshore.control import controllers, records, sessions
from longshore.control.dependents import Dependents
from longshore.control.liveness import Liveness
from longshore.control.operations import Operations
from longshore.control.sessions import Sessions
from longshore.control.steady import SteadyClock
from longshore.decide import containers, dependencies, nodes, restart, rollout, services
from longshore.decide.placement import filters, place
from longshore.decide.placement.displacement import claims, preemption
from longshore.decide.placement.holdings import PLENTY
from longshore.decide.placement.volumes import Volumes
from longshore.loop.queue import KeyQueue
from longshore.model.changes import Change, raise_wanted
from longshore.model.containers import fingerprint
from longshore.model.errors import Conflict, Unavailable
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.messages import Acknowledge
from longshore.model.objects import Kind, Role, Task, Token, Volume, task_id
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode
from longshore.simulate import world
from longshore.simulate.guarding import SimulatedGuard

Plant = Callable[[pytest.MonkeyPatch], None]


class Mutant(NamedTuple):
    name: str
    plant: Plant
    caught_by: int


MUTANTS: list[Mutant] = []


def planting(into: list[Mutant]) -> Callable[..., Callable[[Plant], Plant]]:
    """A decorator that lists planted bugs."""

    def mutant(*, caught_by: int) -> Callable[[Plant], Plant]:
        def add(plant: Plant) -> Plant:
            into.append(Mutant(plant.__name__, plant, caught_by))
            return plant

        return add

    return mutant


mutant = planting(MUTANTS)


def _changes_without(patch: pytest.MonkeyPatch, module: Any, unwanted: Callable[[Change], bool]) -> None:
    """`module.decide`, without the changes that are `unwanted`."""
    real = module.decide

    def decide(*arguments: Any, **more: Any) -> tuple[list[Change], float | None]:
        changes, again = real(*arguments, **more)
        return [change for change in changes if not unwanted(change)], again

    patch.setattr(module, "decide", decide)


# -- the store


@mutant(caught_by=0)
def no_compare_and_swap(patch: pytest.MonkeyPatch) -> None:
    """A decision that lands late overwrites what happened meanwhile."""
    real = Snapshot._check

    def check(self: Snapshot, *arguments: Any) -> None:
        try:
            real(self, *arguments)
        except Conflict:
            return

    patch.setattr(Snapshot, "_check", check)


# -- moves for balance


@mutant(caught_by=7)
def a_task_that_moves_has_the_next_one_started_anywhere(patch: pytest.MonkeyPatch) -> None:
    """Not on the node that it is to move to."""
    real = rollout.decide

    def decide(*arguments: Any) -> tuple[list[Change], float | None]:
        changes, again = real(*arguments)
        service = arguments[0].services.get(arguments[1])
        if service is None or service.spec.mode is not Mode.REPLICATED:
            return changes, again
        return [
            replace(change, after=replace(change.after, pinned=""))
            if isinstance(change.after, Task) and change.before == 0
            else change
            for change in changes
        ], again

    patch.setattr(rollout, "decide", decide)


@mutant(caught_by=47)
def what_moved_stays_bound_to_its_node(patch: pytest.MonkeyPatch) -> None:
    """Its pin outlives its move."""
    patch.setattr(rollout._Step, "_taken_over", lambda self, task: replace(task, relieves=""))


# -- decisions about services


@mutant(caught_by=0)
def two_tasks_for_one_slot(patch: pytest.MonkeyPatch) -> None:
    """An empty slot is filled twice over."""
    real = services.decide

    def decide(*arguments: Any) -> tuple[list[Change], float | None]:
        changes, again = real(*arguments)
        twins = []
        for change in changes:
            if isinstance(change.after, Task) and change.before == 0:
                task = change.after
                twin = replace(task, generation=task.generation + 1)
                twin = replace(twin, id=task_id(task.service, task.slot, twin.generation))
                twins.append(replace(change, id=twin.id, after=twin))
        return changes + twins, again

    patch.setattr(services, "decide", decide)


@mutant(caught_by=0)
def a_stopped_task_fills_its_slot_for_ever(patch: pytest.MonkeyPatch) -> None:
    """What was stopped is not replaced."""
    real = services._fill_at

    def fill_at(service: Any, here: list[Task]) -> float | None:
        return None if here and here[-1].wanted is Wanted.STOPPED else real(service, here)

    patch.setattr(services, "_fill_at", fill_at)


@mutant(caught_by=0)
def the_next_task_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    """A slot is filled while the task before it is still on its way out."""
    real = services._fill_at

    def fill_at(service: Any, here: list[Task]) -> float | None:
        return 0.0 if here and here[-1].live else real(service, here)

    patch.setattr(services, "_fill_at", fill_at)


@mutant(caught_by=6)
def history_is_never_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Ended tasks and their containers pile up."""
    patch.setattr(services, "_history", lambda here, kept: [])


@mutant(caught_by=1)
def records_of_removed_tasks_stay(patch: pytest.MonkeyPatch) -> None:
    """What is removed is never deleted."""
    patch.setattr(services, "_forgotten", lambda world, tasks: [])


@mutant(caught_by=14)
def nobody_looks_again_after_a_back_off(patch: pytest.MonkeyPatch) -> None:
    """A restart that has to wait waits for ever."""
    real = services.decide
    patch.setattr(services, "decide", lambda *arguments: (real(*arguments)[0], None))


@mutant(caught_by=11)
def attempts_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """A crash loop never gives up."""
    patch.setattr(restart, "attempt_after", lambda task, spec: 1)


@mutant(caught_by=1)
def a_slot_of_a_global_service_is_filled_by_anything(patch: pytest.MonkeyPatch) -> None:
    """Also by a task of a time when the service was not global, on whatever node. (A real bug once.)"""
    _changes_without(patch, services, lambda change: change.reason is Reason.NODE_NOT_ELIGIBLE)


@mutant(caught_by=22)
def a_finished_job_runs_again(patch: pytest.MonkeyPatch) -> None:
    """What ended well is started over."""
    real = restart.again

    def again(task: Task, spec: Any) -> float | None:
        finished = task.state is State.FINISHED and spec.mode is Mode.JOB
        return (task.finished_at or 0.0) + 1.0 if finished else real(task, spec)

    patch.setattr(restart, "again", again)


@mutant(caught_by=1)
def a_global_service_does_not_notice_nodes(patch: pytest.MonkeyPatch) -> None:
    """A node that joins or returns gets no task of it."""
    real = controllers._service_keys
    patch.setattr(
        controllers, "_service_keys", lambda event, world: () if event.kind is Kind.NODE else real(event, world)
    )


# -- rollouts


@mutant(caught_by=6)
def a_rollout_stops_all_at_once(patch: pytest.MonkeyPatch) -> None:
    """All old tasks give way together."""
    patch.setattr(rollout._Step, "_begin", lambda self, ready, busy: self.give_way(ready))


@mutant(caught_by=3)
def a_rollout_forgets_the_slot_it_emptied(patch: pytest.MonkeyPatch) -> None:
    """Only the slots that are filled just now are waited for. (A real bug once.)"""
    patch.setattr(rollout._Step, "_unready", lambda self: set())


@mutant(caught_by=1)
def two_run_at_once_that_must_not(patch: pytest.MonkeyPatch) -> None:
    """A task is started beside the one that writes to the same volume."""
    patch.setattr(rollout, "starts_first", lambda spec: True)


@mutant(caught_by=3)
def who_stands_by_takes_over_before_it_is_ready(patch: pytest.MonkeyPatch) -> None:
    """The former is stopped as soon as the other exists."""
    real = rollout._Step._tend

    def tend(self: Any, here: Any) -> bool:
        held = real(self, [replace(one, ready=True) if one.stands_by else one for one in here])
        truth = {one.id: one.ready for one in here}
        self.changes[:] = [
            replace(change, after=replace(change.after, ready=truth.get(change.id, change.after.ready)))
            if isinstance(change.after, Task)
            else change
            for change in self.changes
        ]
        return held

    patch.setattr(rollout._Step, "_tend", tend)


@mutant(caught_by=60002)
def who_stands_by_is_never_called(patch: pytest.MonkeyPatch) -> None:
    """Ready, it goes on standing by."""
    patch.setattr(rollout._Step, "_tend", lambda self, here: any(one.stands_by for one in here))


@mutant(caught_by=0)
def who_left_the_rotation_is_never_stopped(patch: pytest.MonkeyPatch) -> None:
    """Its drain delay has no end."""
    patch.setattr(rollout._Step, "_stop_what_has_left", lambda self: None)


@mutant(caught_by=4)
def a_slot_is_filled_beside_one_that_stands_by(patch: pytest.MonkeyPatch) -> None:
    """Services do not see that somebody is about to take over."""
    real = services._fill_at
    patch.setattr(services, "_fill_at", lambda service, here: real(service, [one for one in here if not one.stands_by]))


@mutant(caught_by=0)
def a_release_does_not_wait_for_what_it_depends_on(patch: pytest.MonkeyPatch) -> None:
    """It starts at once."""
    patch.setattr(dependencies, "waits", lambda world, service: ())
    patch.setattr(rollout, "waits", lambda world, service: ())


@mutant(caught_by=4)
def nobody_is_woken_for_what_it_waits_for(patch: pytest.MonkeyPatch) -> None:
    """It waits on, although what it waits for has come."""
    patch.setattr(Dependents, "touched", lambda self, event, world: ())


# -- nodes


@mutant(caught_by=7)
def tasks_of_a_dead_node_are_not_lost(patch: pytest.MonkeyPatch) -> None:
    """They are waited for for ever."""
    _changes_without(patch, nodes, lambda change: change.reason is Reason.NODE_LOST)


@mutant(caught_by=4)
def a_drained_node_keeps_its_tasks(patch: pytest.MonkeyPatch) -> None:
    """Draining only keeps new ones away."""
    real = rollout._Step._cause

    def cause(self: Any, task: Task) -> Reason | None:
        found = real(self, task)
        return None if found is Reason.NODE_DRAINED else found

    patch.setattr(rollout._Step, "_cause", cause)


@mutant(caught_by=1)
def a_new_manager_has_no_patience(patch: pytest.MonkeyPatch) -> None:
    """A node that it has not heard yet is down for it."""
    real = Liveness.silence_left_s
    patch.setattr(Liveness, "silence_left_s", lambda self, node: real(self, node) if node in self._heard else -1.0)


# -- fences


@mutant(caught_by=36)
def a_guard_that_never_kills(patch: pytest.MonkeyPatch) -> None:
    """What its worker cannot stop goes on."""
    patch.setattr(SimulatedGuard, "_end", lambda self, container_id: True)


@mutant(caught_by=36)
def a_single_writer_is_given_up_with_its_node(patch: pytest.MonkeyPatch) -> None:
    """Where the connection broke, a second after that."""
    patch.setattr(Liveness, "fence_left_s", lambda self, node, lease_s: self.silence_left_s(node))


@mutant(caught_by=36)
def a_heartbeat_without_an_engine_renews_the_lease(patch: pytest.MonkeyPatch) -> None:
    """Though the manager does not count it as life."""

    async def beat(self: Any) -> None:
        while True:
            one = await self._worker.heartbeat()
            self._beats.append(self._worker.now())
            await self._channel.send(one)
            await asyncio.sleep(self._beat_s)  # as the real one

    patch.setattr(worker._Session, "_beat", beat)


@mutant(caught_by=36)
def another_stands_by_beside_a_single_writer(patch: pytest.MonkeyPatch) -> None:
    """As beside any other."""
    real = rollout.starts_first
    patch.setattr(rollout, "starts_first", lambda spec: real(replace(spec, single_writer=False)))
    patch.setattr(rollout, "is_fenced", lambda world, task: False)


# -- placement


def plenty(table: Any, ask: Any, *more: Any, **named: Any) -> Any:
    """A filter that refuses no node."""
    return np.full(len(table.nodes), filters.PLENTY, np.int64)


@mutant(caught_by=0)
def placement_ignores_host_ports(patch: pytest.MonkeyPatch) -> None:
    """One port is given out twice."""
    patch.setattr(filters, "_fixed_port", plenty)


@mutant(caught_by=4)
def placement_ignores_capacity(patch: pytest.MonkeyPatch) -> None:
    """A node is given more than it has."""
    patch.setattr(filters, "_cpu", plenty)
    patch.setattr(filters, "_memory", plenty)
    patch.setattr(filters, "_cpu_left", lambda table, ask, rows: table.tasks[rows] >= 0)
    patch.setattr(filters, "_memory_left", lambda table, ask, rows: table.tasks[rows] >= 0)


@mutant(caught_by=7)
def placement_ignores_that_nodes_are_down(patch: pytest.MonkeyPatch) -> None:
    """Tasks go to machines that are dead."""
    patch.setattr(filters, "_up", plenty)


@mutant(caught_by=0)
def placement_does_not_notice_nodes(patch: pytest.MonkeyPatch) -> None:
    """A task that waits for a node is not looked at when one joins."""
    real = controllers._placement_keys
    patch.setattr(
        controllers, "_placement_keys", lambda event, world: () if event.kind is Kind.NODE else real(event, world)
    )


@mutant(caught_by=56)
def a_port_once_taken_is_never_tried_again(patch: pytest.MonkeyPatch) -> None:
    """Placement does not come back when the other program's port may be free."""
    real = place.decide
    patch.setattr(place, "decide", lambda *arguments: (real(*arguments)[0], None))


# -- the loop


@mutant(caught_by=5)
def a_key_added_while_busy_is_lost(patch: pytest.MonkeyPatch) -> None:
    """What changes during a look is not looked at."""
    real = KeyQueue.add

    def add(self: KeyQueue[str], key: str, delay_s: float = 0.0) -> None:
        if key not in self._busy:
            real(self, key, delay_s)

    patch.setattr(KeyQueue, "add", add)


@mutant(caught_by=0)
def a_failure_is_not_tried_again(patch: pytest.MonkeyPatch) -> None:
    """Neither a commit that the store did not answer nor a step that the engine did not."""
    patch.setattr(KeyQueue, "retry", lambda self, key: 1.0)


@mutant(caught_by=5)
def a_new_manager_looks_only_at_what_changes(patch: pytest.MonkeyPatch) -> None:
    """What was left undone when the last one died stays undone."""
    real = controllers.controllers
    patch.setattr(
        world, "controllers", lambda *arguments: tuple(replace(row, every=_nothing) for row in real(*arguments))
    )


def _nothing(world: Snapshot) -> tuple[str, ...]:
    return ()


# -- sessions


@mutant(caught_by=3)
def the_end_of_an_old_session_ends_the_new_one_too(patch: pytest.MonkeyPatch) -> None:
    """The node's session is forgotten, whichever it is."""
    real = Sessions._hold

    async def hold(self: Sessions, session: Any) -> None:
        try:
            await real(self, session)
        finally:
            self._live.pop(session.node, None)

    patch.setattr(Sessions, "_hold", hold)


@mutant(caught_by=3)
def reports_are_acknowledged_before_they_are_durable(patch: pytest.MonkeyPatch) -> None:
    """And if the store then fails, that is that."""

    async def report(self: Sessions, session: Any, reports: Any) -> None:
        await session.channel.send(Acknowledge(seq=reports.seq))
        while True:
            now, world = self._clock.now(), self._store.read()
            heard = (records.heard(world, session.node, seen, now) for seen in reports.observations)  # type: ignore[attr-defined]
            changes = [change for change in heard if change is not None]
            try:
                if changes:
                    await self._store.commit(changes)
            except Conflict:
                continue
            except Unavailable:
                return
            return

    patch.setattr(Sessions, "_report", report)


@mutant(caught_by=4)
def a_worker_is_not_told_what_it_lost(patch: pytest.MonkeyPatch) -> None:
    """A node that was down under a living session goes on running tasks that are no longer its own."""
    patch.setattr(sessions, "_wish", lambda task: (task.created_at, task.wanted, False))


@mutant(caught_by=1)
def a_worker_is_not_told_what_was_removed(patch: pytest.MonkeyPatch) -> None:
    """Only what is put reaches it."""
    real = sessions.Assignment  # type: ignore[attr-defined]
    patch.setattr(sessions, "Assignment", lambda **fields: real(**(fields | {"removed": ()})))


@mutant(caught_by=6)
def a_node_that_answers_again_stays_down(patch: pytest.MonkeyPatch) -> None:
    """Its heartbeats are heard, and change nothing."""
    patch.setattr(records, "_returned", lambda node, now: node)


@mutant(caught_by=1)
def a_returned_node_counts_as_silent_until_it_was_written_down(patch: pytest.MonkeyPatch) -> None:
    """So it is declared down again by the look that its return woke. (A real bug once.)"""
    real = Sessions._admit

    async def admit(self: Sessions, hello: Any, token: Any, dialled: str) -> None:
        heard = self.liveness._heard.get(hello.node)
        self.liveness._heard = _Forgetful(self.liveness._heard, hello.node)
        try:
            await real(self, hello, token, dialled)
        finally:
            self.liveness._heard = dict(self.liveness._heard)
        assert heard is None or heard == self.liveness._heard[hello.node]

    patch.setattr(Sessions, "_admit", admit)


class _Forgetful(dict[str, float]):
    """Does not take note of one name."""

    def __init__(self, known: dict[str, float], name: str) -> None:
        super().__init__(known)
        self._name = name

    def __setitem__(self, name: str, at: float) -> None:
        if name != self._name:
            super().__setitem__(name, at)


@mutant(caught_by=5)
def a_broken_connection_is_the_end_of_a_node(patch: pytest.MonkeyPatch) -> None:
    """Nobody waits for its worker to dial again."""
    patch.setattr(Liveness, "broken", lambda self, node: self._ended.__setitem__(node, -1000.0))


@mutant(caught_by=0)
def evictions_are_held_for_any_silent_node(patch: pytest.MonkeyPatch) -> None:
    """Also where the others are there."""
    patch.setattr(nodes, "held", lambda world, quiet: "1 of 3 nodes are silent at once")


@mutant(caught_by=5)
def a_nodes_own_token_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    """Joining uses the join token up, and nothing lets the worker in the next time."""
    real = sessions.admitted  # type: ignore[attr-defined]

    def admitted(*arguments: Any, **more: Any) -> list[Change]:
        changes = real(*arguments, **more)
        return [one for one in changes if not (isinstance(one.after, Token) and one.after.role is Role.NODE)]

    patch.setattr(sessions, "admitted", admitted)


@mutant(caught_by=4)
def a_wish_is_acknowledged_though_the_store_did_not_answer(patch: pytest.MonkeyPatch) -> None:
    """The user is told that it is done."""
    real = Operations.land

    async def commit(self: Operations, decide: Any) -> Snapshot:
        try:
            return await real(self, decide)
        except Unavailable:
            return self._store.read()

    patch.setattr(Operations, "land", commit)


# -- the worker


@mutant(caught_by=1)
def a_worker_does_not_know_its_containers_again(patch: pytest.MonkeyPatch) -> None:
    """What was started in another life, or session, is not its own."""

    def mark(task: Any) -> str:
        return fingerprint(task) if task.state not in (State.STARTING, State.RUNNING) else "another"

    patch.setattr(containers, "fingerprint", mark)


@mutant(caught_by=3)
def a_worker_takes_any_container_of_the_name(patch: pytest.MonkeyPatch) -> None:
    """A stale container is taken for the new task's, because fingerprints are not looked at."""
    real_step, real_observe = containers.next_step, containers.observe

    def known(assigned: Any, seen: Any) -> Any:
        return seen if assigned is None else [replace(one, fingerprint=fingerprint(assigned.task)) for one in seen]

    patch.setattr(
        runner,
        "next_step",
        lambda assigned, seen, *more, **kept: real_step(assigned, known(assigned, seen), *more, **kept),
    )
    patch.setattr(runner, "observe", lambda assigned, seen, *more: real_observe(assigned, known(assigned, seen), *more))


@mutant(caught_by=0)
def a_container_that_vanished_is_made_again(patch: pytest.MonkeyPatch) -> None:
    """The task is revived, instead of replaced."""
    patch.setattr(containers, "reached", lambda assigned, progress: 0)


@mutant(caught_by=3)
def a_worker_acts_before_it_was_told(patch: pytest.MonkeyPatch) -> None:
    """Until the manager speaks, it takes nothing to be wanted."""
    _at_birth(patch, lambda one: setattr(one, "_assigned", {}))


def _at_birth(patch: pytest.MonkeyPatch, change: Callable[[Runner], None]) -> None:
    real = Runner.__init__

    def init(self: Runner, *arguments: Any, **more: Any) -> None:
        real(self, *arguments, **more)
        change(self)

    patch.setattr(Runner, "__init__", init)


@mutant(caught_by=36)
def a_step_that_nobody_answered_counts_as_not_done(patch: pytest.MonkeyPatch) -> None:
    """So a container that it started, and that ended, is started once more. (A real bug once.)"""

    async def look_again(self: Runner, task: str) -> None:
        self._doubted.discard(task)

    patch.setattr(Runner, "_look_again", look_again)


@mutant(caught_by=15)
def what_was_not_acknowledged_is_dropped_at_a_reconnection(patch: pytest.MonkeyPatch) -> None:
    """And not said again, because it was said."""
    real = worker._Session.__init__

    def init(self: Any, one: Worker, *arguments: Any) -> None:
        real(self, one, *arguments)
        one.runner.outbox._unacknowledged.clear()

    patch.setattr(worker._Session, "__init__", init)
    patch.setattr(Outbox, "forget_said", lambda self: None)


@mutant(caught_by=1)
def an_acknowledgement_covers_what_came_after_it(patch: pytest.MonkeyPatch) -> None:
    """News of a task that came while older news was under way are taken as delivered with it."""

    def acknowledge(self: Outbox, batch: Any) -> None:
        for observation in batch:
            self._unacknowledged.pop(observation.task, None)

    patch.setattr(Outbox, "acknowledge", acknowledge)


@mutant(caught_by=4)
def a_slot_goes_where_there_is_room(patch: pytest.MonkeyPatch) -> None:
    """Without a look at where its volume is."""
    patch.setattr(Volumes, "_tie", lambda self, task, name: None)


@mutant(caught_by=75)
def what_was_never_used_is_told_from_the_last_task_alone(patch: pytest.MonkeyPatch) -> None:
    """A volume that tasks have written to is given up because the newest one was rejected."""

    def unused(self: Volumes, volume: Volume) -> bool:
        tasks = self._world.tasks_of_service(volume.service).values()
        slot = [one for one in tasks if one.slot == volume.slot and one.node]
        newest = max(slot, key=lambda one: one.generation, default=None)
        return newest is not None and newest.state is State.REJECTED

    patch.setattr(Volumes, "_is_unused", unused)


# -- what is not as it was taken to be


@mutant(caught_by=15)
def a_list_that_misses_a_container_is_believed(patch: pytest.MonkeyPatch) -> None:
    """The task has failed, and its container runs on. (A real bug once.)"""
    patch.setattr(Runner, "_missed", lambda self, assigned: "")


@mutant(caught_by=52002)
def a_clock_that_is_set_back_is_believed(patch: pytest.MonkeyPatch) -> None:
    """So whatever has to wait waits until that moment comes again. (A real bug once.)"""
    patch.setattr(SteadyClock, "now", lambda self: self._machine.now())


@mutant(caught_by=52000)
def what_an_old_disk_brings_is_left_running(patch: pytest.MonkeyPatch) -> None:
    """A container of no known task is nobody's business."""
    real = containers.next_step

    def next_step(assigned: Any, seen: Any, *more: Any, **kept: Any) -> Any:
        return None if assigned is None else real(assigned, seen, *more, **kept)

    patch.setattr(runner, "next_step", next_step)


@mutant(caught_by=52000)
def a_service_takes_out_what_serves(patch: pytest.MonkeyPatch) -> None:
    """A ready task that has run for long enough is replaced."""
    real = services.decide

    def decide(world: Snapshot, name: str, now: float) -> tuple[list[Change], float | None]:
        changes, again = real(world, name, now)
        old = [one for one in world.tasks_of_service(name).values() if one.counts and now - one.created_at > 60.0]
        touched = {change.id for change in changes}
        more = (raise_wanted(one, Wanted.STOPPED, Reason.OUTDATED, Owner.SERVICES) for one in old)
        return changes + [one for one in more if one is not None and one.id not in touched], again

    patch.setattr(services, "decide", decide)


@mutant(caught_by=3)
def who_serves_is_stopped_before_the_other_is_there(patch: pytest.MonkeyPatch) -> None:
    """A rollout that starts first stops first all the same."""
    patch.setattr(rollout, "starts_first", lambda spec: False)


# -- displacement


@mutant(caught_by=3)
def anybody_is_displaced_whatever_its_priority(patch: pytest.MonkeyPatch) -> None:
    """What is of as high a priority, or of a higher one, gives way too."""
    real = preemption.Search.__init__

    def begin(self: preemption.Search, *arguments: Any, **more: Any) -> None:
        real(self, *arguments, **more)
        self._priority = 10**9

    patch.setattr(preemption.Search, "__init__", begin)


@mutant(caught_by=7)
def what_a_service_cannot_spare_is_displaced(patch: pytest.MonkeyPatch) -> None:
    """Its minimum is nobody's concern."""
    patch.setattr(claims, "spare", lambda world, service: PLENTY)


@mutant(caught_by=3)
def room_is_made_and_not_claimed(patch: pytest.MonkeyPatch) -> None:
    """Whoever is displaced goes for nobody that anyone could name, and others take the room."""
    _changes_without(patch, place, lambda change: change.reason is Reason.MAKES_ROOM)
