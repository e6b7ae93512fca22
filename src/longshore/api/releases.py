"""Releases: what a service's were, how each went, and the verbs that change course."""

from aiohttp import web

from longshore.api import pages
from longshore.api.conditions import etag
from longshore.api.routes import Ask, NoQuery, route
from longshore.api.wire import answer
from longshore.decide.history import history
from longshore.model.views import Page, ReleaseView, Rollback, ServiceView


@route("GET", "/v1/services/{name}/releases", "List a service's releases", {200: Page[ReleaseView]})
async def list_releases(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    found = history(ask.deps.store.read(), ask.key)
    return answer(200, pages.part(found, lambda one: str(one.number), len(found) or 1))


@route("POST", "/v1/services/{name}/rollback", "Go back to an earlier release", {200: ServiceView}, refuses=(409,))
async def roll_back(ask: Ask[NoQuery, Rollback]) -> web.StreamResponse:
    return _shown(await ask.deps.operations.roll_back(ask.key, ask.body.to))


@route("POST", "/v1/services/{name}/pause", "Take a rollout no further", {200: ServiceView}, refuses=(409,))
async def pause_rollout(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return _shown(await ask.deps.operations.pause_rollout(ask.key))


@route("POST", "/v1/services/{name}/resume", "Go on with a rollout", {200: ServiceView}, refuses=(409,))
async def resume_rollout(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return _shown(await ask.deps.operations.resume_rollout(ask.key))


def _shown(view: ServiceView) -> web.Response:
    return answer(200, view, etag(view.revision))


ROUTES = (list_releases, roll_back, pause_rollout, resume_rollout)
