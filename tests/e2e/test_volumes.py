"""Volumes are state, on machines with an engine and a disk each: a slot waits for the one that has what it wrote.

The service writes a line into its volume each time that it starts, and says how many there are: 1 is an empty volume.
"""

from longshore.model.lifecycle import State
from longshore.model.objects import Task
from longshore.model.reasons import Reason
from longshore.model.spec import Mount, MountKind, RestartPolicy, ServiceSpec
from tests.clusters import eventually, sleeper
from tests.sites import Site

LIVES = "echo alive >> /data/lives; wc -l < /data/lives; trap 'exit 0' TERM; while :; do sleep 0.1; done"


def db(volume: str, **more: object) -> ServiceSpec:
    mounts = (Mount(kind=MountKind.VOLUME, source=volume, target="/data"),)
    return sleeper(command=("sh", "-c", LIVES), mounts=mounts, restart=RestartPolicy(delay_s=0.0), **more)


def lives(site: Site, task: Task) -> str:
    """How many starts its volume has seen, as its log tells."""
    return eventually(lambda: site.manager.did("logs", task.id).split()[-1])


def started(site: Site, volume: str, **more: object) -> Task:
    site.manager.client.put_service("db", db(volume, **more))
    (task,) = site.at_rest("db")
    assert lives(site, task) == "1"
    return task


def test_a_slot_waits_for_its_volume(site: Site) -> None:
    volume = site.manager.volume("waits")
    first = started(site, volume)
    site.machine_of(first).crash()
    waits = eventually(lambda: [one for one in site.manager.tasks("db") if one.reason is Reason.NO_NODE])[0]
    said = site.manager.did("why", "db")
    assert f"volume {volume} is on {first.node}" in said
    assert f"longshore volume forget db.1.{volume}" in said
    assert f"node is down: {first.node}" in said
    assert not [one for one in site.manager.client.tasks(service="db") if one.node not in ("", first.node)]
    site.boot(first.node)
    (again,) = site.at_rest("db")
    assert (again.node, again.id) == (first.node, waits.id)
    assert lives(site, again) == "2"


def test_a_volume_is_forgotten(site: Site) -> None:
    volume = site.manager.volume("forgotten")
    first = started(site, volume)
    refused = site.manager.run("volume", "forget", f"db.1.{volume}")
    assert refused.returncode == 5
    assert f"{first.id} has volume db.1.{volume} on {first.node}" in refused.stderr
    site.machine_of(first).plug.cut()
    eventually(lambda: site.manager.client.task(first.id).state is State.LOST)
    site.manager.did("volume", "forget", f"db.1.{volume}")
    elsewhere = eventually(lambda: [one for one in site.manager.tasks("db") if one.ready])[0]
    assert elsewhere.node != first.node
    assert lives(site, elsewhere) == "1"
    site.machine_of(first).plug.heal()
    assert site.at_rest("db") == [elsewhere]


def test_a_drained_machine_stops_what_it_keeps(site: Site) -> None:
    """To wait for a replacement would be to wait for ever; back in service, it goes on where it was."""
    volume = site.manager.volume("drained")
    first = started(site, volume)
    site.manager.did("node", "drain", first.node, "--wait", "--timeout", "30s")
    assert "node is paused or drained" in site.manager.did("why", "db")
    site.manager.did("node", "activate", first.node)
    (again,) = site.at_rest("db")
    assert (again.node, lives(site, again)) == (first.node, "2")


def test_a_service_made_anew_finds_its_volume(site: Site) -> None:
    volume = site.manager.volume("kept")
    first = started(site, volume)
    site.manager.did("rm", "db", "--wait")
    (line,) = [one for one in site.manager.did("volume", "ls").splitlines() if volume in one]
    assert line.split()[:3] == [f"db.1.{volume}", volume, first.node]
    site.manager.client.put_service("db", db(volume))
    (again,) = site.at_rest("db")
    assert (again.node, lives(site, again)) == (first.node, "2")


def test_a_volume_is_where_the_user_says(site: Site) -> None:
    volume = site.manager.volume("brought")
    first = started(site, volume)
    other = min(name for name in site.machines if name != first.node)
    site.manager.did("scale", "db=0", "--wait")
    site.manager.did("volume", "place", f"db.1.{volume}", other)
    site.manager.did("scale", "db=1", "--wait")
    (again,) = site.at_rest("db")
    assert (again.node, lives(site, again)) == (other, "1")
