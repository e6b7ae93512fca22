"""Placement, row by row: nodes and tasks in, places out, by policy; who waits and what counts."""

import pytest
from msgspec.structs import replace

from longshore.decide.placement.place import decide
from longshore.decide.placement.scoring.scores import DEFAULT, POLICIES, policy_named
from longshore.model.changes import COMMIT_CHANGES_MAX, Change
from longshore.model.errors import Conflict, Invalid
from longshore.model.invariants import broken
from longshore.model.lifecycle import ON_NODE, TERMINAL, Owner, State, Wanted
from longshore.model.objects import Kind, NodeStatus, Object, Release, Task
from longshore.model.placing import Taint
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from tests.tables.build import (
    GIB,
    NOW,
    THREE,
    node,
    nodes,
    placed,
    port,
    service,
    task,
    waiting,
    world,
)

# -- policies


@pytest.mark.parametrize(
    ("policy", "records", "expected"),
    [
        pytest.param(
            "first-fit",
            [*THREE, service(memory=3 * GIB), *waiting(5)],
            {"web.1.1": "n1", "web.2.1": "n1", "web.3.1": "n2", "web.4.1": "n2", "web.5.1": "n3"},
            id="first-fit fills node after node by name",
        ),
        pytest.param(
            "round-robin",
            [*THREE, service(), *waiting(4)],
            {"web.1.1": "n1", "web.2.1": "n2", "web.3.1": "n3", "web.4.1": "n1"},
            id="round-robin begins with the first node of an empty cluster and goes around",
        ),
        pytest.param(
            "roundrobin",
            [*THREE, service(), *waiting(4)],
            {"web.1.1": "n2", "web.2.1": "n3", "web.3.1": "n1", "web.4.1": "n2"},
            id="roundrobin begins with the second node of an empty cluster, as Cube does",
        ),
        pytest.param(
            "roundrobin",
            [THREE[0], service(), *waiting(2)],
            {"web.1.1": "n1", "web.2.1": "n1"},
            id="roundrobin of one node",
        ),
        pytest.param(
            "roundrobin",
            [*THREE, service(), task("web", 9, on="n1"), task()],
            {"web.1.1": "n2"},
            id="roundrobin goes on after the newest placement",
        ),
        pytest.param(
            "round-robin",
            [*THREE, service(), task("web", 9, on="n1", placed_at=7.0), task("web", 8, on="n2", placed_at=6.0), task()],
            {"web.1.1": "n2"},
            id="round-robin goes on after the newest placement",
        ),
        pytest.param(
            "round-robin",
            # As strings web.9.1 is greater than web.10.1; as placements it is older.
            [*THREE, service(), task("web", 9, on="n3"), task("web", 10, on="n1"), task("web", 11)],
            {"web.11.1": "n2"},
            id="round-robin reads the order within one pass by slot, not by text",
        ),
        pytest.param(
            "round-robin",
            [*THREE, service(), task("web", 2, on="n1", state=State.FAILED), task()],
            {"web.1.1": "n2"},
            id="round-robin remembers a task that ended",
        ),
        pytest.param(
            "round-robin",
            [THREE[0], node("n2", status=NodeStatus.DOWN), THREE[2], service(), task("web", 9, on="n1"), *waiting(2)],
            {"web.1.1": "n3", "web.2.1": "n1"},
            id="round-robin skips whoever cannot",
        ),
        pytest.param(
            "round-robin",
            [*THREE, service("api"), service("web"), *waiting(2, "api"), *waiting(2, "web")],
            {"api.1.1": "n1", "api.2.1": "n2", "web.1.1": "n3", "web.2.1": "n1"},
            id="round-robin goes on from service to service",
        ),
        pytest.param(
            "spread",
            [*THREE, service(), *waiting(4)],
            {"web.1.1": "n1", "web.2.1": "n2", "web.3.1": "n3", "web.4.1": "n1"},
            id="spread goes around equal nodes by name",
        ),
        pytest.param(
            "spread",
            [*THREE, service(), service("api"), task("web", 8, on="n1"), *waiting(3, "api", on="n2"), task()],
            {"web.1.1": "n3"},
            id="spread: fewest of the service, then fewest in all",
        ),
        pytest.param(
            "spread",
            [*THREE[:2], service(), service("api"), task("web", 8, on="n1"), *waiting(9, "api", on="n2"), task()],
            {"web.1.1": "n2"},
            id="spread: one of the service outweighs nine others",
        ),
        pytest.param(
            "spread",
            [
                node("n1"),
                node("n2", memory=16 * GIB),
                service(memory=GIB),
                service("api", memory=GIB),
                task("api", 1, on="n1"),
                task("api", 2, on="n2"),
                task(),
            ],
            {"web.1.1": "n2"},
            id="spread: among equal counts most room",
        ),
        pytest.param(
            "spread",
            [
                node("n1", cpu=1.0),
                node("n2", cpu=1.0),
                service("full", cpu=1.0),
                service("light"),
                service(),
                task("full", 1, on="n1"),
                task("light", 1, on="n2"),
                task("light", 2, on="n2"),
                task(),
            ],
            {"web.1.1": "n1"},
            id="spread: all the room in the world does not weigh one task",
        ),
        pytest.param(
            "binpack",
            [*THREE, service(memory=3 * GIB), service("api", memory=GIB), task("api", 1, on="n2"), *waiting(3)],
            {"web.1.1": "n2", "web.2.1": "n2", "web.3.1": "n1"},
            id="binpack fills the fullest that still has room",
        ),
        pytest.param(
            "binpack",
            [node("n1", memory=16 * GIB), node("n2", memory=8 * GIB), service(memory=4 * GIB), *waiting(3)],
            {"web.1.1": "n2", "web.2.1": "n2", "web.3.1": "n1"},
            id="binpack takes the smallest node first",
        ),
        pytest.param(
            "alignment",
            [
                node("n1", cpu=8.0, memory=8 * GIB),
                node("n2", cpu=4.0, memory=8 * GIB),
                service("api", cpu=6.0, memory=GIB),
                task("api", 1, on="n1"),
                service(cpu=2.0, memory=GIB),
                task(),
            ],
            {"web.1.1": "n2"},
            id="alignment leaves a node alone that has too little cpu for its memory",
        ),
        pytest.param(
            "alignment",
            [*THREE, service(cpu=1.0, memory=2 * GIB), task("api", 1, on="n2"), service("api"), *waiting(3)],
            {"web.1.1": "n1", "web.2.1": "n1", "web.3.1": "n1"},
            id="alignment fills what is aligned as well, the fullest first",
        ),
        pytest.param(
            "epvm",
            [*THREE, service(cpu=1.0, memory=GIB), *waiting(4)],
            {"web.1.1": "n1", "web.2.1": "n2", "web.3.1": "n3", "web.4.1": "n1"},
            id="epvm balances equal nodes",
        ),
        pytest.param(
            "epvm",
            [
                *THREE[:2],
                service("cpus", cpu=3.0),
                service("bytes", memory=6 * GIB),
                service(cpu=0.5),
                task("cpus", 1, on="n1"),
                task("bytes", 1, on="n2"),
                task(),
            ],
            {"web.1.1": "n2"},
            id="epvm avoids the resource that is scarce",
        ),
        pytest.param(
            "epvm",
            [node("n1", cpu=2.0), node("n2", cpu=16.0), service(cpu=1.0), task()],
            {"web.1.1": "n2"},
            id="epvm: the bigger node feels a task less",
        ),
        pytest.param(
            "epvm",
            [*THREE, service(), *waiting(7)],
            dict(zip([f"web.{slot}.1" for slot in range(1, 8)], ["n1", "n2", "n3"] * 3, strict=False)),
            id="epvm balances by count alone where nothing is asked",
        ),
        pytest.param(
            "epvm",
            [node("only"), service(memory=3 * GIB), *waiting(2)],
            {"web.1.1": "only", "web.2.1": "only"},
            id="epvm with one node",
        ),
    ],
)
def test_policy(policy: str, records: list[Object], expected: dict[str, str]) -> None:
    assert placed(*records, policy=policy) == expected


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_nodes_are_taken_by_name(policy: str) -> None:
    first = "b" if policy == "roundrobin" else "a"
    assert placed(node("b"), node("a"), node("c"), service(cpu=1.0), task(), policy=policy) == {"web.1.1": first}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("first-fit", "first-fit: n2 is the first with room"),
        ("round-robin", "round-robin: n2 is the next with room"),
        ("spread", "spread: n2 has 0 of web's tasks, 1 in all, and 88% free"),
        ("binpack", "binpack: n2 is left 75% free"),
        ("alignment", "alignment: n2 has 36% of its proportion free, and is left 75% free"),
        # 2 nodes: 2**(1/1) * (2**1 - 1) for the count, 2**0.25 * (2**0.25 - 1) for the memory.
        ("epvm", "epvm: n2 rises by 2.225 in cost"),
    ],
)
def test_a_placement_says_why(policy: str, message: str) -> None:
    records: list[Object] = [
        node("n1", status=NodeStatus.DOWN),
        node("n2"),
        service("api", memory=2 * GIB),
        service(memory=2 * GIB),
    ]
    changes, _ = decide(world(*records, task("api", 1, on="n2"), task()), NOW, policy)
    (change,) = changes
    after = change.after
    assert isinstance(after, Task)
    assert change.message == after.message == message
    assert (change.before, change.by, change.reason) == (1, Owner.PLACEMENT, Reason.PLACED)
    assert (after.node, after.state, after.placed_at, after.reason) == ("n2", State.PLACED, NOW, Reason.PLACED)


def test_policies_have_names() -> None:
    assert list(POLICIES) == [
        "first-fit",
        "round-robin",
        "spread",
        "binpack",
        "alignment",
        "epvm",
        "roundrobin",
        "greedy",
    ]
    assert policy_named("spread").name == DEFAULT
    with pytest.raises(Invalid, match="use one of first-fit, round-robin, spread, binpack, alignment, epvm"):
        policy_named("fastest")


# -- what is measured


@pytest.mark.parametrize(
    ("busy", "expected"),
    [
        pytest.param({"n1": 1.0, "n2": 0.5, "n3": 0.75}, "n2", id="the least busy"),
        pytest.param({"n1": 0.5, "n2": 0.5, "n3": 0.5}, "n1", id="the first of equals"),
        pytest.param({"n1": 0.1, "n3": 0.1}, "n2", id="what was not measured counts as busy as it has cpu set aside"),
    ],
)
def test_greedy_goes_where_the_cpu_is_least_busy(busy: dict[str, float], expected: str) -> None:
    here = world(*THREE, service(), task())
    changes, _ = decide(here, NOW, "greedy", busy.get)
    assert [one.after.node for one in changes if isinstance(one.after, Task)] == [expected]


def test_greedy_measures_against_the_node_s_own_cores() -> None:
    here = world(node("big", cpu=8.0), node("small", cpu=1.0), service(), task())
    changes, _ = decide(here, NOW, "greedy", {"big": 2.0, "small": 0.5}.get)
    assert [one.message for one in changes] == ["greedy: big is the least busy: 25% of its cpu"]


# -- who waits, and what counts


def test_oldest_first() -> None:
    tasks = [task("web", 2, created_at=5.0), task("web", 10, created_at=5.0), task("api", 1, created_at=5.0)]
    tasks += [task("web", 1, created_at=6.0), task("web", 9, created_at=4.0)]
    changes, _ = decide(world(node("n1"), service(), service("api"), *tasks), NOW, DEFAULT)
    assert [change.id for change in changes] == ["web.9.1", "api.1.1", "web.2.1", "web.10.1", "web.1.1"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("alignment", ["old.1.1", "big.1.1", "small.1.1"]),
        ("binpack", ["old.1.1", "small.1.1", "big.1.1"]),
    ],
)
def test_alignment_has_the_largest_first_of_one_second(policy: str, expected: list[str]) -> None:
    tasks = [task("old", 1, created_at=1.9), task("small", 1, created_at=2.0), task("big", 1, created_at=2.9)]
    kept = (service("old", memory=GIB), service("small", memory=GIB), service("big", memory=2 * GIB))
    changes, _ = decide(world(node("n1"), *kept, *tasks), NOW, policy)
    assert [change.id for change in changes] == expected


def test_the_oldest_get_the_last_room() -> None:
    tasks = [task("small", 1, created_at=2.0), task("big", 1, created_at=1.0), task("small", 2, created_at=3.0)]
    kept = (service("big", memory=7 * GIB), service("small", memory=GIB))
    assert placed(node("n1"), *kept, *tasks) == {
        "big.1.1": "n1",
        "small.1.1": "n1",
        "small.2.1": "0 of 1 node: not enough memory (n1)",
    }


@pytest.mark.parametrize("state", ON_NODE)
@pytest.mark.parametrize("wanted", Wanted)
def test_a_task_on_its_way_out_still_counts(state: State, wanted: Wanted) -> None:
    there = task("web", 1, on="n1", state=state, wanted=wanted)
    rows = placed(node("n1"), service(memory=8 * GIB), there, task("web", 2))
    assert rows == {"web.2.1": "0 of 1 node: not enough memory (n1)"}


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_task_that_ended_does_not_count(state: State) -> None:
    there = task("web", 1, on="n1", state=state)
    assert placed(node("n1"), service(memory=8 * GIB), there, task("web", 2)) == {"web.2.1": "n1"}


def test_a_task_counts_by_its_own_release() -> None:
    old, new = service(memory=6 * GIB), service(memory=2 * GIB, release=2)
    before = Release(service="web", number=1, spec=old.spec)
    there = task("web", 1, on="n1", release=1)
    rows = placed(node("n1"), new, before, there, task("web", 2, release=2), task("web", 3, release=2))
    assert rows == {"web.2.1": "n1", "web.3.1": "0 of 1 node: not enough memory (n1)"}


def test_only_tasks_that_are_new_and_wanted_are_placed() -> None:
    unwanted = task("web", 1, wanted=Wanted.STOPPED)
    assert placed(node("n1"), service(), unwanted, task("web", 2, on="n1")) == {}


def test_a_release_that_is_gone() -> None:
    assert placed(node("n1"), task()) == {"web.1.1": "release 1 is not kept"}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_node_that_shrank_takes_only_what_needs_nothing(policy: str) -> None:
    """Its tasks hold more than it has; what is free is nothing, not less."""
    records: list[Object] = [node("n1", memory=GIB), service(memory=4 * GIB), service("free"), task("web", 1, on="n1")]
    rows = placed(*records, task("web", 2), task("free", 1), policy=policy)
    assert rows == {"free.1.1": "n1", "web.2.1": "0 of 1 node: not enough memory (n1)"}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_node_without_capacity(policy: str) -> None:
    records: list[Object] = [node("n1", cpu=0.0, memory=0), service(cpu=0.001), service("free")]
    rows = placed(*records, task(), task("free", 1), policy=policy)
    assert rows == {"free.1.1": "n1", "web.1.1": "0 of 1 node: not enough cpu (n1)"}


# -- a commit takes so many changes


@pytest.mark.parametrize("policy", POLICIES)
def test_any_first_part_may_land_alone(policy: str) -> None:
    here = world(*nodes(7), service(cpu=0.1, ports=[port(80)]), *waiting(300))
    changes, _ = decide(here, NOW, policy)
    assert sum(change.reason is Reason.PLACED for change in changes) == 280
    start = 0
    for end in (1, 100, 228, 300):
        while start < end:
            part = changes[start : min(end, start + COMMIT_CHANGES_MAX)]
            here, _ = here.apply(part, (), NOW)
            start += len(part)
        assert broken(here) == []
        rest, _ = decide(here, NOW, policy)
        assert rest == [change for change in changes[end:] if change.reason is Reason.PLACED] + [
            change for change in changes[end:] if change.reason is not Reason.PLACED
        ]


# -- nodes to keep away from


def crashed(generation: int, on: str = "n1") -> Task:
    return task(generation=generation, on=on, state=State.FAILED, started_at=NOW - 1)


NEXT = task(generation=4)
LOOP = [crashed(1), crashed(2), crashed(3), NEXT]


@pytest.mark.parametrize("policy", ["spread", "first-fit", "binpack", "epvm", "greedy"])
def test_a_slot_that_failed_again_and_again_on_a_node_goes_to_another(policy: str) -> None:
    assert placed(*THREE, service(), *LOOP[1:], policy=policy) == {"web.1.4": "n1"}, "two are not three"
    changes, _ = decide(world(*THREE, service(), *LOOP), NOW, policy)
    after = changes[0].after
    assert isinstance(after, Task)
    assert (after.node, after.avoids) == ("n2", {"n1": NOW + 600})
    assert after.message.endswith("; keeps away from n1, where its slot failed 3 times in a row")


def test_where_nothing_else_fits_it_goes_there_all_the_same() -> None:
    changes, _ = decide(world(node("n1"), node("n2", cpu=0.0), service(cpu=1.0), *LOOP), NOW, DEFAULT)
    after = changes[0].after
    assert isinstance(after, Task)
    assert (after.node, after.avoids) == ("n1", {"n1": NOW + 600})
    assert after.message.endswith("; no other fits, although its slot failed 3 times in a row there")


def test_only_the_slot_that_failed_keeps_away() -> None:
    assert placed(node("n1"), node("n2"), service(), *LOOP, *waiting(3)[1:], policy="first-fit") == {
        "web.1.4": "n2",
        "web.2.1": "n1",
        "web.3.1": "n1",
    }


def test_nothing_goes_to_a_node_that_is_silent_and_kept() -> None:
    silent = replace(node("n1"), reason=Reason.NODE_HELD)
    assert placed(silent, node("n2"), service(), task()) == {"web.1.1": "n2"}
    assert placed(silent, service(), task()) == {"web.1.1": "0 of 1 node: node is silent (n1)"}


@pytest.mark.parametrize("many", [2, 80], ids=["one by one", "in bulk"])
def test_a_place_rests_on_its_node_and_on_no_other(many: int) -> None:
    """A node that changed since it was chosen is not given the task; what happens to others does not matter."""
    before = world(*THREE, service(), *waiting(many))
    changes, _ = decide(before, NOW, DEFAULT)

    def after(name: str) -> Snapshot:
        tainted = replace(before.nodes[name], taints=(Taint(key="closed"),))
        change = Change(
            kind=Kind.NODE,
            id=name,
            before=tainted.revision,
            after=tainted,
            by=Owner.USER,
            reason=Reason.NODE_CHANGED,
        )
        return before.apply([change], (), NOW)[0]

    for change in changes:
        assert isinstance(change.after, Task)
        for name in before.nodes:
            if name != change.after.node:
                after(name).apply([change], (), NOW)
        with pytest.raises(Conflict, match="changed meanwhile"):
            after(change.after.node).apply([change], (), NOW)
