"""What kirannhegde/Container-Orchestrator's design promises its clients, to a manager with real workers.

Its README is a plan that its code never carried out; each of its lines is held to here by what really runs. Capacity is
a node's memory in bytes.
"""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from longshore.model.objects import NodeStatus
from tests.ancestors import COMPLETED, AncestorWorker, Caller, Json, Yard, fetch, open_yard
from tests.clusters import Cluster, eventually
from tests.dockerd import DEMO, DEMO_2, Witness

MISSING = "127.0.0.1:1/longshore/missing:1"
"""Of a registry that refuses connections."""
SERVICE = "longshore.service"
LONE = "lone-demo:1"
DEEP = "registry.test/team/deep-demo:1"
NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def shared_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A manager that was told of three workers at its start, as the design assumes."""
    yard = open_yard(tmp_path_factory, "replicas")
    try:
        workers = [yard.add_worker(name, "worker") for name in NAMES]
        for worker in workers:
            worker.spawn()
        yard.start_manager("manager", *(word for worker in workers for word in ("-w", worker.address)))
        yard.manager.nodes_ready(*(worker.node for worker in workers))
        for image in (LONE, DEEP):
            yard.name_image(image, ["/serve"], 8080)
        yield yard
    finally:
        with suppress(OSError, KeyError):
            yard.manager.clean()
        yard.close()


@pytest.fixture
def yard(shared_yard: Yard) -> Iterator[Yard]:
    """The shared one, with its three nodes and no containers."""
    yield shared_yard
    shared_yard.manager.clear()


def create(yard: Yard, image: str, replicas: int) -> Json:
    answer = yard.api.curl("POST", "/create", {"ImageNameTag": image, "NumOfReplicas": replicas})
    assert answer.status == 200, answer
    made: Json = answer.json()
    return made


def containers(yard: Yard, image: str, path: str = "/status") -> list[Json]:
    return [row for row in yard.api.get(path)["containers"] if row["Image"] == image]


def nodes(yard: Yard) -> dict[str, Json]:
    return {row["nodeName"]: row for row in yard.api.get("/status")["nodes"]}


def run_on_all(yard: Yard, image: str, replicas: int) -> list[Json]:
    """Its rows, once so many run."""

    def look() -> list[Json]:
        rows = containers(yard, image)
        assert [row["state"] for row in rows] == ["running"] * replicas, rows
        assert {(row["RequiredNumOfReplicas"], row["actualNumOfReplicas"]) for row in rows} == {(replicas, replicas)}
        return rows

    return eventually(look)


# -- POST /create


def test_replicas_run_and_answer(yard: Yard) -> None:
    made = create(yard, DEMO, 3)
    assert (made["ImageNameTag"], made["NumOfReplicas"], made["actualNumOfReplicas"]) == (DEMO, 3, 3)
    assert made["Message"] == "as wished"
    rows = containers(yard, DEMO)
    assert len(rows) == 3
    assert {(row["RequiredNumOfReplicas"], row["actualNumOfReplicas"]) for row in rows} == {(3, 3)}
    assert {row["nodeName"] for row in rows} == nodes(yard).keys()
    assert {row["nodeIpaddr"] for row in rows} == {"127.0.0.1"}
    running = yard.engine.running(yard.manager.cluster_id)
    assert sorted(one.task for one in running) == sorted(row["task"] for row in rows)
    for row in rows:
        port = row["HostPorts"]["8080/tcp"][0]
        assert fetch(port["HostPort"]).body.decode().strip() == f"hello from {row['task']} on {row['nodeName']}"


def test_keys_are_read_in_any_case_and_one_replica_is_meant_if_none_is_said(yard: Yard) -> None:
    answer = yard.api.curl("POST", "/create", {"imagenametag": DEMO, "numofreplicas": 2, "rack": None})
    assert (answer.status, answer.json()["actualNumOfReplicas"]) == (200, 2)
    assert yard.api.go("POST", "/create", {"ImageNameTag": DEMO_2}).json()["NumOfReplicas"] == 1


def test_the_image_once_more_is_another_number_of_it(yard: Yard) -> None:
    service = create(yard, DEMO, 2)["Service"]
    kept = {one.id for one in yard.engine.running(yard.manager.cluster_id)}
    assert create(yard, DEMO, 4)["Service"] == service
    assert kept < {one.id for one in yard.engine.running(yard.manager.cluster_id)}
    assert create(yard, DEMO, 1)["actualNumOfReplicas"] == 1
    assert len(run_on_all(yard, DEMO, 1)) == 1
    create(yard, DEMO, 0)
    eventually(lambda: not yard.engine.running(yard.manager.cluster_id))
    assert containers(yard, DEMO) == []


@pytest.mark.parametrize(
    ("path", "image", "replicas"),
    [
        (f"{LONE}/2", LONE, 2),
        (f"{DEMO}/1", DEMO, 1),
        (f"{DEEP}/1", DEEP, 1),
        (f"{DEEP}/1/", DEEP, 1),
    ],
)
def test_the_older_path_says_it_in_words(yard: Yard, path: str, image: str, replicas: int) -> None:
    answer = yard.api.curl("POST", f"/create_container/{path}")
    assert answer.status == 200, answer
    assert (answer.json()["ImageNameTag"], answer.json()["actualNumOfReplicas"]) == (image, replicas)
    assert len(containers(yard, image)) == replicas


@pytest.mark.parametrize(
    "body",
    ["", "nginx", "[]", "{}", '{"ImageNameTag": ""}', '{"ImageNameTag": "UPPER CASE"}']
    + [f'{{"ImageNameTag": "{DEMO}", "NumOfReplicas": {many}}}' for many in ('"three"', "-1", "1.5", "1e9", "true")],
)
def test_what_makes_no_sense_is_a_bad_request(yard: Yard, body: str) -> None:
    assert yard.api.curl("POST", "/create", body).status == 400
    assert yard.api.get("/status")["containers"] == []


@pytest.mark.parametrize("path", ["3", "demo", "demo/three", "demo/-1"])
def test_an_older_path_that_makes_no_sense_is_a_bad_request(yard: Yard, path: str) -> None:
    assert yard.api.curl("POST", f"/create_container/{path}").status == 400


# -- one image at a time


def test_creations_are_carried_out_one_after_the_other(yard: Yard) -> None:
    """By the engine's own events: no container of the next image before all of the one before run."""
    before = _asked_for(yard)
    with Witness(yard.engine, yard.manager.cluster_id) as witness, ThreadPoolExecutor() as pool:
        asked: list[tuple[str, Future[Json]]] = []
        for image, replicas in ((DEMO, 3), (LONE, 2), (DEMO_2, 2)):
            asked.append((image, pool.submit(create, yard, image, replicas)))
            eventually(lambda: _asked_for(yard) - before == len(asked), "the manager has heard it")
        for image, answer in asked:
            assert answer.result()["Message"] == "as wished", image
        # The witness may have heard the end of the test before this one as well.
        here = {one.id: one.labels[SERVICE] for one in yard.engine.running(yard.manager.cluster_id)}
        eventually(lambda: len(_made(witness, here)) == 14)
    image_of = {answer.result()["Service"]: image for image, answer in asked}
    made = [image_of[service] for service in _made(witness, here)]
    assert made == [DEMO] * 6 + [LONE] * 4 + [DEMO_2] * 4


def _made(witness: Witness, here: dict[str, str]) -> list[str]:
    """The service of each create and start of these containers, in order."""
    steps = [one.actor.id for one in witness.heard if one.action in ("create", "start")]
    return [here[id] for id in steps if id in here]


def _asked_for(yard: Yard) -> int:
    """How many creations the manager has heard of, answered or not, by its log."""
    return yard.manager.said().count('"replicas are asked for"')


def test_an_image_that_does_not_exist_says_so_and_keeps_nobody_waiting(yard: Yard) -> None:
    made = create(yard, MISSING, 2)
    assert made["actualNumOfReplicas"] == 0
    assert "image not available" in made["Message"]
    assert create(yard, DEMO, 1)["actualNumOfReplicas"] == 1


def test_what_does_not_fit_says_so_and_is_made_when_it_does(yard: Yard) -> None:
    for node in nodes(yard):
        yard.api.curl("PUT", f"/nodes/{node}", {"healthy": False})
    assert "no node fits" in create(yard, DEMO, 1)["Message"]
    yard.api.curl("PUT", f"/nodes/{next(iter(nodes(yard)))}", {"healthy": True})
    run_on_all(yard, DEMO, 1)


# -- GET /status


def test_the_cluster_is_shown_at_both_paths_and_in_the_database(yard: Yard) -> None:
    create(yard, DEMO, 2)
    state = yard.api.get("/status")
    assert yard.api.get("/state") == state
    for row in state["nodes"]:
        assert row["nodeCapacity"] >= row["nodeAvailCapacity"] > 0
        assert row["status"] == "online"
    assert [row["id"] for row in state["nodes"]] == [1, 2, 3]
    views = "nodeName nodeIpaddr nodeCapacity nodeAvailCapacity status"
    assert _rows(yard, "nodes", views) == sorted(tuple(row[key] for key in views.split()) for row in state["nodes"])
    views = "Image RequiredNumOfReplicas actualNumOfReplicas nodeName nodeIpaddr task state"
    wanted = sorted(tuple(row[key] for key in views.split()) for row in state["containers"])
    assert _rows(yard, "containers", views) == wanted


def _rows(yard: Yard, view: str, columns: str) -> list[tuple[object, ...]]:
    """As a person with the sqlite3 shell reads them, while the manager runs."""
    file: Path = yard.manager.data_dir / "longshore.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return sorted(database.execute(f"SELECT {', '.join(columns.split())} FROM {view}").fetchall())  # noqa: S608


def test_available_capacity_goes_down_and_up_again(yard: Yard) -> None:
    before = {name: row["nodeAvailCapacity"] for name, row in nodes(yard).items()}
    most = max(before.values()) // 2 + 1
    for number in range(3):
        task = {"ID": f"heavy-{number}", "Image": DEMO, "Memory": most}
        assert yard.api.curl("POST", "/tasks", task).status == 201
        yard.runs(f"heavy-{number}")
    taken = {name: row["nodeAvailCapacity"] for name, row in nodes(yard).items()}
    assert taken == {name: left - most for name, left in before.items()}
    yard.api.curl("POST", "/tasks", {"ID": "too-many", "Image": DEMO, "Memory": most})
    yard.comes_to("too-many", lambda task: "not enough memory" in task["Reason"])
    for id in ("heavy-0", "heavy-1", "heavy-2", "too-many"):
        yard.api.curl("DELETE", f"/tasks/{id}")
        yard.comes_to(id, lambda task: task["State"] == COMPLETED)
    assert {name: row["nodeAvailCapacity"] for name, row in nodes(yard).items()} == before


def test_anything_at_the_root_is_a_word_of_welcome(yard: Yard) -> None:
    assert yard.api.curl("GET", "/").body.startswith(b"Welcome")


# -- nodes that go and come


def test_a_node_that_dies_is_offline_and_its_containers_are_elsewhere(yard: Yard) -> None:
    create(yard, DEMO, 3)
    victim = yard.workers[0]
    victim.kill()
    eventually(lambda: nodes(yard)[victim.node]["status"] == "offline")
    rows = run_on_all(yard, DEMO, 3)
    assert {row["nodeName"] for row in rows} == {worker.node for worker in yard.workers[1:3]}
    victim.spawn()
    eventually(lambda: nodes(yard)[victim.node]["status"] == "online")
    eventually(lambda: not [one for one in yard.containers(victim.node) if one.running])
    assert containers(yard, DEMO) == rows


def test_a_node_is_added_while_the_manager_runs(yard: Yard) -> None:
    worker = yard.add_worker("late", "worker")
    answer = yard.api.curl("POST", "/nodes", {"ID": worker.node, "Api": f"127.0.0.1:{worker.port}"})
    assert (answer.status, answer.json()) == (201, {"ID": worker.node, "Healthy": True})
    assert nodes(yard)[worker.node]["status"] == "offline"
    worker.spawn()
    try:
        eventually(lambda: nodes(yard)[worker.node]["status"] == "online")
        create(yard, DEMO, 4)
        assert {row["nodeName"] for row in containers(yard, DEMO)} == nodes(yard).keys()
        yard.manager.kill()
        yard.manager.start()
        yard.manager.nodes_ready(*nodes(yard))
        _leaves(yard, worker)
    finally:
        worker.stop()
        yard.api.curl("DELETE", f"/nodes/{worker.node}")
        eventually(lambda: worker.node not in nodes(yard))


def _leaves(yard: Yard, worker: AncestorWorker) -> None:
    """DELETE a node that is there, with containers on it: they move, then it is gone, and its worker is left alone."""
    assert [row for row in containers(yard, DEMO) if row["nodeName"] == worker.node]
    answer = yard.api.curl("DELETE", f"/nodes/{worker.node}")
    assert answer.status == 204
    eventually(lambda: worker.node not in nodes(yard))
    rows = run_on_all(yard, DEMO, 4)
    assert worker.node not in {row["nodeName"] for row in rows}
    assert not [one for one in yard.containers(worker.node) if one.running]
    assert worker.alive


def test_a_node_of_the_static_list_can_leave_and_come_back(yard: Yard) -> None:
    worker = yard.workers[2]
    create(yard, DEMO, 4)
    _leaves(yard, worker)
    answer = yard.api.curl("POST", "/nodes", {"ID": worker.node, "nodeIpaddr": worker.address})
    assert answer.status == 201
    eventually(lambda: nodes(yard)[worker.node]["status"] == "online")


@pytest.mark.parametrize("body", [{"ID": "x", "Api": "no port"}, {"ID": "x", "Api": "user@h:1"}, {"ID": "x", "Api": 7}])
def test_an_address_that_is_none_is_a_bad_request(yard: Yard, body: Json) -> None:
    assert yard.api.curl("POST", "/nodes", body).status == 400
    assert "x" not in nodes(yard)


def test_a_node_that_was_never_there_is_not_found(yard: Yard) -> None:
    assert yard.api.curl("DELETE", "/nodes/nobody").status == 404


def test_a_node_that_leaves_longshore_dev_does_not_end_the_others(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, None)
    try:
        cluster.start()
        token = (cluster.data_dir / "admin.token").read_text().strip()
        api = Caller(int(cluster.url.rpartition(":")[2]), "127.0.0.1")
        answer = api.send("DELETE", "/nodes/n3", {"Authorization": f"Bearer {token}"})
        assert answer.status == 204
        eventually(lambda: [node.name for node in cluster.client.nodes()] == ["n1", "n2"])
        eventually(lambda: "node n3 was removed from this cluster" in cluster.said())
        assert {node.status for node in cluster.client.nodes()} == {NodeStatus.READY}
        assert cluster.alive
    finally:
        cluster.stop()
