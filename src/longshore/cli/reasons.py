"""Why something is as it is, in the cluster's own words."""

from collections.abc import Iterable

import click

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.references import standing, tasks_of
from longshore.cli.tables import note, show, show_json
from longshore.cli.units import listed, moment, plain
from longshore.client import Client
from longshore.model.errors import NotFound
from longshore.model.views import EventView, NodeView, Ranked, ServiceWhy, Why


@command("why", "longshore why web", "longshore why web.3", "longshore why web.3.1 --json", "longshore why n2")
@click.argument("name", metavar="SERVICE|TASK|NODE")
@pass_settings
def why(settings: Settings, name: str) -> None:
    """Explain why a service stands as it does, and why a task waits, failed, or is where it is.

    Of a service, the task that keeps it from being as wished is explained too, or its first one if there is none.
    """
    with settings.client() as client:
        answer = _answer(client, name)
    if settings.as_json:
        show_json(answer)
    elif isinstance(answer, ServiceWhy):
        _show_service(answer)
    elif isinstance(answer, Why):
        _show(answer)
    else:
        _show_node(answer)


def _answer(client: Client, name: str) -> ServiceWhy | Why | NodeView:
    """By name: of a service, of a task or the one that stands for its slot, of a node; in this order."""
    try:
        return client.why_service(name)
    except NotFound:
        pass
    try:
        return client.why(standing(tasks_of(client, name))[-1].id)
    except NotFound as missing:
        try:
            return client.node(name)
        except NotFound:
            unknown = f"there is no service, task or node {name}; `longshore ls`, `ps` and `nodes` list them"
            raise NotFound(unknown) from missing


def _show_service(answer: ServiceWhy) -> None:
    click.echo(plain(answer.summary))
    if answer.task is not None:
        click.echo()
        _show(answer.task)


def _show_node(node: NodeView) -> None:
    said = f": {plain(node.message)}" if node.message else ""
    click.echo(f"Node {node.name} is {node.status}, {node.availability}{said}.")
    note(f"`longshore inspect {node.name}` shows all of it.")


def _show(answer: Why) -> None:
    click.echo(f"{answer.task} is {answer.state}, wanted {answer.wanted}.")
    click.echo(plain(answer.summary))
    if answer.refusals:
        click.echo("\nNodes that were refused:")
        for verdict in answer.refusals:
            click.echo(f"  {verdict.filter}: {listed(verdict.nodes)}")
    if answer.nearest:
        click.echo("\nNearest to taking it, and what they lack:")
        for miss in answer.nearest:
            click.echo(f"  {miss.node}: {', '.join(map(plain, miss.lacks))}")
    if answer.scores:
        click.echo("\nNodes that could take it, best first:")
        for one in answer.top:
            click.echo(f"  {one.node}: {one.score:.3f}{_made_of(one)}")
        if (more := len(answer.scores) - len(answer.top)) > 0:
            click.echo(f"  and {more} more, which --json lists")
    if answer.story:
        click.echo("\nStory:")
        show_story(answer.story)
    else:
        note("Nothing of its story is kept any more.")


def _made_of(one: Ranked) -> str:
    said = [f"{one.points} points by its rules"] if one.points else []
    said += [f"{name} {part:.3f}" for name, part in one.parts.items()]
    return f" ({', '.join(said)})" if said else ""


def show_story(events: Iterable[EventView]) -> None:
    rows = [(moment(one.at), one.by, one.state, one.node, one.reason, one.message) for one in events]
    show(("WHEN", "BY", "STATE", "NODE", "REASON", "REMARK"), rows)
