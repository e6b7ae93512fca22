"""A calm day of a small fleet: all comes to run, nothing is written while nothing happens, and it is told."""

from longshore.simulate.fleet import run_fleet
from longshore.simulate.telling import day


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
