"""What a rebalance asks, would do and does: moves of tasks between nodes, shown by the API. Pure data."""

import msgspec

MOVES_DEFAULT = 10
"""Moves of one rebalance, unless the user says how many."""


class RebalanceWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/rebalance`."""

    moves_max: int = MOVES_DEFAULT
    disruptive: bool = False
    """Move also what has to be stopped before it is started elsewhere."""


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A task's move to another node."""

    task: str
    service: str
    slot: int
    source: str
    """The node that it is on."""
    target: str
    gain: float
    """By how much of the imbalance it is less afterwards."""
    cost: str
    """What it takes, in words."""


class NodeBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that count on a node that takes part."""

    name: str
    before: int
    after: int


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that would be worth a move, were it not for a reason."""

    service: str
    tasks: int
    reason: str


class Rebalance(msgspec.Struct, frozen=True, kw_only=True):
    """A plan of moves, at one revision; in the answer to a rebalance, what is to be done by now."""

    revision: int
    policy: str
    before: float
    """The imbalance: 0 is even, 1 is all on one node."""
    after: float
    moves: tuple[Move, ...] = ()
    """In the order in which they are made."""
    under_way: tuple[str, ...] = ()
    """Tasks of an earlier rebalance that are still to move; nothing is planned before they have."""
    nodes: tuple[NodeBalance, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    message: str = ""
    """Why nothing is moved."""
