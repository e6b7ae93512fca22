"""Following a change to its end: watches, a deadline, a display, and the truth as an exit code.

Brings together what the other modules know: which watches a goal needs, and what is said when it is over. Nothing is
asked again and again: a watch tells when something changes.
"""

import time
from collections.abc import Iterable
from typing import NoReturn

import click
import msgspec

from longshore.cli import trouble
from longshore.cli.convergence import (
    EXIT_OF_OUTCOME,
    SERVICES,
    TASKS_OF_APP,
    Convergence,
    Goal,
    Outcome,
    on_trial,
    watch_of,
)
from longshore.cli.exits import INTERRUPTED
from longshore.cli.merged import Came, Ended, Merged
from longshore.cli.progress import FRAME_S, display
from longshore.cli.tables import note, show_json
from longshore.cli.trouble import Trouble
from longshore.cli.units import counted, span, urls
from longshore.client import Client, Watched
from longshore.model.errors import NotFound
from longshore.model.objects import Task
from longshore.model.spec import Mode
from longshore.model.views import Plan, ServiceView


class Waiting(msgspec.Struct, frozen=True):
    """How long a command waits."""

    timeout_s: float
    steady_s: float
    """How long new tasks without a health check must keep running."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended; with --json, the answer."""

    outcome: str
    app: str = ""
    plan: Plan | None = None
    services: tuple[ServiceView, ...] = ()
    trouble: tuple[Trouble, ...] = ()


def tasks_before(client: Client, goal: Goal, app: str | None = None) -> list[Task]:
    """What is there before a change, so that only what comes of it is told."""
    names = goal.leave if app else (*goal.leave, *goal.settle)
    found = {task.id: task for name in names for task in client.tasks(service=name)}
    if app:
        found |= {task.id: task for task in client.tasks(app=app)}
    return list(found.values())


def follow(
    client: Client, goal: Goal, known: Iterable[Task], waiting: Waiting, *, app: str | None = None, silent: bool
) -> tuple[Outcome, Convergence]:
    """Watch until the goal is reached, missed, or waiting is at its end."""
    began = time.monotonic()
    convergence = Convergence(goal, known, steady_s=waiting.steady_s)
    merged = _watches(client, goal, convergence, app)
    with display(convergence, silent=silent) as shown:
        while True:
            now = time.monotonic()
            outcome = convergence.outcome(now)
            if outcome is None and now - began >= waiting.timeout_s:
                outcome = Outcome.TIMED_OUT
            if outcome is not None:
                return outcome, convergence
            match merged.next(min(FRAME_S, began + waiting.timeout_s - now)):
                case Came(source, message):
                    told = convergence.take(source, message)
                    if told is not None:
                        shown.tell(told)
                case Ended(_, failure):
                    raise failure or AssertionError("a watch never ends by itself")
                case None:
                    shown.refresh()


def finish(
    client: Client, goal: Goal, known: Iterable[Task], waiting: Waiting, ending: Ending, *, as_json: bool
) -> None:
    """Follow to the end, say how it ended, and leave with its exit code."""
    began = time.monotonic()
    try:
        outcome, convergence = follow(client, goal, known, waiting, app=ending.app or None, silent=as_json)
    except KeyboardInterrupt:
        _interrupted()
    troubles = [] if outcome is Outcome.CONVERGED else trouble.learn(client, goal.settle)
    if as_json:
        views = tuple(view for _, view in sorted(convergence.services.items()))
        answer = msgspec.structs.replace(ending, outcome=outcome, services=views, trouble=tuple(troubles))
        show_json(answer)
    elif outcome is Outcome.CONVERGED:
        click.echo(f"{_done(goal, convergence)} after {span(time.monotonic() - began)}")
        _show_urls(client, convergence)
    else:
        trouble.show(troubles)
        note(_undone(outcome, convergence, waiting))
    click.get_current_context().exit(EXIT_OF_OUTCOME[outcome])


def _watches(
    client: Client, goal: Goal, convergence: Convergence, app: str | None
) -> Merged[Watched[ServiceView] | Watched[Task]]:
    """The fewest watches that tell all there is to know of a goal. Of services that are removed there is no record any
    more that knows their app, so their tasks are watched by the service's name."""
    merged: Merged[Watched[ServiceView] | Watched[Task]] = Merged()
    if goal.settle:
        convergence.expect(SERVICES)
        merged.add(SERVICES, client.watch_services(app=app))
    by_name = goal.leave if app else (*goal.leave, *goal.settle)
    for name in by_name:
        source = watch_of(name)
        convergence.expect(source)
        merged.add(source, client.watch_tasks(service=name))
    if app and goal.settle:
        convergence.expect(TASKS_OF_APP)
        merged.add(TASKS_OF_APP, client.watch_tasks(app=app))
    return merged


def _interrupted() -> NoReturn:
    note("\nInterrupted. The cluster goes on with it; `longshore ps` shows how far it is.")
    click.get_current_context().exit(INTERRUPTED)


def _done(goal: Goal, convergence: Convergence) -> str:
    parts = []
    for name in goal.settle:
        status = convergence.services[name].status
        word = "finished" if convergence.services[name].spec.mode is Mode.JOB else "ready"
        count = status.finished if word == "finished" else status.ready
        parts.append(f"{name} {count}/{status.wanted} {word}")
    if goal.leave:
        parts.append(f"{', '.join(goal.leave)} removed")
    return "Done: " + "; ".join(parts)


def _undone(outcome: Outcome, convergence: Convergence, waiting: Waiting) -> str:
    """The last words when it did not work out."""
    parts = [f"{name} was removed meanwhile" for name in sorted(convergence.lost)]
    parts += [f"{view.name} went to release {view.release} meanwhile" for view in convergence.overtaken()]
    parts += [f"release {view.status.rolls_back} of {view.name} was taken back" for view in convergence.taken_back()]
    for name, view in sorted(convergence.services.items()):
        if outcome is Outcome.TIMED_OUT and on_trial(view):
            parts.append(f"release {view.release} of {name} is on trial for {view.spec.update.monitor_s:g} s")
        if not view.status.settled:
            said = f": {view.status.message}" if view.status.message else ""
            parts.append(f"{name} is {view.status.phase}, {view.status.ready}/{view.status.wanted} ready{said}")
    leaving = [task for task in convergence.tasks.values() if task.service in convergence.goal.leave]
    if leaving:
        parts.append(f"{counted(len(leaving), 'task')} still there")
    how = (
        "Failed"
        if outcome is Outcome.FAILED
        else f"Not converged within {waiting.timeout_s:g} s; the cluster goes on with it"
    )
    return f"\n{how}. {'; '.join(parts)}".rstrip()


def _show_urls(client: Client, convergence: Convergence) -> None:
    """Where the published ports answer."""
    published = [
        task for task in convergence.shown() if task.counts and task.ports and task.service in convergence.goal.settle
    ]
    addresses = {}
    for node in sorted({task.node for task in published}):
        try:
            addresses[node] = client.node(node).address
        except NotFound:
            continue
    for task in published:
        for url in urls(task, addresses):
            click.echo(f"  {task.id}  {url}")
