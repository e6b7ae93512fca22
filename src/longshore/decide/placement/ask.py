"""What a task needs of a node, in the units that the table counts in.

All tasks of one release need the same, which is what lets `place` put them as one class; only a global service's
tasks differ, in the node each is pinned to, and that is asked task by task. Knows a spec; no node.
"""

from collections import Counter

import msgspec

from longshore.decide.placement.constraints import Constraint, of_platform, parse
from longshore.decide.placement.holdings import Extra, extra_of
from longshore.decide.placement.whom import Labels, labels_of
from longshore.model.placing import PlacementRules
from longshore.model.spec import Port, Protocol, ServiceSpec

HostPort = tuple[int, Protocol]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The need of each task of one release."""

    service: str
    cpu_millis: int = 0
    memory: int = 0
    disk: int = 0
    image: str = ""
    labels: Labels = ()
    """What rules of others may choose its tasks by."""
    constraints: tuple[Constraint, ...] = ()
    platform: tuple[Constraint, ...] = ()
    """What the platform comes to."""
    preferred: tuple[tuple[Constraint, int], ...] = ()
    """Constraints that nodes are liked for, with their weights."""
    rules: PlacementRules = PlacementRules()
    """All that was said of its places; those about other tasks are read here."""
    extra: Extra | None = None
    """Pids and named resources, and whom it keeps away; None if there is nothing of it."""
    ports: tuple[Port, ...] = ()
    fixed: tuple[HostPort, ...] = ()
    """Host ports that the user named, each once."""
    chosen: tuple[tuple[Protocol, int], ...] = ()
    """How many host ports the cluster is to choose, by protocol."""


def ask_of(service: str, spec: ServiceSpec) -> Ask:
    """What a task of `service` needs under `spec`."""
    return Ask(
        service=service,
        cpu_millis=spec.resources.cpu_millis,
        memory=spec.resources.memory,
        disk=spec.resources.disk,
        image=spec.image,
        labels=labels_of(spec.labels),
        constraints=tuple(parse(text) for text in spec.placement.constraints),
        platform=of_platform(spec.placement.platform),
        preferred=tuple((parse(one.constraint), one.weight) for one in spec.placement.prefers),
        rules=spec.placement,
        extra=extra_of(spec),
        ports=spec.ports,
        fixed=tuple(dict.fromkeys((port.host, port.protocol) for port in spec.ports if port.host is not None)),
        chosen=tuple(Counter(port.protocol for port in spec.ports if port.host is None).items()),
    )
