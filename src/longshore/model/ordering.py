"""What services of one app may wait for: rules that hold for every set of specs, whoever wrote it down.

Knows specs alone. A Compose file's loader asks it to name a line, admission to name a field, so that one sentence says
the same at both doors.
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from longshore.model.spec import Condition, Mode, ServiceSpec


class Flaw(NamedTuple):
    """Why a service cannot wait for what it names."""

    service: str
    place: int
    """Which of its dependencies."""
    message: str


def flaws(services: Mapping[str, ServiceSpec]) -> list[Flaw]:
    """All that is wrong with what these services, which are all there are, wait for."""
    found = []
    for name, spec in services.items():
        for place, one in enumerate(spec.depends):
            other = services.get(one.service)
            if other is None:
                found.append(Flaw(name, place, f"there is no service {one.service} in this app; name one of it"))
            elif one.condition is Condition.COMPLETED and other.mode is not Mode.JOB:
                found.append(Flaw(name, place, f"{one.service} is no job, so it never completes; wait for it to start"))
    circle = cycle({name: [one.service for one in spec.depends] for name, spec in services.items()})
    if circle:
        first = services[circle[0]]
        place = [one.service for one in first.depends].index(circle[1])
        found.append(Flaw(circle[0], place, f"{' waits for '.join(circle)}; break the circle"))
    return found


def cycle(waits: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Names of which each waits for the next, the last being the first again; empty if there is no such circle."""
    try:
        TopologicalSorter({name: sorted(waits[name]) for name in sorted(waits)}).prepare()
    except CycleError as circle:
        return tuple(reversed(circle.args[1]))
    return ()
