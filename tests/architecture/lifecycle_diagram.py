"""The life of a task as a page, drawn from the table that the store asks.

    .venv/bin/python -m tests.architecture.lifecycle_diagram > docs/lifecycle.md

A test holds the page equal to what this prints, so the page cannot say what the table does not. It stands here and not
beside the table because `model` knows no Markdown.
"""

import sys
from collections.abc import Iterator

from longshore.model.lifecycle import (
    EDGES,
    ON_NODE,
    OWNER_OF,
    RANK,
    TERMINAL,
    WANTED_OWNERS,
    WANTED_RANK,
    Owner,
    State,
    Wanted,
)

MEANING = {
    State.NEW: "exists, and waits for a node",
    State.PLACED: "has a node, which has not taken it yet",
    State.ACCEPTED: "its worker has it",
    State.PREPARING: "its worker is getting the image",
    State.STARTING: "its container is made and about to start",
    State.RUNNING: "its container runs; whether it is *ready* is a field of its own",
    State.STOPPED: "it ended because that was wanted",
    State.FINISHED: "it ended by itself, with exit code 0",
    State.FAILED: "it ended by itself, with another exit code, out of memory, or because somebody removed it",
    State.REJECTED: "it never ran: no image, a host port taken, or an order that the engine refuses",
    State.LOST: "its node is gone; nobody knows whether it still runs",
}

WHO = {
    Owner.PLACEMENT: "the placement controller",
    Owner.WORKER: "the worker, by what it reports",
    Owner.NODES: "the nodes controller",
    Owner.SERVICES: "the services controller",
    Owner.ROLLOUT: "the rollout controller",
}

WANTED_MEANING = {
    Wanted.RUNNING: "it shall run, or have run to its end",
    Wanted.LEAVING: "it runs on, out of rotation, until its drain delay has passed",
    Wanted.STOPPED: "it shall end; its container stays for its log",
    Wanted.REMOVED: "it shall end, and its container shall go; then the record goes too",
}

BEFORE = """\
# The life of a task

A task is one container's life on one node. It only moves forward and is never revived: a task that ended is replaced by
a new one in the same slot, with the next generation (`web.3.1`, then `web.3.2`). So reports may come late, twice or out
of order: of two states the one with the higher rank is true.

This page is generated from `src/longshore/model/lifecycle.py`. Every store asks that table before it commits, and
refuses a move that is not in it as a bug. To change the page, change the table and run
`.venv/bin/python -m tests.architecture.lifecycle_diagram > docs/lifecycle.md`.
"""

AFTER = """\
## Ready

*Ready* is not a state but an observation beside it: the container runs, and its
[checks](operations.md#checks), if it has any, pass. It may come and go while the task is running. A rollout counts
ready tasks; `longshore up` waits for them.

## Lost

A worker that nobody hears for the heartbeat timeout (5 s unless told otherwise) may be dead, cut off, or only slow. The
manager cannot know which. It writes its node down as `down` and takes each of its tasks away as LOST, and the slots are
filled on other nodes at once. LOST is the one place where a task changes hands: every other state after PLACED is the
worker's to report.

- **It is final.** If the node comes back, LOST stays LOST, whatever its worker reports about that task. Its slot has
  another task by then, or will have one.
- **The container may still run.** A node that is only cut off keeps everything running: that is what makes a restart of
  the manager harmless. Until it is back, two containers of one slot may run at the same time, and both may be reached.
  A service for which that is wrong (one writer on shared storage, say) is a
  [single writer](operations.md#single-writers): its task is lost only once its container is dead.
- **The node gives it up.** The first thing a worker hears in a session is its whole assignment. Containers whose task
  is LOST or unknown are stopped and removed. They are known by a [fingerprint](decisions/0007-fingerprints.md) and not
  by name, so a stale container is never taken for a new task's.
- **Nobody is blamed.** A lost task is replaced at once and does not count as an attempt of its slot.
- **A manager that was away does not guess.** A node that a manager has never heard counts as heard when that manager
  started, so after a restart a full timeout passes before any node is declared down.

Why a connection that ends does not end its node at once: [decision 0012](decisions/0012-broken-connections.md).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([BEFORE, *_diagram(), *_states(), *_moves(), *_wanted(), AFTER])


def _diagram() -> Iterator[str]:
    """Mermaid: the states on a node as one box. Moves that skip a state are left to the table."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {State.NEW}"
    edges = sorted(OWNER_OF.items(), key=lambda edge: [RANK[state] for state in edge[0]])
    shared = {after: owner for after in State if (owner := _from_anywhere(after)) is not None}
    entries = [(before, after) for (before, after), _ in edges if before not in ON_NODE and after in ON_NODE]
    yield '    state "on a node" as on_a_node {'
    yield "        direction LR"
    for _, first in entries:
        yield f"        [*] --> {first}"
    for (before, after), owner in edges:
        if before in ON_NODE and after in ON_NODE and not _skips(before, after):
            yield f"        {before} --> {after} : {owner}"
    yield "    }"
    for before, after in entries:
        yield f"    {before} --> on_a_node : {OWNER_OF[before, after]}"
    for (before, after), owner in edges:
        if after not in ON_NODE and after not in shared:
            yield f"    {before} --> {after} : {owner}"
    for after, owner in shared.items():
        yield f"    on_a_node --> {after} : {owner}"
    for state in State:
        if state in TERMINAL:
            yield f"    {state} --> [*]"
    yield "```"
    yield ""


def _from_anywhere(after: State) -> Owner | None:
    """Who moves a task to `after` from each state on a node and from nowhere else; None if it is not like that."""
    into = {before: owner for (before, state), owner in OWNER_OF.items() if state is after}
    owners = set(into.values())
    return owners.pop() if set(into) == set(ON_NODE) and len(owners) == 1 else None


def _skips(before: State, after: State) -> bool:
    return any((before, between) in OWNER_OF and (between, after) in OWNER_OF for between in State)


def _states() -> Iterator[str]:
    yield "## States"
    yield ""
    yield "| state | rank | a task in it |"
    yield "|---|---|---|"
    for state in sorted(State, key=RANK.__getitem__):
        yield f"| `{state}` | {RANK[state]} | {MEANING[state]} |"
    yield ""
    ends = ", ".join(f"`{state}`" for state in State if state in TERMINAL)
    yield f"Nothing leaves {ends}. Ranks have gaps for states to come."
    yield ""


def _moves() -> Iterator[str]:
    """Every legal move, as a matrix."""
    yield "## Who may move a task"
    yield ""
    befores = [state for state in State if any(before is state for before, _ in OWNER_OF)]
    afters = [state for state in State if any(after is state for _, after in OWNER_OF)]
    yield "| from \\ to | " + " | ".join(f"`{state}`" for state in afters) + " |"
    yield "|---|" + "---|" * len(afters)
    for before in befores:
        owners = (OWNER_OF.get((before, after), "") for after in afters)
        yield f"| `{before}` | " + " | ".join(owners) + " |"
    yield ""
    for owner in EDGES:
        yield f"- **{owner}** is {WHO[owner]}."
    yield ""
    yield "Every move has one owner. A worker may skip states: what it has to say is merged while a connection is down,"
    yield "and one that starts again goes on with what it finds running. A task that has no node yet and is no longer"
    yield "wanted has nothing to stop: its record is deleted."
    yield ""


def _wanted() -> Iterator[str]:
    yield "## What is wanted of a task"
    yield ""
    yield "A second field beside the state, which only grows too. The worker acts on it and never writes it."
    yield ""
    yield "| wanted | rank | means |"
    yield "|---|---|---|"
    for wanted in sorted(Wanted, key=WANTED_RANK.__getitem__):
        yield f"| `{wanted}` | {WANTED_RANK[wanted]} | {WANTED_MEANING[wanted]} |"
    yield ""
    owners = [owner for owner in Owner if owner in WANTED_OWNERS]
    yield f"It is raised by {', '.join(WHO[owner] for owner in owners)}."
    yield "Each only ever raises it, so they cannot undo one another."
    yield ""


if __name__ == "__main__":
    sys.stdout.write(page())
