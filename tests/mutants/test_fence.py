"""A planted bug that chance finds too rarely, in the situation that is staged for it."""

import pytest

from longshore.agent.fence import Fence
from tests.worlds.test_fence import EARLY_S, read_late


def test_a_lease_that_is_renewed_from_the_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not from when the heartbeat was sent, which is all that its manager has heard of."""
    real = Fence.renew
    monkeypatch.setattr(Fence, "renew", lambda self, sent_at: real(self, self._clock.monotonic()))
    with pytest.raises(AssertionError, match=r"slot db\.1 has two writers"):
        _at_all_moments()


def _at_all_moments() -> None:
    for early_s in EARLY_S:
        read_late(early_s)
