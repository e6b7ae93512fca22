"""Apps: the services of one Compose file together, and what applying them would do."""

from aiohttp import web

from longshore.api import pages
from longshore.api.routes import Ask, NoQuery, route
from longshore.api.wire import answer
from longshore.model.views import AppView, AppWish, Page, Plan, PlanWish


@route("GET", "/v1/apps", "List apps", {200: Page[AppView]})
async def list_apps(ask: Ask[pages.PageQuery, None]) -> web.StreamResponse:
    after = pages.unwrap(ask.query.after) or ""
    views = (view for view in ask.deps.operations.apps() if view.name > after)
    return answer(200, pages.part(views, lambda view: view.name, ask.query.limit))


@route("GET", "/v1/apps/{name}", "Show an app", {200: AppView})
async def show_app(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return answer(200, ask.deps.operations.app_view(ask.key))


@route("PUT", "/v1/apps/{name}", "Create or change an app", {200: AppView}, refuses=(409,))
async def put_app(ask: Ask[NoQuery, AppWish]) -> web.StreamResponse:
    return answer(200, await ask.deps.operations.apply_app(ask.key, ask.body.services, author=ask.author))


@route("DELETE", "/v1/apps/{name}", "Remove an app with its services", {202: AppView}, refuses=(409,))
async def remove_app(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return answer(202, await ask.deps.operations.remove_app(ask.key))


@route("POST", "/v1/plan", "Say what applying an app would do, and do nothing", {200: Plan}, refuses=(409,))
async def plan_app(ask: Ask[NoQuery, PlanWish]) -> web.StreamResponse:
    return answer(200, ask.deps.operations.plan(ask.body.app, ask.body.services))


ROUTES = (list_apps, show_app, put_app, remove_app, plan_app)
