"""What a worker's runner makes of an engine whose answers come late or do not show everything, at exact moments.

The engine is the fake one, in virtual time; what it answers was true when it said so.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import pytest
from msgspec.structs import replace

from longshore.agent.fence import Fence
from longshore.agent.runner import LIST_EVERY_S, Runner
from longshore.engine.fake import FakeEngine, FakeMachine, FakeProber
from longshore.model.containers import Assigned, Container, Status, order_for
from longshore.model.errors import Unavailable
from longshore.model.lifecycle import State, Wanted
from longshore.model.messages import Assignment, Observation
from longshore.model.objects import Task
from longshore.model.reasons import Reason
from longshore.model.spec import HealthCheck, ServiceSpec
from longshore.simulate.clockwork import VirtualClock, run_in_virtual_time
from longshore.simulate.guarding import SimulatedGuard
from tests import situations
from tests.engines import DEMO, NODE

LEASE_S, BEAT_S = 9.0, 1.25
SOON_S = 5.0
"""Enough for all that a task takes to run."""


class LateEngine(FakeEngine):
    """Its lists and its looks come once they are let through, and its lists may miss what is there."""

    def __init__(self, machine: FakeMachine) -> None:
        super().__init__(machine)
        self.lists, self.looks = asyncio.Event(), asyncio.Event()
        self.lists.set()
        self.looks.set()
        self.misses = False
        self.hanging: tuple[str, ...] = ()
        """Containers of which nothing more is to be had than that they are there."""
        self.listed = asyncio.Event()

    async def containers(self, cluster: str, node: str) -> Sequence[Container]:
        lists = self.lists
        found = [] if self.misses else await super().containers(cluster, node)
        found = [replace(one, status=Status.UNKNOWN) if one.id in self.hanging else one for one in found]
        self.listed.set()
        await lists.wait()
        return found

    async def container(self, id: str) -> Container | None:
        if id in self.hanging:
            await asyncio.sleep(10.0)
            raise Unavailable("the engine does not answer")
        seen = await super().container(id)
        await self.looks.wait()
        return seen


class Bench:
    """A runner, its engine, and short words for what a test does with them."""

    def __init__(self) -> None:
        clock = VirtualClock()
        self.machine = FakeMachine(random.Random(1), clock)
        self.engine = LateEngine(self.machine)
        self.guard = SimulatedGuard(self.machine, clock, lambda verb, box: None)
        self.fence = Fence(clock, self.guard)
        self.starts = asyncio.Semaphore(1)
        self.runner = Runner(
            self.engine, FakeProber(self.machine), self.fence, cluster="c", node=NODE, starts=self.starts
        )

    def assign(self, *held: Assigned) -> None:
        self.runner.assign(Assignment(revision=1, full=True, put=held))

    def change(self, *put: Assigned, removed: tuple[str, ...] = ()) -> None:
        self.runner.assign(Assignment(revision=2, full=False, put=put, removed=removed))

    def hang(self, *ids: str) -> None:
        self.engine.hanging = ids

    def said(self) -> Observation:
        said = self.runner.outbox.said("web.1.1")
        assert said is not None
        return said

    def containers(self) -> list[str]:
        return self.machine.of_task("web.1.1")


def at_a_bench(main: Callable[[Bench], Awaitable[None]], *, made: Assigned | None = None) -> None:
    """With a container that a former life of the worker `made`, which hangs when this one begins."""

    async def run() -> None:
        bench = Bench()
        if made is not None:
            container = await FakeEngine(bench.machine).create(order_for(made, cluster="c", node=NODE))
            bench.machine.start(container.id)
            await asyncio.sleep(SOON_S)
            bench.hang(container.id)
        running = asyncio.create_task(bench.runner.run())
        try:
            await main(bench)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    run_in_virtual_time(run())


def held(task: Task, **spec: object) -> Assigned:
    return Assigned(task=task, spec=ServiceSpec(image=DEMO, **spec))  # type: ignore[arg-type]


TASK = situations.task(state=State.PLACED)
NAMESAKE = situations.task(state=State.PLACED, created_at=TASK.created_at + 100.0)


@pytest.mark.parametrize("later", [False, True])
def test_what_was_asked_for_a_task_taken_back_meanwhile_says_nothing_of_its_namesake(later: bool) -> None:
    async def main(bench: Bench) -> None:
        bench.assign(held(TASK))
        await asyncio.sleep(SOON_S)
        before = bench.containers()
        assert len(before) == 1
        bench.engine.misses = True
        bench.engine.looks.clear()
        await asyncio.sleep(LIST_EVERY_S)  # a list misses it, so it is asked for
        bench.engine.misses = False
        bench.change(*(() if later else (held(NAMESAKE),)), removed=(TASK.id,) if later else ())
        bench.engine.looks.set()
        if later:
            await asyncio.sleep(1)
            assert bench.runner.outbox.said(TASK.id) is None
            bench.change(held(NAMESAKE))
        await asyncio.sleep(LIST_EVERY_S)
        said = bench.said()
        assert (said.created_at, said.state) == (NAMESAKE.created_at, State.RUNNING)
        assert bench.containers() == [said.container_id] != before

    at_a_bench(main)


@pytest.mark.parametrize("known", [True, False], ids=["it was seen before", "the worker is new"])
def test_a_container_that_hangs_does_not_hide_the_others(known: bool) -> None:
    async def main(bench: Bench) -> None:
        if known:
            bench.hang()
            bench.assign(held(TASK))
            await asyncio.sleep(SOON_S)
        (first,) = bench.containers()
        bench.hang(first)
        bench.machine.kill(first, 1)
        other = situations.task(2, state=State.PLACED)
        bench.assign(held(TASK), held(other))
        await asyncio.sleep(20.0 + SOON_S)
        (second,) = bench.machine.of_task(other.id)
        bench.machine.kill(second, 1)
        await asyncio.sleep(SOON_S)
        said = bench.runner.outbox.said(other.id)
        assert said is not None
        assert said.state is State.FAILED
        assert bench.containers() == [first], "nothing is made beside what may run"
        assert (bench.said().state is State.RUNNING) if known else (bench.runner.outbox.said(TASK.id) is None)
        bench.hang()
        await asyncio.sleep(LIST_EVERY_S)
        assert bench.said().state is State.FAILED

    at_a_bench(main, made=held(TASK))


@pytest.mark.parametrize(
    ("state", "wanted"), [(State.PREPARING, Wanted.STOPPED), (State.FAILED, Wanted.REMOVED)], ids=["stop", "remove"]
)
def test_of_a_container_that_hangs_nobody_says_that_it_is_gone(state: State, wanted: Wanted) -> None:
    """Neither does a worker that is new, also if nobody has told of the container yet."""

    async def main(bench: Bench) -> None:
        before = bench.containers()
        told = before[0] if wanted is Wanted.REMOVED else ""
        bench.assign(held(replace(TASK, state=state, wanted=wanted, container_id=told)))
        await asyncio.sleep(LIST_EVERY_S * 3)
        assert bench.runner.outbox.said(TASK.id) is None
        assert bench.containers() == before
        bench.hang()
        await asyncio.sleep(LIST_EVERY_S * 2)
        assert bench.said().state is (State.STOPPED if wanted is Wanted.STOPPED else State.FAILED)

    at_a_bench(main, made=held(TASK))


def test_what_has_run_while_its_start_waited_for_a_turn_is_not_started_once_more() -> None:
    """A killed worker had asked for its start, and the engine was slow."""

    async def main(bench: Bench) -> None:
        job = held(replace(TASK, state=State.PREPARING), command=("true",))
        made = await FakeEngine(bench.machine).create(order_for(job, cluster="c", node=NODE))
        bench.machine.slow(20.0)
        bench.machine.start(made.id)
        bench.machine.slow(1.0)
        await bench.starts.acquire()  # others have all the turns
        bench.assign(job)
        await asyncio.sleep(20)
        assert bench.machine.boxes[made.id].runs == 1
        bench.starts.release()
        await asyncio.sleep(SOON_S)
        assert bench.machine.boxes[made.id].runs == 1
        assert bench.said().state is State.FINISHED

    at_a_bench(main)


CHECKED = held(TASK, health=HealthCheck(test=("CMD", "true"), interval_s=1.0))


async def listing(bench: Bench) -> None:
    """Until a list is under way that says what is true now, and comes later."""
    bench.engine.lists = asyncio.Event()
    bench.engine.listed.clear()
    await bench.engine.listed.wait()


async def end_of_list(bench: Bench) -> None:
    bench.engine.lists.set()
    await asyncio.sleep(SOON_S)


def test_a_list_that_was_long_on_its_way_does_not_undo_what_was_seen_since() -> None:
    async def main(bench: Bench) -> None:
        bench.assign(CHECKED)
        await asyncio.sleep(SOON_S)
        (id,) = bench.containers()
        assert bench.said().ready
        await listing(bench)
        bench.machine.sicken(id, "ill")
        await asyncio.sleep(1)
        assert not bench.said().ready
        await end_of_list(bench)
        assert not bench.said().ready
        await listing(bench)
        bench.machine.vanish(id)
        await asyncio.sleep(1)
        await end_of_list(bench)
        assert bench.runner.container_ids == ()
        assert bench.said().reason is Reason.CONTAINER_GONE

    at_a_bench(main)


def test_of_two_lists_the_one_that_was_asked_for_last_counts() -> None:
    async def main(bench: Bench) -> None:
        bench.assign(CHECKED)
        await asyncio.sleep(SOON_S)
        (id,) = bench.containers()
        await listing(bench)
        first, bench.engine.lists = bench.engine.lists, asyncio.Event()
        bench.machine.down()  # its events are heard anew, which begins with a list
        bench.machine.sicken(id, "ill")
        bench.machine.heal()
        bench.engine.lists.set()
        await asyncio.sleep(1)
        assert not bench.said().ready
        first.set()
        await asyncio.sleep(SOON_S)
        assert not bench.said().ready

    at_a_bench(main)


def test_a_look_that_finds_what_a_list_missed_meanwhile_is_believed() -> None:
    async def main(bench: Bench) -> None:
        bench.assign(held(TASK))
        await asyncio.sleep(SOON_S)
        (id,) = bench.containers()
        bench.engine.misses = True
        bench.engine.looks.clear()
        for _ in range(2):
            await listing(bench)
            bench.engine.lists.set()
        bench.engine.looks.set()
        await asyncio.sleep(1)
        assert (bench.said().state, bench.said().container_id) == (State.RUNNING, id)

    at_a_bench(main)


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_whole_assignment_that_knows_less_takes_no_container_from_its_task(acknowledged: bool) -> None:
    """The record says nothing of the container: what was told of it did not land, or a backup was restored."""

    async def main(bench: Bench) -> None:
        bench.assign(held(TASK))
        await asyncio.sleep(SOON_S)
        (id,) = bench.containers()
        if acknowledged:
            bench.runner.outbox.acknowledge(await bench.runner.outbox.batch())
        bench.engine.misses = True
        await listing(bench)
        bench.engine.lists.set()
        bench.machine.down()  # before it can be asked for
        await asyncio.sleep(1)
        bench.assign(held(TASK))
        await asyncio.sleep(1)
        bench.machine.heal()
        await asyncio.sleep(SOON_S)
        assert (bench.said().state, bench.said().container_id) == (State.RUNNING, id)
        assert await bench.runner.outbox.batch() == (bench.said(),), "it is told all the same"

    at_a_bench(main)


def test_a_list_that_misses_a_single_writer_does_not_end_its_lease() -> None:
    async def main(bench: Bench) -> None:
        async def beat() -> None:
            while True:
                bench.fence.renew(asyncio.get_running_loop().time())
                await asyncio.sleep(BEAT_S)

        bench.fence.told(LEASE_S)
        beating = asyncio.create_task(beat())
        bench.assign(held(TASK, single_writer=True))
        await asyncio.sleep(SOON_S)
        (id,) = bench.containers()
        bench.engine.misses = True
        await listing(bench)
        bench.engine.lists.set()
        bench.machine.down()  # before it can be asked for
        await asyncio.sleep(2 * BEAT_S)
        assert set(bench.guard.lease.containers) == {id}
        beating.cancel()
        await asyncio.sleep(LEASE_S + SOON_S)
        assert not bench.machine.boxes[id].running, "the guard ended it"

    at_a_bench(main)


def test_a_single_writer_whose_container_is_gone_is_under_no_lease() -> None:
    async def main(bench: Bench) -> None:
        bench.fence.told(LEASE_S)
        bench.fence.renew(asyncio.get_running_loop().time())
        bench.assign(held(TASK, single_writer=True))
        await asyncio.sleep(2)
        (id,) = bench.containers()
        assert set(bench.guard.lease.containers) == {id}
        bench.machine.vanish(id)
        await asyncio.sleep(1)
        bench.fence.renew(asyncio.get_running_loop().time())
        assert not bench.guard.lease.containers

    at_a_bench(main)
