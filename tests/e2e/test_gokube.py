"""gokube's README against Longshore: a manager and three workers, told where to listen by gokube's own variables.

Its paths are singular and some of its names end differently from Cube's; what both do is the same, and what can be sent
wrongly is Cube's matter (test_cube). docs/ancestors/gokube.md names these tests row by row.
"""

import json
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.ancestors import (
    COMPLETED,
    HOST,
    NO_TIME,
    PENDING,
    RUNNING,
    SCHEDULED,
    Json,
    Yard,
    event,
    fetch,
    file,
    open_yard,
)
from tests.clusters import eventually, free_port, longshore
from tests.dockerd import DEMO

TASK = "bb1d59ef-9fc1-4e4b-a44d-db571eeed203"
NOBODY = "5f0c1f5e-3c0c-4b7c-8a43-6f3f6d0f0001"
TASK_KEYS = {
    "ID", "ContainerId", "Name", "State", "Image", "Memory", "Disk", "ExposedPort", "HostPorts", "PortBindings",
    "RestartPolicy", "StartTime", "FinishTime", "HealthCheck", "RestartCount",
}  # fmt: skip


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """Where each listens is in the variables of gokube's start line, once its slip of the pen is put right."""
    yard = open_yard(tmp_path_factory, "gokube")
    try:
        with pytest.MonkeyPatch.context() as variables:
            for number in range(3):
                port = free_port()
                variables.setenv("CUBE_WORKER_HOST", HOST)
                variables.setenv("CUBE_WORKER_PORT", str(port))
                yard.add_worker(f"worker-{number}", "cube", "worker", port=port).spawn()
            dials = [word for worker in yard.workers for word in ("-w", worker.address)]
            port = free_port()
            variables.setenv("CUBE_MANAGER_HOST", HOST)
            variables.setenv("CUBE_MANAGER_PORT", str(port))
            yard.start_manager("cube", "manager", "-s", "roundrobin", *dials, port=port)
        eventually(lambda: len(yard.api.get("/nodes")) == 3, "all workers are taken in")
        yield yard
    finally:
        yard.close()


@pytest.fixture(scope="module", autouse=True)
def first(yard: Yard) -> list[str]:
    """Ids of the first tasks of all. The last one's check fails."""
    bodies = [event(Name=f"first-{number}") for number in range(4)]
    bodies.append(event(Name="sick", ExposedPort={"8080/tcp": {}}, HealthCheck="/healthfail"))
    assert yard.api.get("/task") == []
    for body in bodies:
        assert yard.api.curl("POST", "/task", body).status == 201
    return [body["Task"]["ID"] for body in bodies]


def accepted(yard: Yard, body: object) -> Json:
    answer = yard.api.curl("POST", "/task", body)
    assert answer.status == 201, answer
    task: Json = answer.json()
    return task


def node_of(yard: Yard, id: str) -> str:
    """gokube's answers do not tell it; Cube's do."""
    name: str = yard.runs(id)["Node"]
    return name.rpartition("-")[0]


def test_round_robin(yard: Yard, first: list[str]) -> None:
    assert [node_of(yard, id) for id in first[:4]] == ["worker-1", "worker-2", "worker-0", "worker-1"]


def test_schedule_monitor_stop(yard: Yard) -> None:
    """The four routes of the README, one after another, as its lines of curl send them. Only the image is ours, and
    the port, which may be taken here."""
    port = free_port()
    body = json.loads(file("gokube_task.json"))
    body["Task"] |= {"Image": DEMO, "ExposedPort": {"8080/tcp": {}}, "PortBindings": {"8080/tcp": str(port)}}
    task = accepted(yard, body)
    assert task.keys() == TASK_KEYS
    assert (task["ID"], task["Name"]) == (TASK, "test-chapter-9.1")
    assert task["State"] in (PENDING, SCHEDULED)
    running = yard.comes_to(TASK, lambda task: task["State"] == RUNNING, "/task")
    assert running["ExposedPort"] == {"8080/tcp": {}}
    assert running["HostPorts"]["8080/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": str(port)}]  # noqa: S104
    assert (running["FinishTime"], running["RestartCount"]) == (NO_TIME, 0)
    assert fetch(port).body.startswith(b"hello from")
    (listed,) = [one for one in yard.api.get("/task") if one["ID"] == TASK]
    assert listed == running
    stopped = yard.api.curl("DELETE", f"/task/{TASK}")
    assert (stopped.status, stopped.body) == (204, b"")
    ended = yard.ends(TASK, "/task")
    assert ended["State"] == COMPLETED
    assert datetime.fromisoformat(ended["StartTime"]) < datetime.fromisoformat(ended["FinishTime"])


def test_all_running_tasks_from_all_workers(yard: Yard, first: list[str]) -> None:
    nodes = {node_of(yard, id) for id in first[:3]}
    assert len(nodes) == 3
    assert set(first[:3]) <= {task["ID"] for task in yard.api.get("/task")}


def test_cube_s_files_are_taken_here_too(yard: Yard) -> None:
    """gokube refuses fields that it does not know, as Cpu and ExposedPorts; here they are understood."""
    task = accepted(yard, event(Name="both", Image="", Cpu=0.5, ExposedPorts={"8080/tcp": {}}))
    assert task["ExposedPort"] == {"8080/tcp": {}}
    shown = yard.task(task["ID"])
    assert (shown["Cpu"], shown["ExposedPorts"], shown["ContainerID"]) == (0.5, {"8080/tcp": {}}, "")


@pytest.mark.parametrize("body", [b"nope", b"", {**event(), "State": "2"}, event(ID="1"), event(Disk="much")])
def test_refusals_are_spelled_as_gokube_does(yard: Yard, body: object) -> None:
    answer = yard.api.curl("POST", "/task", body)
    assert answer.status == 400
    assert answer.json().keys() == {"HttpStatusCode", "Message"}
    assert answer.json()["HttpStatusCode"] == 400


def test_what_is_not_there(yard: Yard) -> None:
    for method in ("GET", "DELETE"):
        unknown = yard.api.curl(method, f"/task/{NOBODY}")
        assert (unknown.status, unknown.json()["HttpStatusCode"]) == (404, 404)
        assert yard.api.curl(method, "/task/not-a-uuid").status == 400
    assert yard.api.curl("GET", "/task/").status == 200


def test_failed_tasks_are_restarted(yard: Yard, first: list[str]) -> None:
    before = yard.runs(first[3])
    yard.engine.kill(before["ContainerID"])
    after = yard.comes_to(
        first[3], lambda task: task["State"] == RUNNING and task["RestartCount"] == 1, "/task", within_s=20.0
    )
    assert after["ContainerId"] != before["ContainerID"]


def test_tasks_and_their_containers_are_one(yard: Yard, first: list[str]) -> None:
    """What workers report is what their engine holds."""
    task = yard.runs(first[0])
    container = yard.engine.inspect(task["ContainerID"])
    assert container["State"]["Running"]
    assert container["Config"]["Labels"]["posted.id"] == first[0]


def test_every_change_of_state_is_an_event(yard: Yard, first: list[str]) -> None:
    """With who made it and why."""
    service = yard.runs(first[1])["Service"]
    told = yard.manager.did("events", "--service", service)
    assert all(word in told for word in ("created", "placed", "starting", "started")), told


def test_workers_speak_singular_too(yard: Yard) -> None:
    api = yard.workers[2].api
    body = event(Name="own", ExposedPort={"8080/tcp": {}})
    id = body["Task"]["ID"]
    assert api.curl("POST", "/task", body).json().keys() == TASK_KEYS
    eventually(lambda: [one for one in api.get("/task") if one["ID"] == id and one["State"] == RUNNING])
    assert api.get(f"/task/{id}")["State"]["Running"]
    assert api.curl("DELETE", f"/task/{id}").status == 204
    unknown = api.curl("DELETE", f"/task/{NOBODY}")
    assert (unknown.status, unknown.json()["HttpStatusCode"]) == (404, 404)
    assert api.get("/stats")["MemStats"]["mem_total"] > 0


def test_a_command_line(yard: Yard, first: list[str]) -> None:
    """What gokube's README looks forward to."""
    shown = longshore("cube", "status", "-m", yard.api.address)
    assert (shown.returncode, first[0] in shown.stdout) == (0, True), shown


def test_a_running_task_whose_check_fails_is_restarted(yard: Yard, first: list[str]) -> None:
    """Last, as it takes its time: three failures in a row, ten seconds apart."""
    task = yard.comes_to(first[4], lambda task: task["RestartCount"] >= 1, "/task", within_s=60.0)
    assert task["HealthCheck"] == "/healthfail"
