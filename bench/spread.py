"""Many samples in four numbers. Pure, so that it can be held to tables."""

from collections.abc import Collection

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How some samples lie."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0
    most: float = 0.0


def spread(samples: Collection[float]) -> Spread:
    """Of these; all zeros if there are none."""
    if not samples:
        return Spread()
    ordered = sorted(samples)
    return Spread(len(ordered), nearest(ordered, 0.5), nearest(ordered, 0.99), ordered[-1])


def nearest(ordered: list[float], share: float) -> float:
    """The least sample that at least `share` of all do not exceed."""
    at = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(at, 1) - 1]


def per_second(moments: Collection[float], began: float) -> list[int]:
    """How many of some moments fall into each whole second after `began`; the last, broken second is left out if there
    is another."""
    if not moments:
        return []
    buckets = [0] * (int(max(moments) - began) + 1)
    for moment in moments:
        buckets[max(int(moment - began), 0)] += 1
    return buckets[:-1] or buckets
