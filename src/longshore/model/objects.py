"""The records a store keeps. Frozen; each is replaced, never changed.

Every field has one writer, named in its docstring or its class's; the store stamps `revision`. Times are seconds since
the epoch by the manager's clock, taken when the change landed, so no two clocks are ever compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from longshore.model.lifecycle import TERMINAL, State, Wanted
from longshore.model.placing import Supply, Taint
from longshore.model.reasons import Reason
from longshore.model.spec import Protocol, ServiceSpec


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of what a store keeps. The garbage collector need not look at records: nothing in one leads back to it, and
    there are a million."""

    revision: int = 0
    """Of the commit that wrote this version; zero until it is stored. Writer: the store."""


class Cluster(Record, frozen=True, kw_only=True):
    """The one record that makes a store a cluster. Writer: the manager, once."""

    id: str
    created_at: float


class Availability(StrEnum):
    """What the user wants of a node."""

    ACTIVE = "active"
    PAUSED = "paused"
    """Keeps its tasks and gets no new ones."""
    DRAINED = "drained"
    """Gives its tasks up."""
    LEAVING = "leaving"
    """Gives its tasks up, and is forgotten once it has none."""

    @property
    def gives_up(self) -> bool:
        """Whether a node of this availability shall have no tasks."""
        return self in (Availability.DRAINED, Availability.LEAVING)


class NodeStatus(StrEnum):
    READY = "ready"
    DOWN = "down"


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine has for tasks, in all."""

    cpu: float = 0.0
    """Cores."""
    memory: int = 0
    """Bytes."""
    disk: int = 0
    """Bytes, where the engine keeps its images and containers."""
    pids: int = 0
    """Processes and threads; zero if nobody knows."""

    @property
    def cpu_millis(self) -> int:
        return round(self.cpu * 1000)


class EngineFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says of itself."""

    id: str = ""
    """Two nodes with the same engine share its host ports."""
    name: str = ""
    version: str = ""
    api_version: str = ""
    kernel: str = ""
    os: str = ""
    """Its distribution, for people."""
    platform: str = ""
    """The system that images are made for: `linux`."""
    architecture: str = ""
    labels: dict[str, str] = {}
    """Those that its own configuration gives it."""


class NodeStats(msgspec.Struct, frozen=True, kw_only=True):
    """What is in use on a machine right now. Comes with each heartbeat and is never stored."""

    cpu_used: float = 0.0
    """Cores, over the time since the last heartbeat."""
    load_1m: float = 0.0
    memory_used: int = 0
    memory_free: int = 0
    disk_used: int = 0
    disk_free: int = 0
    containers: int = 0
    tasks_memory: int = 0
    """Bytes that this node's own containers use, by their cgroups."""
    tasks_cpu: float = 0.0
    """Cores that this node's own containers use, by their cgroups."""


class Node(Record, frozen=True, kw_only=True):
    """A worker's machine."""

    name: str
    address: str = ""
    """Where its published ports answer. Writer: sessions, from the worker's description."""
    labels: dict[str, str] = {}
    """Writer: the user; the worker's own are taken once, when it joins."""
    taints: tuple[Taint, ...] = ()
    """Writer: as of `labels`."""
    resources: dict[str, Supply] = {}
    """What it was said to have beside cpu, memory and disk. Writer: as of `labels`."""
    availability: Availability = Availability.ACTIVE
    """Writer: the user."""
    status: NodeStatus = NodeStatus.READY
    """Writer: READY by sessions, DOWN by the nodes controller."""
    reason: Reason = Reason.NODE_JOINED
    message: str = ""
    capacity: Capacity = Capacity()
    engine: EngineFacts = EngineFacts()
    worker_version: str = ""
    """Empty if no worker has ever joined: the node was registered by hand, and nothing is placed on it."""
    drain_by: float | None = None
    """When a node that gives its tasks up stops those that found no other place yet. Writer: the user."""
    dial: str = ""
    """`host:port` at which the manager dials its worker; empty if the worker dials. Writer: the user."""
    lease_s: float = 0.0
    """The longest lease that its worker may still go by, in seconds. Writer: sessions, before a longer one is told and
    after a shorter one was heard."""
    joined_at: float = 0.0
    changed_at: float = 0.0
    """When `status` last changed."""

    @property
    def machine(self) -> str:
        """What it shares with the nodes on the same engine: host ports and volumes."""
        return self.engine.id or self.name

    @property
    def held(self) -> bool:
        """Whether it is silent and not declared down, as too many others are silent as well."""
        return self.reason is Reason.NODE_HELD


class Service(Record, frozen=True, kw_only=True):
    """What the user wishes, by name. Writer: the user, through admission; the services controller forgets jobs that are
    done, after as long as the manager keeps them."""

    name: str
    app: str = ""
    spec: ServiceSpec
    release: int = 1
    """Number of the release that its tasks shall run."""
    created_at: float = 0.0
    updated_at: float = 0.0


class ReleasePhase(StrEnum):
    """How far a release has come."""

    ROLLING = "rolling"
    PAUSED = "paused"
    """Goes no further until somebody says so."""
    DONE = "done"
    """All tasks ran it, and stayed ready. What a rollback goes back to."""
    FAILED = "failed"
    """Too many of its tasks failed."""


class Release(Record, frozen=True, kw_only=True):
    """One numbered version of a service's spec, and how its rollout went. Tasks name the release they run, so that they
    stay small and a worker is never given a spec other than the one its task was placed for. Spec and origin never
    change; writer: the user, through admission, and deployments, which rolls back. The rest: deployments. The services
    controller forgets those that nothing names any more and that are too old to go back to."""

    service: str
    number: int
    spec: ServiceSpec
    author: str = ""
    """Who asked for it: the id of the token that was shown."""
    changed: str = ""
    """What is different from the one before, in short."""
    rolls_back: int = 0
    """Number of the release that failed, if the cluster came back to this one because of that; else zero."""
    created_at: float = 0.0
    phase: ReleasePhase = ReleasePhase.ROLLING
    message: str = ""
    """Why the phase is what it is."""
    failed_slots: tuple[int, ...] = ()
    """Slots in which a task of this release failed while it was rolled out."""
    resumed_at: float | None = None
    """When a user said that it shall go on: what failed before is forgiven."""
    finished_at: float | None = None

    @property
    def id(self) -> str:
        return release_id(self.service, self.number)


class PublishedPort(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A port of a task with the host port that placement gave it."""

    container: int
    host: int
    protocol: Protocol = Protocol.TCP
    ip: str = "0.0.0.0"  # noqa: S104


class Task(Record, frozen=True, kw_only=True):
    """One container's life on one node."""

    id: str
    service: str
    slot: int
    generation: int
    release: int
    pinned: str = ""
    """The only node this task may go to: in global mode its own for life, else that of a move until it has ended.
    Writer: services and rollout, at creation; cleared by rollout."""
    relieves: str = ""
    """Id of the task in its slot that it is to take over from; until then it does not count. Writer: rollout."""
    moves_to: str = ""
    """The node that it is to move to, for balance. Writer: the user or rebalance; cleared by rollout."""
    moves_turn: int = 0
    """Its place in the order of moves. Writer: as of `moves_to`."""
    move_ended_at: float | None = None
    """When its slot last moved for balance, to where it is now or, given up, not: it is left alone for a while. Writer:
    rollout."""
    leaving_at: float | None = None
    """When it was taken out of rotation. Writer: who raised `wanted`."""
    avoids: dict[str, float] = {}
    """Nodes on which its slot failed again and again, with the moment until which it keeps away from them where it can.
    Writer: placement."""
    claims: str = ""
    """The node on which room is being made for it, while it waits; what comes free there is held for it. Writer:
    placement."""
    attempt: int = 0
    """How many tasks of this slot failed in a row, without a stable run, before this one. Writer: services."""
    node: str = ""
    """Writer: placement."""
    ports: tuple[PublishedPort, ...] = ()
    """Writer: placement."""
    devices: dict[str, tuple[str, ...]] = {}
    """Its own of those that its node has, by resource. Writer: placement."""
    exposed: tuple[PublishedPort, ...] = ()
    """What the image exposes, on host ports that the engine chose. Writer: worker."""
    state: State = State.NEW
    """Writer: the owner of the edge (`lifecycle.EDGES`)."""
    wanted: Wanted = Wanted.RUNNING
    """Writer: controllers (`lifecycle.WANTED_OWNERS`)."""
    ready: bool = False
    """Runs and passes its check. Writer: worker; cleared by whoever moves the task out of RUNNING."""
    ready_changed_at: float | None = None
    """When it last became ready, or ceased to be while it ran. Writer: worker."""
    container_id: str = ""
    """Writer: worker; empty again once the container is removed."""
    exit_code: int | None = None
    """Writer: worker."""
    reason: Reason = Reason.CREATED
    """Why the state is what it is."""
    message: str = ""
    """The same with names and numbers, or the engine's own words."""
    created_at: float = 0.0
    placed_at: float | None = None
    started_at: float | None = None
    """When it came to RUNNING."""
    finished_at: float | None = None
    """When it came to a terminal state."""

    @property
    def live(self) -> bool:
        return self.state not in TERMINAL

    @property
    def counts(self) -> bool:
        """Whether this task is the one that fills its slot."""
        return self.live and self.wanted is Wanted.RUNNING and not self.relieves

    @property
    def stands_by(self) -> bool:
        """Whether it is about to take its slot over from the task that fills it."""
        return self.live and self.wanted is Wanted.RUNNING and bool(self.relieves)


class Role(StrEnum):
    """What a token opens."""

    ADMIN = "admin"
    JOIN = "join"
    NODE = "node"


class Token(Record, frozen=True, kw_only=True):
    """A secret's record: only its SHA-256 is kept. Writer: the user (admin, join), sessions (node)."""

    id: str
    role: Role
    sha256: str
    node: str = ""
    """Role node: the only node this token speaks for."""
    uses_left: int | None = None
    """Role join: how many workers may still join with it; None is any number."""
    created_at: float = 0.0
    expires_at: float | None = None


class Volume(Record, frozen=True, kw_only=True):
    """A named volume of one slot, and where it is. The slot stays there: elsewhere the engine would start it on an
    empty volume of the same name. Outlives its tasks and its service, as the volume itself does. Writer: placement,
    when it first places a task of the slot; the user, who may have it forgotten."""

    name: str
    """As the engine knows it."""
    service: str
    slot: int
    node: str
    """The node that it was placed on."""
    machine: str
    """Of that node: nodes that share an engine share its volumes."""
    task: str
    """The newest task that was placed with it. So who places one and who has the volume forgotten cannot both win."""
    created_at: float = 0.0
    """When the first task of the slot was placed with it."""

    @property
    def id(self) -> str:
        return volume_id(self.name, self.service, self.slot)


class Posting(Record, frozen=True, kw_only=True):
    """What a client of an older orchestrator's API posted as a task, as it said it: its id, its name, its figures. It
    is run as a service of one replica; this record keeps what a service has no word for. Writer: the user."""

    id: str
    """The client's own."""
    name: str = ""
    service: str = ""
    """The service that runs it; empty if there is no image to run."""
    image: str = ""
    cpu: float = 0.0
    """Cores."""
    memory: int = 0
    """Bytes."""
    disk: int = 0
    """Bytes."""
    exposed_ports: tuple[str, ...] = ()
    """Container ports to publish, such as `7777/tcp`, each on a host port that the cluster chooses."""
    port_bindings: dict[str, str] = {}
    """Container port to host port, such as `7777/tcp` to `7777`."""
    restart_policy: str = ""
    health_check: str = ""
    """Path to GET; empty is no check."""
    env: dict[str, str] = {}
    command: tuple[str, ...] = ()
    created_at: float = 0.0
    stopped_at: float | None = None
    last: Task | None = None
    """The task it had when it was stopped: the records of stopped tasks go, and its client may still ask."""


Object = Cluster | Node | Service | Release | Task | Token | Posting | Volume
"""Anything a store keeps."""


class Kind(StrEnum):
    """The kinds of records; with its id, a kind names one record."""

    CLUSTER = "cluster"
    NODE = "node"
    SERVICE = "service"
    RELEASE = "release"
    TASK = "task"
    TOKEN = "token"
    POSTING = "posting"
    VOLUME = "volume"


TYPE_OF: dict[Kind, type[Object]] = {
    Kind.CLUSTER: Cluster,
    Kind.NODE: Node,
    Kind.SERVICE: Service,
    Kind.RELEASE: Release,
    Kind.TASK: Task,
    Kind.TOKEN: Token,
    Kind.POSTING: Posting,
    Kind.VOLUME: Volume,
}


def task_id(service: str, slot: int, generation: int) -> str:
    """`web.3.2`: the second task in slot 3 of web."""
    return f"{service}.{slot}.{generation}"


def release_id(service: str, number: int) -> str:
    """`web@4`: the fourth release of web."""
    return f"{service}@{number}"


def volume_id(name: str, service: str, slot: int) -> str:
    """`db.1.shop_data`: the volume shop_data of the first slot of db."""
    return f"{service}.{slot}.{name}"


def by_slot(tasks: Iterable[Task]) -> dict[int, list[Task]]:
    """The tasks of one service, slot by slot, the oldest first."""
    slots: dict[int, list[Task]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: (task.slot, task.generation)):
        slots[task.slot].append(task)
    return dict(slots)


def slot_by_node(slots: Mapping[int, Sequence[Task]]) -> dict[str, int]:
    """The slot that a global service has for each node that any of its tasks is pinned to; the newest need not be, as
    it may be of a release by which the service was not global. A slot is one node's, however often it moved meanwhile:
    that of a task in it that counts, else of the last that was pinned. Of several slots of a node, one that is filled
    comes first."""
    pinned = ([task for task in here if task.pinned] for here in slots.values())
    last = [max(here, key=lambda task: (task.counts, task.generation)) for here in pinned if here]
    return {task.pinned: task.slot for task in sorted(last, key=lambda task: (task.counts, -task.slot))}
