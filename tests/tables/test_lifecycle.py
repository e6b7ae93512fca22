"""The lifecycle table: what may move where, and by whom."""

import pytest

from longshore.model.errors import Illegal
from longshore.model.lifecycle import (
    EDGES,
    ON_NODE,
    OWNER_OF,
    RANK,
    TERMINAL,
    WANTED_OWNERS,
    Owner,
    State,
    Wanted,
    check_move,
    check_wish,
)


def test_rank_only_grows_along_every_edge() -> None:
    assert all(RANK[before] < RANK[after] for before, after in OWNER_OF)


def test_every_state_but_the_first_can_be_come_to_and_every_live_one_left() -> None:
    assert {after for _, after in OWNER_OF} == set(State) - {State.NEW}
    assert {before for before, _ in OWNER_OF} == set(State) - TERMINAL


def test_a_live_state_has_one_writer_besides_the_one_that_declares_it_lost() -> None:
    for state in set(State) - TERMINAL:
        writers = {owner for (before, after), owner in OWNER_OF.items() if before is state and after is not State.LOST}
        assert len(writers) == 1, state


@pytest.mark.parametrize(
    ("before", "after", "by"),
    [
        pytest.param(State.NEW, State.RUNNING, Owner.WORKER, id="a worker cannot take a task that was not placed"),
        pytest.param(State.NEW, State.PLACED, Owner.WORKER, id="a worker cannot place"),
        pytest.param(State.RUNNING, State.STARTING, Owner.WORKER, id="no way back"),
        pytest.param(State.FAILED, State.RUNNING, Owner.WORKER, id="no revival"),
        pytest.param(State.LOST, State.RUNNING, Owner.WORKER, id="what is lost stays lost"),
        pytest.param(State.RUNNING, State.LOST, Owner.WORKER, id="a worker cannot lose its own task"),
        pytest.param(State.RUNNING, State.FAILED, Owner.NODES, id="nodes only lose"),
        pytest.param(State.FAILED, State.LOST, Owner.NODES, id="what ended cannot be lost"),
        pytest.param(State.NEW, State.LOST, Owner.NODES, id="what was on no node cannot be lost"),
        pytest.param(State.PLACED, State.RUNNING, Owner.SERVICES, id="services does not move tasks"),
    ],
)
def test_forbidden_moves(before: State, after: State, by: Owner) -> None:
    with pytest.raises(Illegal):
        check_move(before, after, by)


def test_allowed_moves() -> None:
    for owner, edges in EDGES.items():
        for before, after in edges:
            check_move(before, after, owner)
    for state in State:
        check_move(state, state, Owner.SERVICES)


def test_a_worker_may_skip_states_forward() -> None:
    for number, before in enumerate(ON_NODE):
        for after in ON_NODE[number + 1 :]:
            check_move(before, after, Owner.WORKER)


@pytest.mark.parametrize("by", sorted(set(Owner) - WANTED_OWNERS))
def test_only_controllers_wish(by: Owner) -> None:
    with pytest.raises(Illegal):
        check_wish(Wanted.RUNNING, Wanted.STOPPED, by)


def test_wishes_only_grow() -> None:
    for by in WANTED_OWNERS:
        check_wish(Wanted.RUNNING, Wanted.REMOVED, by)
        with pytest.raises(Illegal):
            check_wish(Wanted.STOPPED, Wanted.RUNNING, by)
