"""What must be true of a simulated world: at every commit, and once it has come to rest.

Compares three things that must agree in the end: what the user was told is done, what the store says, and what the
machines really run. Sentences only; nothing here mends.
"""

from collections import Counter

from longshore.decide import restart
from longshore.decide.placement import explain
from longshore.decide.placement.constraints import eligible
from longshore.model.containers import Container, Status
from longshore.model.invariants import broken
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Availability, NodeStatus, Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, ServiceSpec
from longshore.simulate.world import World


def containers(world: World) -> dict[str, list[Container]]:
    """What each machine holds."""
    return {name: [box.seen() for box in site.machine.boxes.values()] for name, site in sorted(world.sites.items())}


def always(world: World, snapshot: Snapshot) -> list[str]:
    """What must hold at every moment, whatever has just failed."""
    found = broken(snapshot)
    twice = Counter(
        one.fingerprint
        for held in containers(world).values()
        for one in held
        if one.status is Status.RUNNING and one.fingerprint
    )
    found += [f"a task runs {n} times" for n in twice.values() if n > 1]
    return found


def at_rest(world: World, wishes: dict[str, ServiceSpec]) -> list[str]:
    """What must hold once nothing happens any more. Empty when all is as wished."""
    snapshot = world.durable.read()
    found = always(world, snapshot)
    found += _wishes(snapshot, wishes)
    for name, service in sorted(snapshot.services.items()):
        found += _service(world, snapshot, name, service)
    for name in sorted(snapshot.services_with_tasks.keys() - snapshot.services.keys()):
        found.append(f"{name} is removed, but has tasks")
    found += _nodes(world, snapshot)
    found += _machines(world, snapshot)
    return found


def _wishes(snapshot: Snapshot, wishes: dict[str, ServiceSpec]) -> list[str]:
    """Every acknowledged wish is in the store, and nothing else."""
    found = []
    for name in sorted(wishes.keys() | snapshot.services.keys()):
        kept = snapshot.services.get(name)
        if (kept.spec if kept is not None else None) != wishes.get(name):
            found.append(f"{name} is not as it was acknowledged")
    return found


def _service(world: World, snapshot: Snapshot, name: str, service: Service) -> list[str]:
    found = []
    tasks = sorted(snapshot.tasks_of_service(name).values(), key=lambda task: (task.slot, task.generation))
    newest: dict[int, Task] = {task.slot: task for task in tasks}
    # A slot that is not served holds the rollout of the others up: that is what keeps them serving.
    held_up = any(not (task.counts and task.ready) for task in newest.values())
    for task in tasks:
        if task.counts and task.release != service.release and not (task.ready and held_up):
            found.append(f"{task.id} still runs release {task.release}")
        if task.state is State.RUNNING and service.spec.mode is Mode.JOB:
            found.append(f"{task.id} has not finished")
        if task.live and task.wanted is not Wanted.RUNNING:
            found.append(f"{task.id} is to go, but is {task.state}")
        if task.wanted is Wanted.REMOVED and snapshot.nodes[task.node].status is NodeStatus.READY:
            found.append(f"{task.id} is to be removed, and still known")
        if task.counts and not task.ready:
            found += _waiting(world, snapshot, task)
    if service.spec.mode is Mode.GLOBAL:
        wanted = {node.name for node in snapshot.nodes.values() if eligible(node, service.spec)}
        have = {task.pinned for task in tasks if task.counts}
        spent = {task.pinned for task in newest.values() if not task.live and restart.again(task, service.spec) is None}
        kept = {node.name for node in snapshot.nodes.values() if node.availability is Availability.PAUSED}
        if not wanted <= have | spent or not have <= wanted | kept:
            found.append(f"{name} is on {sorted(have)}, not on {sorted(wanted)}")
        return found
    for slot in range(1, service.spec.replicas + 1):
        task_of = newest.get(slot)
        if task_of is None:
            found.append(f"slot {name}.{slot} is empty")
        elif not task_of.live and restart.again(task_of, service.spec) is not None:
            found.append(f"slot {name}.{slot} is not filled again")
    found += [f"{task.id} is one too many" for task in tasks if task.counts and task.slot > service.spec.replicas]
    return found


def _waiting(world: World, snapshot: Snapshot, task: Task) -> list[str]:
    """A task that is not ready may only wait for room that there is not."""
    if task.state is not State.NEW:
        return [f"{task.id} is {task.state}, and not ready"]
    if task.reason is not Reason.NO_NODE or not task.message:
        return [f"{task.id} waits without saying why"]
    scores = explain.explain(snapshot, task, world.clock.now(), world.policy).scores
    return [f"{task.id} waits, but {sorted(scores)} have room"] if scores else []


def _nodes(world: World, snapshot: Snapshot) -> list[str]:
    found = []
    for name, site in sorted(world.sites.items()):
        node = snapshot.nodes.get(name)
        if site.on and (node is None or node.status is not NodeStatus.READY):
            found.append(f"{name} works, but is not ready")
        if not site.on and node is not None and node.status is not NodeStatus.DOWN:
            found.append(f"{name} is dead, but not down")
    return found


def _machines(world: World, snapshot: Snapshot) -> list[str]:
    """Each machine with power runs exactly the tasks that the store has running there, each once."""
    found = []
    for name, held in containers(world).items():
        if not world.sites[name].on:
            continue
        running = sorted(one.id for one in held if one.status is Status.RUNNING)
        wanted = sorted(
            task.container_id for task in snapshot.tasks_of_node(name).values() if task.state is State.RUNNING
        )
        if running != wanted:
            found.append(f"{name} runs {len(running)} containers, but {len(wanted)} tasks are running there")
        known = snapshot.tasks_of_node(name)
        found += [f"{name} keeps a container of {one.task}, an unknown task" for one in held if one.task not in known]
    return found
