"""Placement the slow and obvious way: one task after the other, everything counted anew each time, no arrays.

The reference that `decide.placement` is held to. Shares no code with it but the parser of constraints; every rule is
written down here a second time, in the plainest words it has.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from msgspec.structs import replace

from longshore.decide.placement.constraints import parse
from longshore.model.lifecycle import ON_NODE, State, Wanted
from longshore.model.objects import Availability, Node, NodeStatus, PublishedPort, Task, Volume
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, MountKind, Resources, ServiceSpec
from tests.tables.naive_rules import Rules

RETRY_S = 30.0


@dataclass
class Situation:
    """The tasks as they are after so many placements."""

    world: Snapshot
    now: float
    ports_to_choose: range
    tasks: dict[str, Task] = field(default_factory=dict)
    volumes: dict[tuple[str, str, int], tuple[str, str]] = field(default_factory=dict)
    """By name, service and slot: the node and the machine that have it."""
    given: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """The devices of each task that was placed."""

    def __post_init__(self) -> None:
        for one in self.world.volumes.values():
            if not self.never_used(one):
                self.volumes[one.name, one.service, one.slot] = (one.node, one.machine)

    def never_used(self, volume: Volume) -> bool:
        """Whether all tasks of its slot, from the one on with which it was placed, were rejected without a container.
        One that still waits has been nowhere."""
        slot = [one for one in self.world.tasks() if (one.service, one.slot) == (volume.service, volume.slot)]
        since = [one for one in slot if one.placed_at is not None and one.placed_at >= volume.created_at]
        if volume.created_at not in [one.placed_at for one in since]:
            return False
        return not [one for one in since if one.state is not State.REJECTED or one.container_id]

    def ties(self, task: Task, spec: ServiceSpec) -> list[tuple[str, list[str]]]:
        """The nodes that the task may go to, once for each thing that binds it, and what that is."""
        if task.pinned:
            return [("pinned to another node", [task.pinned])]
        found = []
        for name in names(spec):
            own = self.volumes.get((name, task.service, task.slot))
            foreign = [key for key in self.volumes if key[0] == name and key[1] != task.service]
            homes = (
                [own] if own else [self.volumes[key] for key in sorted(foreign, key=lambda key: f"{key[1]}.{key[2]}")]
            )
            if not homes:
                continue
            words = []
            for node, machine in homes:
                known = self.world.nodes.get(node)
                here = [one for one in self.nodes() if (one.engine.id or one.name) == machine]
                words.append(node if known is None or here else f"an engine that {node} had before")
            nodes = [one.name for one in self.nodes() if (one.engine.id or one.name) in [home[1] for home in homes]]
            found.append((f"volume {name} is on {' and '.join(dict.fromkeys(words))}", nodes))
        return found

    def spec(self, task: Task) -> ServiceSpec | None:
        release = self.world.release(task.service, task.release)
        return release.spec if release else None

    def on(self, node: Node) -> list[Task]:
        return [task for task in self.tasks.values() if task.node == node.name and task.state in ON_NODE]

    def nodes(self) -> list[Node]:
        return [self.world.nodes[name] for name in sorted(self.world.nodes)]

    def cpu_free(self, node: Node) -> int:
        specs = [self.spec(task) for task in self.on(node)]
        return max(0, node.capacity.cpu_millis - sum(spec.resources.cpu_millis for spec in specs if spec))

    def memory_free(self, node: Node) -> int:
        specs = [self.spec(task) for task in self.on(node)]
        return max(0, node.capacity.memory - sum(spec.resources.memory for spec in specs if spec))

    def disk_free(self, node: Node) -> int:
        specs = [self.spec(task) for task in self.on(node)]
        return max(0, node.capacity.disk - sum(spec.resources.disk for spec in specs if spec))

    def siblings(self, node: Node) -> list[Node]:
        """All nodes on the machine of `node`."""
        return [one for one in self.nodes() if (one.engine.id or one.name) == (node.engine.id or node.name)]

    def refused_ports(self, node: Node) -> dict[tuple[int, str], float]:
        """Ports of the machine that another program was found to hold, with when the last such refusal expires."""
        until: dict[tuple[int, str], float] = {}
        for one in self.siblings(node):
            for task in self.tasks.values():
                if task.node != one.name or task.live or task.reason is not Reason.PORT_TAKEN:
                    continue
                if task.finished_at is None or self.now - task.finished_at >= RETRY_S:
                    continue
                for port in task.ports:
                    key = (port.host, port.protocol)
                    until[key] = max(until.get(key, 0.0), task.finished_at + RETRY_S)
        return until

    def used_ports(self, node: Node) -> set[tuple[int, str]]:
        used = set(self.refused_ports(node))
        for one in self.siblings(node):
            used |= {(port.host, port.protocol) for task in self.on(one) for port in task.ports}
        return used

    def ports_for(self, spec: ServiceSpec, node: Node) -> list[PublishedPort] | str:
        """The ports of a task on `node`, or which one it lacks."""
        used = self.used_ports(node)
        for port in spec.ports:
            if port.host is not None and (port.host, port.protocol) in used:
                return f"host port {port.host}/{port.protocol} in use"
        used |= {(port.host, port.protocol) for port in spec.ports if port.host is not None}
        given = []
        for port in spec.ports:
            host = port.host
            if host is None:
                free = [number for number in self.ports_to_choose if (number, port.protocol) not in used]
                if not free:
                    return "no host port free from 30000 to 32767"
                host = free[0]
                used.add((host, port.protocol))
            given.append(PublishedPort(container=port.container, host=host, protocol=port.protocol, ip=port.ip))
        return given

    def avoided(self, task: Task, spec: ServiceSpec) -> dict[str, float]:
        """Where three in a row of the task's slot failed within the last ten minutes, and what the one before avoided;
        not where the release runs well."""
        if spec.mode is Mode.GLOBAL:
            return {}
        service = [one for one in self.world.tasks() if one.service == task.service]
        before = [one for one in service if one.slot == task.slot and one.generation < task.generation and one.node]
        before.sort(key=lambda one: -one.generation)
        if not before:
            return {}
        away = dict(before[0].avoids)
        lately = before[:3]
        alike = len({(one.node, one.release) for one in [*lately, replace(task, node=lately[0].node)]}) == 1
        if len(lately) == 3 and alike and all(self.crashed(one, spec) for one in lately):
            assert lately[0].finished_at is not None
            away[lately[0].node] = lately[0].finished_at + 600
        for one in service:
            ran_s = self.now - one.started_at if one.started_at is not None else 0.0
            if one.release == task.release and one.ready and ran_s >= spec.restart.window_s:
                away.pop(one.node, None)
        return {name: until for name, until in away.items() if until > self.now}

    def crashed(self, one: Task, spec: ServiceSpec) -> bool:
        if one.state not in (State.FAILED, State.REJECTED, State.FINISHED):
            return False
        if one.reason is Reason.PORT_TAKEN and all(port.host is None for port in spec.ports):
            return False
        if one.started_at is None or one.finished_at is None:
            return True
        return one.finished_at - one.started_at < spec.restart.window_s

    def refusal(self, task: Task, spec: ServiceSpec, node: Node) -> tuple[float, str] | None:
        """Why `node` cannot take the task, and how far it came before it was refused."""
        for place, (words, nodes) in enumerate(self.ties(task, spec)):
            if node.name not in nodes:
                return place / 10, words
        if node.status is NodeStatus.DOWN:
            return 1, "node is down"
        if node.reason is Reason.NODE_HELD:
            return 1.5, "node is silent"
        if node.availability is not Availability.ACTIVE:
            return 2, "node is paused or drained"
        for place, text in enumerate(spec.placement.constraints):
            if not parse(text).holds(node):
                return 3 + place, f"constraint {parse(text)}"
        rules = Rules(self.world, self.tasks, self.now)
        if (kind := rules.kind(spec, node)) is not None:
            return kind
        if spec.resources.cpu_millis and spec.resources.cpu_millis > self.cpu_free(node):
            return 100, "not enough cpu"
        if spec.resources.memory and spec.resources.memory > self.memory_free(node):
            return 101, "not enough memory"
        if spec.resources.disk and spec.resources.disk > self.disk_free(node):
            return 102, "not enough disk"
        if (refused := rules.named(spec, node) or rules.neighbours(task.service, spec, node)) is not None:
            return refused
        ports = self.ports_for(spec, node)
        if isinstance(ports, str):
            named = [f"host port {port.host}/{port.protocol} in use" for port in spec.ports]
            return 200 + (named.index(ports) if ports in named else 99), ports
        return None


def names(spec: ServiceSpec) -> list[str]:
    return list(dict.fromkeys(mount.source for mount in spec.mounts if mount.kind is MountKind.VOLUME and mount.source))


Rank = Callable[[Situation, Task, ServiceSpec, Node], tuple[float | Fraction, ...]]
"""The least rank wins."""


def _first_fit(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> tuple[float | Fraction, ...]:
    return ()


def _round_robin(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> tuple[float | Fraction, ...]:
    names = [one.name for one in here.nodes()]
    placed = [one for one in here.tasks.values() if one.placed_at is not None and one.node in names]
    if not placed:
        return ()
    last = max(placed, key=lambda one: (one.placed_at, one.created_at, one.service, one.slot, one.generation)).node
    return ((names.index(node.name) - names.index(last) - 1) % len(names),)


def _second_first(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> tuple[float | Fraction, ...]:
    """Round-robin, but that an empty cluster begins with the second node."""
    names = [one.name for one in here.nodes()]
    if any(one.placed_at is not None and one.node in names for one in here.tasks.values()):
        return _round_robin(here, task, spec, node)
    return ((names.index(node.name) - 1) % len(names),)


def _share(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)


def _spread(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> tuple[float | Fraction, ...]:
    tasks = here.on(node)
    of_service = sum(one.service == task.service for one in tasks)
    cpu, memory = node.capacity.cpu_millis, node.capacity.memory
    return (of_service, len(tasks), -(_share(here.cpu_free(node), cpu) + _share(here.memory_free(node), memory)))


def _binpack(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> tuple[float | Fraction, ...]:
    cpu, memory = here.cpu_free(node) - spec.resources.cpu_millis, here.memory_free(node) - spec.resources.memory
    return (_share(cpu, node.capacity.cpu_millis) + _share(memory, node.capacity.memory),)


def _aligned(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> float:
    """The square of the cosine between what is free and what is needed, as parts of the node."""
    cpu, memory = max(node.capacity.cpu_millis, 1), max(node.capacity.memory, 1)
    free = (here.cpu_free(node) / cpu, here.memory_free(node) / memory)
    need = (spec.resources.cpu_millis / cpu, spec.resources.memory / memory)
    product = free[0] * need[0] + free[1] * need[1]
    lengths = (free[0] * free[0] + free[1] * free[1]) * (need[0] * need[0] + need[1] * need[1])
    return product * product / lengths if lengths else 0.0


def _packed(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> float:
    cpu, memory = max(node.capacity.cpu_millis, 1), max(node.capacity.memory, 1)
    left = (here.cpu_free(node) - spec.resources.cpu_millis) / cpu
    return 1 - (left + (here.memory_free(node) - spec.resources.memory) / memory) / 2


def _alignment(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> tuple[float | Fraction, ...]:
    return (-(_aligned(here, task, spec, node) + _packed(here, task, spec, node) / 8),)


def _epvm(here: Situation, task: Task, spec: ServiceSpec, node: Node) -> tuple[float | Fraction, ...]:
    base = float(max(2, len(here.nodes())))
    crowd = 1
    while crowd < max(len(here.on(one)) for one in here.nodes()):
        crowd *= 2
    cost = math.pow(base, len(here.on(node)) / crowd) * (math.pow(base, 1 / crowd) - 1)
    for free, whole, need in (
        (here.cpu_free(node), node.capacity.cpu_millis, spec.resources.cpu_millis),
        (here.memory_free(node), node.capacity.memory, spec.resources.memory),
    ):
        if need:
            cost += math.pow(base, (whole - free) / whole) * (math.pow(base, need / whole) - 1)
    return (cost,)


def _weighted(here: Situation, task: Task, spec: ServiceSpec, node: Node, text: str) -> tuple[float | Fraction, ...]:
    cpu, memory = max(node.capacity.cpu_millis, 1), max(node.capacity.memory, 1)
    free = (here.cpu_free(node) / cpu + here.memory_free(node) / memory) / 2
    rules = Rules(here.world, here.tasks, here.now)
    total = 0.0
    for item in text.split(","):
        part, _, weight = item.partition("=")
        if part in ("alignment", "binpack"):
            share = {"alignment": _aligned, "binpack": _packed}[part](here, task, spec, node)
        elif part == "fragmentation":
            share = rules.eased(spec, node, here.cpu_free(node), here.memory_free(node))
        else:
            share = rules.share(part, task.service, spec, node, free)
        total += share * float(weight)
    return (-total,)


def rank(here: Situation, task: Task, spec: ServiceSpec, node: Node, policy: str) -> tuple[float | Fraction, ...]:
    """What rules with a weight come to, then the service's own policy or else the cluster's."""
    points = Rules(here.world, here.tasks, here.now).points(task.service, spec, node)
    name = spec.placement.policy or policy
    if "=" in name:
        return (-points, *_weighted(here, task, spec, node, name))
    return (-points, *RANKS[name](here, task, spec, node))


RANKS: dict[str, Rank] = {
    "first-fit": _first_fit,
    "round-robin": _round_robin,
    "spread": _spread,
    "binpack": _binpack,
    "alignment": _alignment,
    "epvm": _epvm,
    "roundrobin": _second_first,
    "greedy": _first_fit,  # where nothing is measured, none is busier than another
}


def waiting(world: Snapshot, policy: str) -> list[Task]:
    tasks = [task for task in world.tasks() if task.state is State.NEW and task.wanted is Wanted.RUNNING]

    def turn(task: Task) -> tuple[object, ...]:
        release = world.release(task.service, task.release)
        needs = release.spec.resources if release is not None else Resources()
        size = needs.cpu + needs.memory / (4 << 30)
        return int(task.created_at), -size, task.created_at, task.service, task.slot, task.generation

    return sorted(tasks, key=turn if policy == "alignment" else lambda task: turn(task)[2:])


def decide(
    world: Snapshot, now: float, policy: str, ports_to_choose: range
) -> tuple[list[tuple[str, str, tuple[PublishedPort, ...], str]], float | None]:
    """For each waiting task its id, node, ports and, if it stays, why; and when to look again."""
    return situation(world, now, policy, ports_to_choose)[1:]


def situation(
    world: Snapshot, now: float, policy: str, ports_to_choose: range
) -> tuple[Situation, list[tuple[str, str, tuple[PublishedPort, ...], str]], float | None]:
    """The same, and how it is then."""
    here = Situation(world, now, ports_to_choose, {task.id: task for task in world.tasks()})
    rows: list[tuple[str, str, tuple[PublishedPort, ...], str]] = []
    looks: list[float] = []
    hopes: list[str] = []
    for task in waiting(world, policy):
        spec = here.spec(task)
        if spec is None:
            rows.append((task.id, "", (), f"release {task.release} is not kept"))
            continue
        refusals = {node.name: here.refusal(task, spec, node) for node in here.nodes()}
        fitting = [node for node in here.nodes() if refusals[node.name] is None]
        if not fitting:
            rows.append((task.id, "", (), _sentence(refusals)))
            hopes += [task.id] if _hopes(spec) else []
            looks += _looks(here, spec, refusals)
            continue
        away = here.avoided(task, spec)
        fitting = [node for node in fitting if node.name not in away] or fitting
        best = min(fitting, key=lambda node: (rank(here, task, spec, node, policy), node.name))
        ports = here.ports_for(spec, best)
        assert not isinstance(ports, str)
        rows.append((task.id, best.name, tuple(ports), ""))
        for name in names(spec) if spec.mode is not Mode.GLOBAL else []:
            here.volumes[name, task.service, task.slot] = (best.name, best.engine.id or best.name)
        devices = Rules(world, here.tasks, now).devices(spec, best)
        here.given[task.id] = devices
        here.tasks[task.id] = replace(
            task, devices=devices, state=State.PLACED, node=best.name, ports=tuple(ports), placed_at=now, avoids=away
        )
    looks += [now] if hopes and any(row[1] for row in rows) else []
    return here, rows, min(looks, default=None)


def _hopes(spec: ServiceSpec) -> bool:
    """Whether other tasks may make room for it."""
    near = any(one.weight is None for one in spec.placement.affinity)
    return near or any(one.skew_max is not None for one in spec.placement.spread)


def _sentence(refusals: dict[str, tuple[float, str] | None]) -> str:
    if not refusals:
        return "no nodes have joined yet"
    parts = []
    for refusal in sorted({one for one in refusals.values() if one is not None}, reverse=True):
        names = [name for name, one in refusals.items() if one == refusal]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        parts.append(f"{refusal[1]} ({', '.join(names[:5])}{more})")
    return f"0 of {len(refusals)} {'node' if len(refusals) == 1 else 'nodes'}: {', '.join(parts)}"


def _looks(here: Situation, spec: ServiceSpec, refusals: dict[str, tuple[float, str] | None]) -> list[float]:
    """When refused ports that the task could use, where it lacks nothing but a port, are tried again."""
    fixed = {(port.host, port.protocol) for port in spec.ports if port.host is not None}
    chosen = {port.protocol for port in spec.ports if port.host is None}
    return [
        until
        for node in here.nodes()
        if (refusal := refusals[node.name]) is not None and refusal[0] >= 200
        for (host, protocol), until in here.refused_ports(node).items()
        if (host, protocol) in fixed or (protocol in chosen and host in here.ports_to_choose)
    ]
