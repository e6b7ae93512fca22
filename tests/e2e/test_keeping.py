"""What was asked is what runs, on the real engine, whatever ends, goes or does not fit behind the cluster's back.

A cluster of three nodes that share one engine. Each test wishes for something, lets something happen at the engine or
on the machine, and looks at both sides of the truth: what the cluster says, and what the engine has.
"""

import secrets
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from longshore.model.lifecycle import State
from longshore.model.objects import Availability, Task
from longshore.model.reasons import Reason
from longshore.model.spec import (
    HealthCheck,
    Limits,
    Mode,
    Mount,
    MountKind,
    PlacementRules,
    Port,
    Resources,
    RestartPolicy,
    ServiceSpec,
    UpdateOrder,
    UpdateRules,
)
from longshore.model.views import NodePatch, Phase, ReleaseState
from tests.clusters import NODES, Cluster, eventually, free_port, sleeper
from tests.dockerd import DEMO, DEMO_2

MIB = 1024 * 1024
NODE_NAMES = {f"n{number}" for number in range(1, NODES + 1)}
MISSING = "127.0.0.1:1/longshore/missing:1"
"""Of a registry that refuses connections."""
CHOSEN_FIRST = 30_000
WAITS = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
QUICK_CHECK = HealthCheck(test=("CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/health"), interval_s=0.3)


def put(cluster: Cluster, name: str, spec: ServiceSpec) -> list[Task]:
    """Its tasks, once the service is as wished."""
    cluster.client.put_service(name, spec)
    return cluster.settled(name)


def shell(script: str, **more: object) -> ServiceSpec:
    return sleeper(command=("sh", "-c", script), **more)


def fetch(task: Task) -> tuple[str, str]:
    """What a task answers over HTTP, and which version of the demo image does."""
    with urllib.request.urlopen(f"http://127.0.0.1:{task.ports[0].host}/", timeout=10) as answer:
        return answer.read().decode().strip(), answer.headers["Longshore-Demo"] or "1"


def replaced(cluster: Cluster, victim: Task, others: list[Task]) -> Task:
    """The task that fills the victim's slot, once it does; nothing else may have changed."""

    def look() -> Task:
        now = {task.slot: task for task in cluster.tasks(victim.service)}
        assert victim.slot in now
        assert now[victim.slot].id != victim.id
        assert now[victim.slot].ready
        return now[victim.slot]

    successor = eventually(look)
    cluster.at_rest()
    now = {task.id: task.container_id for task in cluster.tasks(victim.service)}
    assert now == {task.id: task.container_id for task in (*others, successor)}
    assert len(cluster.engine.running(cluster.cluster_id, service=victim.service)) == len(others) + 1
    return successor


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Another program's socket, on every address of this machine. If somebody has the port already, so much the
    better."""
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            foreign.bind(("", port))
            foreign.listen()
        yield


# -- tasks


def test_replicas_answer_over_http(real_cluster: Cluster) -> None:
    spec = sleeper(replicas=3, ports=(Port(container=8080),), health=QUICK_CHECK)
    tasks = put(real_cluster, "web", spec)
    assert {fetch(task)[0] for task in tasks} == {f"hello from {task.id} on {task.node}" for task in tasks}
    assert {task.node for task in tasks} == NODE_NAMES
    assert real_cluster.at_rest()[0].status.phase is Phase.RUNNING


@pytest.mark.parametrize("way", ["kill", "remove", "exit"])
def test_a_container_that_goes_is_replaced_once(real_cluster: Cluster, way: str) -> None:
    tasks = put(real_cluster, "web", shell(f"trap 'exit 7' USR1; {WAITS}", replicas=3))
    victim, *others = tasks
    match way:
        case "kill":
            real_cluster.engine.kill(victim.container_id)
        case "remove":
            real_cluster.engine.remove(victim.container_id)
        case "exit":
            real_cluster.engine.kill(victim.container_id, "USR1")
    successor = replaced(real_cluster, victim, others)
    assert successor.attempt <= 1
    ended = real_cluster.client.task(victim.id)
    assert ended.state is State.FAILED
    # Who removes by force kills first, and that may be seen.
    wanted = {"kill": [(Reason.EXITED, 137)], "exit": [(Reason.EXITED, 7)]}
    gone = [(Reason.CONTAINER_GONE, None), (Reason.EXITED, 137)]
    assert (ended.reason, ended.exit_code) in wanted.get(way, gone)
    assert f"{successor.id} took its place" in real_cluster.did("why", victim.id)


def test_memory_over_the_limit_is_told(real_cluster: Cluster) -> None:
    greedy = shell(
        "x=x; while :; do x=$x$x; done", limits=Limits(memory=16 * MIB), restart=RestartPolicy(attempts_max=0)
    )
    real_cluster.client.put_service("greedy", greedy)
    task = real_cluster.ended_task("greedy.1.1")
    assert (task.state, task.reason) == (State.FAILED, Reason.OOM_KILLED)
    said = real_cluster.did("why", "greedy")
    assert "ran out of memory" in said
    assert f"limit of {16 * MIB} bytes" in said
    assert real_cluster.client.service("greedy").status.phase is Phase.FAILED


def test_a_crash_loop_backs_off(real_cluster: Cluster) -> None:
    real_cluster.client.put_service("crash", shell("exit 3"))
    eventually(lambda: any(task.attempt == 3 for task in real_cluster.client.tasks(service="crash")))
    tasks = sorted(real_cluster.client.tasks(service="crash"), key=lambda task: task.generation)
    waits = {
        after.attempt: after.created_at - before.finished_at
        for before, after in pairwise(tasks)
        if before.finished_at is not None
    }
    assert waits[2] >= 1.0
    assert waits[3] >= 2.0
    assert waits.get(1, 0.0) < waits[2]
    status = real_cluster.client.service("crash").status
    assert status.phase is Phase.DEGRADED
    assert "exit code 3" in status.message


def test_a_job_runs_to_its_end_and_no_further(real_cluster: Cluster) -> None:
    put(real_cluster, "job", shell("echo done", mode=Mode.JOB, replicas=3))
    real_cluster.at_rest()
    tasks = list(real_cluster.client.tasks(service="job"))
    assert sorted(task.id for task in tasks) == ["job.1.1", "job.2.1", "job.3.1"]
    assert {(task.state, task.exit_code) for task in tasks} == {(State.FINISHED, 0)}
    assert real_cluster.client.service("job").status.phase is Phase.COMPLETE


# -- nodes


def test_a_global_service_is_on_every_node_that_may_have_it(real_cluster: Cluster) -> None:
    everywhere = sleeper(mode=Mode.GLOBAL)
    assert {task.node for task in put(real_cluster, "agent", everywhere)} == NODE_NAMES
    real_cluster.did("node", "label", "n2", "disk=ssd")
    chosen = sleeper(mode=Mode.GLOBAL, placement=PlacementRules(constraints=("node.labels.disk==ssd",)))
    assert [task.node for task in put(real_cluster, "ssd", chosen)] == ["n2"]
    before = {task.node: task.container_id for task in real_cluster.tasks("agent")}
    real_cluster.did("node", "label", "n3", "disk=ssd")
    eventually(lambda: {task.node for task in real_cluster.tasks("ssd")} == {"n2", "n3"})
    real_cluster.did("node", "drain", "n1")
    eventually(lambda: {task.node for task in real_cluster.tasks("agent")} == {"n2", "n3"})
    real_cluster.at_rest()
    assert {task.node: task.container_id for task in real_cluster.tasks("agent")}.items() <= before.items()


def test_nodes_are_drained_paused_and_taken_back(real_cluster: Cluster) -> None:
    put(real_cluster, "web", sleeper(replicas=3))
    kept = {task.container_id for task in real_cluster.tasks("web") if task.node != "n1"}

    real_cluster.did("node", "drain", "n1")
    eventually(lambda: not any(task.node == "n1" for task in real_cluster.tasks("web")))
    assert kept < {task.container_id for task in real_cluster.settled("web")}
    assert real_cluster.engine.running(real_cluster.cluster_id, node="n1") == []

    real_cluster.did("node", "pause", "n2")
    on_n2 = {task.container_id for task in real_cluster.tasks("web") if task.node == "n2"}
    real_cluster.client.scale("web", 6)
    tasks = real_cluster.settled("web")
    assert {task.container_id for task in tasks if task.node == "n2"} == on_n2
    assert {task.node for task in tasks} == {"n2", "n3"}

    for node in ("n1", "n2"):
        real_cluster.did("node", "activate", node)
    assert {node.availability for node in real_cluster.client.nodes()} == {Availability.ACTIVE}
    real_cluster.client.scale("web", 9)
    assert {task.node for task in real_cluster.settled("web")} == NODE_NAMES
    real_cluster.at_rest()


def test_what_fits_nowhere_says_why_and_starts_when_it_fits(real_cluster: Cluster) -> None:
    share = min(node.capacity.cpu for node in real_cluster.client.nodes())
    most = Resources(cpu=round(share * 0.6, 3))
    put(real_cluster, "big", sleeper(replicas=3, resources=most))
    real_cluster.client.put_service("late", sleeper(resources=most))
    eventually(lambda: real_cluster.client.task("late.1.1").reason is Reason.NO_NODE)
    assert "not enough cpu (n1, n2, n3)" in real_cluster.did("why", "late")
    assert "not enough cpu (n1, n2, n3)" in real_cluster.client.service("late").status.message
    real_cluster.did("node", "drain", "n3")
    story = real_cluster.did("why", "late")
    assert "not enough cpu (n1, n2)" in story
    assert "node is paused or drained (n3)" in story
    real_cluster.did("node", "activate", "n3")
    real_cluster.client.scale("big", 2)
    (task,) = real_cluster.settled("late")
    assert task.id == "late.1.1"
    real_cluster.at_rest()


# -- ports and images


def test_a_port_that_another_program_holds_is_named(real_cluster: Cluster) -> None:
    port = free_port()
    with listening(port):
        spec = sleeper(ports=(Port(container=8080, host=port),), restart=RestartPolicy(attempts_max=0))
        real_cluster.client.put_service("fixed", spec)
        task = real_cluster.ended_task("fixed.1.1")
        assert (task.state, task.reason) == (State.REJECTED, Reason.PORT_TAKEN)
        said = real_cluster.did("why", "fixed")
    assert "host port taken by another program" in said
    assert f":{port}" in said


def test_another_port_is_chosen_for_one_that_is_taken(real_cluster: Cluster) -> None:
    with listening(CHOSEN_FIRST):
        tasks = put(real_cluster, "chosen", sleeper(replicas=2, ports=(Port(container=8080),)))
        ports = {task.ports[0].host for task in tasks}
        assert len(ports) == 2
        assert CHOSEN_FIRST not in ports
        assert all(fetch(task)[0].startswith(f"hello from {task.id}") for task in tasks)
        assert {task.attempt for task in tasks} == {0}
        story = [event for event in real_cluster.client.story(service="chosen") if event.reason is Reason.PORT_TAKEN]
        assert f":{CHOSEN_FIRST}" in story[0].message


def test_an_image_that_does_not_exist_fails_in_the_engines_words(real_cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        f"services: {{gone: {{image: '{MISSING}', deploy: {{restart_policy: {{max_attempts: 1}}}}}}}}\nname: bad\n"
    )
    ran = real_cluster.run("up", "-f", file)
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    assert "image not available" in ran.stdout
    assert "connection refused" in ran.stdout
    assert "Failed." in ran.stderr
    real_cluster.client.put_service("gone", sleeper(image="longshore/demo:none"), app="bad")
    eventually(lambda: "No such image: longshore/demo:none" in real_cluster.client.service("gone").status.message)


# -- what a service is made of


def test_a_removed_service_leaves_its_named_volume_alone(real_cluster: Cluster) -> None:
    volume = real_cluster.volume("kept")
    data = Mount(kind=MountKind.VOLUME, source=volume, target="/data")
    put(real_cluster, "db", shell("echo kept > /data/file; exec /serve", mounts=(data,)))
    eventually(lambda: real_cluster.engine.running(real_cluster.cluster_id, service="db"))
    assert "db removed" in real_cluster.did("rm", "db", "--wait")
    assert real_cluster.engine.containers(real_cluster.cluster_id) == []
    assert volume in real_cluster.engine.volumes()
    put(real_cluster, "reader", shell("cat /data/file", mode=Mode.JOB, mounts=(data,)))
    assert real_cluster.did("logs", "reader") == "reader.1 | kept\n"


@pytest.mark.parametrize(
    ("order", "least", "steps"),
    [
        (UpdateOrder.START_FIRST, 3, ["stands by", "ready"]),
        (UpdateOrder.STOP_FIRST, 2, ["stop", "ready"]),
    ],
)
def test_an_update_rolls_one_by_one(real_cluster: Cluster, order: UpdateOrder, least: int, steps: list[str]) -> None:
    rules = UpdateRules(order=order, monitor_s=0.2)
    spec = sleeper(replicas=3, ports=(Port(container=8080),), health=QUICK_CHECK, update=rules)
    assert {fetch(task)[1] for task in put(real_cluster, "web", spec)} == {"1"}
    marks = {
        Reason.STANDS_BY: "stands by",
        Reason.OUTDATED: "stop",
        Reason.HEALTHY: "ready",
    }
    before = len(list(real_cluster.client.story(service="web")))
    fewest = 3

    def rolled() -> bool:
        nonlocal fewest
        status = real_cluster.client.service("web").status
        fewest = min(fewest, status.ready)
        return status.settled and status.updated == 3

    real_cluster.client.put_service("web", sleeper(**_fields(spec) | {"image": DEMO_2}))
    eventually(rolled, "all three run the new image")
    assert fewest == least
    story = list(real_cluster.client.story(service="web"))[before:]
    told = [marks[event.reason] for event in story if event.reason in marks]
    assert told == steps * 3
    assert {fetch(task)[1] for task in real_cluster.tasks("web")} == {"2"}
    real_cluster.at_rest()
    eventually(lambda: real_cluster.client.releases("web")[0].state is ReleaseState.DONE)


def test_a_bad_release_is_taken_back(real_cluster: Cluster) -> None:
    spec = sleeper(replicas=10, ports=(Port(container=8080),), update=UpdateRules(monitor_s=2.0))
    tasks = put(real_cluster, "web", spec)
    eventually(lambda: real_cluster.client.releases("web")[0].state is ReleaseState.DONE)
    fewest = 10

    def back() -> bool:
        nonlocal fewest
        fewest = min(fewest, real_cluster.client.service("web").status.ready)
        newest = real_cluster.client.releases("web")[0]
        return newest.state is ReleaseState.FAILED and real_cluster.client.service("web").status.settled

    bad = sleeper(**_fields(spec) | {"command": ("sh", "-c", "exit 3")})
    real_cluster.client.put_service("web", bad)
    eventually(back, "release 2 failed, and all is as before")
    assert fewest == 10
    assert {task.id for task in real_cluster.tasks("web")} == {task.id for task in tasks}, "none was touched"
    failed, good = real_cluster.client.releases("web")
    assert (good.current, good.rolls_back) == (True, 2)
    assert "exit code 3" in failed.message
    real_cluster.at_rest()


def test_a_drained_node_gives_up_its_one_replica_without_a_gap(real_cluster: Cluster) -> None:
    (task,) = put(real_cluster, "web", sleeper(ports=(Port(container=8080),)))
    fewest = 1

    def moved() -> bool:
        nonlocal fewest
        status = real_cluster.client.service("web").status
        fewest = min(fewest, status.ready)
        return status.settled and real_cluster.tasks("web")[0].node != task.node

    real_cluster.client.change_node(task.node, NodePatch(availability=Availability.DRAINED))
    eventually(moved, f"it left {task.node}")
    assert fewest == 1


def _fields(spec: ServiceSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


def test_containers_are_hardened_unless_asked_otherwise(real_cluster: Cluster) -> None:
    (plain,) = put(real_cluster, "plain", ServiceSpec(image=DEMO))
    made = real_cluster.engine.inspect(plain.container_id)["HostConfig"]
    assert made["SecurityOpt"] == ["no-new-privileges"]
    assert made["PidsLimit"] == 512
    assert made["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": str(10 * MIB)}}
    assert made["RestartPolicy"]["Name"] in ("", "no")
    assert not made["Privileged"]
    asked = sleeper(
        user="1000:1000",
        read_only=True,
        cap_drop=("ALL",),
        cap_add=("NET_BIND_SERVICE",),
        limits=Limits(cpu=0.5, memory=64 * MIB, pids=20),
    )
    (strict,) = put(real_cluster, "strict", asked)
    told = real_cluster.engine.inspect(strict.container_id)
    made = told["HostConfig"]
    assert told["Config"]["User"] == "1000:1000"
    assert made["ReadonlyRootfs"]
    assert [name.removeprefix("CAP_") for name in made["CapDrop"]] == ["ALL"]
    assert [name.removeprefix("CAP_") for name in made["CapAdd"]] == ["NET_BIND_SERVICE"]
    assert (made["NanoCpus"], made["Memory"], made["MemorySwap"]) == (500_000_000, 64 * MIB, 64 * MIB)
    assert made["PidsLimit"] == 20


def test_logs_of_all_replicas_are_told_apart(real_cluster: Cluster) -> None:
    put(real_cluster, "talk", shell("echo I am $LONGSHORE_TASK on $LONGSHORE_NODE; exec /serve", replicas=3))
    tasks = real_cluster.tasks("talk")
    wanted = sorted(f"talk.{task.slot} | I am {task.id} on {task.node}" for task in tasks)
    eventually(lambda: sorted(real_cluster.did("logs", "talk").splitlines()) == wanted)


COMPOSE = """
name: {app}
services:
  full:
    image: longshore/demo:1
    pull_policy: never
    command: ["sh", "-c", "id -u; pwd; hostname; echo $$FROM_FILE $$FROM_BOTH; cat /bound/file; df -k /scratch | tail -1
      | awk '{{print $$2}}'; touch /named/mark && exec /serve"]
    env_file: [vars.env]
    environment: {{FROM_BOTH: "${{WHICH:-inline}}"}}
    user: "0"
    working_dir: /www
    hostname: fullhost
    labels: {{team: blue}}
    stop_signal: SIGINT
    stop_grace_period: 3s
    read_only: true
    cap_drop: [NET_RAW]
    volumes:
      - "data:/named"
      - "./bound:/bound:ro"
    tmpfs: ["/scratch:size=1m"]
    healthcheck: {{test: ["CMD", "test", "-e", "/named/mark"], interval: 300ms, retries: 20}}
    deploy: {{replicas: 1, resources: {{limits: {{memory: 32m, pids: 40}}}}}}
volumes:
  data: {{name: {volume}}}
"""


def test_a_compose_file_comes_to_the_container_whole(real_cluster: Cluster, tmp_path: Path) -> None:
    volume = real_cluster.volume("compose")
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound" / "file").write_text("bound content\n")
    (tmp_path / "vars.env").write_text("FROM_FILE=file\nFROM_BOTH=file\n")
    (tmp_path / "compose.yaml").write_text(COMPOSE.format(app="whole", volume=volume))
    said = real_cluster.did("up", cwd=tmp_path)
    assert "Done: full 1/1 ready" in said
    assert "Nothing to change." in real_cluster.did("up", cwd=tmp_path)
    lines = [line.partition(" | ")[2] for line in real_cluster.did("logs", "full").splitlines()]
    assert lines == ["0", "/www", "fullhost", "file inline", "bound content", "1024"]
    told = real_cluster.engine.inspect(real_cluster.tasks("full")[0].container_id)
    assert told["Config"]["Labels"]["team"] == "blue"
    assert told["Config"]["StopSignal"] == "SIGINT"
    assert told["HostConfig"]["ReadonlyRootfs"]
    assert {(mount["Type"], mount["Destination"], mount["RW"]) for mount in told["Mounts"]} >= {
        ("volume", "/named", True),
        ("bind", "/bound", False),
    }
    assert "whole" in real_cluster.did("down", cwd=tmp_path)
    assert real_cluster.engine.containers(real_cluster.cluster_id) == []
    assert volume in real_cluster.engine.volumes()


def test_what_the_image_exposes_is_published_where_asked(real_cluster: Cluster) -> None:
    image = f"longshore/exposing:{secrets.token_hex(4)}"
    (maker,) = put(real_cluster, "maker", sleeper())
    name, _, tag = image.rpartition(":")
    real_cluster.engine.ask(
        "POST", "/commit", {"container": maker.container_id, "repo": name, "tag": tag, "changes": "EXPOSE 8080"}
    )
    try:
        (task,) = put(real_cluster, "open", sleeper(image=image, publish_exposed=True))
        (port,) = [one for one in task.exposed if ":" not in one.ip]
        assert (port.container, task.ports) == (8080, ())
        with urllib.request.urlopen(f"http://127.0.0.1:{port.host}/", timeout=10) as answer:
            assert b"hello from" in answer.read()
        (named,) = put(real_cluster, "named", sleeper(image=image, publish_exposed=True, ports=(Port(container=8080),)))
        assert [one.container for one in named.ports] == [8080]
        assert named.exposed == (), "what placement gave is not told twice"
        (closed,) = put(real_cluster, "closed", sleeper(image=image))
        assert closed.exposed == ()
    finally:
        real_cluster.clear()
        real_cluster.engine.ask("DELETE", f"/images/{image}", {"force": "1"})


# -- the store


def test_a_restored_backup_finds_its_containers(real_cluster: Cluster, tmp_path: Path) -> None:
    backup = tmp_path / "cluster.backup"
    put(real_cluster, "kept", sleeper(replicas=2))
    put(real_cluster, "dropped", sleeper())
    there = {task.id: task.container_id for task in real_cluster.tasks("kept")}
    real_cluster.did("backup", backup)

    put(real_cluster, "later", sleeper())
    real_cluster.did("rm", "dropped", "--wait")
    before = real_cluster.client.cluster()
    ran = real_cluster.run("restore", backup)
    assert (ran.returncode, "in use by another manager" in ran.stderr) == (1, True), ran.stderr
    assert real_cluster.terminate() == 0
    assert "restored" in real_cluster.did("restore", backup)

    real_cluster.start()
    names = [view.name for view in real_cluster.at_rest()]
    assert names == ["dropped", "kept"]
    assert {task.id: task.container_id for task in real_cluster.tasks("kept")} == there
    after = real_cluster.client.cluster()
    assert after.id == before.id
    assert after.revision > before.revision


def test_a_stopped_cluster_finds_its_containers(real_cluster: Cluster) -> None:
    tasks = put(real_cluster, "kept", sleeper(replicas=3))
    assert real_cluster.terminate() == 0
    real_cluster.engine.kill(tasks[0].container_id)
    assert len(real_cluster.engine.running(real_cluster.cluster_id)) == 2
    real_cluster.start()
    replaced(real_cluster, tasks[0], tasks[1:])
