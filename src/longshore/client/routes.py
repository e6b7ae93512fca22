"""A manager's API as methods: one for each route of docs/api.md, with the types of `model.views`.

Knows paths, parameters and types. Must not know sockets, files or terminals. Lists come in pages and streams break;
neither shows here: both are iterators that go on to the end.
"""

import http.client
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

import msgspec

from longshore.client.connection import Answer, Connection, Query
from longshore.client.streams import SILENCE_S, Patience, ServerEvent, Watched, decoded, resumed, watched
from longshore.client.target import Target
from longshore.model.containers import LogLine
from longshore.model.errors import Unavailable
from longshore.model.lifecycle import State
from longshore.model.moves import Rebalance, RebalanceWish
from longshore.model.objects import Kind, Task
from longshore.model.spec import ServiceSpec
from longshore.model.views import (
    AppView,
    AppWish,
    ClusterView,
    EndpointView,
    EventView,
    NodePatch,
    NodeView,
    Page,
    Plan,
    PlanWish,
    ReleaseView,
    Rollback,
    Scale,
    ServiceView,
    ServiceWhy,
    ServiceWish,
    TokenView,
    TokenWish,
    VolumePatch,
    VolumeView,
    Why,
)

T = TypeVar("T")

_PIECE_BYTES = 64 * 1024
_PAGE_ITEMS = 1000
"""The most that a manager gives at once."""


class _LogText(msgspec.Struct, frozen=True):
    """A line of a log stream, or the reason why there are no more."""

    at: float = 0.0
    stream: str = ""
    text: str = ""
    error: str | None = None


class Client:
    """One manager's API. Every method raises members of `model.errors` and nothing else. Threads may share it."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._connection = Connection(self.url, token)

    @classmethod
    def at(cls, target: Target) -> "Client":
        return cls(target.url, target.token)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- the manager itself

    def check(self) -> None:
        """Raises Unavailable unless a manager answers. Needs no token."""
        self._get("/health")

    def metrics(self) -> str:
        return self._get("/metrics").body.decode()

    def openapi(self) -> bytes:
        return self._get("/openapi.json").body

    def cluster(self) -> ClusterView:
        return decoded(self._get("/v1/cluster").body, ClusterView)

    def backup(self) -> Iterator[bytes]:
        """The database file, piece by piece. Raises Unavailable if it breaks off before its end."""
        with self._connection.stream("/v1/backup", headers={"Accept": "*/*"}, silence_s=120.0) as response:
            wanted, came = response.length, 0
            while piece := response.read(_PIECE_BYTES):
                came += len(piece)
                yield piece
            # http.client takes a body that is too short for a whole one.
            if wanted is not None and came < wanted:
                raise Unavailable(f"the backup broke off after {came} of {wanted} bytes; try again")

    # -- services

    def services(self, *, app: str | None = None) -> Iterator[ServiceView]:
        return self._pages("/v1/services", Page[ServiceView], {"app": app})

    def why_service(self, name: str) -> ServiceWhy:
        return decoded(self._get(_path("services", name, "why")).body, ServiceWhy)

    def service(self, name: str) -> ServiceView:
        return decoded(self._get(_path("services", name)).body, ServiceView)

    def put_service(
        self,
        name: str,
        spec: ServiceSpec,
        *,
        app: str = "",
        if_revision: int | None = None,
        if_absent: bool = False,
    ) -> ServiceView:
        """Create or change a service. Conflict if it is no longer of `if_revision`, or if `if_absent` and it exists."""
        headers = _conditions(if_revision, if_absent)
        answer = self._send("PUT", _path("services", name), ServiceWish(spec=spec, app=app), headers)
        return decoded(answer.body, ServiceView)

    def remove_service(self, name: str, *, if_revision: int | None = None) -> ServiceView:
        answer = self._send("DELETE", _path("services", name), None, _conditions(if_revision))
        return decoded(answer.body, ServiceView)

    def scale(self, name: str, replicas: int) -> ServiceView:
        return decoded(self._send("POST", _path("services", name, "scale"), Scale(replicas=replicas)).body, ServiceView)

    def restart(self, name: str) -> ServiceView:
        return decoded(self._send("POST", _path("services", name, "restart"), None).body, ServiceView)

    def releases(self, name: str) -> tuple[ReleaseView, ...]:
        """Newest first."""
        return decoded(self._send("GET", _path("services", name, "releases"), None).body, Page[ReleaseView]).items

    def roll_back(self, name: str, to: int | None = None) -> ServiceView:
        return decoded(self._send("POST", _path("services", name, "rollback"), Rollback(to=to)).body, ServiceView)

    def pause_rollout(self, name: str) -> ServiceView:
        return decoded(self._send("POST", _path("services", name, "pause"), None).body, ServiceView)

    def resume_rollout(self, name: str) -> ServiceView:
        return decoded(self._send("POST", _path("services", name, "resume"), None).body, ServiceView)

    def endpoints(self, name: str) -> Iterator[EndpointView]:
        """Where the tasks of a service answer."""
        return self._pages(_path("services", name, "endpoints"), Page[EndpointView])

    def watch_endpoints(self, name: str) -> Iterator[Watched[EndpointView]]:
        events = self._events(_path("services", name, "endpoints"), {"watch": True})
        return watched(events, EndpointView, lambda one: one.id)

    def watch_services(self, *, app: str | None = None) -> Iterator[Watched[ServiceView]]:
        events = self._events("/v1/services", {"app": app, "watch": True})
        return watched(events, ServiceView, lambda service: service.name)

    # -- tasks

    def tasks(
        self,
        *,
        service: str | None = None,
        app: str | None = None,
        node: str | None = None,
        state: State | None = None,
    ) -> Iterator[Task]:
        return self._pages("/v1/tasks", Page[Task], {"service": service, "app": app, "node": node, "state": state})

    def task(self, id: str) -> Task:
        return decoded(self._get(_path("tasks", id)).body, Task)

    def why(self, task: str) -> Why:
        return decoded(self._get(_path("tasks", task, "why")).body, Why)

    def logs(
        self, task: str, *, follow: bool = False, tail: int | None = None, since: float | None = None
    ) -> Iterator[LogLine]:
        """Lines that a task's container wrote, oldest first; `since` is seconds since the epoch. Raises Unavailable if
        they were cut off before their end."""
        query: Query = {
            "follow": True if follow else None,
            "tail": tail,
            "since": None if since is None else f"{since:.6f}",
        }
        # A container may be silent for days, so silence says nothing here; the socket's own keep-alive has to do.
        with self._connection.stream(_path("tasks", task, "logs"), query=query, silence_s=None) as response:
            for line in _lines(_pieces(response)):
                one = decoded(line, _LogText)
                if one.error is not None:
                    raise Unavailable(f"the log of {task} was cut off: {one.error}")
                yield LogLine(at=one.at, stream=one.stream, text=one.text)

    def watch_tasks(
        self,
        *,
        service: str | None = None,
        app: str | None = None,
        node: str | None = None,
        state: State | None = None,
    ) -> Iterator[Watched[Task]]:
        query: Query = {"service": service, "app": app, "node": node, "state": state, "watch": True}
        return watched(self._events("/v1/tasks", query), Task, lambda task: task.id)

    # -- nodes

    def nodes(self) -> Iterator[NodeView]:
        return self._pages("/v1/nodes", Page[NodeView])

    def node(self, name: str) -> NodeView:
        return decoded(self._get(_path("nodes", name)).body, NodeView)

    def change_node(self, name: str, patch: NodePatch, *, if_revision: int | None = None) -> NodeView:
        answer = self._send("PATCH", _path("nodes", name), patch, _conditions(if_revision))
        return decoded(answer.body, NodeView)

    def remove_node(self, name: str) -> None:
        self._send("DELETE", _path("nodes", name), None)

    def watch_nodes(self) -> Iterator[Watched[NodeView]]:
        return watched(self._events("/v1/nodes", {"watch": True}), NodeView, lambda node: node.name)

    # -- apps

    def apps(self) -> Iterator[AppView]:
        return self._pages("/v1/apps", Page[AppView])

    def app(self, name: str) -> AppView:
        return decoded(self._get(_path("apps", name)).body, AppView)

    def put_app(self, name: str, services: dict[str, ServiceSpec]) -> AppView:
        return decoded(self._send("PUT", _path("apps", name), AppWish(services=services)).body, AppView)

    def remove_app(self, name: str) -> AppView:
        return decoded(self._send("DELETE", _path("apps", name), None).body, AppView)

    def plan(self, app: str, services: dict[str, ServiceSpec]) -> Plan:
        """What `put_app` would do now; changes nothing."""
        wish = msgspec.json.encode(PlanWish(app=app, services=services))
        return decoded(self._connection.ask("POST", "/v1/plan", body=wish, repeatable=True).body, Plan)

    # -- balance

    def rebalance(self, wish: RebalanceWish, *, dry_run: bool = False) -> Rebalance:
        """Begin the moves that make the cluster more even; with `dry_run` only the plan."""
        query: Query = {"dry_run": True if dry_run else None}
        content = msgspec.json.encode(wish)
        answer = self._connection.ask("POST", "/v1/rebalance", query=query, body=content, repeatable=dry_run)
        return decoded(answer.body, Rebalance)

    # -- the story

    def story(
        self,
        *,
        kind: Kind | None = None,
        name: str | None = None,
        service: str | None = None,
        after: str | None = None,
    ) -> Iterator[EventView]:
        """What is kept of what happened, oldest first, to its present end."""
        query: Query = {"kind": kind, "name": name, "service": service}
        return self._pages("/v1/events", Page[EventView], query, after)

    def events(
        self,
        *,
        kind: Kind | None = None,
        name: str | None = None,
        service: str | None = None,
        after: str | None = None,
    ) -> Iterator[EventView]:
        """What happens after event `after`, or from now on; never ends. Raises Compacted if that is not kept."""
        query: Query = {"kind": kind, "name": name, "service": service, "watch": True}
        for one in self._events("/v1/events", query, after or ""):
            if one is not None and one.text:
                yield decoded(one.text, EventView)

    # -- volumes

    def volumes(self) -> Iterator[VolumeView]:
        return self._pages("/v1/volumes", Page[VolumeView])

    def place_volume(self, id: str, node: str) -> VolumeView:
        return decoded(self._send("PATCH", _path("volumes", id), VolumePatch(node=node)).body, VolumeView)

    def forget_volume(self, id: str) -> None:
        self._send("DELETE", _path("volumes", id), None)

    # -- tokens

    def tokens(self) -> Iterator[TokenView]:
        return self._pages("/v1/tokens", Page[TokenView])

    def create_token(self, wish: TokenWish) -> TokenView:
        """The only answer that holds the secret."""
        return decoded(self._send("POST", "/v1/tokens", wish).body, TokenView)

    def remove_token(self, id: str) -> None:
        self._send("DELETE", _path("tokens", id), None)

    # -- inside

    def _get(self, path: str, query: Query | None = None) -> Answer:
        return self._connection.ask("GET", path, query=query, repeatable=True)

    def _send(
        self, method: str, path: str, body: msgspec.Struct | None, headers: dict[str, str] | None = None
    ) -> Answer:
        content = None if body is None else msgspec.json.encode(body)
        # With a condition, a second try would find the first one's own change and take it for somebody else's.
        repeatable = method in ("PUT", "DELETE") and not headers
        return self._connection.ask(method, path, body=content, headers=headers, repeatable=repeatable)

    def _pages(
        self, path: str, type: type[Page[T]], query: Query | None = None, after: str | None = None
    ) -> Iterator[T]:
        while True:
            asked = {**(query or {}), "limit": _PAGE_ITEMS, "after": after}
            page = decoded(self._get(path, asked).body, type)
            yield from page.items
            if page.next is None:
                return
            after = page.next

    def _events(self, path: str, query: Query, after: str = "") -> Iterator[ServerEvent | None]:
        """A stream of server-sent events. After a break it goes on after the last id; a watch gives none and begins
        anew."""

        @contextmanager
        def opened(last: str) -> Iterator[Iterable[bytes]]:
            asked = {**query, "after": last or None}
            headers = {"Accept": "text/event-stream"}
            with self._connection.stream(path, query=asked, headers=headers, silence_s=SILENCE_S) as response:
                yield _pieces(response)

        return resumed(opened, after, Patience())


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="", errors="surrogateescape") for part in parts)


def _conditions(if_revision: int | None = None, if_absent: bool = False) -> dict[str, str]:
    headers = {}
    if if_revision is not None:
        headers["If-Match"] = f'"{if_revision}"'
    if if_absent:
        headers["If-None-Match"] = "*"
    return headers


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body as it arrives. `read` would wait until its buffer is full."""
    while piece := response.read1(_PIECE_BYTES):
        yield piece


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines that are not empty; empty ones only say that the other side lives."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest
