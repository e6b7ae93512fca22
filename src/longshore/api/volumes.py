"""Volumes: where the named volumes of slots are, and to have one forgotten."""

from aiohttp import web

from longshore.api import pages
from longshore.api.routes import Ask, NoQuery, route
from longshore.api.wire import answer
from longshore.model.views import Page, VolumePatch, VolumeView


@route("GET", "/v1/volumes", "List volumes", {200: Page[VolumeView]})
async def list_volumes(ask: Ask[pages.PageQuery, None]) -> web.StreamResponse:
    after = pages.unwrap(ask.query.after) or ""
    views = (view for view in ask.deps.operations.volumes() if view.id > after)
    return answer(200, pages.part(views, lambda view: view.id, ask.query.limit))


# A volume's name may be longer than what else stands in a path.
@route("PATCH", "/v1/volumes/{id}", "Say where a volume is", {200: VolumeView}, refuses=(409,), free_key=True)
async def place_volume(ask: Ask[NoQuery, VolumePatch]) -> web.StreamResponse:
    return answer(200, await ask.deps.operations.place_volume(ask.key, ask.body.node))


@route("DELETE", "/v1/volumes/{id}", "Forget a volume", {204: None}, refuses=(409,), free_key=True)
async def forget_volume(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    await ask.deps.operations.forget_volume(ask.key)
    return answer(204, None)


ROUTES = (list_volumes, place_volume, forget_volume)
