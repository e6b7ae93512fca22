"""The command lines of older orchestrators: every spelling of their flags, their variables, their columns."""

import os
import shlex
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

import longshore.main  # noqa: F401  (adds the commands that serve)
from longshore.cli import root
from longshore.cli.group import Command, Settings
from longshore.main import cube, folder
from longshore.main.commands import manager_settings, worker_settings
from longshore.model.placing import Taint, TaintEffect
from longshore.model.retention import Retention
from tests.tables.talking import Talking, answer, refusal, talking

ID = "bb1d59ef-9fc1-4e4b-a44d-db571eeed203"
NO_TIME = "0001-01-01T00:00:00Z"
GONE = b"HTTP/1.1 204 Said\r\n\r\n"
SERVERS = ("manager", "worker", "dev", "cube manager", "cube worker")


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("LONGSHORE_", "CUBE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LONGSHORE_DATA", str(tmp_path / "own"))


def found(words: list[str]) -> tuple[Command, list[str]]:
    """The command that a line calls, and what is left of the line."""
    group: click.Command = root
    rest = list(words)
    while isinstance(group, click.Group):
        name = rest.pop(0)
        inner = group.get_command(click.Context(group), name)
        assert inner is not None, name
        group = inner
    assert isinstance(group, Command)
    return group, rest


def parsed(line: str) -> dict[str, Any]:
    """What a line says, without what it leaves to the defaults."""
    command, rest = found(shlex.split(line))
    context = command.make_context(command.name, rest)
    default = click.core.ParameterSource.DEFAULT
    return {key: value for key, value in context.params.items() if context.get_parameter_source(key) is not default}


def whole(line: str) -> dict[str, Any]:
    command, rest = found(shlex.split(line))
    params = command.make_context(command.name, rest).params
    return {key: value for key, value in params.items() if not key.startswith("log_")}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "manager -p 8080 -st persisted -sct epvm -w worker1:80 -w worker2:80",
            {"port": 8080, "store_type": "persisted", "scheduler": "epvm", "workers": ("worker1:80", "worker2:80")},
        ),
        ("worker -n worker1 -p 80 -st persisted", {"name": "worker1", "port": 80, "store_type": "persisted"}),
        ("client --host managerhost -p 8080", {"host": "managerhost", "port": 8080}),
        ("client --host http://managerhost list", {"host": "http://managerhost", "words": ("list",)}),
        ("manager -st=memory", {"store_type": "memory"}),
        ("manager --storeType=memory", {"store_type": "memory"}),
        ("manager --storeType persisted", {"store_type": "persisted"}),
        ("manager -d persistent", {"store_type": "persistent"}),
        ("manager --dbType persistent", {"store_type": "persistent"}),
        ("worker --dbtype memory", {"store_type": "memory"}),
        ("manager -s roundrobin -st memory", {"scheduler": "roundrobin", "store_type": "memory"}),
        ("manager -sroundrobin", {"scheduler": "roundrobin"}),
        ("manager -sct roundrobin", {"scheduler": "roundrobin"}),
        ("manager --schedulerType greedy", {"scheduler": "greedy"}),
        ("manager -s default", {"scheduler": "first-fit"}),
        ("manager --scheduler firstfit", {"scheduler": "first-fit"}),
        ("manager -w a:1,b:2 -w c:3", {"workers": ("a:1", "b:2", "c:3")}),
        ("manager --worker 'a:1, b:2,'", {"workers": ("a:1", "b:2")}),
        ("manager --logLevel debug", {"log_level": "debug"}),
        ("worker --logLevel error --no-auth", {"log_level": "error", "no_auth": True}),
        ("dev --no-compat -st memory -s greedy", {"no_compat": True, "store_type": "memory", "scheduler": "greedy"}),
        (
            "cube manager --host 127.0.0.1 -p 5555 --workers a:1,b:2 --workers c:3 --scheduler greedy --dbType memory",
            {"host": "127.0.0.1", "port": 5555, "workers": ("a:1", "b:2", "c:3"), "scheduler": "greedy", "store_type": "memory"},
        ),
        ("cube worker -H ::1 -p 5557 -n w1 --dbtype persistent", {"host": "::1", "port": 5557, "name": "w1", "store_type": "persistent"}),
        ("cube run -m manager1:5555 -f task1.json", {"manager": "manager1:5555", "filename": "task1.json"}),
        ("cube run --manager manager1 --filename a", {"manager": "manager1", "filename": "a"}),
        ("cube stop -m manager1 a b", {"manager": "manager1", "ids": ("a", "b")}),
    ],
)  # fmt: skip
def test_lines_that_people_know(line: str, said: dict[str, Any]) -> None:
    assert {key: value for key, value in parsed(line).items() if value != ()} == said


def test_defaults() -> None:
    assert whole("cube manager") == {
        "host": "127.0.0.1",
        "port": 5555,
        "workers": ("localhost:5556",),
        "scheduler": "epvm",
        "store_type": None,
        "heartbeat_timeout": 5.0,
        "no_auth": False,
        "no_compat": False,
    }
    assert {key: whole("cube worker")[key] for key in ("host", "port", "name")} == {
        "host": "127.0.0.1",
        "port": 5556,
        "name": "",
    }
    assert (whole("manager")["port"], whole("worker")["port"], whole("manager")["workers"]) == (7440, 7441, ())


@pytest.mark.parametrize(
    "line", ["manager -st disk", "manager -s best", "cube manager -p x", "worker -s spread", "cube stop"]
)
def test_what_is_refused(line: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(line)


CUBE = {"CUBE_HOST": "127.0.0.2", "CUBE_PORT": "52"}
OF_MANAGER = {"CUBE_MANAGER_HOST": "127.0.0.3", "CUBE_MANAGER_PORT": "53"}
OF_WORKER = {"CUBE_WORKER_HOST": "127.0.0.4", "CUBE_WORKER_PORT": "54"}


@pytest.mark.parametrize(
    ("line", "env", "where"),
    [
        ("manager", CUBE, ("127.0.0.2", 52)),
        ("manager", CUBE | OF_MANAGER | OF_WORKER, ("127.0.0.3", 53)),
        ("manager", {"CUBE_MANAGER_HOST": "", **CUBE}, ("127.0.0.2", 52)),
        ("manager -p 99", CUBE | OF_MANAGER, ("127.0.0.3", 99)),
        ("manager -H ::1 -p 99", CUBE | OF_MANAGER, ("::1", 99)),
        ("manager", OF_WORKER, ("127.0.0.1", 7440)),
        ("cube manager", CUBE | OF_MANAGER, ("127.0.0.3", 53)),
        ("cube manager", {}, ("127.0.0.1", 5555)),
        ("worker", CUBE | OF_MANAGER | OF_WORKER, ("127.0.0.4", 54)),
        ("worker", CUBE | OF_MANAGER, ("127.0.0.2", 52)),
        ("cube worker", OF_WORKER, ("127.0.0.4", 54)),
        ("dev", CUBE | OF_MANAGER | OF_WORKER, ("127.0.0.3", 53)),
        ("dev", {}, ("127.0.0.1", 7440)),
    ],
)
def test_where_servers_listen(
    line: str, env: dict[str, str], where: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    params = whole(line)
    assert (params["host"], params["port"]) == where


def test_a_variable_that_is_no_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBE_MANAGER_PORT", "many")
    with pytest.raises(click.BadParameter, match="many"):
        parsed("manager")


# -- what the flags come to


@pytest.mark.parametrize(
    ("line", "store"),
    [
        ("manager", ""),
        ("manager -st memory", "memory"),
        ("manager -st persisted", ""),
        ("manager -d persistent", ""),
        ("manager --store memory", "memory"),
        ("manager --store sqlite:///a", "sqlite:///a"),
        ("cube manager -d memory", "memory"),
        ("cube manager", ""),
        ("dev -st memory", "memory"),
    ],
)
def test_stores(line: str, store: str) -> None:
    said = {key: value for key, value in whole(line).items() if key not in ("nodes", "engine", "entry")}
    assert manager_settings(Settings(), **said).store == store


def test_what_is_kept_is_what_is_kept_without_a_word() -> None:
    assert manager_settings(Settings(), **whole("manager")).kept == Retention()
    said = whole("manager --keep-tasks 5 --keep-releases 2 --keep-postings 7 --keep-jobs 60 --keep-events 5000")
    settings = manager_settings(Settings(), **said)
    assert settings.kept == Retention(tasks=5, releases=2, postings=7, jobs_s=60.0)
    assert settings.keep_events == 5000


def test_two_stores_are_one_too_many() -> None:
    with pytest.raises(click.UsageError, match="--store and -st"):
        manager_settings(Settings(), **whole("manager --store memory -st persisted"))


def test_other_apis_and_tokens_can_be_left_out(tmp_path: Path) -> None:
    plain = manager_settings(Settings(), **whole("manager"))
    assert (plain.compat, plain.auth, plain.folder) == (True, True, tmp_path / "own")
    bare = manager_settings(Settings(), **whole("manager --no-compat --no-auth"))
    assert (bare.compat, bare.auth) == (False, False)
    worker = worker_settings(Settings(), **(whole("worker --no-auth -st memory --label a=b") | {"name": "w"}))
    assert (worker.auth, worker.store, worker.labels) == (False, "memory", {"a": "b"})
    assert worker_settings(Settings(), **(whole("worker") | {"name": "w"})).auth


def test_what_a_node_has_and_is_kept_off_it() -> None:
    line = "worker --taint dedicated=db:NoSchedule --taint old:NoExecute --resource gpu=2 --resource licences=3"
    worker = worker_settings(Settings(), **(whole(line) | {"name": "w"}))
    old = Taint(key="old", effect=TaintEffect.NO_EXECUTE)
    assert worker.taints == (Taint(key="dedicated", value="db"), old)
    assert worker.resources == {"gpu": ("0", "1"), "licences": 3}


def test_a_policy_may_be_weights() -> None:
    assert whole("manager --scheduler spread=2.0,image=1")["scheduler"] == "spread=2,image=1"
    with pytest.raises(click.BadParameter, match="'speed=1' is no weight of a policy"):
        whole("manager --scheduler speed=1")


def test_a_worker_keeps_the_name_that_was_made_up(tmp_path: Path) -> None:
    first, second = cube._remembered_name(tmp_path), cube._remembered_name(tmp_path)
    assert first != second
    assert first.startswith("worker-")
    folder.identity(tmp_path, first)
    assert cube._remembered_name(tmp_path) == first


def test_whoever_comes_first_makes_the_workers_token(tmp_path: Path) -> None:
    path = tmp_path / "worker.token"
    made = folder.workers_token(path)
    assert made.startswith("lsw_")
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.workers_token(path) == made


def test_several_workers_of_one_folder_keep_apart(tmp_path: Path) -> None:
    assert folder.place_of_worker(tmp_path, "w1") == tmp_path
    folder.identity(tmp_path, "w1")
    assert folder.place_of_worker(tmp_path, "w1") == tmp_path
    assert folder.place_of_worker(tmp_path, "w2") == tmp_path / "workers" / "w2"


# -- asking


def invoke(manager: Talking, *words: str) -> Result:
    return CliRunner().invoke(root, ["cube", words[0], "-m", manager.url.removeprefix("http://"), *words[1:]])


def test_run_posts_an_event_as_it_is(tmp_path: Path) -> None:
    event = f'{{"ID": "a7aa1d44-08f6-443e-9378-f5884311019e", "State": 2, "Task": {{"State": 1, "ID": "{ID}", "Name": "echo"}}}}'
    path = tmp_path / "task.json"
    path.write_text(event)
    with talking([answer({}, 201)], [refusal(400, "no")]) as manager:
        ran = invoke(manager, "run", "-f", str(path))
        assert (ran.exit_code, ran.stdout) == (0, f"[OK] 'echo' is accepted as {ID}\n")
        assert manager.heard[0].body.decode() == event
        assert invoke(manager, "run", "-f", str(path)).exit_code == 2


def test_run_takes_task_json_and_says_if_it_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with talking() as manager:
        ran = invoke(manager, "run")
    assert (ran.exit_code, ran.stderr) == (2, "[ERROR] there is no file task.json\n")


def test_stop_asks_for_all_and_ends_with_the_worst() -> None:
    with talking([answer(b"", 404), GONE]) as manager:
        ran = invoke(manager, "stop", "x", ID)
    assert (ran.exit_code, ran.stdout) == (4, f"[OK] the end of {ID} is asked for\n")
    assert [one.target for one in manager.heard] == ["/tasks/x", f"/tasks/{ID}"]


def test_status_has_cubes_columns() -> None:
    tasks = [
        {"ID": ID, "Name": "echo", "State": 2, "StartTime": "2020-01-31T12:00:00.123456789Z", "Image": "e:1"},
        {"ID": "task-1", "Name": "", "State": 9, "StartTime": NO_TIME, "Image": ""},
    ]
    with talking([answer(tasks)], [answer([])], [answer(tasks)]) as manager:
        ran = invoke(manager, "status")
        headings, first, second = ran.stdout.splitlines()
        assert ran.exit_code == 0
        assert headings.split() == ["ID", "NAME", "CREATED", "STATE", "CONTAINERNAME", "IMAGE"]
        assert first.split()[:2] + first.split()[3:] == [ID, "echo", "ago", "Running", "echo", "e:1"]
        assert second.split() == ["task-1", "-", "-", "state", "9", "-", "-"]
        assert invoke(manager, "status").stdout.split() == headings.split()
        assert [one["ID"] for one in msgspec.json.decode(invoke(manager, "status", "--json").stdout)] == [ID, "task-1"]


def test_node_has_cubes_columns() -> None:
    node = {"Name": "localhost:5556", "Memory": 8 * 1024**2, "Disk": 500 * 1024**3, "Role": "worker", "TaskCount": 2}
    with talking([answer([node])], [answer([node])]) as manager:
        assert invoke(manager, "node").stdout.splitlines() == [
            "NAME            MEMORY (MiB)  DISK (GiB)  ROLE    TASKS",
            "localhost:5556  8192          500         worker  2",
        ]
        assert msgspec.json.decode(invoke(manager, "node", "--json").stdout)[0]["Memory"] == 8 * 1024**2


def test_nobody_answers_at_the_usual_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with talking() as manager:
        where = manager.url
    monkeypatch.setenv("CUBE_MANAGER_PORT", where.rpartition(":")[2])
    ran = CliRunner().invoke(root, ["cube", "status"])
    assert ran.exit_code == 6
    assert f"nobody answers at {where}" in ran.stderr


@pytest.mark.parametrize("words", SERVERS)
def test_servers_show_how_they_are_used(words: str) -> None:
    command, _ = found(words.split())
    shown = CliRunner().invoke(root, [*words.split(), "--help"])
    assert shown.exit_code == 0
    assert command.examples
    for example in command.examples:
        assert f"  {example}\n" in shown.output
        parsed(example.removeprefix("longshore "))
