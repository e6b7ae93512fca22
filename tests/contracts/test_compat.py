"""The doors of foreign APIs: what their clients send in any legal spelling, and what they are told when it is none.

No worker is there, so whatever is posted waits; what runs is seen in tests/e2e. Bodies go out as curl's `-d` sends
them, as a form that is none.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from longshore.model.objects import NodeStatus, Object
from longshore.model.spec import ServiceSpec
from tests import situations
from tests.contracts.serving import Manager, put, serving

ID = "21b23589-5d2d-4731-b5c9-a97e9832d021"
EVENT = "6be4cb6b-61d1-40cb-bc7b-9cacefefa60c"
NOBODY = "00000000-0000-0000-0000-000000000001"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NO_TIME = "0001-01-01T00:00:00Z"


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    records: tuple[Object, ...] = (situations.node("n1"), situations.node("n2", status=NodeStatus.DOWN))
    async with serving(tmp_path, *records) as running:
        yield running


async def send(manager: Manager, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
    """Status, and the answer as JSON if it is that."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else b""
    where = path + ("?" + "&".join(f"{key}={value}" for key, value in query.items()) if query else "")
    response, answer = await manager.ask(method, where, data=data, headers=FORM)
    return response.status, json.loads(answer) if answer[:1] in (b"{", b"[", b'"') else answer.decode()


def event(**task: Any) -> dict[str, Any]:
    return {"ID": EVENT, "State": 2, "Task": {"State": 1, "ID": ID, "Name": "web", "Image": "web:1"} | task}


async def posted(manager: Manager, body: Any) -> Any:
    status, answer = await send(manager, "POST", "/tasks", body)
    assert status == 201, answer
    return answer


def spec(manager: Manager, name: str = "web") -> ServiceSpec:
    return manager.store.read().services[name].spec


# -- what is understood


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(event(), id="Cube's"),
        pytest.param(event() | {"Timestamp": "2024-01-28T10:00:00.123456789+01:00"}, id="with a time"),
        pytest.param(event() | {"Timestamp": ""}, id="with an empty time"),
        pytest.param(event() | {"Timestamp": None, "ID": None}, id="with nulls"),
        pytest.param(event() | {"extra": [1], "x": {}}, id="with fields that nobody knows"),
        pytest.param({"state": 2, "task": {"id": ID, "name": "web", "image": "web:1"}}, id="small letters"),
        pytest.param({"STATE": 2, "TASK": {"ID": ID, "NAME": "web", "IMAGE": "web:1"}}, id="capitals"),
        pytest.param(event(ID=ID.upper()), id="an id in capitals"),
        pytest.param(event(ID=f"urn:uuid:{ID}"), id="an id as URN"),
        pytest.param(event(ID=f"{{{ID}}}"), id="an id in braces"),
        pytest.param(event(ID=ID.replace("-", "")), id="an id without dashes"),
        pytest.param({"Id": EVENT, "State": 1, "Task": {"Id": ID, "Name": "web", "Image": "web:1"}}, id="with Id"),
        pytest.param({"ID": ID, "Name": "web", "Image": "web:1"}, id="a task alone"),
        pytest.param(event(State=1.0, Memory=0.0), id="whole numbers with a point"),
    ],
)  # fmt: skip
async def test_every_spelling_of_one_task(manager: Manager, body: dict[str, Any]) -> None:
    answer = await posted(manager, body)
    assert (answer["ID"], answer["Id"], answer["Name"], answer["Image"]) == (ID, ID, "web", "web:1")
    assert (answer["State"], answer["Status"], answer["RestartCount"]) == (1, "scheduled", 0)
    assert (answer["StartTime"], answer["FinishTime"]) == (NO_TIME, NO_TIME)
    assert spec(manager).image == "web:1"
    assert (await send(manager, "GET", "/tasks"))[1] == [answer]
    assert (await send(manager, "GET", f"/tasks/{ID.upper()}/"))[1] == answer


async def test_every_field(manager: Manager) -> None:
    fields = {
        "Cpu": 0.5,
        "Memory": 64_000_000,
        "Disk": 1_000_000_000,
        "ExposedPorts": {"7777/tcp": {}, "53/udp": {}},
        "PortBindings": {"7777/tcp": "7777"},
        "RestartPolicy": "on-failure",
        "HealthCheck": "/health",
    }
    answer = await posted(manager, event(**fields))
    assert {name: answer[name] for name in fields} == fields
    made = spec(manager)
    assert (made.limits.cpu, made.limits.memory, made.resources.disk) == (0.5, 64_000_000, 1_000_000_000)
    assert [(port.container, port.host) for port in made.ports] == [(7777, 7777), (53, None)]
    assert made.restart.condition == "on-failure"
    assert made.liveness is not None
    gokube = (await send(manager, "GET", f"/task/{ID}"))[1]
    assert list(gokube) == [
        "ID",
        "ContainerId",
        "Name",
        "State",
        "Image",
        "Memory",
        "Disk",
        "ExposedPort",
        "HostPorts",
        "PortBindings",
        "RestartPolicy",
        "StartTime",
        "FinishTime",
        "HealthCheck",
        "RestartCount",
    ]
    assert gokube["ExposedPort"] == fields["ExposedPorts"]


async def test_gokube_s_spelling(manager: Manager) -> None:
    body = event(ExposedPort={"7777/tcp": {}}, PortBindings={"7777/tcp": "7777"})
    status, answer = await send(manager, "POST", "/task/", body)
    assert (status, answer["ExposedPort"]) == (201, {"7777/tcp": {}})
    assert (await send(manager, "GET", "/task"))[1] == [answer]
    assert (await send(manager, "DELETE", f"/task/{ID}"))[0] == 204
    assert (await send(manager, "GET", f"/task/{ID}"))[1]["State"] == 3


@pytest.mark.parametrize(
    ("ports", "bindings", "expected"),
    [
        (["80/tcp"], {"80/tcp": "8080"}, [(80, 8080, "tcp")]),
        (["80"], None, [(80, None, "tcp")]),
        (["8080:80"], None, [(80, 8080, "tcp")]),
        (["127.0.0.1:8080:80/udp"], None, [(80, 8080, "udp")]),
        (["127.0.0.1::80"], None, [(80, None, "tcp")]),
        (["8000-8001:80-81"], None, [(80, 8000, "tcp"), (81, 8001, "tcp")]),
        (["80-81/tcp"], None, [(80, None, "tcp"), (81, None, "tcp")]),
        ([], {"80": "8080"}, [(80, 8080, "tcp")]),
    ],
)
async def test_ports_of_task_files(manager: Manager, ports: list[str], bindings: Any, expected: Any) -> None:
    file = [{"Name": "web", "Image": "web:1", "ExposedPorts": ports, "PortBindings": bindings}]
    (answer,) = await posted(manager, file)
    assert len(answer["ID"]) == 36, "a task without an id is given one"
    assert sorted((port.container, port.host, port.protocol) for port in spec(manager).ports) == sorted(expected)
    listed = event(ID=NOBODY, Name="again", ExposedPorts=ports, PortBindings=bindings)
    await posted(manager, listed)
    assert len(spec(manager, "again").ports) == len(expected)


async def test_a_file_of_several_is_run_whole_or_not_at_all(manager: Manager) -> None:
    good = [{"Name": f"t{number}", "Image": "web:1"} for number in range(3)]
    status, answer = await send(manager, "POST", "/tasks", [*good, {"Name": "bad", "Image": 7}])
    assert (status, "[3].Image" in answer["Message"]) == (400, True)
    assert (await send(manager, "GET", "/tasks"))[1] == []
    status, answer = await send(manager, "POST", "/tasks", [*good, {"Name": "bad", "Image": "Web:1"}])
    assert (status, "[3].image" in answer["Message"]) == (400, True), answer
    assert (await send(manager, "GET", "/tasks"))[1] == []
    assert [one["Name"] for one in await posted(manager, good)] == ["t0", "t1", "t2"]


async def test_an_event_that_says_completed_stops(manager: Manager) -> None:
    await posted(manager, event())
    answer = await posted(manager, event(State=3) | {"State": 3})
    assert (answer["State"], answer["Status"]) == (3, "completed")
    assert spec(manager).replicas == 0
    status, answer = await send(manager, "POST", "/tasks", event(ID=NOBODY) | {"State": 3})
    assert (status, answer["HTTPStatusCode"]) == (404, 404)


async def test_two_tasks_of_one_name(manager: Manager) -> None:
    one = await posted(manager, event())
    other = await posted(manager, event(ID=NOBODY))
    assert one["Service"] != other["Service"]
    assert len((await send(manager, "GET", "/tasks"))[1]) == 2


async def test_many_at_once_are_all_kept(manager: Manager) -> None:
    ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(50)]
    answers = await asyncio.gather(*(posted(manager, event(ID=id)) for id in ids))
    assert {one["ID"] for one in answers} == set(ids)
    assert len({one["Service"] for one in answers}) == len(ids)
    assert len(manager.store.read().services) == len(ids)


async def test_the_same_once_more_and_another_under_its_id(manager: Manager) -> None:
    first = await posted(manager, event())
    assert await posted(manager, event()) == first
    status, answer = await send(manager, "POST", "/tasks", event(Image="web:2"))
    assert (status, "stop it first" in answer["Message"]) == (409, True)


async def test_stopping_twice_and_starting_again(manager: Manager) -> None:
    await posted(manager, event())
    for _ in range(2):
        assert await send(manager, "DELETE", f"/tasks/{ID}") == (204, "")
    assert (await posted(manager, event()))["State"] == 1
    assert spec(manager).replicas == 1


# -- what is refused


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", "the body is empty"),
        ("{", "truncated"),
        ("hello", "malformed"),
        ("7", "not an object"),
        ("null", "not an object"),
        ("[]", "the list is empty"),
        ("[7]", "[0] is a number"),
        ('{"Task": 7}', "Task is a number"),
        (event(State="Running"), "Task.State is a string"),
        (event() | {"State": "2"}, "State is a string"),
        (event() | {"State": True}, "State is true or false"),
        (event() | {"ID": "abc"}, "no UUID"),
        (event(ID="abc"), "Task.ID"),
        (event(ID=7), "Task.ID is a number"),
        (event() | {"Timestamp": "yesterday"}, "Timestamp"),
        (event(Memory="64m"), "Task.Memory is a string"),
        (event(Memory=-1), "less than nothing"),
        (event(Memory=1.5), "not a whole number"),
        (event(Cpu=-0.5), "less than nothing"),
        (event(Cpu=10**400), "not a number"),
        (event(Memory=-(10**400)), "less than nothing"),
        (event(ExposedPorts=["9" * 5_000]), "no port"),
        (event(Image="Not An Image"), "no image reference"),
        (event(RestartPolicy="sometimes"), "RestartPolicy"),
        (event(ExposedPorts=["x"]), "no port"),
        (event(ExposedPorts={"0/tcp": {}}), "no port"),
        (event(ExposedPorts={"80/sctp": {}}), "no port"),
        (event(ExposedPorts=["80-8000"]), "no range"),
        (event(ExposedPorts=["1-2:80-85"]), "different lengths"),
        (event(PortBindings={"80/tcp": "http"}), "no host port"),
        (event(PortBindings={"80/tcp": [{"HostPort": "1"}]}), "no host port"),
        (event(PortBindings=["80"]), "not an object"),
        (event(Env=["A"]), "KEY=VALUE"),
        ({"ID": "a/b", "Status": "pending"}, "will not do"),
        ({"ID": "big", "Status": "pending", "Env": ["A=" + "x" * 300_000]}, "over 64 KiB"),
        ({"ID": "../etc", "Status": "pending"}, "will not do"),
    ],
)
@pytest.mark.parametrize(("path", "key"), [("/tasks", "HTTPStatusCode"), ("/task", "HttpStatusCode")])
async def test_bad_bodies(manager: Manager, path: str, key: str, body: Any, words: str) -> None:
    if path == "/task" and isinstance(body, str) and body.startswith("["):
        words = "not an object"
    status, answer = await send(manager, "POST", path, body)
    assert (status, answer[key]) == (400, 400), answer
    assert words in answer["Message"]
    assert manager.store.read().services == {}
    assert manager.store.read().postings == {}


@pytest.mark.parametrize("path", ["/tasks", "/task"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_ids_that_nobody_has(manager: Manager, path: str, method: str) -> None:
    assert (await send(manager, method, f"{path}/{NOBODY}"))[0] == 404
    assert (await send(manager, method, f"{path}/not-a-uuid"))[0] == 400


async def test_other_methods_and_paths(manager: Manager) -> None:
    assert (await send(manager, "PUT", "/tasks"))[0] == 405
    assert (await send(manager, "POST", f"/tasks/{ID}"))[0] == 405
    assert (await send(manager, "GET", "/tasks/a/b"))[0] == 404
    assert (await send(manager, "GET", "/create"))[0] == 405


async def test_a_body_without_end_is_cut_off(manager: Manager) -> None:
    response, _ = await manager.ask("POST", "/tasks", data=io.BytesIO(b" " * (1024 * 1024 + 1)), headers=FORM)
    assert response.status == 413


async def test_without_a_token_nothing_is_told(manager: Manager) -> None:
    for method, path in (("GET", "/tasks"), ("POST", "/task"), ("GET", "/nodes"), ("POST", "/create"), ("GET", "/")):
        response, _ = await manager.ask(method, path, who=None)
        assert response.status == 401, path


# -- filters


async def test_filters_order_and_parts(manager: Manager) -> None:
    names = ["b", "a", "c"]
    for place, name in enumerate(names):
        await posted(manager, event(ID=f"00000000-0000-4000-8000-00000000000{place}", Name=name, Image=f"{name}:1"))
    await posted(manager, {"ID": "task-3", "Status": "pending"})

    async def listed(**query: str) -> list[str]:
        status, answer = await send(manager, "GET", "/tasks", **query)
        assert status == 200, answer
        return [one["Name"] or one["ID"] for one in answer]

    assert await listed() == ["b", "a", "c", "task-3"]
    assert await listed(order="-name") == ["c", "b", "a", "task-3"]
    assert await listed(status="pending") == ["task-3"]
    assert await listed(status="1", order="name") == ["a", "b", "c"]
    assert await listed(image="a:1") == ["a"]
    assert await listed(label="posted.name=c") == ["c"]
    assert await listed(label="posted.id", order="name") == ["a", "b", "c"]
    assert await listed(node="n1") == []
    assert await listed(nobody="asked") == ["b", "a", "c", "task-3"]
    response, answer = await manager.ask("GET", "/tasks?limit=2&order=name")
    assert [one["Name"] for one in json.loads(answer)] == ["", "a"]
    following = response.headers["Link"].split(">")[0].lstrip("<")
    response, answer = await manager.ask("GET", following)
    assert [one["Name"] for one in json.loads(answer)] == ["b", "c"]
    assert "Link" not in response.headers
    for query in ({"status": "asleep"}, {"order": "size"}, {"after": "nobody"}, {"limit": "0"}):
        assert (await send(manager, "GET", "/tasks", **query))[0] == 400


async def test_tasks_of_our_own_by_image_and_label(manager: Manager) -> None:
    made = situations.service("own", labels={"tier": "front"})
    await put(manager.store, made, *situations.releases(made), situations.task(of="own"))
    for query, count in (
        ("image=own:1", 1),
        ("image=own:2", 0),
        ("label=tier", 1),
        ("label=tier=front", 1),
        ("label=tier=back", 0),
        ("label=none", 0),
    ):
        _, answer = await manager.ask("GET", f"/v1/tasks?{query}")
        assert len(json.loads(answer)["items"]) == count, query


# -- nodes


async def test_nodes_by_hand(manager: Manager) -> None:
    assert await send(manager, "POST", "/nodes", {"ID": "node-3", "Healthy": True}) == (
        201,
        {"ID": "node-3", "Healthy": True},
    )
    assert (await send(manager, "POST", "/nodes/", {"id": "node-3", "healthy": False}))[0] == 201
    found = {one["ID"]: one for one in (await send(manager, "GET", "/nodes"))[1]}
    assert {id: (one["Healthy"], one["Status"]) for id, one in found.items()} == {
        "n1": (True, "online"),
        "n2": (False, "offline"),
        "node-3": (False, "offline"),
    }
    assert await send(manager, "PUT", "/nodes/node-3", {"healthy": True}) == (200, {"status": "updated"})
    assert (await send(manager, "GET", "/nodes/node-3"))[1]["Healthy"] is True
    assert await send(manager, "DELETE", "/nodes/node-3") == (204, "")
    assert (await send(manager, "GET", "/nodes/node-3"))[0] == 404


async def test_a_real_node_is_taken_out_and_back(manager: Manager) -> None:
    for healthy, availability in ((False, "paused"), (True, "active")):
        await send(manager, "PUT", "/nodes/n1", {"healthy": healthy})
        assert manager.store.read().nodes["n1"].availability == availability
        assert (await send(manager, "GET", "/nodes/n1"))[1]["Healthy"] is healthy


async def test_what_is_said_of_a_node_is_kept_to_the_letter(manager: Manager) -> None:
    (one, _) = (await send(manager, "GET", "/nodes"))[1]
    assert set(one) == {
        "ID", "Name", "Ip", "Api", "Healthy", "Status", "Reason", "Role", "Cores", "Memory", "MemoryAllocated", "Disk",
        "DiskAllocated", "TaskCount", "Stats",
    }  # fmt: skip
    assert (one["Memory"], one["Disk"], one["Cores"]) == (8 * 1024 * 1024, 100 * situations.GIB, 4.0)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/nodes", "{", 400),
        ("POST", "/nodes", "{}", 400),
        ("POST", "/nodes", '{"ID": 7}', 400),
        ("POST", "/nodes", '{"ID": "a b"}', 400),
        ("POST", "/nodes", '{"ID": "n7", "Api": "no address"}', 400),
        ("PUT", "/nodes/n1", "nonsense", 400),
        ("PUT", "/nodes/n1", '{"healthy": "yes"}', 400),
        ("PUT", "/nodes/nobody", '{"healthy": true}', 404),
        ("DELETE", "/nodes/nobody", "", 404),
    ],
)
async def test_bad_news_of_nodes(manager: Manager, method: str, path: str, body: str, status: int) -> None:
    response, answer = await manager.ask(method, path, data=body.encode(), headers=FORM)
    assert (response.status, response.content_type) == (status, "text/plain")
    assert answer.endswith(b"\n")


# -- replicas


async def test_status_and_state_say_the_same(manager: Manager) -> None:
    made = situations.service("own", replicas=2)
    await put(manager.store, made, *situations.releases(made), situations.task(of="own"))
    status, answer = await send(manager, "GET", "/status")
    assert status == 200
    assert (await send(manager, "GET", "/state/"))[1] == answer
    assert [(one["nodeName"], one["status"]) for one in answer["nodes"]] == [("n1", "online"), ("n2", "offline")]
    (row,) = answer["containers"]
    assert (row["Image"], row["RequiredNumOfReplicas"], row["actualNumOfReplicas"]) == ("own:1", 2, 1)
    assert (row["nodeName"], row["nodeIpaddr"]) == ("n1", "127.0.0.1")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/create", '{"ImageNameTag": "", "NumOfReplicas": 1}'),
        ("/create", '{"NumOfReplicas": 1}'),
        ("/create", '{"ImageNameTag": "web:1", "NumOfReplicas": "3"}'),
        ("/create", '{"ImageNameTag": "web:1", "NumOfReplicas": -1}'),
        ("/create", '{"ImageNameTag": "Web:1"}'),
        ("/create", "["),
        ("/create_container/web:1/many", ""),
        ("/create_container/3", ""),
        ("/create_container//", ""),
    ],
)
async def test_creations_that_make_no_sense(manager: Manager, path: str, body: str) -> None:
    status, answer = await send(manager, "POST", path, body)
    assert (status, answer["HTTPStatusCode"]) == (400, 400)
    assert manager.store.read().services == {}


async def test_without_foreign_doors_there_are_none(tmp_path: Path) -> None:
    async with serving(tmp_path, compat=False) as running:
        for path in ("/tasks", "/task", "/nodes", "/status", "/state", "/"):
            assert (await running.ask("GET", path))[0].status == 404, path
        assert (await running.ask("GET", "/v1/tasks"))[0].status == 200
