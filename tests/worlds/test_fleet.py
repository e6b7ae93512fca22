"""A calm day of a small fleet: all comes to run, nothing is written while nothing happens, and it is told. What waits
for its disk lands together."""

import asyncio

from longshore.simulate.clockwork import VirtualClock, run_in_virtual_time
from longshore.simulate.disk import CHANGE_S, SYNC_S, Disk
from longshore.simulate.fleet import run_fleet
from longshore.simulate.telling import day
from longshore.store.landing import GROUP_CHANGES
from longshore.store.memory import MemoryStore
from tests.contracts.commits import put
from tests.situations import node


def test_all_tasks_come_to_run() -> None:
    outcome = run_fleet(30, 300, policy="binpack", calm_s=20.0)
    assert outcome.wrong == ()
    join, run, calm = outcome.phases
    assert join.commits == 30
    assert run.commits > 300 // 128
    assert (calm.commits, calm.virtual_s >= 20.0) == (0, True)
    head, *phases, memory = day(outcome)
    assert head == "30 nodes, 300 tasks, placing by binpack"
    assert [line.split()[0] for line in phases] == ["join", "run", "calm"]
    assert "MiB" in memory


def test_the_same_seed_is_the_same_day() -> None:
    first, second = (run_fleet(10, 50, seed=7, calm_s=5.0) for _ in range(2))
    assert [(one.virtual_s, one.commits) for one in first.phases] == [
        (one.virtual_s, one.commits) for one in second.phases
    ]


def test_it_is_told_how_far_the_day_is() -> None:
    told: list[str] = []
    run_fleet(3, 6, calm_s=1.0, tell=told.append, tell_every_s=0.0)
    assert told[0].startswith("join: ")
    assert told[-1].startswith("calm: ")
    assert told[-1].endswith("; 3 of 3 workers joined, 6 of 6 tasks are with them")


def test_what_waits_for_the_disk_lands_together_and_in_its_order() -> None:
    """The first alone; what came while it was written, up to what one transaction holds; then the rest."""
    many = GROUP_CHANGES // 100

    async def main() -> list[tuple[float, int]]:
        disk, loop = Disk(MemoryStore(VirtualClock())), asyncio.get_running_loop()

        async def commit(number: int) -> tuple[float, int]:
            revision = await disk.commit([put(node(f"n{number}-{i}")) for i in range(100)])
            return loop.time(), revision

        return list(await asyncio.gather(*map(commit, range(many + 2))))

    landed = run_in_virtual_time(main())
    assert [revision for _, revision in landed] == [*range(1, many + 3)]
    first = SYNC_S + 100 * CHANGE_S
    second = first + SYNC_S + GROUP_CHANGES * CHANGE_S
    expected = [first, *[second] * many, second + first]
    assert all(abs(at - then) < 1e-9 for (at, _), then in zip(landed, expected, strict=True))
