"""Rebalancing: the moves that would make the cluster more even, shown, begun, and followed until all have ended."""

import time
from collections.abc import Iterable, Iterator, Sequence

import click
import msgspec

from longshore.cli.convergence import EXIT_OF_OUTCOME, Goal, Outcome
from longshore.cli.exits import INTERRUPTED
from longshore.cli.following import Waiting, follow, tasks_before
from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.parameters import waiting
from longshore.cli.tables import note, show, show_json
from longshore.cli.units import counted, span
from longshore.client import Client
from longshore.model.moves import MOVES_DEFAULT, Rebalance, RebalanceWish
from longshore.model.objects import Kind, Task
from longshore.model.reasons import Reason


class Wanted(msgspec.Struct, frozen=True):
    """A move that is followed."""

    task: str
    service: str
    slot: int
    target: str


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended; with --json, the answer."""

    plan: Rebalance
    outcome: Outcome | None = None
    """None where nothing was followed."""
    moved: tuple[str, ...] = ()
    stayed: dict[str, str] = {}
    """Tasks that did not move, and why."""


@command(
    "rebalance",
    "longshore rebalance --plan",
    "longshore rebalance",
    "longshore rebalance --max-moves 3 --no-wait",
)
@click.option("--plan", "plan_only", is_flag=True, help="Only show what would be moved, and what that gains and costs.")
@click.option("--max-moves", type=click.IntRange(1, 128), default=MOVES_DEFAULT, show_default=True, help="The budget.")
@click.option("--disruptive", is_flag=True, help="Move also tasks that have to stop before they start elsewhere.")
@waiting(default=True)
@pass_settings
def rebalance(
    settings: Settings,
    plan_only: bool,
    max_moves: int,
    disruptive: bool,
    wait: bool,
    timeout_s: float,
    steady_s: float,
) -> None:
    """Move tasks so that nodes are used more evenly.

    Each is started where it is to go before it stops where it is, two at a time. Exits with 0 once all moves have ended
    where they were to, 1 if a task stayed after all, 3 if it takes longer than the timeout.
    """
    wish = RebalanceWish(moves_max=max_moves, disruptive=disruptive)
    with settings.client() as client:
        known = list(client.tasks()) if wait and not plan_only else []
        plan = client.rebalance(wish, dry_run=plan_only)
        if not settings.as_json:
            _show(plan)
        moves = list(_wanted(plan, known))
        if plan_only or not wait or not moves:
            if settings.as_json:
                show_json(Ended(plan=plan))
            return
        _finish(client, plan, moves, Waiting(timeout_s, steady_s), as_json=settings.as_json)


def lines(plan: Rebalance) -> list[str]:
    """A plan in words."""
    told = [f"Imbalance {plan.before:.1%}, and {plan.after:.1%} after {counted(len(plan.moves), 'move')}."]
    width = max((len(move.task) for move in plan.moves), default=0)
    told += [
        f"~ {move.task:<{width}}  {move.source} -> {move.target}  gains {move.gain:.1%}, costs {move.cost}"
        for move in plan.moves
    ]
    told += [f"! {counted(left.tasks, 'task')} of {left.service} left out: {left.reason}" for left in plan.left_out]
    if plan.message:
        told.append(f"Nothing new is moved: {plan.message}.")
    elif not plan.moves:
        told.append("Nothing to move: no move gains enough.")
    return told


def ends(moves: Iterable[Wanted], tasks: Iterable[Task]) -> tuple[list[str], list[Wanted]]:
    """Which moves came to their end, told by the tasks that fill their slots now, and which did not."""
    nodes = {(task.service, task.slot): task.node for task in tasks if task.counts}
    moved, stayed = [], []
    for move in moves:
        if nodes.get((move.service, move.slot)) == move.target:
            moved.append(f"{move.service}.{move.slot}")
        else:
            stayed.append(move)
    return moved, stayed


def _show(plan: Rebalance) -> None:
    for line in lines(plan):
        click.echo(line)
    if plan.moves:
        show(("NODE", "TASKS", "AFTER"), [(one.name, str(one.before), str(one.after)) for one in plan.nodes])


def _wanted(plan: Rebalance, known: Sequence[Task]) -> Iterator[Wanted]:
    """What is to be followed: what was begun, and what was under way already."""
    for move in plan.moves:
        yield Wanted(move.task, move.service, move.slot, move.target)
    for task in known:
        if task.id in plan.under_way:
            yield Wanted(task.id, task.service, task.slot, task.moves_to or task.pinned)


def _finish(client: Client, plan: Rebalance, moves: Sequence[Wanted], how_long: Waiting, *, as_json: bool) -> None:
    """Follow to the end, say how it ended, and leave with its exit code."""
    began = time.monotonic()
    goal = Goal(settle=tuple(sorted({move.service for move in moves})))
    try:
        outcome, convergence = follow(client, goal, tasks_before(client, goal), how_long, silent=as_json)
    except KeyboardInterrupt:
        note("\nInterrupted. The cluster goes on with it; `longshore ps` shows how far it is.")
        click.get_current_context().exit(INTERRUPTED)
    moved, left = ends(moves, convergence.tasks.values())
    if outcome is Outcome.CONVERGED and left:
        outcome = Outcome.FAILED
    stayed = {move.task: _why(client, move) for move in left}
    if as_json:
        show_json(Ended(plan=plan, outcome=outcome, moved=tuple(moved), stayed=stayed))
    else:
        for task, words in stayed.items():
            note(f"{task} {words}")
        how = "Done" if outcome is Outcome.CONVERGED else f"Not all: {outcome}"
        click.echo(f"{how}: {len(moved)} of {counted(len(moves), 'task')} moved after {span(time.monotonic() - began)}")
    click.get_current_context().exit(EXIT_OF_OUTCOME[outcome])


def _why(client: Client, move: Wanted) -> str:
    """Why a task is not where it was to be."""
    given_up = [one for one in client.story(kind=Kind.TASK, name=move.task) if one.reason is Reason.MOVE_GIVEN_UP]
    return f"stays: {given_up[-1].message}" if given_up else f"is not on {move.target}"
