"""Real faults on real engines: three machines, a cable each, requests from outside all the while.

What a world of the simulator claims is shown here once more by kernels, cables and engines that know nothing of it. A
deadline is what a machine with other work may need; `bench recovery` measures how long it takes.
"""

import shutil
import time

import pytest

from longshore.model.lifecycle import State
from longshore.model.objects import Availability, NodeStatus, Task
from longshore.model.reasons import Reason
from longshore.model.spec import HttpProbe, Ingress, PlacementRules, Port, Probe, ServiceSpec, UpdateRules
from longshore.model.views import NodePatch, ReleaseState
from tests.clients import CLIENTS, requests, served
from tests.clusters import eventually, free_port, sleeper
from tests.dockerd import DEMO, DEMO_2
from tests.sites import Site

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="HAProxy is not installed: apt-get install haproxy"
)

REPLICAS = 6
IN_FLIGHT = 2 * CLIENTS
"""Requests that a machine may have been answering when it went."""
GONE_WITHIN_S = 30.0
"""Heartbeat timeout, placement and starts take 6 s on a machine with nothing else to do."""
VICTIM = "n3"
ENTRIES = ("n1", "n2")


def web(listen: int, image: str = DEMO, replicas: int = REPLICAS, **more: object) -> ServiceSpec:
    ready = Probe(http=HttpProbe(port=8080, path="/health"), interval_s=0.2, timeout_s=2.0)
    ports = (Port(container=8080, ingress=Ingress.HTTP, listen=listen),)
    return sleeper(image=image, replicas=replicas, ports=ports, readiness=ready, **more)


def at_entries(site: Site, listen: int) -> bool:
    """Whether both answer."""
    return all(served(listen, site.machines[name].address) for name in ENTRIES)


def taken_back(site: Site) -> bool:
    """Whether what is current now is there because of a failure, and was good."""
    current = next(one for one in site.manager.client.releases("web") if one.current)
    return bool(current.rolls_back) and current.state is ReleaseState.DONE


@pytest.fixture
def listen(site: Site) -> int:
    """The port of two entries."""
    for name in ENTRIES:
        site.manager.did("node", "label", name, "entry=true")
    return free_port()


@pytest.fixture
def entry(site: Site) -> str:
    """The address of an entry that no test takes away."""
    return site.machines["n1"].address


@pytest.fixture
def spread(site: Site, listen: int) -> list[Task]:
    """A service on all machines, which both entries serve."""
    site.manager.client.put_service("web", web(listen))
    tasks = site.at_rest("web")
    assert {task.node for task in tasks} == set(site.machines)
    eventually(lambda: at_entries(site, listen))
    return tasks


def test_a_cable_is_cut(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    machine = site.machines[VICTIM]
    with requests(listen, "cable cut", host=entry, may_fail=IN_FLIGHT):
        began = time.monotonic()
        machine.plug.cut()
        site.elsewhere(VICTIM, "web", REPLICAS, GONE_WITHIN_S)
        print(f"all ran elsewhere after {time.monotonic() - began:.1f} s")
        assert site.running(VICTIM) == sorted(task.id for task in spread if task.node == VICTIM)  # it knows of nothing
    with requests(listen, "cable healed", host=entry):
        machine.plug.heal()
        site.at_rest("web")
    assert not site.running(VICTIM)  # it gave up what had moved


def test_a_machine_crashes_and_returns(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    with requests(listen, "machine crashed", host=entry, may_fail=IN_FLIGHT):
        site.machines["n2"].crash()
        site.elsewhere("n2", "web", REPLICAS, GONE_WITHIN_S)
    with requests(listen, "machine is back", host=entry):
        site.boot("n2")
        site.at_rest("web")
    assert not site.machines["n2"].engine.containers(site.manager.cluster_id)  # the stale ones are removed
    eventually(lambda: at_entries(site, listen))


def test_an_engine_is_killed_and_started(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    """It kills its containers when it comes back, as engines do; away for less than the timeout, nobody is moved."""
    machine = site.machines[VICTIM]
    with requests(listen, "engine killed", host=entry, may_fail=IN_FLIGHT):
        machine.kill_engine()
        machine.start_engine()
        machine.answers()
        site.at_rest("web")


def test_an_engine_hangs(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    """A worker that lives says that its engine does not: the node is as good as silent, its tasks go on serving until
    others do."""
    machine = site.machines[VICTIM]
    with requests(listen, "engine frozen", host=entry):
        machine.freeze_engine()
        site.elsewhere(VICTIM, "web", REPLICAS, 2 * GONE_WITHIN_S)
        assert site.manager.client.node(VICTIM).status is NodeStatus.DOWN
        machine.thaw_engine()
        site.at_rest("web")


def test_a_machine_hangs(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    """It takes connections and answers none, so whoever asked it waits until it is given up."""
    machine = site.machines[VICTIM]
    with requests(listen, "machine frozen", host=entry, may_fail=2 * IN_FLIGHT):
        machine.freeze()
        site.elsewhere(VICTIM, "web", REPLICAS, GONE_WITHIN_S)
    with requests(listen, "machine thawed", host=entry):
        machine.thaw()
        site.at_rest("web")


def test_a_disk_is_full(site: Site, listen: int, entry: str) -> None:
    client, machine = site.manager.client, site.machines[VICTIM]
    there = PlacementRules(constraints=(f"node.name=={VICTIM}",))
    client.put_service("web", web(listen, replicas=2, placement=PlacementRules(constraints=(f"node.name!={VICTIM}",))))
    client.put_service("full", sleeper(placement=there))
    site.at_rest("web", "full")
    eventually(lambda: at_entries(site, listen))
    machine.fill_disk()
    with requests(listen, "disk full", host=entry):
        client.put_service("full", sleeper(placement=there, env={"RELEASE": "2"}))
        eventually(lambda: "no space left" in site.manager.did("why", "full"), within_s=GONE_WITHIN_S)
        client.put_service("web", web(listen, DEMO_2, 2, placement=client.service("web").spec.placement))
        site.manager.settled("web", within_s=GONE_WITHIN_S)
    assert [task.release for task in site.manager.tasks("full")] == [1]  # what ran runs
    machine.free_disk()
    client.put_service("full", sleeper(placement=there, env={"RELEASE": "3"}))
    site.at_rest("web", "full")


def test_the_manager_is_killed_while_a_cable_is_cut(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    with requests(listen, "manager killed, cable cut", host=entry, may_fail=IN_FLIGHT):
        site.manager.kill()
        site.machines[VICTIM].plug.cut()
        site.manager.start()
        site.elsewhere(VICTIM, "web", REPLICAS, GONE_WITHIN_S)
        site.machines[VICTIM].plug.heal()
        site.at_rest("web")


def test_a_manager_that_is_cut_off_evicts_nobody(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    names, words = sorted(site.machines), "evictions are held"
    said = site.manager.said().count(words)
    with requests(listen, "manager cut off", host=entry):
        site.desk.plug.cut()
        # What it makes of that is in its log, as nobody can ask it.
        eventually(lambda: site.manager.said().count(words) > said)
        site.desk.plug.heal()
        site.manager.nodes_ready(*names)
        eventually(lambda: Reason.NODE_HELD not in {one.reason for one in site.manager.client.nodes()})
        site.at_rest("web")
    assert {task.id for task in site.manager.tasks("web")} == {task.id for task in spread}
    assert not [task for task in site.manager.client.tasks() if task.state is State.LOST]


def test_a_cable_that_carries_one_way(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    """The worker's words arrive, the manager's do not."""
    machine = site.machines[VICTIM]
    with requests(listen, "one-way cable", host=entry):
        machine.lose(site.desk.address)
        site.elsewhere(VICTIM, "web", REPLICAS, GONE_WITHIN_S)
        machine.lose_nothing()
        site.at_rest("web")
    assert not site.running(VICTIM)


def test_a_lossy_cable_moves_nobody(site: Site, spread: list[Task], listen: int, entry: str) -> None:
    machine = site.machines[VICTIM]
    with requests(listen, "lossy cable", host=entry) as seen:
        machine.lose(site.desk.address, percent=20)
        machine.lose(site.machines["n1"].address, percent=20)
        enough = len(seen.seconds) + 500
        eventually(lambda: len(seen.seconds) > enough)
        site.manager.client.put_service("web", web(listen, DEMO_2))
        site.manager.settled("web", within_s=2 * GONE_WITHIN_S)
        machine.lose_nothing()
        site.at_rest("web")
    assert not [task for task in site.manager.client.tasks() if task.state is State.LOST]


def test_one_replica_is_updated_and_drained_with_no_request_lost(site: Site, listen: int, entry: str) -> None:
    client = site.manager.client
    client.put_service("web", web(listen, replicas=1))
    site.at_rest("web")
    eventually(lambda: at_entries(site, listen))
    with requests(listen, "one replica: update", host=entry) as seen:
        client.put_service("web", web(listen, DEMO_2, 1))
        site.at_rest("web")
        eventually(lambda: {one.release for one in site.manager.tasks("web")} == {2})
    assert seen.versions == {"1", "2"}
    before = site.manager.tasks("web")[0]
    with requests(listen, "one replica: drain", host=entry):
        client.change_node(before.node, NodePatch(availability=Availability.DRAINED))
        eventually(lambda: not site.running(before.node))
        after = site.at_rest("web")[0]
    assert after.node != before.node


def test_a_bad_release_of_ten_is_taken_back_with_no_request_lost(site: Site, listen: int, entry: str) -> None:
    client, rules = site.manager.client, UpdateRules(parallelism=4, monitor_s=1.0)
    client.put_service("web", web(listen, replicas=10, update=rules))
    site.at_rest("web")
    # A release that was not done yet is nothing to come back to.
    eventually(lambda: [one.state for one in client.releases("web")] == [ReleaseState.DONE])
    eventually(lambda: at_entries(site, listen))
    with requests(listen, "bad release of ten", host=entry) as seen:
        client.put_service("web", web(listen, DEMO_2, 10, update=rules, command=("/bin/false",)))
        eventually(lambda: taken_back(site), "the bad release is taken back", 2 * GONE_WITHIN_S)
        site.at_rest("web")
    assert seen.versions == {"1"}
    assert Reason.NODE_LOST not in {task.reason for task in client.tasks()}
