"""What a person needs to know when something did not come up: the engine's words, the reasons, the last log lines.

Asks the client; knows how to say it. Must not decide what is in trouble: that is given. What it cannot learn in time is
left out, because it speaks when things are broken already.
"""

import time
from collections.abc import Iterable, Sequence

import click
import msgspec

from longshore.cli.convergence import in_trouble
from longshore.cli.merged import Came, Ended, Merged
from longshore.cli.progress import remark, state_word
from longshore.cli.references import newest, slot_name
from longshore.cli.tables import BAD, coloured
from longshore.cli.units import listed, plain
from longshore.client import Client
from longshore.model.containers import LogLine
from longshore.model.errors import Failure
from longshore.model.lifecycle import State
from longshore.model.objects import Task
from longshore.model.views import Verdict, Why

LINES = 10
"""Of each log."""
TOLD_MAX = 5
"""Replicas told in full. The others mostly fail for the same reason."""
PATIENCE_S = 5.0
_ON_ITS_WAY = frozenset({State.PLACED, State.ACCEPTED, State.PREPARING, State.STARTING})
"""What is said of these is what they do, not what is wrong."""


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One replica that is not as it should be."""

    task: str
    node: str
    state: str
    error: str
    """The reason, and the engine's own words."""
    why: str
    """As `longshore why` says it."""
    refusals: tuple[Verdict, ...] = ()
    log_of: str = ""
    """The task whose container wrote the log; it may be an earlier one in the slot."""
    log: tuple[str, ...] = ()


def learn(client: Client, services: Iterable[str]) -> list[Trouble]:
    """Everything about the replicas of these services that are in trouble, the first ones in full. Their tasks are read
    anew: the watch that ended the waiting may have been ahead of the one that tells of tasks."""
    tasks = [task for service in services for task in client.tasks(service=service)]
    troubled = [task for task in newest(tasks) if in_trouble(task)]
    return [_learn_one(client, task, with_log(tasks, task), in_full=at < TOLD_MAX) for at, task in enumerate(troubled)]


def with_log(tasks: Iterable[Task], task: Task) -> Task | None:
    """The newest task in the slot of `task` that had a container: its log says why."""
    of_slot = [one for one in tasks if slot_name(one) == slot_name(task) and one.container_id]
    return max(of_slot, key=lambda one: one.generation, default=None)


def show(troubles: Sequence[Trouble]) -> None:
    for one in troubles[:TOLD_MAX]:
        headline = f"{one.task}  {one.state}  {one.node or 'no node'}"
        click.echo()
        click.echo(click.style(headline, fg=BAD, bold=True) if coloured() else headline)
        if one.error:
            click.echo(f"  error: {one.error}")
        if one.why and one.why != one.error:
            click.echo(f"  why:   {one.why}")
        for verdict in one.refusals:
            click.echo(f"         {verdict.filter} refuses {listed(verdict.nodes)}")
        if one.log:
            click.echo(f"  log of {one.log_of}:")
            for text in one.log:
                click.echo(f"    | {text}")
    rest = troubles[TOLD_MAX:]
    if rest:
        click.echo(f"\nand {listed(one.task for one in rest)}; `longshore why` tells more of each")


def _learn_one(client: Client, task: Task, with_log: Task | None, *, in_full: bool) -> Trouble:
    why = _why(client, task.id) if in_full else None
    log = _log(client, with_log.id) if in_full and with_log is not None else ()
    return Trouble(
        task=task.id,
        node=task.node,
        state=state_word(task),
        error=remark(task) if task.state not in _ON_ITS_WAY else "",
        why=plain(why.summary) if why else "",
        refusals=why.refusals if why else (),
        log_of=with_log.id if with_log and log else "",
        log=log,
    )


def _why(client: Client, task: str) -> Why | None:
    try:
        return client.why(task)
    except Failure:
        return None


def _log(client: Client, task: str) -> tuple[str, ...]:
    """The last lines. Their worker may be in trouble as well, so it is not waited for without end."""
    merged: Merged[LogLine] = Merged()
    merged.add(task, client.logs(task, tail=LINES))
    until = time.monotonic() + PATIENCE_S
    lines: list[str] = []
    while merged.open and time.monotonic() < until:
        match merged.next(until - time.monotonic()):
            case Came(_, line):
                lines.append(line.text.rstrip("\r\n"))
            case Ended(_, Failure() as failure):
                lines.append(f"({failure.message})")
            case _:
                continue
    return tuple(lines[-LINES - 1 :])
