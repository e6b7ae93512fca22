"""E-PVM as Cube computes it and as it is here: formula, figures and choices are read out of docs/ancestors/cube.md.

So the page cannot lie: its formula has to give its figures, and its choices have to be those of that formula and of
this product's own placement.
"""

import re
from collections.abc import Callable

import pytest

from longshore.model.objects import NodeStatus, Object
from tests.architecture.sources import ROOT
from tests.tables.build import node, placed, service, task

PAGE = (ROOT / "docs" / "ancestors" / "cube.md").read_text()
CORES = 20.0
MEMORY = 8_000_000 * 1024
TOTAL_KB = MEMORY // 1024
Load = tuple[float, float, int]
"""Parts of memory and cpu in use, and tasks."""


def formula() -> Callable[[int, float, float, int, float], float]:
    """The page's."""
    block = re.search(r"^```python\n(.+?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert block is not None
    names: dict[str, object] = {}
    exec(block[1], names)  # noqa: S102  (it is this repository's own page)
    score = names["score"]
    assert callable(score)
    return score


SCORE = formula()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first line begins with this."""
    _, _, rest = PAGE.partition(heading)
    lines = rest.splitlines()[2:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:end]]


FIGURES = rows("| situation | total |")
CHOICES = rows("| situation | n1: memory, cpu, tasks |")


def test_there_is_something_to_read() -> None:
    assert (len(FIGURES), len(CHOICES)) == (7, 5)


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row[0])
def test_the_formula_gives_the_figures(row: list[str]) -> None:
    total, available, wanted, tasks = map(int, row[1:5])
    assert f"{SCORE(total, available, wanted, tasks, float(row[5])):.10f}" == row[6]


def test_cpu_cancels() -> None:
    scores = {row[0]: row[6] for row in FIGURES}
    assert scores["idle cpu"] == scores["busy cpu"]
    assert len({SCORE(TOTAL_KB, TOTAL_KB // 2, 10**9, 3, cpu / 10) for cpu in range(11)}) == 1


def test_units_and_weights() -> None:
    """A size in MiB weighs what no size weighs; 512 MB weigh less than a sixth of one task more."""
    half = TOTAL_KB // 2
    assert SCORE(TOTAL_KB, half, 512, 0, 0.0) == SCORE(TOTAL_KB, half, 0, 0, 0.0)
    memory = SCORE(TOTAL_KB, half, 512_000_000, 0, 0.0) - SCORE(TOTAL_KB, half, 0, 0, 0.0)
    assert 0 < memory < SCORE(TOTAL_KB, half, 0, 0, 0.0) / 6


@pytest.mark.parametrize("row", CHOICES, ids=lambda row: row[0])
def test_where_the_task_goes(row: list[str]) -> None:
    loads = {"n1": load(row[1]), "n2": load(row[2])}
    memory, cpu = map(part, row[3].split(","))
    assert cubes(loads, memory) == row[4]
    assert ours(loads, memory, cpu) == row[5]


def part(text: str) -> float:
    return float(text.strip().removesuffix(" %")) / 100


def load(cell: str) -> Load | None:
    """None of a node that is down."""
    if cell == "down":
        return None
    memory, cpu, tasks = cell.split(",")
    return part(memory), part(cpu), int(tasks)


def cubes(loads: dict[str, Load | None], wanted: float) -> str:
    """The least score, the first of equals; what has none counts as nothing."""
    scores = {}
    for name, one in loads.items():
        scores[name] = 0.0
        if one is not None:
            memory, cpu, tasks = one
            scores[name] = SCORE(TOTAL_KB, round(TOTAL_KB * (1 - memory)), wanted * TOTAL_KB * 1000, tasks, cpu)
    return min(scores, key=lambda name: scores[name])


def ours(loads: dict[str, Load | None], memory: float, cpu: float) -> str:
    """Where `decide.placement` puts it, with what is in use as set aside by tasks that run."""
    records: list[Object] = [service("web", cpu=CORES * cpu, memory=round(MEMORY * memory)), task("web")]
    for name, one in loads.items():
        status = NodeStatus.READY if one is not None else NodeStatus.DOWN
        records.append(node(name, cpu=CORES, memory=MEMORY, status=status))
        if one is None:
            continue
        used, busy, tasks = one
        other = f"on-{name}"
        records.append(service(other, cpu=CORES * busy / tasks, memory=int(MEMORY * used / tasks)))
        records += [task(other, slot, on=name) for slot in range(1, tasks + 1)]
    return placed(*records, policy="epvm")["web.1.1"]
