"""What a manager counts."""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from longshore.control.metrics import MeasuredStore, Metrics, measured
from longshore.loop.controller import Controller
from longshore.main.clock import MachineClock
from longshore.model.changes import Change
from longshore.model.errors import Conflict
from longshore.model.lifecycle import Owner
from longshore.model.objects import Kind
from longshore.model.reasons import Reason
from longshore.store.memory import MemoryStore
from tests import situations


def _lines(metrics: Metrics) -> list[str]:
    world = situations.world(situations.service("web"), situations.node("n1"), situations.task(1))
    return metrics.page(world, sessions=2).decode().splitlines()


async def test_commits_are_counted_by_how_they_end() -> None:
    metrics = Metrics("1")
    store = MeasuredStore(MemoryStore(MachineClock()), metrics)
    change = Change(
        kind=Kind.NODE, id="n1", before=0, after=situations.node("n1"), by=Owner.USER, reason=Reason.NODE_JOINED
    )
    await store.commit([change])
    with pytest.raises(Conflict):
        await store.commit([change])
    await store.close()
    lines = _lines(metrics)
    assert 'longshore_commits_total{outcome="done"} 1.0' in lines
    assert 'longshore_commits_total{outcome="conflict"} 1.0' in lines
    assert "longshore_commit_seconds_count 2.0" in lines


def test_decisions_are_counted_and_stay_the_same() -> None:
    metrics = Metrics("1")
    world = situations.world()

    def nothing(*_: object) -> Iterable[str]:
        return ()

    row = measured(Controller("services", nothing, nothing, lambda world, key, now: ([], now + 1)), metrics)
    assert row.decide(world, "web", 1.0) == ([], 2.0)
    assert 'longshore_decisions_total{controller="services"} 1.0' in _lines(metrics)


def test_states_are_read_off_the_snapshot() -> None:
    lines = _lines(Metrics("1"))
    assert 'longshore_tasks{state="running"} 1.0' in lines
    assert 'longshore_tasks{state="lost"} 0.0' in lines
    assert 'longshore_services{phase="running"} 1.0' in lines
    assert "longshore_sessions 2.0" in lines
    assert "longshore_evictions_held 0.0" in lines
    assert 'longshore_info{version="1"} 1.0' in lines
    held = replace(situations.node("n2"), reason=Reason.NODE_HELD)
    page = Metrics("1").page(situations.world(situations.node("n1"), held), sessions=1).decode()
    assert "longshore_evictions_held 1.0" in page.splitlines()


def test_strange_methods_make_no_labels() -> None:
    metrics = Metrics("1")
    for number in range(100):
        metrics.asked(f"M{number}", "unknown", 404, 0.1)
    assert sum("longshore_api_requests_total{" in line for line in _lines(metrics)) == 1
