"""A failing world made short: by a planted bug, since a real one would be mended."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from longshore.decide import rollout
from longshore.simulate.shrink import Script, drawn, kind, play, reduced, shrink
from longshore.simulate.telling import tell_script, tell_short
from tests.mutants import planted

SEED, NODES = 4, 3


@pytest.fixture
def planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    planted.a_rollout_stops_all_at_once(monkeypatch)


def test_what_is_left_is_short_and_breaks_in_the_same_way(planted_bug: None) -> None:
    whole = drawn(SEED, NODES, steps=60)
    wanted = kind(play(whole, hasty=True).broken[0])
    told: list[str] = []
    short = shrink(whole, told.append)
    assert short is not None
    assert short.lines <= 6 < 60 < whole.lines
    assert wanted in [kind(sentence) for sentence in play(short).broken]
    assert told[0] == f"{whole.lines} lines break: {wanted}"
    assert shrink(whole, lambda text: None) == short, "the same each time"


def test_nothing_can_be_taken_away_from_what_is_left(planted_bug: None) -> None:
    short = shrink(drawn(SEED, NODES, steps=60), lambda text: None)
    assert short is not None
    wanted = kind(play(short, hasty=True).broken[0])
    for at, storm in enumerate(short.storms):
        for line in storm.lines:
            rest = [*short.storms]
            rest[at] = replace(storm, lines=tuple(one for one in storm.lines if one is not line))
            outcome = play(Script(short.seed, short.nodes, tuple(rest)), hasty=True)
            assert wanted not in [kind(sentence) for sentence in outcome.broken]


def test_a_world_that_holds_has_nothing_to_shrink() -> None:
    assert shrink(drawn(2, 3, steps=20), lambda text: None) is None


def test_a_short_script_is_kept_in_a_file_and_played_from_it(planted_bug: None, tmp_path: Path) -> None:
    file, said = tmp_path / "short.json", list[str]()
    assert tell_short(seed=SEED, nodes=NODES, steps=60, file=file, echo=said.append) == 1
    assert f"longshore simulate --script {file}" in said[-1]
    again: list[str] = []
    assert tell_script(file, again.append) == 1
    assert "broken: " in again[-1]


def test_a_script_without_the_bug_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "short.json"
    with monkeypatch.context() as patch:
        planted.a_rollout_stops_all_at_once(patch)
        tell_short(seed=SEED, nodes=NODES, steps=60, file=file, echo=lambda text: None)
    assert rollout._Step._begin.__qualname__ == "_Step._begin", "the bug is gone"
    assert tell_script(file, lambda text: None) == 0


def test_items_are_taken_away_until_each_is_needed() -> None:
    tried: list[int] = []

    def enough(items: object) -> bool:
        assert isinstance(items, list)
        tried.append(len(items))
        return {3, 17, 60} <= set(items)

    assert reduced(list(range(80)), enough) == [3, 17, 60]
    assert len(tried) < 80
