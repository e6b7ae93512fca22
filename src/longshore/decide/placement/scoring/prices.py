"""What the cpu and memory in use on each node cost by E-PVM: powers, which are dear, kept while nothing changes there.

A node's price is the same for every class of tasks, and does not move when the crowd doubles, so whoever scores all
nodes anew finds most of it here. Each price is kept with what was free when it was worked out, so nobody has to say
what changed. Powers are Python's, as all of them are; knows no policy.
"""

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]
F = TypeVar("F", float, Vector)


class Price:
    """Of one resource: the base to the power of the part in use."""

    def __init__(self, base: float, whole: Counts, free: Counts) -> None:
        """`free` is read again whenever somebody asks."""
        self._base = base
        self._whole = np.maximum(whole, 1)
        self._free = free
        self._prices: Vector = np.zeros(len(whole), np.float64)
        self._known_at: Counts = np.full(len(whole), -1, np.int64)
        self._sizes, self._size = np.unique(self._whole, return_inverse=True)

    def used(self, row: F) -> F:
        """What is in use costs so much."""
        if isinstance(row, np.ndarray):
            rows = row.astype(np.int64)
            stale = rows[self._free[rows] != self._known_at[rows]]
            if len(stale):
                self._learn(stale)
            return self._prices[rows]
        place = int(row)
        if self._free.item(place) != self._known_at.item(place):
            self._learn(np.array([place]))
        return self._prices.item(place)

    def rise(self, need: int, row: F) -> F:
        """The factor by which a task's need raises that, less one."""
        if isinstance(row, np.ndarray):
            factors = [self._power(need / size) - 1 for size in self._sizes.tolist()]
            return np.array(factors, np.float64)[self._size[row.astype(np.int64)]]
        return self._power(need / self._whole.item(int(row))) - 1

    def _learn(self, rows: Counts) -> None:
        free, whole = self._free[rows], self._whole[rows]
        used = ((whole - free) / whole).tolist()
        self._prices[rows] = [self._power(one) for one in used]
        self._known_at[rows] = free

    def _power(self, exponent: float) -> float:
        """A node with room has an exponent of at most one; above, it is cut, because the powers of nodes that the task
        would fill many times over are too big for a double and nobody looks at them."""
        return math.pow(self._base, min(exponent, 1.0))
