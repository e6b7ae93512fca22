"""Placement in bulk, in turns, and from what the last pass left: each is exactly placement one by one from nothing."""

from collections.abc import Iterator
from functools import partial
from random import Random

import numpy as np
import pytest
from msgspec.structs import replace

from longshore.decide.placement import bulk, hostports, place, ranking
from longshore.decide.placement.ask import Ask
from longshore.decide.placement.bulk import Bulk
from longshore.decide.placement.explain import explain
from longshore.decide.placement.held import Held
from longshore.decide.placement.place import Kept, decide
from longshore.decide.placement.scoring.scores import POLICIES, F, Figures, Policy
from longshore.decide.placement.table import NodeTable
from longshore.decide.placement.whom import whom_of
from longshore.model.changes import Change
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Availability, Kind, Node, NodeStatus, Object, Release, Task
from longshore.model.placing import Affinity
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import PlacementRules, Protocol, Resources, ServiceSpec
from tests.tables import naive
from tests.tables.build import GIB, NOW, node, port, task, world
from tests.tables.test_placement_exact import FEW, random_nodes, random_world, rows_of

WORLDS = 90
"""Random worlds for each policy."""
WHOM = tuple(whom_of(Affinity(selector=(text,))) for text in ("tier==a", "tier", "!tier", "tier!=b"))


@pytest.fixture(autouse=True)
def few_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostports, "CHOSEN_LAST", FEW[-1])


@pytest.fixture
def always_in_bulk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "BULK_LEAST", 1)


def busy_world(rng: Random) -> Snapshot:
    """Few nodes with much room, and many tasks whose classes take turns or come in runs."""
    records: list[Object] = [
        node(
            f"n{number}",
            cpu=rng.choice([4.0, 8.0, 8.0, 16.0]),
            memory=rng.choice([0, 16, 32, 32, 64]) * GIB,
            availability=rng.choice([Availability.ACTIVE] * 9 + [Availability.PAUSED]),
            machine="m1" if rng.random() < 0.05 else "",
            zone=rng.choice("ab"),
        )
        for number in range(rng.choice([1, 3, 5, 8]))
    ]
    turns = rng.choice([1, 2, 4, 40])
    for name in rng.sample(["api", "db", "web", "zap"], rng.choice([1, 2, 4])):
        spec = ServiceSpec(
            image="x",
            resources=Resources(cpu=rng.choice([0.0, 0.25, 0.5, 1.0]), memory=rng.choice([0, 1, 2, 4]) * GIB),
            ports=rng.choice([(), (), (), (port(1, 80),), (port(1),)]),
            placement=PlacementRules(constraints=rng.choice([(), (), ("node.labels.zone==a",)])),
        )
        records.append(Release(service=name, number=1, spec=spec))
        records += [
            task(name, slot, created_at=float(rng.randrange(turns)))
            if rng.random() < 0.9
            else task(name, slot, on=f"n{rng.randrange(8)}", placed_at=rng.choice([5.0, 6.0]))
            for slot in range(1, rng.choice([6, 12, 36]))
        ]
    return world(*records)


@pytest.mark.usefixtures("always_in_bulk")
@pytest.mark.parametrize("policy", POLICIES)
def test_many_at_once_are_as_one_by_one(policy: str) -> None:
    placed = 0
    for seed in range(WORLDS):
        here = random_world(Random(seed)) if seed % 2 else busy_world(Random(seed))
        expected = naive.decide(here, NOW, policy, FEW)
        changes, look = decide(here, NOW, policy)
        assert (rows_of(changes), look) == expected, f"seed {seed}"
        placed += sum(bool(row[1]) for row in expected[0])
    assert placed > 8 * WORLDS, "the worlds say nothing"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("looks", "few"), [(2, 4), (0, 0), (1, 1000)])
def test_classes_that_take_turns_are_as_if_alone(
    policy: str, looks: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever way their rankings are repaired."""
    monkeypatch.setattr(ranking, "LOOKS", looks)
    monkeypatch.setattr(ranking, "FEW", few)
    for seed in range(WORLDS, WORLDS + WORLDS // 3):
        here = busy_world(Random(seed))
        assert (rows_of((found := decide(here, NOW, policy))[0]), found[1]) == naive.decide(here, NOW, policy, FEW), (
            f"seed {seed}"
        )


def test_rankings_that_were_forgotten_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "RANKED_MAX", 1)
    for seed in range(WORLDS // 3):
        here = busy_world(Random(seed))
        assert rows_of(decide(here, NOW, "spread")[0]) == naive.decide(here, NOW, "spread", FEW)[0], f"seed {seed}"


# -- any policy at all


def any_policy(rng: Random, nodes: int, *, values: int, crowds: bool) -> Policy:
    """Scores that rise and fall as they like with the tasks on a node, many of them equal."""
    drawn = np.array([[rng.randrange(values) for _ in range(200)] for _ in range(nodes)], np.float64)

    def score(figures: Figures[F], ask: Ask) -> F:
        tasks = figures.tasks + (figures.crowd if crowds else 0)
        if isinstance(tasks, np.ndarray):
            found = drawn[np.asarray(figures.row, np.int64), tasks.astype(np.int64) % 200]
            assert not isinstance(figures.row, float)
            return found
        return drawn.item(int(figures.row), int(tasks) % 200)

    return Policy("any", score, lambda figures, ask: "", crowds=crowds)


def one_by_one(table: NodeTable, ask: Ask, policy: Policy, count: int) -> list[int]:
    """All nodes looked at for each task."""
    rows = []
    for _ in range(count):
        fitting = [row for row in range(len(table)) if table.cpu_free[row] >= ask.cpu_millis]
        if not fitting:
            break
        rows.append(policy.best_of(table, ask, fitting))
        table.take(rows[-1], ask)
    return rows


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize(("spare", "most"), [(1, bulk.SCORES_MAX), (bulk.SPARE, 5), (bulk.SPARE, bulk.SCORES_MAX)])
def test_the_merge_is_exact_for_any_scores(
    crowds: bool, spare: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "SPARE", spare)
    monkeypatch.setattr(bulk, "SCORES_MAX", most)
    deep = False
    for seed in range(20 * WORLDS):
        rng = Random(seed)
        records = [
            node(f"n{number}", cpu=rng.choice([0.0, 1.0, 2.0, 5.0, 40.0])) for number in range(rng.choice([1, 2, 6]))
        ]
        policy = any_policy(rng, len(records), values=rng.choice([1, 2, 3, 50]), crowds=crowds)
        here, ask, count = world(*records), Ask(service="web", cpu_millis=1000), rng.choice([1, 2, 7, 30])
        table = NodeTable(here, NOW)
        many = Bulk(table, ask, policy)
        found: list[int] = []
        while len(found) < count and (block := many.next(table.cpu_free // 1000, count - len(found))):
            deep = deep or block.steps.max(initial=0) > 2
            table.take_all(block.rows, ask)
            found += block.rows.tolist()
        assert found == one_by_one(NodeTable(here, NOW), ask, policy, count), f"seed {seed}"
    assert deep, "the worlds say nothing"


@pytest.mark.parametrize("crowds", [False, True])
def test_turns_are_exact_for_any_scores(crowds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that nobody knows a bound of: what changed is looked at each time."""
    for seed in range(2 * WORLDS):
        rng = Random(seed)
        here = busy_world(rng)
        policy = any_policy(rng, len(here.nodes), values=rng.choice([2, 3, 50]), crowds=crowds)
        monkeypatch.setitem(POLICIES, "any", policy)
        monkeypatch.setitem(naive.RANKS, "any", partial(_rank, policy))
        assert rows_of(decide(here, NOW, "any")[0]) == naive.decide(here, NOW, "any", FEW)[0], f"seed {seed}"


def _rank(policy: Policy, now: naive.Situation, waits: Task, spec: ServiceSpec, to: Node) -> tuple[float]:
    nodes = now.nodes()
    crowd = 1
    while crowd < max(len(now.on(one)) for one in nodes):
        crowd *= 2
    row = next(row for row, one in enumerate(nodes) if one is to)
    figures = Figures(
        row=float(row),
        turn=0.0,
        of_service=0.0,
        tasks=float(len(now.on(nodes[row]))),
        cpu_free=0.0,
        cpu=1.0,
        memory_free=0.0,
        memory=1.0,
        busy=0.0,
        nodes=len(nodes),
        crowd=crowd,
    )
    return (-policy.score(figures, Ask(service="")),)


# -- what one pass leaves for the next


COLUMNS = (
    *("up", "heard", "active", "cpu", "memory", "cpu_free", "memory_free", "disk_free", "tasks", "busy"),
    *("names", "row_of", "crowd", "last", "machines_are_shared"),
)


def lives(rng: Random, here: Snapshot, now: float) -> Iterator[tuple[Snapshot, float, bool]]:
    """A cluster that goes on: tasks are reported, come and go; nodes too. Whether placement is asked there."""
    for _ in range(30):
        changes = dict(change_of(rng, here, now) for _ in range(rng.choice([1, 1, 4])))
        here = (
            here.apply([one for one in changes.values() if one is not None], (), now)[0]
            if any(changes.values())
            else here
        )
        now += rng.choice([0.0, 0.0, 1.0, 20.0, 40.0])
        yield here, now, rng.random() < 0.6


def change_of(rng: Random, here: Snapshot, now: float) -> tuple[tuple[Kind, str], Change | None]:
    """Something happens to one record."""
    tasks, nodes = [*here.tasks()], [*here.nodes.values()]
    what, releases = rng.random(), [one for kind, _, one in here.objects() if isinstance(one, Release)]
    if what < 0.35 and releases:
        release = rng.choice(releases)
        slot = rng.randrange(1, 40)
        generation = 1 + max(
            (one.generation for one in tasks if (one.service, one.slot) == (release.service, slot)), default=0
        )
        made = task(release.service, slot, generation=generation, release=release.number, created_at=now)
        return (Kind.TASK, made.id), _written(made, 0, Owner.SERVICES)
    placed = [one for one in tasks if one.node and one.live]
    if what < 0.6 and placed:
        one = rng.choice(placed)
        ended = rng.choice([State.FAILED, State.FAILED, State.RUNNING])
        if ended is State.RUNNING and one.state is State.RUNNING:
            return (Kind.TASK, one.id), _written(replace(one, ready=True), one.revision, Owner.WORKER)
        reason = rng.choice([Reason.PORT_TAKEN, Reason.EXITED])
        after = replace(one, state=ended, reason=reason, finished_at=now if ended is State.FAILED else None)
        return (Kind.TASK, one.id), _written(after, one.revision, Owner.WORKER)
    if what < 0.7 and tasks:
        one = rng.choice(tasks)
        return (Kind.TASK, one.id), Change(
            kind=Kind.TASK, id=one.id, before=one.revision, after=None, by=Owner.SERVICES, reason=Reason.EXITED
        )
    if what < 0.78 or not nodes:
        joined = random_nodes(rng, contended=False)
        fresh = [one for one in joined if getattr(one, "name", "") not in here.nodes]
        if not fresh:
            return (Kind.NODE, ""), None
        return (Kind.NODE, fresh[0].name), _written(replace(fresh[0], revision=0), 0, Owner.WORKER)  # type: ignore[union-attr]
    one_node = rng.choice(nodes)
    if what < 0.83:
        return (Kind.NODE, one_node.name), Change(
            kind=Kind.NODE, id=one_node.name, before=one_node.revision, after=None, by=Owner.USER, reason=Reason.EXITED
        )
    changed = rng.choice(
        [
            replace(one_node, status=rng.choice([*NodeStatus])),
            replace(one_node, availability=rng.choice([*Availability])),
            replace(one_node, labels={"zone": rng.choice("abc")}),
            replace(one_node, engine=replace(one_node.engine, id=rng.choice(["", "m1", "m2"]))),
            replace(one_node, reason=rng.choice([Reason.NODE_HELD, Reason.NODE_JOINED])),
            replace(one_node, capacity=replace(one_node.capacity, cpu=rng.choice([1.0, 4.0]))),
        ]
    )
    return (Kind.NODE, one_node.name), _written(changed, one_node.revision, Owner.WORKER)


def _written(after: Object, before: int, by: Owner) -> Change:
    id = after.name if not isinstance(after, Task) else after.id  # type: ignore[union-attr]
    kind = Kind.TASK if isinstance(after, Task) else Kind.NODE
    return Change(kind=kind, id=id, before=before, after=after, by=by, reason=Reason.EXITED)


@pytest.mark.parametrize("policy", [*POLICIES, "image=2,steady=1,alignment=0.5"])
def test_what_a_pass_leaves_changes_nothing(policy: str) -> None:
    decided = 0
    for seed in range(WORLDS // 3):
        rng, kept = Random(seed), Kept()
        first = random_world(rng) if seed % 2 else busy_world(rng)
        for here, now, asked in lives(rng, first, NOW):
            if not asked:
                continue
            fresh = decide(here, now, policy)
            assert decide(here, now, policy, kept=kept) == fresh, f"seed {seed}"
            assert decide(here, now, policy, kept=kept) == fresh, f"seed {seed}, asked again"
            decided += len(fresh[0])
    assert decided > 100, "the worlds say nothing"


def test_an_explanation_from_what_a_pass_left_is_the_same() -> None:
    """And leaves nothing behind: the next pass decides as it would have."""
    told = 0
    for seed in range(WORLDS):
        rng, kept = Random(seed), Kept()
        for here, now, asked in lives(rng, random_world(rng), NOW):
            if not asked:
                continue
            for one in rng.sample([*here.tasks()], min(3, len([*here.tasks()]))):
                assert explain(here, one, now, "binpack", kept=kept) == explain(here, one, now, "binpack"), seed
                told += bool(one.ports and one.live)
            assert decide(here, now, "binpack", kept=kept) == decide(here, now, "binpack"), f"seed {seed}"
    assert told > 10, "the worlds say nothing of ports"


def test_a_table_that_was_repaired_is_one_that_was_counted() -> None:
    for seed in range(WORLDS // 2):
        rng, held = Random(seed), Held()
        for here, now, asked in lives(rng, random_world(rng), NOW):
            if not asked:
                continue
            kept, fresh = NodeTable(here, now, held=held), NodeTable(here, now)
            for column in COLUMNS:
                assert np.array_equal(getattr(kept, column), getattr(fresh, column)), f"seed {seed}: {column}"
            for service in ("api", "db", "web", "zap", "none"):
                assert np.array_equal(kept.of_service(service), fresh.of_service(service)), f"seed {seed}: {service}"
            for whom in WHOM:
                assert np.array_equal(kept.peers.of(whom), fresh.peers.of(whom)), f"seed {seed}: {whom}"
            for asks in (
                Ask(service="x", fixed=((8080, Protocol.TCP),)),
                Ask(service="x", chosen=((Protocol.TCP, 1),)),
            ):
                rows = (kept.ports.fit(kept.machine, asks), fresh.ports.fit(fresh.machine, asks))
                assert np.array_equal(*rows), f"seed {seed}: ports"
            for row in range(len(kept)):
                if rng.random() < 0.3:  # what a pass takes is not there in the next one
                    kept.take(
                        row,
                        Ask(
                            service="web",
                            cpu_millis=100,
                            memory=GIB,
                            ports=(port(1, 8080),),
                            fixed=((8080, port(1, 8080).protocol),),
                        ),
                    )
