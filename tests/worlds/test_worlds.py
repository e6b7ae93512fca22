"""Fresh worlds from seeds, and all seeds that ever failed.

LONGSHORE_WORLD_SEED and LONGSHORE_WORLDS choose other seeds and more of them.
"""

import os

import pytest

from longshore.simulate.run import run_world

FAILED_ONCE = (2, 3, 4, 8, 12, 18, 31, 51, 104, 142, 158, 188)
FIRST = int(os.environ.get("LONGSHORE_WORLD_SEED", "0"))
COUNT = int(os.environ.get("LONGSHORE_WORLDS", "40"))
SIZES = (3, 1, 2, 4, 6)


@pytest.mark.parametrize("seed", FAILED_ONCE)
def test_a_world_that_once_broke_holds(seed: int) -> None:
    outcome = run_world(seed)
    assert not outcome.broken, f"replay with: {outcome.replay}"


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_a_world_comes_to_rest_as_wished(seed: int) -> None:
    outcome = run_world(seed, nodes=SIZES[seed % len(SIZES)])
    assert not outcome.broken, f"replay with: {outcome.replay}"


def test_the_same_seed_is_the_same_story() -> None:
    first, second = run_world(7), run_world(7)
    assert first.story == second.story
