"""Endpoints of a service: where its tasks answer, for whatever proxy wants to know."""

from collections.abc import Iterable

from aiohttp import web

from longshore.api import pages, watching
from longshore.api.routes import Ask, route
from longshore.api.wire import answer
from longshore.decide.endpoints import endpoints
from longshore.model.changes import Event
from longshore.model.errors import NotFound
from longshore.model.objects import Kind
from longshore.model.snapshot import Snapshot, service_of_task
from longshore.model.views import EndpointView, Page


class EndpointsQuery(pages.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    watch: bool = False


@route(
    "GET",
    "/v1/services/{name}/endpoints",
    "List or watch where the tasks of a service answer",
    {200: Page[EndpointView]},
    streams=EndpointView,
)
async def list_endpoints(ask: Ask[EndpointsQuery, None]) -> web.StreamResponse:
    world = ask.deps.store.read()
    if ask.key not in world.services and not world.tasks_of_service(ask.key):
        raise NotFound(f"there is no service {ask.key}")
    if ask.query.watch:
        return await watching.watch(ask, _watched(ask))
    after = pages.unwrap(ask.query.after) or ""
    views = (view for id, view in sorted(endpoints(world, ask.key).items()) if id > after)
    return answer(200, pages.part(views, lambda view: view.id, ask.query.limit))


def _watched(ask: Ask[EndpointsQuery, None]) -> watching.Watched[EndpointView]:
    shown: set[str] = set()
    """Ids that were endpoints once: a node's event may end them, and does not name them."""
    latest: tuple[Snapshot, dict[str, EndpointView]] | None = None

    def standing(world: Snapshot) -> dict[str, EndpointView]:
        nonlocal latest
        if latest is None or latest[0] is not world:
            latest = (world, endpoints(world, ask.key))
            shown.update(latest[1])
        return latest[1]

    def touched(event: Event) -> Iterable[str]:
        ours = event.kind is Kind.TASK and service_of_task(event.id) == ask.key
        if not ours and event.kind is not Kind.NODE:
            return ()
        now = standing(ask.deps.store.read())
        ids = sorted(shown)
        shown.intersection_update(now)
        return ids

    return watching.Watched(ids=standing, touched=touched, show=lambda world, key: standing(world).get(key))


ROUTES = (list_endpoints,)
