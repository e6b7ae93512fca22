"""The command line as a whole: every command's help and options, exit codes, and how little it imports."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from longshore.cli import LazyGroup, root
from longshore.cli.exits import EXIT_OF, exit_of, problem_of
from longshore.cli.group import PLACES, Command, Settings
from longshore.model.errors import Compacted, Denied, Failure, NotFound, Refused, Unavailable
from longshore.model.views import Problem
from tests.tables.talking import answer, refusal, talking

SHARED = {"--url", "--token-file", "--data", "--json"}


def commands() -> Iterator[tuple[str, Command]]:
    """Every command of this package, by the words that call it."""
    context = click.Context(root, info_name="longshore")
    for name in PLACES:
        found = root.get_command(context, name)
        if isinstance(found, click.Group):
            for inner, command in found.commands.items():
                assert isinstance(command, Command), inner
                yield f"{name} {inner}", command
        else:
            assert isinstance(found, Command), name
            yield name, found


COMMANDS = dict(commands())


def family(kind: type[Failure] = Failure) -> Iterator[type[Failure]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith("longshore.model"):
            yield child
            yield from family(child)


def test_every_failure_has_its_exit_code() -> None:
    assert set(EXIT_OF) == set(family())
    assert {kind.__name__: code for kind, code in EXIT_OF.items()} == {
        "Refused": 1,
        "PortTaken": 1,
        "Invalid": 2,
        "NotFound": 4,
        "Conflict": 5,
        "Compacted": 5,
        "Unavailable": 6,
        "Denied": 7,
    }


def test_every_failure_is_a_problem_too() -> None:
    for kind in family():
        problem = problem_of(kind("because"))
        assert problem.detail == "because"
        assert 400 <= problem.status < 600
    assert problem_of(Denied("who")).status == 401
    assert problem_of(Denied("no", known=True)).status == 403
    assert problem_of(Compacted("gone")).status == 410


def test_a_failure_that_is_a_kind_of_another_ends_as_that() -> None:
    class Stricter(Refused):
        pass

    assert exit_of(Stricter("no")) == 1


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_shows_how_it_is_used(words: str) -> None:
    shown = CliRunner().invoke(root, [*words.split(), "--help"])
    assert shown.exit_code == 0, shown.output
    assert COMMANDS[words].examples
    for example in COMMANDS[words].examples:
        assert f"  {example}\n" in shown.output
    for option in SHARED:
        assert option in shown.output
    assert (COMMANDS[words].help or "").strip()


@pytest.mark.parametrize(
    ("words", "example"), [(words, example) for words, command in COMMANDS.items() for example in command.examples]
)
def test_every_example_is_understood(words: str, example: str) -> None:
    plain = example.removeprefix('eval "$(').removesuffix(')"').split(" | ")[0].split(" > ")[0]
    program, *rest = shlex.split(plain)
    assert program == "longshore"
    assert rest[: len(words.split())] == words.split()
    context = COMMANDS[words].make_context(words, rest[len(words.split()) :])
    assert context.params is not None


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_answers_in_json(words: str) -> None:
    assert any("--json" in option.opts for option in COMMANDS[words].params)


@pytest.mark.parametrize("line", [["--url", "http://a", "--json", "ps"], ["ps", "--url", "http://a", "--json"]])
def test_shared_options_stand_anywhere(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def client(settings: Settings) -> None:
        seen.append(settings)
        raise NotFound("enough")

    monkeypatch.setattr(Settings, "client", client)
    assert CliRunner().invoke(root, line).exit_code == 4
    assert (seen[0].url, seen[0].as_json) == ("http://a", True)


def test_the_nearer_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def client(settings: Settings) -> None:
        seen.append(settings.url)
        raise NotFound("enough")

    monkeypatch.setattr(Settings, "client", client)
    CliRunner().invoke(root, ["--url", "http://a", "node", "--url", "http://b", "drain", "n1", "--url", "http://c"])
    CliRunner().invoke(root, ["--url", "http://a", "node", "--url", "http://b", "drain", "n1"])
    assert seen == ["http://c", "http://b"]


@pytest.mark.parametrize(
    "line", [["nonsense"], ["ps", "--nonsense"], ["scale", "web"], ["run"], ["logs", "--tail", "x", "a"]]
)
def test_wrong_use_is_told_in_json_too(line: list[str]) -> None:
    plain = CliRunner().invoke(root, line)
    assert plain.exit_code == 2
    assert "Usage:" in plain.stderr
    told = CliRunner().invoke(root, [*line, "--json"])
    assert told.exit_code == 2
    assert msgspec.json.decode(told.stderr, type=Problem).status == 400
    assert told.stdout == ""


def test_failures_are_told_where_they_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(settings: Settings) -> None:
        raise Unavailable("nobody there")

    monkeypatch.setattr(Settings, "client", client)
    plain = CliRunner().invoke(root, ["ls"])
    assert (plain.exit_code, plain.stdout, plain.stderr) == (6, "", "Error: nobody there\n")
    told = CliRunner().invoke(root, ["ls", "--json"])
    assert (told.exit_code, told.stdout) == (6, "")
    assert msgspec.json.decode(told.stderr, type=Problem).detail == "nobody there"


def test_an_interrupt_ends_as_shells_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(settings: Settings) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Settings, "client", client)
    assert CliRunner().invoke(root, ["ls"]).exit_code == 130


def test_a_bug_crashes(monkeypatch: pytest.MonkeyPatch) -> None:
    def client(settings: Settings) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Settings, "client", client)
    assert isinstance(CliRunner().invoke(root, ["ls"]).exception, ZeroDivisionError)


def test_the_version() -> None:
    assert CliRunner().invoke(root, ["--version"]).stdout.startswith("longshore 0.")


@pytest.mark.parametrize(
    ("words", "image", "command"),
    [
        (["busybox"], "busybox", ()),
        (["busybox", "--name", "a", "sleep", "5"], "busybox", ("sleep", "5")),
        (["--name", "a", "busybox", "sh", "-c", "exit 1"], "busybox", ("sh", "-c", "exit 1")),
        (["--name=a", "-p80", "busybox", "sh", "-ec", "x"], "busybox", ("sh", "-ec", "x")),
        (["--wait", "busybox", "--no-wait", "ls", "-p", "8080"], "busybox", ("ls", "-p", "8080")),
        (["busybox", "--", "curl", "--json", "{}"], "busybox", ("curl", "--json", "{}")),
        (["busybox", "echo", "--", "--", "x"], "busybox", ("echo", "--", "--", "x")),
    ],
)
def test_the_containers_command_is_left_alone(words: list[str], image: str, command: tuple[str, ...]) -> None:
    context = COMMANDS["run"].make_context("run", words)
    assert (context.params["image"], context.params["words"]) == (image, command)


def test_an_option_behind_the_containers_command_is_a_mistake() -> None:
    with pytest.raises(click.UsageError, match="--name stands after the command"):
        COMMANDS["run"].make_context("run", ["busybox", "sleep", "5", "--name", "a"])


def test_others_may_add_commands() -> None:
    group = LazyGroup("test")
    group.add_lazy("late", "longshore.cli.services:ls")
    context = click.Context(group)
    assert group.list_commands(context) == ["late"]
    assert not group.commands
    found = group.get_command(context, "late")
    assert found is not None
    assert found.name == "ls"


def test_a_list_in_words_and_in_json(tmp_path: Path) -> None:
    page: dict[str, object] = {"items": [], "next": None}
    with talking([answer(page)], [answer(page)], [refusal(403, "not yours")]) as manager:
        line = ["--url", manager.url, "--data", str(tmp_path)]
        plain = CliRunner().invoke(root, [*line, "ls"])
        assert (plain.exit_code, plain.stdout) == (0, "")
        assert "No services" in plain.stderr
        told = CliRunner().invoke(root, [*line, "ls", "--json"])
        assert (told.exit_code, told.stdout, told.stderr) == (0, "[]\n", "")
        assert CliRunner().invoke(root, [*line, "ls"]).exit_code == 7


HEAVY = {
    "rich",
    "prompt_toolkit",
    "yaml",
    "numpy",
    "aiohttp",
    "asyncio",
    "requests",
    "psutil",
    "structlog",
    "prometheus_client",
}


_AND_MODULES = """
import sys
from longshore.cli import root
try:
    root()
finally:
    print(*sys.modules)
"""


def test_ps_starts_fast(tmp_path: Path) -> None:
    """What it imports is counted, because time on a busy machine says nothing."""
    page: dict[str, object] = {"items": [], "next": None}
    with talking([answer(page)]) as manager:
        ran = subprocess.run(
            [sys.executable, "-c", _AND_MODULES, "--url", manager.url, "--data", str(tmp_path), "ps", "--all"],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ran.returncode == 0, ran.stderr
    imported = set(ran.stdout.split())
    assert not {name.split(".")[0] for name in imported} & HEAVY
    assert imported & {place.split(":")[0] for place in PLACES.values()} == {"longshore.cli.tasks"}
