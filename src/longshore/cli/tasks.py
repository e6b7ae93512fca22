"""Tasks: the list that is looked at most."""

import time
from collections.abc import Iterable, Mapping

import click

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.progress import colour, remark, state_word
from longshore.cli.references import standing, tasks_of
from longshore.cli.tables import Cell, Row, note, show, show_json
from longshore.cli.units import age, ports, urls
from longshore.client import Client
from longshore.model.errors import Failure
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Task


@command("ps", "longshore ps", "longshore ps web", "longshore ps --all --node n1", "longshore ps web --json")
@click.argument("service", required=False)
@click.option("-a", "--all", "every", is_flag=True, help="Also tasks that ended, as far as they are kept.")
@click.option("--app", metavar="APP", help="Only tasks of this app.")
@click.option("--node", metavar="NODE", help="Only tasks on this node.")
@pass_settings
def ps(settings: Settings, service: str | None, every: bool, app: str | None, node: str | None) -> None:
    """List tasks: what runs, where, and what is wrong with it.

    Without --all, of a slot that failed only its last task is shown.
    """
    with settings.client() as client:
        if service:
            found = [task for task in tasks_of(client, service) if node in (None, task.node)]
            if app is not None:
                of_app = set(client.app(app).services)
                found = [task for task in found if task.service in of_app]
        else:
            found = list(client.tasks(app=app, node=node))
        shown = sorted(found if every else current(found), key=lambda task: (task.service, task.slot, task.generation))
        if settings.as_json:
            show_json(shown)
            return
        if not shown:
            note("No tasks." if every else "No tasks; --all shows those that ended.")
            return
        addresses = _addresses(client, shown)
    now = time.time()
    show(("TASK", "NODE", "STATE", "AGE", "PORTS", "URL", "REMARK"), [_row(task, addresses, now) for task in shown])


def current(tasks: Iterable[Task]) -> list[Task]:
    """What there is to see now: what lives, and the last task of each slot that is empty for no good reason."""
    tasks = list(tasks)
    found = {task.id: task for task in tasks if task.live}
    for task in standing(tasks):
        if task.wanted is Wanted.RUNNING and task.state in (State.FAILED, State.REJECTED, State.LOST):
            found[task.id] = task
    return list(found.values())


def _addresses(client: Client, tasks: Iterable[Task]) -> dict[str, str]:
    """Addresses of the nodes that publish something. Without them the list is still worth showing."""
    if not any(task.ports for task in tasks):
        return {}
    try:
        return {node.name: node.address for node in client.nodes()}
    except Failure:
        return {}


def _row(task: Task, addresses: Mapping[str, str], now: float) -> Row:
    where = urls(task, addresses) if task.live else []
    return (
        task.id,
        task.node,
        Cell(state_word(task), colour(task)),
        age(task.finished_at or task.started_at or task.created_at, now),
        ports(task) if task.live else "",
        Cell(" ".join(where), link=where[0] if where else ""),
        remark(task),
    )
