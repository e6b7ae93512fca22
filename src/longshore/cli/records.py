"""Inspect: one record, whole, as the API gives it."""

from collections.abc import Callable

import click
import msgspec

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.tables import show_json
from longshore.client import Client
from longshore.model.errors import NotFound

KINDS = ("service", "task", "node", "app")
"""In this order, if no kind is named and several have the name."""


@command("inspect", "longshore inspect web", "longshore inspect web.1.1", "longshore inspect --kind node n1")
@click.argument("name", metavar="SERVICE|TASK|NODE|APP")
@click.option("--kind", type=click.Choice(KINDS), help=f"[the first of {', '.join(KINDS)} of that name]")
@pass_settings
def inspect(settings: Settings, name: str, kind: str | None) -> None:
    """Show everything about one thing, as JSON."""
    with settings.client() as client:
        show_json(_found(client, name, (kind,) if kind else KINDS))


def _found(client: Client, name: str, kinds: tuple[str, ...]) -> msgspec.Struct:
    reads: dict[str, Callable[[str], msgspec.Struct]] = {
        "service": client.service,
        "task": client.task,
        "node": client.node,
        "app": client.app,
    }
    for kind in kinds:
        try:
            return reads[kind](name)
        except NotFound:
            continue
    raise NotFound(f"there is no {' or '.join(kinds)} {name}; `longshore ls`, `ps` and `nodes` list them")
