"""The policies: which of the nodes that have room is best. A policy is a formula and the words that read it out.

The formula gives one number per node; the highest wins, and among equals the first by name. It is written once, over
`Figures` that hold either all nodes' columns or one node's numbers: a pass scores all nodes once, then after each task
only the node that got it. That is exact, because sums, products and quotients of doubles are the same bits one by one
and in columns. Powers are not (NumPy's depend on the processor), so they are always Python's. No filter's business
is here: what is scored has room.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Generic, Protocol, TypeVar

import msgspec
import numpy as np

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.held import Held
from longshore.decide.placement.scoring.prices import Price
from longshore.decide.placement.table import Busy, Counts, NodeTable, Vector
from longshore.model.errors import Invalid
from longshore.model.snapshot import Snapshot

F = TypeVar("F", float, Vector)
"""One node's figure, or all nodes'."""

DEFAULT = "spread"

_GREEDY_UNIT = 1.7411011265922482
"""2 ** 0.8."""
_MANY = 1_000_000
"""More tasks than a node ever has: one task more of the service outweighs any number of others."""
_FULLER = 0.125
"""What best fit weighs beside alignment: of nodes about as well aligned, the fuller one is taken."""
_SMALLEST = 1e-300
"""Less than any product of two needs: nothing over it is zero, and not undefined."""

_DIFFERENT_MAX = 8
"""To look for equal numbers pays up to so many different ones."""


class Figures(msgspec.Struct, Generic[F], frozen=True, kw_only=True):
    """What policies may look at, of all nodes (columns) or of one (numbers)."""

    row: F
    """Place in order of name."""
    turn: F
    """Nodes before it in the round."""
    of_service: F
    """Tasks of the service in question."""
    tasks: F
    """All tasks."""
    cpu_free: F
    cpu: F
    """In all, in thousandths; at least one, so that it divides."""
    memory_free: F
    memory: F
    """In all, in bytes; at least one."""
    busy: F
    """Part of its cpu in use, as measured; where nothing was measured, the part set aside. Zero for policies that do
    not measure."""
    nodes: int
    crowd: int
    """The smallest power of two that no node's count of tasks exceeds."""
    prices: Callable[[], tuple[Price, Price]] | None = None
    """Of cpu and memory, where the figures are those of the table; to be asked only by who goes by them."""

    def free(self) -> F:
        """The free part of cpu and memory, of each node as a whole: 0 to 1."""
        return (self.cpu_free / self.cpu + self.memory_free / self.memory) / 2


def columns(table: NodeTable, ask: Ask, *, turns: bool = True) -> Figures[Vector]:
    """The figures of all nodes; those of the round only if they are asked for."""
    return columns_of(table, ask, np.arange(len(table)), turn=table.turn() if turns else None)


def columns_of(
    table: NodeTable, ask: Ask, rows: Counts, *, steps: Counts | int = 0, turn: Counts | None = None
) -> Figures[Vector]:
    """The figures of some nodes, each as it is after so many more tasks of `ask`. `turn` is that of all nodes."""
    return Figures(
        row=rows.astype(np.float64),
        turn=np.zeros(len(rows)) if turn is None else (turn[rows] + steps * len(table)).astype(np.float64),
        of_service=(table.of_service(ask.service)[rows] + steps).astype(np.float64),
        tasks=(table.tasks[rows] + steps).astype(np.float64),
        cpu_free=(table.cpu_free[rows] - steps * ask.cpu_millis).astype(np.float64),
        cpu=np.maximum(table.cpu[rows], 1).astype(np.float64),
        memory_free=(table.memory_free[rows] - steps * ask.memory).astype(np.float64),
        memory=np.maximum(table.memory[rows], 1).astype(np.float64),
        busy=table.busy[rows],
        nodes=len(table),
        crowd=table.crowd,
        prices=table.prices if isinstance(steps, int) else None,
    )


def numbers(table: NodeTable, ask: Ask, row: int) -> Figures[float]:
    """The figures of one node, without those of the round: who goes by them knows whose turn it is."""
    return Figures(
        row=row,
        turn=0,
        of_service=table.of_service(ask.service).item(row),
        tasks=table.tasks.item(row),
        cpu_free=table.cpu_free.item(row),
        cpu=table.cpu.item(row) or 1,
        memory_free=table.memory_free.item(row),
        memory=table.memory.item(row) or 1,
        busy=table.busy.item(row),
        nodes=len(table),
        crowd=table.crowd,
        prices=table.prices,
    )


def numbers_of(table: NodeTable, ask: Ask, rows: Counts, steps: Counts) -> Iterator[Figures[float]]:
    """The same of some nodes, each as it is after so many more tasks of `ask`."""
    columns = (
        rows,
        table.of_service(ask.service)[rows] + steps,
        table.tasks[rows] + steps,
        table.cpu_free[rows] - steps * ask.cpu_millis,
        np.maximum(table.cpu[rows], 1),
        table.memory_free[rows] - steps * ask.memory,
        np.maximum(table.memory[rows], 1),
        table.busy[rows],
    )
    for row, of_service, tasks, cpu_free, cpu, memory_free, memory, busy in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        yield Figures(
            row=row,
            turn=0,
            of_service=of_service,
            tasks=tasks,
            cpu_free=cpu_free,
            cpu=cpu,
            memory_free=memory_free,
            memory=memory,
            busy=busy,
            nodes=len(table),
            crowd=table.crowd,
        )


class Formula(Protocol):
    """The score of all nodes, or of one; the highest wins."""

    def __call__(self, figures: Figures[F], ask: Ask, /) -> F: ...


class Policy(msgspec.Struct, frozen=True):
    """A way to choose."""

    name: str
    score: Formula
    words: Callable[[Figures[float], Ask], str]
    """What speaks for a node, before the task is on it. Follows the node's name."""
    measures: bool = False
    """Whether it asks what is in use, beside what is set aside."""
    begin: int = -1
    """The row that counts as the last one chosen while none was."""
    turns: bool = False
    """Whether the best is whoever has room and comes next after the last that got a task, whatever the task is."""
    crowds: bool = False
    """Whether the scores of all nodes change when the crowd doubles."""
    largest_first: bool = False
    """Whether of tasks that were made in the same second the largest are placed first."""
    fall: Callable[[NodeTable, int], float] | None = None
    """By how much at least one task more of any kind lowers a node's score for every other, while the crowd stays what
    it is: a score from before is a bound then, and nobody has to look at it until it comes first. None if it may rise,
    or if nobody knows."""

    def best_of(self, table: NodeTable, ask: Ask, rows: Sequence[int]) -> int:
        """The best of a few rows with room, in order."""
        if self.turns:
            return min(rows, key=lambda row: (row - table.last - 1) % len(table))
        return max(rows, key=lambda row: self.score(numbers(table, ask, row), ask))

    def sentence(self, table: NodeTable, ask: Ask, row: int) -> str:
        """Why the task goes to this node, the best of those with room."""
        return self.said(table.names[row], numbers(table, ask, row), ask)

    def said(self, name: str, figures: Figures[float], ask: Ask) -> str:
        """The same of a node's figures."""
        return f"{self.name}: {name} {self.words(figures, ask)}"


# -- formulas


def _first_fit(figures: Figures[F], ask: Ask) -> F:
    return 0 - figures.row


def _first_fit_words(figures: Figures[float], ask: Ask) -> str:
    return "is the first with room"


def _round_robin(figures: Figures[F], ask: Ask) -> F:
    """The node after the one that got the newest task, by name and around; in an empty cluster the first."""
    return 0 - figures.turn


def _round_robin_words(figures: Figures[float], ask: Ask) -> str:
    return "is the next with room"


def _greedy(figures: Figures[F], ask: Ask) -> F:
    """The least busy cpu, in units of Cube's greedy scheduler: its measured share over 2 ** 0.8."""
    return 0 - figures.busy / _GREEDY_UNIT


def _greedy_words(figures: Figures[float], ask: Ask) -> str:
    return f"is the least busy: {figures.busy:.0%} of its cpu"


def _spread(figures: Figures[F], ask: Ask) -> F:
    """Fewest tasks of the service, then fewest tasks, then most room (at most a half, so it never weighs a task)."""
    return figures.free() / 2 - (figures.of_service * _MANY + figures.tasks)


def _spread_words(figures: Figures[float], ask: Ask) -> str:
    of_service, tasks = figures.of_service, figures.tasks
    return f"has {of_service} of {ask.service}'s tasks, {tasks} in all, and {figures.free():.0%} free"


def _binpack(figures: Figures[F], ask: Ask) -> F:
    """Best fit: the node that the task leaves least free."""
    return 1 - _free_after(figures, ask)


def _binpack_words(figures: Figures[float], ask: Ask) -> str:
    return f"is left {_free_after(figures, ask):.0%} free"


def _free_after(figures: Figures[F], ask: Ask) -> F:
    cpu, memory = figures.cpu_free - ask.cpu_millis, figures.memory_free - ask.memory
    return (cpu / figures.cpu + memory / figures.memory) / 2


def aligned(figures: Figures[F], ask: Ask) -> F:
    """How nearly free cpu and memory are in the proportion that the task needs, each as a part of the node's: the
    square of the cosine between the two (Tetris' alignment by Grandl et al., 2014, without what it owes to size). A
    task without needs is aligned with nothing."""
    cpu, memory = figures.cpu_free / figures.cpu, figures.memory_free / figures.memory
    need_cpu, need_memory = ask.cpu_millis / figures.cpu, ask.memory / figures.memory
    along = cpu * need_cpu + memory * need_memory
    lengths = (cpu * cpu + memory * memory) * (need_cpu * need_cpu + need_memory * need_memory)
    return along * along / (lengths + _SMALLEST)


def _alignment(figures: Figures[F], ask: Ask) -> F:
    """What a task takes in the proportion of what is free leaves neither of cpu and memory stranded."""
    return aligned(figures, ask) + _binpack(figures, ask) * _FULLER


def _alignment_words(figures: Figures[float], ask: Ask) -> str:
    return f"has {aligned(figures, ask):.0%} of its proportion free, and is left {_free_after(figures, ask):.0%} free"


def _epvm(figures: Figures[F], ask: Ask) -> F:
    """Opportunity cost (Amir et al., 2000): a node costs n to the power of its utilisation, for each of cpu, memory and
    count of tasks, with n the number of nodes; the least rise of that wins. Steep near full, so it balances what is
    scarcest. A count has no limit of its own, so its maximum is the crowd, which doubles when a node exceeds it."""
    base = float(max(figures.nodes, 2))
    rise = _power_again(base, figures.tasks / figures.crowd) * (math.pow(base, 1 / figures.crowd) - 1)
    if figures.prices is not None:
        cpu, memory = figures.prices()
        if ask.cpu_millis:
            rise = rise + cpu.used(figures.row) * cpu.rise(ask.cpu_millis, figures.row)
        if ask.memory:
            rise = rise + memory.used(figures.row) * memory.rise(ask.memory, figures.row)
        return 0 - rise
    if ask.cpu_millis:
        used = (figures.cpu - figures.cpu_free) / figures.cpu
        rise = rise + _power(base, used) * (_power_again(base, ask.cpu_millis / figures.cpu) - 1)
    if ask.memory:
        used = (figures.memory - figures.memory_free) / figures.memory
        rise = rise + _power(base, used) * (_power_again(base, ask.memory / figures.memory) - 1)
    return 0 - rise


def _epvm_words(figures: Figures[float], ask: Ask) -> str:
    return f"rises by {-_epvm(figures, ask):.4g} in cost"


def _power(base: float, exponent: F) -> F:
    """`base ** exponent` by Python. A node with room has an exponent of at most one; above, it is cut, because the
    powers of nodes that the task would fill many times over are too big for a double and nobody looks at them."""
    if isinstance(exponent, np.ndarray):
        cut = np.minimum(exponent, 1.0).tolist()
        return np.fromiter(map(math.pow, repeat(base), cut), np.float64, len(cut))
    return math.pow(base, min(exponent, 1.0))


def _power_again(base: float, exponent: F) -> F:
    """The same of exponents of which many are equal: of counts, and of one need in the capacity of machines."""
    if not isinstance(exponent, np.ndarray):
        return _power(base, exponent)
    powers, left = np.zeros(len(exponent)), np.ones(len(exponent), np.bool_)
    for _ in range(_DIFFERENT_MAX):
        first = int(left.argmax()) if len(left) else 0
        if not len(left) or not left[first]:
            return powers
        alike = exponent == exponent[first]
        powers[alike] = _power(base, exponent.item(first))
        left &= ~alike
    powers[left] = _power(base, exponent[left])
    return powers


# -- bounds


def _stays(table: NodeTable, row: int) -> float:
    return 0.0


def _spread_falls(table: NodeTable, row: int) -> float:
    """A task is one task more, and leaves no more room; less what is lost in rounding."""
    return 0.999


def _epvm_falls(table: NodeTable, row: int) -> float:
    """What the count adds to the cost, which is the same for every task; less what is lost in rounding."""
    base = float(max(len(table), 2))
    factor = math.pow(base, 1 / table.crowd) - 1
    return 0.999 * math.pow(base, table.tasks.item(row) / table.crowd) * factor * factor


POLICIES = {
    policy.name: policy
    for policy in (
        Policy("first-fit", _first_fit, _first_fit_words, fall=_stays),
        Policy("round-robin", _round_robin, _round_robin_words, turns=True),
        Policy(DEFAULT, _spread, _spread_words, fall=_spread_falls),
        Policy("binpack", _binpack, _binpack_words),
        Policy("alignment", _alignment, _alignment_words, largest_first=True),
        Policy("epvm", _epvm, _epvm_words, crowds=True, fall=_epvm_falls),
        # As Cube and its children have it: their counter moves on before the first pick, so an empty cluster begins
        # with the second node.
        Policy("roundrobin", _round_robin, _round_robin_words, begin=0, turns=True),
        Policy("greedy", _greedy, _greedy_words, measures=True, fall=_stays),
    )
}


def table_for(
    policy: Policy,
    world: Snapshot,
    now: float,
    busy: Busy | None,
    *,
    without: str = "",
    measures: bool = False,
    held: Held | None = None,
) -> NodeTable:
    """The nodes, with what `policy` wants to know of them; `measures` if somebody else's measures, too."""
    measured = busy if policy.measures or measures else None
    return NodeTable(world, now, without=without, begin=policy.begin, busy=measured, held=held)


def policy_named(name: str) -> Policy:
    """The policy of that name. Raises Invalid, and names those there are."""
    policy = POLICIES.get(name)
    if policy is None:
        raise Invalid(f"there is no placement policy {name!r}; use one of {', '.join(POLICIES)}")
    return policy
