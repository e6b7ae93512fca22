"""The routes that a manager serves beside /v1, as methods: tasks posted one by one, and the nodes they run on.

These are the routes and the fields that people know from older orchestrators, so a manager of that kind may be at the
other end as well. Knows their spellings, of which several mean the same. What such a manager leaves out has its empty
value here; what this one does not know of it is dropped.
"""

from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

import msgspec

from longshore.client.connection import Answer, Connection
from longshore.client.streams import decoded
from longshore.client.target import Target
from longshore.model.errors import NotFound, Refused

T = TypeVar("T")

STATES = ("Pending", "Scheduled", "Running", "Completed", "Failed")
"""By their numbers, which are what these routes speak."""

_TASKS = "/tasks"
_NODES = "/nodes"
_CREATED = 201


class HostBinding(msgspec.Struct, frozen=True, rename="pascal"):
    """Where a container's port answers."""

    host_ip: str = ""
    host_port: str = ""


class PostedTask(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A task as these routes tell of it."""

    id: str = msgspec.field(default="", name="ID")
    other_id: str = msgspec.field(default="", name="Id")
    name: str = ""
    state: int = 0
    status: str = ""
    image: str = ""
    cpu: float = 0.0
    """Cores."""
    memory: int = 0
    """Bytes."""
    disk: int = 0
    """Bytes."""
    container_id: str = msgspec.field(default="", name="ContainerID")
    other_container_id: str = msgspec.field(default="", name="ContainerId")
    exposed_ports: dict[str, dict[str, str]] | None = None
    host_ports: dict[str, tuple[HostBinding, ...] | None] | None = None
    port_bindings: dict[str, str] | None = None
    restart_policy: str = ""
    start_time: str = ""
    finish_time: str = ""
    health_check: str = ""
    restart_count: int = 0
    reason: str = ""
    node: str = ""

    @property
    def key(self) -> str:
        """Its id, however that is spelled."""
        return self.id or self.other_id

    @property
    def container(self) -> str:
        return self.container_id or self.other_container_id

    @property
    def word(self) -> str:
        """Its state, as a person reads it."""
        return STATES[self.state] if 0 <= self.state < len(STATES) else f"state {self.state}"


class PostedNode(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A node as these routes tell of it."""

    id: str = msgspec.field(default="", name="ID")
    name: str = ""
    ip: str = ""
    api: str = ""
    healthy: bool | None = None
    """None if it is not said."""
    role: str = ""
    memory: int = 0
    """In units of 1024 bytes, as are all that are called memory here."""
    memory_allocated: int = 0
    disk: int = 0
    """Bytes."""
    disk_allocated: int = 0
    cores: float = 0.0
    task_count: int = 0
    status: str = ""


class Postings:
    """One manager's routes beside /v1. Every method raises members of `model.errors` alone. Threads may share it."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._connection = Connection(self.url, token)

    @classmethod
    def at(cls, target: Target) -> "Postings":
        return cls(target.url, target.token)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> "Postings":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def post(self, body: bytes) -> str:
        """Post one task or event of one; its id now. Raises Refused if the answer is anything but a task that was
        created."""
        answer = self._ask("POST", _TASKS, body)
        if answer.status != _CREATED:
            raise Refused(f"{self.url} answered {answer.status} where a task that it takes is answered with {_CREATED}")
        try:
            made = msgspec.json.decode(answer.body, type=PostedTask | list[PostedTask])
        except msgspec.MsgspecError:
            return ""  # created it is; a manager of old may say so in any words
        if isinstance(made, list):
            return made[0].key if made else ""
        return made.key

    def tasks(self) -> list[PostedTask]:
        """All of them."""
        return _listed(self._ask("GET", _TASKS).body, list[PostedTask])

    def task(self, id: str) -> PostedTask:
        return decoded(self._about(id, "GET").body, PostedTask)

    def remove(self, id: str) -> None:
        """Ask for a task's end. It is asked for once this returns; when it has ended the list tells."""
        self._about(id, "DELETE")

    def nodes(self) -> list[PostedNode]:
        return _listed(self._ask("GET", _NODES).body, list[PostedNode])

    # -- inside

    def _about(self, id: str, method: str) -> Answer:
        try:
            return self._connection.ask(
                method, f"{_TASKS}/{quote(id, safe='', errors='surrogateescape')}", repeatable=True
            )
        except NotFound as missing:
            # The answer has no words of its own on these routes.
            raise NotFound(f"there is no task {id} at {self.url}") from missing

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        try:
            return self._connection.ask(method, path, body=body, repeatable=method == "GET")
        except NotFound as missing:
            raise NotFound(
                f"{self.url} has no {path}; a manager that was started with --no-compat serves /v1 alone"
            ) from missing


def _listed(body: bytes, type: type[list[T]]) -> list[T]:
    """A list, of which some managers say `null` if there is nothing in it."""
    return [] if body.strip() == b"null" else decoded(body, type)
