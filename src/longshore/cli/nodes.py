"""Nodes: list them, take them out of service and back, label and remove them."""

import time

import click

from longshore.cli.group import CommandGroup, Settings, command, pass_settings
from longshore.cli.parameters import LABEL
from longshore.cli.tables import BAD, DOUBTFUL, GOOD, Cell, Row, note, show, show_json
from longshore.cli.units import age, cores, counted, size
from longshore.model.objects import Availability, NodeStatus
from longshore.model.views import NodePatch, NodeView


@command("nodes", "longshore nodes", "longshore nodes --json")
@pass_settings
def nodes(settings: Settings) -> None:
    """List nodes: how they are and what they have.

    CPU and MEMORY show what tasks have set aside of what there is; USED is what is really in use.
    """
    with settings.client() as client:
        found = list(client.nodes())
    if settings.as_json:
        show_json(found)
    elif not found:
        note("No nodes. `longshore token create` makes a token with which a worker can join.")
    else:
        now = time.time()
        headings = ("NODE", "STATUS", "ADDRESS", "TASKS", "CPU", "MEMORY", "USED", "LABELS", "ENGINE", "AGE", "REMARK")
        show(headings, [_row(one, now) for one in found])


@click.group("node", cls=CommandGroup)
def node() -> None:
    """Change a node."""


@node.command("drain", examples=("longshore node drain n1", "longshore node drain n1 --json"))
@click.argument("name")
@pass_settings
def drain(settings: Settings, name: str) -> None:
    """Move all tasks away from a node and give it no new ones."""
    _set(settings, name, Availability.DRAINED, "gives up its tasks")


@node.command("pause", examples=("longshore node pause n1",))
@click.argument("name")
@pass_settings
def pause(settings: Settings, name: str) -> None:
    """Leave a node its tasks and give it no new ones."""
    _set(settings, name, Availability.PAUSED, "keeps its tasks and gets no new ones")


@node.command("activate", examples=("longshore node activate n1",))
@click.argument("name")
@pass_settings
def activate(settings: Settings, name: str) -> None:
    """Let a node take tasks again."""
    _set(settings, name, Availability.ACTIVE, "takes tasks again")


@node.command("label", examples=("longshore node label n1 zone=a disk=ssd", "longshore node label n1 zone-"))
@click.argument("name")
@click.argument("labels", metavar="KEY=VALUE|KEY-...", nargs=-1, required=True, type=LABEL)
@pass_settings
def label(settings: Settings, name: str, labels: tuple[tuple[str, str | None], ...]) -> None:
    """Set labels of a node, or remove them (KEY-)."""
    with settings.client() as client:
        view = client.change_node(name, NodePatch(labels=dict(labels)))
    if settings.as_json:
        show_json(view)
    else:
        click.echo(f"{name}: {_labels(view) or 'no labels'}")


@node.command("rm", examples=("longshore node rm n1",))
@click.argument("name")
@pass_settings
def rm(settings: Settings, name: str) -> None:
    """Remove a node that is down for good, and its token with it."""
    with settings.client() as client:
        client.remove_node(name)
    if settings.as_json:
        show_json({"removed": name})
    else:
        click.echo(f"{name} is removed")


def _set(settings: Settings, name: str, availability: Availability, words: str) -> None:
    with settings.client() as client:
        view = client.change_node(name, NodePatch(availability=availability))
    if settings.as_json:
        show_json(view)
    else:
        click.echo(f"{name} {words} ({counted(view.tasks, 'task')} on it now)")


def _row(one: NodeView, now: float) -> Row:
    used = one.used
    return (
        one.name,
        _status(one),
        one.address,
        str(one.tasks),
        f"{cores(one.reserved.cpu)}/{cores(one.capacity.cpu)}",
        f"{size(one.reserved.memory)}/{size(one.capacity.memory)}",
        f"{cores(used.cpu_used)} cores, {size(used.memory_used)}" if used else "",
        _labels(one),
        one.engine.version,
        age(one.joined_at, now),
        one.message if one.status is NodeStatus.DOWN else "",
    )


def _status(one: NodeView) -> Cell:
    if one.status is NodeStatus.DOWN:
        return Cell("down" if one.availability is Availability.ACTIVE else f"down, {one.availability}", BAD)
    if one.availability is not Availability.ACTIVE:
        return Cell(f"ready, {one.availability}", DOUBTFUL)
    return Cell("ready", GOOD)


def _labels(one: NodeView) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(one.labels.items()))
