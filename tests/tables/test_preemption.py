"""Displacement: exactly the fewest and the cheapest, on the best of all nodes; and never what must not be."""

from collections.abc import Sequence
from itertools import product
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide import deployments, rollout, services, wishes
from longshore.decide.admission import admit
from longshore.decide.placement.displacement import fewest
from longshore.decide.placement.explain import explain
from longshore.decide.placement.hostports import PORT_RETRY_S
from longshore.decide.placement.place import Kept, decide
from longshore.model.changes import Change
from longshore.model.invariants import broken
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Kind, NodeStatus, Object, Release, ReleasePhase, Service, Task
from longshore.model.placing import Affinity, Spread
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import (
    Condition,
    Dependency,
    Mode,
    PlacementRules,
    Port,
    Preemption,
    Resources,
    RestartOn,
    RestartPolicy,
    ServiceSpec,
    UpdateOrder,
    UpdateRules,
)
from longshore.model.views import ServiceWish
from longshore.simulate.displacing import Displacing
from tests import situations
from tests.situations import GIB, NOW, node, said, world
from tests.tables.build import placed, port, published, service, task
from tests.tables.naive_preemption import Pass

WORLDS = 3000


def random_world(rng: Random) -> Snapshot:
    """A few nodes that are nearly full of services of several priorities, and tasks that wait."""
    nodes = [
        replace(
            node(
                f"n{number}",
                cpu=rng.choice([1.5, 2.0, 3.0]),
                memory=rng.choice([4, 8]) * GIB,
                zone=rng.choice("ab"),
                machine=rng.choice(["", "", "", "m1"]),
                status=rng.choice([NodeStatus.READY] * 8 + [NodeStatus.DOWN]),
                availability=rng.choice([Availability.ACTIVE] * 8 + [Availability.PAUSED, Availability.DRAINED]),
            ),
            resources={"gpu": rng.choice([1, 2, 4])} if rng.random() < 0.5 else {},
        )
        for number in range(1, rng.choice([1, 2, 3]) + 1)
    ]
    records: list[Object] = [*nodes]
    services = [random_service(rng, name) for name in rng.sample(["api", "db", "web", "zap"], rng.choice([2, 3, 4]))]
    for one in services:
        records.append(one)
        for slot in range(1, one.spec.replicas + rng.choice([0, 0, 0, 1, 2]) + 1):
            if rng.random() < (0.9 if one.spec.priority <= 0 else 0.4):
                records.append(random_task(rng, one, slot, rng.choice(nodes).name))
            else:
                claims = rng.choice(["", "", "n1", "gone"])
                facts: dict[str, Any] = {"created_at": rng.choice([100.0, 200.0]), "claims": claims}
                records.append(task(one.name, slot, **facts))
    return world(*records)


def random_service(rng: Random, name: str) -> Service:
    return situations.service(
        name,
        mode=rng.choice([Mode.REPLICATED] * 5 + [Mode.JOB]),
        replicas=rng.choice([1, 2, 3, 4]),
        resources=Resources(
            cpu=rng.choice([0.25, 0.5, 0.5, 1.0, 1.0]),
            memory=rng.choice([0, 0, 1, 2]) * GIB,
            disk=rng.choice([0, 0, 0, 0, 40]) * GIB,
            named=rng.choice([{}] * 5 + [{"gpu": 1}]),
        ),
        ports=rng.choice([(), (), (Port(container=80, host=8080),), (Port(container=80),)]),
        placement=PlacementRules(
            constraints=rng.choice([(), (), (), ("node.labels.zone==a",)]),
            per_node_max=rng.choice([None, None, None, 2]),
        ),
        priority=rng.choice([-5, 0, 0, 10, 20]),
        preemption=rng.choice([Preemption.LOWER] * 4 + [Preemption.NEVER, Preemption.BELOW_MINIMUM]),
        update=UpdateRules(parallelism=rng.choice([0, 0, 1, 2])),
        stop_grace_s=1.0,
    )


def random_task(rng: Random, one: Service, slot: int, on: str) -> Task:
    state = rng.choice([State.RUNNING] * 5 + [State.PLACED, State.STARTING])
    return task(
        one.name,
        slot,
        on=on,
        state=state,
        ready=state is State.RUNNING and rng.random() < 0.8,
        wanted=rng.choice([Wanted.RUNNING] * 8 + [Wanted.STOPPED, Wanted.LEAVING]),
        created_at=rng.choice([1.0, 2.0, 3.0]),
        ports=published(*(port.host or rng.choice([8080, 8081]) for port in one.spec.ports)),
    )


def told(snapshot: Snapshot, kept: Kept | None = None) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Who is placed where, who claims which node, and who is displaced."""
    changes, _ = decide(snapshot, NOW, "first-fit", kept=kept)
    tasks = [change.after for change in changes if isinstance(change.after, Task)]
    placed = {one.id: one.node for one in tasks if one.reason is Reason.PLACED}
    claims = {one.id: one.claims for one in tasks if one.claims and one.state is State.NEW}
    displaced = {change.id for change in changes if change.reason is Reason.DISPLACED}
    assert len({change.id for change in changes}) == len(changes)
    return placed, claims, displaced


def kept_claims(snapshot: Snapshot, changed: dict[str, str], placed: dict[str, str], naive: Pass) -> dict[str, str]:
    """With those claims that stand and are not written again."""
    stand = {
        one.id: one.claims
        for one in snapshot.tasks()
        if one.claims and one.id in naive.claimed and naive.claimed[one.id] == one.claims
    }
    return {**stand, **changed}


@pytest.mark.parametrize("part", range(8))
def test_the_fewest_and_the_cheapest_are_found(part: int) -> None:
    displacing = 0
    for seed in range(part * WORLDS // 8, (part + 1) * WORLDS // 8):
        snapshot = random_world(Random(seed))
        naive = Pass(snapshot)
        naive.run()
        placed, claims, displaced = told(snapshot)
        assert placed == naive.placed, seed
        assert kept_claims(snapshot, claims, placed, naive) == naive.claimed, seed
        assert displaced == naive.gone, seed
        displacing += bool(displaced)
    assert displacing > WORLDS // 8 // 10


# -- lives: displacement among the other decisions, until all is at rest


class Life:
    """A cluster whose workers do what they are told, some of them late."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = NOW
        self.kept = Kept()
        self.displaced = 0
        nodes = [node(f"n{number}", cpu=rng.choice([0.5, 1.0, 1.5]), zone=rng.choice("ab")) for number in range(3)]
        self.world = world(*nodes)

    def wish(self, name: str) -> None:
        spec = admit(
            ServiceSpec(
                image=name,
                mode=self.rng.choice([Mode.REPLICATED] * 4 + [Mode.GLOBAL]),
                replicas=self.rng.choice([1, 2, 3, 5]),
                resources=Resources(cpu=self.rng.choice([0.25, 0.5, 1.0])),
                priority=self.rng.choice([-5, 0, 10, 20]),
                placement=PlacementRules(constraints=self.rng.choice([(), (), ("node.labels.zone==a",)])),
                update=UpdateRules(
                    parallelism=self.rng.choice([0, 1, 1, 2]),
                    order=self.rng.choice([None, UpdateOrder.STOP_FIRST]),
                    drain_s=self.rng.choice([None, 3.0]),
                ),
            )
        )
        self.apply(wishes.apply_service(self.world, name, ServiceWish(spec=spec), self.now))

    def apply(self, changes: Sequence[Change]) -> bool:
        before = self.world
        if changes:
            self.world, _ = self.world.apply(changes, (), self.now)
            assert not broken(self.world)
        for change in changes:
            if change.reason is Reason.DISPLACED:
                self.displaced += 1
                self.check(change, before)
        return bool(changes)

    def check(self, change: Change, before: Snapshot) -> None:
        """Whoever is displaced is of lower priority, and its service keeps what it has to keep."""
        task = before.task(change.id)
        assert task is not None
        service, by = before.services[task.service], before.services[change.message.split()[1].split(".")[0]]
        assert service.spec.priority < by.spec.priority
        most = service.spec.update.parallelism
        if task.ready and most and service.spec.mode is not Mode.GLOBAL:
            tasks = self.world.tasks_of_service(task.service).values()
            ready = sum(one.counts and one.ready and one.slot <= service.spec.replicas for one in tasks)
            assert ready >= service.spec.replicas - most, f"{task.service} has {ready} of {service.spec.replicas}"

    def work(self, late: float) -> bool:
        """Let the workers report; whether there was anything to do."""
        changes = []
        for one in self.world.tasks():
            if not one.live or not one.node:
                continue
            after = one
            if one.wanted in (Wanted.STOPPED, Wanted.REMOVED):
                after = replace(one, state=State.STOPPED, ready=False, finished_at=self.now, reason=Reason.STOPPED)
            elif one.state is not State.RUNNING:
                after = replace(one, state=State.RUNNING, ready=True, started_at=self.now, reason=Reason.HEALTHY)
            if after is not one and self.rng.random() >= late:
                changes.append(_reported(one, after))
        return self.apply(changes)

    def crash(self) -> None:
        running = [task for task in self.world.tasks() if task.state is State.RUNNING and task.wanted is Wanted.RUNNING]
        if running:
            task = self.rng.choice(running)
            end = replace(task, state=State.FAILED, ready=False, finished_at=self.now, reason=Reason.EXITED)
            self.apply([_reported(task, end)])

    def decide(self) -> bool:
        done = False
        for name in sorted(self.world.services.keys() | self.world.services_with_tasks.keys()):
            for one in (services, rollout, deployments):
                done |= self.apply(one.decide(self.world, name, self.now)[0])
        changes = decide(self.world, self.now, "spread", kept=self.kept)[0]
        assert changes == decide(self.world, self.now, "spread")[0], "what is kept changes nothing"
        return self.apply(changes) or done

    def rest(self) -> None:
        for _ in range(400):
            self.now += 1.0
            if not (self.decide() | self.work(0.3)) and not self.work(0.0):
                self.now += 100.0
                if not self.decide() | self.work(0.0):
                    return
        raise AssertionError("it does not come to rest")


def _reported(task: Task, after: Task) -> Change:
    return Change(kind=Kind.TASK, id=task.id, before=task.revision, after=after, by=Owner.WORKER, reason=after.reason)


@pytest.mark.parametrize("seed", range(60))
def test_a_cluster_with_priorities_comes_to_rest(seed: int) -> None:
    rng = Random(seed)
    life = Life(rng)
    for _ in range(6):
        life.wish(rng.choice(["api", "db", "web", "zap"]))
        for _ in range(rng.choice([1, 3, 8])):
            life.now += 1.0
            life.decide()
            life.work(0.5)
            if rng.random() < 0.15:
                life.crash()
        life.rest()
        naive = Pass(life.world)
        naive.run()
        assert not naive.claimed, "somebody could have displaced others, and did not"


# -- situations


LOW = {"cpu": 1.0, "priority": 0, "update": UpdateRules(parallelism=0)}


def low(name: str = "web", **fields: Any) -> Service:
    given: dict[str, Any] = LOW | fields
    return service(name, **given)


def high(name: str = "db", **fields: Any) -> Service:
    given: dict[str, Any] = {"cpu": 1.0, "priority": 10} | fields
    return service(name, **given)


def full(on: str = "n1", count: int = 4, of: str = "web", **fields: Any) -> list[Task]:
    """Tasks that run and serve."""
    return [task(of, slot, on=on, ready=True, created_at=float(slot), **fields) for slot in range(1, count + 1)]


def test_a_task_claims_its_node_and_says_who_goes() -> None:
    changes, _ = decide(world(node("n1"), low(replicas=4), high(), *full(), task("db")), NOW, "spread")
    claim, gone = changes
    assert isinstance(claim.after, Task)
    assert isinstance(gone.after, Task)
    assert (claim.id, claim.reason, claim.after.claims, claim.after.node) == ("db.1.1", Reason.MAKES_ROOM, "n1", "")
    assert claim.message == "on n1, where web.4.1 of priority 0 goes"
    assert (gone.id, gone.reason, gone.after.wanted) == ("web.4.1", Reason.DISPLACED, Wanted.STOPPED)
    assert gone.message == "by db.1.1, whose priority is 10, not 0"


def test_who_claims_a_node_displaces_nobody_more_and_nobody_comes_in_between() -> None:
    leaving = [*full(count=3), task("web", 4, on="n1", wanted=Wanted.STOPPED), task("web", 4, generation=2)]
    claiming = task("db", claims="n1", created_at=300.0)
    assert placed(node("n1"), low(replicas=4), high(), *leaving, claiming).keys() == {"web.4.2"}
    free = [*full(count=3), task("web", 4, generation=2, created_at=1.0)]
    assert placed(node("n1"), low(replicas=4), high(), *free, claiming)["db.1.1"] == "n1"
    part = [*full(count=2), task("web", 3, on="n1", wanted=Wanted.STOPPED), task("web", 4, generation=2)]
    two = high(cpu=2.0)
    assert "db.1.1" not in placed(node("n1"), low(replicas=4), two, *part, claiming)
    assert "not enough cpu" in placed(node("n1"), low(replicas=4), two, *part, claiming)["web.4.2"]


def test_what_leaves_anyway_is_waited_for() -> None:
    one = low("api", priority=10)
    leaving = [*full(count=3), task("api", 1, on="n1", wanted=Wanted.STOPPED)]
    told = placed(node("n1"), low(replicas=3), one, high(), *leaving, task("db"))
    assert told == {"db.1.1": "on n1, which others are about to leave"}


@pytest.mark.parametrize(
    ("fields", "own", "displaced"),
    [
        ({}, {}, True),
        ({"priority": 10}, {}, False),
        ({"update": UpdateRules(parallelism=1)}, {}, True),
        ({"update": UpdateRules(parallelism=1), "replicas": 5}, {}, False),
        ({"update": UpdateRules(parallelism=1), "replicas": 5}, {"preemption": Preemption.BELOW_MINIMUM}, True),
        ({"update": UpdateRules(parallelism=1), "replicas": 5, "mode": Mode.JOB}, {}, True),
        ({}, {"preemption": Preemption.NEVER}, False),
        ({}, {"constraints": ("node.name==n2",)}, False),
        ({}, {"cpu": 5.0}, False),
    ],
    ids=str,
)
def test_who_may_be_displaced_by_whom(fields: dict[str, Any], own: dict[str, Any], displaced: bool) -> None:
    """Nobody of no lower priority, whom the service cannot spare, by who never asks for it, or for nothing."""
    records: list[Object] = [node("n1"), low(**({"replicas": 4} | fields)), high(**own), *full(), task("db")]
    changes, again = decide(world(*records), NOW, "spread")
    assert any(change.reason is Reason.DISPLACED for change in changes) is displaced
    starved = fields.get("replicas") == 5 and not displaced
    assert (again is not None) is starved, "whether it is looked at again by itself"


@pytest.mark.parametrize(
    ("own", "pinned", "again"),
    [
        ({}, "", NOW - 10.0 + PORT_RETRY_S),
        ({}, "n1", NOW - 10.0 + PORT_RETRY_S),
        ({}, "n2", None),
        ({"ports": ()}, "n2", None),
        ({"constraints": ("node.name==n2",)}, "", None),
        ({"preemption": Preemption.NEVER}, "", None),
    ],
    ids=str,
)
def test_a_port_that_nobody_could_give_up_is_tried_again_in_time(
    own: dict[str, Any], pinned: str, again: float | None
) -> None:
    """Where others would give way but for that, it is looked at again by itself: nobody is told when a program ends."""
    fixed = port(80, 8080)
    refused = task("db", state=State.REJECTED, on="n1", reason=Reason.PORT_TAKEN, ports=published(8080))
    refused = replace(refused, finished_at=NOW - 10.0)
    waits = task("db", generation=2, pinned=pinned)
    one = high(**({"ports": (fixed,), "mode": Mode.GLOBAL if pinned else Mode.REPLICATED} | own))
    records: list[Object] = [node("n1"), node("n2", cpu=0.5), low(replicas=4), one, *full(), refused, waits]
    changes, at = decide(world(*records), NOW, "spread")
    assert not any(change.reason is Reason.DISPLACED for change in changes)
    assert at == again
    changes, _ = decide(world(*records), NOW - 10.0 + PORT_RETRY_S, "spread")
    assert any(change.reason is Reason.DISPLACED for change in changes) is (again is not None)


def test_who_keeps_away_from_where_room_could_be_made_looks_again() -> None:
    """Nobody is told when a node need not be avoided any more."""
    failed = replace(task("db", state=State.FAILED, on="n1"), avoids={"n1": NOW + 60.0}, finished_at=NOW - 10.0)
    records: list[Object] = [node("n1"), low(replicas=4), high(), *full(), failed, task("db", generation=2)]
    changes, again = decide(world(*records), NOW, "spread")
    assert not any(change.reason is Reason.DISPLACED for change in changes)
    assert again is not None
    assert NOW < again <= NOW + 60.0
    changes, _ = decide(world(*records), NOW + 60.0, "spread")
    assert any(change.reason is Reason.DISPLACED for change in changes)


def test_who_stands_by_displaces_nobody_unless_its_node_is_to_be_left() -> None:
    reliefs = [task("db", 1, on="n2", ready=True), task("db", 1, generation=2, relieves="db.1.1")]
    for availability, displaces in ((Availability.ACTIVE, False), (Availability.DRAINED, True)):
        full_up = replace(node("n2", cpu=1.0), availability=availability)
        changes, _ = decide(world(node("n1"), full_up, low(replicas=4), high(), *full(), *reliefs), NOW, "spread")
        assert any(change.reason is Reason.DISPLACED for change in changes) is displaces


def test_the_place_of_a_task_that_ended_is_held_until_its_slot_is_filled_again() -> None:
    ended = task("db", 1, on="n1", state=State.FAILED, finished_at=NOW)
    others = [*full(count=3), task("web", 4)]
    assert "not enough cpu" in placed(node("n1"), low(replicas=4), high(), ended, *others)["web.4.1"]
    never = high(restart=RestartPolicy(condition=RestartOn.NONE))
    assert placed(node("n1"), low(replicas=4), never, ended, *others)["web.4.1"] == "n1"
    assert placed(node("n1"), low(replicas=4), high(priority=0), ended, *others)["web.4.1"] == "n1"
    stood_by = task("db", 1, generation=2, on="gone", state=State.FAILED, relieves="db.1.1", finished_at=NOW)
    assert "not enough cpu" in placed(node("n1"), low(replicas=4), high(), ended, stood_by, *others)["web.4.1"]


@pytest.mark.parametrize(
    ("state", "fields", "former", "again", "held"),
    [
        pytest.param(State.FINISHED, {"mode": Mode.JOB}, {}, [], False, id="a job that is done is not run again meanwhile"),
        pytest.param(State.FAILED, {"restart": RestartPolicy(attempts_max=0)}, {}, [], False, id="nor what was given up"),
        pytest.param(State.FAILED, {}, {}, ["+db.1.2"], True, id="what failed is"),
        pytest.param(State.FAILED, {"restart": RestartPolicy(attempts_max=0)}, {"restart": RestartPolicy()}, ["+db.1.2"], True, id="by its own rules"),
        pytest.param(State.FAILED, {}, {"resources": Resources(cpu=1.0)}, ["+db.1.2"], False, id="with what its own release needs"),
        pytest.param(State.FAILED, {"resources": Resources(cpu=1.0)}, {"resources": Resources(cpu=3.0)}, ["+db.1.2"], True, id="be it more"),
        pytest.param(State.FINISHED, {"mode": Mode.JOB}, {"mode": Mode.REPLICATED}, ["+db.1.2"], True, id="also where the next one is a job"),
    ],
)  # fmt: skip
def test_while_a_release_waits_room_is_held_for_what_fills_the_slot_meanwhile(
    state: State, fields: dict[str, Any], former: dict[str, Any], again: list[str], held: bool
) -> None:
    ended = task("db", 1, on="n1", state=state, started_at=NOW - 1.0, finished_at=NOW)
    never = (Dependency(service="never", condition=Condition.READY),)
    spec: dict[str, Any] = {"priority": 10, "resources": Resources(cpu=3.0)} | fields
    two = situations.service("db", release=2, depends=never, **spec)
    one = Release(service="db", number=1, spec=replace(two.spec, depends=(), **former), phase=ReleasePhase.DONE)
    records: list[Object] = [node("n1"), two, one, low(cpu=2.0), ended, task("web")]
    assert said(services.decide(world(*records), "db", NOW)[0]) == again
    assert ("not enough cpu" in placed(*records)["web.1.1"]) is held


def test_nobody_is_near_one_for_whom_room_is_only_held() -> None:
    ended = task("db", 1, on="n1", state=State.FAILED, finished_at=NOW)
    near = situations.service("web", placement=PlacementRules(affinity=(Affinity(service="db"),)))
    told = placed(node("n1"), high(), near, ended, task("web"))
    assert told["web.1.1"] == "0 of 1 node: not near db by node.name (n1)"
    told = placed(node("n1"), high(), near, ended, task("db", 1, generation=2), task("web"))
    assert told == {"db.1.2": "n1", "web.1.1": "n1"}


def test_what_is_to_come_is_no_reason_to_put_more_elsewhere() -> None:
    even = PlacementRules(spread=(Spread(over="node.name", skew_max=1),))
    db = situations.service("db", resources=Resources(cpu=1.0), placement=even, priority=10, replicas=3)
    leaves, claims = task("web", on="n1", wanted=Wanted.STOPPED), task("db", 1, claims="n1", created_at=1.0)
    tasks = [leaves, claims, task("db", 2, on="n2", ready=True), task("db", 3)]
    told = placed(node("n1", cpu=1.0), node("n2"), low(cpu=1.0), db, *tasks)
    assert "uneven by node.name, over 1 more than elsewhere (n2)" in told["db.3.1"]


def test_whom_a_task_has_to_be_near_is_not_displaced_for_it() -> None:
    near = PlacementRules(affinity=(Affinity(service="web"),))
    one = situations.service("db", resources=Resources(cpu=1.0), placement=near, priority=10)
    changes, _ = decide(world(node("n1"), low(replicas=4), one, *full(), task("db")), NOW, "spread")
    assert not any(change.reason is Reason.DISPLACED for change in changes)


@pytest.mark.parametrize(
    ("there", "parallelism", "needs", "gone"),
    [
        pytest.param([1, 2, 3, 4, 5], 1, 3.0, [], id="scaled down to three, it spares one, not three"),
        pytest.param([1, 2, 3, 4, 5], 1, 1.0, ["web.3.1"], id="which goes"),
        pytest.param([1, 2, 3, 4, 5], 2, 2.0, ["web.3.1", "web.2.1"], id="or two"),
        pytest.param([1, 2, 4, 5], 1, 1.0, [], id="none if one of the three is not served"),
        pytest.param([1, 2, 4, 5], 2, 1.0, ["web.2.1"], id="or one"),
        pytest.param([1, 2, 3], 1, 1.0, ["web.3.1"], id="as ever"),
    ],
)
def test_what_is_about_to_go_as_well_makes_up_for_nobody(
    there: list[int], parallelism: int, needs: float, gone: list[str]
) -> None:
    """At a scale down, `services` removes the tasks that are too many in the same moment."""
    some = [task("web", slot, on="n1" if slot <= 3 else "n2", ready=True, created_at=float(slot)) for slot in there]
    web = low(replicas=3, update=UpdateRules(parallelism=parallelism))
    full_up = node("n1", cpu=float(sum(slot <= 3 for slot in there)))
    db = high(cpu=needs, constraints=("node.name==n1",))
    changes, _ = decide(world(full_up, node("n2"), web, db, *some, task("db")), NOW, "spread")
    assert [change.id for change in changes if change.reason is Reason.DISPLACED] == gone


@pytest.mark.parametrize(
    ("before", "displaced", "wrong"),
    [
        pytest.param({"replicas": 5}, [3], False, id="one of those that stay"),
        pytest.param({"replicas": 5}, [2, 3], True, id="two of them, which neither wish spared"),
        pytest.param({"replicas": 5, "parallelism": 2}, [2, 3], False, id="the former one did"),
        pytest.param({"replicas": 2}, [2], False, id="what is more now nobody knew of"),
        pytest.param({"replicas": 3}, [2], True, id="though a slot had been empty for long"),
        pytest.param(None, [1, 2, 3], False, id="who decided took them for nobody's"),
    ],
)
def test_the_witness_of_a_displacement_knows_what_was_wished_when_it_was_decided(
    before: dict[str, int] | None, displaced: list[int], wrong: bool
) -> None:
    def web(replicas: int = 3, parallelism: int = 1) -> Service:
        return low(replicas=replicas, update=UpdateRules(parallelism=parallelism))

    seen, empty = Displacing(), before is not None and before["replicas"] <= 3
    serving = [task("web", slot, on="n1", ready=True) for slot in (1, 2, 3)]
    after = [replace(one, wanted=Wanted.STOPPED) if one.slot in displaced else one for one in serving]
    if empty:
        after[2] = replace(serving[2], state=State.FAILED, ready=False)
        seen.see(after[2], serving[2], Reason.EXITED, NOW - 100.0)
    seen.wished(web(**before or {}), web() if before else None, NOW)
    for slot in displaced:
        seen.see(after[slot - 1], serving[slot - 1], Reason.DISPLACED, NOW)
    snapshot, last = world(node("n1"), web(), high(), *after, task("db", claims="n1")), displaced[-1] - 1
    assert bool(seen.wrong(after[last], serving[last], snapshot, NOW, 2.5)) is wrong


@pytest.mark.parametrize(
    ("parallelism", "needs", "gone"),
    [
        pytest.param(1, 1.0, ["web.1.1"], id="who has the port has the cpu too"),
        pytest.param(1, 2.0, [], id="one that has the port and another one are two"),
        pytest.param(2, 2.0, ["web.3.1", "web.1.1"], id="if the service can spare them"),
        pytest.param(2, 3.0, [], id="and no more"),
        pytest.param(0, 3.0, ["web.3.1", "web.2.1", "web.1.1"], id="all of them, if it can spare them"),
    ],
)
def test_what_a_service_spares_it_spares_of_all_its_tasks_whatever_ports_they_have(
    parallelism: int, needs: float, gone: list[str]
) -> None:
    web = low(replicas=3, ports=(port(80),), update=UpdateRules(parallelism=parallelism))
    some = [replace(one, ports=published(8079 + one.slot)) for one in full(count=3)]
    db = high(cpu=needs, ports=(port(80, 8080),))
    changes, again = decide(world(node("n1", cpu=3.0), web, db, *some, task("db")), NOW, "spread")
    assert [change.id for change in changes if change.reason is Reason.DISPLACED] == gone
    assert (again is not None) is (not gone), "whether it is looked at again by itself"


def test_who_serves_leaves_the_rotation_first() -> None:
    draining = low(replicas=4, update=UpdateRules(parallelism=0, drain_s=5.0))
    changes, _ = decide(world(node("n1"), draining, high(), *full(), task("db")), NOW, "spread")
    gone = changes[1].after
    assert isinstance(gone, Task)
    assert (gone.wanted, gone.leaving_at) == (Wanted.LEAVING, NOW)


def test_devices_are_room_too() -> None:
    one = replace(node("n1"), resources={"gpu": ("a", "b")})
    holds = [task("web", slot, on="n1", ready=True, devices={"gpu": (id,)}) for slot, id in ((1, "a"), (2, "b"))]
    gpu = Resources(named={"gpu": 1})
    web = situations.service("web", resources=gpu, replicas=2, update=UpdateRules(parallelism=0))
    db = situations.service("db", resources=gpu, priority=10)
    changes, _ = decide(world(one, web, db, *holds, task("db")), NOW, "spread")
    assert [change.id for change in changes] == ["db.1.1", "web.2.1"]


def test_what_belongs_to_a_service_that_was_just_removed_gives_way_like_any_other() -> None:
    orphans = [replace(one, ready=True) for one in full(of="gone")]
    spec = low("gone").spec
    records: list[Object] = [
        node("n1"),
        low(replicas=1),
        high(),
        Release(service="gone", number=1, spec=spec),
        *orphans,
        task("db"),
    ]
    changes, _ = decide(world(*records), NOW, "spread")
    assert [change.id for change in changes] == ["db.1.1", "gone.4.1"]


def test_who_waits_is_told_that_room_is_held_for_others() -> None:
    leaving = [*full(count=3), task("web", 4, on="n1", wanted=Wanted.STOPPED)]
    waits = task("web", 4, generation=2)
    claiming = task("db", claims="n1", created_at=300.0)
    situation = world(node("n1", cpu=5.0), low(replicas=4), high(cpu=2.0), *leaving, waits, claiming)
    told = explain(situation, waits, NOW, "spread")
    assert not told.scores
    assert told.sentence.endswith("not enough cpu (n1); what is held for others before it is counted as in use")


@pytest.mark.parametrize("steps", [fewest.STEPS_MAX, 0])
def test_the_arithmetic_of_the_fewest(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against all ways there are; and, cut short, still a way that has nobody in it who could be spared."""
    monkeypatch.setattr(fewest, "STEPS_MAX", steps)
    rng = Random(7)
    for _ in range(2000):
        groups = sorted(
            (
                fewest.Group(rng.choice([0, 5]), (rng.randint(0, 3), rng.randint(0, 2)), rng.randint(0, 2), 0, count)
                for count in [rng.randint(1, 3) for _ in range(rng.randint(0, 4))]
            ),
            key=lambda one: -one.priority,
        )
        lacks = (rng.randint(-1, 8), rng.randint(0, 4))
        some = tuple(place for place in range(len(groups)) if rng.random() < 0.5)
        limits = [fewest.Limit(some, rng.randint(0, 4))] if rng.random() < 0.5 else []
        every = [
            way
            for way in product(*(range(one.count + 1) for one in groups))
            if _makes_up(groups, way, lacks)
            and all(sum(way[place] for place in limit.places) <= limit.most for limit in limits)
        ]
        found = fewest.fewest(groups, lacks, limits)
        assert found is None or every
        if steps or not limits:
            assert found is not None or not every
        if found is None:
            continue
        best = min(_price(groups, way) for way in every)
        if steps:
            assert found.price == best
            assert sorted(found.ways) == sorted(way for way in every if _price(groups, way) == best)
        for way in found.ways:
            assert found.price == _price(groups, way)
            fewer = [tuple(n - (place == at) for place, n in enumerate(way)) for at in range(len(way)) if way[at]]
            assert way in every
            assert not set(fewer) & set(every)


def _makes_up(groups: Sequence[fewest.Group], way: Sequence[int], lacks: Sequence[int]) -> bool:
    sums = [sum(n * one.gives[sort] for n, one in zip(way, groups, strict=True)) for sort in range(2)]
    return all(sum >= lack for sum, lack in zip(sums, lacks, strict=True))


def _price(groups: Sequence[fewest.Group], way: Sequence[int]) -> fewest.Price:
    every = [one for n, one in zip(way, groups, strict=True) for _ in range(n)]
    priorities = tuple(sorted((one.priority for one in every), reverse=True))
    return len(every), priorities, sum(one.cpu_millis for one in every), sum(one.memory for one in every)


def test_room_that_is_held_is_no_reason_to_look_again_at_once() -> None:
    """Who waits for others hopes for those that are placed; nobody was."""
    low = situations.service("low", resources=Resources(cpu=1.0))
    high = situations.service("high", resources=Resources(cpu=1.0), priority=10)
    near = situations.service("near", placement=PlacementRules(affinity=(Affinity(service="ghost", over="node.name"),)))
    leaves = task("low", on="n1", state=State.RUNNING, wanted=Wanted.STOPPED)
    claims = task("high", claims="n1", created_at=1.0)
    snapshot = world(node("n1", cpu=1.0), low, high, near, leaves, claims, task("near", created_at=1.0))
    changes, again = decide(snapshot, NOW, "first-fit")
    assert "near.1.1" in {change.id for change in changes}
    assert again is None or again > NOW


def test_nobody_is_near_what_is_yet_to_come() -> None:
    """Room that is held for a task is not the task."""
    low = situations.service("low", resources=Resources(cpu=1.0))
    high = situations.service("high", resources=Resources(cpu=1.0), priority=10)
    near = situations.service(
        "near", priority=5, placement=PlacementRules(affinity=(Affinity(service="high", over="node.name"),))
    )
    leaves = task("low", on="n1", state=State.RUNNING, wanted=Wanted.STOPPED)
    waits = [task("high", claims="n1", created_at=1.0), task("near", created_at=1.0)]
    placed, claims, _ = told(world(node("n1", cpu=1.0), low, high, near, leaves, *waits))
    assert (placed, claims) == ({}, {})
    placed, _, _ = told(world(node("n1", cpu=2.0), low, high, near, leaves, *waits))
    assert placed == {"high.1.1": "n1", "near.1.1": "n1"}
