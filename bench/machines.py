"""Three machines on this one: from a machine's loss to full strength, and a rolling update, beside Docker Swarm.

Each machine has a network, a cable and an engine of its own (`tests/machines.py`); Longshore's manager sits at a fourth
place, Swarm's in the first engine. Both run the same image at their default settings, but not in turn: all of
Longshore's updates come first, then all of Swarm's, as one machine is not to carry two orchestrators. The clock begins
before the fault and stops when the event stream has told that as many tasks as wished run elsewhere.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.dockerd import DEMO, DEMO_2, EngineApi
from tests.machines import Machines, running, saved_images, why_not
from tests.sites import Site

from bench.figure import Figure, Trouble, compared, measured
from bench.follower import Follower, Tasks, count
from bench.programs import wait_for
from bench.run import Budget, Run
from bench.swarm import swarm_on
from longshore.client import Client
from longshore.model.errors import Unavailable
from longshore.model.objects import NodeStatus
from longshore.model.spec import ServiceSpec, UpdateOrder, UpdateRules

FAMILY = "machines"
NAME = "bench"
MACHINES = 3
VICTIM = "n3"
SPREAD = 12
"""Four on each machine."""
REPLICAS, AT_ONCE = 20, 4
LOSSES_MIN, LOSSES_MAX, LOSSES_BUDGET_S = 3, 10, 200.0
PEER_LOSSES = 2
UPDATES = 3
LIMIT_S = 60.0
TIMEOUT_S = 5.0
KILLED_TARGET_S = 2.0
CUT_TARGET_S = TIMEOUT_S + 2.0
SHARE_TARGET_S = 0.3
START_S = 5.5
"""A manager that just started gives nobody up for a heartbeat timeout."""


def measure(run: Run) -> list[Figure]:
    if missing := why_not():
        raise Trouble(missing)
    try:
        return _measure(run)
    except (AssertionError, OSError) as failure:  # of the machines
        raise Trouble(str(failure)) from failure


def _measure(run: Run) -> list[Figure]:
    with running(run.folder, ("",) * MACHINES, saved_images(EngineApi(run.engine))) as machines:
        with _site(machines, run.folder) as site:
            losses = [
                *_losses(run, site, "worker killed", site.workers[VICTIM].kill, KILLED_TARGET_S),
                *_losses(run, site, "machine crashed", site.machines[VICTIM].crash, CUT_TARGET_S),
                *_losses(run, site, "cable cut", site.machines[VICTIM].plug.cut, CUT_TARGET_S),
                _manager_too(run, site),
            ]
            updates = {order: _updates(run, site, order) for order in UpdateOrder}
        return [*losses, *_beside_swarm(run, machines, updates), *_swarm_losses(run, machines)]


@contextmanager
def _site(machines: Machines, folder: Path) -> Iterator[Site]:
    site = Site(machines, folder, TIMEOUT_S)
    began = time.monotonic()
    try:
        site.start()
        time.sleep(max(0.0, began + START_S - time.monotonic()))
        yield site
        for service in site.manager.client.services():
            site.manager.client.remove_service(service.name)
        site.manager.clear()
    finally:
        site.close()


@contextmanager
def _service(site: Site, replicas: int, rules: UpdateRules | None = None) -> Iterator[Client]:
    """Runs for as long as the block; afterwards nothing of it is left."""
    wish = ServiceSpec(image=DEMO, replicas=replicas, update=rules or UpdateRules())
    with site.manager.connect() as asking, site.manager.connect() as listening:
        up = Follower(listening, NAME, lambda tasks: count(tasks, "running") == replicas)
        asking.put_service(NAME, wish)
        up.moment(LIMIT_S)
        yield asking
        asking.remove_service(NAME)
        wait_for(lambda: not list(asking.tasks()), LIMIT_S, "the service to go")


# -- losses


def _losses(run: Run, site: Site, what: str, lose: Callable[[], None], target: float) -> list[Figure]:
    took: list[float] = []
    shares: list[float] = []
    for number in Budget(LOSSES_BUDGET_S, LOSSES_MIN, LOSSES_MAX):
        with _service(site, SPREAD) as client:
            took.append(_elsewhere_s(site, lose))
            shares.append(_share_s(client))
            run.say(f"{what}, {number}: full strength after {took[-1]:.2f} s, the manager's share {shares[-1]:.2f} s")
            site.repair()
    note = f"{SPREAD // MACHINES} of {SPREAD} tasks; {max(shares):.2f} s of it at most the manager's own"
    return [
        measured(FAMILY, f"{what}, full strength elsewhere", "s", took, target=target, note=note),
        measured(FAMILY, f"{what}: the manager's own share", "s", shares, target=SHARE_TARGET_S),
    ]


def _elsewhere_s(site: Site, lose: Callable[[], None]) -> float:
    def whole(tasks: Tasks) -> bool:
        return sum(event.state == "running" and event.node != VICTIM for event in tasks.values()) >= SPREAD // MACHINES

    with site.manager.connect() as listening:
        # It hears of tasks that change, so of those that replace others and of nothing else.
        elsewhere = Follower(listening, NAME, whole)
        began = time.perf_counter()
        lose()
        return elsewhere.moment(LIMIT_S) - began


def _share_s(client: Client) -> float:
    """From the commit that the node is down until the last replacing task had its place."""
    node = client.node(VICTIM)
    if node.status is not NodeStatus.DOWN:
        raise Trouble(f"{VICTIM} is {node.status}, and its tasks were lost")
    placed = [task.placed_at or 0.0 for task in client.tasks(service=NAME) if task.live and task.generation > 1]
    return max(placed) - node.changed_at


def _manager_too(run: Run, site: Site) -> Figure:
    """The manager is killed and a machine crashes with it; somebody starts the manager again at once, as systemd
    does."""
    took = []
    for number in range(1, LOSSES_MIN + 1):
        with _service(site, SPREAD):
            began = time.perf_counter()
            site.machines[VICTIM].crash()
            site.manager.kill()
            site.manager.start()
            wait_for(lambda: _whole(site), LIMIT_S, "full strength")
            took.append(time.perf_counter() - began)
            run.say(f"manager and machine lost, {number}: full strength after {took[-1]:.2f} s")
            site.repair()
    return measured(
        FAMILY,
        "manager killed and machine crashed, full strength",
        "s",
        took,
        note="the manager is started again at once; a new one gives every node a whole heartbeat timeout",
    )


def _whole(site: Site) -> bool:
    with suppress(Unavailable):
        tasks = site.manager.client.tasks(service=NAME)
        return sum(task.state == "running" and task.live and task.node != VICTIM for task in tasks) >= SPREAD
    return False


# -- updates


def _updates(run: Run, site: Site, order: UpdateOrder) -> list[tuple[float, int]]:
    """Seconds until all run the new image, and the least that ran meanwhile."""
    rules = UpdateRules(order=order, parallelism=AT_ONCE)
    found = []
    with _service(site, REPLICAS, rules) as client:
        for number in range(1, UPDATES + 1):
            image = (DEMO, DEMO_2)[number % 2]
            release = number + 1
            wait_for(lambda: client.service(NAME).status.settled, LIMIT_S, "the release before")
            found.append(_update_s(site, client, ServiceSpec(image=image, replicas=REPLICAS, update=rules), release))
            run.say(f"{order}, {number}: all new after {found[-1][0]:.2f} s, {found[-1][1]} ran at least")
    return found


def _update_s(site: Site, client: Client, wish: ServiceSpec, release: int) -> tuple[float, int]:
    before = {task.id for task in client.tasks(service=NAME) if task.live}
    least = len(before)

    def new(tasks: Tasks) -> bool:
        nonlocal least
        fresh = sum(event.state == "running" for id, event in tasks.items() if id not in before)
        ended = sum(tasks[id].state != "running" for id in before if id in tasks)
        least = min(least, len(before) - ended + fresh)
        return fresh >= REPLICAS

    with site.manager.connect() as listening:
        done = Follower(listening, NAME, new)
        began = time.perf_counter()
        client.put_service(NAME, wish)
        return done.moment(LIMIT_S) - began, least


# -- Swarm


def _beside_swarm(run: Run, machines: Machines, ours: dict[UpdateOrder, list[tuple[float, int]]]) -> list[Figure]:
    figures = []
    with swarm_on(machines.machines) as swarm:
        swarm.create(DEMO, REPLICAS)
        for order, mine in ours.items():
            theirs = [swarm.update((DEMO, DEMO_2)[n % 2], REPLICAS, AT_ONCE, order) for n in range(1, UPDATES + 1)]
            for number, (took_s, least) in enumerate(theirs, 1):
                run.say(f"swarm, {order}, {number}: all new after {took_s:.2f} s, {least} ran at least")
            note = f"{min(least for _, least in mine)} ran at least, {min(least for _, least in theirs)} of Swarm's"
            pairs = list(zip([one for one, _ in mine], [one for one, _ in theirs], strict=True))
            what = f"update of {REPLICAS} by {AT_ONCE}, {order}"
            figures.append(compared(FAMILY, what, "s", pairs, "Swarm", target=1.0, note=note))
            swarm.update(DEMO, REPLICAS, AT_ONCE, order)  # so that the next one begins as this one did
        swarm.remove()
    return figures


def _swarm_losses(run: Run, machines: Machines) -> list[Figure]:
    victim, asked = machines.machines[VICTIM], machines.machines["n1"].engine
    took = []
    with swarm_on(machines.machines) as swarm:
        for number in range(1, PEER_LOSSES + 1):
            swarm.create(DEMO, SPREAD)
            took.append(swarm.lost_s(victim, SPREAD, victim.crash, asked))
            run.say(f"swarm, machine crashed, {number}: full strength after {took[-1]:.2f} s")
            victim.boot()
            victim.answers()
            swarm.whole()
            swarm.remove()
    with swarm_on(machines.machines, managers=MACHINES) as swarm:
        swarm.create(DEMO, SPREAD)
        first, other = machines.machines["n1"], machines.machines["n2"].engine
        leader_s = swarm.lost_s(first, SPREAD, first.crash, other)
        run.say(f"swarm, leader crashed: full strength after {leader_s:.2f} s")
        first.boot()
        first.answers()
    return [
        measured(FAMILY, "Swarm: machine crashed, full strength elsewhere", "s", took),
        measured(FAMILY, "Swarm: leader crashed, full strength elsewhere", "s", [leader_s]),
    ]
