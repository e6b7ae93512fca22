"""Events: the cluster's story, line by line."""

from collections import deque
from collections.abc import Iterable, Iterator

import click

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.tables import note, show, show_json, show_json_line
from longshore.cli.units import moment, plain
from longshore.client import Client
from longshore.model.errors import Compacted
from longshore.model.objects import Kind
from longshore.model.views import EventView


@command(
    "events",
    "longshore events --tail 50",
    "longshore events -f --service web",
    "longshore events --kind node --json",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on.")
@click.option("--service", metavar="SERVICE", help="Only of this service and its tasks.")
@click.option("--kind", type=click.Choice([str(kind) for kind in Kind]), help="Only of this kind of record.")
@click.option("--name", metavar="NAME", help="Only of the record of this name.")
@click.option("--after", metavar="ID", help="Only what came after the event with this id.")
@click.option("-n", "--tail", type=click.IntRange(0), metavar="N", help="Begin with the last N.")
@pass_settings
def events(
    settings: Settings,
    follow: bool,
    service: str | None,
    kind: str | None,
    name: str | None,
    after: str | None,
    tail: int | None,
) -> None:
    """Show what happened, when, by whom, and why.

    Oldest first, as far as it is kept.
    """
    of_kind = Kind(kind) if kind else None
    with settings.client() as client:
        kept = client.story(kind=of_kind, name=name, service=service, after=after)
        past = list(kept if tail is None else deque(kept, maxlen=tail))
        if not follow:
            _show(past, as_json=settings.as_json)
            return
        for one in _going_on(client, past, after, of_kind, name, service):
            if settings.as_json:
                show_json_line(one)
            else:
                click.echo(line(one))


def line(one: EventView) -> str:
    """One event as a line that may be appended anywhere."""
    where = f" on {one.node}" if one.node and one.node != one.name else ""
    said = f": {plain(one.message)}" if one.message and one.message != one.reason else ""
    return f"{moment(one.at)}  {one.kind:<7}  {one.name:<20}  {one.state or '-':<9}  {one.reason}{where}{said}"


def _going_on(
    client: Client,
    past: Iterable[EventView],
    after: str | None,
    kind: Kind | None,
    name: str | None,
    service: str | None,
) -> Iterator[EventView]:
    """What is past, then what comes. If too much came while nobody listened, that is said and it goes on from now."""
    for one in past:
        after = one.id
        yield one
    while True:
        try:
            for one in client.events(kind=kind, name=name, service=service, after=after):
                after = one.id
                yield one
        except Compacted:
            note("Some events were not kept long enough to be shown here.")
            after = None


def _show(past: list[EventView], *, as_json: bool) -> None:
    if as_json:
        show_json(past)
    elif not past:
        note("No events are kept of that.")
    else:
        headings = ("WHEN", "KIND", "NAME", "STATE", "NODE", "BY", "REASON", "REMARK")
        show(
            headings,
            [
                (moment(one.at), one.kind, one.name, one.state, one.node, one.by, one.reason, one.message)
                for one in past
            ],
        )
