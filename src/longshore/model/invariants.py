"""What must be true of every snapshot, whatever failed on the way. The worlds check it after every commit.

Sentences about the records alone; what the engines really run is compared by `simulate.checks`.
"""

from collections import Counter
from collections.abc import Iterable

from longshore.model.lifecycle import ON_NODE, State
from longshore.model.objects import Task, task_id
from longshore.model.snapshot import Snapshot
from longshore.model.spec import WHOLE_MILLIS, Mode


def broken(world: Snapshot, since: Snapshot | None = None) -> list[str]:
    """Every broken sentence, in words; empty when all hold. Those of what is as it was in the snapshot `since` may be
    left out: they were found then. Snapshots share what does not change, so that is seen at once."""
    before = since or Snapshot()
    placed = [*_slots(world, before), *_placed(world, before), *_ports(world)]
    return [*placed, *_room(world, before), *_devices(world, before)]


def _slots(world: Snapshot, before: Snapshot) -> list[str]:
    """A slot is filled once."""
    found = []
    for service, tasks in sorted(world.services_with_tasks.items()):
        if (
            tasks is before.tasks_of_service(service)
            and world.releases_of(service) is before.releases_of(service)
            and world.services.get(service) is before.services.get(service)
        ):
            continue
        filled = Counter(task.slot for task in tasks.values() if task.counts)
        found += [f"slot {service}.{slot} is filled {n} times" for slot, n in sorted(filled.items()) if n > 1]
        live = world.services.get(service)
        if live is not None and live.spec.mode is Mode.GLOBAL:
            pinned = Counter(task.pinned for task in tasks.values() if task.counts and task.release == live.release)
            found += [f"{service} has {n} tasks for node {node}" for node, n in sorted(pinned.items()) if n > 1]
        for task in tasks.values():
            if task.id != task_id(service, task.slot, task.generation):
                found.append(f"task {task.id} does not carry its own name")
            if world.release(service, task.release) is None and task.live:
                found.append(f"task {task.id} runs release {task.release}, which is not kept")
    return found


def _placed(world: Snapshot, before: Snapshot) -> list[str]:
    """A live task past NEW is on a node that exists, and a pinned one on its own."""
    found = []
    same_nodes = world.nodes is before.nodes
    for service, tasks in sorted(world.services_with_tasks.items()):
        if same_nodes and tasks is before.tasks_of_service(service):
            continue
        for task in tasks.values():
            if task.state is State.NEW and task.node:
                found.append(f"task {task.id} is new but has node {task.node}")
            if task.state in ON_NODE and task.node not in world.nodes:
                found.append(f"task {task.id} is {task.state} on {task.node}, which does not exist")
            if task.node and task.pinned and task.node != task.pinned:
                found.append(f"task {task.id} is pinned to {task.pinned} but on {task.node}")
    return found


def _ports(world: Snapshot) -> list[str]:
    """A host port of a machine is given out once. Tasks that are still stopping keep theirs."""
    taken: Counter[tuple[str, int, str]] = Counter()
    parts = (part for tasks in world.services_with_tasks.values() for part in tasks.parts)
    for task in (task for part in parts for task in part.derive(_with_ports)):
        node = world.nodes.get(task.node)
        if node is not None:
            machine = node.machine
            taken.update({(machine, port.host, port.protocol) for port in task.ports})
    return [
        f"port {port}/{protocol} of {machine} is given to {n} tasks"
        for (machine, port, protocol), n in taken.items()
        if n > 1
    ]


def _with_ports(tasks: Iterable[Task]) -> tuple[Task, ...]:
    return tuple(task for task in tasks if task.ports and task.state in ON_NODE)


def _room(world: Snapshot, before: Snapshot) -> list[str]:
    """What tasks have set aside never exceeds what their node has, by what the node said when they were placed."""
    found = []
    for name, node in world.nodes.items():
        if node is before.nodes.get(name) and world.tasks_of_node(name) is before.tasks_of_node(name):
            continue
        cpu_millis = memory = disk = 0
        for task in world.tasks_of_node(name).values():
            release = world.release(task.service, task.release)
            if task.state in ON_NODE and release is not None:
                cpu_millis += release.spec.resources.cpu_millis
                memory += release.spec.resources.memory
                disk += release.spec.resources.disk
        over = cpu_millis > node.capacity.cpu_millis or memory > node.capacity.memory
        if over or (disk and disk > node.capacity.disk):
            found.append(f"node {name} is over its capacity: {cpu_millis} millicores, {memory} and {disk} bytes")
    return found


def _devices(world: Snapshot, before: Snapshot) -> list[str]:
    """A device of a node is given to one task at a time, or in parts that come to one at most. Tasks that are still
    stopping keep theirs."""
    found = []
    for name in world.nodes:
        if world.tasks_of_node(name) is before.tasks_of_node(name):
            continue
        here = [task for task in world.tasks_of_node(name).values() if task.devices and task.state in ON_NODE]
        given: Counter[tuple[str, str]] = Counter()
        for task in here:
            release = world.release(task.service, task.release)
            for kind, ids in task.devices.items():
                millis = WHOLE_MILLIS if release is None else release.spec.resources.millis_of(kind)
                given.update({(kind, id): millis for id in ids})
        found += [
            f"{kind} {id} of node {name} is given away {millis / WHOLE_MILLIS:g} times"
            for (kind, id), millis in given.items()
            if millis > WHOLE_MILLIS
        ]
    return found
