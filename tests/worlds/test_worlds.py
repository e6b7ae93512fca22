"""Random worlds: all seeds that ever failed, then fresh ones; and that a seed is one story.

LONGSHORE_WORLD_SEED sets the first of the fresh seeds, LONGSHORE_WORLDS how many there are.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from longshore.model import parts
from longshore.simulate.many import mixed, play_all
from longshore.simulate.run import Outcome, run_world
from longshore.simulate.story import Voice
from longshore.simulate.telling import story
from tests.worlds.seeds import SEEDS, Kept

FIRST = int(os.environ.get("LONGSHORE_WORLD_SEED", "0"))
COUNT = int(os.environ.get("LONGSHORE_WORLDS", "30"))
TELL = """
from longshore.simulate.telling import tell
tell(seed=11, nodes=4, worlds=2, steps=60, as_json=True, echo=print)
"""
PLAY = """
from longshore.simulate.many import mixed, play_all
if __name__ == "__main__":
    for outcome in play_all([mixed(seed) for seed in range(10_000)], 2, stories=False):
        print(outcome.seed, flush=True)
"""


def told(outcome: Outcome) -> str:
    """A broken world's story, and how to hear it again."""
    return "\n".join((*story(outcome.story), *outcome.broken, f"replay with: {outcome.replay}"))


@pytest.mark.parametrize("kept", SEEDS, ids=[str(one.seed) for one in SEEDS])
def test_a_world_that_once_broke_holds(kept: Kept) -> None:
    outcome = run_world(kept.seed, nodes=kept.nodes, steps=kept.steps)
    assert not outcome.broken, told(outcome)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_a_world_comes_to_rest_as_wished(seed: int) -> None:
    size = mixed(seed)
    outcome = run_world(seed, nodes=size.nodes, steps=size.steps)
    assert not outcome.broken, told(outcome)


def test_a_world_in_which_tasks_are_assigned_one_by_one_comes_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES_MAX", 1)
    outcome = run_world(7)
    assert not outcome.broken, told(outcome)


def test_the_same_seed_is_the_same_story() -> None:
    first, second = run_world(7), run_world(7)
    assert first == second
    assert first.events_digest != run_world(8).events_digest


def test_every_process_tells_the_same_story() -> None:
    """Whatever order its sets are in."""
    runs = [
        subprocess.run([sys.executable, "-c", TELL], env=os.environ | {"PYTHONHASHSEED": one}, stdout=subprocess.PIPE)
        for one in ("1", "2")
    ]
    first, second = (one.stdout for one in runs)
    assert b"events_digest" in first
    assert first == second


def test_worlds_side_by_side_are_the_same_worlds() -> None:
    sizes = [mixed(seed) for seed in (2, 6, 10)]
    alone, together = (list(play_all(sizes, jobs, stories=True)) for jobs in (1, 2))
    assert alone == together


def test_worlds_side_by_side_end_with_whoever_asked_for_them(tmp_path: Path) -> None:
    script = tmp_path / "play.py"
    script.write_text(PLAY)
    command, nowhere = [sys.executable, str(script)], subprocess.DEVNULL
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=nowhere, start_new_session=True) as asked:
        assert asked.stdout is not None
        assert asked.stdout.readline() == b"0\n"
        asked.kill()
        asked.wait()
        give_up = time.monotonic() + 20
        try:
            while _some_live(asked.pid):
                assert time.monotonic() < give_up, "they play on for nobody"
                time.sleep(0.05)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(asked.pid, signal.SIGKILL)


def _some_live(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_story_is_told_in_order_and_by_all() -> None:
    lines = run_world(7).story
    times = [line.at for line in lines]
    assert times == sorted(times)
    assert {line.voice for line in lines} == {Voice.USER, Voice.FAULT, Voice.CLUSTER}
    texts = "\n".join(line.text for line in lines)
    for news in ("is ready: node joined", "is placed on", "is running", "is lost", "at rest"):
        assert news in texts
