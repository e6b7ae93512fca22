"""What becomes of silent, drained and removed nodes, and of their tasks."""

import pytest
from msgspec.structs import replace

from longshore.decide.nodes import decide
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Availability, NodeStatus, Object, Role, Token
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
        pytest.param([DRAINED, *TASKS], 4.0, ["web.1.1 wanted stopped", "web.2.1 wanted stopped"], NOW + 4, id="drained: all stop"),
        pytest.param([DRAINED, task(1, wanted=Wanted.STOPPED)], 4.0, [], NOW + 4, id="drained: said once"),
        pytest.param([LEAVING, *TASKS], 4.0, ["web.1.1 wanted stopped", "web.2.1 wanted stopped"], NOW + 4, id="leaving: all stop"),
        pytest.param([LEAVING, ENDED, OWN, JOINING], 4.0, ["-n1", "-node-n1"], None, id="leaving, and nothing left to stop: forgotten, with the token that speaks for it alone"),
        pytest.param([replace(LEAVING, status=NodeStatus.DOWN), *TASKS], -9.0, ["web.1.1 lost", "web.2.1 lost"], None, id="leaving, but gone before its tasks stopped"),
        pytest.param([node("n1", availability=Availability.PAUSED), *TASKS], 4.0, [], NOW + 4, id="paused keeps its tasks"),
    ],
)  # fmt: skip
def test_nodes(records: list[Object], left_s: float, expected: list[str], again: float | None) -> None:
    changes, look = decide(world(service(replicas=3), *records), "n1", NOW, left_s)
    assert (said(changes), look) == (expected, again)


def test_a_lost_task_says_why_and_is_not_ready() -> None:
    changes, _ = decide(world(service(), N1, task(1)), "n1", NOW, 0.0)
    lost = changes[1].after
    assert lost is not None
    assert (lost.ready, lost.finished_at, "n1" in lost.message) == (False, NOW, True)  # type: ignore[union-attr]
