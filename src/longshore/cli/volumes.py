"""Volumes: where slots keep their state, and to give up what is lost."""

import time

import click

from longshore.cli.group import CommandGroup, Settings, pass_settings
from longshore.cli.tables import note, show, show_json
from longshore.cli.units import age


@click.group("volume", cls=CommandGroup)
def volume() -> None:
    """See where named volumes are; say where they are now, or that they are lost."""


@volume.command("ls", examples=("longshore volume ls", "longshore volume ls --json"))
@pass_settings
def ls(settings: Settings) -> None:
    """List the named volumes of services, and the nodes that hold them.

    A slot stays with the node of its volume, also when its service is removed and made anew.
    """
    with settings.client() as client:
        found = list(client.volumes())
    if settings.as_json:
        show_json(found)
    elif not found:
        note("No service has placed a named volume yet.")
    else:
        now = time.time()
        rows = [(one.id, one.name, one.node, one.task, age(one.created_at, now)) for one in found]
        show(("VOLUME", "NAME", "NODE", "TASK", "AGE"), rows)


@volume.command("place", examples=("longshore volume place db.1.shop_data n2",))
@click.argument("id", metavar="VOLUME")
@click.argument("node")
@pass_settings
def place(settings: Settings, id: str, node: str) -> None:
    """Say that a volume is on another node from now on.

    For one that you have copied there, or found again under a new engine. Nothing is copied by this.
    """
    with settings.client() as client:
        view = client.place_volume(id, node)
    if settings.as_json:
        show_json(view)
    else:
        click.echo(f"{id} is on {view.node}, where its next task will start")


@volume.command("forget", examples=("longshore volume forget db.1.shop_data",))
@click.argument("ids", metavar="VOLUME...", nargs=-1, required=True)
@pass_settings
def forget(settings: Settings, ids: tuple[str, ...]) -> None:
    """Let a slot start elsewhere, on an empty volume.

    For a node that is lost for good. What its engine still holds is not touched.
    """
    with settings.client() as client:
        for id in ids:
            client.forget_volume(id)
            if not settings.as_json:
                click.echo(f"{id} is forgotten; its next task may start anywhere, on an empty volume")
    if settings.as_json:
        show_json({"forgotten": ids})
