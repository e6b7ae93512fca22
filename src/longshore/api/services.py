"""Services: the wish of a user, and how it stands."""

from collections.abc import Iterable

from aiohttp import web

from longshore.api import pages, watching
from longshore.api.conditions import demanded, etag, met
from longshore.api.routes import Ask, NoQuery, route
from longshore.api.wire import answer
from longshore.control.dependents import Dependents, services_named
from longshore.model.errors import NotFound
from longshore.model.snapshot import Snapshot
from longshore.model.views import Page, Scale, ServiceView, ServiceWhy, ServiceWish


class ServicesQuery(pages.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    app: str | None = None
    watch: bool = False


@route("GET", "/v1/services", "List or watch services", {200: Page[ServiceView]}, streams=ServiceView)
async def list_services(ask: Ask[ServicesQuery, None]) -> web.StreamResponse:
    if ask.query.watch:
        dependents = Dependents()
        watched = watching.Watched(
            ids=lambda world: _names(world, ""),
            touched=lambda event: (*services_named([event]), *dependents.touched([event], ask.deps.store.read())),
            show=lambda world, name: _shown(ask, name),
        )
        return await watching.watch(ask, watched)
    names = _names(ask.deps.store.read(), pages.unwrap(ask.query.after) or "")
    views = (view for name in names if (view := _shown(ask, name)) is not None)
    return answer(200, pages.part(views, lambda view: view.name, ask.query.limit))


@route("GET", "/v1/services/{name}", "Show a service", {200: ServiceView})
async def show_service(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return _shown_with_tag(200, ask.deps.operations.service_view(ask.key))


@route(
    "PUT",
    "/v1/services/{name}",
    "Create or change a service",
    {200: ServiceView, 201: ServiceView},
    refuses=(409,),
    conditional=True,
)
async def put_service(ask: Ask[NoQuery, ServiceWish]) -> web.StreamResponse:
    condition = demanded(ask.request.headers)
    with met(condition, lambda: ask.deps.store.read().services.get(ask.key)):
        view, created = await ask.deps.operations.apply_service(
            ask.key, ask.body, if_match=condition.revision, create_only=condition.absent, author=ask.author
        )
    return _shown_with_tag(201 if created else 200, view)


@route("DELETE", "/v1/services/{name}", "Remove a service", {202: ServiceView}, refuses=(409,), conditional=True)
async def remove_service(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    condition = demanded(ask.request.headers)
    with met(condition, lambda: ask.deps.store.read().services.get(ask.key)):
        view = await ask.deps.operations.remove_service(ask.key, if_match=condition.revision)
    return answer(202, view)


@route("POST", "/v1/services/{name}/scale", "Scale a service", {200: ServiceView}, refuses=(409,))
async def scale_service(ask: Ask[NoQuery, Scale]) -> web.StreamResponse:
    return _shown_with_tag(200, await ask.deps.operations.scale(ask.key, ask.body.replicas))


@route("POST", "/v1/services/{name}/restart", "Replace all tasks of a service", {200: ServiceView}, refuses=(409,))
async def restart_service(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return _shown_with_tag(200, await ask.deps.operations.restart(ask.key, author=ask.author))


@route("GET", "/v1/services/{name}/why", "Explain a service", {200: ServiceWhy})
async def why_service(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return answer(200, ask.deps.operations.why_service(ask.key))


def _shown_with_tag(status: int, view: ServiceView) -> web.Response:
    return answer(status, view, etag(view.revision))


def _names(world: Snapshot, after: str) -> Iterable[str]:
    """Also of those that were removed and whose tasks still go."""
    return sorted(name for name in world.services.keys() | world.services_with_tasks.keys() if name > after)


def _shown(ask: Ask[ServicesQuery, None], name: str) -> ServiceView | None:
    wanted, service = ask.query.app, ask.deps.store.read().services.get(name)
    if wanted is not None and (service is None or service.app != wanted):
        return None
    try:
        return ask.deps.operations.service_view(name)
    except NotFound:
        return None


ROUTES = (list_services, show_service, put_service, remove_service, scale_service, restart_service, why_service)
