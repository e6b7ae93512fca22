"""How often the nodes are counted that are missed at once."""

import pytest

from longshore.control.census import LARGE_NODES, MOMENT_S, Census
from longshore.control.liveness import Liveness
from tests.clocks import StepClock
from tests.situations import node, world


@pytest.mark.parametrize(("count", "stale"), [(LARGE_NODES - 1, False), (LARGE_NODES, True)])
def test_many_nodes_are_counted_once_in_a_moment(count: int, stale: bool) -> None:
    clock = StepClock(step_s=0.0)
    liveness = Liveness(clock, timeout_s=5.0)
    census = Census(liveness, clock)
    here = world(*(node(f"n{number}") for number in range(count)))
    for name in here.nodes:
        liveness.heard(name)
    assert census.held(here) == ""
    for name in here.nodes:
        liveness.broken(name)
    words = f"{count} of {count} nodes are silent at once"
    assert census.held(here) == ("" if stale else words)
    clock.advance(2 * MOMENT_S)
    assert census.held(here) == words
