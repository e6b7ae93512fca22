"""Client: an older orchestrator's client, as a prompt and as single commands, against the routes beside /v1.

Knows where lines come from and when they end. What they mean is for `cli.words`, how a person edits them for
`cli.keyboard`, which is imported only if there is a person.
"""

import os
import sys
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from longshore.cli.exits import CONVERGED, INTERRUPTED
from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.tables import note
from longshore.cli.words import WORDS, Desk, carry_out, split, tell_failure, usage
from longshore.client import Target, url_of
from longshore.client.postings import Postings
from longshore.client.target import DEFAULT_PORT
from longshore.model.errors import Failure, Invalid

LEAVE = ("exit", "quit")
HELP = "help"
_LEAVING = [[word] for word in LEAVE]
_COMMENT = "#"
_HERE = "127.0.0.1"


def _complete_word(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Of the first place the words, behind `start` whatever the shell itself offers: files."""
    given = ctx.params.get(param.name or "") or ()
    if not given:
        return [CompletionItem(name, help=word.says) for name, word in WORDS.items() if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file")] if given[0] == "start" else []


@command(
    "client",
    "longshore client --host manager1 -p 8080",
    "longshore client list",
    "longshore client start tasks.json",
    "longshore client -p 5555 stop 2f4c8c0e-0b4e-4a3a-9d38-0a1c5c6d7e8f",
    "longshore client --json < lines.txt",
)
@click.argument("words", metavar="[WORD...]", nargs=-1, shell_complete=_complete_word)
@click.option("--host", metavar="HOST", help="Manager's host, or its address whole. [CUBE_MANAGER_HOST, CUBE_HOST]")
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535), help="Manager's port. [CUBE_MANAGER_PORT, CUBE_PORT, else 7440]"
)
@pass_settings
def client(settings: Settings, words: tuple[str, ...], host: str | None, port: int | None) -> None:
    """Post, list and stop tasks one by one.

    Words are start FILE, stop ID, get ID, list and list-nodes. Without any it asks for them at a prompt, or reads lines
    from a pipe and ends with the exit code of the worst. A file holds an array of tasks in JSON, one task, or an event.
    """
    with Postings.at(find_target(settings, host, port, DEFAULT_PORT)) as postings:
        desk = Desk(postings, settings.as_json)
        if words:
            code = carry_out(desk, words)
        elif sys.stdin.isatty():
            code = _prompt(desk)
        else:
            code = follow(desk, sys.stdin)
    click.get_current_context().exit(code)


def find_target(settings: Settings, host: str | None, port: int | None, default_port: int) -> Target:
    """The manager that is meant. Half an address is made whole by the variables, then by this machine."""
    spare_host, spare_port = _variable("HOST"), _port_variable()
    named_port = spare_port or default_port if port is None else port
    said = None if host is None and port is None else url_of(host or spare_host or _HERE, named_port)
    spare = url_of(spare_host or _HERE, spare_port or default_port) if spare_host or spare_port else None
    return Target.find(
        said or settings.url,
        settings.token_file,
        settings.data,
        os.environ,
        spare=spare,
        default=url_of(_HERE, default_port),
    )


def _variable(what: str) -> str:
    return os.environ.get(f"CUBE_MANAGER_{what}") or os.environ.get(f"CUBE_{what}") or ""


def _port_variable() -> int | None:
    text = _variable("PORT")
    if text and not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise Invalid(f"{text!r} in CUBE_MANAGER_PORT or CUBE_PORT is not a port")
    return int(text) if text else None


def follow(desk: Desk, lines: Iterable[str], act: Callable[[Desk, list[str]], int] | None = None) -> int:
    """Do line after line to the end; returns the worst exit code. A line that fails does not end it."""
    act = act or _one_line
    worst = CONVERGED
    for line in lines:
        if line.lstrip().startswith(_COMMENT):
            continue
        try:
            words = split(line)
        except Invalid as failure:
            worst = max(worst, tell_failure(failure, desk.as_json))
            continue
        if words[:1] in _LEAVING:
            break
        if words:
            worst = max(worst, act(desk, words))
    return worst


def _one_line(desk: Desk, words: list[str]) -> int:
    if words == [HELP]:
        _help()
        return CONVERGED
    return carry_out(desk, words)


def _one_typed_line(desk: Desk, words: list[str]) -> int:
    try:
        return _one_line(desk, words)
    except KeyboardInterrupt:
        note("given up; what was asked for may still happen")
        return INTERRUPTED


def _help() -> None:
    formatter = click.HelpFormatter()
    formatter.write_dl([*usage(), (HELP, "Show this."), (", ".join(LEAVE), "Leave; Ctrl-D does too.")])
    click.echo(formatter.getvalue(), nl=False)


def _prompt(desk: Desk) -> int:
    """Ask a person for lines. Whatever failed was seen, so leaving is always a success."""
    from longshore.cli.keyboard import typed_lines

    note(f"{desk.postings.url}; {HELP} lists the words, Ctrl-D leaves")
    follow(desk, typed_lines([*WORDS, HELP, *LEAVE], lambda: _ids(desk.postings)), _one_typed_line)
    return CONVERGED


def _ids(postings: Postings) -> list[str]:
    """Ids to complete with. A manager that does not answer will say so when it is asked for something."""
    try:
        return [task.key for task in postings.tasks()]
    except Failure:
        return []
