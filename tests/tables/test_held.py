"""What is held of the nodes from one snapshot to the next is what counting every task of the newest one would say."""

from collections.abc import Iterator
from random import Random

import numpy as np
from msgspec.structs import replace

from longshore.decide.placement.held import Held
from longshore.model.changes import Change
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Kind, PublishedPort, Service, Task, task_id
from longshore.model.placing import Affinity, PlacementRules
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Resources
from tests.situations import GIB, NOW, node, releases, service, task, world

LIVES, STEPS = 60, 40
NODES = ("n1", "n2", "n3")
COLUMNS = ("cpu_held", "memory_held", "disk_held", "tasks", "newest_at", "up", "active", "machine")
SERVICES = (
    service("web", resources=Resources(cpu=0.5, memory=GIB)),
    service("gpu", resources=Resources(cpu=1.0, pids=7, named={"gpus": 1})),
    service("apart", placement=PlacementRules(anti_affinity=(Affinity(service="web"),))),
)


def test_what_was_repaired_is_what_is_counted() -> None:
    repaired = 0
    for seed in range(LIVES):
        held = Held()
        for here, now in life(Random(seed)):
            before = {name: id(one) for name, one in zip(held.names, held._holdings, strict=True)}
            held.see(here, now)
            repaired += sum(before.get(name) == id(one) for name, one in zip(held.names, held._holdings, strict=True))
            counted = Held()
            counted.see(here, now)
            for column in COLUMNS:
                assert np.array_equal(getattr(held, column), getattr(counted, column)), f"seed {seed}: {column}"
            assert held.of_service == counted.of_service, f"seed {seed}"
            assert held._passing == counted._passing, f"seed {seed}"
            assert beyond(held) == beyond(counted), f"seed {seed}"
            assert held.newest_row() == counted.newest_row(), f"seed {seed}"
            for mine, fresh in zip(held._holdings, counted._holdings, strict=True):
                assert sorted(mine.ports) == sorted(fresh.ports), f"seed {seed}"
    assert repaired > LIVES, "all was counted anew, so this says nothing"


def test_a_task_takes_with_it_what_it_held() -> None:
    """Also where its service was removed meanwhile, and one of the same name has the same release with other needs."""
    small, large = (service("web", resources=Resources(cpu=cpu, memory=GIB)) for cpu in (0.5, 2.0))
    held, stays = Held(), task(of="api")
    held.see(world(node("n1"), small, service("api"), stays, task()), NOW)
    held.see(world(node("n1"), large, service("api"), stays), NOW)
    assert (held.cpu_held[0], held.memory_held[0], held.tasks[0]) == (0, 0, 1)


def beyond(held: Held) -> dict[str, list[str]]:
    return {name: sorted(map(repr, those)) for name, those in held.beyond.items()}


def life(rng: Random) -> Iterator[tuple[Snapshot, float]]:
    """Tasks come to nodes, are reported, end, find a port taken and go; some by dozens in one commit."""
    here, now, made = world(*map(node, NODES), *SERVICES, *releases(*SERVICES)), NOW, 0
    for _ in range(STEPS):
        now += rng.choice((0.0, 1.0, 40.0))
        count = rng.choice((1, 2, 40))
        changes = [fresh(rng, made + number, now) for number in range(1, count + 1)]
        made += count
        tasks = [*here.tasks()]
        changes += [after(rng, one, now) for one in rng.sample(tasks, min(len(tasks), rng.choice((0, 1, 20))))]
        here = here.apply(changes, (), now)[0]
        yield here, now


def fresh(rng: Random, slot: int, now: float) -> Change:
    """A task that has its node: to placement it is the same whether it waited before."""
    of: Service = rng.choice(SERVICES)
    port = PublishedPort(container=80, host=rng.choice((8080, 30000, 30001)))
    return written(
        Task(
            id=task_id(of.name, slot, 1),
            service=of.name,
            slot=slot,
            generation=1,
            release=1,
            node=rng.choice(NODES),
            state=State.PLACED,
            ports=(port,) if rng.random() < 0.3 else (),
            devices={"gpus": (f"gpu{slot}",)} if of.name == "gpu" else {},
            created_at=now - rng.choice((0.0, 5.0)),
            placed_at=now,
        ),
        Owner.SERVICES,
    )


def after(rng: Random, one: Task, now: float) -> Change:
    if not one.live or rng.random() < 0.3:
        return Change(
            kind=Kind.TASK, id=one.id, before=one.revision, after=None, by=Owner.SERVICES, reason=Reason.REMOVED
        )
    if one.state is State.PLACED and rng.random() < 0.6:
        return written(replace(one, state=State.RUNNING, started_at=now), Owner.WORKER)
    reason = rng.choice((Reason.PORT_TAKEN, Reason.EXITED))
    return written(replace(one, state=State.FAILED, reason=reason, finished_at=now, ready=False), Owner.WORKER)


def written(one: Task, by: Owner) -> Change:
    return Change(kind=Kind.TASK, id=one.id, before=one.revision, after=one, by=by, reason=one.reason)
