"""What must be true of a simulated world once it has come to rest.

Compares three things that must agree in the end: what the user was told is done, what the store says, and what the
machines really run. Sentences only; nothing here mends. What must hold at every moment is `simulate.witness`'s.
"""

from collections import Counter, defaultdict

from longshore.decide import moves, rebalance, restart
from longshore.decide.dependencies import meanwhile, release_for, service_for, waits
from longshore.decide.placement import explain, place
from longshore.decide.placement.constraints import covers, eligible, gives_up
from longshore.model.containers import Status, fingerprint
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Availability, NodeStatus, ReleasePhase, Service, Task, by_slot
from longshore.model.reasons import Reason
from longshore.model.retention import RELEASES_KEPT, TASKS_KEPT
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, ServiceSpec
from longshore.simulate.world import World

STAY_S = 60.0
"""For so long what is at rest has to stay so: longer than the longest of what is done again and again."""
_HELD = (ReleasePhase.PAUSED, ReleasePhase.FAILED)


def at_rest(world: World, wishes: dict[str, ServiceSpec]) -> list[str]:
    """What must hold once nothing happens any more. Empty when all is as wished."""
    snapshot = world.read()
    found = _wishes(snapshot, wishes)
    for name, service in sorted(snapshot.services.items()):
        found += _service(world, snapshot, name, service)
    for name in sorted(snapshot.services_with_tasks.keys() - snapshot.services.keys()):
        found.append(f"{name} is removed, but has tasks")
    found += _even(world, snapshot)
    found += _displaceable(world, snapshot)
    found += _nodes(world, snapshot)
    found += _machines(world, snapshot)
    return found


def _wishes(snapshot: Snapshot, wishes: dict[str, ServiceSpec]) -> list[str]:
    """Every acknowledged wish is in the store, or what it was rolled back to, and nothing else."""
    found = []
    for name in sorted(wishes.keys() | snapshot.services.keys()):
        kept = snapshot.services.get(name)
        if (kept.spec if kept is not None else None) != wishes.get(name):
            found.append(f"{name} is not as it was acknowledged")
    return found


def _service(world: World, snapshot: Snapshot, name: str, service: Service) -> list[str]:
    tasks = sorted(snapshot.tasks_of_service(name).values(), key=lambda task: (task.slot, task.generation))
    slots = by_slot(tasks)
    last = {slot: restart.left_by(here) for slot, here in slots.items()}
    # A slot that is not served holds the rollout of the others up: that is what keeps them serving.
    served = {task.slot for task in tasks if task.counts and task.ready}
    held_up = any(slot not in served for slot in slots)
    goes_on = meanwhile(snapshot, service)
    found = []
    for task in tasks:
        found += _task(world, snapshot, service, goes_on, task, held_up)
    ended = Counter(task.slot for task in tasks if not task.live)
    found += [f"slot {name}.{slot} keeps {n} ended tasks" for slot, n in ended.items() if n > TASKS_KEPT]
    recent = sorted(snapshot.releases_of(name))[-RELEASES_KEPT:]
    used = {service.release, *recent, *(task.release for task in tasks)}
    found += [
        f"release {name}@{number} is kept for nothing" for number in sorted(snapshot.releases_of(name).keys() - used)
    ]
    wanted = _everywhere if goes_on.spec.mode is Mode.GLOBAL else _every_slot
    return found + wanted(snapshot, goes_on, tasks, last)


def _task(world: World, snapshot: Snapshot, service: Service, goes_on: Service, task: Task, held_up: bool) -> list[str]:
    found = []
    node = snapshot.nodes.get(task.node)
    current = snapshot.release(service.name, service.release)
    held = task.ready and (held_up or _stands_by(snapshot, task))
    # One that is held goes no further, though the former ones serve nobody: a stalled store may have kept it so far.
    held = held or (current is not None and current.phase in _HELD)
    gated = bool(waits(snapshot, service))
    if task.counts and task.release != service.release and not held and not gated:
        found.append(f"{task.id} still runs release {task.release}")
    if task.state is State.RUNNING and service.spec.mode is Mode.JOB and not gated:
        found.append(f"{task.id} has not finished")
    if task.live and task.wanted is not Wanted.RUNNING:
        found.append(f"{task.id} is to go, but is {task.state}")
    # A global service has its tasks on the nodes that it covers, by the release that it goes on with there.
    every = goes_on.spec.mode is Mode.GLOBAL
    own = service_for(snapshot, goes_on, task) if every else snapshot.release(task.service, task.release)
    left = node is not None and gives_up(node, (own or goes_on).spec)
    if task.live and node is not None and left and not _stands_by(snapshot, task):
        found.append(f"{task.id} is on {node.name}, which is drained or tainted")
    if task.counts and (task.moves_to or moves.was_sent(snapshot, service, task)):
        found.append(f"{task.id} is still to move")
    if task.wanted is Wanted.REMOVED and (node is None or node.status is NodeStatus.READY):
        found.append(f"{task.id} is to be removed, and still known")
    if (task.counts or task.stands_by) and not task.ready:
        found += _waiting(world, snapshot, task)
    return found


def _stands_by(snapshot: Snapshot, task: Task) -> bool:
    """Whether another of its service waits for a place to run: they take turns, and none is stopped meanwhile. Or those
    that were to relieve one of them failed until they were given up: then it stays for good."""
    service = snapshot.services[task.service]
    slots: dict[int, list[Task]] = defaultdict(list)
    for one in snapshot.tasks_of_service(task.service).values():
        slots[one.slot].append(one)
        if one.stands_by or (one.counts and not one.ready):
            return True
    newest = [max(here, key=lambda one: one.generation) for here in slots.values()]
    return any(not one.live and restart.again(one, service.spec) is None for one in newest)


def _everywhere(snapshot: Snapshot, service: Service, tasks: list[Task], newest: dict[int, Task]) -> list[str]:
    """A global service is on every node that it may be on, by the release that it goes on with there."""
    last = {task.pinned: task for task in newest.values()}
    following = {name: service_for(snapshot, service, last.get(name)) for name in snapshot.nodes}
    spec_of = {name: one.spec for name, one in following.items() if one is not None}
    wanted = {name for name, spec in spec_of.items() if eligible(snapshot.nodes[name], spec)}
    have = {task.pinned for task in tasks if task.counts}
    spent = {name for name, task in last.items() if not task.live and _is_over(snapshot, service, task)}
    kept = {
        node.name
        for node in snapshot.nodes.values()
        if node.availability is Availability.PAUSED
        or (node.name in spec_of and covers(node, spec_of[node.name], has=True))
    }
    if not wanted <= have | spent or not have <= wanted | kept:
        return [f"{service.name} is on {sorted(have)}, not on {sorted(wanted)}"]
    return []


def _every_slot(snapshot: Snapshot, service: Service, tasks: list[Task], last: dict[int, Task]) -> list[str]:
    """Every slot has its task, or one that ended for good; no others count."""
    found = []
    filled = {task.slot for task in tasks if task.counts}
    for slot in range(1, service.spec.replicas + 1):
        task = last.get(slot)
        if slot in filled:
            continue  # what is newer failed to take it over
        if release_for(snapshot, service, task) is None:
            continue  # what its release waits for has not come
        if task is None:
            found.append(f"slot {service.name}.{slot} is empty")
        elif not task.live and not _is_over(snapshot, service, task):
            found.append(f"slot {service.name}.{slot} is not filled again")
    return found + [f"{task.id} is one too many" for task in tasks if task.counts and task.slot > service.spec.replicas]


def _is_over(snapshot: Snapshot, service: Service, task: Task) -> bool:
    """Whether nothing follows a task that ended, by the rules of the release that would."""
    return restart.again(task, (service_for(snapshot, service, task) or service).spec) is None


def _waiting(world: World, snapshot: Snapshot, task: Task) -> list[str]:
    """A task that is not ready may only wait for room that there is not."""
    if task.state is not State.NEW:
        return [f"{task.id} is {task.state}, and not ready"]
    if task.reason is not Reason.NO_NODE or not task.message:
        return [f"{task.id} waits without saying why"]
    scores = explain.explain(snapshot, task, world.now(), world.policy).scores
    return [f"{task.id} waits, but {sorted(scores)} have room"] if scores else []


def _displaceable(world: World, snapshot: Snapshot) -> list[str]:
    """Nobody waits for whom others would give way."""
    changes, _ = place.decide(snapshot, world.now(), world.policy)
    return [f"{change.id} is {change.message}, and waits" for change in changes if change.reason is Reason.MAKES_ROOM]


def _even(world: World, snapshot: Snapshot) -> list[str]:
    """Services that opted in are as even as they get, also once what moved lately may move again. What was placed since
    the nodes changed last is where placement wished it."""
    changed_at = max((node.changed_at for node in snapshot.nodes.values()), default=0.0)
    if any(
        task.counts and (task.placed_at or 0.0) > changed_at and not task.move_ended_at for task in snapshot.tasks()
    ):
        return []
    planned = rebalance.plan(snapshot, world.policy, world.clock.now() + STAY_S, automatic=True)
    return [f"{move.task} is on {move.source}, and {move.target} is better" for move in planned.moves]


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
    for name, site in sorted(world.sites.items()):
        if not site.on:
            continue
        known = snapshot.tasks_of_node(name)
        marks = {id: fingerprint(task) for id, task in known.items()}
        running = sorted((box.order.task, box.order.fingerprint) for box in site.boxes(running=True))
        wanted = sorted((task.id, marks[task.id]) for task in known.values() if task.state is State.RUNNING)
        if running != wanted:
            found.append(f"{name} runs {_names(running)}, but by the store {_names(wanted)} are running there")
        for box in site.boxes():
            if marks.get(box.order.task) != box.order.fingerprint:
                found.append(f"{name} keeps a container of {box.order.task} that is no known task's")
            elif box.status is Status.CREATED and known[box.order.task].live:
                found.append(f"{name} never started the container of {box.order.task}")
        told = {id: one.task.wanted for id, one in site.link.assigned.items()} if site.link is not None else {}
        untold = [id for id in told.keys() | known.keys() if id not in known or told.get(id) is not known[id].wanted]
        found += [f"{name} has not been told what became of {id}" for id in sorted(untold)]
    return found


def _names(running: list[tuple[str, str]]) -> str:
    return ", ".join(f"{task} ({mark[:6]})" for task, mark in running) or "nothing"
