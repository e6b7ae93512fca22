"""Whether each task was put where the rules about its place allow, by the slow and obvious way.

Shares no code with placement but what a constraint means. What is asked of the node itself is asked of its record as it
was when the placement landed, since that rests on it. What is asked of other tasks was true when it was decided: since
then tasks may have ended, and none was placed by anybody else. So where one more is too many, the tasks that are there
are counted; where one is to be there, or elsewhere, those that have just ended count as well.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set

from longshore.decide.placement.constraints import parse
from longshore.model.lifecycle import ON_NODE
from longshore.model.objects import Availability, Node, NodeStatus, Task
from longshore.model.placing import Affinity, Spread, Taint, TaintEffect, Toleration
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Resources, ServiceSpec

ENDED_MAX = 500
"""Ends of tasks that are remembered: more than there are in any minute."""


class Places:
    """Of one world."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, Task]] = deque(maxlen=ENDED_MAX)
        self._fresh: dict[str, Node | None] = {}
        """Tasks that were just placed, with their nodes as they were then."""

    def saw(self, before: Task | None, after: Task | None, node: Node | None, at: float) -> None:
        """A task changed, and `node` is the one that it is on now."""
        if after is not None and after.state in ON_NODE and (before is None or before.state not in ON_NODE):
            self._fresh[after.id] = node
        elif before is not None and before.state in ON_NODE and (after is None or after.state not in ON_NODE):
            self._ended.append((at, before))
            self._fresh.pop(before.id, None)

    def wrong(self, world: Snapshot, since: float, *, settled: bool) -> Iterator[str]:
        """What is wrong with the places that were given out since this was last asked. Tasks that ended after `since`
        may have been there when it was decided; `settled` says that no node was changed after it."""
        fresh, self._fresh = self._fresh, {}
        later = set(fresh)
        for id, node in fresh.items():
            later.discard(id)
            task = world.task(id)
            release = world.release(task.service, task.release) if task is not None else None
            if task is None or release is None or task.state not in ON_NODE:
                continue
            if node is None:
                yield f"{id} is placed on {task.node}, which does not exist"
                continue
            for fault in _unsuited(node, release.spec):
                yield f"{id} is placed on {node.name}: {fault}"
            if _is_plain(release.spec) and not any(_repelling(world)):
                continue
            ended = [one for at, one in self._ended if at >= since]
            for fault in _Around(world, ended, later, task, node, release.spec).faults(settled):
                yield f"{id} is placed on {node.name}: {fault}"


def _unsuited(node: Node, spec: ServiceSpec) -> Iterator[str]:
    """What forbids a node to tasks of `spec`, whatever else is there."""
    rules = spec.placement
    if node.status is not NodeStatus.READY or node.held:
        yield "it is not there"
    if node.availability is not Availability.ACTIVE:
        yield f"it is {node.availability}"
    for text in rules.constraints:
        if not parse(text).holds(node):
            yield f"constraint {text}"
    if rules.platform not in ("", f"{node.engine.platform}/{node.engine.architecture}"):
        yield f"platform {rules.platform}"
    for taint in node.taints:
        soft = taint.effect is TaintEffect.PREFER_NO_SCHEDULE
        if not soft and not any(_tolerates(one, taint) for one in rules.tolerations):
            yield f"taint {taint}"


def _tolerates(one: Toleration, taint: Taint) -> bool:
    if one.effect not in (None, taint.effect):
        return False
    return (
        (one.key in ("", taint.key)) if one.operator == "Exists" else (one.key, one.value) == (taint.key, taint.value)
    )


def _is_plain(spec: ServiceSpec) -> bool:
    """Whether it asks for nothing that depends on other tasks, beyond what every snapshot is checked for."""
    rules = spec.placement
    others = rules.per_node_max is not None or rules.affinity or rules.anti_affinity or rules.spread
    return not others and not spec.resources.pids and not spec.resources.named


def _repelling(world: Snapshot) -> Iterator[Affinity]:
    """All that keeps some service away from tasks of another."""
    for releases in world.services_with_tasks:
        for release in world.releases_of(releases).values():
            yield from _required(release.spec.placement.anti_affinity)


def _required(affinities: Iterable[Affinity]) -> list[Affinity]:
    return [one for one in affinities if one.weight is None]


class _Around:
    """What is around one task that was just placed."""

    def __init__(
        self, world: Snapshot, ended: Iterable[Task], later: Set[str], task: Task, node: Node, spec: ServiceSpec
    ) -> None:
        """Who was placed `later` was not there yet."""
        self._world = world
        self._task = task
        self._node = node
        self._spec = spec
        self._nodes: Mapping[str, Node] = {**world.nodes, node.name: node}
        self._on_nodes = [one for one in world.tasks() if one.state in ON_NODE and one.id not in later]
        self._were = [*self._on_nodes, *ended]

    def faults(self, settled: bool) -> Iterator[str]:
        yield from self._too_much()
        rules = self._spec.placement
        if rules.per_node_max is not None and self._count(self._task.service, "node.name") > rules.per_node_max:
            yield f"more than {rules.per_node_max} of {self._task.service} are there"
        if not settled:
            return
        for one in _required(rules.affinity):
            if not self._is_near(one):
                yield f"not near {one.service} by {one.over}"
        for one in _required(rules.anti_affinity):
            if self._value(self._node, one.over) is not None and self._others(self._on_nodes, one.service, one.over):
                yield f"not apart from {one.service} by {one.over}"
        yield from self._unwelcome()
        for spread in rules.spread:
            if spread.skew_max is not None and not self._is_even(spread, spread.skew_max):
                yield f"uneven by {spread.over}"

    # -- what is used up

    def _too_much(self) -> Iterator[str]:
        asked = self._spec.resources
        here = [self._resources(one) for one in self._on_nodes if one.node == self._node.name]
        if asked.pids and sum(one.pids for one in here) > self._node.capacity.pids:
            yield "not enough pids"
        for name, count in asked.named.items():
            supply = self._node.resources.get(name, 0)
            given = self._task.devices.get(name, ())
            if isinstance(supply, int):
                if sum(one.named.get(name, 0) for one in here) > supply:
                    yield f"not enough {name}"
            elif len(set(given)) != count or not set(given) <= set(supply):
                yield f"it has {name} {', '.join(given) or 'of none'}"

    def _resources(self, task: Task) -> Resources:
        release = self._world.release(task.service, task.release)
        return release.spec.resources if release is not None else Resources()

    # -- who is around

    def _value(self, node: Node, over: str) -> str | None:
        return node.name if over == "node.name" else node.labels.get(over.removeprefix("node.labels."))

    def _others(self, tasks: Iterable[Task], service: str, over: str) -> list[Task]:
        """Those of a service in the same domain, but for the task itself."""
        value = self._value(self._node, over)
        names = {node.name for node in self._nodes.values() if self._value(node, over) == value is not None}
        return [one for one in tasks if one.service == service and one.node in names and one.id != self._task.id]

    def _count(self, service: str, over: str) -> int:
        return 1 + len(self._others(self._on_nodes, service, over))

    def _is_near(self, one: Affinity) -> bool:
        """The first of those that are near one another goes anywhere."""
        if self._value(self._node, one.over) is None:
            return False
        others = (task for task in self._on_nodes if task.service == one.service and task.id != self._task.id)
        first = one.service == self._task.service and not any(others)
        return first or bool(self._others(self._were, one.service, one.over))

    def _unwelcome(self) -> Iterator[str]:
        """What tasks that are there say of this one."""
        for other in self._on_nodes:
            release = self._world.release(other.service, other.release)
            for one in _required(release.spec.placement.anti_affinity) if release is not None else ():
                value = self._value(self._node, one.over)
                there = value is not None and value == self._value(self._nodes[other.node], one.over)
                if other.id != self._task.id and one.service == self._task.service and there:
                    yield f"{other.id} keeps {one.service} away by {one.over}"

    def _is_even(self, spread: Spread, skew_max: int) -> bool:
        if self._value(self._node, spread.over) is None:
            return False
        open = {self._value(node, spread.over) for node in self._nodes.values() if not any(_unsuited(node, self._spec))}
        held = {value: set[str]() for value in open - {None}}
        for one in self._were:
            value = self._value(self._nodes[one.node], spread.over) if one.node in self._nodes else None
            if one.service == self._task.service and value in held:
                held[value].add(one.id)
        fewest = min(map(len, held.values()), default=0)
        return self._count(self._task.service, spread.over) - fewest <= skew_max
