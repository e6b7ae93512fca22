"""The workers' door: a WebSocket, upgraded and handed to the sessions."""

from http import HTTPStatus

from aiohttp import web

from longshore.api.routes import WORKERS, Ask, NoQuery, route
from longshore.api.wire import problem
from longshore.channel import SESSION_PATH, accept, manager_end
from longshore.model.errors import Unavailable


@route(
    "GET", SESSION_PATH, "A worker's session, a WebSocket", {101: None}, refuses=(426,), opens_to=WORKERS, head=False
)
async def open_session(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    if ask.deps.streams.closing:
        raise Unavailable("the manager stops")
    await ask.deps.sessions.slices.place()
    socket = await accept(ask.request)
    if socket is None:
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return problem(HTTPStatus.UPGRADE_REQUIRED, "a session is a WebSocket (version 13)", headers=upgrade)
    channel = manager_end(socket, ask.request.transport)
    sessions = ask.deps.streams.sessions
    sessions.add(channel)
    try:
        await ask.deps.sessions.serve(channel, ask.token)
    except Unavailable:
        return socket  # the worker left; its session has said so
    finally:
        sessions.discard(channel)
        await channel.close()
    return socket


ROUTES = (open_session,)
