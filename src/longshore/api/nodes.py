"""Nodes: the machines, what they have and what is set aside on them."""

from bisect import bisect_right
from collections.abc import Iterable

from aiohttp import web

from longshore.api import pages, watching
from longshore.api.conditions import demanded, etag, met
from longshore.api.routes import Ask, NoQuery, route
from longshore.api.wire import answer
from longshore.model.changes import Event
from longshore.model.errors import NotFound
from longshore.model.objects import Kind, Task
from longshore.model.snapshot import Snapshot
from longshore.model.views import NodePatch, NodeView, Page


class NodesQuery(pages.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    watch: bool = False


@route("GET", "/v1/nodes", "List or watch nodes", {200: Page[NodeView]}, streams=NodeView)
async def list_nodes(ask: Ask[NodesQuery, None]) -> web.StreamResponse:
    if ask.query.watch:
        watched = watching.Watched(
            ids=lambda world: _names(world, ""), touched=_touched, show=lambda world, name: _shown(ask, name)
        )
        return await watching.watch(ask, watched)
    names = _names(ask.deps.store.read(), pages.unwrap(ask.query.after) or "")
    views = (view for name in names if (view := _shown(ask, name)) is not None)
    return answer(200, pages.part(views, lambda view: view.name, ask.query.limit))


@route("GET", "/v1/nodes/{name}", "Show a node", {200: NodeView})
async def show_node(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    view = ask.deps.operations.node_view(ask.key)
    return answer(200, view, etag(view.revision))


@route("PATCH", "/v1/nodes/{name}", "Change a node", {200: NodeView}, refuses=(409,), conditional=True)
async def patch_node(ask: Ask[NoQuery, NodePatch]) -> web.StreamResponse:
    condition = demanded(ask.request.headers)
    with met(condition, lambda: ask.deps.store.read().nodes.get(ask.key)):
        view = await ask.deps.operations.patch_node(ask.key, ask.body, if_match=condition.revision)
    return answer(200, view, etag(view.revision))


@route("DELETE", "/v1/nodes/{name}", "Forget a node that is down", {204: None}, refuses=(409,))
async def remove_node(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    await ask.deps.operations.remove_node(ask.key)
    return answer(204, None)


def _names(world: Snapshot, after: str) -> Iterable[str]:
    names = world.nodes.derive(_in_order)
    return names[bisect_right(names, after) :]


def _in_order(nodes: Iterable[str]) -> list[str]:
    return sorted(nodes)


def _touched(event: Event) -> Iterable[str]:
    """A node shows what its tasks have set aside, so they change it too."""
    if event.kind is Kind.NODE:
        return (event.id,)
    return (event.after.node,) if isinstance(event.after, Task) and event.after.node else ()


def _shown(ask: Ask[NodesQuery, None], name: str) -> NodeView | None:
    try:
        return ask.deps.operations.node_view(name)
    except NotFound:
        return None


ROUTES = (list_nodes, show_node, patch_node, remove_node)
