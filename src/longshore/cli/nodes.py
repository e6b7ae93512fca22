"""Nodes: list them, take them out of service and back, label and remove them."""

import sys
import time
from collections.abc import Callable

import click

from longshore.cli.exits import CONVERGED, FAILED, TIMED_OUT
from longshore.cli.group import CommandGroup, Settings, command, pass_settings
from longshore.cli.parameters import LABEL, RESOURCE, SPAN, TAINT_CHANGE
from longshore.cli.tables import BAD, DOUBTFUL, GOOD, Cell, Row, note, show, show_json
from longshore.cli.units import age, cores, counted, size
from longshore.client import Client
from longshore.client.streams import PATIENCE_S
from longshore.model.errors import Unavailable
from longshore.model.objects import Availability, NodeStatus
from longshore.model.placing import Supply, Taint
from longshore.model.views import NodePatch, NodeView

LOOK_EVERY_S = 0.2
HEADINGS = (
    *("NODE", "STATUS", "ADDRESS", "TASKS", "CPU", "MEMORY"),
    *("USED", "LABELS", "OTHER", "ENGINE", "AGE", "REMARK"),
)


@command("nodes", "longshore nodes", "longshore nodes --json")
@pass_settings
def nodes(settings: Settings) -> None:
    """List nodes: how they are and what they have.

    CPU and MEMORY show what tasks have set aside of what there is, OTHER the same of named resources; USED is what is
    really in use.
    """
    with settings.client() as client:
        found = list(client.nodes())
    if settings.as_json:
        show_json(found)
    elif not found:
        note("No nodes. `longshore token create` makes a token with which a worker can join.")
    else:
        now = time.time()
        headings = (
            "NODE",
            "STATUS",
            "ADDRESS",
            "TASKS",
            "CPU",
            "MEMORY",
            "USED",
            "LABELS",
            "OTHER",
            "ENGINE",
            "AGE",
            "REMARK",
        )
        show(headings, [_row(one, now) for one in found])


@click.group("node", cls=CommandGroup)
def node() -> None:
    """Change a node."""


@node.command("drain", examples=("longshore node drain n1 --wait", "longshore node drain n1 --deadline 5m"))
@click.argument("name")
@click.option("--deadline", type=SPAN, metavar="SPAN", help="When to stop tasks that found no other place.  [never]")
@click.option("--wait", is_flag=True, help="Return once no task is left on it; exits with 3 if that takes too long.")
@click.option("--timeout", "timeout_s", type=SPAN, default="10m", show_default=True, help="How long to wait at most.")
@pass_settings
def drain(settings: Settings, name: str, deadline: float | None, wait: bool, timeout_s: float) -> None:
    """Move all tasks away from a node and give it no new ones.

    Each task is started elsewhere before it is stopped here, where nothing forbids that two run at once.
    """
    _set(settings, name, Availability.DRAINED, "gives up its tasks", deadline, silent=wait and settings.as_json)
    if wait:
        sys.exit(_emptied(settings, name, timeout_s))


def _emptied(settings: Settings, name: str, timeout_s: float) -> int:
    """Follow a node until no task is left on it, or it takes tasks again; the exit code."""
    end = time.monotonic() + timeout_s
    with settings.client() as client:
        node = _shown(client, name)
        while node.tasks and node.availability.gives_up and time.monotonic() < end:
            time.sleep(LOOK_EVERY_S)
            node = _shown(client, name)
    if settings.as_json:
        show_json(node)
    elif not node.tasks:
        click.echo(f"{name} is empty")
    else:
        again = "" if node.availability.gives_up else f", which is {node.availability} again"
        click.echo(f"{counted(node.tasks, 'task')} still on {name}{again}", err=True)
    if not node.tasks:
        return CONVERGED
    return TIMED_OUT if node.availability.gives_up else FAILED


def _shown(client: Client, name: str) -> NodeView:
    """A manager that is started again is waited for, as long as by a watch."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return client.node(name)
        except Unavailable:
            if time.monotonic() > end:
                raise
            time.sleep(LOOK_EVERY_S)


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
    _change(settings, name, NodePatch(labels=dict(labels)), lambda view: f": {_labels(view) or 'no labels'}")


@node.command(
    "taint",
    examples=("longshore node taint n1 dedicated=db:NoSchedule", "longshore node taint n1 dedicated:NoSchedule- old-"),
)
@click.argument("name")
@click.argument("taints", metavar="KEY[=VALUE]:EFFECT|KEY[:EFFECT]-...", nargs=-1, required=True, type=TAINT_CHANGE)
@pass_settings
def taint(settings: Settings, name: str, taints: tuple[Taint | str, ...]) -> None:
    """Keep tasks off a node that do not tolerate it: NoSchedule, PreferNoSchedule, or NoExecute, which moves those that
    are there."""
    patch = NodePatch(
        taints=tuple(one for one in taints if isinstance(one, Taint)),
        untaint=tuple(one for one in taints if isinstance(one, str)),
    )
    _change(settings, name, patch, lambda view: f": {', '.join(map(str, view.taints)) or 'no taints'}")


@node.command(
    "resource",
    examples=("longshore node resource n1 gpu=4 licences=3", "longshore node resource n1 tty=/dev/ttyUSB0 licences-"),
)
@click.argument("name")
@click.argument("resources", metavar="NAME=N|NAME=ID,...|NAME-...", nargs=-1, required=True, type=RESOURCE)
@pass_settings
def resource(settings: Settings, name: str, resources: tuple[tuple[str, Supply | None], ...]) -> None:
    """Say what a node has beside cpu, memory and disk: so many (NAME=N), or devices, each given to one task at a time
    (NAME=ID,...; gpu=N numbers them). NAME- removes it."""
    patch = NodePatch(resources=dict(resources))
    _change(settings, name, patch, lambda view: f": {_resources(view) or 'no named resources'}")


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


def _set(
    settings: Settings,
    name: str,
    availability: Availability,
    words: str,
    deadline_s: float | None = None,
    *,
    silent: bool = False,
) -> None:
    patch = NodePatch(availability=availability, deadline_s=deadline_s)
    _change(settings, name, patch, lambda view: f" {words} ({counted(view.tasks, 'task')} on it now)", silent=silent)


def _change(
    settings: Settings, name: str, patch: NodePatch, words: Callable[[NodeView], str], *, silent: bool = False
) -> None:
    """Change a node and say how it is then: its name, and `words` behind it."""
    with settings.client() as client:
        view = client.change_node(name, patch)
    if silent:
        return
    if settings.as_json:
        show_json(view)
    else:
        click.echo(f"{name}{words(view)}")


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
        _resources(one),
        one.engine.version,
        age(one.joined_at, now),
        one.message if one.status is NodeStatus.DOWN else ", ".join(map(str, one.taints)),
    )


def _status(one: NodeView) -> Cell:
    if one.status is NodeStatus.DOWN:
        return Cell("down" if one.availability is Availability.ACTIVE else f"down, {one.availability}", BAD)
    if one.availability is not Availability.ACTIVE:
        return Cell(f"ready, {one.availability}", DOUBTFUL)
    return Cell("ready", GOOD)


def _labels(one: NodeView) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(one.labels.items()))


def _resources(one: NodeView) -> str:
    """Set aside of what there is."""
    return ",".join(
        f"{name}={one.resources_used.get(name, 0)}/{supply if isinstance(supply, int) else len(supply)}"
        for name, supply in sorted(one.resources.items())
    )
