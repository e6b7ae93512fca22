"""Two hundred deaths: whatever moment a manager is killed at, its store opens again with all that was acknowledged."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.model.objects import Kind
from longshore.store.sqlite import SqliteStore
from tests.clocks import StepClock
from tests.e2e.committer import LOG_EVENTS, WRITERS

DEATHS = 200
LIFE_MAX_S = 0.12


class Committers:
    """The process in committer.py."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked = process.stdin
        self._said = process.stdout

    def live_and_die(self, path: Path, seed: int, until: str, life_s: float) -> list[list[str]]:
        """What a committer said, in words, until it was killed `life_s` after it said `until` for the first time."""
        self._asked.write(f"{path} {seed}\n")
        self._asked.flush()
        said = [self._said.readline().split()]
        while said[-1][0] != until:
            said.append(self._said.readline().split())
            assert said[-1] != ["gone"], "it died by itself"
        time.sleep(life_s)  # the moment of death is what this test is about; any will do
        os.kill(int(said[0][1]), signal.SIGKILL)
        return said[1:] + [line.split() for line in iter(self._said.readline, "gone\n")]


@pytest.fixture
def committers() -> Iterator[Committers]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.committer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield Committers(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def verify_file(path: Path, revision: int) -> None:
    """The rows agree with one another, seen without our own reading of them."""
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("SELECT max(revision) FROM log").fetchone() == (revision,)
        first, revisions, events = file.execute(
            "SELECT min(revision), count(DISTINCT revision), count(*) FROM log"
        ).fetchone()
        assert revisions == revision - first + 1, "no gaps"
        assert events <= LOG_EVENTS * 1.01 + 3
        newest = dict(
            file.execute("SELECT id, body FROM log WHERE kind = 'node' ORDER BY revision, position").fetchall()
        )
        rows = dict(file.execute("SELECT id, body FROM objects").fetchall())
        assert rows == {id: body for id, body in newest.items() if body is not None}
    file.close()


async def test_no_death_loses_what_was_acknowledged(committers: Committers, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(20)
    acknowledged = dict.fromkeys(range(WRITERS), 0)
    newest = died_before_opening = acks = 0
    for seed in range(DEATHS):
        # Every other one may die before it has opened its store, and most that do die young; also on a slow machine
        # the rest have the time to commit.
        until = ("pid", "ack")[seed % 2]
        said = committers.live_and_die(path, seed, until, LIFE_MAX_S * chance.random() ** 2)
        died_before_opening += not said
        for word, *numbers in said:
            if word == "open":
                assert int(numbers[0]) >= newest
                continue
            writer, count, revision = map(int, numbers)
            assert count > acknowledged[writer]
            acknowledged[writer], newest = count, max(newest, revision)
            acks += 1

        store = await SqliteStore.open(path, StepClock(), log_events=LOG_EVENTS)
        world = store.read()
        await store.close()
        assert world.revision >= newest
        newest = world.revision
        for writer in range(WRITERS):
            left, right = world.nodes.get(f"left{writer}"), world.nodes.get(f"right{writer}")
            count = int(left.address) if left else 0
            # Each writer waits for one commit at a time: at most that one may be there without an answer.
            assert acknowledged[writer] <= count <= acknowledged[writer] + 1
            assert (left.address, left.revision) == (right.address, right.revision) if left and right else left is right
            assert (world.get(Kind.NODE, f"extra{writer}") is not None) == (count % 2 == 1)
            acknowledged[writer] = count
        if newest:
            verify_file(path, newest)
    assert acks >= DEATHS / 2
    assert died_before_opening
    print(f"{DEATHS} deaths, {acks} acknowledged commits, {died_before_opening} died before they opened the store")
