"""What is decided by a glance at parts of a service is what is decided by a look at each of its tasks."""

import random

import pytest
from msgspec.structs import replace

from longshore.decide import deployments, rollout, services, status
from longshore.model.changes import Change
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Availability, Kind, Node, Release, ReleasePhase, Service, Task, by_slot, task_id
from longshore.model.reasons import Reason
from longshore.model.sharing import SLOTS_A_PART
from longshore.model.signs import signs
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, ServiceSpec

NOW = 1000.0
ODD = (0.0, 0.01, 0.1, 0.5)
ENDS = (State.STOPPED, State.FINISHED, State.FAILED, State.REJECTED, State.LOST)


def drawn(seed: int) -> tuple[Snapshot, Service]:
    """A service of a few parts, of which more or less is not as it is in calm times."""
    rng = random.Random(seed)
    odd = rng.choice(ODD)
    mode = rng.choice((Mode.REPLICATED, Mode.REPLICATED, Mode.JOB, Mode.GLOBAL))
    replicas = rng.randint(1, 3 * SLOTS_A_PART)
    spec = ServiceSpec(image="web", mode=mode, replicas=replicas)
    service = Service(name="web", spec=spec, release=2, revision=1)
    phase = rng.choice((ReleasePhase.DONE, ReleasePhase.ROLLING, ReleasePhase.ROLLING, ReleasePhase.PAUSED))
    records: list[tuple[Kind, str, Service | Node | Release | Task]] = [(Kind.SERVICE, "web", service)]
    for number in (1, 2):
        release = Release(service="web", number=number, spec=spec, revision=1, phase=phase)
        records.append((Kind.RELEASE, release.id, release))
    for number in range(4):
        gives_up = rng.random() < odd
        availability = Availability.DRAINED if gives_up else Availability.ACTIVE
        records.append((Kind.NODE, f"n{number}", Node(name=f"n{number}", availability=availability, revision=1)))
    for slot in range(1, replicas + 1 + (rng.randint(0, SLOTS_A_PART) if rng.random() < odd else 0)):
        records += [(Kind.TASK, task.id, task) for task in _slot(rng, slot, odd, mode)]
    ids = [id for _, id, _ in records]
    return Snapshot.restored(7, [(kind, one) for kind, _, one in records], ids), service


def _slot(rng: random.Random, slot: int, odd: float, mode: Mode) -> list[Task]:
    if rng.random() < odd / 2:
        return []
    finished = mode is Mode.JOB and rng.random() < 0.5
    first = Task(
        id=task_id("web", slot, 1),
        service="web",
        slot=slot,
        generation=1,
        release=2,
        revision=1,
        node=f"n{rng.randrange(4)}",
        state=State.FINISHED if finished else State.RUNNING,
        ready=not finished,
        started_at=NOW - rng.randint(1, 60),
        finished_at=NOW - 1 if finished else None,
        container_id="c",
    )
    if rng.random() >= odd:
        return [first]
    tasks = [_odd(rng, first)]
    for generation in range(2, rng.randint(2, 6)):
        following = replace(first, id=task_id("web", slot, generation), generation=generation)
        tasks.append(_odd(rng, following))
    return tasks


def _odd(rng: random.Random, task: Task) -> Task:
    state = rng.choice((State.NEW, State.PLACED, State.STARTING, State.RUNNING, State.RUNNING, *ENDS))
    ended = state in ENDS
    return replace(
        task,
        state=state,
        node="" if state is State.NEW else task.node,
        ready=state is State.RUNNING and rng.random() < 0.7,
        wanted=rng.choice((Wanted.RUNNING, Wanted.RUNNING, Wanted.LEAVING, Wanted.STOPPED, Wanted.REMOVED)),
        release=rng.choice((1, 2, 2, 2)),
        relieves=task_id("web", task.slot, 1) if task.generation > 1 and rng.random() < 0.2 else "",
        moves_to="n1" if rng.random() < 0.1 else "",
        pinned="n2" if rng.random() < 0.1 else "",
        leaving_at=NOW - 5,
        started_at=None if state is State.NEW else task.started_at,
        finished_at=NOW - rng.randint(0, 20) if ended else None,
        container_id="c" if rng.random() < 0.5 else "",
        attempt=rng.randint(0, 2),
    )


def untouched(change: Change) -> tuple[object, ...]:
    return (change.kind, change.id, change.before, change.after, change.by, change.reason, change.message)


@pytest.mark.parametrize("seed", range(300))
def test_services(seed: int) -> None:
    world, service = drawn(seed)
    every = list(world.tasks_of_service("web").values())
    filled = by_slot(every)
    wanted = dict.fromkeys(range(1, service.spec.replicas + 1), "")
    if service.spec.mode is Mode.GLOBAL:
        wanted = services._slots_wanted(world, service, filled)
    each, looks = services._slots(world, service, filled, wanted, NOW, services.KEPT)
    touched = {change.id for change in each}
    each += [change for change in services._forgotten(world, every) if change.id not in touched]
    found, found_looks = services.decide(world, "web", NOW)
    assert [untouched(one) for one in found if one.kind is Kind.TASK] == [untouched(one) for one in each]
    assert found_looks == looks


@pytest.mark.parametrize("seed", range(300))
def test_rollout(seed: int) -> None:
    world, service = drawn(seed)
    step = rollout._Step(world, service, NOW)
    if service.spec.mode is Mode.JOB:
        step.clear_for_job()
    else:
        step.run()
    changes, looks = rollout.decide(world, "web", NOW)
    assert [untouched(one) for one in changes] == [untouched(one) for one in step.changes]
    assert looks == min(step.looks, default=None)


@pytest.mark.parametrize("seed", range(300))
def test_deployments(seed: int) -> None:
    world, service = drawn(seed)
    release = world.release("web", 2)
    assert release is not None
    every = list(world.tasks_of_service("web").values())
    parts = world.tasks_of_service("web").parts
    chosen = [t for p in world.tasks_of_service("web").parts if signs(p).failed for t in p.tasks.values()]
    failed = deployments._failed_slots(service, release, every, NOW)
    assert deployments._failed_slots(service, release, chosen, NOW) == failed
    live = [task for task in every if task.live]
    serving = [task for task in live if task.counts and task.ready and task.release == 2]
    done_at = deployments._done_at(world, service, parts)
    if service.spec.mode is Mode.JOB:
        last = {task.slot: task for task in sorted(every, key=lambda one: one.generation)}
        wanted = [last.get(slot) for slot in range(1, service.spec.replicas + 1)]
        ended = all(one is not None and one.state is State.FINISHED and one.release == 2 for one in wanted)
        assert (done_at is not None) == (not live and ended)
    else:
        slots = deployments._slots(world, service)
        assert (done_at is not None) == (len(serving) == len(live) == slots)
        if done_at is not None:
            latest = max((task.started_at or 0.0 for task in serving), default=0.0)
            assert done_at == (latest + service.spec.update.monitor_s if serving else 0.0)


def test_calm_parts_are_passed_by() -> None:
    """Else the tests above would say nothing."""
    kept = [
        services._is_settled(service, part)
        for world, service in map(drawn, range(300))
        if service.spec.mode is not Mode.GLOBAL
        for part in world.tasks_of_service("web").parts
    ]
    assert len(kept) // 4 < sum(kept) < len(kept)


@pytest.mark.parametrize("seed", range(100))
def test_what_is_left_of_a_removed_service(seed: int) -> None:
    rng = random.Random(seed)
    every = list(drawn(seed)[0].tasks_of_service("web").values())
    tasks = [replace(task, wanted=Wanted.REMOVED) if rng.random() < 0.9 else task for task in every]
    world = Snapshot.restored(7, [(Kind.TASK, task) for task in tasks], [task.id for task in tasks])
    each = services._removed(tasks, Reason.SERVICE_REMOVED)
    touched = {change.id for change in each}
    each += [change for change in services._forgotten(world, tasks) if change.id not in touched]
    assert list(map(untouched, services.decide(world, "web", NOW)[0])) == list(map(untouched, each))


@pytest.mark.parametrize("seed", range(300))
def test_status(seed: int) -> None:
    world, service = drawn(seed)
    every = list(world.tasks_of_service("web").parts)
    assert status._counted(world, service, every, ()) == status.status_of(world, service)
