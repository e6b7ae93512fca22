"""How well placement packs and rebalance spreads: machines that a workload needs, moves, GPUs that are given out.

Beside other policies on the same draws, and beside a solver's bound where there is a solver. The draws are made up
after published shapes, so what is compared are the policies in one row of draws; figures of papers stand beside theirs
for orientation, with the trace itself where `LONGSHORE_BENCH_TRACE` names a folder with it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import mean

from msgspec.structs import replace

from bench.compaction import (
    Pack,
    best_fit,
    bound,
    cell,
    compacted,
    decided_by,
    dot_product,
    random_fit,
    scored_by,
    solver_there,
)
from bench.evenness import EACH, JOINING, NODES, SERVICES, evened
from bench.figure import Figure, measured, short
from bench.gpus import POLICIES, PUBLISHED, allocated, drawn, published_nodes
from bench.run import Run
from bench.shares import allocated_by
from bench.spread import nearest

FAMILY = "quality"
TRACE = "LONGSHORE_BENCH_TRACE"
TRIALS, FULL_TRIALS = 3, 11
MACHINES, FULL_MACHINES = 100, 400
DRAWS, FULL_DRAWS = 1, 10
BOUND_TARGET = 1.03
OURS = ("alignment", "binpack", "epvm", "spread")
PACKER = OURS[0]
"""Ours that is meant to pack."""
DEALERS = ("fragmentation=1,alignment=0.01", "alignment", "binpack")
"""Ours for GPUs; the first is meant for them."""
FGD = "FGD"
BEST_FIT = "best fit"


def measure(run: Run) -> Iterator[Figure]:
    yield from _compaction(run)
    yield from _evenness()
    yield from _gpus(run)


def _compaction(run: Run) -> Iterator[Figure]:
    trials, machines = (FULL_TRIALS, FULL_MACHINES) if run.full else (TRIALS, MACHINES)
    needed: dict[str, list[int]] = {}
    for seed in range(trials):
        rng = Random(seed)
        one = cell(rng, machines)
        order = list(range(machines))
        rng.shuffle(order)
        for name, pack in _packs(seed).items():
            needed.setdefault(name, []).append(compacted(one, order, pack))
        told = ", ".join(f"{name} {counts[-1]}" for name, counts in needed.items())
        run.say(f"cell {seed + 1} of {trials}: {one.tasks} tasks; machines: {told}")
    for name, counts in needed.items():
        shares = sorted(100 * count / machines for count in counts)
        value = nearest(shares, 0.9)
        note = f"90th percentile of {trials} cells of {machines}, {short(shares[0])} to {short(shares[-1])}"
        figure = measured(FAMILY, f"machines needed, {name}", "% of the cell", [value], note=note)
        if name != BEST_FIT:
            figure = _beside(figure, counts, needed[BEST_FIT], BEST_FIT, 1.0 if name == PACKER else None)
        yield figure
    if solver_there():
        figure = measured(FAMILY, f"machines needed, {PACKER}, beside the bound", "machines", needed[PACKER])
        yield _beside(figure, needed[PACKER], needed["bound"], "HiGHS' bound", BOUND_TARGET)
    else:
        note = "needs scipy: pip install scipy"
        yield Figure(family=FAMILY, name="machines needed, bound", value=None, unit="% of the cell", note=note)


def _packs(seed: int) -> dict[str, Pack]:
    packs = {name: decided_by(name) for name in OURS}
    packs |= {
        BEST_FIT: scored_by(best_fit),
        "best fit, largest first": scored_by(best_fit, decreasing=True),
        "dot product": scored_by(dot_product),
        "random": scored_by(random_fit(seed)),
    }
    return packs | ({"bound": bound} if solver_there() else {})


def _beside(figure: Figure, ours: list[int], theirs: list[int], name: str, target: float | None) -> Figure:
    ratios = tuple(one / other for one, other in zip(ours, theirs, strict=True))
    return replace(figure, ratio=mean(ratios), ratios=ratios, against=f"{name} in each cell", target=target)


def _evenness() -> Iterator[Figure]:
    one = evened()
    note = f"{SERVICES * EACH} tasks on {NODES} nodes, {JOINING} join; all placed anew would move {one.anew}"
    figure = measured(FAMILY, "rebalance, moves", "moves", [one.moves], note=note)
    yield replace(figure, ratio=one.moves / one.fewest, against=f"the fewest that make counts even {one.fewest}")
    note = f"0 is even, 1 all on one node; {short(one.before)} before"
    yield measured(FAMILY, "rebalance, imbalance left", "", [one.after], note=note)


def _gpus(run: Run) -> Iterator[Figure]:
    folder = Path(os.environ[TRACE]) if os.environ.get(TRACE) else None
    total = int((published_nodes().gpus > 0).sum())
    draws = [drawn(Random(seed), total, folder) for seed in range(FULL_DRAWS if run.full else DRAWS)]
    source = "the trace" if folder is not None else "made up after the published shares"
    marks: dict[str, list[float]] = {}
    for policy in POLICIES:
        marks[policy] = shares = [100 * allocated(tasks, policy, seed) for seed, tasks in enumerate(draws)]
        run.say(f"GPUs, {policy}: {mean(shares):.2f} %")
        note = f"at 100 % demand; tasks {source}, {total:,} GPUs; a formula of the bench's own"
        if policy in PUBLISHED:
            note += f"; published {PUBLISHED[policy]} % with the trace"
        yield measured(FAMILY, f"GPUs allocated, {policy}", "%", shares, note=note)
    for policy in DEALERS:
        shares = [100 * allocated_by(tasks, policy) for tasks in draws]
        run.say(f"GPUs, placement by {policy}: {mean(shares):.2f} %")
        note = f"at 100 % demand; tasks {source}; the placement decision itself"
        figure = measured(FAMILY, f"GPUs allocated, placement by {policy}", "%", shares, note=note)
        ratios = tuple(one / mark for one, mark in zip(shares, marks[FGD], strict=True))
        target = 1.0 if policy == DEALERS[0] else None
        yield replace(
            figure, ratio=mean(ratios), ratios=ratios, against="FGD in each draw", target=target, at_least=True
        )
