"""What the events of one commit wake is what each of them would wake alone: each key once, in the order of the events."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from longshore.control.census import Census
from longshore.control.controllers import CLUSTER, controllers
from longshore.decide.placement.scoring.scores import DEFAULT
from longshore.loop.controller import Controller
from longshore.model.changes import Event
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Availability, Kind, Node, NodeStatus, Object, Release, Service, Task
from longshore.model.reasons import Reason
from longshore.model.spec import Dependency, Mode
from tests.situations import NOW, node, releases, service, task, world
from tests.tables.awake import Hands

WEB, EVERYWHERE, LATER = (
    service("web"),
    service("all", mode=Mode.GLOBAL),
    service("later", depends=(Dependency(service="web"),)),
)
DOWN, LEAVING = node("n2", status=NodeStatus.DOWN), replace(node("n3"), availability=Availability.LEAVING)
WORLD = world(
    *(node("n1"), DOWN, LEAVING, WEB, EVERYWHERE, LATER),
    *releases(WEB, EVERYWHERE, LATER),
    *(task(1, on="n1"), task(2, on="n1"), task(3, on="n2"), task(4, state=State.STOPPED, on="n3")),
)
WAITS, RUNS, LOST, ENDED = (
    task(5, state=State.NEW),
    task(1, on="n1"),
    task(3, on="n2"),
    task(4, state=State.STOPPED, on="n3"),
)


def rows() -> dict[str, Controller]:
    hands = Hands(5.0)
    rows = controllers(DEFAULT, hands.liveness, Census(hands.liveness, hands), lambda name: None)
    return {row.name: row for row in rows}


def told(*records: Object) -> tuple[Event, ...]:
    return tuple(event(place, one) for place, one in enumerate(records))


def event(position: int, one: Object) -> Event:
    assert isinstance(one, Task | Node | Service | Release)
    kinds = {Task: Kind.TASK, Node: Kind.NODE, Service: Kind.SERVICE, Release: Kind.RELEASE}
    id = one.name if isinstance(one, Node | Service) else one.id
    return Event(
        revision=2,
        position=position,
        at=NOW,
        kind=kinds[type(one)],
        id=id,
        after=one,
        by=Owner.MANAGER,
        reason=Reason.UPDATED,
    )


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            told(RUNS), {"services": "web later", "deployments": "web", "placement": "", "nodes": ""}, id="runs"
        ),
        pytest.param(told(RUNS, task(2, on="n1")), {"services": "web later", "deployments": "web"}, id="two of one"),
        pytest.param(told(RUNS, WAITS), {"placement": CLUSTER}, id="one waits"),
        pytest.param(told(RUNS, ENDED), {"placement": CLUSTER, "nodes": "n3"}, id="one ended where it leaves"),
        pytest.param(told(RUNS, LOST, ENDED), {"nodes": "n3"}, id="on a node that is down, and one that leaves"),
        pytest.param(told(node("n1")), {"services": "all later web", "nodes": "n1", "rebalance": CLUSTER}, id="a node"),
        pytest.param(told(LATER, *releases(WEB)), {"services": "later web", "rebalance": CLUSTER}, id="wishes"),
    ],
)
def test_keys_of_a_commit(events: Sequence[Event], expected: dict[str, str]) -> None:
    found = rows()
    for name, keys in expected.items():
        assert list(dict.fromkeys(found[name].wakes(events, WORLD))) == keys.split(), name


def test_together_they_wake_what_each_would() -> None:
    events = told(RUNS, WAITS, LOST, ENDED, node("n1"), DOWN, LATER, *releases(EVERYWHERE), task(1, of="all"))
    for row in rows().values():
        alone = {key for one in events for key in row.wakes((one,), WORLD)}
        assert set(row.wakes(events, WORLD)) == alone, row.name
        assert list(row.wakes((), WORLD)) == []
