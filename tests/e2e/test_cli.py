"""The command line against a whole cluster: what it prints, and that its exit code is the truth.

The cluster (three nodes n1 to n3 on the fake engine) is the fixture `cluster`; tests may share one, so each uses names
of its own and cleans up after itself.
"""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from longshore.model.views import Problem

LONGSHORE = Path(sys.executable).parent / "longshore"
RUNS = "longshore/demo:1"
NOWHERE = "missing:1"
"""The fake engine has no image with such a name."""

Ran = subprocess.CompletedProcess[str]


class Cluster(Protocol):
    @property
    def url(self) -> str: ...

    @property
    def data_dir(self) -> Path: ...

    def run(self, *args: str) -> Ran: ...


@pytest.fixture
def name(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A service's or app's name that no other test has; whatever bears it is removed afterwards."""
    made = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:30].strip("-")
    yield made
    cluster.run("rm", made)
    cluster.run("down", made)


def good(ran: Ran) -> str:
    """Standard output of what went well."""
    assert ran.returncode == 0, (ran.args, ran.returncode, ran.stdout, ran.stderr)
    return ran.stdout


def json_of(ran: Ran) -> Any:
    return msgspec.json.decode(good(ran))


def started(cluster: Cluster, name: str, *more: str) -> None:
    good(cluster.run("run", "--name", name, "--wait", "--steady", "0", *more, RUNS))


def until(cluster: Cluster, *line: str, has: str, within_s: float = 10.0) -> str:
    """Output of a command once it has some text in it."""
    end = time.monotonic() + within_s
    while True:
        ran = cluster.run(*line)
        if has in ran.stdout or time.monotonic() > end:
            assert has in ran.stdout, (line, ran.stdout, ran.stderr)
            return ran.stdout
        time.sleep(0.2)


def compose(folder: Path, text: str) -> str:
    path = folder / "compose.yaml"
    path.write_text(text)
    return str(path)


# -- lists


def test_nodes_are_listed(cluster: Cluster) -> None:
    shown = good(cluster.run("nodes"))
    assert shown.splitlines()[0].startswith("NODE")
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [[f"n{number}", "ready"] for number in (1, 2, 3)]
    assert [node["name"] for node in json_of(cluster.run("nodes", "--json"))] == ["n1", "n2", "n3"]


def test_a_service_from_birth_to_end(cluster: Cluster, name: str) -> None:
    shown = good(cluster.run("run", "--name", name, "--replicas", "3", "--publish", "80", "--wait", RUNS))
    assert f"Done: {name} 3/3 ready" in shown
    assert len(re.findall(r"  http://\S+:\d+\n", shown)) == 3

    tasks = json_of(cluster.run("ps", name, "--json"))
    assert [(task["slot"], task["state"], task["ready"]) for task in tasks] == [
        (at, "running", True) for at in (1, 2, 3)
    ]
    assert {task["node"] for task in tasks} == {"n1", "n2", "n3"}
    rows = good(cluster.run("ps", name)).splitlines()
    assert rows[0].split() == ["TASK", "NODE", "STATE", "AGE", "PORTS", "URL"]
    assert re.search(r"n\d:\d+->80/tcp  http://", rows[1])
    assert re.search(rf"^{name} .* 3/3 +running", good(cluster.run("ls")), re.MULTILINE)

    good(cluster.run("scale", f"{name}=1", "--wait"))
    assert len(json_of(cluster.run("ps", name, "--json"))) == 1
    good(cluster.run("restart", name, "--wait"))
    assert [task["generation"] for task in json_of(cluster.run("ps", name, "--json"))] == [2]
    assert json_of(cluster.run("inspect", name))["status"]["settled"]

    assert f"{name} removed" in good(cluster.run("rm", name, "--wait"))
    assert cluster.run("ps", name).returncode == 4


def test_a_job_runs_to_its_end(cluster: Cluster, name: str) -> None:
    ran = cluster.run("run", "--name", name, "--mode", "job", "--wait", RUNS, "sh", "-c", "echo hello; exit 0")
    assert f"{name} 1/1 finished" in good(ran)
    assert f"{name}.1 | hello" in good(cluster.run("logs", name))
    assert good(cluster.run("ps", name)) == ""
    assert "finished" in good(cluster.run("ps", name, "--all"))


# -- apps


def test_an_app_up_and_down(cluster: Cluster, name: str, tmp_path: Path) -> None:
    one, two = f"{name}-a", f"{name}-b"
    file = compose(tmp_path, f"services: {{{one}: {{image: '{RUNS}'}}, {two}: {{image: '{RUNS}'}}}}")
    up = ("up", "-f", file, "-p", name, "--steady", "0")
    plan = json_of(cluster.run(*up, "--plan", "--json"))
    assert {service["effect"] for service in plan["services"]} == {"create"}
    names = [service["name"] for service in plan["services"]]
    assert cluster.run("inspect", "--kind", "app", name).returncode == 4

    shown = good(cluster.run(*up))
    assert f"+ {names[0]}" in shown
    assert re.search(rf"^{names[0]}\.1\.1 +ready", shown, re.MULTILINE)
    assert "Nothing to change." in good(cluster.run(*up))
    assert json_of(cluster.run(*up, "--json"))["outcome"] == "converged"

    compose(tmp_path, f"services: {{{one}: {{image: '{RUNS}', environment: {{A: b}}}}}}")
    shown = good(cluster.run(*up))
    assert re.search(rf"^~ {names[0]} +update", shown, re.MULTILINE)
    assert re.search(rf"^- {names[1]} +remove", shown, re.MULTILINE)
    assert json_of(cluster.run("inspect", "--kind", "app", name))["services"] == [names[0]]

    assert "removed after" in good(cluster.run("down", name))
    assert cluster.run("ps", names[0]).returncode == 4
    assert cluster.run("down", name).returncode == 4


def test_an_image_that_cannot_be_had_is_failure(cluster: Cluster, name: str, tmp_path: Path) -> None:
    file = compose(
        tmp_path,
        f"services: {{{name}: {{image: '{NOWHERE}', deploy: {{restart_policy: {{max_attempts: 1}}}}}}}}",
    )
    ran = cluster.run("up", "-f", file, "-p", name)
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    assert "image not available" in ran.stdout
    assert "why:" in ran.stdout
    assert "Failed." in ran.stderr


def test_what_crashes_again_and_again_is_not_converged(cluster: Cluster, name: str) -> None:
    crash = ("--timeout", "6", RUNS, "sh", "-c", "echo no database >&2; exit 3")
    ran = cluster.run("run", "--name", name, "--wait", *crash)
    assert ran.returncode == 3, (ran.stdout, ran.stderr)
    assert "    | no database" in ran.stdout
    assert "exit code 3" in ran.stdout
    assert "the cluster goes on" in ran.stderr
    assert f"{name}.1." in good(cluster.run("why", name))


def test_what_fits_nowhere_is_explained(cluster: Cluster, name: str) -> None:
    ran = cluster.run("run", "--name", name, "--memory", "900g", "--wait", "--timeout", "1", "--json", RUNS)
    assert ran.returncode == 3
    told = msgspec.json.decode(ran.stdout)
    assert told["outcome"] == "timed out"
    assert told["trouble"][0]["task"] == f"{name}.1.1"
    assert told["trouble"][0]["refusals"]
    assert "n1, n2, n3" in good(cluster.run("why", f"{name}.1"))


@contextmanager
def going_on(cluster: Cluster, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is interrupted, or the test fails."""
    line = [str(LONGSHORE), "--data", str(cluster.data_dir), *args]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def test_an_interrupt_leaves_the_cluster_at_work(cluster: Cluster, name: str) -> None:
    with going_on(cluster, "run", "--name", name, "--wait", "--memory", "900g", RUNS) as running:
        assert running.stdout is not None
        while "waiting" not in running.stdout.readline():
            pass
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=10)
    assert running.returncode == 130
    assert "The cluster goes on" in said
    assert json_of(cluster.run("inspect", name))["name"] == name


# -- stories


def test_logs_of_all_replicas(cluster: Cluster, name: str) -> None:
    started(cluster, name, "--replicas", "2")
    lines = good(cluster.run("logs", name)).splitlines()
    assert {line.split(" | ")[0] for line in lines} == {f"{name}.1", f"{name}.2"}
    of_one = json_of_lines(cluster.run("logs", f"{name}.2", "--json"))
    assert {line["task"] for line in of_one} == {f"{name}.2.1"}
    assert good(cluster.run("logs", f"{name}.1.1", "--tail", "0")) == ""
    assert cluster.run("logs", "nobody").returncode == 4


def test_logs_are_followed_into_the_next_task(cluster: Cluster, name: str) -> None:
    script = "echo begun; sleep 1; exit 1"
    good(cluster.run("run", "--name", name, RUNS, "sh", "-c", script))
    with going_on(cluster, "logs", "-f", "--json", name) as running:
        assert running.stdout is not None
        seen: set[str] = set()
        while len(seen) < 2:
            seen.add(msgspec.json.decode(running.stdout.readline())["task"])
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 130
    assert {id.rsplit(".", 1)[0] for id in seen} == {f"{name}.1"}


def json_of_lines(ran: Ran) -> list[Any]:
    return [msgspec.json.decode(line) for line in good(ran).splitlines()]


def test_events_are_told_and_followed(cluster: Cluster, name: str) -> None:
    with going_on(cluster, "events", "-f", "--tail", "50", "--service", name, "--json") as running:
        assert running.stdout is not None
        started(cluster, name)
        states: list[str] = []
        while "running" not in states:
            states.append(msgspec.json.decode(running.stdout.readline())["state"])
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 130
    kept = json_of(cluster.run("events", "--service", name, "--json"))
    assert [event["name"] for event in kept if event["state"] == "running"] == [f"{name}.1.1"]
    assert len(good(cluster.run("events", "--service", name, "--tail", "2")).splitlines()) == 3


# -- nodes, tokens, backup


def test_a_node_is_drained_and_taken_back(cluster: Cluster, name: str) -> None:
    started(cluster, name, "--replicas", "3")
    try:
        assert "n2 gives up its tasks" in good(cluster.run("node", "drain", "n2", "--wait"))
        until(cluster, "ls", has=" 3/3 ")
        assert "n2" not in {task["node"] for task in json_of(cluster.run("ps", name, "--json"))}
        assert re.search(r"^n2 +ready, drained", good(cluster.run("nodes")), re.MULTILINE)
    finally:
        good(cluster.run("node", "activate", "n2"))
    assert cluster.run("node", "rm", "n2").returncode == 5
    assert cluster.run("node", "pause", "nowhere").returncode == 4


def test_labels_come_and_go(cluster: Cluster) -> None:
    assert "disk=ssd,zone=a" in good(cluster.run("node", "label", "n3", "zone=a", "disk=ssd"))
    assert json_of(cluster.run("node", "label", "n3", "zone-", "disk-", "--json"))["labels"] == {}


def test_a_token_is_made_and_revoked(cluster: Cluster) -> None:
    made = cluster.run("token", "create", "--uses", "2", "--lifetime", "10m")
    secret = good(made).strip()
    assert len(secret.split()) == 1
    assert secret not in made.stderr
    tokens = json_of(cluster.run("token", "ls", "--json"))
    mine = [token["id"] for token in tokens if token["uses_left"] == 2]
    assert len(mine) == 1
    assert secret not in good(cluster.run("token", "ls"))
    good(cluster.run("token", "rm", mine[0]))
    assert cluster.run("token", "rm", mine[0]).returncode == 4


def test_a_backup_is_a_database(cluster: Cluster, tmp_path: Path) -> None:
    target = tmp_path / "cluster.db"
    assert json_of(cluster.run("backup", str(target), "--json"))["bytes"] == target.stat().st_size
    assert target.read_bytes().startswith(b"SQLite format 3\0")
    assert target.stat().st_mode & 0o077 == 0
    assert cluster.run("backup", str(target)).returncode == 1
    good(cluster.run("backup", "--force", str(target)))


# -- exit codes


def test_a_name_that_is_taken_is_conflict(cluster: Cluster, name: str) -> None:
    good(cluster.run("run", "--name", name, RUNS))
    ran = cluster.run("run", "--name", name, RUNS)
    assert ran.returncode == 5
    assert "give another --name" in ran.stderr


@pytest.mark.parametrize(
    ("line", "code", "status"),
    [
        (["run", "--name", "No_Such_Name", RUNS], 2, 400),
        (["run", RUNS, "--publish", "x"], 2, 400),
        (["up", "-f", "/nowhere/compose.yaml"], 2, 400),
        (["inspect", "nobody"], 4, 404),
        (["why", "nobody"], 4, 404),
        (["scale", "nobody=1"], 4, 404),
        (["ps", "--url", "http://127.0.0.1:1"], 6, 503),
        (["ps", "--url", "http://192.0.2.1:7440"], 7, 401),
    ],
)
def test_every_failure_ends_with_its_code(cluster: Cluster, line: list[str], code: int, status: int) -> None:
    plain = cluster.run(*line)
    assert (plain.returncode, plain.stdout) == (code, "")
    assert "Error: " in plain.stderr
    told = cluster.run(*line[:1], "--json", *line[1:])
    assert (told.returncode, told.stdout) == (code, "")
    assert msgspec.json.decode(told.stderr, type=Problem).status == status


def test_a_wrong_token_is_not_allowed(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("wrong")
    ran = cluster.run("ps", "--url", cluster.url, "--token-file", str(tmp_path / "wrong"))
    assert ran.returncode == 7
    assert "--token-file" in ran.stderr
