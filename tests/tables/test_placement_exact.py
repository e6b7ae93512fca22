"""Placement in bulk is exactly placement one by one, in every random world; and never what must not be."""

import math
import time
from random import Random

import pytest
from msgspec.structs import replace

from longshore.decide.placement import hostports
from longshore.decide.placement.explain import explain
from longshore.decide.placement.place import decide
from longshore.decide.placement.scoring.scores import POLICIES
from longshore.model.changes import COMMIT_CHANGES_MAX, Change
from longshore.model.invariants import broken
from longshore.model.lifecycle import ON_NODE, TERMINAL, State, Wanted
from longshore.model.objects import Availability, NodeStatus, Object, PublishedPort, Release, Task, Volume
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import PlacementRules, Port, Protocol, Resources, ServiceSpec
from tests.situations import mounting, volume
from tests.tables import naive
from tests.tables.build import GIB, NOW, node, port, service, task, waiting, world

WORLDS = 2000
"""Random worlds for each policy."""
FEW = range(30000, 30006)
"""So few host ports to choose from that they run out."""
VOLUMES = ("data", "logs")


@pytest.fixture(autouse=True)
def few_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostports, "CHOSEN_LAST", FEW[-1])


def random_spec(rng: Random, prefix: str, *, contended: bool) -> ServiceSpec:
    if contended:
        chosen = [port(number, protocol=rng.choice([*Protocol])) for number in range(rng.choice([1, 1, 2, 4]))]
        return ServiceSpec(image="x", ports=(port(80, rng.choice([8080, 8080, FEW[0]])), *chosen))
    ports: dict[tuple[int | None, Protocol, int], Port] = {}
    for container in range(rng.choice([0, 0, 0, 1, 1, 2, 3])):
        host = rng.choice([None, None, 8080, 8081, 30000, 30002])
        one = port(container, host, rng.choice([Protocol.TCP, Protocol.TCP, Protocol.UDP]))
        ports[host, one.protocol, container if host is None else 0] = one
    constraints = ["node.labels.zone==a", "node.labels.zone != b", "node.name!=n2", "node.name==n1"]
    resources = Resources(
        cpu=rng.choice([0.0, 0.0, 0.25, 0.5, 1.0]),
        memory=rng.choice([0, 0, 1, 2, 4]) * GIB,
        disk=rng.choice([0, 0, 0, 10, 40]) * GIB,
    )
    return ServiceSpec(
        image="x",
        resources=resources,
        labels={"tier": "a"} if resources.disk else {"tier": "b"} if resources.memory else {},
        ports=tuple(ports.values()),
        placement=PlacementRules(constraints=tuple(rng.sample(constraints, rng.choice([0, 0, 0, 1, 2])))),
        mounts=mounting(*(prefix + one for one in rng.sample(VOLUMES, rng.choice([0, 0, 0, 0, 1, 2])))),
    )


def random_nodes(rng: Random, *, contended: bool) -> list[Object]:
    """All shares of cpu and memory are whole 64ths or so, so that sums of doubles are exact and ties are ties."""
    return [
        node(
            f"n{number}",
            cpu=rng.choice([0.0, 1.0, 2.0, 2.0, 4.0]),
            memory=rng.choice([0, 4, 8, 8, 16]) * GIB,
            status=rng.choice([NodeStatus.READY] * 6 + [NodeStatus.DOWN]),
            availability=rng.choice([Availability.ACTIVE] * 6 + [Availability.PAUSED, Availability.DRAINED]),
            machine=rng.choice(["", "", "", "m1", "m2"]),
            zone=rng.choice("ab"),
        )
        if rng.random() < 0.95
        else replace(node(f"n{number}"), reason=Reason.NODE_HELD)
        for number in rng.sample(range(1, 30), rng.choice([1, 2] if contended else [0, 1, 2, 3, 4, 5, 6, 9]))
    ]


def random_world(rng: Random, *, sharing: bool = True) -> Snapshot:
    """With `sharing`, services know volumes of others by the same name."""
    contended = rng.random() < 0.2
    """A few nodes where everybody wants the same ports."""
    nodes = random_nodes(rng, contended=contended)
    names = [one.name for one in nodes if hasattr(one, "name")]
    records = nodes.copy()
    for name in rng.sample(["api", "db", "web", "zap"], rng.choice([1, 2, 3, 4])):
        kept = range(1, rng.choice([1, 1, 2]) + 1)
        prefix = "" if sharing else f"{name}-"
        specs = [random_spec(rng, prefix, contended=contended) for _ in kept]
        records += [Release(service=name, number=number, spec=spec) for number, spec in zip(kept, specs, strict=True)]
        for slot in range(1, rng.choice([1, 3, 6, 12])):
            release = rng.choice(kept) if rng.random() < 0.98 else 7
            created_at = rng.choice([1.0, 2.0, 2.0, 3.0])
            if rng.random() < 0.2 and names:
                records.append(random_volume(rng, prefix, name, slot, names))
            if rng.random() < 0.35 and names:
                records.append(old_task(rng, name, slot, release, created_at, rng.choice(names)))
            else:
                pinned = rng.choice([*names, "gone"]) if rng.random() < 0.15 else ""
                wanted = Wanted.RUNNING if rng.random() < 0.97 else Wanted.STOPPED
                before = crashes(rng, name, slot, release, names) if names and rng.random() < 0.2 else []
                records += before
                records.append(
                    task(
                        name,
                        slot,
                        generation=len(before) + 1,
                        release=release,
                        created_at=created_at,
                        pinned=pinned,
                        wanted=wanted,
                    )
                )
    return world(*records)


def random_volume(rng: Random, prefix: str, service: str, slot: int, names: list[str]) -> Volume:
    """Where a slot has a volume, or had one: on a node, on one that is gone, or on an engine that is."""
    on = rng.choice([*names, *names, "gone"])
    machine = rng.choice(["", "", "", "m1", "of-old"])
    return volume(
        prefix + rng.choice(VOLUMES), on, service, slot, machine=machine, at=rng.choice([1.0, 4.0, 5.0, 5.0, 6.0])
    )


def crashes(rng: Random, name: str, slot: int, release: int, names: list[str]) -> list[Object]:
    """Tasks of a slot that ended one after the other, many of them on one node."""
    mostly, most = rng.choice(names), {rng.choice(names): NOW + rng.choice([-1.0, 100.0])}
    return [
        task(
            name,
            slot,
            generation=generation,
            on=mostly if rng.random() < 0.9 else rng.choice(names),
            state=rng.choice([State.FAILED] * 8 + [State.REJECTED, State.FINISHED, State.LOST]),
            release=release if rng.random() < 0.95 else 1,
            finished_at=NOW - rng.choice([1.0, 599.0, 601.0]),
            started_at=rng.choice([None, None, NOW - 605.0, NOW - 700.0]),
            avoids=rng.choice([{}, {}, most]),
            placed_at=rng.choice([5.0, 5.0, 6.0]),
            container_id=rng.choice(["", "", "c"]),
        )
        for generation in range(1, rng.choice([2, 4, 4, 4, 5]))
    ]


def old_task(rng: Random, name: str, slot: int, release: int, created_at: float, on: str) -> Task:
    """A task that was placed once; the worlds take no care that its node had room for it, or the port was free."""
    state = rng.choice([*ON_NODE, *sorted(TERMINAL), State.FAILED, State.FAILED])
    hosts = rng.sample([8080, 8080, 8081, *FEW], rng.choice([0, 0, 1, 2]))
    ports = tuple(PublishedPort(container=1, host=host, protocol=rng.choice([*Protocol])) for host in hosts)
    old = task(
        name,
        slot,
        on=on,
        state=state,
        release=release,
        created_at=created_at,
        ports=ports,
        placed_at=rng.choice([5.0, 5.0, 6.0]),
        wanted=rng.choice([*Wanted]),
    )
    if state is State.FAILED:
        old = replace(old, reason=Reason.PORT_TAKEN, finished_at=NOW - rng.choice([0.0, 10.0, 29.0, 30.0, 99.0]))
    return old


def awkward(here: Snapshot, rng: Random) -> Snapshot:
    """The same world in numbers that no double holds exactly."""
    records: list[Object] = []
    for _, _, one in here.objects():
        if isinstance(one, Release):
            need = Resources(cpu=rng.choice([0.0, 0.1, 0.3]), memory=rng.randrange(4 * GIB))
            records.append(replace(one, spec=replace(one.spec, resources=need)))
        else:
            records.append(one)
    return world(*records)


def rows_of(changes: list[Change]) -> list[tuple[str, str, tuple[PublishedPort, ...], str]]:
    rows = []
    for change in changes:
        after = change.after
        if isinstance(after, Volume):
            continue
        assert isinstance(after, Task)
        fits = after.state is State.PLACED
        rows.append((change.id, after.node, after.ports, "" if fits else after.message))
    return rows


@pytest.mark.parametrize("policy", POLICIES)
def test_bulk_is_one_by_one(policy: str) -> None:
    placed = waited = again = 0
    for seed in range(WORLDS):
        here = random_world(Random(seed))
        changes, look = decide(here, NOW, policy)
        expected, expected_look = naive.decide(here, NOW, policy, FEW)
        assert rows_of(changes) == expected, f"seed {seed}"
        assert look == expected_look, f"seed {seed}"
        placed += sum(bool(row[1]) for row in expected)
        waited += sum(not row[1] for row in expected)
        again += look is not None
    assert min(placed, waited) > WORLDS, "the worlds say nothing"
    assert again > WORLDS / 40, "the worlds say nothing about refused ports"


@pytest.mark.parametrize("policy", ["first-fit", "round-robin", "epvm", "alignment"])
def test_bulk_is_one_by_one_in_awkward_numbers(policy: str) -> None:
    for seed in range(WORLDS // 2):
        rng = Random(seed)
        here = awkward(random_world(rng), rng)
        assert rows_of(decide(here, NOW, policy)[0]) == naive.decide(here, NOW, policy, FEW)[0], f"seed {seed}"


def troubles(here: Snapshot) -> set[str]:
    """The broken sentences, without the figures after the colon."""
    return {line.split(":")[0] for line in broken(here)}


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_made_worse(policy: str) -> None:
    """Whatever was broken before (the random worlds are careless), placement breaks nothing more."""
    for seed in range(WORLDS // 4):
        here = random_world(Random(seed))
        before = troubles(here)
        changes, _ = decide(here, NOW, policy)
        for change in changes:
            here, _ = here.apply([change], (), NOW)
            after = change.after
            if isinstance(after, Task) and after.node:
                chosen = here.nodes[after.node]
                assert chosen.status is NodeStatus.READY
                assert chosen.availability is Availability.ACTIVE
        assert troubles(here) <= before, f"seed {seed}"


@pytest.mark.parametrize("policy", POLICIES)
def test_the_rest_follows_from_any_first_part(policy: str) -> None:
    """A manager that stops after some commits places the others as it would have."""
    for seed in range(WORLDS // 4):
        rng = Random(seed)
        # A volume of a name that others know is one more place for their tasks: a second pass may place more of them.
        here = random_world(rng, sharing=False)
        changes, _ = decide(here, NOW, policy)
        landed = rng.randrange(min(len(changes), COMMIT_CHANGES_MAX) + 1)
        if landed:
            here, _ = here.apply(changes[:landed], (), NOW)
        rest = [row for row in rows_of(decide(here, NOW, policy)[0]) if row[1]]
        assert rest == [row for row in rows_of(changes[landed:]) if row[1]], f"seed {seed}"


@pytest.mark.parametrize("policy", POLICIES)
def test_equal_worlds_give_equal_answers(policy: str) -> None:
    """Also if their records were stored in another order."""
    for seed in range(WORLDS // 8):
        rng = Random(seed)
        here = random_world(rng)
        records = [one for _, _, one in here.objects()]
        rng.shuffle(records)
        assert decide(world(*records), NOW, policy) == decide(here, NOW, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_first_goes_where_the_explanation_says(policy: str) -> None:
    for seed in range(WORLDS // 4):
        here = random_world(Random(seed))
        queue = naive.waiting(here, policy)
        if not queue:
            continue
        told = explain(here, queue[0], NOW, policy)
        row = rows_of(decide(here, NOW, policy)[0])[0]
        if told.scores:
            release = here.release(queue[0].service, queue[0].release)
            assert release is not None
            away = naive.Situation(here, NOW, FEW).avoided(queue[0], release.spec)
            those = [name for name in told.scores if name not in away] or [*told.scores]
            assert row[1] == max(those, key=lambda name: told.scores[name])
        else:
            assert row[3] == told.sentence


def test_epvm_is_the_least_rise_in_cost() -> None:
    """Against the paper's formula, before it was rearranged: the sum of n**(used + need) - n**used."""
    for seed in range(WORLDS // 2):
        rng = Random(seed)
        here = awkward(random_world(rng), rng)
        queue = naive.waiting(here, "epvm")
        if not queue or not (scores := explain(here, queue[0], NOW, "epvm").scores):
            continue
        now = naive.Situation(here, NOW, FEW, {one.id: one for one in here.tasks()})
        spec = now.spec(queue[0])
        assert spec is not None
        n = max(2, len(here.nodes))
        crowd = 2 ** math.ceil(math.log2(max(1, *(len(now.on(one)) for one in here.nodes.values()), 1)))
        for name, score in scores.items():
            one, tasks = here.nodes[name], len(now.on(here.nodes[name]))
            rise = float(n ** ((tasks + 1) / crowd) - n ** (tasks / crowd))
            for free, whole, need in (
                (now.cpu_free(one), one.capacity.cpu_millis, spec.resources.cpu_millis),
                (now.memory_free(one), one.capacity.memory, spec.resources.memory),
            ):
                if whole:
                    rise += n ** ((whole - free + need) / whole) - n ** ((whole - free) / whole)
            assert score == pytest.approx(-rise, rel=1e-9), f"seed {seed}"


def test_ten_thousand_tasks_on_five_thousand_nodes_within_seconds() -> None:
    big = world(*(node(f"n{number:04}") for number in range(5000)), service(cpu=0.1, memory=GIB), *waiting(10_000))
    for policy in POLICIES:
        start = time.process_time()
        changes, _ = decide(big, NOW, policy)
        assert time.process_time() - start < 5.0, policy  # one after the other, they take minutes
        assert sum(change.reason is Reason.PLACED for change in changes) == 10_000
