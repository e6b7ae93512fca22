"""Apps: a Compose file to the cluster and off it again."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from longshore.cli import plans
from longshore.cli.convergence import Goal
from longshore.cli.following import Ending, Waiting, finish, tasks_before
from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.parameters import waiting
from longshore.cli.tables import note, show_json
from longshore.client import Client
from longshore.model.errors import Invalid, NotFound
from longshore.model.objects import Task
from longshore.model.views import Effect, Plan

if TYPE_CHECKING:
    from longshore.compose import ComposeApp

FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""Taken in this order, as Compose itself does."""


@command(
    "up",
    "longshore up",
    "longshore up --plan",
    "longshore up -f deploy/compose.yaml -p shop --timeout 300",
)
@click.option("-f", "--file", metavar="FILE", help=f"Compose file. [{FILES[0]}, {', '.join(FILES[1:])}]")
@click.option("-p", "--project", metavar="PROJECT", help="Name of the app. [the file's own, or its folder's]")
@click.option("--plan", "plan_only", is_flag=True, help="Only show what would be done.")
@waiting(default=True)
@pass_settings
def up(
    settings: Settings,
    file: str | None,
    project: str | None,
    plan_only: bool,
    wait: bool,
    timeout_s: float,
    steady_s: float,
) -> None:
    """Bring what a Compose file describes to the cluster.

    Shows the plan, carries it out, and follows it to the end. Services of the app that the file does not name any more
    are removed. Exits with 0 once all is as wished, 1 if a service failed, 3 if it takes longer than the timeout.
    """
    app = _loaded(file, project)
    with settings.client() as client:
        plan = client.plan(app.name, app.services)
        nothing = plans.changes_nothing(plan)
        if not settings.as_json:
            plans.show(plan)
            if nothing:
                click.echo("Nothing to change.")
        if plan_only:
            if settings.as_json:
                show_json(plan)
            return
        goal = _goal(plan)
        known: list[Task] = tasks_before(client, goal, app.name)
        if not nothing:
            client.put_app(app.name, app.services)
        if not wait:
            if settings.as_json:
                show_json(Ending(outcome="unchanged" if nothing else "applied", app=app.name, plan=plan))
            return
        ending = Ending(outcome="", app=app.name, plan=plan)
        finish(client, goal, known, Waiting(timeout_s, steady_s), ending, as_json=settings.as_json)


@command("down", "longshore down", "longshore down shop", "longshore down -f deploy/compose.yaml --no-wait")
@click.argument("app", required=False)
@click.option("-f", "--file", metavar="FILE", help="Compose file that names the app. [as for up]")
@waiting(default=True)
@pass_settings
def down(settings: Settings, app: str | None, file: str | None, wait: bool, timeout_s: float, steady_s: float) -> None:
    """Remove an app: all its services and their tasks. Named volumes stay.

    Without APP, the Compose file here says which. Waits until the last task is gone.
    """
    if app and file:
        raise click.UsageError("APP and -f both say which app; give one of them")
    name = app or _loaded(file, None).name
    with settings.client() as client:
        try:
            services = _services_of(client, name)
        except NotFound:
            if app:
                raise
            _nothing_down(settings, name)
            return
        goal = Goal(leave=services)
        known = tasks_before(client, goal)
        removed = client.remove_app(name)
        goal = Goal(leave=tuple(sorted({*services, *removed.services})))
        if not settings.as_json:
            click.echo(f"Removing {name}: {', '.join(goal.leave) or 'no services'}")
        if not wait:
            if settings.as_json:
                show_json(Ending(outcome="removing", app=name))
            return
        ending = Ending(outcome="", app=name)
        finish(client, goal, known, Waiting(timeout_s, steady_s), ending, as_json=settings.as_json)


def _loaded(file: str | None, project: str | None) -> "ComposeApp":
    """The app that a Compose file describes. Raises Invalid with file and line."""
    from longshore.compose import load

    try:
        path = Path(file) if file else next((Path(name) for name in FILES if Path(name).is_file()), None)
        if path is None:
            raise Invalid(f"there is no {FILES[0]} in {Path.cwd()}; name one with -f FILE", field="file")
        if not path.is_file():
            raise Invalid(f"there is no file {path}", field="file")
    except OSError as error:
        raise Invalid(f"cannot look for {file or FILES[0]}: {error.strerror}", field="file") from error
    return load(path, env=os.environ, project=project)


def _goal(plan: Plan) -> Goal:
    return Goal(
        settle=tuple(one.name for one in plan.services if one.effect is not Effect.REMOVE),
        leave=tuple(one.name for one in plan.services if one.effect is Effect.REMOVE),
        release=True,
    )


def _services_of(client: Client, app: str) -> tuple[str, ...]:
    """By name; asked for before the removal, which is the last to know them."""
    return client.app(app).services


def _nothing_down(settings: Settings, name: str) -> None:
    if settings.as_json:
        show_json(Ending(outcome="unchanged", app=name))
    else:
        note(f"Nothing to do: {name} is not up.")
