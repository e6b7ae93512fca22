"""Nodes that are containers with an engine inside: each is an engine of its own, and nothing of them outlives `dev`."""

import os
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from longshore.model.objects import Task
from longshore.model.spec import Port
from tests.clusters import NODES, Manager, eventually, sleeper
from tests.dockerd import EngineApi, engine_url

NAMES = {f"n{number}" for number in range(1, NODES + 1)}
OURS = msgspec.json.encode({"label": ["longshore.dev"]}).decode()


class Nest(Manager):
    """`longshore dev` whose nodes are containers on `around`."""

    def __init__(self, folder: Path, around: EngineApi) -> None:
        words = ("dev", "--nodes", str(NODES), "--engine", "dind", "-p", "0", "--data", folder, "--log-format", "json")
        super().__init__(folder, *words)
        self.around = around

    def start(self) -> None:
        super().start()
        self.nodes_ready(*NAMES)

    def node_containers(self) -> dict[str, Any]:
        """By id, as the engine lists them; known by what they see of the data folder."""
        listed = msgspec.json.decode(self.around.ask("GET", "/containers/json", {"all": "1", "filters": OURS}))
        mine = f"{self.data_dir.resolve()}/"
        return {one["Id"]: one for one in listed if any(mount["Source"].startswith(mine) for mount in one["Mounts"])}

    def node_volumes(self) -> set[str]:
        mounts = [mount for one in self.node_containers().values() for mount in one["Mounts"]]
        return {mount["Name"] for mount in mounts if mount["Type"] == "volume"}

    def says(self, task: Task) -> str:
        address = {node.name: node.address for node in self.client.nodes()}[task.node]
        with urllib.request.urlopen(f"http://{address}:{task.ports[0].host}/", timeout=10) as answer:
            said: str = answer.read().decode().strip()
            return said


@pytest.fixture
def nest(tmp_path: Path) -> Iterator[Nest]:
    around = EngineApi(engine_url())
    if os.geteuid() != 0 or shutil.which("dockerd") is None or not around.url.startswith("unix://"):
        pytest.skip("a node container needs root, and an engine of this machine with its dockerd")
    made = Nest(tmp_path / "nest", around)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        for id in made.node_containers():  # a test that killed it may have left some
            around.remove(id)


def put_web(nest: Nest) -> list[Task]:
    nest.client.put_service("web", sleeper(replicas=NODES, ports=(Port(container=8080, host=8080),)))
    return nest.settled("web")


def test_each_node_has_an_engine_of_its_own_and_goes_with_dev(nest: Nest) -> None:
    nodes = list(nest.client.nodes())
    assert len({node.engine.id for node in nodes}) == NODES
    assert len({node.address for node in nodes}) == NODES

    # The same host port on each: they share a machine, but not its ports. The image is in none of them yet.
    tasks = put_web(nest)
    assert {task.node for task in tasks} == NAMES
    for task in tasks:
        assert nest.says(task) == f"hello from {task.id} on {task.node}"

    # What containers in containers use is seen from here.
    assert eventually(lambda: all(view.used and view.used.tasks_memory for view in nest.client.nodes()))

    volumes = nest.node_volumes()
    assert (len(nest.node_containers()), len(volumes)) == (NODES, NODES)
    assert nest.terminate() == 0
    assert not nest.node_containers()
    assert not volumes & nest.around.volumes()


def test_after_a_kill_the_next_start_begins_with_new_ones(nest: Nest) -> None:
    before = {task.id for task in put_web(nest)}
    left, volumes = set(nest.node_containers()), nest.node_volumes()

    nest.kill()
    assert set(nest.node_containers()) == left
    nest.start()

    def look() -> list[Task]:
        tasks = nest.settled("web")
        assert not before & {task.id for task in tasks}
        return tasks

    for task in eventually(look):
        assert nest.says(task) == f"hello from {task.id} on {task.node}"
    assert len(nest.node_containers()) == NODES
    assert not left & set(nest.node_containers())
    assert not volumes & nest.around.volumes()


def test_a_node_container_that_dies_is_a_node_that_is_down(nest: Nest) -> None:
    nest.client.put_service("web", sleeper(replicas=NODES, ports=(Port(container=8080),)))
    assert {task.node for task in nest.settled("web")} == NAMES
    victim = next(id for id, one in nest.node_containers().items() if one["Names"][0].endswith("-n2"))

    nest.around.kill(victim)
    nest.nodes_ready("n1", "n3")
    for task in nest.settled("web"):
        assert nest.says(task) == f"hello from {task.id} on {task.node}"

    assert nest.terminate() == 0
    assert not nest.node_containers()
