"""What clients of fntkg/container-orchestrator say, to a manager with real workers: every line of its two README pages.

Its requests are sent as curl and Postman send them. Its server only simulated; here the same words are about real
nodes, and a task that names an image is a real container.
"""

from collections.abc import Iterator
from contextlib import suppress

import pytest

from longshore.model.reasons import Reason
from tests.ancestors import COMPLETED, PENDING, RUNNING, Json, Yard, fetch, open_yard
from tests.clusters import WorkerProcess, eventually
from tests.dockerd import DEMO


@pytest.fixture(scope="module")
def shared_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A manager with its scheduler, the first healthy node, and two workers: a is the first by name."""
    yard = open_yard(tmp_path_factory, "simulation")
    try:
        workers = [yard.add_worker(name, "worker") for name in ("a", "b")]
        for worker in workers:
            worker.spawn()
        dialled = [word for worker in workers for word in ("-w", worker.address)]
        yard.start_manager("manager", "-sct", "default", *dialled)
        yard.manager.nodes_ready(*(worker.node for worker in workers))
        yield yard
    finally:
        with suppress(OSError, KeyError):
            yard.manager.clean()
        yard.close()


@pytest.fixture
def yard(shared_yard: Yard) -> Iterator[Yard]:
    """The shared one, empty again for each test: no tasks, and no nodes but the two."""
    yield shared_yard
    shared_yard.manager.clear()
    real = {worker.node for worker in shared_yard.workers}
    for node in shared_yard.api.get("/nodes"):
        if node["ID"] not in real:
            shared_yard.api.curl("DELETE", f"/nodes/{node['ID']}")


def a(yard: Yard) -> str:
    return yard.workers[0].node


def b(yard: Yard) -> str:
    return yard.workers[1].node


def node(yard: Yard, id: str) -> Json:
    """As the list of all nodes has it."""
    return next(one for one in yard.api.get("/nodes") if one["ID"] == id)


def register(yard: Yard, body: object) -> Json:
    answer = yard.api.curl("POST", "/nodes", body)
    assert answer.status == 201, answer
    made: Json = answer.json()
    return made


def run(yard: Yard, id: str, **more: object) -> Json:
    """A task of theirs, with an image beside its two fields: it runs."""
    answer = yard.api.curl("POST", "/tasks", {"ID": id, "Status": "pending", "Image": DEMO, **more})
    assert answer.status == 201, answer
    return yard.runs(id)


# -- GET /health


def test_health_is_ok_and_nothing_else(yard: Yard) -> None:
    answer = yard.api.curl("GET", "/health")
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["Content-Type"].startswith("text/plain")


# -- GET and POST /nodes


def test_a_node_is_registered_and_listed(yard: Yard) -> None:
    assert register(yard, {"ID": "node-3", "Healthy": True}) == {"ID": "node-3", "Healthy": True}
    shown = yard.api.get("/nodes")
    assert [one["ID"] for one in shown] == sorted([a(yard), b(yard), "node-3"])
    assert {one["ID"]: one["Healthy"] for one in shown}["node-3"] is True
    assert node(yard, "node-3")["Reason"] == "registered by hand: no worker has joined under this name"


def test_keys_are_read_in_any_case_and_unknown_ones_passed_over(yard: Yard) -> None:
    assert register(yard, {"id": "n1", "HEALTHY": True, "rack": 7}) == {"ID": "n1", "Healthy": True}
    assert register(yard, '{"ID": "n2"}') == {"ID": "n2", "Healthy": False}
    assert register(yard, '{"ID": "n3", "Healthy": null}') == {"ID": "n3", "Healthy": False}


def test_a_node_that_is_registered_twice_is_what_was_said_last(yard: Yard) -> None:
    register(yard, {"ID": "node-3", "Healthy": True})
    assert register(yard, {"ID": "node-3", "Healthy": False}) == {"ID": "node-3", "Healthy": False}
    assert [one["ID"] for one in yard.api.get("/nodes")].count("node-3") == 1
    assert node(yard, "node-3")["Healthy"] is False


def test_paths_may_end_with_a_slash(yard: Yard) -> None:
    assert yard.api.get("/nodes/") == yard.api.get("/nodes")
    assert yard.api.get("/tasks/") == yard.api.get("/tasks")


def test_a_method_that_a_path_does_not_know_is_405(yard: Yard) -> None:
    assert yard.api.curl("PUT", "/tasks", {}).status == 405


@pytest.mark.parametrize("body", ["", "{", "[]", '"node"', '{"ID": 7}', '{"Healthy": true}', '{"ID": "a/b"}'])
def test_a_node_that_makes_no_sense_is_a_bad_request(yard: Yard, body: str) -> None:
    answer = yard.api.curl("POST", "/nodes", body)
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("text/plain")


# -- PUT /nodes/{id}


def test_the_health_of_a_node_is_updated(yard: Yard) -> None:
    register(yard, {"ID": "node-3", "Healthy": True})
    for healthy in (False, True):
        answer = yard.api.curl("PUT", "/nodes/node-3", {"healthy": healthy})
        assert (answer.status, answer.json()) == (200, {"status": "updated"})
        assert node(yard, "node-3")["Healthy"] is healthy
    assert yard.api.curl("PUT", "/nodes/node-3", "{}").status == 200
    assert node(yard, "node-3")["Healthy"] is False


def test_the_health_of_a_node_that_is_not_there_is_not_found(yard: Yard) -> None:
    assert yard.api.curl("PUT", "/nodes/node-9", {"healthy": True}).status == 404


@pytest.mark.parametrize("body", ["", "healthy", '{"healthy": "yes"}', "[true]"])
def test_a_health_that_makes_no_sense_is_a_bad_request(yard: Yard, body: str) -> None:
    answer = yard.api.curl("PUT", f"/nodes/{a(yard)}", body)
    assert answer.status == 400
    assert answer.body.startswith(b"Invalid request payload")
    assert node(yard, a(yard))["Healthy"] is True


# -- GET and POST /tasks


def test_a_task_is_kept_as_pending_with_a_reason(yard: Yard) -> None:
    answer = yard.api.curl("POST", "/tasks", {"ID": "task-3", "Status": "pending"})
    assert answer.status == 201
    made = answer.json()
    assert (made["ID"], made["Status"], made["State"]) == ("task-3", "pending", PENDING)
    assert made["Reason"] == Reason.NO_IMAGE
    assert [one["Status"] for one in yard.api.get("/tasks") if one["ID"] == "task-3"] == ["pending"]


def test_a_task_is_shown_and_stopped_by_its_own_id(yard: Yard) -> None:
    yard.api.curl("POST", "/tasks", {"id": "Task_4.b-1", "status": "running"})
    assert yard.task("Task_4.b-1")["Status"] == "pending"
    assert yard.api.curl("DELETE", "/tasks/Task_4.b-1").status == 204
    assert yard.task("Task_4.b-1")["State"] == COMPLETED
    assert yard.api.curl("DELETE", "/tasks/Task_4.b-1").status == 204
    assert yard.api.curl("GET", "/tasks/task-never").status == 400


@pytest.mark.parametrize("body", ["", "{", "7", '{"ID": 5}', '{"ID": "a b"}', '{"ID": "x", "Status": 1}'])
def test_a_task_that_makes_no_sense_is_a_bad_request(yard: Yard, body: str) -> None:
    assert yard.api.curl("POST", "/tasks", body).status == 400


def test_a_task_with_an_image_is_a_real_container(yard: Yard) -> None:
    shown = run(yard, "task-real", PortBindings={"8080/tcp": ""})
    assert (shown["ID"], shown["Status"], shown["State"]) == ("task-real", "running", RUNNING)
    published = shown["HostPorts"]["8080/tcp"][0]["HostPort"]
    assert fetch(published).body.decode().startswith(f"hello from {shown['Service']}.1.")
    assert yard.engine.inspect(shown["ContainerID"])["State"]["Running"]


# -- the scheduler and the controller


def test_tasks_go_to_the_first_healthy_node(yard: Yard) -> None:
    assert yard.manager.client.cluster().scheduler == "first-fit"
    assert {run(yard, f"first-{number}")["Node"] for number in range(3)} == {a(yard)}
    yard.api.curl("PUT", f"/nodes/{a(yard)}", {"healthy": False})
    assert node(yard, a(yard))["Healthy"] is False
    assert run(yard, "second")["Node"] == b(yard)
    assert yard.task("first-0")["Node"] == a(yard)
    assert yard.task("first-0")["State"] == RUNNING
    yard.api.curl("PUT", f"/nodes/{a(yard)}", {"healthy": True})
    assert run(yard, "third")["Node"] == a(yard)


def test_what_finds_no_healthy_node_waits_and_is_placed_by_the_loop(yard: Yard) -> None:
    for one in (a(yard), b(yard)):
        yard.api.curl("PUT", f"/nodes/{one}", {"healthy": False})
    yard.api.curl("POST", "/tasks", {"ID": "waits", "Status": "pending", "Image": DEMO})
    shown = yard.comes_to("waits", lambda task: "no node fits" in task["Reason"])
    assert shown["State"] == PENDING
    assert "paused or drained" in shown["Reason"]
    yard.api.curl("PUT", f"/nodes/{b(yard)}", {"healthy": True})
    assert yard.runs("waits")["Node"] == b(yard)


def test_a_node_without_a_worker_gets_nothing(yard: Yard) -> None:
    register(yard, {"ID": "0-first-by-name", "Healthy": True})
    assert {run(yard, f"elsewhere-{number}")["Node"] for number in range(2)} == {a(yard)}
    assert node(yard, "0-first-by-name")["TaskCount"] == 0


def test_a_worker_that_joins_under_a_registered_name_is_that_node(yard: Yard) -> None:
    name = f"joins-{a(yard)[-6:]}"
    register(yard, {"ID": name, "Healthy": False})
    token = yard.folder / "join.token"
    token.write_text(yard.manager.did("token", "create"))
    joined = WorkerProcess(name, yard.folder / name, yard.engine.url, token, "--join", yard.manager.url)
    joined.spawn()
    try:
        yard.manager.nodes_ready(a(yard), b(yard), name)
        shown = node(yard, name)
        # What was said of it before it came still holds.
        assert (shown["Status"], shown["Healthy"]) == ("online", False)
        for one in (a(yard), b(yard)):
            yard.api.curl("PUT", f"/nodes/{one}", {"healthy": False})
        yard.api.curl("PUT", f"/nodes/{name}", {"healthy": True})
        assert run(yard, "on-the-new-one")["Node"] == name

        # And DELETE, which their server lacks, empties it first; its worker then ends with a sentence.
        yard.api.curl("PUT", f"/nodes/{b(yard)}", {"healthy": True})
        assert yard.api.curl("DELETE", f"/nodes/{name}").status == 204
        moved = yard.comes_to("on-the-new-one", lambda task: task["Node"] == b(yard) and task["State"] == RUNNING)
        assert moved["Node"] == b(yard)
        eventually(lambda: name not in [one["ID"] for one in yard.api.get("/nodes")])
        assert joined.ended() == 7
        assert f"node {name} was removed from this cluster" in joined.said()
        joined.spawn()
        assert joined.ended() == 7
        assert f"node {name} or its token was removed" in joined.said()
    finally:
        joined.stop()


# -- the datastore, and what their README has as a limitation


def test_nodes_and_tasks_survive_the_manager(yard: Yard) -> None:
    register(yard, {"ID": "node-3", "Healthy": True})
    register(yard, {"ID": "node-4", "Healthy": False})
    yard.api.curl("POST", "/tasks", {"ID": "kept", "Status": "pending"})
    before = run(yard, "kept-running")
    yard.manager.kill()
    yard.manager.start()
    after = {one["ID"]: one["Healthy"] for one in yard.api.get("/nodes")}
    assert (after["node-3"], after["node-4"]) == (True, False)
    assert yard.task("kept")["State"] == PENDING
    assert yard.task("kept-running")["ContainerID"] == before["ContainerID"]
    yard.manager.nodes_ready(a(yard), b(yard))
    assert yard.runs("kept-running")["ContainerID"] == before["ContainerID"]


def test_tasks_are_filtered_ordered_and_read_in_parts(yard: Yard) -> None:
    """Their README's wish for a better API."""
    for id in ("q3", "q1", "q2"):
        yard.api.curl("POST", "/tasks", {"ID": id, "Name": f"name-{id}", "Status": "pending"})
    run(yard, "q-runs", Name="name-q0")

    def ids(query: str) -> list[str]:
        return [one["ID"] for one in yard.api.get(f"/tasks?{query}") if one["ID"].startswith("q")]

    assert ids("status=running") == ids("status=2") == ["q-runs"]
    assert ids("status=pending") == ["q3", "q1", "q2"]
    assert ids(f"node={a(yard)}") == ["q-runs"]
    assert ids(f"node={b(yard)}") == []
    assert ids(f"image={DEMO}&status=running") == ["q-runs"]
    assert ids("label=posted.id=q-runs") == ["q-runs"]
    assert ids("name=name-q1") == ["q1"]
    assert ids("status=pending&order=name") == ["q1", "q2", "q3"]
    assert ids("status=pending&order=-name") == ["q3", "q2", "q1"]
    assert yard.api.curl("GET", "/tasks?status=asleep").status == 400
    assert yard.api.curl("GET", "/tasks?order=moon").status == 400

    first = yard.api.curl("GET", "/tasks?status=pending&order=name&limit=1&name=name-q1")
    assert [one["ID"] for one in first.json()] == ["q1"]
    part = yard.api.curl("GET", "/tasks?status=pending&order=-created&limit=2")
    assert [one["ID"] for one in part.json()] == ["q2", "q1"]
    following = part.headers["Link"].partition("<")[2].partition(">")[0]
    assert yard.api.get(following)[0]["ID"] == "q3"


def test_status_is_detailed(yard: Yard) -> None:
    shown = run(yard, "detailed", Cpu=0.1, Memory=64 << 20)
    assert shown["StartTime"].startswith("20")
    assert shown["Reason"]
    there = node(yard, shown["Node"])
    assert there["MemoryAllocated"] == (64 << 20) // 1024
    assert there["TaskCount"] == 1
    eventually(lambda: node(yard, shown["Node"])["Stats"]["MemStats"]["mem_total"] > 0)
    story = yard.manager.did("why", shown["Service"])
    assert "first-fit:" in story


def test_figures_are_there_for_monitoring(yard: Yard) -> None:
    """And their wish to see how the whole is; the log has a line for what happened."""
    page = yard.api.curl("GET", "/metrics").body.decode()
    assert 'longshore_nodes{availability="active",status="ready"} 2.0' in page
    assert "worker connected" in yard.manager.said()
