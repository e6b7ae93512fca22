"""The paths of foreign APIs at the manager's root, and which translation answers at each.

Where two of them want different answers at one path, the union is served. All of them take bodies of any content type
(curl's `-d` says form), paths with or without a slash at the end, and queries that they do not know. Every path needs
the same token as `/v1` does.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from longshore.api.compat import cube, gokube, orchestrator, replicas, simulation
from longshore.api.compat.cube import CubeTask
from longshore.api.compat.orchestrator import Asked
from longshore.api.compat.reading import Fields, parse, uuid_of
from longshore.api.compat.refusals import Refuse, as_cube, as_gokube, as_text, no_task
from longshore.api.labels import has_label
from longshore.api.routes import Ask, Route, route
from longshore.api.wire import answer
from longshore.decide.postings import Phase, Shown, admit_posting
from longshore.model.errors import Denied, Failure, Invalid

T = TypeVar("T")

Door = Callable[[Ask[Any, Any]], Awaitable[web.StreamResponse]]

POSTED_AT_ONCE_MAX = 100


class AnyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters that nobody asked for are passed over."""


class TasksQuery(msgspec.Struct, frozen=True, kw_only=True):
    status: str | None = None
    node: str | None = None
    image: str | None = None
    name: str | None = None
    label: str | None = None
    """`KEY=VALUE` or `KEY`, of the container."""
    order: str = "created"
    """`created`, `name`, `status`, `node` or `image`; with a `-` before it the other way around."""
    limit: int | None = None
    after: str | None = None
    """An id: the tasks behind it."""


# -- refusals


def refusing(refuse: Refuse) -> Callable[[Door], Door]:
    """What an operation refuses, in the shape that this door's clients know. Who may come in is not its business."""

    def decorate(call: Door) -> Door:
        @wraps(call)
        async def answering(ask: Ask[Any, Any]) -> web.StreamResponse:
            try:
                return await call(ask)
            except Denied:
                raise
            except Failure as failure:
                return refuse(failure)

        return answering

    return decorate


async def _body(ask: Ask[Any, Any]) -> object:
    try:
        return parse(await ask.request.read())
    except Invalid as fault:
        raise Invalid(f"Error unmarshalling body: {fault.message}", field=fault.field) from fault


# -- /tasks


@route("GET", "/tasks", "List tasks as Cube and others do", {200: list[CubeTask]})
@refusing(as_cube)
async def list_tasks(ask: Ask[TasksQuery, None]) -> web.StreamResponse:
    found = _ordered(_matching(ask), ask.query.order)
    part, following = _part(found, ask.query)
    headers = {}
    if following is not None:
        query = {**ask.request.query, "after": following}
        headers["Link"] = f'<{ask.request.path}?{urlencode(query)}>; rel="next"'
    return answer(200, [cube.show_task(one) for one in part], headers)


@route("POST", "/tasks", "Run a task as Cube and others do", {201: CubeTask})
@refusing(as_cube)
async def post_task(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    body = await _body(ask)
    if isinstance(body, list):
        return answer(201, [cube.show_task(one) for one in await _post_all(ask, body)])
    return answer(201, cube.show_task(await _post(ask, Fields(body))))


@route("GET", "/tasks/{id}", "Show a task as Cube and others do", {200: CubeTask}, free_key=True)
@refusing(as_cube)
async def show_task(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return answer(200, cube.show_task(ask.deps.postings.shown(_known(ask))))


@route("DELETE", "/tasks/{id}", "Stop a task as Cube and others do", {204: None}, free_key=True)
@refusing(as_cube)
async def stop_task(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    await ask.deps.postings.stop(_known(ask))
    return answer(204, None)


def _matching(ask: Ask[TasksQuery, None]) -> list[Shown]:
    query = ask.query
    status = _phase(query.status)
    return [
        one
        for one in ask.deps.postings.all()
        if (status is None or one.phase is status)
        and (query.node is None or (one.task.node if one.task is not None else "") == query.node)
        and (query.image is None or one.posting.image == query.image)
        and (query.name is None or one.posting.name == query.name)
        and (query.label is None or has_label(ask.deps.postings.labels(one), query.label))
    ]


def _phase(text: str | None) -> Phase | None:
    """A state by its word or its number."""
    if text is None:
        return None
    for one in Phase:
        if text.lower() in (one.name.lower(), str(int(one))):
            return one
    words = ", ".join(one.name.lower() for one in Phase)
    raise Invalid(f"status {text[:40]!r} is none of {words}", field="status")


_ORDERS: dict[str, Callable[[Shown], object]] = {
    "created": lambda one: one.posting.created_at,
    "name": lambda one: one.posting.name,
    "status": lambda one: int(one.phase),
    "node": lambda one: one.task.node if one.task is not None else "",
    "image": lambda one: one.posting.image,
}


def _ordered(found: list[Shown], order: str) -> list[Shown]:
    key = _ORDERS.get(order.removeprefix("-"))
    if key is None:
        raise Invalid(
            f"order {order[:40]!r} is none of {', '.join(_ORDERS)}, with a '-' before it or not", field="order"
        )
    return sorted(found, key=key, reverse=order.startswith("-"))  # type: ignore[arg-type]


def _part(found: list[Shown], query: TasksQuery) -> tuple[list[Shown], str | None]:
    """The asked part, and the id after which the next one begins."""
    ids = [one.posting.id for one in found]
    if query.after is not None and query.after not in ids:
        raise Invalid(f"after: {query.after[:60]!r} is no id in this list", field="after")
    begin = ids.index(query.after) + 1 if query.after is not None else 0
    if query.limit is None:
        return found[begin:], None
    if query.limit < 1:
        raise Invalid("limit is at least 1", field="limit")
    end = begin + query.limit
    return found[begin:end], ids[end - 1] if end < len(ids) else None


async def _post_all(ask: Ask[Any, Any], items: list[object]) -> list[Shown]:
    """All are read and admitted before the first is run, so that a slip in the last leaves nothing half done; what
    stands in the way of one in the cluster, such as another task of its id, shows only at its turn."""
    if not items:
        raise Invalid("the list is empty: there is no task in it")
    if len(items) > POSTED_AT_ONCE_MAX:
        raise Invalid(f"{len(items)} tasks at once are more than {POSTED_AT_ONCE_MAX}")
    asked = [orchestrator.read_body(Fields(item, f"[{place}]")) for place, item in enumerate(items)]
    for place, one in enumerate(asked):
        if not one.stops:
            admit_posting(one.posting, field=f"[{place}]")
    return [await _run(ask, one) for one in asked]


async def _post(ask: Ask[Any, Any], body: Fields) -> Shown:
    return await _run(ask, orchestrator.read_body(body))


async def _run(ask: Ask[Any, Any], asked: Asked) -> Shown:
    postings = ask.deps.postings
    if asked.stops:
        await postings.stop(asked.posting.id)
        return postings.shown(asked.posting.id)
    return await postings.post(asked.posting)


def _known(ask: Ask[Any, Any]) -> str:
    """The id in the path, in the spelling it is kept under."""
    id = uuid_of(ask.key) or ask.key
    if not ask.deps.postings.knows(id):
        raise no_task(ask.key)
    return id


# -- /task


@route("GET", "/task", "List tasks as gokube does", {200: list[gokube.GokubeTask]})
@refusing(as_gokube)
async def list_gokube(ask: Ask[TasksQuery, None]) -> web.StreamResponse:
    part, _ = _part(_ordered(_matching(ask), ask.query.order), ask.query)
    return answer(200, [gokube.show(one) for one in part])


@route("POST", "/task", "Run a task as gokube does", {201: gokube.GokubeTask})
@refusing(as_gokube)
async def post_gokube(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return answer(201, gokube.show(await _post(ask, Fields(await _body(ask)))))


@route("GET", "/task/{id}", "Show a task as gokube does", {200: gokube.GokubeTask}, free_key=True)
@refusing(as_gokube)
async def show_gokube(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return answer(200, gokube.show(ask.deps.postings.shown(_known(ask))))


@route("DELETE", "/task/{id}", "Stop a task as gokube does", {204: None}, free_key=True)
@refusing(as_gokube)
async def stop_gokube(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    await ask.deps.postings.stop(_known(ask))
    return answer(204, None)


# -- /nodes


@route("GET", "/nodes", "List nodes as Cube and others do", {200: list[cube.CubeNode]})
@refusing(as_cube)
async def list_nodes(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    nodes = ask.deps.operations.nodes()
    return answer(200, [cube.show_node(node, ask.deps.dialled(node.name)) for node in nodes])


@route("GET", "/nodes/{id}", "Show a node as Cube and others do", {200: cube.CubeNode})
@refusing(as_cube)
async def show_node(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return answer(200, cube.show_node(ask.deps.operations.node_view(ask.key), ask.deps.dialled(ask.key)))


@route("POST", "/nodes", "Register a node by hand", {201: simulation.PlainNode})
@refusing(as_text)
async def register_node(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    wish = await _payload(ask, simulation.read_node)
    view = await ask.deps.operations.register_node(wish.name, healthy=wish.healthy, dial=wish.dial)
    return answer(201, simulation.show_node(view))


@route("PUT", "/nodes/{id}", "Call a node healthy or not", {200: simulation.Updated})
@refusing(as_text)
async def mark_node(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    healthy = await _payload(ask, lambda body: body.truth("healthy"))
    await ask.deps.operations.mark_node(ask.key, healthy=healthy)
    return answer(200, simulation.Updated())


@route("DELETE", "/nodes/{id}", "Have a node give up its tasks and forget it", {204: None})
@refusing(as_text)
async def dismiss_node(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    await ask.deps.operations.dismiss_node(ask.key)
    return answer(204, None)


async def _payload(ask: Ask[Any, Any], read: Callable[[Fields], T]) -> T:
    try:
        return read(Fields(parse(await ask.request.read())))
    except Invalid as fault:
        raise Invalid(f"Invalid request payload: {fault.message}", field=fault.field) from fault


# -- replicas


@route("POST", "/create", "Run so many containers of an image", {200: replicas.Created})
@refusing(as_cube)
async def create(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return await _created(ask, replicas.read_creation(Fields(await _body(ask))))


@route("POST", "/create_container/{image:.+}", "Run so many containers of an image", {200: replicas.Created})
@refusing(as_cube)
async def create_by_path(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return await _created(ask, replicas.read_path(ask.request.match_info["image"].split("/")))


async def _created(ask: Ask[Any, Any], creation: replicas.Creation) -> web.Response:
    deps = ask.deps
    return answer(200, await replicas.create(deps.creations, deps.store, deps.operations, creation))


async def _state(ask: Ask[Any, Any]) -> web.Response:
    return answer(200, replicas.state(ask.deps.store.read(), ask.deps.operations.nodes()))


@route("GET", "/status", "Nodes and containers", {200: replicas.ClusterState})
@refusing(as_cube)
async def show_status(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return await _state(ask)


@route("GET", "/state", "Nodes and containers", {200: replicas.ClusterState})
@refusing(as_cube)
async def show_state(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return await _state(ask)


@route("GET", "/", "A word of welcome", {200: "text/plain"})
async def welcome(ask: Ask[AnyQuery, None]) -> web.StreamResponse:
    return web.Response(text="Welcome to Longshore: /v1, /tasks, /task, /nodes, /create, /status, /health\n")


ROUTES: tuple[Route, ...] = (
    list_tasks,
    post_task,
    show_task,
    stop_task,
    list_gokube,
    post_gokube,
    show_gokube,
    stop_gokube,
    list_nodes,
    show_node,
    register_node,
    mark_node,
    dismiss_node,
    create,
    create_by_path,
    show_status,
    show_state,
    welcome,
)


def paths(one: Route) -> Iterable[str]:
    """With and without a slash at the end, as the ancestors' routers have it. A UUID may come in braces, which a
    router's own pattern for a part of a path leaves out."""
    path = one.path.replace("{id}", "{id:[^/]+}") if one.free_key else one.path
    return (path, f"{path}/") if path != "/" and not path.endswith(".+}") else (path,)
