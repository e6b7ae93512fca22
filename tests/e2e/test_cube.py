"""Cube's clients, files and programs against Longshore: a manager and three workers, each a process, on a real engine.

What is sent is what they send: curl's form type, keys in Go's spelling, no word of what is accepted. docs/ancestors/
cube.md names these tests row by row.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from tests.ancestors import (
    COMPLETED,
    FAILED,
    NO_TIME,
    PENDING,
    RUNNING,
    SCHEDULED,
    AncestorWorker,
    Answer,
    Json,
    Yard,
    event,
    fetch,
    file,
    open_yard,
)
from tests.clusters import eventually, free_port, longshore
from tests.dockerd import DEMO

ECHO = "timboring/echo-server:latest"
HELLO = "strm/helloworld-http"
SERVE = "trap 'exit 0' TERM INT; httpd -f -p {port} -h /www & wait $!"
NODES = ("worker-1", "worker-2", "worker-3")
TASK_1 = "bb1d59ef-9fc1-4e4b-a44d-db571eeed203"
TASK_2 = "21b23589-5d2d-4731-b5c9-a97e9832d021"
TASK_3 = "95fbe134-7f19-496a-acfc-c7853e5b4cd2"
NOBODY = "5f0c1f5e-3c0c-4b7c-8a43-6f3f6d0f0001"
DAY = timedelta(days=1)
Change = Callable[[str], str]

ENDINGS = (
    ("no", 3), ("no", 0), ("on-failure", 0), ("on-failure", 3), ("always", 0), ("unless-stopped", 0), ("", 3)
)  # fmt: skip
TASK_KEYS = {
    "ID", "ContainerID", "Name", "State", "Image", "Cpu", "Memory", "Disk", "ExposedPorts", "HostPorts",
    "PortBindings", "RestartPolicy", "StartTime", "FinishTime", "HealthCheck", "RestartCount",
}  # fmt: skip
NODE_KEYS = {
    "Name", "Ip", "Api", "Memory", "MemoryAllocated", "Disk", "DiskAllocated", "Stats", "Role", "TaskCount",
}  # fmt: skip
MEM_KEYS = {
    "mem_total", "mem_free", "mem_available", "buffers", "cached", "swap_cached", "active", "inactive", "active_anon",
    "inactive_anon", "active_file", "inactive_file", "unevictable", "mlocked", "swap_total", "swap_free", "dirty",
    "write_back", "anon_pages", "mapped", "shmem", "slab", "s_reclaimable", "s_unclaim", "kernel_stack", "page_tables",
    "nfs_unstable", "bounce", "writeback_tmp", "commit_limit", "committed_as", "vmalloc_total", "vmalloc_used",
    "vmalloc_chunk", "hardware_corrupted", "anon_huge_pages", "huge_pages_total", "huge_pages_free", "huge_pages_rsvd",
    "huge_pages_surp", "hugepagesize", "direct_map_4k", "direct_map_2M", "direct_map_1G",
}  # fmt: skip
STATS_KEYS = {
    "MemStats": MEM_KEYS,
    "DiskStats": {"all", "used", "free", "freeInodes"},
    "CpuStats": {
        "id", "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice",
    },
    "LoadStats": {"last1min", "last5min", "last15min", "process_running", "process_total", "last_pid"},
}  # fmt: skip


class Beginning(NamedTuple):
    """What a fresh manager showed, and the first tasks that it was sent."""

    tasks: Answer
    nodes: Answer
    first: list[str]
    sick: str
    ending: dict[tuple[str, int], str]
    """Tasks whose containers end by themselves, by restart policy and exit code."""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yard = open_yard(tmp_path_factory, "cube")
    try:
        for name in NODES:
            yard.add_worker(name, "cube", "worker", "-d", "memory")
        yard.name_image(ECHO, ("sh", "-c", SERVE.format(port=7777)), 7777)
        yard.name_image(HELLO, ("sh", "-c", SERVE.format(port=80)), 80)
        dials = ",".join(worker.address for worker in yard.workers)
        yard.start_manager("cube", "manager", "-w", dials, "-s", "roundrobin", "-d", "memory")
        yield yard
    finally:
        yard.close()


@pytest.fixture(scope="module", autouse=True)
def beginning(yard: Yard) -> Beginning:
    """Before any other test of this module: the manager alone, then its workers, then four tasks one after another."""
    tasks, nodes = yard.api.curl("GET", "/tasks"), yard.api.curl("GET", "/nodes")
    for worker in yard.workers:
        worker.spawn()
    eventually(lambda: online(yard) == NODES, "all workers are taken in")
    first = [json.loads(file("task1.json")), event(Name="second"), event(Name="third")]
    sick = event(Name="sick", ExposedPorts={"8080/tcp": {}}, HealthCheck="/healthfail")
    for body in (*first, sick):
        assert yard.api.curl("POST", "/tasks", body).status == 201
    ending = {}
    for policy, code in ENDINGS:
        body = event(Name=f"ends {policy} {code}", RestartPolicy=policy, Cmd=["sh", "-c", f"exit {code}"])
        ending[policy, code] = accepted(yard, body)["ID"]
    return Beginning(tasks, nodes, [one["Task"]["ID"] for one in first], sick["Task"]["ID"], ending)


def online(yard: Yard) -> tuple[str, ...]:
    """Names of the nodes that are there, without the mark of this yard."""
    nodes = yard.api.get("/nodes")
    return tuple(node["Name"].rpartition("-")[0] for node in nodes if node["Status"] == "online")


def place(task: Json) -> str:
    name: str = task["Node"]
    return name.rpartition("-")[0]


def accepted(yard: Yard, body: bytes | str | object) -> Json:
    answer = yard.api.curl("POST", "/tasks", body)
    assert answer.status == 201, answer
    task: Json = answer.json()
    return task


def stop(yard: Yard, id: str) -> Json:
    assert yard.api.curl("DELETE", f"/tasks/{id}").status == 204
    return yard.ends(id)


def when(text: str) -> datetime:
    return datetime.fromisoformat(text)


# -- the manager's beginning, and where tasks go


def test_empty_lists_are_lists(beginning: Beginning) -> None:
    assert (beginning.tasks.status, beginning.tasks.json()) == (200, [])
    assert (beginning.nodes.status, beginning.nodes.json()) == (200, [])


def test_tasks_go_around_and_begin_with_the_second_worker(yard: Yard, beginning: Beginning) -> None:
    assert [place(yard.runs(id)) for id in beginning.first] == ["worker-2", "worker-3", "worker-1"]


def test_nodes(yard: Yard) -> None:
    nodes = eventually(lambda: [one for one in yard.api.get("/nodes") if one["Stats"]])
    assert nodes[0].keys() >= NODE_KEYS
    for node, worker in zip(nodes, yard.workers, strict=True):
        assert node["Name"] == worker.node
        assert (node["Role"], node["Api"]) == ("worker", f"http://{worker.address}")
        assert node["Memory"] * 1024 > 64 * 2**20, "kibibytes"
        assert node["Disk"] == pytest.approx(worker.api.get("/stats")["DiskStats"]["all"], rel=0.2), "bytes"
        assert node["Stats"]["MemStats"]["mem_total"] == pytest.approx(node["Memory"], rel=0.2)
    assert sum(node["TaskCount"] for node in nodes) >= 3


# -- one task's life


def test_a_file_to_the_letter(yard: Yard) -> None:
    """task1.json as it is: image, ports, check and all."""
    task = yard.runs(TASK_1)
    assert task.keys() >= TASK_KEYS
    assert (task["Name"], task["Image"], task["HealthCheck"]) == ("test-chapter-9.1", ECHO, "/health")
    assert task["ExposedPorts"] == {"7777/tcp": {}}
    assert task["PortBindings"] == {"7777/tcp": "7777"}
    assert task["HostPorts"]["7777/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "7777"}]  # noqa: S104
    assert (task["FinishTime"], task["RestartCount"]) == (NO_TIME, 0)
    assert timedelta(0) < datetime.now(UTC) - when(task["StartTime"]) < DAY
    assert yard.engine.inspect(task["ContainerID"])["State"]["Running"]
    assert fetch(7777, "/health").status == 200


@pytest.mark.parametrize(
    ("name", "id"),
    [("task.json", TASK_2), ("post.json", TASK_2), ("task2.json", TASK_2), ("task3.json", TASK_3)],
)
def test_the_other_files_run_and_stop(yard: Yard, name: str, id: str) -> None:
    """As they are, but that a port of one machine is not asked for thrice: three workers share one here."""
    body = json.loads(file(name))
    port = free_port()
    if "PortBindings" in body["Task"]:
        body["Task"]["PortBindings"] = {"7777/tcp": str(port)}
    task = accepted(yard, body)
    assert (task["ID"], task["State"] in (PENDING, SCHEDULED)) == (id, True)
    task = yard.runs(id)
    if task["PortBindings"]:
        assert fetch(port, "/health").status == 200
    assert yard.api.curl("POST", "/tasks", file("stop_task.json").replace(TASK_2.encode(), id.encode())).status == 201
    assert yard.ends(id)["State"] == COMPLETED


def test_states_over_time(yard: Yard) -> None:
    """Numbers only grow, from the post to the end; times are those of the container."""
    seen = []
    body = event(Name="lived")
    id = body["Task"]["ID"]
    seen.append(accepted(yard, body)["State"])

    def look(task: Json) -> bool:
        seen.append(task["State"])
        return bool(task["State"] == RUNNING)

    began = yard.comes_to(id, look)
    assert yard.api.curl("DELETE", f"/tasks/{id}").status == 204
    ended = yard.ends(id)
    seen.append(ended["State"])
    assert seen == sorted(seen)
    assert {SCHEDULED, RUNNING, COMPLETED} <= set(seen)
    assert (began["FinishTime"], ended["StartTime"]) == (NO_TIME, began["StartTime"])
    # The engine and this process need not read the very same clock: here and there a fraction of a millisecond is off.
    assert when(ended["StartTime"]) < when(ended["FinishTime"]) <= datetime.now(UTC) + timedelta(milliseconds=50)
    gone = began["ContainerID"]
    eventually(lambda: gone not in [one.id for one in yard.containers(began["Node"])], "its container is gone")


def test_a_list_has_every_task(yard: Yard, beginning: Beginning) -> None:
    found = {task["ID"]: task for task in yard.api.get("/tasks")}
    assert set(beginning.first) <= found.keys()
    assert all(task.keys() >= TASK_KEYS for task in found.values())
    id = beginning.first[1]
    assert yard.task(id)["ContainerID"] == found[id]["ContainerID"]


def test_ports_that_are_only_exposed_get_one_of_the_clusters_choice(yard: Yard) -> None:
    id = accepted(yard, event(Name="exposed", ExposedPorts={"8080/tcp": {}}))["ID"]
    task = yard.runs(id)
    binding, *_ = task["HostPorts"]["8080/tcp"]
    assert int(binding["HostPort"]) > 0
    assert fetch(binding["HostPort"]).body.startswith(b"hello from")
    stop(yard, id)


def test_sizes_reach_the_engine(yard: Yard) -> None:
    """Cpu in cores, memory in bytes: as limits of the container."""
    id = accepted(yard, event(Name="sized", Cpu=0.5, Memory=64 * 2**20, Disk=1000))["ID"]
    limits = yard.engine.inspect(yard.runs(id)["ContainerID"])["HostConfig"]
    assert (limits["NanoCpus"] or limits["CpuQuota"] * 10**9 // limits["CpuPeriod"]) == 500_000_000
    assert limits["Memory"] == 64 * 2**20
    stop(yard, id)


@pytest.mark.parametrize("field", ["Memory", "Disk"])
def test_what_fits_nowhere_waits_and_says_why(yard: Yard, field: str) -> None:
    id = accepted(yard, event(Name="giant", **{field: 10**15}))["ID"]
    task = yard.comes_to(id, lambda task: task["State"] == PENDING and task["Reason"])
    assert field.lower() in task["Reason"]
    assert stop(yard, id)["State"] == COMPLETED, "it was never started, and stop means stop"


def test_stop_means_stop_in_any_state(yard: Yard) -> None:
    id = accepted(yard, event(Name="twice"))["ID"]
    assert yard.api.curl("DELETE", f"/tasks/{id}").status == 204, "it had no time to run"
    assert yard.ends(id)["State"] == COMPLETED
    assert yard.api.curl("DELETE", f"/tasks/{id}").status == 204, "already"


def test_a_second_post_of_an_id(yard: Yard) -> None:
    """The same changes nothing; another is refused while the first runs; after its end it runs anew."""
    body = event(Name="again")
    id = accepted(yard, body)["ID"]
    container = yard.runs(id)["ContainerID"]
    assert accepted(yard, body)["ContainerID"] == container
    other = yard.api.curl("POST", "/tasks", {**body, "Task": {**body["Task"], "Image": HELLO}})
    assert (other.status, other.json()["HTTPStatusCode"]) == (409, 409)
    stop(yard, id)
    accepted(yard, body)
    assert yard.runs(id)["ContainerID"] != container
    stop(yard, id)


def test_two_tasks_of_one_name(yard: Yard) -> None:
    ids = [accepted(yard, event(Name="same"))["ID"] for _ in range(2)]
    containers = {yard.runs(id)["ContainerID"] for id in ids}
    assert len(containers) == 2
    for id in ids:
        stop(yard, id)


# -- restarts


def test_a_killed_container_is_replaced_and_counted(yard: Yard, beginning: Beginning) -> None:
    before = yard.runs(beginning.first[2])
    yard.engine.kill(before["ContainerID"])
    after = yard.comes_to(
        before["ID"], lambda task: task["State"] == RUNNING and task["ContainerID"] != before["ContainerID"]
    )
    assert after["RestartCount"] == before["RestartCount"] + 1
    assert when(after["StartTime"]) > when(before["StartTime"])


def test_a_restart_policy_that_nobody_knows(yard: Yard) -> None:
    answer = yard.api.curl("POST", "/tasks", event(RestartPolicy="sometimes"))
    assert answer.status == 400
    assert "Task.RestartPolicy" in answer.json()["Message"]


# -- what a body may look like


@pytest.mark.parametrize(
    "spelling", ["{}", "{:n}", "urn:uuid:{}", "{{{}}}"], ids=["plain", "undashed", "urn", "braces"]
)
@pytest.mark.parametrize("change", [str, str.upper], ids=["lower", "upper"])
def test_ids_in_every_spelling(yard: Yard, spelling: str, change: Change) -> None:
    id = uuid4()
    spelled = change(spelling.replace("{:n}", id.hex).format(id))
    assert accepted(yard, event(Name="spelled", ID=spelled, Image=""))["ID"] == str(id)
    path = f"/tasks/{quote(spelled)}"
    assert yard.api.get(path)["ID"] == str(id)
    assert yard.api.curl("DELETE", path).status == 204


@pytest.mark.parametrize("change", [str.lower, str.upper, str.swapcase], ids=["lower", "upper", "swapped"])
def test_keys_in_any_case(yard: Yard, change: Change) -> None:
    body = event(Name="cased", Image="", HealthCheck="/health", PortBindings={"80/tcp": "8080"})
    cased = {change(key): value for key, value in body.items() if key != "Task"}
    cased[change("Task")] = {change(key): value for key, value in body["Task"].items()}
    task = accepted(yard, cased)
    assert (task["ID"], task["HealthCheck"]) == (body["Task"]["ID"], "/health")
    assert task["PortBindings"] == {"80/tcp": "8080"}


def test_null_is_nothing(yard: Yard) -> None:
    keys = TASK_KEYS - {"ID", "Name"}
    task = accepted(
        yard, {"ID": None, "State": None, "Timestamp": None, "Task": {"Name": "nil", **dict.fromkeys(keys)}}
    )
    assert (task["Name"], task["Image"], task["Memory"], task["ExposedPorts"]) == ("nil", "", 0, None)
    assert UUID(task["ID"]).version == 4, "one was made up"


def test_unknown_fields_are_passed_over(yard: Yard) -> None:
    body = event(Name="unknown", Image="", Colour="blue", Nested={"deep": [1]})
    assert accepted(yard, {**body, "Sender": "somebody"})["ID"] == body["Task"]["ID"]


@pytest.mark.parametrize(
    "moment",
    [
        "",
        None,
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.123456789Z",
        "2026-01-31T12:00:00.123456789+05:30",
        "2026-01-31T12:00:00-08:00",
        NO_TIME,
    ],
)
def test_timestamps(yard: Yard, moment: str | None) -> None:
    body = event(Name="timed", Image="", StartTime=moment, FinishTime=moment)
    assert accepted(yard, {**body, "Timestamp": moment})["StartTime"] == NO_TIME, "what a client says of it is not so"


def test_no_timestamp_at_all(yard: Yard) -> None:
    body = event(Name="untimed", Image="")
    del body["Timestamp"]
    accepted(yard, body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"not json", "JSON is malformed"),
        (b'{"ID": "6be4cb6b-', "Error unmarshalling body"),
        (b"", "the body is empty"),
        (b"null", "not an object"),
        (b"[]", "there is no task in it"),
        (b"\xff\xfe", "Error unmarshalling body"),
        (event(State="Running"), "Task.State is a string"),
        ({**event(), "State": "2"}, "State is a string"),
        ({**event(), "State": 1.5}, "State is a number"),
        ({**event(), "ID": "not-a-uuid"}, "ID: 'not-a-uuid' is no UUID"),
        ({**event(), "Timestamp": "yesterday"}, "Timestamp: 'yesterday' is no time"),
        ({**event(), "Timestamp": 1700000000}, "Timestamp is a number"),
        ({**event(), "Task": "echo"}, "Task is a string"),
        (event(ID="1234"), "Task.ID: '1234' is no UUID"),
        (event(Cpu="1.0"), "Task.Cpu is a string"),
        (event(Memory=-1), "Task.Memory is -1"),
        (event(Memory=10.5), "Task.Memory is a number"),
        (event(Memory=10**20), "spec.resources.memory: "),
        (event(ExposedPorts="80/tcp"), "Task.ExposedPorts is a string"),
        (event(ExposedPorts={"99999/tcp": {}}), "'99999/tcp' is no port"),
        (event(PortBindings={"80/tcp": "http"}), "is no host port"),
        (event(Image=5), "Task.Image is a number"),
        (event(StartTime="soon"), "Task.StartTime"),
    ],
)
def test_what_is_refused(yard: Yard, body: bytes | object, told: str) -> None:
    answer = yard.api.go("POST", "/tasks", body)
    assert answer.status == 400
    refusal = answer.json()
    assert refusal.keys() == {"HTTPStatusCode", "Message"}
    assert refusal["HTTPStatusCode"] == 400
    assert told in refusal["Message"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_not_there(yard: Yard, method: str) -> None:
    assert yard.api.curl(method, f"/tasks/{NOBODY}").status == 404
    malformed = yard.api.curl(method, "/tasks/not-a-uuid")
    assert (malformed.status, malformed.json()["HTTPStatusCode"]) == (400, 400)


def test_the_router(yard: Yard, beginning: Beginning) -> None:
    id = beginning.first[0]
    assert yard.api.curl("GET", "/tasks/").json() == yard.api.curl("GET", "/tasks").json()
    assert yard.api.curl("GET", f"/tasks/{id}/").json()["ID"] == id
    assert yard.api.curl("GET", "/nodes/").status == 200
    assert yard.api.curl("POST", "/tasks/", event(Image="")).status == 201
    assert yard.api.curl("PATCH", "/tasks").status == 405
    assert yard.api.curl("GET", "/nothing").status == 404
    assert yard.api.curl("DELETE", f"/tasks/{NOBODY}/").status == 404


# -- the command line


def test_the_command_line(yard: Yard, tmp_path: Path) -> None:
    """run, status, node, stop, with Cube's flags and columns."""
    at = ("-m", yard.api.address)
    body = event(Name="by-hand")
    id = body["Task"]["ID"]
    (tmp_path / "task.json").write_text(json.dumps(body))
    ran = longshore("cube", "run", *at, cwd=tmp_path)  # task.json is where it looks by itself
    assert (ran.returncode, id in ran.stdout) == (0, True), ran
    yard.runs(id)
    shown = longshore("cube", "status", *at).stdout.splitlines()
    assert shown[0].split() == ["ID", "NAME", "CREATED", "STATE", "CONTAINERNAME", "IMAGE"]
    (line,) = [line for line in shown if line.startswith(id)]
    assert [*line.split()[1:2], *line.split()[-3:]] == ["by-hand", "Running", "by-hand", DEMO]
    assert " ago " in line
    nodes = longshore("cube", "node", *at).stdout.splitlines()
    assert nodes[0].split("  ")[0] == "NAME"
    assert [line.split()[0] for line in nodes[1:]] == [worker.node for worker in yard.workers]
    assert longshore("cube", "stop", *at, id).returncode == 0
    assert yard.ends(id)["State"] == COMPLETED
    assert longshore("cube", "stop", *at, NOBODY).returncode == 4
    gone = longshore("cube", "run", *at, "-f", "nowhere.json")
    assert (gone.returncode != 0, "nowhere.json" in gone.stderr) == (True, True)


# -- workers


def test_a_worker_s_own_tasks(yard: Yard) -> None:
    """Posted at its own port, listed, shown as the engine shows them, stopped."""
    api = yard.workers[0].api
    body = event(Name="own", ExposedPorts={"8080/tcp": {}})
    id = body["Task"]["ID"]
    answer = api.go("POST", "/tasks", body)
    assert (answer.status, answer.json()["ID"]) == (201, id)
    own = eventually(lambda: [one for one in api.get("/tasks") if one["ID"] == id and one["State"] == RUNNING])[0]
    assert own.keys() >= TASK_KEYS
    inspected = api.get(f"/tasks/{id}")
    assert inspected == yard.engine.inspect(own["ContainerID"]), "the engine's own words"
    assert id not in [task["ID"] for task in yard.api.get("/tasks")], "the manager has nothing to do with it"
    assert api.go("DELETE", f"/tasks/{id}").status == 204
    eventually(lambda: [one["State"] for one in api.get("/tasks") if one["ID"] == id] == [COMPLETED])
    assert api.go("POST", "/tasks", b"nope").json()["HTTPStatusCode"] == 400
    assert api.go("GET", f"/tasks/{NOBODY}").status == api.go("DELETE", f"/tasks/{NOBODY}").status == 404
    assert api.go("DELETE", "/tasks/nope").status == 400


def test_a_worker_shows_the_manager_s_tasks(yard: Yard, beginning: Beginning) -> None:
    task = yard.runs(beginning.first[0])
    (worker,) = [one for one in yard.workers if one.node == task["Node"]]
    (shown,) = [one for one in worker.api.get("/tasks") if one["ID"] == task["ID"]]
    alike = ("ContainerID", "Name", "State", "Image", "HostPorts", "FinishTime")
    assert {key: shown[key] for key in alike} == {key: task[key] for key in alike}
    assert worker.api.get(f"/tasks/{task['ID']}")["Id"] == task["ContainerID"]
    refused = worker.api.go("DELETE", f"/tasks/{task['ID']}")
    assert (refused.status, "manager" in refused.json()["Message"]) == (409, True)


def test_a_worker_s_figures(yard: Yard) -> None:
    stats = yard.workers[1].api.get("/stats")
    assert stats.keys() == {*STATS_KEYS, "TaskCount"}
    assert {name: set(stats[name]) for name in STATS_KEYS} == STATS_KEYS
    assert stats["MemStats"]["mem_total"] > stats["MemStats"]["mem_available"] > 0
    assert stats["DiskStats"]["all"] == stats["DiskStats"]["used"] + stats["DiskStats"]["free"]
    assert (stats["CpuStats"]["id"], stats["CpuStats"]["user"] > 0) == ("cpu", True)
    assert stats["TaskCount"] >= 1


def test_a_worker_without_a_manager_keeps_its_tasks(yard: Yard) -> None:
    """Over a kill -9, with the same container; -d persistent is what it does by itself."""
    alone = yard.add_worker("alone", "cube", "worker", "-d", "persistent")
    try:
        alone.start()
        body = event(Name="kept")
        id = body["Task"]["ID"]
        assert alone.api.curl("POST", "/tasks", body).status == 201
        before = _own(alone, id)
        alone.kill()
        assert yard.engine.inspect(before["ContainerID"])["State"]["Running"], "it needs no worker to go on"
        alone.start()
        after = _own(alone, id)
        assert (after["ContainerID"], after["RestartCount"]) == (before["ContainerID"], 0)
        yard.engine.kill(after["ContainerID"])
        eventually(lambda: _own(alone, id)["RestartCount"] == 1, "it is looked after")
        assert alone.api.curl("DELETE", f"/tasks/{id}").status == 204
        eventually(lambda: not yard.containers(alone.node), "nothing is left")
    finally:
        alone.stop()
        yard.workers.remove(alone)


def _own(worker: AncestorWorker, id: str) -> Json:
    found: list[Json] = eventually(
        lambda: [one for one in worker.api.get("/tasks") if one["ID"] == id and one["State"] == RUNNING]
    )
    return found[0]


def test_a_worker_that_is_away_is_missed_and_taken_in_again(yard: Yard, beginning: Beginning) -> None:
    task = yard.runs(beginning.first[1])
    (lost,) = [one for one in yard.workers if one.node == task["Node"]]
    lost.kill()
    moved = yard.comes_to(task["ID"], lambda now: now["State"] == RUNNING and now["Node"] != task["Node"])
    assert moved["RestartCount"] == task["RestartCount"] + 1
    assert len(online(yard)) == 2
    lost.spawn()
    eventually(lambda: online(yard) == NODES, "it is back")
    old = task["ContainerID"]
    eventually(lambda: old not in [one.id for one in yard.containers(lost.node)], "what was lost is cleared away")


# -- last, since these take their time


def test_restart_policies(yard: Yard, beginning: Beginning) -> None:
    """What becomes of a container that ends by itself, well or not."""
    ids = beginning.ending
    for policy, code, state in (("no", 3, FAILED), ("no", 0, COMPLETED), ("on-failure", 0, COMPLETED)):
        ended = yard.ends(ids[policy, code])
        assert (ended["State"], ended["RestartCount"]) == (state, 0), ended
    for policy, code in (("on-failure", 3), ("always", 0), ("unless-stopped", 0)):
        yard.comes_to(ids[policy, code], lambda task: task["RestartCount"] >= 2)
    given_up = yard.comes_to(ids["", 3], lambda task: task["State"] == FAILED and task["RestartCount"] == 3)
    assert "3" in given_up["Reason"], "the container's exit code"
    for id in ids.values():
        stop(yard, id)


def test_a_task_whose_check_fails_is_restarted(yard: Yard, beginning: Beginning) -> None:
    task = yard.comes_to(beginning.sick, lambda task: task["RestartCount"] >= 1, within_s=60.0)
    assert task["HealthCheck"] == "/healthfail"
    stop(yard, beginning.sick)
