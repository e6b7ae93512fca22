"""Rebalancing with processes on the real engine: a machine joins late and gets its share, and no request is lost."""

import json
import os
import signal

import pytest

from longshore.cli.exits import FAILED
from longshore.model.objects import NodeStatus
from longshore.model.spec import PlacementRules
from longshore.model.views import ReleaseState
from tests.clients import requests, served
from tests.clusters import Fleet, ManagerProcess, eventually, free_port
from tests.e2e.test_entry import pid_file, web

__all__ = ["pid_file"]

pytestmark = pytest.mark.usefixtures("pid_file")
ALONE_S = 60.0
"""A worker that takes long to start beside all that is not to be taken for dead."""

SILENT_S = 20.0


def counts(manager: ManagerProcess, *services: str) -> dict[str, int]:
    """Tasks by node."""
    nodes = [task.node for name in services for task in manager.tasks(name)]
    return {node: nodes.count(node) for node in sorted(set(nodes))}


def done(manager: ManagerProcess, *services: str) -> None:
    """Wait until they are at rest: nothing is moved of what is not."""
    manager.settled(*services)
    eventually(lambda: all(manager.client.releases(name)[0].state is ReleaseState.DONE for name in services))


def join(fleet: Fleet, name: str) -> None:
    fleet.add_worker(name).spawn()
    ready = {node.name for node in fleet.manager.client.nodes() if node.status is NodeStatus.READY}
    fleet.manager.nodes_ready(*ready, name)


def test_a_node_that_joins_late_gets_its_share_and_no_request_is_lost(fleet: Fleet) -> None:
    fleet.start("n1", "n2", timeout_s=ALONE_S)
    manager, listens = fleet.manager, {"web": free_port(), "one": free_port()}
    manager.did("node", "label", "n1", "entry=true")
    manager.client.put_service("web", web(listens["web"], replicas=4))
    done(manager, "web")
    manager.client.put_service("one", web(listens["one"], replicas=1))
    done(manager, "one")
    eventually(lambda: all(served(port) for port in listens.values()))
    join(fleet, "n3")
    before = {task.id for task in manager.tasks()}
    planned = json.loads(manager.did("rebalance", "--plan", "--json"))["plan"]
    assert {task.id for task in manager.tasks()} == before
    assert [move["target"] for move in planned["moves"]] == ["n3"]
    with requests(listens["web"], "web: rebalance"), requests(listens["one"], "one: rebalance"):
        told = manager.did("rebalance")
    assert "1 of 1 task moved" in told
    assert counts(manager, "web", "one") == {"n1": 2, "n2": 2, "n3": 1}
    assert "Nothing to move" in manager.did("rebalance")
    manager.check_engine()


def test_a_service_of_one_replica_is_moved_without_a_lost_request(fleet: Fleet) -> None:
    fleet.start("n1", timeout_s=ALONE_S)
    manager, listen = fleet.manager, free_port()
    manager.did("node", "label", "n1", "entry=true")
    manager.client.put_service("one", web(listen, replicas=1))
    manager.client.put_service("other", web(free_port(), replicas=1))
    done(manager, "one", "other")
    eventually(lambda: served(listen))
    join(fleet, "n2")
    with requests(listen, "one of one moved"):
        manager.did("rebalance")
    assert (counts(manager, "one"), counts(manager, "other")) == ({"n2": 1}, {"n1": 1})


def test_where_the_target_dies_the_task_stays_and_the_command_says_so(fleet: Fleet) -> None:
    """It is frozen, so it is chosen; nothing starts there, and after a while it is down."""
    fleet.start("n1", timeout_s=SILENT_S)
    manager = fleet.manager
    manager.client.put_service("web", web(free_port(), replicas=2))
    done(manager, "web")
    before = {task.id for task in manager.tasks("web")}
    join(fleet, "n2")
    os.kill(fleet.workers["n2"].pid, signal.SIGSTOP)
    try:
        ran = manager.run("rebalance")
    finally:
        fleet.workers["n2"].kill()
    assert ran.returncode == FAILED, (ran.stdout, ran.stderr)
    assert "web.2.1 stays: n2 is down" in ran.stderr
    assert "0 of 1 task moved" in ran.stdout
    assert {task.id for task in manager.tasks("web")} == before


def test_a_service_that_opted_in_is_moved_by_itself(fleet: Fleet) -> None:
    fleet.start("n1", timeout_s=ALONE_S)
    manager = fleet.manager
    manager.client.put_service("web", web(free_port(), replicas=2, placement=PlacementRules(rebalance=True)))
    done(manager, "web")
    join(fleet, "n2")
    eventually(lambda: counts(manager, "web") == {"n1": 1, "n2": 1}, within_s=60.0)
    done(manager, "web")
