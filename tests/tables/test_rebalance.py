"""Which moves are worth it, which are left out and why; and that there is an end to moves."""

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide import moves
from longshore.decide.balance import Balance
from longshore.decide.placement.ask import ask_of
from longshore.decide.placement.filters import sieve
from longshore.decide.placement.table import NodeTable
from longshore.decide.rebalance import COOL_DOWN_S, PACKING, STEADY_S, decide, mark, plan
from longshore.model.changes import Change
from longshore.model.errors import Invalid
from longshore.model.invariants import broken
from longshore.model.lifecycle import Owner, State
from longshore.model.moves import Move, Rebalance, RebalanceWish
from longshore.model.objects import Availability, Kind, NodeStatus, Object, Release, ReleasePhase, Service, Task
from longshore.model.placing import Spread
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import (
    Mode,
    Mount,
    MountKind,
    PlacementRules,
    Port,
    Resources,
    ServiceSpec,
    UpdateOrder,
    UpdateRules,
    same_containers,
)
from tests.situations import GIB, NOW, node, service, task, world

DATA = Mount(kind=MountKind.VOLUME, source="data", target="/d")
CACHE = Mount(kind=MountKind.TMPFS, target="/t")


def done(*services: Service) -> list[Object]:
    """Services at rest: their current release is done."""
    return [
        record
        for one in services
        for record in (one, Release(service=one.name, number=1, spec=one.spec, phase=ReleasePhase.DONE))
    ]


def spread(places: str, of: str = "web", **fields: Any) -> list[Task]:
    """Tasks by the numbers of their nodes: `112` are two on n1 and one on n2."""
    return [task(slot, of=of, on=f"n{number}", **fields) for slot, number in enumerate(places, 1)]


def web(replicas: int, name: str = "web", **spec: Any) -> Service:
    return service(name, replicas=replicas, **spec)


def here(nodes: int, *records: Object) -> Snapshot:
    return world(*(node(f"n{number}") for number in range(1, nodes + 1)), *records)


def in_short(planned: Rebalance) -> list[str]:
    return [f"{move.task} {move.source}-{move.target}" for move in planned.moves]


def carried_out(before: Snapshot, moved: Sequence[Move]) -> Snapshot:
    """The world as it is when each of these tasks has been taken over from, one after the other."""
    after = before
    for move in moved:
        former = after.task(move.task)
        assert former is not None
        release = after.release(former.service, former.release)
        assert release is not None
        table = NodeTable(after, NOW)
        ask = ask_of(former.service, release.spec)
        row = table.row_of[move.target]
        assert sieve(table, ask).room[row] > 0, f"{move.task} has no room on {move.target}"
        latter = replace(former, node=move.target, ports=table.take(row, ask), move_ended_at=NOW)
        change = Change(kind=Kind.TASK, id=former.id, before=former.revision, after=latter, by=Owner.ROLLOUT, reason=Reason.MOVED)  # fmt: skip
        after, _ = after.apply([change], (), NOW)
    assert not broken(after)
    return after


# -- what is moved


@pytest.mark.parametrize(
    ("nodes", "records", "expected"),
    [
        pytest.param(3, [*done(web(3)), *spread("123")], [], id="even"),
        pytest.param(3, [*done(web(4)), *spread("1123")], [], id="as even as it can be"),
        pytest.param(3, [*done(web(3)), *spread("112")], ["web.2.1 n1-n3"], id="a node is empty"),
        pytest.param(3, [*done(web(6)), *spread("111222")], ["web.3.1 n1-n3", "web.6.1 n2-n3"], id="two joined to by one"),
        pytest.param(2, [*done(web(1), web(1, "api")), *spread("1"), *spread("1", of="api")], ["api.1.1 n1-n2"], id="two services of one"),
        pytest.param(2, [*done(web(2), web(2, "api")), *spread("11"), *spread("22", of="api")], ["api.2.1 n2-n1", "web.2.1 n1-n2"], id="as many on each, but crowded"),
        pytest.param(3, [*done(web(2, mode=Mode.JOB)), *spread("11")], [], id="a job ends by itself"),
        pytest.param(3, [*done(web(1, mode=Mode.GLOBAL)), *spread("11", pinned="n1")], [], id="a global service is where it is to be"),
        pytest.param(2, [*done(web(2, placement=PlacementRules(constraints=("node.name==n1",)))), *spread("11")], [], id="a constraint holds"),
        pytest.param(2, [*done(web(2, resources=Resources(memory=8 * GIB))), *spread("1")], [], id="not while a slot is empty"),
        pytest.param(2, [*done(web(2)), task(1), task(2, avoids={"n2": NOW + 9})], ["web.1.1 n1-n2"], id="not to a node on which its slot crashes"),
        pytest.param(2, [*done(web(2)), task(1), task(2, avoids={"n2": NOW - 9})], ["web.2.1 n1-n2"], id="unless that is long past"),
        pytest.param(2, [*done(web(2, mounts=(CACHE,))), *spread("11")], ["web.2.1 n1-n2"], id="a mount that nothing is kept in"),
        pytest.param(2, [*done(web(2, resources=Resources(memory=3 * GIB)), web(2, "api", resources=Resources(memory=GIB))), *spread("11"), *spread("22", of="api")], ["web.2.1 n1-n2", "api.2.1 n2-n1"], id="heavy against light"),
    ],
)  # fmt: skip
def test_moves(nodes: int, records: list[Object], expected: list[str]) -> None:
    assert in_short(plan(here(nodes, *records), "spread", NOW)) == expected


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(node("n2", status=NodeStatus.DOWN), id="down"),
        pytest.param(replace(node("n2"), reason=Reason.NODE_HELD), id="silent"),
        pytest.param(node("n2", availability=Availability.PAUSED), id="paused"),
        pytest.param(node("n2", availability=Availability.DRAINED), id="drained"),
        pytest.param(node("n2", memory=GIB), id="too small"),
    ],
)
def test_nothing_goes_to_a_node_that_takes_nothing(other: Object) -> None:
    records = [*done(web(3, resources=Resources(memory=2 * GIB))), *spread("111")]
    assert in_short(plan(world(node("n1"), other, *records), "spread", NOW)) == []


def test_room_that_a_move_leaves_is_used_by_the_next() -> None:
    small = Resources(memory=4 * GIB)
    records = [*done(web(4, resources=small), web(1, "api")), *spread("1122"), task(1, of="api", on="n3")]
    assert in_short(plan(here(3, *records), "spread", NOW)) == ["web.2.1 n1-n3"]
    tight = [*done(web(2, resources=small), web(2, "api", resources=small)), *spread("11"), *spread("22", of="api")]
    assert in_short(plan(here(2, *tight), "spread", NOW)) == []  # start-first finds no room on a full node
    roomy = world(node("n1"), node("n2", memory=12 * GIB), *tight)
    assert in_short(plan(roomy, "spread", NOW)) == ["web.2.1 n1-n2", "api.2.1 n2-n1"]


def test_the_budget_is_kept_and_the_best_go_first() -> None:
    records = [*done(web(8)), *spread("11111222")]
    whole = plan(here(4, *records), "spread", NOW)
    assert [in_short(plan(here(4, *records), "spread", NOW, RebalanceWish(moves_max=n))) for n in (1, 2)] == [
        in_short(whole)[:1],
        in_short(whole)[:2],
    ]
    gains = [move.gain for move in whole.moves]
    assert gains == sorted(gains, reverse=True)
    assert whole.before - whole.after == pytest.approx(sum(gains))


@pytest.mark.parametrize("count", [0, 129])
def test_a_budget_that_is_none(count: int) -> None:
    with pytest.raises(Invalid, match="1 to 128"):
        plan(here(2), "spread", NOW, RebalanceWish(moves_max=count))


@pytest.mark.parametrize("policy", PACKING)
def test_a_packing_policy_is_not_undone(policy: str) -> None:
    planned = plan(here(2, *done(web(2)), *spread("11")), policy, NOW)
    assert (planned.moves, planned.after) == ((), planned.before)
    assert "packs" in planned.message


@pytest.mark.parametrize(
    ("nodes", "places", "imbalance"),
    [
        pytest.param(2, "12", 0.0, id="even"),
        pytest.param(2, "11", 0.5, id="all on one of two"),
        pytest.param(4, "11111111", 0.75, id="all on one of four"),
        pytest.param(3, "1123", 1 / 18, id="tasks are whole"),
        pytest.param(3, "", 0.0, id="nothing runs"),
    ],
)
def test_the_imbalance(nodes: int, places: str, imbalance: float) -> None:
    records = [*done(web(len(places))), *spread(places)]
    assert plan(here(nodes, *records), "spread", NOW).before == pytest.approx(imbalance)


# -- what is left out


@pytest.mark.parametrize(
    ("spec", "tasks", "reason"),
    [
        pytest.param(
            {"placement": PlacementRules(policy="binpack")},
            {},
            "its own policy, binpack, packs its tasks together",
            id="a policy of its own",
        ),
        pytest.param(
            {"placement": PlacementRules(spread=(Spread(over="node.name", skew_max=5),))},
            {},
            "it is spread by a rule of its own, which a move could break",
            id="required spread",
        ),
        pytest.param({"mounts": (DATA,)}, {}, "it has a volume, which stays where it is", id="a named volume"),
        pytest.param({"ports": (Port(container=80, host=80),)}, {}, "it would be stopped before it is started elsewhere; --disruptive does that", id="a fixed host port"),
        pytest.param({"update": UpdateRules(order=UpdateOrder.STOP_FIRST)}, {}, "it would be stopped before it is started elsewhere; --disruptive does that", id="stop-first"),
        pytest.param({}, {"move_ended_at": NOW - COOL_DOWN_S + 1}, "moved less than 10 min ago", id="moved lately"),
        pytest.param({}, {"ready": False}, "not all of its tasks are ready", id="not ready"),
    ],
)  # fmt: skip
def test_what_is_left_out(spec: Any, tasks: Any, reason: str) -> None:
    planned = plan(here(2, *done(web(2, **spec)), *spread("11", **tasks)), "spread", NOW)
    assert planned.moves == ()
    assert [(left.service, left.tasks, left.reason) for left in planned.left_out] == [("web", 2, reason)]


def test_after_the_cool_down_it_may_move_again() -> None:
    records = spread("11", move_ended_at=NOW - COOL_DOWN_S)
    assert len(plan(here(2, *done(web(2)), *records), "spread", NOW).moves) == 1


def test_a_release_under_way_comes_first() -> None:
    one = web(2)
    rolling = Release(service="web", number=1, spec=one.spec)
    planned = plan(here(2, one, rolling, *spread("11")), "spread", NOW)
    assert [left.reason for left in planned.left_out] == ["a release of it is under way"]


def test_what_has_to_stop_first_is_moved_when_asked_for_and_its_cost_told() -> None:
    records = [*done(web(2, update=UpdateRules(order=UpdateOrder.STOP_FIRST))), *spread("11")]
    planned = plan(here(2, *records), "spread", NOW, RebalanceWish(disruptive=True))
    assert in_short(planned) == ["web.2.1 n1-n2"]
    assert planned.moves[0].cost.startswith("an outage")


def test_the_cost_of_the_others_is_what_is_set_aside_twice() -> None:
    records = [*done(web(2, resources=Resources(cpu=0.5, memory=GIB))), *spread("11")]
    (move,) = plan(here(2, *records), "spread", NOW).moves
    assert move.cost == "a second task until it is ready: 0.5 cpu, 1024 MiB"


def test_nothing_is_planned_while_moves_are_under_way() -> None:
    records = [*done(web(3)), task(1, moves_to="n2"), task(2), task(3)]
    planned = plan(here(3, *records), "spread", NOW)
    assert (planned.moves, planned.under_way) == ((), ("web.1.1",))
    assert mark(here(3, *records), planned, Owner.USER) == []


def test_marks_say_where_to_and_in_which_turn() -> None:
    situation = here(4, *done(web(4)), *spread("1111"))
    changes = mark(situation, plan(situation, "spread", NOW), Owner.USER)
    marked = [change.after for change in changes]
    assert [(one.id, one.moves_to, one.moves_turn) for one in marked if isinstance(one, Task)] == [
        ("web.4.1", "n2", 1),
        ("web.3.1", "n3", 2),
        ("web.2.1", "n4", 3),
    ]
    assert {change.reason for change in changes} == {Reason.TO_MOVE}


# -- by itself


WILLING = PlacementRules(rebalance=True)


@pytest.mark.parametrize(
    ("nodes", "records", "moved", "again"),
    [
        pytest.param([node("n2")], [*done(web(2)), *spread("11")], [], None, id="nobody opted in"),
        pytest.param([node("n2")], [*done(web(2, placement=WILLING)), *spread("11")], ["web.2.1"], NOW + STEADY_S, id="one opted in"),
        pytest.param([node("n2")], [*done(web(2, placement=WILLING), web(2, "api")), *spread("12"), *spread("11", of="api")], [], None, id="others are left alone"),
        pytest.param([replace(node("n2"), changed_at=NOW - 5)], [*done(web(2, placement=WILLING)), *spread("11")], [], NOW - 5 + STEADY_S, id="not at once"),
        pytest.param([node("n2")], [*done(web(2, placement=WILLING)), task(1, moves_to="n2"), task(2)], [], NOW + STEADY_S, id="one thing at a time"),
        pytest.param([node("n2")], [*done(web(2, placement=WILLING)), *spread("11", ready=False)], [], NOW + STEADY_S, id="not while one is not ready; later"),
        pytest.param([node("n2")], [*done(web(2, placement=WILLING)), *spread("11", move_ended_at=NOW - 1)], [], NOW - 1 + COOL_DOWN_S, id="when the cool-down is over"),
        pytest.param([node("n2")], [*done(web(2, placement=WILLING)), *spread("11", avoids={"n2": NOW + 9})], [], NOW + 9, id="when a node is no longer avoided"),
        pytest.param([node("n2")], [*done(web(2, placement=WILLING)), *spread("12")], [], None, id="nothing to do"),
    ],
)  # fmt: skip
def test_the_controller(nodes: list[Object], records: list[Object], moved: list[str], again: float | None) -> None:
    changes, look = decide(world(node("n1"), *nodes, *records), NOW, "spread")
    assert ([change.id for change in changes], look) == (moved, again)
    assert {change.by for change in changes} <= {Owner.REBALANCE}


def test_opting_in_replaces_no_container() -> None:
    before = ServiceSpec(image="x", placement=PlacementRules(constraints=("node.name==n1",)))
    assert same_containers(before, replace(before, placement=replace(before.placement, rebalance=True)))
    assert not same_containers(before, replace(before, placement=WILLING))


# -- any cluster


def random_cluster(rng: Random) -> Snapshot:
    """Nodes of several sizes, and tasks where they have room, rather on the first ones."""
    nodes = [
        node(
            f"n{number}",
            cpu=rng.choice([2.0, 4.0, 8.0]),
            memory=rng.choice([4, 8, 16]) * GIB,
            status=rng.choice([NodeStatus.READY] * 8 + [NodeStatus.DOWN]),
            availability=rng.choice([Availability.ACTIVE] * 8 + [Availability.PAUSED]),
            zone=rng.choice("ab"),
        )
        for number in range(1, rng.randint(2, 7))
    ]
    records: list[Object] = [*nodes]
    for name in rng.sample(["api", "db", "web", "zap"], rng.randint(1, 4)):
        replicas = rng.randint(1, 8)
        one = web(
            replicas,
            name,
            resources=Resources(cpu=rng.choice([0.0, 0.25, 1.0]), memory=rng.choice([0, 0, 1, 2]) * GIB),
            ports=rng.choice([(), (), (Port(container=80),)]),
            placement=PlacementRules(constraints=rng.choice([(), (), ("node.labels.zone==a",)])),
            mounts=rng.choice([(), (), (), (DATA,)]),
            mode=rng.choice([Mode.REPLICATED] * 5 + [Mode.JOB]),
        )
        records += done(one)
        for slot in range(1, replicas + 1):
            table = NodeTable(world(*records), NOW)
            rows = [row for row, room in enumerate(sieve(table, ask_of(name, one.spec)).room.tolist()) if room > 0]
            if rows:
                row = rows[0] if rng.random() < 0.6 else rng.choice(rows)
                ports = table.take(row, ask_of(name, one.spec))
                records.append(task(slot, of=name, on=table.names[row], ports=ports))
    return world(*records)


@pytest.mark.parametrize("seed", range(300))
def test_any_cluster(seed: int) -> None:
    """Every move has room when its turn comes and gains; there are no more than allowed; carried out, the cluster is as
    even as was said; and then there is nothing left to do, now or after the cool-down if the budget allowed for all."""
    rng = Random(seed)
    before = random_cluster(rng)
    wish = RebalanceWish(moves_max=rng.choice([1, 3, 128]), disruptive=rng.random() < 0.3)
    planned = plan(before, "spread", NOW, wish)
    assert len(planned.moves) <= wish.moves_max
    assert all(move.gain > 0 and move.source != move.target for move in planned.moves)
    after = carried_out(before, planned.moves)
    assert Balance(after, NodeTable(after, NOW)).imbalance() == pytest.approx(planned.after)
    assert planned.after <= planned.before + 1e-9
    for one in planned.nodes:
        there = [task for task in after.tasks_of_node(one.name).values() if task.counts]
        assert len(there) == one.after
    if len(planned.moves) < wish.moves_max:
        again = plan(after, "spread", NOW, wish)
        assert again.moves == ()
        assert again.after == pytest.approx(planned.after)


@pytest.mark.parametrize("seed", range(40))
def test_there_is_an_end_to_moves(seed: int) -> None:
    """Also if every task has forgotten that it moved."""
    situation = random_cluster(Random(seed))
    for _ in range(20):
        later = NOW + COOL_DOWN_S
        planned = plan(situation, "spread", later, RebalanceWish(moves_max=128, disruptive=True))
        if not planned.moves:
            break
        situation = carried_out(situation, planned.moves)
    else:
        raise AssertionError("it never comes to rest")


def test_the_plan_is_the_same_whatever_order_records_came_in() -> None:
    for seed in range(20):
        situation = random_cluster(Random(seed))
        turned = Snapshot.restored(
            situation.revision,
            [(kind, one) for kind, _, one in reversed(list(situation.objects()))],
            [id for _, id, _ in reversed(list(situation.objects()))],
        )
        assert plan(turned, "spread", NOW) == plan(situation, "spread", NOW)


# -- turns


def test_two_move_at_a_time_in_turn() -> None:
    records = [task(1, moves_to="n2", moves_turn=3), task(2, moves_to="n2", moves_turn=1), task(3, moves_to="n3", moves_turn=2)]  # fmt: skip
    situation = here(3, *done(web(3)), *records)
    assert moves.whose_turn(situation) == ["web.2.1", "web.3.1"]


def test_what_was_started_for_a_move_and_does_not_run_yet_is_under_way() -> None:
    records = [task(1, 2, State.NEW, on=None, pinned="n2"), task(2)]
    assert [one.id for one in moves.under_way(here(2, *done(web(2)), *records))] == ["web.1.2"]
