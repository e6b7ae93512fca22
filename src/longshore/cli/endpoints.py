"""Endpoints: where the requests for a service go."""

import click

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.tables import DOUBTFUL, GOOD, Cell, note, show, show_json
from longshore.model.views import EndpointState, EndpointView

_COLOUR = {EndpointState.READY: GOOD, EndpointState.LEAVING: DOUBTFUL}


@command("endpoints", "longshore endpoints web", "longshore endpoints web --json")
@click.argument("service")
@pass_settings
def endpoints(settings: Settings, service: str) -> None:
    """List where the ready tasks of a service answer.

    ENTRY is the port at which every entry answers for them.
    """
    with settings.client() as client:
        found = list(client.endpoints(service))
    if settings.as_json:
        show_json(found)
    elif not found:
        note(f"{service} has no endpoints: no task of it that publishes a port is ready; `longshore ps {service}`.")
    else:
        show(
            ("TASK", "NODE", "ENDPOINT", "PORT", "ENTRY", "STATE"),
            [
                (one.task, one.node, _place(one), f"{one.container}/{one.protocol}", _entry(one), _state(one))
                for one in found
            ],
        )


def _place(one: EndpointView) -> str:
    host = f"[{one.address}]" if ":" in one.address else one.address
    return f"{host}:{one.port}"


def _entry(one: EndpointView) -> str:
    return f"{one.listen} ({one.ingress})" if one.ingress is not None else ""


def _state(one: EndpointView) -> Cell:
    return Cell(one.state, _COLOUR[one.state])
