"""Why a task is where it is, or nowhere: the sums of `place`, shown instead of acted on.

The task is looked at as if it were to be placed now: what it holds itself is left out of the count. So the answer for
a running task says where it would go today, which need not be where it is.
"""

import msgspec
import numpy as np

from longshore.decide.placement.ask import ask_of
from longshore.decide.placement.displacement.claims import hold_before
from longshore.decide.placement.filters import no_node, rows_within, sieve
from longshore.decide.placement.nearest import nearest, to_drop
from longshore.decide.placement.place import Kept, about_avoided, about_ties, avoided
from longshore.decide.placement.ruled import about_points
from longshore.decide.placement.rules import points
from longshore.decide.placement.scoring.policies import bound, parts_of, policy_named
from longshore.decide.placement.scoring.scores import columns, table_for
from longshore.decide.placement.table import Busy
from longshore.decide.placement.volumes import Volumes
from longshore.model.lifecycle import State
from longshore.model.objects import Task
from longshore.model.snapshot import Snapshot
from longshore.model.views import NearMiss, Ranked, Verdict

HELD = "; what is held for others before it is counted as in use"
TOP_MAX = 5
"""Nodes whose places are told in parts."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What each node is to a task."""

    refusals: tuple[Verdict, ...]
    """Which filter refuses which nodes; the nearest miss first."""
    scores: dict[str, float]
    """Of the nodes that could take it, by name; the highest wins, and among equals the first by name."""
    sentence: str
    advice: str = ""
    """What the user can do where no node takes it."""
    nearest: tuple[NearMiss, ...] = ()
    """The nodes that lack least, if none takes it."""
    top: tuple[Ranked, ...] = ()
    """The best of those that could take it."""


def explain(
    world: Snapshot, task: Task, now: float, policy: str, busy: Busy | None = None, kept: Kept | None = None
) -> Explanation:
    """Where `task` could go, as if it were to be placed now. `kept` is what passes leave; the outcome is the same
    without."""
    kept = Kept() if kept is None else kept
    chooser = policy_named(policy)
    release = world.release(task.service, task.release)
    if release is None:
        return Explanation(refusals=(), scores={}, sentence=f"release {task.release} is not kept")
    ask = ask_of(task.service, release.spec)
    own = policy_named(ask.rules.policy) if ask.rules.policy else chooser
    table = table_for(chooser, world, now, busy, without=task.id, measures=own.measures, held=kept.held)
    held = hold_before(world, table, task, largest_first=chooser.largest_first) if task.state is State.NEW else False
    chooser = bound(own, world, now, table, ask, kept.past)
    left = sieve(table, ask)
    ties = Volumes(world).ties(task, release.spec)
    refusals = left.verdicts(table, ties)
    rows = np.flatnonzero(left.room > 0).tolist()
    if ties:
        rows = [row for row in rows_within(table, ties) if left.room[row] > 0]
    if not rows:
        said = [to_drop(table, ask, ties), *(tie.advice for tie in ties)]
        advice = "; ".join(one for one in said if one)
        misses = nearest(table, ask, ties)
        sentence = no_node(refusals, len(table)) + (HELD if held else "")
        return Explanation(refusals=refusals, scores={}, sentence=sentence, advice=advice, nearest=misses)
    every = chooser.score(columns(table, ask), ask)
    liked = points(table, ask)

    def rank(row: int) -> tuple[int, float]:
        return (0 if liked is None else liked.item(row), every.item(row))

    scores = {table.names[row]: every.item(row) for row in rows}
    avoids = avoided(world, task, release.spec, now)
    those = [row for row in rows if table.names[row] not in avoids] or rows
    best = max(those, key=rank)  # the first of equals: rows are in order of name
    why = about_ties(task, ties) or chooser.sentence(table, ask, best)
    why += about_points(liked, best)
    why += about_avoided(avoids, table.names[best])
    count = f"{len(rows)} of {len(table)} {'node fits' if len(table) == 1 else 'nodes fit'}"
    top = [
        Ranked(node=table.names[row], points=rank(row)[0], score=rank(row)[1], parts=parts_of(chooser, table, ask, row))
        for row in sorted(rows, key=rank, reverse=True)[:TOP_MAX]
    ]
    return Explanation(refusals=refusals, scores=scores, sentence=f"{count}; {why}", top=tuple(top))
