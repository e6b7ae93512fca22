"""Why something is as it is, in the cluster's own words."""

from collections.abc import Iterable

import click

from longshore.cli.convergence import in_trouble
from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.references import is_task, newest, tasks_of
from longshore.cli.tables import note, show, show_json
from longshore.cli.units import listed, moment, plain
from longshore.client import Client
from longshore.model.objects import Task
from longshore.model.views import EventView, Why


@command("why", "longshore why web", "longshore why web.3", "longshore why web.3.1 --json")
@click.argument("name", metavar="TASK|SERVICE")
@pass_settings
def why(settings: Settings, name: str) -> None:
    """Explain why a task waits, failed, or is where it is.

    Of a service, the first task in trouble is explained, or its first one if there is none.
    """
    with settings.client() as client:
        tasks = tasks_of(client, name)
        chosen = tasks[0] if is_task(name, tasks) else first_in_trouble(tasks)
        if chosen is None:
            _without_tasks(settings, client, name)
            return
        answer = client.why(chosen.id)
    if settings.as_json:
        show_json(answer)
        return
    if not is_task(name, tasks) and not in_trouble(chosen):
        click.echo(f"No task of {name} is in trouble. Its first:")
    _show(answer)


def first_in_trouble(tasks: Iterable[Task]) -> Task | None:
    """The first slot's newest task that is not as it should be; else the first slot's newest; None without tasks."""
    of_slots = newest(tasks)
    return next((task for task in of_slots if in_trouble(task)), of_slots[0] if of_slots else None)


def _without_tasks(settings: Settings, client: Client, name: str) -> None:
    service = client.service(name)
    if settings.as_json:
        show_json(service.status)
    else:
        click.echo(f"{name} has no tasks. {plain(service.status.message)}".rstrip())


def _show(answer: Why) -> None:
    click.echo(f"{answer.task} is {answer.state}, wanted {answer.wanted}.")
    click.echo(plain(answer.summary))
    if answer.refusals:
        click.echo("\nNodes that were refused:")
        for verdict in answer.refusals:
            click.echo(f"  {verdict.filter}: {listed(verdict.nodes)}")
    if answer.scores:
        click.echo("\nNodes that could take it, best first:")
        for node, score in sorted(answer.scores.items(), key=lambda one: (-one[1], one[0])):
            click.echo(f"  {node}: {score:.3f}")
    if answer.story:
        click.echo("\nStory:")
        show_story(answer.story)
    else:
        note("Nothing of its story is kept any more.")


def show_story(events: Iterable[EventView]) -> None:
    rows = [(moment(one.at), one.by, one.state, one.node, one.reason, one.message) for one in events]
    show(("WHEN", "BY", "STATE", "NODE", "REASON", "REMARK"), rows)
