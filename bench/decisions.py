"""Which node: decisions a second, in memory, for one class of tasks and for fifty whose tasks take turns.

A decision is the row: no record is made and nothing is committed. Beside it, in turn in the same run, a naive loop that
scores every node for every task one after the other; that both choose the same is checked, not assumed. Two further
lines are whole passes of the placement controller over a cluster that runs many tasks: from records to changes with
their sentences, and what one waiting task costs when the table of the nodes was kept, against one that is counted anew.

All of it is arithmetic of one thread, and its seconds are those of the processor: on a machine with nothing else to do
they are the same as a clock's.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from random import Random

from bench.figure import Figure, Trouble, compared, measured
from bench.run import Run
from longshore.decide.placement.alike import Alike
from longshore.decide.placement.ask import Ask
from longshore.decide.placement.filters import still_fits
from longshore.decide.placement.place import Kept, decide
from longshore.decide.placement.ranking import Taken
from longshore.decide.placement.scoring.scores import DEFAULT, POLICIES, Policy, policy_named, table_for
from longshore.decide.placement.table import NodeTable
from longshore.model.changes import Change
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Capacity, EngineFacts, Kind, Node, Object, Release, Task, task_id
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Resources, ServiceSpec

FAMILY = "decisions"
NODES = (1_000, 5_000, 10_000)
JUDGED = 5_000
ONE_CLASS = 50_000
MIXED = 20_000
CLASSES = 50
NAIVE = 30
"""Decisions of the naive loop: it takes a hundredth of a second for each."""
ROUNDS = 3
RUNNING = 20
"""Tasks on each node before a pass."""
NOW = 1_000.0

Order = Sequence[Ask]
"""What each task asks, oldest first."""
Choose = Callable[[NodeTable, Policy, Order], list[int]]


def measure(run: Run) -> list[Figure]:
    figures: list[Figure] = []
    for nodes in NODES:
        run.say(f"{nodes} nodes …")
        world = Snapshot.restored(1, *_records(_nodes(nodes)))
        policies = [*POLICIES] if nodes == JUDGED else [DEFAULT]
        for policy in policies:
            figures += _beside_naive(world, policy_named(policy))
    for nodes in NODES:
        run.say(f"a pass over {nodes} nodes …")
        figures += _passes(nodes)
    return figures


# -- rows only


def _beside_naive(world: Snapshot, policy: Policy) -> list[Figure]:
    one, mixed = [_ask(0)] * ONE_CLASS, _turns(MIXED)
    return [
        _one_beside_naive(world, policy, "one class", one, _at_once),
        _one_beside_naive(world, policy, f"{CLASSES} classes in turns", mixed, _in_turns),
    ]


def _one_beside_naive(world: Snapshot, policy: Policy, name: str, order: Order, choose: Choose) -> Figure:
    pairs = []
    for _ in range(ROUNDS):
        naive, naive_s = _timed(_naively, world, policy, order[:NAIVE])
        ours, ours_s = _timed(choose, world, policy, order)
        if ours[: len(naive)] != naive:
            raise Trouble(f"{policy.name}, {name}: the naive loop chose other nodes")
        pairs.append((len(ours) / ours_s, len(naive) / naive_s))
    best = max(ours for ours, _ in pairs)
    line = f"{name}, {policy.name}, {len(world.nodes)} nodes"
    return compared(FAMILY, line, "decisions/s", pairs, "naive loop", note=f"best {best:.0f}, {1e6 / best:.2f} us each")


def _naively(table: NodeTable, policy: Policy, order: Order) -> list[int]:
    rows = []
    for ask in order:
        fitting = [row for row in range(len(table)) if still_fits(table, ask, row)]
        rows.append(policy.best_of(table, ask, fitting))
        table.take(rows[-1], ask)
    return rows


def _at_once(table: NodeTable, policy: Policy, order: Order) -> list[int]:
    alike = Alike(table, order[0], policy, Taken(len(table)), policy.fall)
    rows: list[int] = []
    for block in alike.blocks(len(order)):
        alike.take(block)
        rows += block.rows.tolist()
    return rows


def _in_turns(table: NodeTable, policy: Policy, order: Order) -> list[int]:
    taken = Taken(len(table))
    rows: list[int] = []
    classes: dict[str, Alike] = {}
    for ask in order:
        alike = classes.get(ask.service)
        if alike is None:
            alike = classes[ask.service] = Alike(table, ask, policy, taken, policy.fall)
        row = alike.best((), {})
        if row is None:
            raise Trouble(f"no room after {len(rows)} tasks")
        alike.give(row)
        rows.append(row)
    return rows


def _timed(choose: Choose, world: Snapshot, policy: Policy, order: Order) -> tuple[list[int], float]:
    """The table is there: passes keep it."""
    table = table_for(policy, world, NOW, None)
    began = time.process_time()
    rows = choose(table, policy, order)
    return rows, time.process_time() - began


# -- whole passes


def _passes(nodes: int) -> list[Figure]:
    """Of a cluster that runs tasks on every node already."""
    running = [_running(slot, nodes) for slot in range(1, nodes * RUNNING + 1)]
    records: list[tuple[Kind, str, Object]] = [*_nodes(nodes), (Kind.RELEASE, "web@1", _release("web", 0)), *running]
    world = Snapshot.restored(1, *_records(records))
    full = Snapshot.restored(
        1,
        *_records(
            [*records, *(_waiting(slot) for slot in range(1, 10_001)), (Kind.RELEASE, "new@1", _release("new", 1))]
        ),
    )
    each, kept = [], Kept()
    for _ in range(ROUNDS):
        began = time.process_time()
        changes, _ = decide(full, NOW, DEFAULT)
        each.append(1e6 * (time.process_time() - began) / len(changes))
    decide(world, NOW, DEFAULT, kept=kept)
    pairs = [(1e3 * _decided_s(one, kept), 1e3 * _decided_s(one, Kept())) for one in _lives(world)]
    return [
        measured(
            FAMILY,
            f"a whole pass for 10000 tasks, {nodes} nodes, {len(running)} tasks run",
            "us a task",
            each,
            note="with records and sentences; the table counted anew",
        ),
        compared(
            FAMILY,
            f"a whole pass for 1 task, {nodes} nodes, {len(running)} tasks run",
            "ms",
            pairs,
            "table counted anew",
            note="the tasks of 100 nodes changed since the last pass",
        ),
    ]


def _lives(world: Snapshot) -> Iterator[Snapshot]:
    """Worlds in which tasks of some nodes were reported since the one before, and one task waits."""
    release = Change(
        kind=Kind.RELEASE, id="new@1", before=0, after=_release("new", 1), by=Owner.USER, reason=Reason.CREATED
    )
    world = world.apply([release], (), NOW)[0]
    for turn in range(2 * ROUNDS):
        kind, id, task = _waiting(turn + 1)
        reports = [_reported(world, f"web.{slot}.1") for slot in range(100 * turn + 1, 100 * turn + 101)]
        world = world.apply(
            [*reports, Change(kind=kind, id=id, before=0, after=task, by=Owner.SERVICES, reason=Reason.CREATED)],
            (),
            NOW,
        )[0]
        yield world


def _reported(world: Snapshot, id: str) -> Change:
    task = world.task(id)
    assert task is not None
    return Change(kind=Kind.TASK, id=id, before=task.revision, after=task, by=Owner.WORKER, reason=task.reason)


def _decided_s(world: Snapshot, kept: Kept) -> float:
    began = time.process_time()
    decide(world, NOW, DEFAULT, kept=kept)
    return time.process_time() - began


# -- what is placed, and where


def _ask(number: int) -> Ask:
    return Ask(service=f"s{number}", cpu_millis=100 + 10 * (number % 10), memory=(250 + 10 * number) << 20)


def _turns(count: int) -> Order:
    chance = Random(1)
    asks = [_ask(number) for number in range(CLASSES)]
    return [asks[chance.randrange(CLASSES)] for _ in range(count)]


def _nodes(count: int) -> list[tuple[Kind, str, Object]]:
    """Of four sizes."""
    chance = Random(2)
    names = [f"n{number:05}" for number in range(count)]
    return [
        (
            Kind.NODE,
            name,
            Node(
                name=name,
                capacity=Capacity(cpu=float(size), memory=8 * size << 30, disk=1 << 40),
                engine=EngineFacts(id=name),
                revision=1,
            ),
        )
        for name, size in zip(names, chance.choices((8, 16, 32, 64), k=count), strict=True)
    ]


def _release(service: str, number: int) -> Release:
    ask = _ask(number)
    resources = Resources(cpu=ask.cpu_millis / 1000, memory=ask.memory)
    return Release(service=service, number=1, spec=ServiceSpec(image="x", resources=resources), revision=1)


def _running(slot: int, nodes: int) -> tuple[Kind, str, Object]:
    id = task_id("web", slot, 1)
    node = f"n{slot % nodes:05}"
    task = Task(
        id=id,
        service="web",
        slot=slot,
        generation=1,
        release=1,
        node=node,
        state=State.RUNNING,
        ready=True,
        placed_at=1.0,
        revision=1,
    )
    return Kind.TASK, id, task


def _waiting(slot: int) -> tuple[Kind, str, Task]:
    id = task_id("new", slot, 1)
    return Kind.TASK, id, Task(id=id, service="new", slot=slot, generation=1, release=1, created_at=2.0)


def _records(rows: Sequence[tuple[Kind, str, Object]]) -> tuple[list[tuple[Kind, Object]], list[str]]:
    return [(kind, one) for kind, _, one in rows], [id for _, id, _ in rows]
