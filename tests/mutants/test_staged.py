"""Planted bugs that chance finds too rarely, each in the situation that is staged for it."""

import pytest

from longshore.agent.fence import Fence
from longshore.decide import moves
from tests.worlds.test_fence import EARLY_S, read_late
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
