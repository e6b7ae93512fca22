"""Rollouts: how the releases of services went, and the verbs that change course: pause, resume, roll back."""

import time

import click

from longshore.cli.convergence import Goal
from longshore.cli.following import Ending, Waiting, finish, tasks_before
from longshore.cli.group import CommandGroup, Settings, command, pass_settings
from longshore.cli.parameters import waiting
from longshore.cli.tables import BAD, DOUBTFUL, FAINT, GOOD, Cell, Row, show, show_json
from longshore.cli.units import age
from longshore.client import Client
from longshore.model.errors import Invalid
from longshore.model.views import ReleaseState, ReleaseView, ServiceView

_COLOUR = {
    ReleaseState.ROLLING: DOUBTFUL,
    ReleaseState.PAUSED: BAD,
    ReleaseState.DONE: GOOD,
    ReleaseState.FAILED: BAD,
    ReleaseState.SUPERSEDED: FAINT,
}


@click.group("rollout", cls=CommandGroup)
def rollout() -> None:
    """Watch and steer how services come to a new release."""


@rollout.command("status", examples=("longshore rollout status web", "longshore rollout status web --json"))
@click.argument("name")
@pass_settings
def status(settings: Settings, name: str) -> None:
    """Show how far the current release has come."""
    with settings.client() as client:
        view, releases = client.service(name), client.releases(name)
    current = next(one for one in releases if one.current)
    if settings.as_json:
        show_json(current)
        return
    said = f": {current.message}" if current.message else ""
    back = f", which takes back {current.rolls_back}" if current.rolls_back else ""
    click.echo(f"release {current.number} of {name}{back} is {current.state}{said}")
    others = sum(one.tasks for one in releases if not one.current)
    click.echo(f"{current.ready}/{view.status.wanted} ready on it, {others} tasks on other releases")


@rollout.command("history", examples=("longshore rollout history web",))
@click.argument("name")
@pass_settings
def history(settings: Settings, name: str) -> None:
    """List the releases that are kept, newest first."""
    with settings.client() as client:
        releases = client.releases(name)
    if settings.as_json:
        show_json(releases)
        return
    now = time.time()
    headings = ("RELEASE", "STATE", "TASKS", "IMAGE", "BY", "AGE", "CHANGED", "REMARK")
    show(headings, [_row(one, now) for one in releases])


@rollout.command("pause", examples=("longshore rollout pause web",))
@click.argument("name")
@pass_settings
def pause(settings: Settings, name: str) -> None:
    """Take the current release no further; what runs goes on running."""
    with settings.client() as client:
        view = client.pause_rollout(name)
    _told(settings, view, f"{name} stays as it is; longshore rollout resume {name} goes on")


@rollout.command("resume", examples=("longshore rollout resume web", "longshore rollout resume web --wait"))
@click.argument("name")
@waiting(default=False)
@pass_settings
def resume(settings: Settings, name: str, wait: bool, timeout_s: float, steady_s: float) -> None:
    """Go on with a paused release; failures so far are forgiven."""
    with settings.client() as client:
        known = tasks_before(client, Goal(settle=(name,))) if wait else []
        view = client.resume_rollout(name)
        if wait:
            waiting_for = Waiting(timeout_s, steady_s)
            goal = Goal(settle=(name,), release=True)
            finish(client, goal, known, waiting_for, Ending(outcome=""), as_json=settings.as_json)
        else:
            _told(settings, view, f"{name} goes on")


@command("rollback", "longshore rollback web", "longshore rollback web --to 3", "longshore rollback --app shop")
@click.argument("name", required=False)
@click.option("--to", type=click.IntRange(1), help="Number of a release.  [default: the last one that was done]")
@click.option("--app", metavar="APP", help="All services of this app that have an earlier release that was done.")
@waiting(default=True)
@pass_settings
def rollback(
    settings: Settings,
    name: str | None,
    to: int | None,
    app: str | None,
    wait: bool,
    timeout_s: float,
    steady_s: float,
) -> None:
    """Go back to an earlier release, by the same rules as to a new one."""
    if (name is None) == (app is None) or (app is not None and to is not None):
        raise click.UsageError("name one service, or an app with --app; --to is of one service")
    with settings.client() as client:
        names = (name,) if name is not None else _of_app(client, str(app))
        goal = Goal(settle=names, release=True)
        known = tasks_before(client, goal) if wait else []
        views = [client.roll_back(one, to) for one in names]
        if not settings.as_json:
            for view in views:
                click.echo(f"{view.name} goes back, as release {view.release}")
        if wait:
            finish(client, goal, known, Waiting(timeout_s, steady_s), Ending(outcome=""), as_json=settings.as_json)
        elif settings.as_json:
            show_json(views)


def _of_app(client: Client, app: str) -> tuple[str, ...]:
    """The services of an app that have something to go back to."""
    names = tuple(name for name in client.app(app).services if _has_good(client.releases(name)))
    if not names:
        raise Invalid(f"no service of {app} has an earlier release that was done")
    return names


def _has_good(releases: tuple[ReleaseView, ...]) -> bool:
    return any(one.state is ReleaseState.DONE and not one.current for one in releases)


def _told(settings: Settings, view: ServiceView, words: str) -> None:
    if settings.as_json:
        show_json(view)
    else:
        click.echo(words)


def _row(one: ReleaseView, now: float) -> Row:
    return (
        f"{one.number}{' *' if one.current else ''}",
        Cell(one.state, _COLOUR[one.state]),
        str(one.tasks),
        one.spec.image,
        one.author,
        age(one.created_at, now),
        one.changed,
        one.message,
    )
