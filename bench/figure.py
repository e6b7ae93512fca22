"""What is measured: a figure with its spread, its target and what it was measured against.

Pure data, so that the table and the JSON file cannot disagree.
"""

from collections.abc import Sequence
from statistics import median

import msgspec


class Trouble(Exception):
    """A figure could not be measured, and why. The other families go on; the run ends with exit code 1."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    family: str
    name: str
    value: float | None
    """The median, where there is more than one sample; None if it cannot be measured yet, and `note` says why."""
    unit: str
    samples: int = 1
    low: float | None = None
    high: float | None = None
    target: float | None = None
    """Of `ratio` if there is one, of `value` otherwise: at most this much."""
    at_least: bool = False
    """Whether it is at least so much instead."""
    ratio: float | None = None
    """`value` over the same figure of what stands in `against`."""
    ratios: tuple[float, ...] = ()
    """The same for each pair of neighbours."""
    against: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is; None if there is none."""
        one = self.ratio if self.ratio is not None else self.value
        return self._meets(one) if self.target is not None and one is not None else None

    @property
    def sure(self) -> bool:
        """Whether every pair says the same of the target as their medians do."""
        return all(self._meets(ratio) == self.met for ratio in self.ratios)

    def _meets(self, one: float) -> bool:
        target = self.target or 0.0
        return one >= target if self.at_least else one <= target


def measured(
    family: str, name: str, unit: str, samples: Sequence[float], *, target: float | None = None, note: str = ""
) -> Figure:
    """The median of some samples."""
    return Figure(
        family=family,
        name=name,
        unit=unit,
        value=median(samples),
        samples=len(samples),
        low=min(samples),
        high=max(samples),
        target=target,
        note=note,
    )


def compared(
    family: str,
    name: str,
    unit: str,
    pairs: Sequence[tuple[float, float]],
    against: str,
    *,
    target: float | None = None,
    note: str = "",
) -> Figure:
    """The medians of both halves of some pairs, ours first, and their ratios."""
    ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    plain = measured(family, name, unit, ours, target=target, note=note)
    return msgspec.structs.replace(
        plain,
        ratio=median(ours) / median(theirs),
        ratios=tuple(one / other for one, other in pairs),
        against=f"{against} {short(median(theirs))} {unit}",
    )


def short(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
