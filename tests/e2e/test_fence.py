"""A slot of a single-writer service never has two writers, whatever dies, freezes or is cut off: on a real engine.

Two workers as processes of their own share one engine, which is the judge: when each container began and ended is
asked of it, by one clock, after the fact. Where the engine itself is frozen, it is one of the test's own.
"""

import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from longshore.agent import guard
from longshore.main.guarding import FolderGuard
from longshore.model.lifecycle import State
from longshore.model.objects import Task
from longshore.model.reasons import Reason
from longshore.model.spec import UpdateRules
from tests.clusters import Fleet, eventually, sleeper
from tests.dockerd import DEMO_2, TASK, EngineApi, PrivateEngine, engine_url

TIMEOUT_S = 3.0
PATIENT_S = 20.0
"""Where a worker has to be back in time on a busy machine."""
WORKERS = ("w1", "w2")
AGAIN_S = 2 * TIMEOUT_S + 2.0
"""From the loss of a worker until another task of its slot runs, at the latest."""


class Life(NamedTuple):
    """When a container began and ended, by its engine's clock."""

    task: str
    began: float
    ended: float


def lives(engine: EngineApi, cluster: str, service: str = "db") -> list[Life]:
    """Of all containers of a service that ever ran, in order of their start; one that runs has no end yet."""
    found = []
    for one in engine.containers(cluster, service=service):
        state = engine.inspect(one.id)["State"]
        if state["Status"] != "created":
            ended = float("inf") if state["Running"] else at(state["FinishedAt"])
            found.append(Life(one.labels[TASK], at(state["StartedAt"]), ended))
    return sorted(found, key=lambda one: one.began)


def at(text: str) -> float:
    """Docker's times have nanoseconds, with zeros at the end left out."""
    moment, _, part = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{moment}+00:00").timestamp() + float(f"0.{part or 0}")


def one_after_another(found: list[Life]) -> None:
    for before, after in pairwise(found):
        assert before.ended < after.began, f"{before.task} and {after.task} ran at once"


def began(fleet: Fleet, *, replicas: int = 1, **more: object) -> Task:
    """A single-writer service on a fleet whose manager has listened for long enough; its task."""
    client = fleet.manager.client
    client.put_service("db", sleeper(single_writer=True, replicas=replicas, **more))
    (task,) = fleet.manager.settled("db")
    eventually(lambda: len(guards(fleet, task.node)) == 1, "a guard stands, and its starter has gone")
    return task


def guards(fleet: Fleet, node: str) -> list[int]:
    """Pids of the guards of a node's worker."""
    folder = str((fleet.folder / node).resolve())
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            words = (path / "cmdline").read_bytes().split(b"\0") if (path / "cmdline").exists() else []
            if folder.encode() in words and guard.__file__.encode() in words:
                found.append(int(path.name))
    return found


def replaced(fleet: Fleet, task: Task, within_s: float) -> tuple[list[Life], Task]:
    """The lives of the slot's containers, once another task runs in it."""

    def look() -> Task | None:
        found = [one for one in fleet.manager.tasks("db") if one.id != task.id and one.ready]
        return found[0] if found else None

    after = eventually(look, f"another in the place of {task.id}", within_s)
    assert after is not None
    assert fleet.engine is not None
    return lives(fleet.engine, fleet.manager.cluster_id), after


@pytest.fixture
def pair(fleet: Fleet) -> Fleet:
    fleet.start(*WORKERS, timeout_s=TIMEOUT_S)
    time.sleep(TIMEOUT_S)  # a manager that has just started gives nobody up
    return fleet


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_dies_or_freezes_leaves_no_writer_behind(pair: Fleet, harm: signal.Signals) -> None:
    task = began(pair)
    (pid,) = guards(pair, task.node)
    rss = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert int(rss.split()[1]) < 12 * 1024, rss
    worker = pair.workers[task.node]
    os.kill(worker.pid, harm)
    harmed_at = time.time()
    found, after = replaced(pair, task, AGAIN_S)
    assert after.node != task.node
    assert [one.task for one in found] == [task.id, after.id]
    one_after_another(found)
    assert found[0].ended - harmed_at < 2 * TIMEOUT_S
    assert pair.manager.client.task(task.id).state is State.LOST
    print(f"dead after {found[0].ended - harmed_at:.2f} s, another after {found[1].began - harmed_at:.2f} s; {rss}")

    if harm is signal.SIGSTOP:
        os.kill(worker.pid, signal.SIGCONT)
    else:
        worker.ended()
        worker.spawn()
    pair.manager.nodes_ready(*WORKERS)
    pair.manager.at_rest()
    assert [one.id for one in pair.manager.tasks("db")] == [after.id]
    eventually(lambda: not guards(pair, task.node), "the guard of a node with nothing to guard goes")


def test_without_a_manager_a_writer_stops_and_comes_back_with_it(pair: Fleet) -> None:
    assert pair.engine is not None
    engine, cluster = pair.engine, pair.manager.cluster_id
    task = began(pair)
    other = sleeper()
    pair.manager.client.put_service("web", other)
    (web,) = pair.manager.settled("web")
    pair.manager.kill()
    killed_at = time.time()
    eventually(lambda: not engine.running(cluster, service="db"), within_s=2 * TIMEOUT_S)
    (first,) = lives(engine, cluster)
    assert TIMEOUT_S * 0.7 < first.ended - killed_at < 1.8 * TIMEOUT_S + 0.5
    assert [one.task for one in engine.running(cluster)] == [web.id], "what is no single writer stays"

    pair.manager.start()
    found, _ = replaced(pair, task, AGAIN_S)
    one_after_another(found)
    said = pair.manager.client.task(task.id)
    assert (said.state, said.reason) == (State.STOPPED, Reason.FENCED)
    assert "as a single writer that has lost its manager" in pair.manager.did("why", task.id)
    assert [one.id for one in pair.manager.tasks("web")] == [web.id]
    print(f"stopped after {first.ended - killed_at:.2f} s")


def test_a_worker_that_is_started_again_in_time_stops_nothing(fleet: Fleet) -> None:
    fleet.start(*WORKERS, timeout_s=PATIENT_S)
    task = began(fleet)
    worker = fleet.workers[task.node]
    lease = FolderGuard(fleet.folder / task.node, engine_url())
    before = guards(fleet, task.node)
    for stop in (worker.terminate, worker.kill):
        stop()
        left = lease.left()
        assert left is not None
        worker.spawn()
        eventually(lambda: renewed_at(lease) > left.renewed_at + PATIENT_S / 4, within_s=2 * PATIENT_S)  # noqa: B023
        fleet.manager.nodes_ready(*WORKERS)
        assert [(one.id, one.container_id) for one in fleet.manager.tasks("db")] == [(task.id, task.container_id)]
    assert guards(fleet, task.node) == before


def renewed_at(lease: FolderGuard) -> float:
    now = lease.left()
    return now.renewed_at if now is not None else 0.0


def test_a_worker_that_finds_no_manager_does_not_renew(pair: Fleet) -> None:
    assert pair.engine is not None
    engine, cluster = pair.engine, pair.manager.cluster_id
    task = began(pair)
    pair.manager.kill()
    killed_at = time.time()
    worker = pair.workers[task.node]
    worker.kill()
    worker.spawn()
    eventually(lambda: not engine.running(cluster), within_s=2 * TIMEOUT_S)
    (life,) = lives(engine, cluster)
    assert life.ended - killed_at < 1.8 * TIMEOUT_S + 0.5
    pair.manager.start()
    found, _ = replaced(pair, task, AGAIN_S)
    one_after_another(found)
    assert pair.manager.client.task(task.id).reason is Reason.FENCED


def test_an_update_never_has_two_writers(pair: Fleet) -> None:
    task = began(pair)
    client = pair.manager.client
    client.put_service("db", sleeper(single_writer=True, image=DEMO_2, update=UpdateRules(monitor_s=0.5)))
    found, _ = replaced(pair, task, 30.0)
    one_after_another(found)
    # And one that is to be none any more is still one until it has ended.
    (task,) = pair.manager.settled("db")
    client.put_service("db", sleeper(image=DEMO_2, update=UpdateRules(monitor_s=0.5)))
    found, _ = replaced(pair, task, 30.0)
    one_after_another(found)


def test_a_guard_that_is_killed_is_replaced(pair: Fleet) -> None:
    task = began(pair)
    (first,) = guards(pair, task.node)
    os.kill(first, signal.SIGTERM)
    os.kill(first, signal.SIGHUP)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: guards(pair, task.node) not in ([], [first]), within_s=5.0)
    pair.workers[task.node].kill()
    found, _ = replaced(pair, task, AGAIN_S)
    one_after_another(found)


@pytest.mark.parametrize("way", ["frozen", "dead"])
def test_an_engine_that_is_frozen_or_dead_keeps_no_writer(
    private_engine: PrivateEngine, tmp_path: Path, way: str
) -> None:
    """Nobody but the kernel can end it then. There is one engine, so that its node is given up is what can be seen."""
    fleet = Fleet(tmp_path, private_engine.api)
    try:
        fleet.start("w1", timeout_s=TIMEOUT_S)
        time.sleep(TIMEOUT_S)  # as above
        task = began(fleet)
        assert processes(task.container_id)
        wake: Callable[[], None]
        if way == "frozen":
            engine_pid = private_engine.pid
            os.kill(engine_pid, signal.SIGSTOP)
            wake = lambda: os.kill(engine_pid, signal.SIGCONT)  # noqa: E731
        else:
            private_engine.kill()
            wake = private_engine.start
        try:
            begun = time.monotonic()
            eventually(lambda: fleet.manager.client.task(task.id).reason is Reason.NODE_AWAITED, within_s=AGAIN_S)
            eventually(lambda: not processes(task.container_id), within_s=2 * TIMEOUT_S)
            dead_s = time.monotonic() - begun
            assert fleet.manager.client.task(task.id).live, "it was given up before it was dead"
            eventually(lambda: fleet.manager.client.task(task.id).state is State.LOST, within_s=AGAIN_S)
        finally:
            wake()
        assert dead_s < 2 * TIMEOUT_S + 0.3
        found, _ = replaced(fleet, task, 60.0)
        one_after_another(found)
        print(f"{way}: dead after {dead_s:.2f} s")
    finally:
        fleet.close()


def processes(container_id: str) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                groups, state = (path / "cgroup").read_text(), (path / "stat").read_text().rpartition(")")[2].split()[0]
            except (OSError, IndexError):
                continue
            if container_id in groups and state != "Z":
                found.append(int(path.name))
    return found
