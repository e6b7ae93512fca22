"""What becomes of silent, drained and removed nodes, and of their tasks."""

import pytest
from msgspec.structs import replace

from longshore.decide.nodes import HELD_LOOK_S, decide, held
from longshore.model.changes import Change
from longshore.model.errors import Conflict
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Availability, Kind, Node, NodeStatus, Object, Role, Token
from longshore.model.reasons import Reason
from tests.situations import NOW, node, said, service, task, world

N1 = node("n1")
DOWN = node("n1", status=NodeStatus.DOWN)
DRAINED = node("n1", availability=Availability.DRAINED)
LEAVING = node("n1", availability=Availability.LEAVING)
OWN = Token(id="node-n1", role=Role.NODE, sha256="a", node="n1")
JOINING = Token(id="join", role=Role.JOIN, sha256="b")
ENDED = task(3, state=State.FAILED)
TASKS = [task(1), task(2, state=State.PLACED), ENDED]


@pytest.mark.parametrize(
    ("records", "left_s", "expected", "again"),
    [
        pytest.param([N1, *TASKS], 4.0, [], NOW + 4, id="heard lately: look again when that runs out"),
        pytest.param([N1, *TASKS], 0.0, ["n1 down", "web.1.1 lost", "web.2.1 lost"], None, id="silent: down, and its live tasks lost"),
        pytest.param([DOWN, *TASKS], -9.0, ["web.1.1 lost", "web.2.1 lost"], None, id="a task that was placed as it went down is lost too"),
        pytest.param([DOWN, ENDED], -9.0, [], None, id="what ended stays as it ended"),
        pytest.param(TASKS, 4.0, ["web.1.1 lost", "web.2.1 lost"], None, id="a removed node's tasks are lost"),
        pytest.param([DRAINED, *TASKS], 4.0, [], NOW + 4, id="drained: its tasks are the rollout's"),
        pytest.param([LEAVING, *TASKS], 4.0, [], NOW + 4, id="leaving: its tasks are the rollout's"),
        pytest.param([LEAVING, ENDED, OWN, JOINING], 4.0, ["-n1", "-node-n1"], None, id="leaving, and nothing left to stop: forgotten, with the token that speaks for it alone"),
        pytest.param([replace(LEAVING, status=NodeStatus.DOWN), *TASKS], -9.0, ["web.1.1 lost", "web.2.1 lost"], None, id="leaving, but gone before its tasks stopped"),
        pytest.param([node("n1", availability=Availability.PAUSED), *TASKS], 4.0, [], NOW + 4, id="paused keeps its tasks"),
    ],
)  # fmt: skip
def test_nodes(records: list[Object], left_s: float, expected: list[str], again: float | None) -> None:
    changes, look = decide(world(service(replicas=3), *records), "n1", NOW, left_s, -1.0)
    assert (said(changes), look) == (expected, again)


def test_a_lost_task_says_why_and_is_not_ready() -> None:
    changes, _ = decide(world(service(), N1, task(1)), "n1", NOW, 0.0, -1.0)
    lost = changes[1].after
    assert lost is not None
    assert (lost.ready, lost.finished_at, "n1" in lost.message) == (False, NOW, True)  # type: ignore[union-attr]


def test_it_is_told_how_a_node_was_found_to_be_gone() -> None:
    changes, _ = decide(world(service(), N1), "n1", NOW, 0.0, -1.0)
    assert changes[0].message == "node n1 has not been heard of for longer than the heartbeat timeout"
    changes, _ = decide(world(service(), N1), "n1", NOW, 0.0, -1.0, closed=True)
    assert changes[0].message == "the connection of node n1 ended, and it has not come back"


# -- most nodes at once


def gone(number: int, **fields: object) -> Node:
    return replace(node(f"n{number}", status=NodeStatus.DOWN), **fields)


ACTIVE = [node(f"n{number}") for number in range(1, 6)]
DRAINED_2 = node("n2", availability=Availability.DRAINED)
REGISTERED = replace(node("n9"), worker_version="")


@pytest.mark.parametrize(
    ("nodes", "quiet", "expected"),
    [
        pytest.param(ACTIVE[:1], "n1", "", id="a cluster of one knows no most"),
        pytest.param(ACTIVE[:2], "n1 n2", "", id="nor does one of two"),
        pytest.param(ACTIVE[:3], "n1", "", id="one of three"),
        pytest.param(ACTIVE[:3], "n1 n2", "2 of 3", id="two of three"),
        pytest.param(ACTIVE[:3], "n1 n2 n3", "3 of 3", id="all: it is the manager who is cut off"),
        pytest.param(ACTIVE[:4], "n1 n2", "", id="a half is not most"),
        pytest.param(ACTIVE[:5], "n1 n2 n3", "3 of 5", id="three of five"),
        pytest.param([gone(1), *ACTIVE[1:3]], "n1 n2", "", id="one that is down was not ready"),
        pytest.param([gone(1), *ACTIVE[1:3]], "n1 n2 n3", "2 of 2", id="and belongs to the cluster all the same"),
        pytest.param([ACTIVE[0], DRAINED_2, ACTIVE[2]], "n1 n2", "", id="one that the user gave up does not count"),
        pytest.param([*ACTIVE[:2], REGISTERED], "n1 n2 n9", "", id="nor does one that never joined"),
    ],
)
def test_when_evictions_are_held(nodes: list[Node], quiet: str, expected: str) -> None:
    said_why = held(world(*nodes), quiet.split())
    assert said_why == (f"{expected} nodes are silent at once" if expected else "")


def test_a_held_node_keeps_its_tasks_and_says_so_once() -> None:
    here = world(service(replicas=3), N1, *TASKS)
    changes, look = decide(here, "n1", NOW, -1.0, -1.0, held="2 of 3 nodes are silent at once")
    assert look == NOW + HELD_LOOK_S
    (kept,) = [change.after for change in changes]
    assert isinstance(kept, Node)
    assert (kept.status, kept.reason, kept.held, kept.changed_at) == (
        NodeStatus.READY,
        Reason.NODE_HELD,
        True,
        N1.changed_at,
    )
    assert kept.message == (
        "silent; evictions are held: 2 of 3 nodes are silent at once; `longshore node drain n1` gives its tasks up"
    )
    again = world(service(replicas=3), kept, *TASKS)
    assert decide(again, "n1", NOW, -3.0, -1.0, held="2 of 3 nodes are silent at once") == ([], NOW + HELD_LOOK_S)
    changes, _ = decide(again, "n1", NOW, -3.0, -1.0)
    assert said(changes) == ["n1 down", "web.1.1 lost", "web.2.1 lost"]


@pytest.mark.parametrize("one", [DRAINED, LEAVING])
def test_a_silent_node_that_the_user_gave_up_is_down_although_evictions_are_held(one: Node) -> None:
    changes, _ = decide(world(service(), one, task(1)), "n1", NOW, -1.0, -1.0, held="2 of 3 nodes are silent at once")
    assert said(changes) == ["n1 down", "web.1.1 lost"]


@pytest.mark.parametrize("known", [DOWN, N1], ids=["down", "going down"])
def test_that_a_task_is_lost_rests_on_its_node(known: Node) -> None:
    """It may come back while that is on its way to the store."""
    before = world(service(replicas=3), known, *TASKS)
    changes, _ = decide(before, "n1", NOW, 0.0, -1.0)
    lost = [change for change in changes if change.reason is Reason.NODE_LOST]
    back = Change(
        kind=Kind.NODE,
        id="n1",
        before=before.nodes["n1"].revision,
        after=replace(before.nodes["n1"], status=NodeStatus.READY),
        by=Owner.WORKER,
        reason=Reason.NODE_RETURNED,
    )
    before.apply(lost, (), NOW)
    with pytest.raises(Conflict, match="node n1 changed meanwhile"):
        before.apply([back], (), NOW)[0].apply(lost, (), NOW)
