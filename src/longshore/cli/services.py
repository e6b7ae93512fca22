"""Services: list, scale, restart, remove."""

import time

import click

from longshore.cli.convergence import Goal
from longshore.cli.following import Ending, Waiting, finish, tasks_before
from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.parameters import COUNT, waiting
from longshore.cli.tables import BAD, DOUBTFUL, FAINT, GOOD, Cell, Row, note, show, show_json
from longshore.cli.units import age
from longshore.model.spec import Mode, Port
from longshore.model.views import Phase, ServiceView

_COLOUR = {
    Phase.STARTING: DOUBTFUL,
    Phase.RUNNING: GOOD,
    Phase.DEGRADED: BAD,
    Phase.COMPLETE: GOOD,
    Phase.FAILED: BAD,
    Phase.REMOVING: FAINT,
}


@command("ls", "longshore ls", "longshore ls --app shop", "longshore ls --json")
@click.option("--app", metavar="APP", help="Only services of this app.")
@pass_settings
def ls(settings: Settings, app: str | None) -> None:
    """List services and how they stand."""
    with settings.client() as client:
        services = list(client.services(app=app))
    if settings.as_json:
        show_json(services)
    elif not services:
        start = "`longshore up` brings a Compose file, `longshore run IMAGE` a single one."
        note(f"No services of {app}." if app else f"No services. {start}")
    else:
        now = time.time()
        headings = ("SERVICE", "APP", "MODE", "READY", "PHASE", "IMAGE", "PORTS", "AGE", "REMARK")
        show(headings, [_row(service, now) for service in services])


@command("scale", "longshore scale web=5", "longshore scale web=5 worker=2 --wait")
@click.argument("counts", metavar="NAME=N...", nargs=-1, required=True, type=COUNT)
@waiting(default=False)
@pass_settings
def scale(
    settings: Settings, counts: tuple[tuple[str, int], ...], wait: bool, timeout_s: float, steady_s: float
) -> None:
    """Change how many tasks services have."""
    goal = Goal(settle=tuple(dict.fromkeys(name for name, _ in counts)))
    with settings.client() as client:
        known = tasks_before(client, goal) if wait else []
        views = [client.scale(name, replicas) for name, replicas in counts]
        if not settings.as_json:
            for view in views:
                click.echo(f"{view.name} is to have {view.spec.replicas}, {view.status.ready} ready now")
        if wait:
            waiting_for = Waiting(timeout_s, steady_s)
            finish(client, goal, known, waiting_for, Ending(outcome=""), as_json=settings.as_json)
        elif settings.as_json:
            show_json(views)


@command("restart", "longshore restart web", "longshore restart web worker --wait")
@click.argument("names", metavar="SERVICE...", nargs=-1, required=True)
@waiting(default=False)
@pass_settings
def restart(settings: Settings, names: tuple[str, ...], wait: bool, timeout_s: float, steady_s: float) -> None:
    """Replace all tasks of services, one after the other."""
    goal = Goal(settle=tuple(dict.fromkeys(names)), release=True)
    with settings.client() as client:
        known = tasks_before(client, goal) if wait else []
        views = [client.restart(name) for name in goal.settle]
        if not settings.as_json:
            for view in views:
                click.echo(f"{view.name} is restarting")
        if wait:
            waiting_for = Waiting(timeout_s, steady_s)
            finish(client, goal, known, waiting_for, Ending(outcome=""), as_json=settings.as_json)
        elif settings.as_json:
            show_json(views)


@command("rm", "longshore rm web", "longshore rm web worker --wait")
@click.argument("names", metavar="SERVICE...", nargs=-1, required=True)
@waiting(default=False)
@pass_settings
def rm(settings: Settings, names: tuple[str, ...], wait: bool, timeout_s: float, steady_s: float) -> None:
    """Remove services and their tasks. Named volumes stay."""
    goal = Goal(leave=tuple(dict.fromkeys(names)))
    with settings.client() as client:
        known = tasks_before(client, goal) if wait else []
        views = [client.remove_service(name) for name in goal.leave]
        if not settings.as_json:
            for view in views:
                click.echo(f"Removing {view.name}")
        if wait:
            waiting_for = Waiting(timeout_s, steady_s)
            finish(client, goal, known, waiting_for, Ending(outcome=""), as_json=settings.as_json)
        elif settings.as_json:
            show_json(views)


def _row(service: ServiceView, now: float) -> Row:
    status = service.status
    done = status.finished if service.spec.mode is Mode.JOB else status.ready
    return (
        service.name,
        service.app,
        service.spec.mode,
        f"{done}/{status.wanted}",
        Cell(status.phase, _COLOUR[status.phase]),
        service.spec.image,
        " ".join(_port(one) for one in service.spec.ports),
        age(service.created_at, now),
        status.message,
    )


def _port(one: Port) -> str:
    """`8080->80/tcp`, `*->80/tcp` where the cluster chooses, `entry:80->8080/http` where the entries answer."""
    if one.ingress is not None:
        return f"entry:{one.listen}->{one.container}/{one.ingress}"
    return f"{one.host or '*'}->{one.container}/{one.protocol}"
