"""What worker and manager say to each other on a session, whoever dialled.

Down goes the whole assignment once, then what changed. Up go a description, heartbeats and observations; an
observation is repeated until it was acknowledged, which the manager does only once it is durable. Log lines travel on
the same connection, so a worker needs no open port. Each message is one JSON object tagged with `type`.
"""

import msgspec

from longshore.model.containers import Assigned, LogLine
from longshore.model.lifecycle import State
from longshore.model.objects import Capacity, EngineFacts, NodeStats, PublishedPort
from longshore.model.placing import Supply, Taint
from longshore.model.reasons import Reason
from longshore.model.spec import Ingress


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower):
    """Base of all messages. Unknown fields are ignored, so that versions one apart can talk."""


# up: from worker to manager


class Hello(_Message, frozen=True, kw_only=True):
    """The first message of a session; a worker sends it once its engine answers."""

    node: str
    version: str
    labels: dict[str, str] = {}
    """Of the node, taken when it joins."""
    taints: tuple[Taint, ...] = ()
    """As of `labels`."""
    resources: dict[str, Supply] = {}
    """As of `labels`."""
    token_sha256: str = ""
    """Hash of the token that the worker will show from now on, taken when it joins. The worker makes it and keeps it
    before it says hello, so a join whose answer is lost can be done again, and the secret itself never travels."""
    address: str
    """Where the node's published ports answer."""
    capacity: Capacity
    engine: EngineFacts


class Description(_Message, frozen=True, kw_only=True):
    """What the machine is, when that changed since Hello."""

    capacity: Capacity
    engine: EngineFacts


class Heartbeat(_Message, frozen=True, kw_only=True):
    """The worker lives. With `engine_error` its engine does not answer, and the beat does not count as life."""

    stats: NodeStats
    engine_error: str = ""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of a task on its node. The newest of a task says everything; older ones may be dropped."""

    task: str
    created_at: float
    """Of the task, so that what is said of an earlier task of the same id is never taken for this one."""
    state: State
    ready: bool = False
    container_id: str = ""
    exit_code: int | None = None
    exposed: tuple[PublishedPort, ...] = ()
    """Ports that the engine published by itself, because the image exposes them."""
    reason: Reason
    message: str = ""


class Reports(_Message, frozen=True, kw_only=True):
    """Observations not acknowledged yet. `seq` grows by one with each message of a session."""

    seq: int
    observations: tuple[Observation, ...]


class LogLines(_Message, frozen=True, kw_only=True):
    request: int
    lines: tuple[LogLine, ...]


class LogEnd(_Message, frozen=True, kw_only=True):
    """No more lines for this request; `error` if that is not because the log ended."""

    request: int
    error: str = ""


class Leaving(_Message, frozen=True, kw_only=True):
    """The worker stops on purpose and is to be back: its node has the whole heartbeat timeout, as one that fell silent,
    and not the short time of one whose connection breaks."""


Up = Hello | Description | Heartbeat | Reports | LogLines | LogEnd | Leaving


# down: from manager to worker


class Welcome(_Message, frozen=True, kw_only=True):
    """The answer to Hello."""

    cluster: str
    node: str
    heartbeat_s: float
    lease_s: float = 0.0
    """For how long after a heartbeat that was answered the containers of single-writer tasks may run."""
    entry: bool = False
    """Whether the node is an entry: then Entries follow, and until they do whatever it serves from before stays."""


class AssignmentPart(_Message, frozen=True, kw_only=True):
    """Tasks of the assignment that follows, where they would be too much for one message: see `model.parts`. A message
    of its own, so that who does not know it ends the session, and never takes what is left for the whole."""

    put: tuple[Assigned, ...]


class Assignment(_Message, frozen=True, kw_only=True):
    """The tasks that the node shall hold. `full` replaces what was there before; otherwise it changes it."""

    revision: int
    full: bool
    put: tuple[Assigned, ...] = ()
    removed: tuple[str, ...] = ()


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One task behind a listener."""

    task: str
    address: str
    port: int
    leaving: bool = False
    """It finishes what it has and gets nothing new."""
    lost: bool = False
    """Its node is gone: what it was asked may never be answered, and is not waited for long."""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A port at which every entry answers for a service."""

    port: int
    ip: str = "0.0.0.0"  # noqa: S104  (what the user wished)
    service: str
    mode: Ingress
    servers: tuple[Server, ...] = ()


class Entries(_Message, frozen=True, kw_only=True):
    """What an entry serves. `full` replaces what was there before; otherwise it changes it, port by port. Sent to nodes
    that are entries; one that is no longer gets a last one that is full and empty."""

    revision: int
    full: bool
    put: tuple[Listener, ...] = ()
    removed: tuple[int, ...] = ()


class Acknowledge(_Message, frozen=True, kw_only=True):
    """All observations up to this `seq` are durable. Also the answer to each heartbeat, so that a worker notices a
    manager that is gone without a word."""

    seq: int


class Farewell(_Message, frozen=True, kw_only=True):
    """The manager ends the session and says why; with `final` the worker must not try again by itself."""

    reason: str
    final: bool = False


class LogsWanted(_Message, frozen=True, kw_only=True):
    """Send a container's log lines: the last `tail` (None is all) since `since` (seconds since the epoch)."""

    request: int
    container_id: str
    follow: bool = False
    tail: int | None = None
    since: float | None = None


class LogsUnwanted(_Message, frozen=True, kw_only=True):
    request: int


Down = Welcome | AssignmentPart | Assignment | Entries | Acknowledge | Farewell | LogsWanted | LogsUnwanted
