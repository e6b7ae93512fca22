"""Tasks bound a second, durably and seen by a watcher, in the published shapes of scheduling work; beside their floors.

Each shape is a process of its own (`binding`), with the real store and the real controllers. The clock runs from the
request for a service until the last of its tasks is bound, so the tasks' creation is in it, and so are all controllers;
the API and the workers are not.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from bench.binding import Bound
from bench.figure import Figure, Trouble, measured, short
from bench.run import Run
from bench.shapes import C2M, C2M_PART, SHAPES, Churn, Shape, curve
from bench.spread import nearest, per_second

FAMILY = "shapes"
LIMIT_S = 60.0
FULL_LIMIT_S = 300.0
START_S = 120.0

C2M_FAMILY = "c2m"
C2M_NOMAD_S = 1334.0
"""22 minutes 14 seconds (Nomad 1.0, December 2020)."""
C2M_TARGET_S = 300.0
C2M_LIMIT_S = 1800.0

CURVE_FAMILY = "curve"
CURVE_NODES = (500, 1000, 2000, 5000)
CURVE_TASKS = (1000, 2000, 5000, 10_000)
CURVE_FULL_NODES = (*CURVE_NODES, 10_000)
CURVE_FULL_TASKS = (*CURVE_TASKS, 20_000, 50_000)


def measure(run: Run) -> Iterator[Figure]:
    """Every shape that can be measured, and a line for each that cannot yet."""
    for shape in SHAPES:
        if shape.needs:
            yield _missing(shape)
        elif run.full or not shape.full:
            yield _row(run, shape, FULL_LIMIT_S if run.full else LIMIT_S)


def measure_c2m(run: Run) -> Iterator[Figure]:
    """Two million tasks, or a fiftieth of them."""
    shape = C2M if run.full else C2M_PART
    bound = bound_in(run, shape, C2M_LIMIT_S if run.full else FULL_LIMIT_S)
    count = len(bound.moments_s)
    if not count:
        raise Trouble(f"{shape.name}: not one task was bound")
    took_s = bound.moments_s[-1]
    said = f"{count:,} of {shape.measured:,} tasks on {shape.nodes:,} nodes; {count / took_s:.0f}/s"
    said += f"; CPU {bound.cpu_s:.0f} s"
    figure = measured(C2M_FAMILY, f"{shape.name}: all bound", "s", [took_s], note=said)
    if shape is C2M and count == shape.measured:
        against = f"Nomad {C2M_NOMAD_S:.0f} s"
        figure = replace(figure, target=C2M_TARGET_S / C2M_NOMAD_S, ratio=took_s / C2M_NOMAD_S, against=against)
    yield figure
    each = (bound.rss - bound.rss_before) / count / 1000
    yield measured(C2M_FAMILY, f"{shape.name}: memory of a task", "kB", [each], note=_memory(bound))


def measure_curve(run: Run) -> Iterator[Figure]:
    """What one task costs, as nodes grow and as tasks grow."""
    most_nodes, most_tasks = CURVE_NODES[-1], CURVE_TASKS[-1]
    for nodes in CURVE_FULL_NODES if run.full else CURVE_NODES:
        yield _point(run, f"{nodes} nodes, {most_tasks} tasks", curve(nodes, most_tasks))
    for tasks in CURVE_FULL_TASKS if run.full else CURVE_TASKS:
        yield _point(run, f"{tasks} tasks, {most_nodes} nodes", curve(most_nodes, tasks))


def bound_in(run: Run, shape: Shape, limit_s: float) -> Bound:
    """What a process of its own makes of a shape."""
    folder = run.folder / shape.name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "bench.binding", shape.name, str(folder), str(limit_s)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=2 * limit_s + START_S)
    _sweep(folder)
    if done.returncode:
        raise Trouble(f"shape {shape.name!r} failed:\n{done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Bound)


def _sweep(folder: Path) -> None:
    """The stores of two million tasks need not all lie there until the run ends."""
    for file in folder.iterdir():
        file.unlink()


def _row(run: Run, shape: Shape, limit_s: float) -> Figure:
    bound = bound_in(run, shape, limit_s)
    count = len(bound.moments_s)
    took_s = bound.moments_s[-1] if count == shape.measured else limit_s
    rate = count / took_s
    run.say(f"{shape.name}: {count} tasks in {took_s:.1f} s")
    figure = measured(FAMILY, f"{shape.name}, {shape.nodes} nodes", "tasks/s", [rate], note=_told(shape, bound))
    if shape.floor is None:
        return figure
    against = f"Kubernetes' floor {shape.floor:.0f} tasks/s"
    return replace(figure, target=shape.times, at_least=True, ratio=rate / shape.floor, against=against)


def _told(shape: Shape, bound: Bound) -> str:
    count = len(bound.moments_s)
    seconds = sorted(float(one) for one in per_second(bound.moments_s, 0.0))
    told = [f"{count} tasks" if count == shape.measured else f"only {count} of {shape.measured} tasks in time"]
    if shape.before:
        told.append(f"{shape.before} before")
    if shape.churn is not Churn.NOTHING:
        told.append(shape.churn.value)
    if len(seconds) > 1:
        told.append(f"in a second p50 {nearest(seconds, 0.5):.0f}, p1 {nearest(seconds, 0.01):.0f}")
    if count:
        told.append(f"the first after {short(bound.moments_s[0])} s")
        told.append(f"CPU {short(1000 * bound.cpu_s / count)} ms a task")
        told.append(f"{bound.waited_s / bound.moments_s[-1]:.0%} of the time spent waiting for a core")
    told.append(_memory(bound))
    return ", ".join(told)


def _memory(bound: Bound) -> str:
    return f"RSS {bound.rss / 1e6:.0f} MB after {bound.rss_before / 1e6:.0f} MB"


def _missing(shape: Shape) -> Figure:
    floor = f"Kubernetes' floor {shape.floor:.0f} tasks/s; " if shape.floor is not None else ""
    name = f"{shape.name}, {shape.nodes} nodes"
    return Figure(family=FAMILY, name=name, value=None, unit="tasks/s", note=f"{floor}needs {shape.needs}")


def _point(run: Run, name: str, shape: Shape) -> Figure:
    bound = bound_in(run, shape, FULL_LIMIT_S)
    count = len(bound.moments_s)
    if count < shape.measured:
        raise Trouble(f"{name}: only {count} tasks were bound in {FULL_LIMIT_S:.0f} s")
    run.say(f"{name}: {1e6 * bound.cpu_s / count:.0f} us of CPU a task")
    note = f"CPU; {count / bound.moments_s[-1]:.0f} tasks/s; {_memory(bound)}"
    return measured(CURVE_FAMILY, name, "us a task", [1e6 * bound.cpu_s / count], note=note)
