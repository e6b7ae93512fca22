"""Why a task has no node, pinned tasks, and what explanations say, row by row."""

import pytest

from longshore.decide.placement.explain import explain
from longshore.decide.placement.place import decide
from longshore.decide.placement.scoring.scores import DEFAULT
from longshore.model.lifecycle import ON_NODE, TERMINAL, State
from longshore.model.objects import Availability, NodeStatus, Object, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Protocol
from longshore.model.views import Verdict
from tests.tables.build import (
    GIB,
    NOW,
    THREE,
    node,
    nodes,
    placed,
    port,
    published,
    service,
    task,
    waiting,
    world,
)

# -- refusals


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
                service(ports=[port(80, 8080), port(53, 53, Protocol.UDP)]),
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
