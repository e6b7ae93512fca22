"""What a route is: declared once, and from that declaration come the router, the checks, the matrix of roles that the
tests walk, and the OpenAPI document.

Knows aiohttp's request and the shapes of a declaration. Must not know what any route does. A function declares by its
own signature what it reads: `Ask[TasksQuery, None]` has those query parameters and no body. Nothing is registered
behind anyone's back: `server.ROUTES` is the whole list.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import msgspec
from aiohttp import web

from longshore.api.streams import Streams
from longshore.api.wire import BodyReader, QueryReader
from longshore.control.metrics import Metrics
from longshore.control.operations import Operations
from longshore.control.postings import Postings
from longshore.control.sessions import Sessions
from longshore.model.errors import Invalid
from longshore.model.objects import Role, Token
from longshore.model.retention import POSTINGS_KEPT
from longshore.ports import Clock, Store

Q = TypeVar("Q", bound=msgspec.Struct)
B = TypeVar("B")

ADMINS = frozenset({Role.ADMIN})
WORKERS = frozenset({Role.ADMIN, Role.JOIN, Role.NODE})
ANYONE = None
"""Also without a token."""

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What may stand in a path for a name or an id. Wider than any name that admission lets in, so that a name which does
not exist is not found; narrow enough that no slash, control character or `..` goes any further."""


TOKEN: web.RequestKey[Token | None] = web.RequestKey("longshore.token", Token)
"""Where the door leaves the asker's token on a request."""


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters, and a complaint about any that is given."""


@dataclass(frozen=True, kw_only=True)
class Deps:
    """What the API works with. `main` puts it together."""

    store: Store
    operations: Operations
    sessions: Sessions
    clock: Clock
    metrics: Metrics
    folder: Path
    """The manager's own, on the disk that has room for a second copy of the database."""
    version: str
    scheduler: str
    """Name of the placement policy."""
    started_at: float
    auth: bool = True
    """False only on loopback; `main` sees to that."""
    compat: bool = True
    """Whether foreign APIs are served beside `/v1`."""
    postings_kept: int = POSTINGS_KEPT
    streams: Streams = field(default_factory=Streams)
    creations: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whose turn it is to create replicas: one image at a time."""

    @property
    def postings(self) -> Postings:
        return Postings(self.store, self.operations, self.postings_kept)

    def dialled(self, node: str) -> str:
        """`host:port` at which this manager dialled the node's worker; empty if the worker dials."""
        record = self.store.read().nodes.get(node)
        return self.sessions.dialled(node) or (record.dial if record is not None else "")


@dataclass(frozen=True, slots=True)
class Ask(Generic[Q, B]):
    """One request, read and checked."""

    deps: Deps
    request: web.Request
    key: str
    """The name or id in the path; empty if the path has none."""
    query: Q
    body: B
    token: Token | None
    """Who asks; None if nobody needs to say."""

    @property
    def author(self) -> str:
        """Who asks, as a record keeps it."""
        return self.token.id if self.token is not None else ""


Answering = Callable[[Ask[Q, B]], Awaitable[web.StreamResponse]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One row of the API."""

    method: str
    path: str
    summary: str
    answers: Mapping[int, Any]
    """Type of each good answer: a type for JSON, a media type for anything else, None for no body."""
    refuses: tuple[int, ...]
    """Problems of its own; those that every route of its shape may answer are added by `openapi`."""
    opens_to: frozenset[Role] | None
    conditional: bool
    """Whether it heeds If-Match and, if it creates, If-None-Match."""
    streams: Any
    """Type of what it sends as server-sent events if it is asked to watch; None if it cannot."""
    head: bool
    """Whether HEAD is answered too; not where it would start something that goes on."""
    free_key: bool
    """Whether the parameter in the path may be any text, of which the operation says itself what it thinks."""
    query: type[msgspec.Struct]
    body: type[Any] | None
    call: Callable[[Ask[Any, Any]], Awaitable[web.StreamResponse]]

    @property
    def parameter(self) -> str | None:
        """Name of the one parameter in the path, if there is one."""
        match = re.search(r"\{(\w+)\}", self.path)
        return match[1] if match else None

    @property
    def name(self) -> str:
        return self.call.__name__

    @property
    def noun(self) -> str:
        """`tasks` of `/v1/tasks/{id}`; nothing for what is not under a version."""
        parts = self.path.split("/")
        return parts[2] if len(parts) > 2 else "manager"

    def handler(self, deps: Deps) -> Handler:
        """What aiohttp calls: reads the request by the declaration, then asks."""
        parameter, call = self.parameter, self.call
        queries, no_query = QueryReader(self.query), self.query()
        bodies = BodyReader(self.body) if self.body is not None else None

        async def answer(request: web.Request) -> web.StreamResponse:
            key = request.match_info[parameter] if parameter else ""
            if parameter and not self.free_key:
                _check(key, parameter)
            query = queries.decode(request.query) if request.query_string else no_query
            body = await bodies.read(request) if bodies is not None else None
            return await call(Ask(deps, request, key, query, body, request.get(TOKEN)))

        return answer


def route(
    method: str,
    path: str,
    summary: str,
    answers: Mapping[int, Any],
    *,
    refuses: Iterable[int] = (),
    opens_to: frozenset[Role] | None = ADMINS,
    conditional: bool = False,
    streams: Any = None,
    head: bool = True,
    free_key: bool = False,
) -> Callable[[Answering[Q, B]], Route]:
    """Declare the decorated function as a route; what it reads is in its signature."""

    def declare(call: Answering[Q, B]) -> Route:
        query, body = get_args(get_type_hints(call)["ask"])
        return Route(
            method=method,
            path=path,
            summary=summary,
            answers=answers,
            refuses=tuple(refuses),
            opens_to=opens_to,
            conditional=conditional,
            streams=streams,
            head=head and method == "GET",
            free_key=free_key,
            query=query,
            body=None if body is type(None) else body,
            call=call,
        )

    return declare


def _check(key: str, parameter: str) -> None:
    if KEY.fullmatch(key) is None:
        raise Invalid(
            f"{parameter} in the path is 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
            field=parameter,
        )
