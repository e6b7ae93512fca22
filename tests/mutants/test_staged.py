"""Planted bugs that chance finds too rarely, each in the situation that is staged for it."""

from contextlib import nullcontext
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.agent.fence import Fence
from longshore.control.liveness import Liveness
from longshore.decide import moves
from longshore.decide.placement import place
from longshore.decide.placement.displacement import preemption
from longshore.engine.fake import FakeEngine
from longshore.loop.controller import ControlLoop
from longshore.loop.queue import KeyQueue
from longshore.model.containers import Container, ContainerOrder, Status
from tests.worlds.test_fence import EARLY_S, read_late
from tests.worlds.test_harm import test_what_ran_and_is_missing_from_a_list_is_not_started_once_more as what_ran
from tests.worlds.test_nodes import let_in_late
from tests.worlds.test_places import late_end
from tests.worlds.test_places import (
    test_a_port_that_another_program_holds_keeps_others_from_giving_way_and_no_longer as port_held,
)
from tests.worlds.test_places import test_who_is_to_be_near_another_waits_for_it_and_no_longer as near_another
from tests.worlds.test_rebalance import test_a_target_that_goes_away_is_given_up as target_goes_away


def test_a_lease_that_is_renewed_from_the_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not from when the heartbeat was sent, which is all that its manager has heard of."""
    real = Fence.renew
    monkeypatch.setattr(Fence, "renew", lambda self, sent_at: real(self, self._clock.monotonic()))
    with pytest.raises(AssertionError, match=r"slot db\.1 has two writers"):
        _at_all_moments()


def _at_all_moments() -> None:
    for early_s in EARLY_S:
        read_late(early_s)


def test_a_move_that_is_never_given_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever became of the node that it was to go to."""
    monkeypatch.setattr(moves, "why_stays", lambda *arguments: ("", None))
    with pytest.raises(AssertionError, match="did not come true"):
        target_goes_away("drained")


class _Deaf(KeyQueue[str]):
    """Does not take a key that is to be looked at again at once."""

    def __init__(self, queue: KeyQueue[str]) -> None:
        self.__dict__ = queue.__dict__

    def add(self, key: str, delay_s: float = 0.0) -> None:
        if delay_s > 0:
            super().add(key, delay_s)


def test_a_decision_that_is_dropped_after_a_conflict_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly always what it conflicts with has its key looked at; not where a task's end is late for its node's."""
    real = ControlLoop._look

    async def look(self: ControlLoop, row: Any, queue: KeyQueue[str], key: str) -> float:
        return await real(self, row, _Deaf(queue), key)

    monkeypatch.setattr(ControlLoop, "_look", look)
    with pytest.raises(AssertionError, match="did not come true"):
        late_end()


def test_who_waits_for_others_and_is_not_looked_at_once_they_are_there_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it waited for got its place in the pass that had refused it."""
    monkeypatch.setattr(place, "waits_for_others", lambda ask: False)
    with pytest.raises(AssertionError, match="did not come true"):
        near_another()


def test_who_would_displace_others_and_does_not_look_again_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that another program held is free by now, and nobody tries it."""
    monkeypatch.setattr(preemption.Search, "free_again", lambda self, rows=None: None)
    with pytest.raises(AssertionError, match="did not come true"):
        port_held()


def test_who_waits_to_be_let_in_and_counts_as_silent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that knocks while the store stalls is given up meanwhile."""
    monkeypatch.setattr(Liveness, "knocking", lambda self, node: nullcontext())
    with pytest.raises(AssertionError, match="n1 is down"):
        let_in_late()


def test_a_container_that_is_there_and_is_taken_for_new_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its engine says of it."""
    real = FakeEngine.create

    async def create(self: FakeEngine, order: ContainerOrder) -> Container:
        return replace(await real(self, order), status=Status.CREATED)

    monkeypatch.setattr(FakeEngine, "create", create)
    with pytest.raises(AssertionError, match=r"starts the container of .* once more"):
        what_ran()
