"""Cube: the command line of the orchestrator of that name, word for word, over the routes beside /v1.

Knows its flags, its columns and its figures' units. Its two servers are this program's own with other defaults, and are
added by the roof, because the command line cannot import a server.
"""

import time
from datetime import datetime

import click

from longshore.cli.exits import CONVERGED
from longshore.cli.group import CommandGroup, Settings, pass_settings
from longshore.cli.prompt import find_target
from longshore.cli.tables import Cell, show, show_json
from longshore.cli.units import span
from longshore.cli.words import NOTHING_IS, Desk, carry_out, state_cell
from longshore.client.postings import PostedNode, PostedTask, Postings

MANAGER_PORT = 5555
WORKER_PORT = 5556

_MIB_KIB = 1024
_GIB_BYTES = 1024**3

_at_manager = click.option(
    "-m",
    "--manager",
    metavar="HOST:PORT",
    help=f"Manager to ask. [CUBE_MANAGER_HOST, CUBE_MANAGER_PORT, CUBE_HOST, CUBE_PORT, else localhost:{MANAGER_PORT}]",
)


@click.group("cube", cls=CommandGroup)
def cube() -> None:
    """The commands of Cube, with its flags."""


@cube.command("run", examples=("longshore cube run", "longshore cube run -m manager1:5555 -f task1.json"))
@click.option("-f", "--filename", default="task.json", show_default=True, help="File with an event, or with tasks.")
@_at_manager
@pass_settings
def run(settings: Settings, manager: str | None, filename: str) -> None:
    """Post what a file asks for."""
    _carry_out(settings, manager, ["start", filename])


@cube.command("stop", examples=("longshore cube stop bb1d59ef-9fc1-4e4b-a44d-db571eeed203",))
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_at_manager
@pass_settings
def stop(settings: Settings, manager: str | None, ids: tuple[str, ...]) -> None:
    """Ask for the end of tasks."""
    _carry_out(settings, manager, *(["stop", id] for id in ids))


@cube.command("status", examples=("longshore cube status", "longshore cube status -m manager1:5555 --json"))
@_at_manager
@pass_settings
def status(settings: Settings, manager: str | None) -> None:
    """List tasks."""
    with _postings(settings, manager) as postings:
        tasks = postings.tasks()
    if settings.as_json:
        show_json(tasks)
        return
    now = time.time()
    show(("ID", "NAME", "CREATED", "STATE", "CONTAINERNAME", "IMAGE"), [_task_row(task, now) for task in tasks])


@cube.command("node", examples=("longshore cube node", "longshore cube node --json"))
@_at_manager
@pass_settings
def node(settings: Settings, manager: str | None) -> None:
    """List nodes."""
    with _postings(settings, manager) as postings:
        nodes = postings.nodes()
    if settings.as_json:
        show_json(nodes)
        return
    show(("NAME", "MEMORY (MiB)", "DISK (GiB)", "ROLE", "TASKS"), [_node_row(one) for one in nodes])


def _postings(settings: Settings, manager: str | None) -> Postings:
    return Postings.at(find_target(settings, manager, None, MANAGER_PORT))


def _carry_out(settings: Settings, manager: str | None, *lines: list[str]) -> None:
    """Do all the lines, whatever becomes of one, and leave with the worst exit code."""
    with _postings(settings, manager) as postings:
        desk = Desk(postings, settings.as_json)
        code = max((carry_out(desk, line) for line in lines), default=CONVERGED)
    click.get_current_context().exit(code)


def _task_row(task: PostedTask, now: float) -> tuple[str | Cell, ...]:
    # A column of Cube's stays, even if nothing is in it.
    return (task.key, task.name or "-", _created(task, now), state_cell(task), task.name or "-", task.image or "-")


def _created(task: PostedTask, now: float) -> str:
    """Since when it runs: that is what Cube means by it."""
    if not task.start_time or task.start_time == NOTHING_IS:
        return "-"
    try:
        return f"{span(now - datetime.fromisoformat(task.start_time).timestamp())} ago"
    except ValueError:
        return task.start_time


def _node_row(one: PostedNode) -> tuple[str, ...]:
    return (
        one.name,
        f"{one.memory / _MIB_KIB:.0f}",
        f"{one.disk / _GIB_BYTES:.0f}",
        one.role or "-",
        str(one.task_count),
    )
