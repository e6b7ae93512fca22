"""For how long a node may still be silent: what was heard of it, and what its manager could hear."""

from collections.abc import Callable

import pytest

from tests.tables.awake import Hands

TIMEOUT_S = 8.0
BEAT_S = 2.0
RECONNECT_S = 1.6
"""A fifth of the timeout, which is more than the least."""


Act = Callable[[Hands], None]


def heard(hands: Hands) -> None:
    hands.liveness.heard("n1")


def broken(hands: Hands) -> None:
    hands.liveness.broken("n1")


def after(seconds: float) -> Act:
    return lambda hands: hands.pass_time(seconds)


def stall(seconds: float) -> Act:
    return lambda hands: hands.stand_still(seconds)


def knocks(seconds: float) -> Act:
    def act(hands: Hands) -> None:
        with hands.liveness.knocking("n1"):
            hands.pass_time(seconds)
            assert hands.left_s() == TIMEOUT_S
            assert not hands.liveness.quiet(["n1"])
            hands.liveness.broken("n1")  # an earlier connection

    return act


@pytest.mark.parametrize(
    ("acts", "left_s"),
    [
        pytest.param([], TIMEOUT_S, id="never heard: since the start"),
        pytest.param([after(3.0)], TIMEOUT_S - 3, id="never heard: time passes"),
        pytest.param([after(30.0), heard], TIMEOUT_S, id="heard"),
        pytest.param([after(30.0), heard, after(9.0)], -1.0, id="silent"),
        pytest.param([after(30.0), heard, broken], RECONNECT_S, id="its connection broke"),
        pytest.param([after(30.0), heard, broken, after(2.5)], RECONNECT_S - 2.5, id="and it did not come back"),
        pytest.param([after(30.0), heard, broken, after(0.5), heard], TIMEOUT_S, id="it came back"),
        pytest.param([after(30.0), heard, after(7.5), broken], 0.5, id="it broke when it had been silent for long"),
        pytest.param([after(2.0), heard, broken], TIMEOUT_S - 2.0, id="a manager that just started has patience"),
        pytest.param([after(30.0), heard, stall(20.0)], TIMEOUT_S, id="the manager stood still"),
        pytest.param([after(30.0), heard, stall(20.0), after(3.0)], TIMEOUT_S - 3.0, id="and goes on"),
        pytest.param([after(30.0), heard, broken, stall(20.0)], TIMEOUT_S, id="it stood still, and a connection broke"),
        pytest.param([after(30.0), heard, broken, stall(1.5)], RECONNECT_S, id="it stood still for a moment"),
        pytest.param([after(30.0), heard, stall(1.5)], TIMEOUT_S - 1.5, id="a moment that no beat needs"),
        pytest.param([after(30.0), heard, after(7.0), knocks(20.0)], TIMEOUT_S, id="it waited to be let in"),
        pytest.param([after(30.0), heard, broken, knocks(20.0), after(1.0)], TIMEOUT_S - 1.0, id="it knocked once more"),
    ],
)  # fmt: skip
def test_silence_left(acts: list[Act], left_s: float) -> None:
    hands = Hands(TIMEOUT_S)
    for act in acts:
        act(hands)
    assert hands.left_s() == pytest.approx(left_s)


def test_who_is_quiet() -> None:
    hands = Hands(TIMEOUT_S)
    hands.pass_time(30.0)
    for name in ("n1", "n2", "n3"):
        hands.liveness.heard(name)
    hands.pass_time(2 * BEAT_S - 0.1)
    hands.liveness.heard("n2")
    hands.liveness.broken("n3")
    assert hands.liveness.quiet(["n1", "n2", "n3", "n4"]) == {"n3", "n4"}
    hands.pass_time(0.2)
    assert hands.liveness.quiet(["n1", "n2", "n3", "n4"]) == {"n1", "n3", "n4"}
    assert [hands.liveness.closed(name) for name in ("n1", "n2", "n3", "n4")] == [False, False, True, False]
