"""The clock that a manager decides by: it never goes back, and never stands still."""

import pytest

from longshore.control.steady import SteadyClock, latest
from longshore.model.lifecycle import State
from longshore.model.objects import Object, Service
from tests.situations import NOW, node, service, task, world


class Machine:
    """A machine's clocks, as somebody sets them."""

    def __init__(self) -> None:
        self.wall, self.ran_s = NOW, 7.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.ran_s

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.ran_s += seconds


def test_it_follows_the_machines() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    for _ in range(5):
        machine.pass_time(3.5)
        assert (clock.now(), clock.monotonic()) == (machine.wall, machine.ran_s)


@pytest.mark.parametrize("back_s", [0.5, 3600.0, 86400.0])
def test_set_back_it_goes_on_from_where_it_was(back_s: float) -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    machine.pass_time(10.0)
    before = clock.now()
    machine.wall -= back_s
    assert clock.now() == before
    machine.pass_time(4.0)
    assert clock.now() == before + 4.0
    machine.wall = before + 100.0
    assert clock.now() == before + 100.0, "and follows again once it was caught up"


def test_set_forward_it_follows_at_once() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    machine.wall += 3600.0
    assert clock.now() == NOW + 3600.0


def test_it_begins_after_what_its_store_speaks_of() -> None:
    machine = Machine()
    clock = SteadyClock(machine)
    clock.begin_after(NOW + 50.0)
    assert clock.now() == NOW + 50.0
    machine.pass_time(1.0)
    assert clock.now() == NOW + 51.0
    clock.begin_after(NOW)
    assert clock.now() == NOW + 51.0


def test_the_latest_moment_is_that_of_any_record() -> None:
    web: Service = service()
    records: list[Object] = [
        node("n1"),
        web,
        task(state=State.FAILED, finished_at=NOW + 5.0),
        task(2, started_at=NOW + 3.0),
    ]
    assert latest(world(*records)) == NOW + 5.0
    assert latest(world()) == 0.0
