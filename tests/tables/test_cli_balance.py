"""What `longshore rebalance` shows of a plan, and what it makes of how the moves ended."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from longshore.cli import root
from longshore.cli.balance import Wanted, ends, lines
from longshore.cli.exits import CONVERGED
from longshore.model.lifecycle import State
from longshore.model.moves import LeftOut, Move, NodeBalance, Rebalance
from longshore.model.objects import Task
from tests.tables.talking import answer, talking, task

MOVE = Move(
    task="web.3.1",
    service="web",
    slot=3,
    source="n1",
    target="n3",
    gain=0.25,
    cost="a second task until it is ready",
)
PLAN = Rebalance(
    revision=7,
    policy="spread",
    before=0.5,
    after=0.25,
    moves=(MOVE,),
    nodes=(NodeBalance(name="n1", before=2, after=1), NodeBalance(name="n3", before=0, after=1)),
    left_out=(LeftOut(service="db", tasks=1, reason="it has a volume, which stays where it is"),),
)
EVEN = Rebalance(revision=7, policy="spread", before=0.0, after=0.0)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        pytest.param(
            PLAN,
            [
                "Imbalance 50.0%, and 25.0% after 1 move.",
                "~ web.3.1  n1 -> n3  gains 25.0%, costs a second task until it is ready",
                "! 1 task of db left out: it has a volume, which stays where it is",
            ],
            id="a move, and one left out",
        ),
        pytest.param(
            EVEN,
            ["Imbalance 0.0%, and 0.0% after 0 moves.", "Nothing to move: no move gains enough."],
            id="nothing to do",
        ),
        pytest.param(
            Rebalance(revision=7, policy="binpack", before=0.5, after=0.5, message="the policy packs"),
            ["Imbalance 50.0%, and 50.0% after 0 moves.", "Nothing new is moved: the policy packs."],
            id="nothing may be done",
        ),
    ],
)
def test_a_plan_in_words(plan: Rebalance, expected: list[str]) -> None:
    assert lines(plan) == expected


def counting(id: str, node: str, **fields: Any) -> Task:
    return task(id, node=node, **({"state": State.RUNNING, "ready": True} | fields))


@pytest.mark.parametrize(
    ("tasks", "moved"),
    [
        pytest.param([counting("web.3.2", "n3")], ["web.3"], id="it runs where it was to go"),
        pytest.param([counting("web.3.1", "n1")], [], id="it stayed"),
        pytest.param([counting("web.3.1", "n1"), counting("web.3.2", "n3", relieves="web.3.1")], [], id="it waits"),
        pytest.param([], [], id="its slot is gone"),
    ],
)
def test_how_moves_ended(tasks: list[Task], moved: list[str]) -> None:
    wanted = Wanted("web.3.1", "web", 3, "n3")
    found, stayed = ends([wanted], tasks)
    assert (found, stayed) == (moved, [] if moved else [wanted])


def test_a_plan_asks_for_nothing_to_be_done() -> None:
    with talking([answer(PLAN)]) as manager:
        ran = CliRunner().invoke(root, ["--url", manager.url, "rebalance", "--plan", "--max-moves", "3"])
    assert ran.exit_code == CONVERGED, ran.output
    assert "web.3.1  n1 -> n3" in ran.output
    (heard,) = manager.heard
    assert (heard.method, heard.target) == ("POST", "/v1/rebalance?dry_run=true")
    assert json.loads(heard.body) == {"moves_max": 3, "disruptive": False}


def test_without_moves_there_is_nothing_to_wait_for() -> None:
    with talking([answer({"items": [], "next": None}), answer(EVEN)]) as manager:
        ran = CliRunner().invoke(root, ["--url", manager.url, "rebalance", "--json"])
    assert ran.exit_code == CONVERGED, ran.output
    assert json.loads(ran.output)["plan"]["moves"] == []
