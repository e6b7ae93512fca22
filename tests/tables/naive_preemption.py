"""Displacement the slow and obvious way: every set of tasks on every node, everything counted anew each time.

The reference that `decide.placement.displacement.preemption` is held to. Shares no code with it; every rule is written down here a
second time, in the plainest words it has. Tasks go to the first node by name that has room, as `first-fit` has it.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, combinations

from longshore.decide.placement.constraints import parse
from longshore.model.lifecycle import ON_NODE, State, Wanted
from longshore.model.objects import Availability, Node, NodeStatus, Service, Task
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, Preemption, Protocol, ServiceSpec

ANY = 10**9


class Pass:
    """One pass over the waiting tasks."""

    def __init__(self, world: Snapshot) -> None:
        self.world = world
        self.tasks = {task.id: task for task in world.tasks()}
        self.gone: set[str] = set()
        """Who was displaced."""
        self.claims: list[tuple[str, ServiceSpec]] = []
        """Room that is held, by node."""
        self.placed: dict[str, str] = {}
        self.claimed: dict[str, str] = {}
        self.displaced: dict[str, set[str]] = {}
        """By whom."""

    def run(self) -> None:
        waiting = [task for task in self.tasks.values() if task.state is State.NEW and task.wanted is Wanted.RUNNING]
        waiting.sort(key=lambda task: (-self.priority(task), task.created_at, task.service, task.slot, task.generation))
        for task in waiting:
            self.settle(task)

    def settle(self, task: Task) -> None:
        spec = self.spec(task)
        assert spec is not None
        nodes = [node for node in self.nodes() if self.accepts(node, task, spec)]
        first = next((node.name for node in nodes if self.fits(node, spec, now=True)), None)
        if first is not None:
            self.placed[task.id] = first
            self.claims.append((first, spec))  # its room is gone now and later, like that of a claim
            return
        if self.priority(task) <= min(service.spec.priority for service in self.world.services.values()):
            return
        if self.service(task).spec.preemption is Preemption.NEVER:
            return
        if task.claims in [node.name for node in nodes if self.fits(node, spec)]:
            best: tuple[object, str, tuple[Task, ...]] | None = ((), task.claims, ())
        else:
            best = min(self.ways(task, spec, nodes), key=lambda way: way[:2], default=None)
            if best is None and self.service(task).spec.preemption is Preemption.BELOW_MINIMUM:
                best = min(self.ways(task, spec, nodes, below=True), key=lambda way: way[:2], default=None)
        if best is not None:
            _, node, some = best
            self.claimed[task.id] = node
            self.gone |= {one.id for one in some}
            self.displaced[task.id] = {one.id for one in some}
            self.claims.append((node, spec))

    def ways(
        self, task: Task, spec: ServiceSpec, nodes: Iterable[Node], *, below: bool = False
    ) -> Iterator[tuple[object, str, tuple[Task, ...]]]:
        """Every node and set of tasks that would do, with what it is ordered by."""
        for node in nodes:
            near = {one.service for one in spec.placement.affinity if one.weight is None}
            here = [
                one
                for one in self.on(node)
                if one.wanted is Wanted.RUNNING
                and one.id not in self.gone
                and self.priority(one) < self.priority(task)
                and one.service not in near
                and self.spec(one) is not None
            ]
            for some in chain.from_iterable(combinations(here, count) for count in range(len(here) + 1)):
                if self.fits(node, spec, {one.id for one in some}) and (below or self.may_be_spared(some)):
                    specs = [own for one in some if (own := self.spec(one)) is not None]
                    yield (
                        (
                            len(some),
                            sorted((self.priority(one) for one in some), reverse=True),
                            sum(one.resources.cpu_millis for one in specs),
                            sum(one.resources.memory for one in specs),
                            sorted((-one.created_at, -one.slot, -one.generation, one.service) for one in some)[::-1],
                        ),
                        node.name,
                        some,
                    )

    def may_be_spared(self, some: Iterable[Task]) -> bool:
        serving = [one for one in some if one.ready and not one.relieves]
        return all(
            sum(one.service == name for one in serving) <= self.spare(self.world.services[name])
            for name in {one.service for one in serving}
        )

    def spare(self, service: Service) -> int:
        most = service.spec.update.parallelism
        if service.spec.mode is Mode.JOB or not most:
            return ANY
        own = [task for task in self.tasks.values() if task.service == service.name and task.live]
        counting = [task for task in own if task.wanted is Wanted.RUNNING and not task.relieves]
        for task in own:
            if task.wanted is Wanted.LEAVING or task.moves_to or (task.relieves and task.wanted is Wanted.RUNNING):
                return 0
        for task in counting:
            node = self.world.nodes.get(task.node)
            if task.release != service.release or task.pinned or (node is not None and node.availability.gives_up):
                return 0
        serving = [task for task in counting if task.ready and task.id not in self.gone]
        before = [task for task in counting if task.ready]
        left = most - (service.spec.replicas - sum(task.slot <= service.spec.replicas for task in before))
        return max(max(left, 0) - (len(before) - len(serving)), 0)

    # -- nodes

    def nodes(self) -> list[Node]:
        return [self.world.nodes[name] for name in sorted(self.world.nodes)]

    def on(self, node: Node) -> list[Task]:
        return [task for task in self.tasks.values() if task.node == node.name and task.state in ON_NODE]

    def accepts(self, node: Node, task: Task, spec: ServiceSpec) -> bool:
        """All filters but those of room."""
        if node.status is not NodeStatus.READY or node.availability is not Availability.ACTIVE:
            return False
        if task.pinned and task.pinned != node.name:
            return False
        there = sum(one.service == task.service for one in self.on(node))
        there += sum(name == node.name and self.of(claim) == task.service for name, claim in self.claims)
        most = spec.placement.per_node_max
        holds = all(parse(text).holds(node) for text in spec.placement.constraints)
        return holds and (most is None or there < most)

    def of(self, spec: ServiceSpec) -> str:
        """The service that a spec is of: its image says so here."""
        return spec.image.partition(":")[0]

    def fits(self, node: Node, spec: ServiceSpec, gone: Iterable[str] = (), *, now: bool = False) -> bool:
        """Whether a node has room, once those who leave have left; or `now`, while they have not."""
        away = {*gone, *self.gone, *(one.id for one in self.on(node) if one.wanted is not Wanted.RUNNING)}
        stay = [one for one in self.on(node) if now or one.id not in away]
        specs = [found for one in stay if (found := self.spec(one)) is not None]
        specs += [claim for name, claim in self.claims if name == node.name]
        need = spec.resources
        have = node.capacity
        lists = [
            (need.cpu_millis, have.cpu_millis, [one.resources.cpu_millis for one in specs]),
            (need.memory, have.memory, [one.resources.memory for one in specs]),
            (need.disk, have.disk, [one.resources.disk for one in specs]),
        ]
        if have.pids:
            lists.append((need.pids, have.pids, [one.resources.pids for one in specs]))
        for name, count in need.named.items():
            supply = node.resources.get(name, 0)
            whole = supply if isinstance(supply, int) else len(supply)
            lists.append((count, whole, [one.resources.named.get(name, 0) for one in specs]))
        if any(wanted and wanted > most - sum(held) for wanted, most, held in lists):
            return False
        fixed = {(port.host, port.protocol) for port in spec.ports if port.host is not None}
        siblings = [one for one in self.nodes() if one.machine == node.machine]
        users = [one for other in siblings for one in self.on(other) if other is not node or one in stay]
        used: set[tuple[int | None, Protocol]] = {(port.host, port.protocol) for one in users for port in one.ports}
        names = {one.name for one in siblings}
        used |= {(port.host, port.protocol) for name, claim in self.claims if name in names for port in claim.ports}
        return not fixed & used

    # -- tasks

    def service(self, task: Task) -> Service:
        return self.world.services[task.service]

    def priority(self, task: Task) -> int:
        return self.service(task).spec.priority

    def spec(self, task: Task) -> ServiceSpec | None:
        release = self.world.release(task.service, task.release)
        return release.spec if release is not None else None
