"""When a single writer must be dead: the lease, what a worker makes of it, and what the manager waits for."""

import asyncio
from collections.abc import Callable

import pytest

from longshore.agent import guard
from longshore.agent.fence import Fence
from longshore.decide import fence, nodes
from longshore.decide.admission import admit
from longshore.model.errors import Invalid, Unavailable
from longshore.model.lease import Lease, lease_of, wait_of
from longshore.model.objects import Availability, NodeStatus, Object
from longshore.model.reasons import Reason
from longshore.model.spec import Mode, ServiceSpec, UpdateOrder, UpdateRules
from longshore.simulate.clockwork import run_in_virtual_time
from tests.situations import NOW, node, said, service, task, world
from tests.tables.awake import Hands

T = 10.0
LEASE_S = lease_of(T)
RENEWED = Lease(renewed_at=100.0, lease_s=LEASE_S)
A, B = "a" * 64, "b" * 64


# -- the moments


def test_a_worker_is_done_before_its_manager_begins() -> None:
    assert (RENEWED.silence_s, RENEWED.stop_at, RENEWED.ends_at) == (T, 110.0, 118.0)
    assert wait_of(LEASE_S) == pytest.approx(2 * T)
    assert RENEWED.ends_at < RENEWED.renewed_at + wait_of(LEASE_S)


@pytest.mark.parametrize(
    ("lease", "ids", "over", "ends"),
    [
        pytest.param(RENEWED, [A, B], [], {A: 118.0, B: 118.0}, id="all go by its end"),
        pytest.param(RENEWED.covering([A], [], 101.0).renewed(105.0, LEASE_S), [A, B], [], {A: 123.0, B: 123.0}, id="renewed"),
        pytest.param(RENEWED.covering([A], [], 101.0).renewed(105.0, LEASE_S), [A, B], [A], {A: 118.0, B: 123.0}, id="what was over keeps its end"),
        pytest.param(RENEWED, [A], [A], {A: 101.0}, id="what is over and was never covered has none left"),
        pytest.param(RENEWED.covering([A], [], 101.0).renewed(90.0, LEASE_S), [A], [], {A: 118.0}, id="an older heartbeat takes nothing back"),
        pytest.param(RENEWED.covering([A], [], 101.0).shortened(5.0), [A], [], {A: 105.0}, id="a shorter lease holds at once"),
        pytest.param(RENEWED.covering([A], [], 101.0).shortened(50.0), [A], [], {A: 118.0}, id="a longer one not before it is renewed"),
    ],
)  # fmt: skip
def test_when_each_must_be_dead(lease: Lease, ids: list[str], over: list[str], ends: dict[str, float]) -> None:
    assert lease.covering(ids, over, 101.0).containers == pytest.approx(ends)


@pytest.mark.parametrize(
    ("asked_s", "now", "grace_s"), [(3.0, 110.0, 3.0), (10.0, 110.5, 7.0), (10.0, 117.5, 0.0), (10.0, 130.0, 0.0)]
)
def test_the_grace_that_is_left(asked_s: float, now: float, grace_s: float) -> None:
    assert RENEWED.covering([A], [], 101.0).grace_s(A, asked_s, now) == grace_s


# -- what a worker makes of it


class Kept:
    """A guard that does what it is told, on a clock that a test moves."""

    def __init__(self, lease: Lease | None = None) -> None:
        self.at = 100.0
        self.lease = lease
        self.fails = False

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def left(self) -> Lease | None:
        return self.lease

    def keep(self, lease: Lease) -> None:
        self.lease = lease

    async def stand(self) -> None:
        if self.fails:
            raise Unavailable("no guard")


def covers(one: Fence) -> bool:
    async def ask() -> bool:
        try:
            await one.cover()
        except Unavailable:
            return False
        return True

    return asyncio.run(ask())


def test_nothing_starts_before_a_heartbeat_was_answered_or_without_a_guard() -> None:
    kept = Kept()
    one = Fence(kept, kept)
    woken: list[float] = []
    ids: list[str] = []
    one.mind(lambda: ids, lambda: woken.append(kept.at))
    one.told(LEASE_S)
    assert not covers(one)
    one.renew(99.0)
    ids.append(A)
    assert woken, "what waited is looked at again"
    assert covers(one)
    assert kept.lease is not None
    assert kept.lease.containers == {A: 99.0 + LEASE_S}
    kept.fails = True
    assert not covers(one)
    kept.fails = False
    kept.at = 99.0 + T
    assert not covers(one)


def test_what_ended_stays_ended_although_an_answer_comes() -> None:
    kept = Kept()
    one = Fence(kept, kept)
    ids: list[str] = []
    one.mind(lambda: ids, lambda: None)
    one.told(LEASE_S)
    one.renew(100.0)
    ids.append(A)
    assert covers(one)
    assert not one.ends(A)
    assert one.presses
    kept.at = 111.0
    ids.append(B)
    one.renew(110.5)
    assert (one.ends(A), one.ends(B)) == (True, True), "both may have run when it was over"
    ids.append("c" * 64)
    one.renew(110.8)
    assert not one.ends("c" * 64)
    assert kept.lease is not None
    assert kept.lease.containers[A] == 118.0


@pytest.mark.parametrize(("passed_s", "ends"), [(5.0, False), (10.0, True)])
def test_a_worker_that_is_started_again_goes_by_the_lease_that_it_finds(passed_s: float, ends: bool) -> None:
    kept = Kept(RENEWED.covering([A], [], 101.0))
    kept.at = 100.0 + passed_s
    one = Fence(kept, kept)
    one.told(LEASE_S)
    assert one.ends(A) is ends
    one.renew(kept.at - 0.1)
    assert one.ends(A) is ends, "and an answer that comes later changes nothing of it"
    assert one.words == "no word from the manager for 10 s"


def test_it_notices_by_itself_when_the_lease_is_over() -> None:
    async def scene() -> None:
        kept = Kept()
        one = Fence(kept, kept)
        woken = asyncio.Event()
        ids: list[str] = []
        one.mind(lambda: ids, woken.set)
        one.told(LEASE_S)
        one.renew(100.0)
        ids.append(A)
        woken.clear()
        running = asyncio.create_task(one.run())
        kept.at = 110.0
        async with asyncio.timeout(1.0):
            await woken.wait()
        running.cancel()

    run_in_virtual_time(scene())


# -- what the manager waits for


Act = Callable[[Hands], object]


def after(seconds: float) -> Act:
    return lambda hands: hands.pass_time(seconds)


def beat(hands: Hands) -> None:
    hands.liveness.beat("n1")


def hello(hands: Hands) -> None:
    hands.liveness.heard("n1")


def broken(hands: Hands) -> None:
    hands.liveness.broken("n1")


@pytest.mark.parametrize(
    ("acts", "told_s", "left_s"),
    [
        pytest.param([], 0.0, 2 * T, id="a manager that just started"),
        pytest.param([after(100.0), beat], 0.0, 2 * T, id="a heartbeat"),
        pytest.param([after(100.0), beat, after(5.0), hello], 0.0, 2 * T - 5, id="hello renews nothing"),
        pytest.param([after(100.0), beat, broken, after(5.0)], 0.0, 2 * T - 5, id="nor does a broken connection end it"),
        pytest.param([after(100.0), beat], LEASE_S * 3, 6 * T, id="a longer lease was told before"),
        pytest.param([after(100.0), beat], LEASE_S / 3, 2 * T, id="a shorter one was"),
        pytest.param([after(100.0), beat, lambda hands: setattr(hands, "at", hands.at + 6.0)], 0.0, 2 * T - 6, id="it stood still, and answered nobody"),
    ],
)  # fmt: skip
def test_fence_left(acts: list[Act], told_s: float, left_s: float) -> None:
    hands = Hands(T)
    for act in acts:
        act(hands)
    assert hands.liveness.fence_left_s("n1", told_s) == pytest.approx(left_s)


N1 = node("n1")
DOWN = node("n1", status=NodeStatus.DOWN)
LEAVING_DOWN = node("n1", status=NodeStatus.DOWN, availability=Availability.LEAVING)
DB = service("db", single_writer=True)
WRITER = task(of="db")
AWAITED = task(of="db", reason=Reason.NODE_AWAITED)


@pytest.mark.parametrize(
    ("records", "silence_s", "fence_s", "expected", "again"),
    [
        pytest.param([N1, WRITER, task()], 0.0, 5.0, ["n1 down", "web.1.1 lost", "db.1.1 running"], NOW + 5, id="down: the writer is waited for"),
        pytest.param([N1, WRITER, task()], 0.0, 0.0, ["n1 down", "db.1.1 lost", "web.1.1 lost"], None, id="its time was over before"),
        pytest.param([DOWN, WRITER], -1.0, 3.0, ["db.1.1 running"], NOW + 3, id="it is said what it waits for"),
        pytest.param([DOWN, AWAITED], -1.0, 3.0, [], NOW + 3, id="once"),
        pytest.param([DOWN, AWAITED], -9.0, -0.1, ["db.1.1 lost"], None, id="then it is given up"),
        pytest.param([LEAVING_DOWN, AWAITED], -9.0, 2.0, [], NOW + 2, id="to remove its node shortens nothing"),
        pytest.param([N1, AWAITED], 8.0, 18.0, ["db.1.1 running"], NOW + 8, id="back in time: it is said no more"),
        pytest.param([WRITER], -9.0, 2.0, [], NOW + 2, id="a node that is gone from the records"),
    ],
)  # fmt: skip
def test_nodes(
    records: list[Object], silence_s: float, fence_s: float, expected: list[str], again: float | None
) -> None:
    changes, look = nodes.decide(world(DB, service(), *records), "n1", NOW, silence_s, fence_s)
    assert (said(changes), look) == (expected, again)
    for change in changes:
        assert change.after is None or "db" not in change.id or change.after != WRITER


def test_it_is_told_what_a_writer_waits_for() -> None:
    changes, _ = nodes.decide(world(DB, DOWN, WRITER), "n1", NOW, -1.0, 4.04)
    assert changes[0].message == "node n1 is down; db.1.1 is given up in 4.0 s, when its worker has stopped it"


# -- what may be one


def test_who_is_fenced_goes_by_the_release_that_it_runs() -> None:
    here = world(service("db", release=2, single_writer=True), task(of="db", release=2), task(), service())
    found = {one.id: fence.is_fenced(here, one) for one in here.tasks()}
    assert found == {"db.1.1": True, "web.1.1": False}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"mode": Mode.GLOBAL}, "spec.single_writer"),
        ({"update": UpdateRules(order=UpdateOrder.START_FIRST)}, "spec.update.order"),
        ({"mode": Mode.JOB}, ""),
        ({"replicas": 3, "update": UpdateRules(order=UpdateOrder.STOP_FIRST)}, ""),
    ],
)
def test_who_may_be_a_single_writer(fields: dict[str, object], field: str) -> None:
    spec = ServiceSpec(image="x", single_writer=True, **fields)  # type: ignore[arg-type]
    if not field:
        assert admit(spec).single_writer
        return
    with pytest.raises(Invalid) as refused:
        admit(spec)
    assert refused.value.field == field


# -- the guard's file


def test_the_file_says_what_was_written() -> None:
    ends = {A: 118.25, B: 0.1 + 0.2}
    text = guard.written("boot", 100.125, 18.0, "unix:///run/docker.sock", ends)
    assert guard.parsed(text) == ("boot", 100.125, 18.0, "unix:///run/docker.sock", ends)
    assert guard.parsed("another format\n" + text) is None
    assert guard.parsed("") is None
    assert guard.parsed(text.replace("118.25", "118.25 9")) is None
    assert guard.parsed(text.replace("118.25", "soon")) is None
