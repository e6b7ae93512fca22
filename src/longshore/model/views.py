"""What the API shows beyond the records themselves: status, plans, explanations, pages. Shared by both ends of it."""

from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import (
    Availability,
    Capacity,
    EngineFacts,
    Kind,
    NodeStats,
    NodeStatus,
    ReleasePhase,
    Role,
)
from longshore.model.placing import Supply, Taint
from longshore.model.reasons import Reason
from longshore.model.spec import Ingress, Protocol, ServiceSpec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A part of a list; `next` is what to pass as `after` for the following part, None at the end."""

    items: tuple[T, ...]
    next: str | None = None


class Phase(StrEnum):
    """A service in one word."""

    STARTING = "starting"
    """Not yet as wished, and on its way."""
    RUNNING = "running"
    """As wished."""
    DEGRADED = "degraded"
    """Not as wished, and a task failed or cannot be placed."""
    COMPLETE = "complete"
    """A job that reached its completions."""
    FAILED = "failed"
    """A slot was given up."""
    REMOVING = "removing"


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a service stands against its wish. Counts are of tasks."""

    phase: Phase
    wanted: int
    """Slots to fill; for a job, completions to reach."""
    running: int
    ready: int
    updated: int
    """Ready tasks of the current release."""
    finished: int
    """Job slots that completed."""
    failed: int
    """Slots given up."""
    pending: int
    """Tasks without a node."""
    settled: bool
    """As wished: nothing left to start, replace or stop."""
    rollout: ReleasePhase = ReleasePhase.DONE
    """How far the current release has come."""
    rolls_back: int = 0
    """The release that failed, if the current one is what it was rolled back to."""
    message: str = ""
    """The first trouble, in words."""


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    app: str
    spec: ServiceSpec
    status: ServiceStatus
    release: int
    created_at: float
    updated_at: float
    revision: int


class ServiceWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `PUT /v1/services/{name}`."""

    spec: ServiceSpec
    app: str = ""
    name: str | None = None
    """May be left out; must match the path if given."""


class ReleaseState(StrEnum):
    """How a release of a service went, as a person asks for it."""

    ROLLING = "rolling"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    """Another release came before it was done."""


class ReleaseView(msgspec.Struct, frozen=True, kw_only=True):
    """A release of a service, and how its rollout went."""

    service: str
    number: int
    current: bool
    state: ReleaseState
    message: str
    author: str
    """Id of the token that was shown; empty if nobody had to."""
    changed: str
    """What is different from the one before, in short."""
    rolls_back: int
    """Number of the release that failed, if the cluster came back to this one because of that."""
    failed_slots: tuple[int, ...]
    tasks: int
    """Live tasks that run it."""
    ready: int
    spec: ServiceSpec
    created_at: float
    finished_at: float | None


class Rollback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/services/{name}/rollback`."""

    to: int | None = None
    """Number of a release; null is the newest before this one that was done."""


class Scale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/services/{name}/scale`."""

    replicas: int


class AppWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `PUT /v1/apps/{name}` and `POST /v1/plan`: all services of the app, by name. Those of the app that are
    not named are removed."""

    services: dict[str, ServiceSpec]


class EndpointState(StrEnum):
    READY = "ready"
    LEAVING = "leaving"
    """Finishes what it has; give it nothing new."""


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """A task's port at which requests may be sent to it."""

    id: str
    """`web.1.1:8080/tcp`: the task with the container's port."""
    service: str
    task: str
    node: str
    address: str
    """Of the node, where its published ports answer."""
    port: int
    """On that address."""
    container: int
    protocol: Protocol
    ingress: Ingress | None
    listen: int | None
    """With `ingress`: the port at which the entries answer for it."""
    state: EndpointState


class PlanWish(AppWish, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/plan`."""

    app: str


class AppView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    services: tuple[str, ...]
    phase: Phase
    settled: bool


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    address: str
    labels: dict[str, str]
    taints: tuple[Taint, ...]
    resources: dict[str, Supply]
    """What it was said to have beside cpu, memory and disk: how many, or which devices."""
    resources_used: dict[str, int]
    """Of these, what tasks on it have set aside."""
    availability: Availability
    status: NodeStatus
    reason: Reason
    message: str
    capacity: Capacity
    reserved: Capacity
    """What tasks on it have set aside."""
    used: NodeStats | None
    """The last heartbeat's figures; None until one came."""
    tasks: int
    """Live tasks on it."""
    engine: EngineFacts
    worker_version: str
    joined_at: float
    changed_at: float
    revision: int


class NodePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `PATCH /v1/nodes/{name}`. A label or resource set to null is removed; others are kept."""

    availability: Availability | None = None
    deadline_s: float | None = None
    """With `drained` or `leaving`: seconds after which tasks are stopped that found no other place. None is for as long
    as it takes."""
    labels: dict[str, str | None] | None = None
    taints: tuple[Taint, ...] = ()
    """To set; one with the same key and effect is replaced."""
    untaint: tuple[str, ...] = ()
    """To remove: `KEY`, whatever its effects, or `KEY:EFFECT`."""
    resources: dict[str, Supply | None] | None = None


class Effect(StrEnum):
    """What an apply does to a service."""

    CREATE = "create"
    UPDATE = "update"
    SCALE = "scale"
    REMOVE = "remove"
    KEEP = "keep"


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    field: str
    """Path such as `spec.image`."""
    before: str
    after: str


class PlannedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that would be made, and where it would go now."""

    id: str
    node: str
    """Empty if no node fits."""
    message: str = ""
    """Why no node fits."""


class PlannedService(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    effect: Effect
    changes: tuple[FieldChange, ...] = ()
    start: tuple[PlannedTask, ...] = ()
    """Tasks that would be made at once."""
    replace: tuple[str, ...] = ()
    """Tasks that would be replaced one after the other, because their release is older."""
    stop: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    """What has to come before its release starts anything, in words."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What an apply would do if it landed on this revision."""

    app: str
    revision: int
    services: tuple[PlannedService, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One filter's refusals for a task."""

    filter: str
    nodes: tuple[str, ...]


class NearMiss(msgspec.Struct, frozen=True, kw_only=True):
    """A node that does not take a task, and all that it lacks for it."""

    node: str
    lacks: tuple[str, ...]


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A node that could take a task."""

    node: str
    points: int
    """What rules with weights come to there; the most comes before any score."""
    score: float
    parts: dict[str, float] = {}
    """Of a policy with weights: what each part adds to the score."""


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The explanation of a task."""

    task: str
    state: State
    wanted: Wanted
    summary: str
    """One sentence."""
    refusals: tuple[Verdict, ...]
    """If it waits for a node: which filter refuses which nodes."""
    scores: dict[str, float]
    """If a node could take it: each node's score under the policy in use; the highest wins, among those with most
    points."""
    nearest: tuple[NearMiss, ...] = ()
    """If no node takes it: those that lack least."""
    top: tuple[Ranked, ...] = ()
    """If a node could take it: the best, with what their places are made of."""
    story: tuple["EventView", ...]


class ServiceWhy(msgspec.Struct, frozen=True, kw_only=True):
    """The explanation of a service."""

    service: str
    summary: str
    """In sentences."""
    task: Why | None
    """The task that keeps it from being as wished, else its first; None without tasks."""


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the story as the API tells it."""

    id: str
    """`revision.position`; give it as `after`, or as Last-Event-ID, to go on from here."""
    at: float
    kind: Kind
    name: str
    by: Owner
    reason: Reason
    message: str
    service: str = ""
    node: str = ""
    state: str = ""
    """Of a task or node, after the change; `removed` if it is gone."""


class TokenWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/tokens`."""

    role: Role = Role.JOIN
    uses: int | None = 1
    """Workers that may join with it; null is any number."""
    lifetime_s: float | None = 3600.0
    """null is for ever."""


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    role: Role
    node: str
    uses_left: int | None
    created_at: float
    expires_at: float | None
    secret: str | None = None
    """Only in the answer that created it."""


class VolumeView(msgspec.Struct, frozen=True, kw_only=True):
    """A named volume of one slot, and where it is."""

    id: str
    name: str
    """As the engine knows it."""
    service: str
    slot: int
    node: str
    task: str
    """The task that has it now; empty if none does."""
    created_at: float


class VolumePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `PATCH /v1/volumes/{id}`."""

    node: str
    """On which it is from now on."""


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    version: str
    revision: int
    scheduler: str
    started_at: float


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457 problem details; every error answer of the API is one."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    field: str | None = None
    """Path of the input that is to blame."""
