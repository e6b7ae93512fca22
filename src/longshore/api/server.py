"""The API put together: all routes behind one door that authenticates, translates what goes wrong, and counts.

Knows every route module. Must not know where it listens or with which store: `main` does. The door is one middleware
around everything that aiohttp answers, so nothing that the API says is without a token, a status of ours or a count.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from longshore.api import (
    access,
    apps,
    cluster,
    endpoints,
    events,
    nodes,
    openapi,
    rebalance,
    releases,
    services,
    session,
    tasks,
    volumes,
)
from longshore.api.auth import admitted
from longshore.api.compat import doors
from longshore.api.routes import TOKEN, Deps, Route
from longshore.api.wire import BODY_BYTES_MAX, HEADERS, foreign, problem, refusal
from longshore.model.errors import Failure

__all__ = ["ROUTES", "Deps", "make_app"]

log = structlog.get_logger("longshore.api")

ROUTES: tuple[Route, ...] = (
    *cluster.ROUTES,
    *openapi.ROUTES,
    *services.ROUTES,
    *endpoints.ROUTES,
    *releases.ROUTES,
    *tasks.ROUTES,
    *nodes.ROUTES,
    *apps.ROUTES,
    *rebalance.ROUTES,
    *events.ROUTES,
    *volumes.ROUTES,
    *access.ROUTES,
    *session.ROUTES,
)
"""The whole API of our own; `compat.doors` has the foreign ones."""

_RouteOf = Mapping[Callable[..., object], Route]


def make_app(deps: Deps) -> web.Application:
    """The API as an aiohttp application."""
    route_of: dict[Callable[..., object], Route] = {}
    app = web.Application(middlewares=[_door(deps, route_of)], client_max_size=BODY_BYTES_MAX)
    for one in ROUTES:
        handler = one.handler(deps)
        route_of[handler] = one
        app.router.add_route(one.method, one.path, handler)
        if one.head:
            app.router.add_route("HEAD", one.path, handler)
    for one in doors.ROUTES if deps.compat else ():
        handler = one.handler(deps)
        route_of[handler] = one
        for path in doors.paths(one):
            app.router.add_route(one.method, path, handler)
    app[openapi.DOCUMENT] = openapi.document(ROUTES, deps.version)

    async def begin(app: web.Application) -> None:
        await asyncio.to_thread(cluster.remove_old_copies, deps.folder)

    async def end(app: web.Application) -> None:
        await deps.streams.close()

    app.on_startup.append(begin)
    app.on_shutdown.append(end)
    return app


def _door(deps: Deps, route_of: _RouteOf) -> Middleware:
    time = deps.clock.monotonic

    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time()
        route = route_of.get(request.match_info.handler)
        try:
            request[TOKEN] = admitted(deps, request, route)
            response = await handler(request)
        except Failure as failure:
            response = refusal(failure)
        except web.HTTPException as error:
            response = _foreign(request, error)
        except web.RequestPayloadError as error:
            response = problem(400, f"the body broke off or is not well-formed: {error}")
        except ConnectionError:
            raise  # the asker left while it was read or answered; nobody is there to be told
        except Exception:
            # A bug. It must not end the manager, whose other routes and controllers are right; nor go by unseen.
            log.exception("bug in a route", method=request.method, route=_name(route))
            if request.writer.output_size:
                raise  # half an answer is out already; aiohttp cuts the connection
            response = problem(500, "this is a bug of Longshore; the manager's log says more")
        if not response.prepared:
            response.headers.update(HEADERS)
        seconds = time() - began
        whole = isinstance(response, web.Response)
        deps.metrics.asked(request.method, _name(route), response.status, seconds if whole else None)
        log.debug(
            "answered", method=request.method, path=request.path, status=response.status, ms=round(seconds * 1000, 2)
        )
        return response

    return door


def _foreign(request: web.Request, error: web.HTTPException) -> web.Response:
    allowed = error.headers.get("Allow")
    if request.method == "OPTIONS" and allowed is not None:
        return web.Response(status=204, headers={"Allow": allowed})
    return foreign(error, request.path)


def _name(route: Route | None) -> str:
    """A route's template: paths hold names, and names must not become labels."""
    return route.path if route is not None else "unknown"
