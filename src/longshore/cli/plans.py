"""A plan in words: one line for each service, like a diff, and what is behind it below.

Pure: makes marked lines of a plan; only `show` prints.
"""

from collections.abc import Iterator

import click

from longshore.cli.tables import BAD, DOUBTFUL, FAINT, GOOD, coloured
from longshore.cli.units import counted, listed, plain
from longshore.model.views import Effect, Plan, PlannedService

MARK = {Effect.CREATE: "+", Effect.UPDATE: "~", Effect.SCALE: "~", Effect.REMOVE: "-", Effect.KEEP: "="}
_COLOUR = {"+": GOOD, "~": DOUBTFUL, "-": BAD, "=": FAINT, "!": BAD}
_VALUE_MAX = 60


def changes_nothing(plan: Plan) -> bool:
    return all(
        one.effect is Effect.KEEP and not (one.start or one.replace or one.stop or one.changes) for one in plan.services
    )


def lines(plan: Plan) -> list[tuple[str, str]]:
    """(mark, text) of each line."""
    found = []
    width = max((len(one.name) for one in plan.services), default=0)
    for one in plan.services:
        found.append((MARK[one.effect], f"{one.name:<{width}}  {one.effect:<6}  {_work(one)}".rstrip()))
        found += [(" ", f"    {text}") for text in _details(one)]
        found += [
            ("!", f"    {task.id} has no node yet: {plain(task.message) or 'none fits'}")
            for task in one.start
            if not task.node
        ]
    return found


def show(plan: Plan) -> None:
    title = f"Plan for {plan.app} at revision {plan.revision}:"
    click.echo(title)
    for mark, text in lines(plan):
        whole = f"{mark} {text}"
        click.echo(click.style(whole, fg=_COLOUR[mark]) if coloured() and mark in _COLOUR else whole)


def _work(one: PlannedService) -> str:
    """What is to be done for a service, in one line."""
    parts = []
    if one.start:
        placed = listed(f"{task.id} on {task.node}" for task in one.start if task.node)
        parts.append(f"start {counted(len(one.start), 'task')}" + (f": {placed}" if placed else ""))
    if one.replace:
        parts.append(f"replace {counted(len(one.replace), 'task')} one after the other: {listed(one.replace)}")
    if one.stop:
        parts.append(f"stop {counted(len(one.stop), 'task')}: {listed(one.stop)}")
    if one.waits:
        parts.append(f"wait for {'; '.join(one.waits)}")
    return "; ".join(parts)


def _details(one: PlannedService) -> Iterator[str]:
    """What changes in the wish. A new service is all new, so that would only repeat the file."""
    if one.effect is Effect.CREATE:
        return
    for change in one.changes:
        yield f"{change.field}: {_value(change.before)} -> {_value(change.after)}"


def _value(text: str) -> str:
    shown = plain(text)
    if not shown:
        return "(none)"
    return shown if len(shown) <= _VALUE_MAX else f"{shown[: _VALUE_MAX - 1]}…"
