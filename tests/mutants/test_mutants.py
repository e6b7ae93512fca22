"""Every planted bug is noticed by a world that the real program passes.

A mutant that no world notices fails here: then either it breaks nothing that was promised, or the worlds are blind.
"""

import pytest

from longshore.simulate.run import run_world
from tests.mutants.planted import MUTANTS, Mutant

SIZES = (3, 1, 2, 4)
"""Nodes of a world, by its seed."""
SEEDS_MAX = 60


def noticed(seed: int) -> bool:
    return bool(run_world(seed, nodes=SIZES[seed % len(SIZES)], hasty=True).broken)


@pytest.mark.parametrize("one", MUTANTS, ids=[one.name for one in MUTANTS])
def test_a_planted_bug_is_noticed(one: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    one.plant(monkeypatch)
    seeds = (one.caught_by, *(seed for seed in range(SEEDS_MAX) if seed != one.caught_by))
    assert any(noticed(seed) for seed in seeds), f"{one.name} goes unnoticed in {SEEDS_MAX} worlds"


@pytest.mark.parametrize("seed", sorted({one.caught_by for one in MUTANTS}))
def test_the_real_program_passes_the_same_worlds(seed: int) -> None:
    outcome = run_world(seed, nodes=SIZES[seed % len(SIZES)])
    assert not outcome.broken, f"replay with: {outcome.replay}"
