"""The client of tasks one by one: its words, where it asks, what it answers, and how it ends; over real sockets."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from longshore.cli import keyboard, root
from longshore.cli.group import Settings
from longshore.cli.prompt import find_target, follow
from longshore.cli.words import WORDS, Desk
from longshore.client import Target, url_of
from longshore.client.postings import Postings
from longshore.model.errors import Denied, Failure, Invalid
from longshore.model.views import Problem
from tests.tables.talking import HANG_UP, Talking, answer, refusal, talking

ID = "bb1d59ef-9fc1-4e4b-a44d-db571eeed203"
OTHER = "21b23589-5d2d-4731-b5c9-a97e9832d021"
NO_TIME = "0001-01-01T00:00:00Z"
CREATED = answer({}, 201)
GONE = b"HTTP/1.1 204 Said\r\n\r\n"


def told(id: str = ID, **fields: Any) -> dict[str, Any]:
    return {
        "ID": id,
        "Id": id,
        "Name": "a",
        "State": 2,
        "Status": "running",
        "Image": "nginx:1",
        "Node": "n1",
        **fields,
    }


def short(status: int, message: str) -> bytes:
    return answer({"HTTPStatusCode": status, "Message": f"{message}\n"}, status)


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("LONGSHORE_", "CUBE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LONGSHORE_DATA", str(tmp_path / "nothing"))


def invoke(manager: Talking, *words: str, input: str | None = None) -> Result:
    return CliRunner().invoke(root, ["client", "--host", manager.url, *words], input=input)


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    path = tmp_path / "tasks.json"
    path.write_text(f'[{{"ID": "{ID}", "Name": "a", "Image": "x"}}, {{"ID": "{OTHER}", "Name": "b", "Image": "y"}}]')
    return str(path)


# -- one line


def test_start_posts_one_by_one(tasks: str) -> None:
    with talking([CREATED, CREATED]) as manager:
        ran = invoke(manager, "start", tasks)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == f"[OK] 'a' is accepted as {ID}\n[OK] 'b' is accepted as {OTHER}\n"
    assert [(one.method, one.target) for one in manager.heard] == [("POST", "/tasks")] * 2
    assert [msgspec.json.decode(one.body)["Task"]["Name"] for one in manager.heard] == ["a", "b"]
    assert "Authorization" not in manager.heard[0].headers


@pytest.mark.parametrize(
    ("said", "code", "reason"),
    [
        (short(400, "unknown field"), 2, "unknown field"),
        (refusal(409, "not again"), 5, "not again"),
        (answer({}, 200), 1, "answered 200 where a task that it takes is answered with 201"),
        (answer(b"boom", 500), 1, "answered 500: boom"),
        (answer(b"", 404), 4, "has no /tasks; a manager that was started with --no-compat"),
    ],
)
def test_a_task_that_is_not_taken_does_not_stop_the_next(tasks: str, said: bytes, code: int, reason: str) -> None:
    with talking([said, CREATED]) as manager:
        ran = invoke(manager, "start", tasks)
    assert ran.exit_code == code
    assert ran.stderr.startswith("[ERROR] 'a': ")
    assert reason in ran.stderr
    assert ran.stdout == f"[OK] 'b' is accepted as {OTHER}\n"


@pytest.mark.parametrize(("said", "code"), [(refusal(401, "who?"), 7), (refusal(503, "no store"), 6), (HANG_UP, 6)])
def test_what_cannot_get_better_is_not_tried_again(tasks: str, said: bytes, code: int) -> None:
    with talking([said]) as manager:
        ran = invoke(manager, "start", tasks)
    assert (ran.exit_code, ran.stdout, len(manager.heard)) == (code, "", 1)
    assert ran.stderr.splitlines()[-1] == "[ERROR] not sent: 'b'"


def test_start_in_json(tasks: str) -> None:
    with talking([CREATED, short(400, "no")]) as manager:
        ran = invoke(manager, "start", tasks, "--json")
    first, second = msgspec.json.decode(ran.stdout)
    assert (ran.exit_code, ran.stderr) == (2, "")
    assert first == {"id": ID, "name": "a", "problem": None}
    assert (second["id"], second["problem"]["status"], second["problem"]["detail"]) == (OTHER, 400, "no")


def test_list() -> None:
    failed = told(OTHER, Name="b", State=4, Reason="no such image", Node="")
    with talking([answer([told(), failed])]) as manager:
        ran = invoke(manager, "list")
    assert (ran.exit_code, ran.stderr) == (0, "")
    sign, headings, first, second = ran.stdout.splitlines()
    assert sign == "[OK] 2 tasks"
    assert headings.split() == ["ID", "NAME", "STATE", "NODE", "IMAGE", "REASON"]
    assert first.split() == [ID, "a", "Running", "n1", "nginx:1", "-"]
    assert second.split() == [OTHER, "b", "Failed", "-", "nginx:1", "no", "such", "image"]
    assert headings.index("STATE") == first.index("Running") == second.index("Failed")


@pytest.mark.parametrize("said", [b"null", b"[]", b" null\n"])
def test_an_empty_list_in_either_spelling(said: bytes) -> None:
    with talking([answer(said), answer(said)]) as manager:
        assert invoke(manager, "list").stdout == "[OK] 0 tasks\n"
        assert manager.connections == 1
    with talking([answer(said)]) as manager:
        assert invoke(manager, "list-nodes", "--json").stdout == "[]\n"


def test_a_manager_that_spells_ids_otherwise() -> None:
    with talking([answer([{"Id": ID, "Name": "a", "State": 1, "ExposedPorts": {"80/tcp": {}}}])]) as manager:
        assert f"{ID}  a     Scheduled" in invoke(manager, "list").stdout


def test_get() -> None:
    ports = {"80/tcp": [{"HostIp": "10.0.0.1", "HostPort": "30001"}], "81/tcp": None}
    record = told(HostPorts=ports, Memory=64 * 1024**2, StartTime="2026-01-31T12:00:00Z", FinishTime=NO_TIME)
    with talking([answer(record)], [answer(record)], [answer(b"", 404)]) as manager:
        ran = invoke(manager, "get", ID)
        assert ran.exit_code == 0
        assert ran.stdout.splitlines()[0] == "[OK] a"
        assert {line.split()[0]: line.split(maxsplit=1)[1] for line in ran.stdout.splitlines()[1:]} == {
            "id": ID,
            "state": "Running",
            "node": "n1",
            "image": "nginx:1",
            "memory": "64.0 MiB",
            "ports": "10.0.0.1:30001 -> 80/tcp",
            "started": "2026-01-31T12:00:00Z",
        }
        assert msgspec.json.decode(invoke(manager, "get", ID, "--json").stdout)["HostPorts"] == ports
        missing = invoke(manager, "get", "../nodes")
        assert missing.exit_code == 4
        assert missing.stderr == f"[ERROR] there is no task ../nodes at {manager.url}\n"
        assert manager.heard[-1].target == "/tasks/..%2Fnodes"


def test_stop() -> None:
    with talking([GONE], [short(400, "not an id")], [GONE]) as manager:
        ran = invoke(manager, "stop", ID)
        assert (ran.exit_code, ran.stdout) == (0, f"[OK] the end of {ID} is asked for\n")
        assert (manager.heard[0].method, manager.heard[0].target) == ("DELETE", f"/tasks/{ID}")
        assert (invoke(manager, "stop", "x").exit_code, invoke(manager, "stop", ID, "--json").stdout) == (
            2,
            f'{{\n  "stopping": "{ID}"\n}}\n',
        )


def test_list_nodes() -> None:
    record = {"Name": "n1", "Ip": "", "Api": "http://n1:80", "Healthy": False, "Status": "offline", "Role": "worker"}
    record |= {"Memory": 2097152, "MemoryAllocated": 1024, "Disk": 1024**3, "TaskCount": 3, "Stats": {"x": 1}}
    with talking([answer([record])]) as manager:
        ran = invoke(manager, "list-nodes")
    assert ran.exit_code == 0
    assert ran.stdout.splitlines()[0] == "[OK] 1 node"
    row = "n1    offline  worker  3      1.0 MiB/2.0 GiB  0 B/1.0 GiB  http://n1:80"
    assert ran.stdout.splitlines()[2] == row


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["start"], "start expects 1 word behind it (FILE), got 0"),
        (["start", "a", "b"], "start expects 1 word behind it (FILE), got 2"),
        (["list", "a"], "list expects 0 words behind it, got 1"),
        (["get"], "get expects 1 word behind it (ID), got 0"),
        (["remove", "a"], "'remove' is none of start, stop, get, list, list-nodes"),
        (["start", "gone.json"], "there is no file gone.json"),
    ],
)
def test_wrong_words_are_told_and_nobody_is_asked(line: list[str], said: str) -> None:
    with talking() as manager:
        ran = invoke(manager, *line)
        assert (ran.exit_code, ran.stdout, ran.stderr) == (2, "", f"[ERROR] {said}\n")
        in_json = invoke(manager, *line, "--json")
        assert msgspec.json.decode(in_json.stderr, type=Problem).detail == said
        assert manager.connections == 0


def test_nobody_there() -> None:
    with talking() as manager:
        url = manager.url
    ran = CliRunner().invoke(root, ["client", "--host", url, "list"])
    assert ran.exit_code == 6
    assert "nobody answers at" in ran.stderr


def test_foreign_words_do_not_reach_the_terminal() -> None:
    with talking([answer([told(Name="\x1b[31mred", Reason="a\nb")])], [short(400, "\x1b[2J")]) as manager:
        assert "\x1b" not in invoke(manager, "list").stdout
        assert "\x1b" not in invoke(manager, "stop", "x").stderr


# -- many lines


def test_a_pipe_of_lines_ends_with_the_worst(tasks: str) -> None:
    lines = f"# first\n\nlist\nget gone\n  stop {ID} \nget 'open\nstart\nexit\nlist\n"
    with talking([answer([told()]), answer(b"", 404), GONE]) as manager:
        ran = invoke(manager, input=lines)
    assert ran.exit_code == 4
    assert ran.stdout.splitlines()[0] == "[OK] 1 task"
    assert ran.stdout.splitlines()[-1] == f"[OK] the end of {ID} is asked for"
    assert [line.split(":")[0] for line in ran.stderr.splitlines()] == [
        f"[ERROR] there is no task gone at {manager.url}".split(":")[0],
        "[ERROR] a quote is not closed",
        "[ERROR] start expects 1 word behind it (FILE), got 0",
    ]
    assert [one.method for one in manager.heard] == ["GET", "GET", "DELETE"]
    assert ">" not in ran.stdout


def test_a_pipe_that_is_empty_or_asks_for_help() -> None:
    with talking() as manager:
        assert invoke(manager, input="").exit_code == 0
        shown = invoke(manager, input="help\nquit")
    assert shown.exit_code == 0
    for words in ("start FILE", "stop ID", "get ID", "list-nodes", "exit, quit"):
        assert words in shown.stdout


def test_a_line_alone_can_be_in_json() -> None:
    with talking([answer([]), answer([])]) as manager:
        assert invoke(manager, input="list --json\nlist\n").stdout == "[]\n[OK] 0 tasks\n"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PipeInput]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        yield pipe


def test_a_prompt_goes_on_after_failures_and_keeps_lines(
    keys: PipeInput, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "state" / "longshore" / "client.history"
    history.parent.mkdir(parents=True)
    history.touch(mode=0o644)
    keys.send_text("nonsense\rhalf a line\x03list\r\x04")
    with talking([answer([told()])]) as manager, Postings(manager.url) as postings:
        assert follow(Desk(postings, False), keyboard.typed_lines(list(WORDS), list)) == 2
    out, err = capsys.readouterr()
    assert "'nonsense' is none of" in err
    assert out.startswith("[OK] 1 task\n")
    assert [line[1:] for line in history.read_text().splitlines() if line.startswith("+")] == ["nonsense", "list"]
    assert history.stat().st_mode & 0o777 == 0o600


def test_the_prompt_ends_with_a_word(keys: PipeInput, tmp_path: Path) -> None:
    keys.send_text("quit\rlist\r")
    with talking() as manager, Postings(manager.url) as postings:
        assert follow(Desk(postings, False), keyboard.typed_lines(list(WORDS), list)) == 0
        assert manager.connections == 0


def test_where_lines_cannot_be_kept_they_are_not(
    keys: PipeInput, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    keys.send_text("list\r")
    assert next(keyboard.typed_lines(list(WORDS), list)) == "list"
    assert "lines are not remembered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env", "where"),
    [
        ({"XDG_STATE_HOME": "/s"}, "/s/longshore/client.history"),
        ({"XDG_STATE_HOME": "relative"}, ".local/state/longshore/client.history"),
        ({}, ".local/state/longshore/client.history"),
    ],
)
def test_where_lines_are_kept(env: dict[str, str], where: str) -> None:
    assert keyboard.history_file(env) == Path.home() / where


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["start", "stop", "get", "list", "list-nodes"]),
        ("st", ["start", "stop"]),
        ("list", ["list", "list-nodes"]),
        ("stop ", ["a1", "a2", "b1"]),
        ("get a", ["a1", "a2"]),
        ("get  b", ["b1"]),
        ("list a", []),
        ("nonsense a", []),
    ],
)
def test_completion(typed: str, offered: list[str]) -> None:
    completer = keyboard.LineCompleter(list(WORDS), lambda: ["b1", "a2", "a1"], lambda: 0.0)
    found = list(completer.get_completions(Document(typed, len(typed)), CompleteEvent()))
    assert [one.text for one in found] == offered


def test_files_are_completed(tmp_path: Path) -> None:
    (tmp_path / "tasks.json").touch()
    typed = f"start {tmp_path}/ta"
    completer = keyboard.LineCompleter(list(WORDS), list)
    assert [one.text for one in completer.get_completions(Document(typed, len(typed)), CompleteEvent())] == ["sks.json"]


def test_ids_are_asked_for_once_in_a_while() -> None:
    asked, now = [], [0.0]

    def ids() -> list[str]:
        asked.append(now[0])
        return ["a1"]

    completer = keyboard.LineCompleter([], ids, lambda: now[0])
    for at in (0.0, 1.0, 3.0, 3.5, 9.0):
        now[0] = at
        list(completer.get_completions(Document("get ", 4), CompleteEvent()))
    assert asked == [0.0, 3.5, 9.0]


def test_a_shell_completes_words_and_files() -> None:
    shell = ShellComplete(root, {}, "longshore", "_X")
    assert [one.value for one in shell.get_completions(["client"], "st")] == ["start", "stop"]
    assert [one.type for one in shell.get_completions(["client", "start"], "t")] == ["file"]
    assert shell.get_completions(["client", "get"], "t") == []


_AND_MODULES = """
import sys
from longshore.cli import root
try:
    root()
finally:
    print(*sys.modules)
"""


@pytest.mark.parametrize("words", [["list"], []])
def test_only_a_person_waits_for_the_prompt(words: list[str]) -> None:
    with talking([answer([])]) as manager:
        ran = subprocess.run(
            [sys.executable, "-c", _AND_MODULES, "client", "--host", manager.url, *words],
            input="list\n",
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ran.stdout.startswith("[OK] 0 tasks\n"), ran.stderr
    imported = {name.split(".")[0] for name in ran.stdout.splitlines()[-1].split()}
    assert not imported & {"prompt_toolkit", "rich", "aiohttp", "asyncio", "numpy"}


# -- where it asks


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("managerhost", 8080, "http://managerhost:8080"),
        ("10.0.0.1", 8080, "http://10.0.0.1:8080"),
        ("10.0.0.1:5555", 8080, "http://10.0.0.1:5555"),
        ("localhost:5555", 8080, "http://localhost:5555"),
        ("http://a:1", 8080, "http://a:1"),
        ("https://a", 8080, "https://a"),
        ("http://a/behind/", 8080, "http://a/behind"),
        ("::1", 8080, "http://[::1]:8080"),
        ("[::1]", 8080, "http://[::1]:8080"),
        ("[::1]:5555", 8080, "http://[::1]:5555"),
        ("0.0.0.0", 8080, "http://127.0.0.1:8080"),  # noqa: S104  (what people copy from where it listens)
    ],
)
def test_addresses(host: str, port: int, url: str) -> None:
    assert url_of(host, port) == url


@pytest.mark.parametrize("host", ["", "ftp://a", "http://", "a:b:c:1/x?y"])
def test_what_is_no_address(host: str) -> None:
    with pytest.raises(Invalid):
        url_of(host, 80)


CUBE = {"CUBE_HOST": "127.0.0.2", "CUBE_PORT": "52"}
CUBE_MANAGER = {"CUBE_MANAGER_HOST": "127.0.0.3", "CUBE_MANAGER_PORT": "53"}
URL = {"LONGSHORE_URL": "http://127.0.0.4:54"}


@pytest.mark.parametrize(
    ("env", "host", "port", "url"),
    [
        ({}, None, None, "127.0.0.1:7440"),
        ({}, "127.0.0.9", None, "127.0.0.9:7440"),
        ({}, None, 99, "127.0.0.1:99"),
        ({}, "127.0.0.9", 99, "127.0.0.9:99"),
        (CUBE, None, None, "127.0.0.2:52"),
        (CUBE_MANAGER | CUBE, None, None, "127.0.0.3:53"),
        ({"CUBE_MANAGER_HOST": "", **CUBE}, None, None, "127.0.0.2:52"),
        ({"CUBE_HOST": "127.0.0.2"}, None, None, "127.0.0.2:7440"),
        ({"CUBE_PORT": "52"}, None, None, "127.0.0.1:52"),
        (CUBE, None, 99, "127.0.0.2:99"),
        (CUBE, "127.0.0.9", None, "127.0.0.9:52"),
        (CUBE | URL, None, None, "127.0.0.4:54"),
        (CUBE | URL, "127.0.0.9", 99, "127.0.0.9:99"),
    ],
)
def test_who_is_asked(
    env: dict[str, str], host: str | None, port: int | None, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert find_target(Settings(), host, port, 7440).url == f"http://{url}"


def test_the_data_folder_that_is_named_goes_before_foreign_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "manager.json").write_text('{"url": "http://127.0.0.5:55"}')
    (tmp_path / "admin.token").write_text("secret")
    monkeypatch.setenv("CUBE_HOST", "127.0.0.2")
    settings = Settings()
    settings.data = str(tmp_path)
    assert find_target(settings, None, None, 7440) == Target("http://127.0.0.5:55", "secret")
    assert find_target(settings, "127.0.0.9", None, 7440) == Target("http://127.0.0.9:7440", "secret")


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "٣"])
def test_a_variable_that_is_no_port(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBE_PORT", port)
    with pytest.raises(Invalid, match="in CUBE_MANAGER_PORT or CUBE_PORT is not a port"):
        find_target(Settings(), None, None, 7440)


def test_another_machine_is_not_asked_without_a_token() -> None:
    ran = CliRunner().invoke(root, ["client", "--host", "managerhost", "-p", "8080"])
    assert ran.exit_code == 7
    assert "no token for http://managerhost:8080" in ran.stderr


def test_the_token_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGSHORE_TOKEN", "open-sesame")
    with talking([answer([])]) as manager:
        assert invoke(manager, "list").exit_code == 0
        assert manager.heard[0].headers["Authorization"] == "Bearer open-sesame"


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, b'{"HTTPStatusCode":400,"Message":"bad\\n"}', Invalid, "bad"),
        (400, b'{"HttpStatusCode":400,"Message":"bad"}', Invalid, "bad"),
        (401, b'{"HTTPStatusCode":401,"Message":"who"}', Denied, "who; give --token-file FILE or set LONGSHORE_TOKEN"),
        (400, b'{"title":"Bad","status":400,"detail":"long"}', Invalid, "long"),
        (400, b"Invalid request payload\n", Invalid, "Invalid request payload"),
    ],
)
def test_errors_in_either_form(status: int, body: bytes, kind: type[Failure], said: str) -> None:
    with (
        talking([answer(body, status)]) as manager,
        Postings(manager.url) as postings,
        pytest.raises(kind) as caught,
    ):
        postings.post(b"{}")
    assert caught.value.message == said
