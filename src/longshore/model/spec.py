"""What a user wishes of a service, field by field. Pure data; `decide.admission` fills defaults and refuses nonsense.

These types are at once the API's request body, the stored record and what a worker reads, so a field means the same
everywhere. Units: seconds (`_s`), bytes (`_bytes`, and `memory`), cores (`cpu`). Unknown fields are refused.
"""

from enum import StrEnum

import msgspec

from longshore.model.placing import PlacementRules as PlacementRules


class Mode(StrEnum):
    """How many tasks a service has, and whether they are meant to end."""

    REPLICATED = "replicated"
    GLOBAL = "global"
    JOB = "job"


class Pull(StrEnum):
    """When the worker asks the registry for the image."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


class Protocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"


class Ingress(StrEnum):
    """What the entries understand of a port's traffic."""

    HTTP = "http"
    """Request by request; the client's address is in X-Forwarded-For."""
    TCP = "tcp"
    """Connection by connection, whatever is said on it; the task sees the entry's address."""


class MountKind(StrEnum):
    VOLUME = "volume"
    BIND = "bind"
    TMPFS = "tmpfs"


class RestartOn(StrEnum):
    """After which ends of a task its slot is filled again."""

    ANY = "any"
    ON_FAILURE = "on-failure"
    NONE = "none"


class _Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything a user writes."""


class Port(_Wish, frozen=True, kw_only=True):
    """A container port that is reachable on the node. Without `host` the cluster chooses one from its range."""

    container: int
    host: int | None = None
    protocol: Protocol = Protocol.TCP
    ip: str = "0.0.0.0"  # noqa: S104  (what a published port means, unless the user narrows it)
    """Address of the node to listen on; of an entry, with `ingress`."""
    ingress: Ingress | None = None
    """Reachable at one address: `listen` on every node that is an entry, whichever nodes the tasks are on. The host
    port of each task is then the cluster's to choose."""
    listen: int | None = None
    """With `ingress`: the entries' port. None is the container's; admission writes it out."""


WHOLE_MILLIS = 1000
"""A device in thousandths."""


class Resources(_Wish, frozen=True, kw_only=True):
    """What a task needs set aside for it on its node. Placement counts these and nothing else."""

    cpu: float = 0.0
    """Cores; counted in thousandths."""
    memory: int = 0
    """Bytes."""
    disk: int = 0
    """Bytes, where the engine keeps its containers. Set aside, not enforced: engines cannot limit it everywhere."""
    pids: int = 0
    """Processes and threads."""
    named: dict[str, int] = {}
    """Of what nodes were said to have, such as `gpu` or `licenses`: how many, by name. Of devices, each task gets its
    own."""
    shares: dict[str, float] = {}
    """Of resources that are devices: the part of one that a task gets, over 0 and below 1, counted in thousandths.
    Others may have the rest of it. Set aside, not enforced: no engine can part a device."""

    @property
    def cpu_millis(self) -> int:
        return round(self.cpu * 1000)

    def millis_of(self, name: str) -> int:
        """Of each device of a resource that a task was given: how many thousandths are set aside for it."""
        return round(self.shares[name] * WHOLE_MILLIS) if name in self.shares else WHOLE_MILLIS


class Limits(_Wish, frozen=True, kw_only=True):
    """What a task may use at most; zero is no limit."""

    cpu: float = 0.0
    memory: int = 0
    pids: int = 512


class Mount(_Wish, frozen=True, kw_only=True):
    kind: MountKind
    target: str
    """Absolute path in the container."""
    source: str = ""
    """Volume name, or absolute path on the node for a bind. Empty for tmpfs."""
    read_only: bool = False
    size_bytes: int = 0
    """tmpfs only; zero is the engine's default."""


class HealthCheck(_Wish, frozen=True, kw_only=True):
    """The engine's own check of a container; a task with one is ready only while it passes."""

    test: tuple[str, ...]
    """`("CMD", "a", "b")`, `("CMD-SHELL", "a b")` or `("NONE",)`."""
    interval_s: float = 30.0
    timeout_s: float = 30.0
    retries: int = 3
    start_period_s: float = 0.0


class HttpProbe(_Wish, frozen=True, kw_only=True):
    """A GET. No redirect is followed, and what the answer says does not matter, only its status."""

    port: int
    """The container's, published or not."""
    path: str = "/"
    headers: dict[str, str] = {}
    accepts: tuple[int, ...] = ()
    """Status codes that pass; none named is 200 to 399."""


class TcpProbe(_Wish, frozen=True, kw_only=True):
    """A connection, which passes once it is made."""

    port: int


class ExecProbe(_Wish, frozen=True, kw_only=True):
    """A program that is run in the container, as the container's user, and passes by exiting with 0."""

    command: tuple[str, ...]
    """The program and its arguments; no shell is in between."""


class Probe(_Wish, frozen=True, kw_only=True):
    """A worker's own question to a container, asked again and again. Exactly one of the ways to ask is given."""

    http: HttpProbe | None = None
    tcp: TcpProbe | None = None
    exec: ExecProbe | None = None
    interval_s: float = 10.0
    timeout_s: float = 5.0
    retries: int = 3
    """Failures in a row that make it fail."""
    successes: int = 1
    """Answers in a row that make it pass."""
    start_period_s: float = 0.0
    """From the container's start; failures in it do not count."""


class RestartPolicy(_Wish, frozen=True, kw_only=True):
    """Whether and when an ended task's slot is filled again."""

    condition: RestartOn | None = None
    """None is `any`, or `on-failure` for a job; admission writes out which."""
    delay_s: float = 0.0
    """Least wait before each restart."""
    delay_max_s: float = 60.0
    """The back-off doubles from one second up to this."""
    window_s: float = 10.0
    """A task that ran this long was stable: attempts are counted from zero again."""
    attempts_max: int | None = None
    """Restarts in a row without a stable run, after which the slot is left empty."""


class UpdateOrder(StrEnum):
    START_FIRST = "start-first"
    STOP_FIRST = "stop-first"


class OnFailure(StrEnum):
    """What becomes of a release too many of whose tasks fail."""

    ROLLBACK = "rollback"
    PAUSE = "pause"
    CONTINUE = "continue"


class UpdateRules(_Wish, frozen=True, kw_only=True):
    """How a task gives way to another one, for whatever reason: a new release, a drained node, a move, a restart."""

    order: UpdateOrder | None = None
    """None is start-first, where nothing forbids that two tasks of a slot run at once: a fixed host port does, and a
    volume or folder that is written to."""
    parallelism: int = 1
    """Slots that are worked on side by side; zero is all."""
    delay_s: float = 0.0
    """Least time between one step and the next."""
    monitor_s: float = 5.0
    """A release is done once all its tasks have stayed ready for so long."""
    ready_s: float = 60.0
    """A task that runs and is not ready after so long has failed."""
    failures_max: int = 0
    """Slots whose tasks may fail, twice in a row or for good, before the release has."""
    on_failure: OnFailure = OnFailure.ROLLBACK
    drain_s: float | None = None
    """A task is out of rotation for so long before it is stopped. None is one second where a port has `ingress`, so
    that no entry sends it anything any more, and none elsewhere."""


class LogRotation(_Wish, frozen=True, kw_only=True):
    """Bounds of the log file that the engine keeps for each container."""

    size_bytes: int = 10 * 1024 * 1024
    files: int = 3


class Condition(StrEnum):
    """What of a service another one waits for."""

    STARTED = "started"
    """All its slots have a task of its current release that runs."""
    READY = "ready"
    """And that is ready."""
    COMPLETED = "completed"
    """It is a job, and done."""


PRIORITY_MAX = 1_000_000
"""Of a service's priority, and the least is as much below zero."""


class Preemption(StrEnum):
    """Which tasks of lower priority one that finds no room may displace."""

    LOWER = "PreemptLowerPriority"
    """As many as their services can spare: what their updates would leave running keeps running."""
    NEVER = "Never"
    """None: it is placed before them, and waits."""
    BELOW_MINIMUM = "PreemptBelowMinimum"
    """Where that does not do, also what their services cannot spare."""


class Dependency(_Wish, frozen=True, kw_only=True):
    service: str
    """By its name in the cluster."""
    condition: Condition = Condition.STARTED


class ServiceSpec(_Wish, frozen=True, kw_only=True):
    """The wish, field by field. docs/compose.md tells which Compose key becomes which field."""

    image: str
    mode: Mode = Mode.REPLICATED
    replicas: int = 1
    """Replicated: tasks to keep. Job: completions to reach. Global: ignored."""
    pull: Pull = Pull.MISSING
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: dict[str, str] = {}
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    labels: dict[str, str] = {}
    stop_signal: str = ""
    stop_grace_s: float = 10.0
    resources: Resources = Resources()
    limits: Limits = Limits()
    ports: tuple[Port, ...] = ()
    publish_exposed: bool = False
    """Publish what the image itself exposes and `ports` does not name, on host ports that the engine chooses."""
    mounts: tuple[Mount, ...] = ()
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = True
    log: LogRotation = LogRotation()
    health: HealthCheck | None = None
    liveness: Probe | None = None
    """A container that fails it is stopped, and its task has failed."""
    readiness: Probe | None = None
    """A task is ready only while its container passes it."""
    single_writer: bool = False
    """No two containers of a slot ever run at once, also where a node is cut off: its worker stops the task before the
    manager starts another. The price is that it stops, too, where its manager is away."""
    restart: RestartPolicy = RestartPolicy()
    update: UpdateRules = UpdateRules()
    placement: PlacementRules = PlacementRules()
    priority: int = 0
    """Of all its tasks at once. What has a higher one is placed first, and where there is no room displaces others."""
    preemption: Preemption = Preemption.LOWER
    depends: tuple[Dependency, ...] = ()
    """What has to hold before a new release begins to start tasks. What runs already waits for nothing."""


def same_containers(a: ServiceSpec, b: ServiceSpec) -> bool:
    """Whether tasks of `a` already are what `b` asks for: they differ at most in count, in priority, and in when and
    how tasks are started, replaced and moved."""
    placement = msgspec.structs.replace(a.placement, rebalance=b.placement.rebalance)
    alike = msgspec.structs.replace(
        a,
        replicas=b.replicas,
        restart=b.restart,
        update=b.update,
        depends=b.depends,
        placement=placement,
        priority=b.priority,
        preemption=b.preemption,
    )
    return alike == b


def volumes_of(spec: ServiceSpec) -> tuple[str, ...]:
    """The named volumes of each task of `spec`, each once."""
    return tuple(dict.fromkeys(one.source for one in spec.mounts if one.kind is MountKind.VOLUME and one.source))


INGRESS_DRAIN_S = 1.0
"""Many times what a change takes to be in every entry: milliseconds, unless a session is slow or just broken."""


def drain_s_of(spec: ServiceSpec) -> float:
    """For how long a task of `spec` is out of rotation before it is stopped."""
    if spec.update.drain_s is not None:
        return spec.update.drain_s
    return INGRESS_DRAIN_S if any(port.ingress is not None for port in spec.ports) else 0.0
