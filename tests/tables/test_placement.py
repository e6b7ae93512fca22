"""Placement, row by row: nodes and tasks in, places and reasons out."""

import pytest
from msgspec.structs import replace

from longshore.decide.placement.constraints import Constraint, eligible, parse
from longshore.decide.placement.explain import explain
from longshore.decide.placement.hostports import CHOSEN_FIRST, CHOSEN_LAST, PORT_RETRY_S
from longshore.decide.placement.place import decide
from longshore.decide.placement.scores import DEFAULT, POLICIES, policy_named
from longshore.model.changes import COMMIT_CHANGES_MAX
from longshore.model.errors import Invalid
from longshore.model.invariants import broken
from longshore.model.lifecycle import ON_NODE, TERMINAL, Owner, State, Wanted
from longshore.model.objects import Availability, Node, NodeStatus, Object, Release, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Protocol
from longshore.model.views import Verdict
from tests.tables.build import GIB, NOW, node, outcome, port, published, service, task, waiting, world

THREE = (node("n1"), node("n2"), node("n3"))
UDP = Protocol.UDP


def placed(*records: Object, policy: str = DEFAULT) -> dict[str, str]:
    return outcome(decide(world(*records), NOW, policy)[0])


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
    assert placed(node("b"), node("a"), node("c"), service(cpu=1.0), task(), policy=policy) == {"web.1.1": "a"}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("first-fit", "first-fit: n2 is the first with room"),
        ("round-robin", "round-robin: n2 is the next with room"),
        ("spread", "spread: n2 has 0 of web's tasks, 1 in all, and 88% free"),
        ("binpack", "binpack: n2 is left 75% free"),
        # 2 nodes: 2**(1/1) * (2**1 - 1) for the count, 2**0.25 * (2**0.25 - 1) for the memory.
        ("epvm", "epvm: n2 rises by 2.225 in cost"),
    ],
)
def test_a_placement_says_why(policy: str, message: str) -> None:
    records: list[Object] = [node("n1", status=NodeStatus.DOWN), node("n2"), service("api", memory=2 * GIB), service(memory=2 * GIB)]
    changes, _ = decide(world(*records, task("api", 1, on="n2"), task()), NOW, policy)
    (change,) = changes
    after = change.after
    assert isinstance(after, Task)
    assert change.message == after.message == message
    assert (change.before, change.by, change.reason) == (1, Owner.PLACEMENT, Reason.PLACED)
    assert (after.node, after.state, after.placed_at, after.reason) == ("n2", State.PLACED, NOW, Reason.PLACED)


def test_policies_have_names() -> None:
    assert list(POLICIES) == ["first-fit", "round-robin", "spread", "binpack", "epvm"]
    assert policy_named("spread").name == DEFAULT
    with pytest.raises(Invalid, match="use one of first-fit, round-robin, spread, binpack, epvm"):
        policy_named("greedy")


# -- who waits, and what counts


def test_oldest_first() -> None:
    tasks = [task("web", 2, created_at=5.0), task("web", 10, created_at=5.0), task("api", 1, created_at=5.0)]
    tasks += [task("web", 1, created_at=6.0), task("web", 9, created_at=4.0)]
    changes, _ = decide(world(node("n1"), service(), service("api"), *tasks), NOW, DEFAULT)
    assert [change.id for change in changes] == ["web.9.1", "api.1.1", "web.2.1", "web.10.1", "web.1.1"]


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


# -- refusals


def nodes(count: int, status: NodeStatus = NodeStatus.READY) -> list[Node]:
    return [node(f"n{number}", status=status) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("records", "text"),
    [
        pytest.param([service(), task()], "no nodes have joined yet", id="no nodes"),
        pytest.param([service(), task(pinned="n1")], "no nodes have joined yet", id="no nodes, pinned"),
        pytest.param(
            [*nodes(1, status=NodeStatus.DOWN), service(), task()], "0 of 1 node: node is down (n1)", id="down"
        ),
        pytest.param(
            [
                node("n1", availability=Availability.PAUSED),
                node("n2", availability=Availability.DRAINED),
                service(),
                task(),
            ],
            "0 of 2 nodes: node is paused or drained (n1, n2)",
            id="paused and drained",
        ),
        pytest.param(
            [node("n1", status=NodeStatus.DOWN, availability=Availability.DRAINED), service(), task()],
            "0 of 1 node: node is down (n1)",
            id="blamed once, on the first filter",
        ),
        pytest.param(
            [
                node("n1", zone="a"),
                node("n2", zone="a"),
                node("n3", zone="b"),
                service(memory=9 * GIB, constraints=["node.labels.zone == a"]),
                task(),
            ],
            "0 of 3 nodes: not enough memory (n1, n2), constraint node.labels.zone==a (n3)",
            id="the nearest miss comes first",
        ),
        pytest.param(
            [*nodes(2), service(constraints=["node.name!=n1", "node.name!=n2"]), task()],
            "0 of 2 nodes: constraint node.name!=n2 (n2), constraint node.name!=n1 (n1)",
            id="each constraint by itself",
        ),
        pytest.param([*nodes(1), service(cpu=4.001), task()], "0 of 1 node: not enough cpu (n1)", id="cpu"),
        pytest.param(
            [*nodes(1), service(cpu=5.0, memory=9 * GIB), task()], "0 of 1 node: not enough cpu (n1)", id="cpu first"
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80, 8080), port(53, 53, UDP)]),
                task("web", 1, on="n1", ports=published(8080)),
                task("web", 2),
            ],
            "0 of 1 node: host port 8080/tcp in use (n1)",
            id="port: the first that is taken",
        ),
        pytest.param(
            [*nodes(2), service(memory=9 * GIB), task(pinned="n2")],
            "0 of 2 nodes: not enough memory (n2), pinned to another node (n1)",
            id="pinned: its own node's reason first",
        ),
        pytest.param(
            [*nodes(2), service(), task(pinned="n9")],
            "0 of 2 nodes: pinned to another node (n1, n2)",
            id="pinned to a node that left",
        ),
        pytest.param(
            [*nodes(5), service(memory=9 * GIB), task()],
            "0 of 5 nodes: not enough memory (n1, n2, n3, n4, n5)",
            id="five names",
        ),
        pytest.param(
            [*nodes(8), service(memory=9 * GIB), task()],
            "0 of 8 nodes: not enough memory (n1, n2, n3, n4, n5 and 3 more)",
            id="many names",
        ),
    ],
)
def test_refusal(records: list[Object], text: str) -> None:
    (change,) = decide(world(*records), NOW, DEFAULT)[0]
    after = change.after
    assert isinstance(after, Task)
    assert (after.state, after.node, after.placed_at) == (State.NEW, "", None)
    assert (change.reason, after.reason) == (Reason.NO_NODE, Reason.NO_NODE)
    assert change.message == after.message == text


def test_what_was_said_is_not_said_again() -> None:
    here = world(node("n1"), service(memory=9 * GIB), *waiting(3))
    changes, again = decide(here, NOW, DEFAULT)
    assert len(changes) == 3
    said, _ = here.apply(changes, (), NOW)
    assert decide(said, NOW + 1, DEFAULT) == ([], None)
    more: list[Object] = [*said.nodes.values(), node("n2"), *said.services.values(), *said.tasks()]
    assert placed(*more) == dict.fromkeys(["web.1.1", "web.2.1", "web.3.1"], "0 of 2 nodes: not enough memory (n1, n2)")
    assert again is None


def test_nothing_waits() -> None:
    assert decide(Snapshot(), NOW, DEFAULT) == ([], None)


# -- pinned


def test_pinned_tasks_go_to_their_nodes_only() -> None:
    tasks = [task("web", slot, pinned=pin) for slot, pin in ((1, "n3"), (2, "n1"), (3, "n2"), (4, ""))]
    down = node("n2", status=NodeStatus.DOWN)
    assert placed(node("n1"), down, node("n3"), service(), *tasks) == {
        "web.1.1": "n3",
        "web.2.1": "n1",
        "web.3.1": "0 of 3 nodes: node is down (n2), pinned to another node (n1, n3)",
        "web.4.1": "n1",
    }


def test_a_pinned_task_says_so() -> None:
    (change,) = decide(world(*THREE, service(), task(pinned="n2")), NOW, "epvm")[0]
    assert change.message == "pinned to n2"


def test_pinned_tasks_fill_a_node_no_further_than_it_goes() -> None:
    rows = placed(*THREE, service(memory=3 * GIB), *waiting(3, pinned="n2"))
    assert rows == {
        "web.1.1": "n2",
        "web.2.1": "n2",
        "web.3.1": "0 of 3 nodes: not enough memory (n2), pinned to another node (n1, n3)",
    }


# -- host ports


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param(
            [*nodes(2), service(ports=[port(80, 8080)]), *waiting(3)],
            {"web.1.1": "n1 8080/tcp", "web.2.1": "n2 8080/tcp"}
            | {"web.3.1": "0 of 2 nodes: host port 8080/tcp in use (n1, n2)"},
            id="a fixed port goes once to each machine",
        ),
        pytest.param(
            [
                node("n1", machine="m"),
                node("n2", machine="m"),
                node("n3"),
                service(ports=[port(80, 8080)]),
                *waiting(3),
            ],
            {"web.1.1": "n1 8080/tcp", "web.2.1": "n3 8080/tcp"}
            | {"web.3.1": "0 of 3 nodes: host port 8080/tcp in use (n1, n2, n3)"},
            id="nodes of one machine share its ports",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(53, 53), port(53, 53, UDP)]), task()],
            {"web.1.1": "n1 53/tcp 53/udp"},
            id="protocols have ports of their own",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(53, 53, UDP)]),
                service("api", ports=[port(53, 53)]),
                task("api", 1, on="n1", ports=published(53)),
                task(),
            ],
            {"web.1.1": "n1 53/udp"},
            id="a port of the other protocol is free",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80), port(81), port(53, protocol=UDP)]), *waiting(2)],
            {"web.1.1": "n1 30000/tcp 30001/tcp 30000/udp", "web.2.1": "n1 30002/tcp 30003/tcp 30001/udp"},
            id="chosen: the lowest free, by protocol",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80), port(81, 30000), port(82)]), task()],
            {"web.1.1": "n1 30001/tcp 30000/tcp 30002/tcp"},
            id="chosen: not what the same task names",
        ),
        pytest.param(
            [node("n1", machine="m"), node("n2", machine="m"), service(ports=[port(80)]), *waiting(2)],
            {"web.1.1": "n1 30000/tcp", "web.2.1": "n2 30001/tcp"},
            id="chosen: each once per machine",
        ),
        pytest.param(
            [*nodes(2), service(ports=[port(80)]), *waiting(2)],
            {"web.1.1": "n1 30000/tcp", "web.2.1": "n2 30000/tcp"},
            id="chosen: machines do not mind one another",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80)]),
                service("api", ports=[port(80, 30001)]),
                task("web", 8, on="n1", ports=published(30000)),
                task("web", 9, on="n1", ports=published(30003)),
                task("api", 1, created_at=1.0),
                *waiting(2),
            ],
            {"api.1.1": "n1 30001/tcp", "web.1.1": "n1 30002/tcp", "web.2.1": "n1 30004/tcp"},
            id="chosen: around what is given out",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80)]),
                task("web", 9, on="n1", wanted=Wanted.STOPPED, ports=published(30000)),
                task(),
            ],
            {"web.1.1": "n1 30001/tcp"},
            id="a task that is still stopping keeps its port",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80)]),
                task("web", 9, on="n1", state=State.LOST, ports=published(30000)),
                task(),
            ],
            {"web.1.1": "n1 30000/tcp"},
            id="a task that ended does not",
        ),
        pytest.param(
            [
                node("n1", machine="m"),
                node("n2", machine="m", status=NodeStatus.DOWN),
                service(ports=[port(80, 8080)]),
                task("web", 9, on="n2", ports=published(8080)),
                task(),
            ],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n1), node is down (n2)"},
            id="a port of a node that is down is still its machine's",
        ),
    ],
)
def test_ports(records: list[Object], expected: dict[str, str]) -> None:
    assert placed(*records) == expected


def test_a_machine_runs_out_of_ports_to_choose() -> None:
    each = 500
    wide = service(ports=[port(1000 + number) for number in range(each)])
    full = (CHOSEN_LAST - CHOSEN_FIRST + 1) // each
    shared = [node("n1", machine="m"), node("n2", machine="m")]
    changes, _ = decide(world(*shared, wide, *waiting(full + 1)), NOW, DEFAULT)
    *fit, last = [change.after for change in changes if isinstance(change.after, Task)]
    assert len({port.host for one in fit for port in one.ports}) == full * each
    assert last.message == "0 of 2 nodes: no host port free from 30000 to 32767 (n1, n2)"


def test_a_published_port_keeps_its_address_and_container_port() -> None:
    asked = replace(port(80), ip="127.0.0.1")
    (change,) = decide(world(node("n1"), service(ports=[asked]), task()), NOW, DEFAULT)[0]
    assert isinstance(change.after, Task)
    (given,) = change.after.ports
    assert (given.container, given.host, given.ip, given.protocol) == (80, 30000, "127.0.0.1", Protocol.TCP)


# -- ports that other programs hold


def refused(slot: int, *hosts: int, on: str = "n1", ago_s: float = 10.0) -> Task:
    """A task that found its port taken."""
    failed = task("web", slot, on=on, state=State.FAILED, reason=Reason.PORT_TAKEN, ports=published(*hosts))
    return replace(failed, finished_at=NOW - ago_s)


IN_USE = "0 of 1 node: host port 8080/tcp in use (n1)"


@pytest.mark.parametrize(
    ("records", "expected", "again"),
    [
        pytest.param(
            [*nodes(1), service(ports=[port(80)]), refused(9, 30000), task()],
            {"web.1.1": "n1 30001/tcp"},
            None,
            id="another port is chosen",
        ),
        pytest.param(
            [*nodes(2), service(ports=[port(80, 8080)]), refused(9, 8080), task()],
            {"web.1.1": "n2 8080/tcp"},
            None,
            id="a fixed port goes to another machine",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)]), refused(9, 8080), task()],
            {"web.1.1": IN_USE},
            NOW - 10 + PORT_RETRY_S,
            id="or waits, and says until when",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)]), refused(9, 8080), refused(8, 8080, ago_s=4.0), task()],
            {"web.1.1": IN_USE},
            NOW - 4 + PORT_RETRY_S,
            id="the last refusal counts",
        ),
        pytest.param(
            [
                *nodes(2),
                service(ports=[port(80, 8080)]),
                refused(9, 8080, ago_s=4.0),
                refused(8, 8080, on="n2", ago_s=9.0),
                task(),
            ],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n1, n2)"},
            NOW - 9 + PORT_RETRY_S,
            id="the first machine to come free wakes",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)]), refused(9, 8080, ago_s=PORT_RETRY_S), task()],
            {"web.1.1": "n1 8080/tcp"},
            None,
            id="after a while it is tried again",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)], memory=9 * GIB), refused(9, 8080), task()],
            {"web.1.1": "0 of 1 node: not enough memory (n1)"},
            None,
            id="no look for a node that lacks more than the port",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80, 8081)]),
                refused(9, 8080),
                task("web", 8, on="n1", ports=published(8081)),
                task(),
            ],
            {"web.1.1": "0 of 1 node: host port 8081/tcp in use (n1)"},
            None,
            id="no look for another port",
        ),
        pytest.param(
            [
                *nodes(2),
                service(ports=[port(80, 8080)]),
                refused(9, 8080),
                task(pinned="n2"),
                task("web", 8, on="n2", ports=published(8080)),
            ],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n2), pinned to another node (n1)"},
            None,
            id="no look at a machine that the task may not go to",
        ),
        pytest.param(
            [*nodes(2), service(ports=[port(80, 8080)]), refused(9, 8080), task(pinned="n1")],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n1), pinned to another node (n2)"},
            NOW - 10 + PORT_RETRY_S,
            id="a look at the machine that it must go to",
        ),
        pytest.param(
            [
                node("n1", machine="m"),
                node("n2", machine="m"),
                service(ports=[port(80, 8080)]),
                refused(9, 8080),
                task(),
            ],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n1, n2)"},
            NOW - 10 + PORT_RETRY_S,
            id="refused on one node, refused on its machine",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)]), replace(refused(9, 8080), reason=Reason.EXITED), task()],
            {"web.1.1": "n1 8080/tcp"},
            None,
            id="a task that failed otherwise blocks nothing",
        ),
    ],
)
def test_port_taken(records: list[Object], expected: dict[str, str], again: float | None) -> None:
    changes, look = decide(world(*records), NOW, DEFAULT)
    assert outcome(changes) == expected
    assert look == again


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


# -- explanations


def test_explain_a_task_that_waits() -> None:
    here = world(node("n1", zone="b"), node("n2"), node("n3", status=NodeStatus.DOWN))
    here = world(*here.nodes.values(), service(memory=9 * GIB, constraints=["node.labels.zone!=b"]), task())
    told = explain(here, next(here.tasks()), NOW, DEFAULT)
    assert told.scores == {}
    assert told.refusals == (
        Verdict(filter="not enough memory", nodes=("n2",)),
        Verdict(filter="constraint node.labels.zone!=b", nodes=("n1",)),
        Verdict(filter="node is down", nodes=("n3",)),
    )
    assert told.sentence == (
        "0 of 3 nodes: not enough memory (n2), constraint node.labels.zone!=b (n1), node is down (n3)"
    )


@pytest.mark.parametrize(
    ("policy", "scores", "sentence"),
    [
        ("first-fit", {"n1": 0.0, "n3": -2.0}, "2 of 3 nodes fit; first-fit: n1 is the first with room"),
        ("round-robin", {"n1": -2.0, "n3": -1.0}, "2 of 3 nodes fit; round-robin: n3 is the next with room"),
        (
            "spread",
            {"n1": 0.5 - 1, "n3": 0.5},
            "2 of 3 nodes fit; spread: n3 has 0 of web's tasks, 0 in all, and 100% free",
        ),
        ("binpack", {"n1": 0.25, "n3": 0.25}, "2 of 3 nodes fit; binpack: n1 is left 75% free"),
        (
            "epvm",
            {"n1": -(3 * 2 + 3**0.5 - 1), "n3": -(2 + 3**0.5 - 1)},
            "2 of 3 nodes fit; epvm: n3 rises by 2.732 in cost",
        ),
    ],
)
def test_explain_by_policy(policy: str, scores: dict[str, float], sentence: str) -> None:
    there = task("api", 1, on="n1")
    here = world(*THREE[:1], node("n2", availability=Availability.PAUSED), *THREE[2:], service("api"))
    here = world(*here.nodes.values(), service("api"), service(memory=4 * GIB), there, task())
    told = explain(here, here.tasks_of_service("web")["web.1.1"], NOW, policy)
    assert told.scores == pytest.approx(scores)
    assert told.sentence == sentence
    assert told.refusals == (Verdict(filter="node is paused or drained", nodes=("n2",)),)


@pytest.mark.parametrize("state", [*ON_NODE, *sorted(TERMINAL)])
def test_what_a_task_holds_is_not_counted_against_it(state: State) -> None:
    there = task("web", 1, on="n1", state=state, ports=published(8080))
    here = world(node("n1"), service(memory=8 * GIB, ports=[port(80, 8080)]), there)
    told = explain(here, next(here.tasks()), NOW, DEFAULT)
    assert told.refusals == ()
    assert told.sentence == "1 of 1 node fits; spread: n1 has 0 of web's tasks, 0 in all, and 100% free"


def test_explain_says_what_decide_says() -> None:
    here = world(*nodes(2), service(memory=9 * GIB), task(), task("web", 2, pinned="n2"))
    for change in decide(here, NOW, DEFAULT)[0]:
        waits = here.task(change.id)
        assert waits is not None
        assert explain(here, waits, NOW, DEFAULT).sentence == change.message


def test_explain_a_pinned_task() -> None:
    here = world(*THREE, service(), task(pinned="n2"))
    told = explain(here, next(here.tasks()), NOW, "first-fit")
    assert told.scores == {"n2": -1.0}
    assert told.refusals == (Verdict(filter="pinned to another node", nodes=("n1", "n3")),)
    assert told.sentence == "1 of 3 nodes fit; pinned to n2"


def test_explain_without_nodes_or_release() -> None:
    empty = world(service(), task())
    assert explain(empty, next(empty.tasks()), NOW, DEFAULT).sentence == "no nodes have joined yet"
    lost = world(node("n1"), task())
    assert explain(lost, next(lost.tasks()), NOW, DEFAULT).sentence == "release 1 is not kept"


# -- constraints


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("node.name==n1", Constraint("node.name", "n1")),
        ("node.name != n1", Constraint("node.name", "n1", negated=True)),
        ("  node.labels.zone ==  a ", Constraint("node.labels.zone", "a")),
        ("node.labels.com.example/disk!=ssd", Constraint("node.labels.com.example/disk", "ssd", negated=True)),
        ("node.labels.a==b!=c", Constraint("node.labels.a", "b!=c")),
        ("node.labels.motto==two words", Constraint("node.labels.motto", "two words")),
    ],
)
def test_parse(text: str, constraint: Constraint) -> None:
    assert parse(text) == constraint
    assert parse(str(constraint)) == constraint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not of the form node.labels.KEY==VALUE"),
        ("node.name", "is not of the form"),
        ("node.name=n1", "is not of the form"),
        ("node.name===n1", "is not of the form"),
        ("node.name==", "is not of the form"),
        ("==n1", "is not of the form"),
        ("node name==n1", "is not of the form"),
        ("zone==a", "is about 'zone'; use node.name or node.labels.KEY"),
        ("node.labels.==a", "is about 'node.labels.'"),
        ("node.role==manager", "is about 'node.role'"),
    ],
)
def test_parse_refuses(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words.replace(".", r"\.")):
        parse(text)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("node.name==n1", True),
        ("node.name!=n1", False),
        ("node.name==N1", False),
        ("node.labels.zone==a", True),
        ("node.labels.zone!=a", False),
        ("node.labels.zone==b", False),
        ("node.labels.zone!=b", True),
        ("node.labels.disk==ssd", False),
        ("node.labels.disk!=ssd", True),
    ],
)
def test_constraint_holds(text: str, holds: bool) -> None:
    assert parse(text).holds(node("n1", zone="a")) is holds


@pytest.mark.parametrize(
    ("changes", "constraints", "expected"),
    [
        ({}, [], True),
        ({}, ["node.labels.zone==a", "node.name!=n2"], True),
        ({}, ["node.labels.zone==a", "node.name!=n1"], False),
        ({"availability": Availability.PAUSED}, [], False),
        ({"availability": Availability.DRAINED}, [], False),
        ({"status": NodeStatus.DOWN}, [], False),
        ({"memory": 0}, [], True),
    ],
)
def test_eligible(changes: dict[str, object], constraints: list[str], expected: bool) -> None:
    here = node("n1", zone="a", **changes)  # type: ignore[arg-type]  # rows of one table
    assert eligible(here, service(memory=GIB, constraints=constraints).spec) is expected
