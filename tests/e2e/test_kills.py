"""Whoever is killed at whatever moment: no acknowledged wish is lost, nothing runs twice, and all comes to rest.

A manager and two workers as processes of their own, on one real engine. Lanes wish all the time and remember what they
were promised; meanwhile processes and containers die by kill -9. After each death of the manager every lane compares
what it was promised with what is there, before it goes on; a witness at the engine hears what was doubled even for a
moment.
"""

import random
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from longshore.model.errors import Unavailable
from longshore.model.objects import NodeStatus, Task
from longshore.model.spec import UpdateOrder, UpdateRules
from longshore.model.views import Phase
from tests.clusters import Fleet, Manager, eventually, sleeper
from tests.dockerd import DEMO_2, PrivateEngine, Witness

WORKERS = ("w1", "w2")
SETTLE_S = 60.0
AWAY_S = 75.0
REPLICAS_MAX = 3
COMMIT_DEATHS = 12
COMMIT_LANES = 8
STOP_FIRST = UpdateRules(order=UpdateOrder.STOP_FIRST)
"""So that two of a slot that run at once were doubled."""
STRENGTH_S = 4.0
"""From kill -9 of a worker until its tasks run elsewhere: 2 s on a quiet machine."""


class Lane:
    """One client that wishes for its own services in a loop, and knows what it was promised of each.

    A wish whose answer did not come is in doubt: either is right then, until a look at the manager tells which.
    """

    def __init__(self, manager: Manager, seed: int, *, services: int, pause_s: float) -> None:
        self.promised: dict[str, int | None] = {f"lane{seed}-{number}": None for number in range(services)}
        """Replicas; None for a service that shall not be."""
        self.acknowledged = self.landed = self.vanished = 0
        self.failure: BaseException | None = None
        self._manager = manager
        self._client = manager.connect()
        self._chance = random.Random(seed)
        self._pause_s = pause_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lane {seed}")

    def __enter__(self) -> "Lane":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.wait(self._chance.uniform(0, self._pause_s)):
                self._wish(self._chance.choice(sorted(self.promised)))
        except BaseException as failure:  # noqa: BLE001  (told by the test's own thread)
            self.failure = failure

    def _wish(self, name: str) -> None:
        before = self.promised[name]
        after = self._chance.choice([None, *range(REPLICAS_MAX + 1)]) if before is not None else 1
        image = {"image": DEMO_2} if self._chance.random() < 0.3 else {}
        try:
            if after is None:
                self._client.remove_service(name)
            elif before is None or image:
                self._client.put_service(name, sleeper(replicas=after, update=STOP_FIRST, **image))
            else:
                self._client.scale(name, after)
        except Unavailable:
            self._resolve(name, after)
        else:
            self.acknowledged += 1
            self.promised[name] = after

    def _resolve(self, name: str, doubted: int | None) -> None:
        """Wait for the manager, hold it to its promises, and learn what became of the one wish in doubt."""
        there = eventually(lambda: (self._there(),), "the manager is back", SETTLE_S)[0]
        for other, replicas in self.promised.items():
            if other != name:
                assert there[other] == replicas, f"{other} was promised {replicas} and is {there[other]}"
        assert there[name] in (self.promised[name], doubted), (name, self.promised[name], doubted, there[name])
        self.landed += there[name] == doubted
        self.vanished += there[name] != doubted
        self.promised[name] = there[name]

    def _there(self) -> dict[str, int | None]:
        wished = {view.name: view for view in self._client.services() if view.status.phase is not Phase.REMOVING}
        return {name: wished[name].spec.replicas if name in wished else None for name in self.promised}

    def check(self) -> None:
        """All that it was promised is there. For its end."""
        with self._client:
            if self.failure is not None:
                raise self.failure
            assert self._there() == self.promised


def deaths(fleet: Fleet, chance: random.Random, rounds: int) -> list[str]:
    """Kill this and that, and start it again; who died. Nobody waits for anybody to be up again before the next."""
    died = []
    for _ in range(rounds):
        time.sleep(chance.uniform(0.02, 0.7))  # the moment of death is what this is about; any will do
        victim = chance.choice(["manager", "manager", *WORKERS, "container"])
        died.append(victim)
        if victim == "container":
            _kill_a_container(fleet, chance)
            continue
        server = fleet.manager if victim == "manager" else fleet.workers[victim]
        server.kill()
        server.spawn()
    return died


def _kill_a_container(fleet: Fleet, chance: random.Random) -> None:
    assert fleet.engine is not None
    running = fleet.engine.running(fleet.manager.cluster_id)
    if running:
        with suppress(OSError):  # it ended meanwhile
            fleet.engine.kill(chance.choice(running).id)


def start(fleet: Fleet, *, dialled: bool) -> None:
    """With a heartbeat timeout that is longer than any of them is away: a node that is taken for lost has its tasks in
    two places, and rightly so."""
    if dialled:
        fleet.start_dialled({name: name for name in WORKERS}, timeout_s=AWAY_S)
    else:
        fleet.start(*WORKERS, timeout_s=AWAY_S)


def ids(tasks: Sequence[Task]) -> dict[str, str]:
    return {task.id: task.container_id for task in tasks}


@pytest.mark.parametrize(("seed", "dialled"), [(11, False), (12, True), (13, False)])
def test_deaths_at_random_lose_nothing_and_double_nothing(fleet: Fleet, seed: int, dialled: bool) -> None:
    start(fleet, dialled=dialled)
    assert fleet.engine is not None
    lanes = [Lane(fleet.manager, seed * 10 + number, services=2, pause_s=0.4) for number in range(2)]
    with Witness(fleet.engine, fleet.manager.cluster_id) as witness:
        with lanes[0], lanes[1]:
            died = deaths(fleet, random.Random(seed), rounds=10)
            fleet.manager.answers()
        for lane in lanes:
            lane.check()
        fleet.manager.nodes_ready(*WORKERS)
        views = fleet.manager.at_rest(SETTLE_S)
    wished = {name: replicas for lane in lanes for name, replicas in lane.promised.items() if replicas is not None}
    assert {view.name: view.status.ready for view in views} == wished
    assert witness.doubles() == []
    print(f"died: {died}; {sum(lane.acknowledged for lane in lanes)} acknowledged, {len(witness.heard)} engine events")


def test_a_manager_that_dies_between_commit_and_answer_keeps_its_word(fake_fleet: Fleet) -> None:
    fake_fleet.start()
    manager = fake_fleet.manager
    chance = random.Random(7)
    with ExitStack() as running:
        lanes = [Lane(manager, seed, services=3, pause_s=0.002) for seed in range(COMMIT_LANES)]
        for lane in lanes:
            running.enter_context(lane)
        for _ in range(COMMIT_DEATHS):
            time.sleep(chance.uniform(0.0, 0.15))  # any moment will do
            manager.kill()
            manager.start()
    for lane in lanes:
        lane.check()
    landed, vanished = sum(lane.landed for lane in lanes), sum(lane.vanished for lane in lanes)
    print(f"{sum(lane.acknowledged for lane in lanes)} acknowledged; in doubt {landed} landed, {vanished} did not")
    assert landed + vanished >= COMMIT_DEATHS
    assert landed


@pytest.mark.parametrize("dialled", [False, True])
def test_a_killed_worker_finds_its_containers(fleet: Fleet, dialled: bool) -> None:
    start(fleet, dialled=dialled)
    assert fleet.engine is not None
    fleet.manager.client.put_service("web", sleeper(replicas=4))
    tasks = fleet.manager.settled("web")
    victim, *others = [task for task in tasks if task.node == "w1"] + [task for task in tasks if task.node == "w2"]

    fleet.workers["w1"].kill()
    fleet.engine.kill(victim.container_id)
    fleet.workers["w1"].spawn()

    eventually(lambda: fleet.manager.task(victim.id) is None or not fleet.manager.client.task(victim.id).live)
    fleet.manager.at_rest()
    now = ids(fleet.manager.tasks("web"))
    assert len(now) == 4
    assert now.items() > ids(others).items()
    assert {node.status for node in fleet.manager.client.nodes()} == {NodeStatus.READY}
    # And whoever is asked to end does so, with the other end still there.
    assert fleet.workers["w1"].terminate(within_s=5.0) == 0
    assert fleet.manager.terminate(within_s=5.0) == 0


def test_a_worker_that_stays_away_loses_its_tasks_and_gives_them_up(fleet: Fleet) -> None:
    timeout_s = 3.0
    fleet.start(*WORKERS, timeout_s=timeout_s)
    assert fleet.engine is not None
    fleet.manager.client.put_service("web", sleeper(replicas=4))
    tasks = fleet.manager.settled("web")
    lost = {task.id for task in tasks if task.node == "w1"}
    stayed = ids([task for task in tasks if task.node == "w2"])

    fleet.workers["w1"].kill()
    killed_at = time.time()
    eventually(lambda: {task.node for task in fleet.manager.tasks("web") if task.ready} == {"w2"})
    tasks = fleet.manager.settled("web")
    took_s = max(task.placed_at or 0.0 for task in tasks) - killed_at
    assert took_s < timeout_s + 2.0
    moved = ids(tasks)
    assert moved.items() > stayed.items()
    assert not moved.keys() & lost
    # Nobody could stop them: they go on where nobody hears them, until their worker is back.
    assert {one.task for one in fleet.engine.running(fleet.manager.cluster_id, node="w1")} == lost

    fleet.workers["w1"].spawn()
    fleet.manager.nodes_ready(*WORKERS)
    eventually(lambda: fleet.engine is not None and not fleet.engine.running(fleet.manager.cluster_id, node="w1"))
    fleet.manager.at_rest()
    assert ids(fleet.manager.tasks("web")) == moved
    print(f"placed anew {took_s:.1f} s after the kill, with a heartbeat timeout of {timeout_s:g} s")


def test_a_killed_worker_is_replaced_within_seconds_and_one_that_is_stopped_is_waited_for(fleet: Fleet) -> None:
    """At the default timeout, the session's end is what tells: by kill -9 at once, by SIGTERM with a farewell."""
    names = ("w1", "w2", "w3")
    fleet.start(*names)
    manager = fleet.manager
    manager.client.put_service("web", sleeper(replicas=6))
    manager.settled("web")
    took: list[float] = []
    for victim in ("w1", "w2", "w3", "w1"):
        fleet.workers[victim].kill()
        killed_at = time.monotonic()
        eventually(lambda: _full_strength(manager, victim, 6))  # noqa: B023
        took.append(time.monotonic() - killed_at)
        fleet.workers[victim].spawn()
        manager.nodes_ready(*names)
        manager.at_rest()
    # The first may fall into the time in which a manager that just started gives nobody up.
    assert sorted(took[1:])[1] < STRENGTH_S, took

    before = ids(manager.tasks("web"))
    for name in names:
        fleet.workers[name].terminate()
        fleet.workers[name].spawn()
    eventually(lambda: len([node for node in manager.client.nodes() if node.used is not None]) == len(names))
    manager.nodes_ready(*names)
    manager.at_rest()
    assert ids(manager.tasks("web")) == before
    print(f"full strength after {', '.join(f'{one:.2f} s' for one in took)}")


def test_a_dialled_worker_that_is_stopped_and_started_keeps_its_tasks(fleet: Fleet) -> None:
    fleet.start_dialled({name: name for name in WORKERS})
    manager = fleet.manager
    manager.client.put_service("web", sleeper(replicas=4))
    before = ids(manager.settled("web"))
    for name in WORKERS:
        assert fleet.workers[name].terminate() == 0
        fleet.workers[name].spawn()
    eventually(lambda: len([node for node in manager.client.nodes() if node.used is not None]) == len(WORKERS))
    manager.at_rest()
    assert ids(manager.tasks("web")) == before
    assert manager.said().count("worker says farewell") == len(WORKERS)


def _full_strength(manager: Manager, without: str, replicas: int) -> bool:
    tasks = [task for task in manager.tasks("web") if task.ready]
    return len(tasks) == replicas and all(task.node != without for task in tasks)


def test_an_engine_that_dies_comes_back_to_what_is_wished(private_engine: PrivateEngine, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, private_engine.api)
    try:
        fleet.start(*WORKERS)
        client = fleet.manager.client
        client.put_service("web", sleeper(replicas=4))
        client.put_service("gone", sleeper())
        fleet.manager.settled("web")
        private_engine.kill()
        client.scale("web", 5)
        client.remove_service("gone")
        private_engine.start()
        fleet.manager.nodes_ready(*WORKERS)
        (web,) = fleet.manager.at_rest(SETTLE_S)
        assert (web.name, web.status.ready) == ("web", 5)
        running = [one.task for one in private_engine.api.running(fleet.manager.cluster_id)]
        assert sorted(running) == sorted(task.id for task in fleet.manager.tasks("web"))
    finally:
        fleet.close()
