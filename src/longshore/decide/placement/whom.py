"""Whom a rule about others means: the tasks of a service by its name, or all whose labels a selector chooses.

The labels are those of the task's own release, as its containers carry them. Knows texts and labels; not where anybody
is: that is `peers`'.
"""

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from longshore.decide.placement.constraints import Constraint, parse_selector
from longshore.model.placing import Affinity

Labels = tuple[tuple[str, str], ...]
"""A service's, in order of key."""


class Whom(msgspec.Struct, frozen=True):
    """Some tasks."""

    service: str
    """Empty if they are chosen by labels."""
    selector: tuple[Constraint, ...] = ()

    def __str__(self) -> str:
        return self.service or " and ".join(map(str, self.selector))

    def covers(self, service: str, labels: Labels) -> bool:
        """Whether tasks of a service with these labels are meant."""
        return service == self.service if self.service else self.chooses(labels)

    def chooses(self, labels: Labels) -> bool:
        """Whether its selector does."""
        own = dict(labels)
        return all(one.holds_for(own.get(one.key)) for one in self.selector)


@lru_cache(maxsize=4096)
def whom_of(affinity: Affinity) -> Whom:
    """Whom an affinity means."""
    return Whom(affinity.service, tuple(parse_selector(text) for text in affinity.selector))


def labels_of(labels: Mapping[str, str]) -> Labels:
    """A service's labels as they are compared."""
    return tuple(sorted(labels.items()))
