"""The families of figures, in the order in which they are measured: the quiet ones first, since what has started 500
containers leaves an engine that is still tidying up."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from bench import api, cli, decisions, footprint, machines, quality, recovery, sessions, starts, store, throughput
from bench.figure import Figure
from bench.run import Run


class Family(NamedTuple):
    """Some figures that belong together."""

    measure: Callable[[Run], Iterable[Figure]]
    """What it gives before it fails counts."""
    needs_engine: bool
    by_name_only: bool = False
    """Whether it takes too long to be measured unasked."""


FAMILIES: dict[str, Family] = {
    footprint.FAMILY: Family(footprint.measure, needs_engine=True),
    store.FAMILY: Family(store.measure, needs_engine=False),
    decisions.FAMILY: Family(decisions.measure, needs_engine=False),
    api.FAMILY: Family(api.measure, needs_engine=False),
    cli.FAMILY: Family(cli.measure, needs_engine=False),
    throughput.FAMILY: Family(throughput.measure, needs_engine=False),
    throughput.C2M_FAMILY: Family(throughput.measure_c2m, needs_engine=False),
    throughput.CURVE_FAMILY: Family(throughput.measure_curve, needs_engine=False),
    quality.FAMILY: Family(quality.measure, needs_engine=False),
    sessions.FAMILY: Family(sessions.measure, needs_engine=False),
    recovery.FAMILY: Family(recovery.measure, needs_engine=True),
    machines.FAMILY: Family(machines.measure, needs_engine=True, by_name_only=True),
    starts.FAMILY: Family(starts.measure, needs_engine=True),
}
