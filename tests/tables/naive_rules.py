"""Rules about places the slow and obvious way: part of the reference that `decide.placement` is held to.

Shares no code with it but the parser of constraints.
"""

from longshore.decide.placement.constraints import parse
from longshore.model.lifecycle import ON_NODE, State
from longshore.model.objects import Availability, Node, NodeStatus, Task
from longshore.model.placing import Affinity, Spread, Taint, TaintEffect, Toleration
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import ServiceSpec


class Rules:
    """Asked of the world as it is after so many placements."""

    def __init__(self, world: Snapshot, tasks: dict[str, Task], now: float) -> None:
        self.world = world
        self.now = now
        self.nodes = [world.nodes[name] for name in sorted(world.nodes)]
        self.on_nodes = [one for one in tasks.values() if one.state in ON_NODE and one.node in world.nodes]

    def spec(self, task: Task) -> ServiceSpec | None:
        release = self.world.release(task.service, task.release)
        return release.spec if release else None

    # -- what a node has

    def value(self, node: Node, over: str) -> str | None:
        return node.name if over == "node.name" else node.labels.get(over.removeprefix("node.labels."))

    def count(self, service: str, node: Node, over: str) -> int:
        """Tasks of a service in the domain of a node; on the others without the label, if it has none."""
        value = self.value(node, over)
        there = [one.name for one in self.nodes if self.value(one, over) == value]
        return sum(one.service == service and one.node in there for one in self.on_nodes)

    def means(self, one: Affinity, service: str, spec: ServiceSpec | None) -> bool:
        """Whether a rule is about tasks of a service with this spec."""
        if one.service:
            return one.service == service
        return spec is not None and all(self.chooses(text, spec.labels) for text in one.selector)

    def chooses(self, text: str, labels: dict[str, str]) -> bool:
        """A few words, read here a second time."""
        if text.startswith("!"):
            return text[1:] not in labels
        if " in (" in text:
            key, _, values = text.removesuffix(")").partition(" in (")
            return labels.get(key) in values.split(", ")
        if "!=" in text:
            key, _, value = text.partition("!=")
            return labels.get(key) != value
        key, _, value = text.partition("==")
        return labels.get(key) == value if value else key in labels

    def meant(self, one: Affinity, node: Node) -> int:
        """Tasks that a rule is about in the domain of a node."""
        value = self.value(node, one.over)
        there = [other.name for other in self.nodes if self.value(other, one.over) == value]
        return sum(task.node in there and self.means(one, task.service, self.spec(task)) for task in self.on_nodes)

    def free(self, name: str, node: Node) -> int | list[str]:
        supply = node.resources.get(name, 0)
        here = [one for one in self.on_nodes if one.node == node.name]
        if isinstance(supply, int):
            specs = [self.spec(one) for one in here]
            return max(0, supply - sum(spec.resources.named.get(name, 0) for spec in specs if spec))
        return [one for one in supply if not any(one in task.devices.get(name, ()) for task in here)]

    def millis(self, name: str, node: Node) -> list[int]:
        """Thousandths that are free of each device."""
        supply = node.resources.get(name, 0)
        left = []
        for device in () if isinstance(supply, int) else supply:
            given = 0
            for task in self.on_nodes:
                if task.node == node.name and device in task.devices.get(name, ()):
                    spec = self.spec(task)
                    share = spec.resources.shares.get(name) if spec else None
                    given += 1000 if share is None else round(1000 * share)
            left.append(max(0, 1000 - given))
        return left

    def devices(self, spec: ServiceSpec, node: Node) -> dict[str, tuple[str, ...]]:
        given = {}
        for name, count in sorted(spec.resources.named.items()):
            free = self.free(name, node)
            if not isinstance(free, int):
                given[name] = tuple(free[:count])
        for name, share in spec.resources.shares.items():
            supply = node.resources[name]
            assert not isinstance(supply, int)
            tight = [one for one in self.millis(name, node) if one >= round(1000 * share)]
            given[name] = (supply[self.millis(name, node).index(min(tight))],)
        return given

    # -- what is required

    def tolerates(self, spec: ServiceSpec, taint: Taint) -> bool:
        def one(toleration: Toleration) -> bool:
            if toleration.effect is not None and toleration.effect != taint.effect:
                return False
            if toleration.operator == "Exists":
                return toleration.key in ("", taint.key)
            return toleration.key == taint.key and toleration.value == taint.value

        return any(one(toleration) for toleration in spec.placement.tolerations)

    def suits(self, spec: ServiceSpec, node: Node) -> bool:
        """Whether it could go there if there were room for everything."""
        hard = [one for one in node.taints if one.effect != "PreferNoSchedule" and not self.tolerates(spec, one)]
        return (
            node.status is NodeStatus.READY
            and node.reason is not Reason.NODE_HELD
            and node.availability is Availability.ACTIVE
            and all(parse(text).holds(node) for text in spec.placement.constraints)
            and self.on_platform(spec, node)
            and not hard
        )

    def on_platform(self, spec: ServiceSpec, node: Node) -> bool:
        return spec.placement.platform in ("", f"{node.engine.platform}/{node.engine.architecture}")

    def kind(self, spec: ServiceSpec, node: Node) -> tuple[float, str] | None:
        """Why it is no node for the service, whatever room it has; and how far it came."""
        if not self.on_platform(spec, node):
            return 50, f"platform {spec.placement.platform}"
        every = sorted(
            {
                f"{taint.key}{'=' * bool(taint.value)}{taint.value}:{taint.effect}": taint
                for one in self.nodes
                for taint in one.taints
            }.items()
        )
        for place, (words, taint) in enumerate(every):
            if taint in node.taints and taint.effect != "PreferNoSchedule" and not self.tolerates(spec, taint):
                return 60 + place / 100, f"taint {words}"
        return None

    def named(self, spec: ServiceSpec, node: Node) -> tuple[float, str] | None:
        if spec.resources.pids and node.capacity.pids:
            specs = [self.spec(one) for one in self.on_nodes if one.node == node.name]
            used = sum(one.resources.pids for one in specs if one)
            if spec.resources.pids > node.capacity.pids - used:
                return 103, "not enough pids"
        for place, (name, count) in enumerate(sorted(spec.resources.named.items())):
            free = self.free(name, node)
            if count > (free if isinstance(free, int) else len(free)):
                return 104 + place / 100, f"not enough {name}"
        for place, (name, share) in enumerate(sorted(spec.resources.shares.items())):
            if max(self.millis(name, node), default=0) < round(1000 * share):
                return 105 + place / 100, f"not enough {name}"
        return None

    def neighbours(self, service: str, spec: ServiceSpec, node: Node) -> tuple[float, str] | None:
        rules = spec.placement
        if rules.per_node_max is not None and self.count(service, node, "node.name") >= rules.per_node_max:
            return 150, f"{rules.per_node_max} of {service} there already"
        for place, one in enumerate(rules.affinity):
            if one.weight is None and not self.near(service, spec, node, one):
                return 151 + place / 100, f"not near {self.words(one)} by {one.over}"
        for place, one in enumerate(rules.anti_affinity):
            if one.weight is None and self.value(node, one.over) is not None and self.meant(one, node):
                return 152 + place / 100, f"not apart from {self.words(one)} by {one.over}"
        for over in sorted(self.kept_away(service, spec, node)):
            return 153 + (over == "node.name") / 10, f"others there keep {service} away by {over}"
        for place, spread in enumerate(rules.spread):
            if spread.skew_max is not None and not self.even(service, spec, node, spread, spread.skew_max):
                return 154 + place / 100, f"uneven by {spread.over}, over {spread.skew_max} more than elsewhere"
        return None

    def words(self, one: Affinity) -> str:
        return one.service or " and ".join(one.selector)

    def near(self, service: str, spec: ServiceSpec, node: Node, one: Affinity) -> bool:
        if self.value(node, one.over) is None:
            return False
        anywhere = any(self.means(one, task.service, self.spec(task)) for task in self.on_nodes)
        if self.means(one, service, spec) and not anywhere:
            return True
        return self.meant(one, node) > 0

    def kept_away(self, service: str, own: ServiceSpec, node: Node) -> set[str]:
        found = set()
        for task in self.on_nodes:
            spec = self.spec(task)
            for one in spec.placement.anti_affinity if spec else ():
                value = self.value(node, one.over)
                same = value is not None and value == self.value(self.world.nodes[task.node], one.over)
                if one.weight is None and self.means(one, service, own) and same:
                    found.add(one.over)
        return found

    def even(self, service: str, spec: ServiceSpec, node: Node, spread: Spread, skew_max: int) -> bool:
        if self.value(node, spread.over) is None:
            return False
        others = [one for one in self.nodes if self.value(one, spread.over) is not None and self.suits(spec, one)]
        fewest = min((self.count(service, one, spread.over) for one in others), default=0)
        return self.count(service, node, spread.over) + 1 - fewest <= skew_max

    # -- what is preferred

    def points(self, service: str, spec: ServiceSpec, node: Node) -> int:
        rules, total = spec.placement, 0
        for preference in rules.prefers:
            total += preference.weight * parse(preference.constraint).holds(node)
        for sign, affinities in ((1, rules.affinity), (-1, rules.anti_affinity)):
            for one in affinities:
                if one.weight is not None and self.value(node, one.over) is not None:
                    total += sign * one.weight * (self.meant(one, node) > 0)
        for spread in rules.spread:
            if spread.skew_max is None:
                total -= spread.weight * self.count(service, node, spread.over)
        for taint in node.taints:
            if taint.effect is TaintEffect.PREFER_NO_SCHEDULE and not self.tolerates(spec, taint):
                total -= 100
        return total

    def eased(self, spec: ServiceSpec, node: Node, cpu: int, memory: int) -> float:
        """By how much less of its devices is wasted on what services wish for; a half where that stays as it is."""
        wishes = [one.spec for one in self.world.services.values()]
        names = {name for one in wishes for name in (*one.resources.named, *one.resources.shares)}
        total = 0.0
        for name in sorted(names):
            most = max((len(self.millis(name, one)) for one in self.nodes), default=0)
            if not most:
                continue
            before = self.millis(name, node)
            after = self.after(spec, name, before)
            need = spec.resources
            less = sum(
                one.replicas
                * (
                    self.wasted(one, name, before, cpu, memory)
                    - self.wasted(one, name, after, cpu - need.cpu_millis, memory - need.memory)
                )
                for one in wishes
            )
            total += less / (most * 1000 * max(sum(one.replicas for one in wishes), 1))
        return (total / max(len(names), 1) + 1) / 2

    def after(self, spec: ServiceSpec, name: str, before: list[int]) -> list[int]:
        after = [*before]
        if not before:
            return after  # the resource is only counted there
        for _ in range(spec.resources.named.get(name, 0)):
            after[after.index(1000)] = 0
        if name in spec.resources.shares:
            need = round(1000 * spec.resources.shares[name])
            after[after.index(min(one for one in after if one >= need))] -= need
        return after

    def wasted(self, wish: ServiceSpec, name: str, free: list[int], cpu: int, memory: int) -> int:
        need = wish.resources
        if name in need.shares:
            millis, count = round(1000 * need.shares[name]), 1
        else:
            millis, count = 1000, need.named.get(name, 0)
        large = [one for one in free if one >= millis]
        if not count or len(large) < count or cpu < need.cpu_millis or memory < need.memory:
            return sum(free)
        return sum(one for one in free if one < millis)

    def share(self, part: str, service: str, spec: ServiceSpec, node: Node, free: float) -> float:
        """One part of a weighted policy."""
        tasks = list(self.world.tasks())
        match part:
            case "spread":
                return 1 / (1 + self.count(service, node, "node.name"))
            case "free":
                return free
            case "image":
                there = [self.spec(one) for one in tasks if one.node == node.name and one.started_at is not None]
                return float(any(one is not None and one.image == spec.image for one in there))
        assert part == "steady"
        ended = [one for one in tasks if one.service == service and one.node == node.name]
        bad = [one for one in ended if one.state in (State.FAILED, State.REJECTED)]
        return 1 / (1 + sum(one.finished_at is not None and one.finished_at > self.now - 600 for one in bad))
