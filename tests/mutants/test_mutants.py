"""Every planted bug is noticed by a world that the real program passes.

A mutant that no world notices fails here: then either it breaks nothing that was promised, or the worlds are blind.

With LONGSHORE_MUTANT_SEED no seed is known beforehand: each mutant has 200 worlds from that seed on, and how many it
took is printed (`pytest -rP tests/mutants`).
"""

import os

import pytest

from longshore.simulate.run import run_world
from tests.mutants import places, planted
from tests.mutants.planted import Mutant

MUTANTS = (*planted.MUTANTS, *places.MUTANTS)
SIZES = (3, 1, 2, 4)
"""Nodes of a world, by its seed."""
SEEDS_MAX = 60
FRESH = int(os.environ.get("LONGSHORE_MUTANT_SEED", "-1"))
FRESH_MAX = 200


def noticed(seed: int) -> bool:
    return bool(run_world(seed, nodes=SIZES[seed % len(SIZES)], hasty=True).broken)


@pytest.mark.parametrize("one", MUTANTS, ids=[one.name for one in MUTANTS])
def test_a_planted_bug_is_noticed(one: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    one.plant(monkeypatch)
    known = (one.caught_by, *(seed for seed in range(SEEDS_MAX) if seed != one.caught_by))
    seeds = known if FRESH < 0 else range(FRESH, FRESH + FRESH_MAX)
    by = next((seed for seed in seeds if noticed(seed)), None)
    assert by is not None, f"{one.name} goes unnoticed in {len(seeds)} worlds"
    print(f"{one.name} is noticed by seed {by}, after {seeds.index(by) + 1} worlds")


@pytest.mark.parametrize("seed", sorted({one.caught_by for one in MUTANTS}))
def test_the_real_program_passes_the_same_worlds(seed: int) -> None:
    outcome = run_world(seed, nodes=SIZES[seed % len(SIZES)])
    assert not outcome.broken, f"replay with: {outcome.replay}"
