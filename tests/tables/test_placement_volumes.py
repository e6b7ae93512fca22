"""Where named volumes hold slots, what is written down of them, and how they are given up, row by row."""

from collections.abc import Sequence
from typing import Any

import pytest

from longshore.decide import rollout
from longshore.decide.placement.explain import explain
from longshore.decide.placement.place import decide
from longshore.decide.placement.scoring.scores import DEFAULT
from longshore.decide.placement.volumes import forget, set_place
from longshore.model.errors import Conflict, NotFound
from longshore.model.lifecycle import State
from longshore.model.objects import Availability, Node, NodeStatus, Object, Service, Task, Volume
from longshore.model.spec import Mode, UpdateOrder, UpdateRules
from tests import situations
from tests.situations import mounting, said, service, volume
from tests.tables.build import NOW, THREE, node, task, world

DB = service("db", mounts=mounting("data"))


def outcome(*records: Object) -> list[str]:
    """What a pass writes, in order: `data:db.1 on n1`, `db.1.1 on n1`, or why a task waits."""
    told = []
    for change in decide(world(*records), NOW, DEFAULT)[0]:
        after = change.after
        if isinstance(after, Volume):
            if after.created_at < NOW:
                assert after.task, "a volume that stays where it is has another task from now on"
                continue
            told.append(f"{after.name} of {after.service}.{after.slot} on {after.node}")
        else:
            told.append(f"{change.id} on {after.node}" if after.node else f"{change.id}: {after.message}")  # type: ignore[union-attr]
    return told


def twice(*names: str) -> list[Node]:
    """Nodes that share one engine."""
    return [node(name, machine="shared") for name in names]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param(
            [*THREE, DB, task("db")], ["data of db.1 on n1", "db.1.1 on n1"], id="the first time it is written down"
        ),
        pytest.param(
            [*THREE, DB, volume("data", "n3", "db"), task("db")], ["db.1.1 on n3"], id="it goes where its volume is"
        ),
        pytest.param(
            [*THREE, DB, volume("data", "n3", "db", 2), task("db", 1)],
            ["data of db.1 on n1", "db.1.1 on n1"],
            id="each slot of a service has volumes of its own",
        ),
        pytest.param(
            [*THREE[:2], node("n3", status=NodeStatus.DOWN), DB, volume("data", "n3", "db"), task("db")],
            ["db.1.1: 0 of 3 nodes: node is down (n3), volume data is on n3 (n1, n2)"],
            id="it waits for its node, and is not started on an empty twin",
        ),
        pytest.param(
            [*THREE, DB, volume("data", "n9", "db"), task("db")],
            ["db.1.1: 0 of 3 nodes: volume data is on n9 (n1, n2, n3)"],
            id="also if its node was removed",
        ),
        pytest.param(
            [*THREE, DB, volume("data", "n1", "db", machine="before"), task("db")],
            ["db.1.1: 0 of 3 nodes: volume data is on an engine that n1 had before (n1, n2, n3)"],
            id="a node by the same name with another engine has another volume",
        ),
        pytest.param(
            [*twice("n1", "n2"), DB, volume("data", "n1", "db", machine="shared"), task("db", pinned="")],
            ["db.1.1 on n1"],
            id="nodes on one engine share it",
        ),
        pytest.param(
            [
                *twice("n2"),
                node("n1", machine="shared", availability=Availability.DRAINED),
                DB,
                volume("data", "n1", "db", machine="shared"),
                task("db"),
            ],
            ["db.1.1 on n2"],
            id="and one may take over from the other",
        ),
        pytest.param(
            [*THREE, service("backup", mounts=mounting("data")), volume("data", "n2", "db"), task("backup")],
            ["data of backup.1 on n2", "backup.1.1 on n2"],
            id="another service that mounts it goes where it is",
        ),
        pytest.param(
            [*THREE, DB, service("backup", mounts=mounting("data")), task("db"), task("backup", created_at=200.0)],
            ["data of db.1 on n1", "db.1.1 on n1", "data of backup.1 on n1", "backup.1.1 on n1"],
            id="in the same pass too",
        ),
        pytest.param(
            [*THREE, service("db", mode=Mode.GLOBAL, mounts=mounting("data")), task("db", pinned="n2")],
            ["db.1.1 on n2"],
            id="a global service has its volumes everywhere",
        ),
        pytest.param(
            [
                *THREE,
                service("db", mounts=mounting("data", "logs")),
                volume("data", "n1", "db"),
                volume("logs", "n2", "db"),
                task("db"),
            ],
            ["db.1.1: 0 of 3 nodes: volume logs is on n2 (n1), volume data is on n1 (n2, n3)"],
            id="two volumes on two nodes are never together",
        ),
        pytest.param(
            [
                *THREE,
                DB,
                volume("data", "n1", "db", at=50.0),
                task("db", on="n1", state=State.REJECTED, placed_at=50.0),
                task("db", generation=2, avoids={}),
            ],
            ["db.1.2 on n1"],
            id="what was never used holds nobody",
        ),
        pytest.param(
            [
                node("n1", availability=Availability.PAUSED),
                *THREE[1:],
                DB,
                volume("data", "n1", "db", at=50.0),
                task("db", on="n1", state=State.REJECTED, placed_at=50.0),
                task("db", generation=2),
            ],
            ["data of db.1 on n2", "db.1.2 on n2"],
            id="so it may go elsewhere",
        ),
        pytest.param(
            [
                node("n1", availability=Availability.PAUSED),
                *THREE[1:],
                DB,
                volume("data", "n1", "db", at=49.0),
                task("db", on="n1", state=State.REJECTED, placed_at=50.0),
                task("db", generation=2),
            ],
            ["db.1.2: 0 of 3 nodes: node is paused or drained (n1), volume data is on n1 (n2, n3)"],
            id="but not if it was there before that task",
        ),
    ],
)
def test_a_slot_stays_with_its_volume(records: Sequence[Object], expected: list[str]) -> None:
    assert outcome(*records) == expected


def test_a_task_that_waits_for_its_volume_is_told_what_to_do() -> None:
    away = world(*THREE, DB, volume("data", "n9", "db"), task("db"))
    waits = away.task("db.1.1")
    assert waits is not None
    told = explain(away, waits, NOW, DEFAULT)
    assert told.sentence == "0 of 3 nodes: volume data is on n9 (n1, n2, n3)"
    assert "`longshore volume forget db.1.data`" in told.advice


@pytest.mark.parametrize("state", [State.RUNNING, State.PLACED])
def test_a_volume_in_use_is_not_forgotten(state: State) -> None:
    used = world(*THREE, DB, volume("data", "n1", "db"), task("db", on="n1", state=state))
    with pytest.raises(Conflict, match=r"db\.1\.1 has volume db\.1\.data on n1"):
        forget(used, "db.1.data")


def test_a_volume_is_forgotten_once_nobody_has_it() -> None:
    ended = task("db", on="n1", state=State.LOST)
    left = world(*THREE, DB, volume("data", "n1", "db"), ended, task("db", generation=2))
    assert said(forget(left, "db.1.data")) == ["-db.1.data"]
    with pytest.raises(NotFound, match=r"there is no volume db\.2\.data"):
        forget(left, "db.2.data")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"mounts": mounting("data", read_only=True)}, ["db.1.1 wanted stopped"], id="read only"),
        pytest.param(
            {"mounts": mounting("data"), "update": UpdateRules(order=UpdateOrder.START_FIRST)},
            ["db.1.1 wanted stopped"],
            id="although asked to start first",
        ),
        pytest.param({}, ["+db.1.2"], id="without a volume another is started first"),
    ],
)
def test_a_drained_node_stops_what_has_its_volume_there(spec: dict[str, Any], expected: list[str]) -> None:
    one: Service = service("db", **spec)
    drained = node("n1", availability=Availability.DRAINED)
    world_ = world(drained, *THREE[1:], one, situations.task(of="db"))
    assert said(rollout.decide(world_, "db", NOW)[0]) == expected


def test_the_user_says_where_a_volume_is() -> None:
    here = world(*THREE, DB, volume("data", "n1", "db"), task("db"))
    (change,) = set_place(here, "db.1.data", "n2")
    following, _ = here.apply([change], (), NOW)
    assert [one.after.node for one in decide(following, NOW, DEFAULT)[0] if isinstance(one.after, Task)] == ["n2"]
    assert set_place(here, "db.1.data", "n1") == []
    with pytest.raises(NotFound, match="there is no node n9"):
        set_place(here, "db.1.data", "n9")
