"""What a person sees who looks into the store with the sqlite3 shell while the manager runs."""

# ruff: noqa: S608  (what is put into the SQL are the lists of columns here)

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Node, NodeStatus, PublishedPort
from longshore.model.spec import Mode, Resources
from longshore.store.sqlite import SqliteStore
from tests.clocks import StepClock
from tests.contracts.commits import put
from tests.situations import GIB, node, releases, service, task

Rows = list[dict[str, Any]]


class Shell:
    """A second connection, as the sqlite3 shell is one."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        self._connection.row_factory = sqlite3.Row

    def ask(self, sql: str) -> Rows:
        return [dict(row) for row in self._connection.execute(sql)]

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """A small cluster: `web` with two of three tasks running, `agent` on every node, and a job that ended."""
    store = await SqliteStore.open(tmp_path / "store.db", StepClock())
    small = Resources(cpu=0.5, memory=GIB)
    services = [
        service(replicas=3, app="shop", resources=small),
        service("agent", mode=Mode.GLOBAL, resources=Resources(memory=GIB // 2)),
        service("once", mode=Mode.JOB, resources=small),
    ]
    await store.commit([*map(put, services), *map(put, releases(*services, service("gone")))])
    await store.commit([put(replace(node("n2", zone="b"), address="10.0.0.2", status=NodeStatus.DOWN))])
    await store.commit([put(replace(node("n1", zone="a"), address="10.0.0.1"))])
    tasks = [
        task(1, ports=(PublishedPort(container=80, host=8080),)),
        task(2, state=State.STARTING),
        task(3, state=State.NEW),
        task(1, 2, State.FAILED, exit_code=3, message="boom"),
        task(4, state=State.RUNNING, wanted=Wanted.STOPPED),
        task(of="agent", pinned="n1"),
        task(2, of="agent", on="n2", pinned="n2", state=State.LOST),
        task(of="once", state=State.FINISHED),
        task(of="gone", state=State.RUNNING),
    ]
    await store.commit([put(one, by=Owner.SERVICES) for one in tasks])
    shell = Shell(tmp_path / "store.db")
    yield shell
    shell.close()
    await store.close()


async def test_nodes(shell: Shell) -> None:
    wanted = "id, nodeName, nodeIpaddr, nodeCapacity, nodeAvailCapacity, status"
    assert shell.ask(f"SELECT {wanted} FROM nodes") == [
        {
            "id": shell.ask("SELECT number FROM objects WHERE id = 'n1'")[0]["number"],
            "nodeName": "n1",
            "nodeIpaddr": "10.0.0.1",
            "nodeCapacity": 8 * GIB,
            # web.1.1, web.2.1 and web.4.1 hold 1 GiB each, agent.1.1 half of one; what ended or is new holds nothing.
            "nodeAvailCapacity": 8 * GIB - 3 * GIB - GIB // 2,
            "status": "online",
        },
        {
            "id": shell.ask("SELECT number FROM objects WHERE id = 'n2'")[0]["number"],
            "nodeName": "n2",
            "nodeIpaddr": "10.0.0.2",
            "nodeCapacity": 8 * GIB,
            "nodeAvailCapacity": 8 * GIB,
            "status": "offline",
        },
    ]
    ours = "name, address, availability, cpu, cpu_available, memory, memory_available, labels, tasks"
    assert shell.ask(f"SELECT {ours} FROM nodes")[0] == {
        "name": "n1",
        "address": "10.0.0.1",
        "availability": "active",
        "cpu": 4.0,
        "cpu_available": 2.5,
        "memory": 8 * GIB,
        "memory_available": 8 * GIB - 3 * GIB - GIB // 2,
        "labels": '{"zone":"a"}',
        "tasks": 5,
    }


async def test_containers(shell: Shell) -> None:
    columns = "Image, RequiredNumOfReplicas, actualNumOfReplicas, nodeName, nodeIpaddr, task, state"
    found = shell.ask(f"SELECT {columns} FROM containers ORDER BY task")
    on_n1 = {"nodeName": "n1", "nodeIpaddr": "10.0.0.1"}
    web = {"Image": "web:1", "RequiredNumOfReplicas": 3, "actualNumOfReplicas": 2, **on_n1}
    assert found == [
        {
            "Image": "agent:1",
            "RequiredNumOfReplicas": 1,
            "actualNumOfReplicas": 1,
            **on_n1,
            "task": "agent.1.1",
            "state": "running",
        },
        {
            "Image": "gone:1",
            "RequiredNumOfReplicas": 0,
            "actualNumOfReplicas": 1,
            **on_n1,
            "task": "gone.1.1",
            "state": "running",
        },
        {**web, "task": "web.1.1", "state": "running"},
        {**web, "task": "web.2.1", "state": "starting"},
        {**web, "task": "web.4.1", "state": "running"},
    ]


async def test_services(shell: Shell) -> None:
    found = shell.ask("SELECT name, app, image, mode, replicas, running, ready, pending, release FROM services")
    assert [tuple(row.values()) for row in found] == [
        ("agent", "", "agent:1", "global", 1, 1, 1, 0, 1),
        ("once", "", "once:1", "job", 1, 0, 0, 0, 1),
        ("web", "shop", "web:1", "replicated", 3, 1, 1, 1, 1),
    ]


async def test_tasks(shell: Shell) -> None:
    found = shell.ask("SELECT * FROM tasks WHERE service = 'web' AND slot = 1")
    assert [(row["id"], row["state"], row["node"], row["address"], row["image"]) for row in found] == [
        ("web.1.1", "running", "n1", "10.0.0.1", "web:1"),
        ("web.1.2", "failed", "n1", "10.0.0.1", "web:1"),
    ]
    assert found[0]["ports"] == '[{"container":80,"host":8080,"protocol":"tcp","ip":"0.0.0.0"}]'
    assert (found[0]["ready"], found[1]["ready"]) == (1, 0)
    assert (found[1]["exit_code"], found[1]["message"]) == (3, "boom")
    assert found[0]["created_at"] == "1970-01-01 00:01:40"
    assert shell.ask("SELECT count(*) AS n FROM tasks") == [{"n": 9}]


async def test_a_record_keeps_its_number(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteStore.open(path, StepClock())
    for name in ("n1", "n2"):
        await store.commit([put(node(name))])
    numbers = _numbers(path)
    one: Node = store.read().nodes["n1"]
    await store.commit([put(replace(one, address="10.0.0.9")), put(node("n3"))])
    assert _numbers(path).items() >= numbers.items()
    await store.close()


async def test_old_views_become_this_version_s(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await SqliteStore.open(path, StepClock())).close()
    with sqlite3.connect(path) as other:
        other.execute("DROP VIEW nodes")
        other.execute("DROP VIEW containers")
        other.execute("CREATE VIEW nodes AS SELECT 1 AS old")
    other.close()
    store = await SqliteStore.open(path, StepClock())
    await store.commit([put(node("n1"))])
    assert list(_numbers(path)) == ["n1"]
    await store.close()


def _numbers(path: Path) -> dict[str, int]:
    shell = Shell(path)
    found = {row["nodeName"]: row["id"] for row in shell.ask("SELECT id, nodeName FROM nodes")}
    shell.ask("SELECT * FROM containers")
    shell.close()
    return found
