"""The life of a task: every state, every legal edge, and who may take it.

Everything that decides whether a task may move lives in this file, and the store asks it before each commit. A task
only moves forward (its rank grows) and is never revived: a failed task is replaced by a new one in the same slot, so
reports may come late, twice or out of order, and the higher rank is always the truth. Every live state belongs to one
writer; the one exception is LOST, which is how the manager takes a task from a worker that it can no longer hear.
The diagram in docs/lifecycle.md is generated from this table.
"""

from enum import StrEnum

from longshore.model.errors import Illegal


class State(StrEnum):
    """Where a task is in its life, as last reported."""

    NEW = "new"
    PLACED = "placed"
    ACCEPTED = "accepted"
    PREPARING = "preparing"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    REJECTED = "rejected"
    LOST = "lost"


class Wanted(StrEnum):
    """What the manager wants of a task; like the state, it only grows."""

    RUNNING = "running"
    LEAVING = "leaving"
    """Runs on, out of rotation, until its drain delay has passed."""
    STOPPED = "stopped"
    REMOVED = "removed"


class Owner(StrEnum):
    """Who makes a change. Each field and each edge has one."""

    USER = "user"
    SERVICES = "services"
    ROLLOUT = "rollout"
    DEPLOYMENTS = "deployments"
    PLACEMENT = "placement"
    REBALANCE = "rebalance"
    NODES = "nodes"
    WORKER = "worker"
    MANAGER = "manager"


RANK: dict[State, int] = {
    State.NEW: 0,
    State.PLACED: 20,
    State.ACCEPTED: 30,
    State.PREPARING: 40,
    State.STARTING: 50,
    State.RUNNING: 60,
    State.STOPPED: 80,
    State.FINISHED: 81,
    State.FAILED: 82,
    State.REJECTED: 83,
    State.LOST: 90,
}
"""Gaps leave room for states to come."""

WANTED_RANK: dict[Wanted, int] = {Wanted.RUNNING: 0, Wanted.LEAVING: 1, Wanted.STOPPED: 2, Wanted.REMOVED: 3}

TERMINAL = frozenset({State.STOPPED, State.FINISHED, State.FAILED, State.REJECTED, State.LOST})
ON_NODE = (State.PLACED, State.ACCEPTED, State.PREPARING, State.STARTING, State.RUNNING)
"""The live states in which a node answers for the task, in order of rank."""

_ENDS = (State.STOPPED, State.FINISHED, State.FAILED, State.REJECTED)

EDGES: dict[Owner, frozenset[tuple[State, State]]] = {
    Owner.PLACEMENT: frozenset({(State.NEW, State.PLACED)}),
    # A worker may skip states: reports are merged while a connection is down, and a worker that restarts adopts
    # what it finds running.
    Owner.WORKER: frozenset((a, b) for a in ON_NODE for b in (*ON_NODE, *_ENDS) if RANK[a] < RANK[b]),
    Owner.NODES: frozenset((a, State.LOST) for a in ON_NODE),
}

OWNER_OF: dict[tuple[State, State], Owner] = {edge: owner for owner, edges in EDGES.items() for edge in edges}

assert all(RANK[a] < RANK[b] for a, b in OWNER_OF), "rank only grows"
assert len(OWNER_OF) == sum(map(len, EDGES.values())), "every edge has one owner"
assert not any(a in TERMINAL for a, _ in OWNER_OF), "nothing leaves a terminal state"

WANTED_OWNERS = frozenset({Owner.SERVICES, Owner.ROLLOUT, Owner.PLACEMENT, Owner.NODES})
"""Who may raise `wanted`. All are controllers; each only ever raises it, so they cannot undo one another."""


def check_move(before: State, after: State, by: Owner) -> None:
    """Raise Illegal unless `by` may move a task from `before` to `after` (staying is always legal)."""
    if before is not after and OWNER_OF.get((before, after)) is not by:
        raise Illegal(f"{by} may not move a task from {before} to {after}")


def check_wish(before: Wanted, after: Wanted, by: Owner) -> None:
    """Raise Illegal unless `by` may change what is wanted of a task from `before` to `after`."""
    if before is after:
        return
    if by not in WANTED_OWNERS or WANTED_RANK[after] < WANTED_RANK[before]:
        raise Illegal(f"{by} may not change wanted from {before} to {after}")
