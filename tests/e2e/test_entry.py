"""One stable address for a service: whatever happens to its tasks, no request to an entry is lost."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from longshore.model.objects import Availability
from longshore.model.spec import HttpProbe, Ingress, Port, Probe, ServiceSpec
from longshore.model.views import EndpointState, NodePatch
from tests.clients import listens, requests, served
from tests.clusters import Cluster, Fleet, eventually, free_port, sleeper
from tests.dockerd import DEMO, DEMO_2

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is not installed: apt-get install haproxy"
)

READY = Probe(http=HttpProbe(port=8080, path="/health"), interval_s=0.2, timeout_s=2.0)


def web(listen: int, image: str = DEMO, replicas: int = 3, **more: object) -> ServiceSpec:
    ports = (Port(container=8080, ingress=Ingress.HTTP, listen=listen),)
    return sleeper(image=image, replicas=replicas, ports=ports, readiness=READY, **more)


@pytest.fixture
def listen(real_cluster: Cluster) -> int:
    """The port of an entry, which is n1."""
    real_cluster.did("node", "label", "n1", "entry=true")
    return free_port()


@pytest.mark.parametrize("replicas", [3, 1])
def test_no_change_of_tasks_loses_a_request(real_cluster: Cluster, listen: int, replicas: int) -> None:
    client = real_cluster.client
    client.put_service("web", web(listen, replicas=replicas))
    real_cluster.settled("web")
    eventually(lambda: served(listen))
    with requests(listen, f"{replicas}: update") as seen:
        client.put_service("web", web(listen, DEMO_2, replicas))
        real_cluster.settled("web")
        eventually(lambda: {one.release for one in real_cluster.tasks("web")} == {2})
    assert seen.versions == {"1", "2"}
    node = real_cluster.tasks("web")[0].node
    with requests(listen, f"{replicas}: drain"):
        client.change_node(node, NodePatch(availability=Availability.DRAINED))
        eventually(lambda: not [one for one in client.tasks() if one.live and one.node == node])
        real_cluster.settled("web")
    client.change_node(node, NodePatch(availability=Availability.ACTIVE))
    with requests(listen, f"{replicas}: scale up and down"):
        client.scale("web", replicas + 3)
        real_cluster.settled("web")
        client.scale("web", replicas)
        eventually(lambda: len([one for one in client.tasks(service="web") if one.live]) == replicas)
    with requests(listen, f"{replicas}: restart"):
        client.restart("web")
        real_cluster.settled("web")
        eventually(lambda: {one.release for one in real_cluster.tasks("web")} == {3})


def test_a_killed_container_costs_no_request(real_cluster: Cluster, listen: int) -> None:
    real_cluster.client.put_service("web", web(listen))
    victim = real_cluster.settled("web")[0]
    eventually(lambda: served(listen))
    with requests(listen, "kill"):
        real_cluster.engine.kill(victim.container_id, "KILL")
        real_cluster.ended_task(victim.id)
        real_cluster.settled("web")


def test_another_service_costs_no_request(real_cluster: Cluster, listen: int) -> None:
    """A port that comes or goes takes a reload."""
    client, other = real_cluster.client, free_port()
    client.put_service("web", web(listen))
    real_cluster.settled("web")
    eventually(lambda: served(listen))
    with requests(listen, "reloads"):
        for _ in range(3):
            client.put_service("api", web(other, replicas=1))
            eventually(lambda: served(other))
            client.remove_service("api")
            eventually(lambda: not listens(other))


def test_endpoints_are_told(real_cluster: Cluster, listen: int) -> None:
    real_cluster.client.put_service("web", web(listen, replicas=2))
    tasks = {one.id: one for one in real_cluster.settled("web")}
    found = list(real_cluster.client.endpoints("web"))
    assert {one.task for one in found} == set(tasks)
    for one in found:
        assert (one.listen, one.state, one.node) == (listen, EndpointState.READY, tasks[one.task].node)
        assert one.port == tasks[one.task].ports[0].host
    assert str(listen) in real_cluster.did("endpoints", "web")


@pytest.fixture
def pid_file(fleet: Fleet) -> Iterator[Path]:
    """Of n1's HAProxy, which outlives its worker, but not the test."""
    path = fleet.folder / "n1" / "entry.pid"
    yield path
    for worker in fleet.workers.values():
        worker.stop()  # one that lives would start it again
    if pid := pid_in(path):
        os.kill(pid, signal.SIGTERM)


def pid_in(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


def test_an_entry_outlives_its_worker(fleet: Fleet, pid_file: Path) -> None:
    """Killed and started again, the worker finds HAProxy; killed HAProxy is started again."""
    fleet.start("n1", timeout_s=60.0)  # a worker that takes long to start is not to be taken for dead
    manager, listen = fleet.manager, free_port()
    manager.did("node", "label", "n1", "entry=true")
    manager.client.put_service("web", web(listen, replicas=1))
    manager.settled("web")
    eventually(lambda: served(listen))
    pid = pid_in(pid_file)
    with requests(listen, "worker killed and started again"):
        fleet.workers["n1"].kill()
        fleet.workers["n1"].spawn()
        eventually(lambda: "entry found running" in fleet.workers["n1"].said())
        manager.client.scale("web", 2)
        eventually(lambda: len(list(manager.client.endpoints("web"))) == 2)
    assert pid_in(pid_file) == pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pid_in(pid_file) not in (0, pid) and served(listen))
    manager.did("node", "label", "n1", "entry-")
    eventually(lambda: not listens(listen) and not pid_file.exists())
