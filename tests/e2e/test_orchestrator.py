"""valsov/orchestrator's README against Longshore: its three programs' lines, its file, and what its client sends.

The manager schedules by EPVM over two workers, and all three keep what they know on the disk. docs/ancestors/
orchestrator.md names these tests row by row.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tests.ancestors import (
    COMPLETED,
    FILES,
    HOST,
    NO_TIME,
    RUNNING,
    SCHEDULED,
    AncestorManager,
    Caller,
    Json,
    Yard,
    event,
    fetch,
    file,
    open_yard,
)
from tests.clusters import Ran, eventually, free_port, longshore
from tests.dockerd import DEMO

NOBODY = "5f0c1f5e-3c0c-4b7c-8a43-6f3f6d0f0001"
TASK_KEYS = {
    "Id", "Name", "ContainerId", "State", "Image", "Cpu", "Memory", "Disk", "ExposedPorts", "PortBindings",
    "RestartPolicy", "StartTime", "FinishTime", "RestartCount",
}  # fmt: skip
NODE_KEYS = {
    "Name", "Api", "Role", "Stats", "Memory", "MemoryAllocated", "Disk", "DiskAllocated", "TaskCount",
}  # fmt: skip
JSON_PLEASE = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yard = open_yard(tmp_path_factory, "orchestrator")
    try:
        for name in ("worker1", "worker2"):
            yard.add_worker(name, "worker", "-st", "persisted").spawn()
        dials = [word for worker in yard.workers for word in ("-w", worker.address)]
        yard.start_manager("manager", "-st", "persisted", "-sct", "epvm", *dials)
        eventually(lambda: len(yard.api.get("/nodes")) == 2, "both workers are taken in")
        yield yard
    finally:
        yard.close()


def request(**task: object) -> Json:
    """What its client makes of one object of a file: ids of its own, spelled Id, and the state that asks for it."""
    body = event(SCHEDULED, **task)
    fields = {"Id" if key == "ID" else key: value for key, value in body["Task"].items()}
    return {"Id": body["ID"], "State": body["State"], "Timestamp": body["Timestamp"], "Task": fields}


def started(yard: Yard, **task: object) -> str:
    body = request(**task)
    answer = yard.api.go("POST", "/tasks", body)
    assert answer.status == 201, answer
    id: str = answer.json()["Id"]
    assert id == body["Task"]["Id"]
    return id


def stop(yard: Yard, id: str) -> None:
    assert yard.api.go("DELETE", f"/tasks/{id}").status == 204
    yard.ends(id)


def client(yard: Yard, *words: str, stdin: str = "") -> Ran:
    return longshore("client", "--host", HOST, "-p", str(yard.manager.port), *words, stdin=stdin)


# -- its API


def test_a_task_from_start_to_stop(yard: Yard) -> None:
    port = free_port()
    ports = {"ExposedPorts": {"8080/tcp": {}}, "PortBindings": {"8080/tcp": str(port)}}
    id = started(yard, Name="web", Cpu=0.1, Memory=32 * 2**20, Disk=1000, RestartPolicy="always", **ports)
    task = yard.runs(id)
    assert task.keys() >= TASK_KEYS
    assert (task["Name"], task["Image"], task["RestartPolicy"]) == ("web", DEMO, "always")
    assert (task["PortBindings"], task["FinishTime"]) == ({"8080/tcp": str(port)}, NO_TIME)
    assert fetch(port).body.startswith(b"hello from")
    assert id in [one["Id"] for one in yard.api.get("/tasks")]
    assert yard.engine.inspect(task["ContainerId"])["State"]["Running"]
    stop(yard, id)
    ended = yard.task(id)
    assert (ended["State"], ended["FinishTime"] > ended["StartTime"]) == (COMPLETED, True)
    eventually(lambda: task["ContainerId"] not in [one.id for one in yard.containers(task["Node"])])


def test_statuses(yard: Yard) -> None:
    assert yard.api.go("DELETE", "/tasks/not-a-uuid").status == 400
    assert yard.api.go("DELETE", f"/tasks/{NOBODY}").status == 404
    answer = yard.api.go("POST", "/tasks", b"{")
    assert (answer.status, answer.json()["HTTPStatusCode"]) == (400, 400)
    assert yard.api.go("POST", "/tasks", {**request(Image=""), "Extra": 1}).status == 201, "it never minded those"


def test_the_file_as_it_is(yard: Yard) -> None:
    """What its client cuts into events may be sent whole, ports as a list of specs and all."""
    answer = yard.api.curl("POST", "/tasks", file("specs.json"))
    assert answer.status == 201, answer
    web, worker = answer.json()
    assert (web["Name"], web["ExposedPorts"], worker["Name"]) == ("web", {"8080/tcp": {}}, "worker")
    assert {UUID(web["Id"]).version, UUID(worker["Id"]).version} == {4}
    running = yard.runs(web["Id"])
    assert fetch(running["HostPorts"]["8080/tcp"][0]["HostPort"]).status == 200
    for task in (web, worker):
        stop(yard, task["Id"])


def test_nodes(yard: Yard) -> None:
    nodes = eventually(lambda: [one for one in yard.api.get("/nodes") if one["Stats"]])
    assert [node["Name"] for node in nodes] == [worker.node for worker in yard.workers]
    assert all(node.keys() >= NODE_KEYS for node in nodes)
    assert [node["Api"] for node in nodes] == [f"http://{worker.address}" for worker in yard.workers]
    assert nodes[0]["Stats"]["MemoryStats"]["mem_total"] > 0


def test_a_worker_shows_figures_as_json_or_for_prometheus(yard: Yard) -> None:
    api = yard.workers[0].api
    figures = api.send("GET", "/metrics", JSON_PLEASE).json()
    assert figures.keys() == {"MemoryStats", "DiskStats", "CpuStats", "LoadStats"}
    assert figures["MemoryStats"].keys() == api.get("/stats")["MemStats"].keys()
    assert figures["MemoryStats"]["mem_total"] > figures["MemoryStats"]["mem_available"]
    for page in (api.go("GET", "/metrics"), api.curl("GET", "/metrics")):
        assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b"\nnode_memory_MemTotal_bytes " in page.body


def test_a_worker_s_own_tasks(yard: Yard) -> None:
    api = yard.workers[1].api
    body = request(Name="own")
    id = body["Task"]["Id"]
    assert api.go("POST", "/tasks", body).json()["Id"] == id
    eventually(lambda: [one for one in api.get("/tasks") if one["Id"] == id and one["State"] == RUNNING])
    assert api.go("DELETE", f"/tasks/{id}").status == 204
    eventually(lambda: [one["State"] for one in api.get("/tasks") if one["Id"] == id] == [COMPLETED])
    assert api.go("DELETE", "/tasks/not-a-uuid").status == 400
    assert api.go("DELETE", f"/tasks/{NOBODY}").status == 404


# -- its client


def test_the_client_s_words(yard: Yard, tmp_path: Path) -> None:
    """start, get, list, list-nodes and stop, each as a command."""
    ran = client(yard, "start", str(FILES / "specs.json"))
    assert ran.returncode == 0, ran
    assert ran.stdout.count("[OK]") == 2
    ids = [line.split()[-1] for line in ran.stdout.splitlines()]
    for id in ids:
        yard.runs(id)
    shown = client(yard, "get", ids[0])
    assert (shown.returncode, "web" in shown.stdout, "Running" in shown.stdout) == (0, True, True), shown
    listed = client(yard, "list").stdout
    assert all(id in listed for id in ids)
    nodes = client(yard, "list-nodes")
    assert all(worker.node in nodes.stdout for worker in yard.workers)
    for id in ids:
        assert "[OK]" in client(yard, "stop", id).stdout
        assert yard.ends(id)["State"] == COMPLETED
    unknown = client(yard, "stop", NOBODY)
    assert (unknown.returncode, "[ERROR]" in unknown.stderr) == (4, True), unknown
    (tmp_path / "empty.json").write_text("[]")
    assert client(yard, "start", str(tmp_path / "empty.json")).returncode != 0


def test_the_client_s_prompt(yard: Yard) -> None:
    """The README's session, line by line down a pipe."""
    id = started(yard, Name="typed")
    yard.runs(id)
    lines = [f"get {id}", "list", "list-nodes", f"stop {id}", "nonsense", "exit"]
    ran = client(yard, stdin="\n".join(lines))
    assert (ran.stdout.count(id) >= 3, yard.workers[0].node in ran.stdout) == (True, True), ran
    assert ("nonsense" in ran.stderr, ran.returncode != 0) == (True, True), "the rest was done all the same"
    assert yard.ends(id)["State"] == COMPLETED


# -- what its manager promises


def test_epvm_weighs_cpu_and_memory(yard: Yard) -> None:
    """Of two equal nodes each gets one of two big tasks; a third goes where less memory is set aside."""
    memory = yard.api.get("/nodes")[0]["Memory"] * 1024
    big = started(yard, Name="big", Cpu=0.5, Memory=memory // 2)
    small = started(yard, Name="small", Cpu=0.5, Memory=memory // 4)
    third = started(yard, Name="third", Cpu=0.5, Memory=memory // 8)
    place = {id: yard.runs(id)["Node"] for id in (big, small, third)}
    assert place[big] != place[small] == place[third]
    for id in place:
        stop(yard, id)


def test_a_container_that_vanishes_is_replaced(yard: Yard) -> None:
    """Behind everybody's back: what is wished is compared with what is there."""
    id = started(yard, Name="vanishing")
    before = yard.runs(id)
    yard.engine.remove(before["ContainerId"])
    after = yard.comes_to(id, lambda task: task["State"] == RUNNING and task["ContainerId"] != before["ContainerId"])
    assert after["RestartCount"] == 1
    stop(yard, id)


def test_persisted_is_persisted(yard: Yard) -> None:
    """Over a kill -9 of the manager: tasks, their states and their containers, and stopped ones too."""
    kept, ended = started(yard, Name="kept"), started(yard, Name="ended")
    before = yard.runs(kept)
    stop(yard, ended)
    yard.manager.kill()
    assert yard.engine.inspect(before["ContainerId"])["State"]["Running"]
    yard.manager.start()
    after = eventually(lambda: yard.task(kept))
    same = ("ContainerId", "State", "StartTime", "RestartCount", "Name")
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert yard.task(ended)["State"] == COMPLETED
    eventually(lambda: [one["Status"] for one in yard.api.get("/nodes")] == ["online", "online"])
    stop(yard, kept)


def test_memory_is_forgotten(tmp_path: Path, yard: Yard) -> None:
    """-st memory: the next life knows nothing."""
    manager = AncestorManager(tmp_path / "forgetful", yard.engine, "manager", "-st", "memory", "-sct", "roundrobin")
    try:
        manager.start()
        api: Caller = manager.api
        assert api.curl("POST", "/tasks", request(Name="waits")).status == 201
        assert len(api.get("/tasks")) == 1
        manager.kill()
        manager.start()
        assert api.get("/tasks") == []
        assert json.loads(api.curl("GET", "/nodes").body) == []
    finally:
        manager.stop()


def test_a_dead_worker_s_tasks_run_elsewhere(yard: Yard) -> None:
    id = started(yard, Name="moved")
    before = yard.runs(id)
    (lost,) = [one for one in yard.workers if one.node == before["Node"]]
    lost.kill()
    after = yard.comes_to(id, lambda task: task["State"] == RUNNING and task["Node"] != before["Node"])
    assert after["RestartCount"] == 1
    lost.spawn()
    eventually(lambda: before["ContainerId"] not in [one.id for one in yard.containers(lost.node)])
    stop(yard, id)
