"""What is wrong with the five ancestors, one test for each flaw: none of it is ours.

Each test's docstring tells the flaw. A whole cluster is shared where one is needed, on the real engine; what one pure
decision shows is shown by that alone. `docs/ancestors/README.md` lists the flaws with these tests.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise

import pytest
from msgspec.structs import replace

from longshore.decide import restart
from longshore.decide.placement import place
from longshore.decide.placement.scoring.scores import POLICIES
from longshore.decide.postings import spec_of
from longshore.decide.services import decide as fill
from longshore.model.lifecycle import State
from longshore.model.objects import Kind, NodeStatus, Object, Posting, Task
from longshore.model.reasons import Reason
from longshore.model.spec import Resources, RestartOn, RestartPolicy
from tests import situations
from tests.ancestors import (
    COMPLETED,
    FAILED,
    GO_JSON,
    PENDING,
    RUNNING,
    SCHEDULED,
    AncestorWorker,
    Answer,
    Caller,
    Json,
    Yard,
    event,
    open_yard,
)
from tests.clusters import Cluster, eventually
from tests.dockerd import DEMO
from tests.situations import GIB, NOW, node, world

MISSING = "127.0.0.1:1/longshore/missing:1"
HUGE = 2**50
MANY = 100
SOON_S = 5.0
"""The ancestors need up to twenty seconds for what is done by then."""


@pytest.fixture(scope="module")
def shared_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A manager that places by E-PVM, and three workers."""
    yard = open_yard(tmp_path_factory, "flaws")
    try:
        workers = [yard.add_worker(name, "worker") for name in ("a", "b", "c")]
        for worker in workers:
            worker.spawn()
        yard.start_manager("manager", "-s", "epvm", *(word for worker in workers for word in ("-w", worker.address)))
        yard.manager.nodes_ready(*(worker.node for worker in workers))
        yield yard
    finally:
        with suppress(OSError, KeyError):
            yard.manager.clean()
        yard.close()


@pytest.fixture
def yard(shared_yard: Yard) -> Iterator[Yard]:
    """The shared one: all of it running, and nothing on it."""
    yield shared_yard
    for worker in shared_yard.workers[:3]:
        if not worker.alive:
            worker.spawn()
    shared_yard.manager.nodes_ready(*(worker.node for worker in shared_yard.workers[:3]))
    shared_yard.manager.clear()


@pytest.fixture
def empty_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A manager, and not one worker yet."""
    yard = open_yard(tmp_path_factory, "empty")
    try:
        yard.start_manager("manager")
        yield yard
    finally:
        with suppress(OSError, KeyError):
            yard.manager.clean()
        yard.close()


def post(yard: Yard, **task: object) -> str:
    """A task of Cube's, accepted; its id."""
    body = event(RUNNING, **task)
    answer = yard.api.curl("POST", "/tasks", body)
    assert answer.status == 201, answer
    id: str = answer.json()["ID"]
    assert id == body["Task"]["ID"]
    return id


def stop(yard: Yard, id: str) -> None:
    assert yard.api.curl("DELETE", f"/tasks/{id}").status == 204


def run_on(yard: Yard, worker: AncestorWorker) -> Json:
    """A task that runs on this worker."""
    others = [one for one in yard.workers[:3] if one is not worker]
    for other in others:
        yard.api.curl("PUT", f"/nodes/{other.node}", {"healthy": False})
    shown = yard.runs(post(yard))
    for other in others:
        yard.api.curl("PUT", f"/nodes/{other.node}", {"healthy": True})
    assert shown["Node"] == worker.node
    return shown


def running(yard: Yard) -> set[str]:
    """Ids of the cluster's containers that run."""
    return {one.id for one in yard.engine.running(yard.manager.cluster_id)}


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


@contextmanager
def hanging(worker: AncestorWorker) -> Iterator[None]:
    """SIGSTOP: its connections stay open and it does nothing."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(worker.pid, signal.SIGCONT)


# -- tasks are lost


def test_nothing_accepted_is_lost_without_a_worker_or_with_the_manager(empty_yard: Yard) -> None:
    """They answer 201 and then drop a task for which no node is found; what waits is in memory, so a manager that dies
    loses it; and the goroutines that add tasks do not keep their order."""
    yard = empty_yard
    ids = [post(yard, Name=f"kept-{number}") for number in range(5)]
    yard.manager.kill()
    yard.manager.start()
    assert [one["ID"] for one in yard.api.get("/tasks")] == ids
    shown = yard.comes_to(ids[-1], lambda task: bool(task["Reason"]))
    assert (shown["State"], shown["Reason"]) == (PENDING, "no node fits: no nodes have joined yet")

    worker = yard.add_worker("late", "worker")
    worker.spawn()
    assert yard.api.curl("POST", "/nodes", {"ID": worker.node, "Api": worker.address}).status == 201
    for id in ids:
        yard.runs(id)
    placed = [change.name for change in yard.manager.client.story(kind=Kind.TASK) if change.reason is Reason.PLACED]
    assert placed == [f"kept-{number}.1.1" for number in range(5)]


def test_a_task_for_workers_that_are_away_runs_when_they_are_back(yard: Yard) -> None:
    """A worker that cannot be reached makes Cube's manager put the wrong thing back into its queue and crash at the
    next look; gokube puts it back and then takes it for a request that makes no sense."""
    for worker in yard.workers[:3]:
        worker.kill()
    id = post(yard)
    yard.comes_to(id, lambda task: task["State"] in (PENDING, SCHEDULED))
    for worker in yard.workers[:3]:
        worker.spawn()
    yard.runs(id)


def test_a_task_that_its_worker_refuses_ends_as_failed_and_says_why(yard: Yard) -> None:
    """Anything but a 201 of the worker leaves a task as scheduled for ever."""
    ids = [post(yard, Image=MISSING), post(yard, Cmd=["/no-such-program"])]
    for id, words in zip(ids, ("image not available", "engine refused to start it"), strict=True):
        shown = yard.comes_to(id, lambda task: (task["State"], task["RestartCount"]) == (FAILED, 3))
        assert words in shown["Reason"]


def test_what_cannot_be_placed_waits_and_says_why(yard: Yard) -> None:
    """No candidate node: the task is gone, and nobody is told."""
    ids = {what: post(yard, **{what: HUGE}) for what in ("Memory", "Disk")} | {"Cpu": post(yard, Cpu=10_000.0)}
    for what, id in ids.items():
        shown = yard.comes_to(id, lambda task: "no node fits" in task["Reason"])
        assert shown["State"] == PENDING
        assert f"not enough {what.lower()}" in shown["Reason"]
    assert {one["ID"] for one in yard.api.get("/tasks?status=pending")} == set(ids.values())


# -- stop


def test_stop_reaches_the_worker_that_has_the_task(yard: Yard) -> None:
    """One looks the task's worker up under another id, never finds it, and hands the stop to the next worker."""
    shown = [run_on(yard, worker) for worker in yard.workers[:3]]
    victim = shown[1]
    stop(yard, victim["ID"])
    assert yard.ends(victim["ID"])["State"] == COMPLETED
    assert running(yard) == {one["ContainerID"] for one in (shown[0], shown[2])}
    assert yard.task(victim["ID"])["Node"] == victim["Node"]


def _pending(yard: Yard) -> str:
    id = post(yard, Memory=HUGE)
    yard.comes_to(id, lambda task: task["State"] == PENDING and bool(task["Reason"]))
    return id


def _scheduled(yard: Yard) -> str:
    with hanging(yard.workers[0]), hanging(yard.workers[1]), hanging(yard.workers[2]):
        id = post(yard)
        yard.comes_to(id, lambda task: task["State"] == SCHEDULED and bool(task["Node"]))
        stop(yard, id)
    return id


def _running(yard: Yard) -> str:
    return str(yard.runs(post(yard))["ID"])


def _failed(yard: Yard) -> str:
    return str(yard.ends(post(yard, RestartPolicy="no", Cmd=sh("exit 3")))["ID"])


def _stopped(yard: Yard) -> str:
    id = _running(yard)
    stop(yard, id)
    yard.ends(id)
    return id


@pytest.mark.parametrize("begin", [_pending, _scheduled, _running, _failed, _stopped])
def test_stop_works_in_any_state(yard: Yard, begin: Callable[[Yard], str]) -> None:
    """A stop of a task that does not run just then is answered with 204 and passed over, so it starts later."""
    id = begin(yard)
    stop(yard, id)
    assert yard.comes_to(id, lambda task: task["State"] == COMPLETED)["FinishTime"].startswith("20")
    stop(yard, id)
    eventually(lambda: not running(yard))


# -- restarts


def test_restarts_are_counted_wait_longer_and_end_as_failed(yard: Yard) -> None:
    """After three restarts a task is never looked at again and still shown as running; between them is no wait; and
    gokube's table of states forbids a restart at all."""
    id = post(yard, Name="crash", Cmd=sh("exit 3"))
    shown = yard.comes_to(id, lambda task: (task["State"], task["RestartCount"]) == (FAILED, 3))
    assert "exit code 3" in shown["Reason"]
    tasks = sorted(yard.manager.client.tasks(service="crash"), key=lambda task: task.generation)
    waits = {
        after.attempt: after.created_at - before.finished_at
        for before, after in pairwise(tasks)
        if before.finished_at is not None
    }
    assert waits[2] >= 1.0
    assert waits[3] >= 2.0
    assert not running(yard)


def _ended(ran_s: float, attempt: int) -> Task:
    return Task(
        id="web.1.4",
        service="web",
        slot=1,
        generation=4,
        release=1,
        attempt=attempt,
        state=State.FAILED,
        reason=Reason.EXITED,
        started_at=NOW - ran_s,
        finished_at=NOW,
        created_at=1.0,
    )


def test_the_count_begins_anew_after_a_stable_run() -> None:
    """Once it is at three, it stays there for the task's life, however well it ran since."""
    spec = spec_of(Posting(id="x", image=DEMO))
    assert restart.again(_ended(1.0, 3), spec) is None
    assert restart.again(_ended(60.0, 3), spec) is not None
    assert restart.attempt_after(_ended(60.0, 3), spec) == 1


def test_a_dead_node_s_tasks_move(yard: Yard) -> None:
    """A task is only ever restarted on the worker that it was on, also when that one is gone."""
    shown = run_on(yard, yard.workers[0])
    yard.workers[0].kill()
    moved = yard.comes_to(shown["ID"], lambda task: task["State"] == RUNNING and task["Node"] != yard.workers[0].node)
    assert moved["ContainerID"] != shown["ContainerID"]


# -- persistence


def test_a_manager_that_starts_again_knows_its_tasks_and_can_stop_them(yard: Yard) -> None:
    """A list of the persistent store is empty, since it keeps what it could not read; and who has which task is in
    memory alone, so after a restart a stop goes nowhere."""
    before = yard.runs(post(yard))
    yard.manager.kill()
    yard.manager.start()
    assert [one["ID"] for one in yard.api.get("/tasks") if one["State"] == RUNNING] == [before["ID"]]
    stop(yard, before["ID"])
    yard.ends(before["ID"])
    eventually(lambda: not running(yard))


def test_containers_of_a_worker_that_was_killed_are_taken_up_again(yard: Yard) -> None:
    """What a crash leaves behind is not found again: it runs on beside its successor."""
    before = run_on(yard, yard.workers[2])
    yard.workers[2].kill()
    yard.workers[2].spawn()
    yard.manager.nodes_ready(*(worker.node for worker in yard.workers[:3]))
    assert yard.runs(before["ID"])["ContainerID"] == before["ContainerID"]
    assert running(yard) == {before["ContainerID"]}


# -- placement


def placed(policy: str, *records: Object, busy: Callable[[str], float | None] | None = None) -> str:
    """Where the one task that waits goes; empty if nowhere."""
    changes, _ = place.decide(world(*records), NOW, policy, busy)
    (task,) = [change.after for change in changes]
    assert isinstance(task, Task)
    return task.node


def asks(cpu: float = 0.0, memory: int = 0, disk: int = 0) -> list[Object]:
    """A service, with one task that waits."""
    service = situations.service("web", resources=Resources(cpu=cpu, memory=memory, disk=disk))
    return [service, situations.task(state=State.NEW)]


def holds(name: str, on: str, cpu: float = 0.0, memory: int = 0) -> list[Object]:
    """What a node has already."""
    service = situations.service(name, resources=Resources(cpu=cpu, memory=memory))
    return [service, situations.task(of=name, on=on)]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_dead_node_is_never_chosen(policy: str) -> None:
    """A node whose figures could not be had is read as a score of zero, which is the best there is."""
    dead, alive = node("n1", status=NodeStatus.DOWN), node("n2", cpu=1.0, memory=GIB)
    for one, other in (("n1", "n2"), ("n2", "n1")):
        nodes = [replace(dead, name=one), replace(alive, name=other)]
        assert placed(policy, *nodes, *asks(cpu=0.1), busy=lambda name: None) == other


def test_cpu_counts_in_epvm() -> None:
    """The term for the processor is subtracted from itself, so a node with no core to spare is as good as an idle
    one."""
    two = [node("n1"), node("n2")]
    assert placed("epvm", *two, *asks(cpu=1.0), *holds("db", "n1", cpu=2.0), *holds("log", "n2", cpu=0.1)) == "n2"
    assert placed("epvm", *two, *asks(cpu=1.0), *holds("db", "n1", cpu=0.1), *holds("log", "n2", cpu=2.0)) == "n1"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("what", ["memory", "disk", "cpu"])
def test_what_a_node_lacks_rules_it_out(policy: str, what: str) -> None:
    """Memory was never compared with anything; disk with what was allocated, which nobody ever counted."""
    asked = {"memory": asks(memory=6 * GIB), "disk": asks(disk=60 * GIB), "cpu": asks(cpu=3.0)}[what]
    taken = holds("db", "n1", cpu=2.0, memory=4 * GIB)
    if what == "disk":
        taken = [situations.service("db", resources=Resources(disk=50 * GIB)), situations.task(of="db", on="n1")]
    assert placed(policy, node("n1"), node("n2"), *asked, *taken) == "n2"
    assert placed(policy, node("n1"), *asked, *taken) == ""


def test_what_is_set_aside_is_free_again_after_a_stop(yard: Yard) -> None:
    """Counts of tasks only grow, or are never kept; allocated memory and disk are never written."""

    def allocated() -> list[tuple[int, int, int]]:
        return [(one["TaskCount"], one["MemoryAllocated"], one["DiskAllocated"]) for one in yard.api.get("/nodes")]

    assert allocated() == [(0, 0, 0)] * 3
    ids = [post(yard, Memory=32 << 20, Disk=1 << 20) for _ in range(3)]
    for id in ids:
        yard.runs(id)
    assert allocated() == [(1, 32 << 10, 1 << 20)] * 3
    for id in ids:
        stop(yard, id)
        yard.ends(id)
    assert allocated() == [(0, 0, 0)] * 3


def test_placing_waits_for_nobody(yard: Yard) -> None:
    """E-PVM sleeps for three seconds for each node between two samples, and managers and workers take one task from
    their queues every ten seconds."""
    began = time.monotonic()
    ids = [post(yard, Name=f"quick-{number}") for number in range(6)]
    for id in ids:
        yard.runs(id)
    assert time.monotonic() - began < SOON_S
    waited = [(task.placed_at or 0.0) - task.created_at for task in yard.manager.client.tasks()]
    assert max(waited) < 1.0


def test_a_task_is_placed_once_and_lists_keep_their_order(yard: Yard) -> None:
    """The simulation's loop chooses a node for every task every five seconds and writes none of it down; and it reads
    nodes in the order of a map, which is any."""
    id = post(yard, Name="once")
    shown = yard.runs(id)
    # Whatever wakes the loop, a task that has its node is left where it is.
    for healthy in (False, True):
        yard.api.curl("PUT", f"/nodes/{shown['Node']}", {"healthy": healthy})
    story = [one for one in yard.manager.client.story(kind=Kind.TASK, name="once.1.1") if one.reason is Reason.PLACED]
    assert len(story) == 1
    assert yard.task(id)["ContainerID"] == shown["ContainerID"]
    lists = [[one["ID"] for one in yard.api.get("/nodes")] for _ in range(5)]
    assert lists == [sorted(lists[0])] * 5


# -- races


def test_a_hundred_posts_at_once_are_a_hundred_containers(cluster: Cluster) -> None:
    """Maps and queues are shared between requests and loops without a lock, which ends the program."""
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: _asked(cluster, "POST", "/tasks", body), [event() for _ in range(MANY)]))
    assert {answer.status for answer in answers} == {201}

    def look() -> list[Json]:
        shown: list[Json] = _asked(cluster, "GET", "/tasks?status=running").json()
        assert len(shown) == MANY
        return shown

    shown = eventually(look, within_s=60.0)
    assert {one["ID"] for one in shown} == {answer.json()["ID"] for answer in answers}
    assert len({one["ContainerID"] for one in shown}) == MANY


def _asked(cluster: Cluster, method: str, path: str, body: object = b"", token: str | None = None) -> Answer:
    """With the admin's token, unless another is given."""
    known = (cluster.data_dir / "admin.token").read_text().strip()
    api = Caller(int(cluster.url.rpartition(":")[2]), "127.0.0.1")
    headers = {**GO_JSON, "Authorization": f"Bearer {token if token is not None else known}"}
    return api.send(method, path, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_two_tasks_of_one_name_do_not_collide(yard: Yard) -> None:
    """A container is named as its task, so the second task of a name cannot start."""
    first, second = (yard.runs(post(yard, Name="same")) for _ in range(2))
    assert first["Name"] == second["Name"] == "same"
    assert running(yard) == {first["ContainerID"], second["ContainerID"]}
    stop(yard, first["ID"])
    yard.ends(first["ID"])
    eventually(lambda: running(yard) == {second["ContainerID"]})


def test_a_worker_that_hangs_holds_up_no_other(yard: Yard) -> None:
    """One loop speaks with one worker after the other and without a timeout: the one that does not answer stops all."""
    with hanging(yard.workers[0]):
        began = time.monotonic()
        ids = [post(yard, Name=f"go-on-{number}") for number in range(3)]
        elsewhere = [id for id in ids if _placed_on(yard, id) != yard.workers[0].node]
        assert len(elsewhere) >= 2
        for id in elsewhere:
            yard.runs(id)
        assert time.monotonic() - began < SOON_S
        for id in ids:
            yard.comes_to(id, lambda task: task["State"] == RUNNING and task["Node"] != yard.workers[0].node)
    yard.manager.nodes_ready(*(worker.node for worker in yard.workers[:3]))


def _placed_on(yard: Yard, id: str) -> str:
    return str(yard.comes_to(id, lambda task: bool(task["Node"]))["Node"])


def test_the_last_of_two_who_call_a_node_healthy_or_not_wins(yard: Yard) -> None:
    """Reading, changing and writing a node's health is not one step, so an update can be lost."""
    target = yard.workers[0].node
    bodies = [{"healthy": number % 2 == 0} for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: yard.api.curl("PUT", f"/nodes/{target}", body), bodies))
    assert {answer.status for answer in answers} == {200}
    for healthy in (False, True):
        yard.api.curl("PUT", f"/nodes/{target}", {"healthy": healthy})
        assert {one["ID"]: one["Healthy"] for one in yard.api.get("/nodes")}[target] is healthy


# -- crashes, and health checks


@pytest.mark.parametrize("port", ["8080/tcp", "9053/udp"])
def test_a_port_that_is_exposed_and_not_published_is_no_crash(yard: Yard, port: str) -> None:
    """The first binding of a port is taken from a list that may be empty."""
    shown = yard.runs(post(yard, ExposedPorts={port: {}}, HealthCheck="/health"))
    assert shown["ExposedPorts"] == {port: {}}
    assert yard.manager.alive


def test_what_makes_no_sense_is_answered_and_goes_no_further(yard: Yard) -> None:
    """After a 404 or 400 the same request goes on, into a value that is not there."""
    assert yard.api.curl("DELETE", "/tasks/5f0c1f5e-3c0c-4b7c-8a43-6f3f6d0f0001").status == 404
    assert yard.api.curl("DELETE", "/tasks/nonsense").status == 400
    assert yard.api.curl("POST", "/tasks", event(PortBindings=None, ExposedPorts=None, HostPorts=None)).status == 201
    assert yard.workers[0].api.curl("GET", "/tasks/5f0c1f5e-3c0c-4b7c-8a43-6f3f6d0f0001").status == 404
    assert yard.workers[0].alive


def test_a_check_asks_the_first_port_and_gives_it_time() -> None:
    """With several ports any of them is asked, by the order of a map; there is no limit to how long; one failure is a
    restart; and no check at all means asking for the root page."""
    ports = {"9000/udp": "", "8080/tcp": "", "9090/tcp": ""}
    probe = spec_of(Posting(id="x", image=DEMO, port_bindings=ports, health_check="/health")).liveness
    assert probe is not None
    assert probe.http is not None
    assert (probe.http.port, probe.http.path) == (8080, "/health")
    assert probe.timeout_s > 0
    assert probe.retries > 1
    assert spec_of(Posting(id="x", image=DEMO, port_bindings=ports)).liveness is None


def test_a_worker_s_address_may_be_ipv6(yard: Yard) -> None:
    """A worker's address is cut at its first colon."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
    worker = yard.add_worker("six", "worker", "-H", "::1")
    worker.spawn()
    try:
        body = {"ID": worker.node, "Api": f"http://[::1]:{worker.port}"}
        assert yard.api.curl("POST", "/nodes", body).status == 201
        yard.manager.nodes_ready(*(one.node for one in yard.workers))
        for other in yard.workers[:3]:
            yard.api.curl("PUT", f"/nodes/{other.node}", {"healthy": False})
        id = post(yard, ExposedPorts={"8080/tcp": {}}, HealthCheck="/health")
        assert yard.runs(id)["Node"] == worker.node
        (shown,) = [one for one in yard.api.get("/nodes") if one["ID"] == worker.node]
        assert (shown["Ip"], shown["Api"]) == ("::1", f"http://[::1]:{worker.port}")
        stop(yard, id)
        yard.ends(id)
    finally:
        yard.api.curl("DELETE", f"/nodes/{worker.node}")
        eventually(lambda: worker.node not in {one["ID"] for one in yard.api.get("/nodes")})
        worker.stop()


# -- doors


def test_nobody_comes_in_without_a_token(cluster: Cluster) -> None:
    """There is no authentication at all."""
    for method, path in (("GET", "/tasks"), ("POST", "/tasks"), ("GET", "/nodes"), ("POST", "/create")):
        assert _asked(cluster, method, path, token="").status == 401
        assert _asked(cluster, method, path, token="lsa_wrong").status == 401
    assert _asked(cluster, "GET", "/tasks").status == 200


@pytest.mark.parametrize("path", ["/tasks", "/task", "/nodes", "/create"])
def test_a_body_has_a_limit(cluster: Cluster, path: str) -> None:
    """A body is read to its end, however long it is."""
    assert _asked(cluster, "POST", path, {"Name": "x" * (2 << 20)}).status == 413
    assert cluster.alive


# -- containers


def test_an_image_that_is_there_is_not_pulled(yard: Yard) -> None:
    """Every start pulls, also what is there already, and fails where no registry answers."""
    image = "127.0.0.1:1/only/here:1"
    yard.engine.ask("POST", f"/images/{DEMO}/tag", {"repo": image.rpartition(":")[0], "tag": "1"})
    try:
        assert yard.runs(post(yard, Image=image))["Image"] == image
    finally:
        yard.manager.clear()
        yard.engine.ask("DELETE", f"/images/{image}", {"force": "1"})


def test_a_task_may_set_its_command_and_its_variables(yard: Yard) -> None:
    """The fields are in the configuration and are never filled from the task."""
    shown = yard.runs(post(yard, Env=["COLOUR=blue", "EMPTY="], Cmd=sh("exec /serve")))
    config = yard.engine.inspect(shown["ContainerID"])["Config"]
    assert {"COLOUR=blue", "EMPTY="} <= set(config["Env"])
    assert config["Cmd"] == sh("exec /serve")


def test_a_policy_that_says_never_is_obeyed() -> None:
    """The engine restarts what the orchestrator restarts as well."""
    spec = spec_of(Posting(id="x", image=DEMO, restart_policy="no"))
    assert spec.restart == RestartPolicy(condition=RestartOn.NONE)
    service = situations.service("web", restart=spec.restart)
    changes, again = fill(world(service, situations.task(state=State.FAILED)), "web", NOW)
    assert (changes, again) == ([], None)
