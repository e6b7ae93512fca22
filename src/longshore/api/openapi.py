"""The OpenAPI 3.1 document, made from the routes as they are declared, so that it cannot say anything else.

Knows routes and msgspec's JSON Schema. Must not know any route by name: what is particular to one belongs into its
declaration.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from longshore.api.conditions import REVISION
from longshore.api.events import MARK
from longshore.api.routes import KEY, Ask, NoQuery, Route, route
from longshore.api.watching import EVENT_STREAM
from longshore.api.wire import JSON, PROBLEM
from longshore.model.views import EventView, Problem

Schema = dict[str, Any]
"""JSON Schema is the one thing here without a type of its own: it is written, never read."""

DOCUMENT = web.AppKey("longshore.openapi", bytes)

_REF = "#/components/schemas/{name}"
_WORDS = {
    101: "The session begins.",
    202: "It is under way.",
    204: "Done.",
    400: "Malformed or invalid; `field` names what is to blame.",
    401: "No token, or none that is known.",
    403: "The token does not open this.",
    404: "There is no such thing.",
    409: "Something is in the way; `detail` says what.",
    410: "The log is no longer kept from there on: read everything again.",
    412: "The record is not of the demanded revision.",
    413: "The body is over 1 MiB.",
    415: "The body is not JSON.",
    426: "The request does not ask for a WebSocket.",
    503: "Not now; try again.",
}


@route("GET", "/openapi.json", "This document", {200: JSON})
async def show_openapi(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return web.Response(body=ask.request.app[DOCUMENT], content_type=JSON)


def document(routes: Sequence[Route], version: str) -> bytes:
    types = [Problem, *(kind for one in routes for kind in _types(one))]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    paths: dict[str, dict[str, Schema]] = {}
    for one in routes:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas)
    queries = {one.query.__name__ for one in routes}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Longshore", "version": version, "description": "See docs/api.md."},
            "paths": paths,
            "components": {
                "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{"token": []}],
        }
    )


def _types(route: Route) -> Iterable[Any]:
    """All types that a route's part of the document refers to."""
    yield route.query
    if route.streams is not None:
        yield route.streams
    if route.body is not None:
        yield route.body
    yield from (kind for kind in route.answers.values() if kind is not None and not isinstance(kind, str))


def _operation(route: Route, schemas: dict[str, Schema]) -> Schema:
    operation: Schema = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.noun],
        "parameters": _parameters(route, schemas),
        "responses": {str(status): _answer(route, status, kind) for status, kind in route.answers.items()},
    }
    for status in problems(route):
        operation["responses"][str(status)] = _content(status, PROBLEM, {"$ref": _REF.format(name=Problem.__name__)})
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _schema(route.body)}}}
    if route.opens_to is None:
        operation["security"] = []
    return operation


def problems(route: Route) -> list[int]:
    """Every problem that a route may answer: its own, and those that come with its shape."""
    statuses = {400, *route.refuses}  # 400: nobody may pass a parameter that there is not
    if route.opens_to is not None:
        statuses |= {401, 403, 503}
    if route.parameter is not None:
        statuses.add(404)
    if route.body is not None:
        statuses |= {413, 415}
    if route.conditional:
        statuses.add(412)
    return sorted(statuses)


def _parameters(route: Route, schemas: dict[str, Schema]) -> list[Schema]:
    found: list[Schema] = []
    if route.parameter is not None:
        pattern = f"^{KEY.pattern}$"
        found.append(_parameter("path", route.parameter, {"type": "string", "pattern": pattern}, required=True))
    for name, schema in schemas[route.query.__name__].get("properties", {}).items():
        found.append(_parameter("query", name, _given(schema)))
    if route.conditional:
        found.append(_parameter("header", "If-Match", {"type": "string", "pattern": f"^({REVISION.pattern})$"}))
    if route.conditional and 201 in route.answers:
        found.append(_parameter("header", "If-None-Match", {"type": "string", "enum": ["*"]}))
    return found


def _parameter(where: str, name: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"in": where, "name": name, "schema": schema, **({"required": True} if required else {})}


def _given(schema: Schema) -> Schema:
    """What a query parameter may be. None is what it is when it is left out, and nobody can write that."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    if schema.get("default") is not None:
        rest["default"] = schema["default"]
    return {**options[0], **rest} if options else rest


def _answer(route: Route, status: int, kind: Any) -> Schema:
    if kind is None:
        return {"description": _words(status)}
    media, schema = (kind, {"type": "string"}) if isinstance(kind, str) else (JSON, _schema(kind))
    answer = _content(status, media, {} if media == JSON and isinstance(kind, str) else schema)
    if route.streams is not None:
        answer["content"][EVENT_STREAM] = {"schema": _event(route.streams)}
    return answer


def _event(kind: Any) -> Schema:
    """One server-sent event, as OpenAPI 3.2 has it: its fields are text, and its data holds JSON."""
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": _schema(kind)}
    if kind is EventView:
        return {"type": "object", "properties": {"id": {"type": "string", "pattern": MARK}, "data": data}}
    # What is gone is only named, and `ready` tells the revision.
    data["contentSchema"] = {"anyOf": [_schema(kind), {"type": "object", "additionalProperties": True}]}
    return {"type": "object", "properties": {"event": {"enum": ["item", "ready", "gone"]}, "data": data}}


def _content(status: int, media: str, schema: Schema) -> Schema:
    return {"description": _words(status), "content": {media: {"schema": schema}}}


def _words(status: int) -> str:
    return _WORDS.get(status) or HTTPStatus(status).phrase


def _schema(kind: Any) -> Schema:
    """A reference, as `schema_components` would make it: `Page[Task]` is `Page_Task_`."""
    (reference,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return dict(reference)


ROUTES = (show_openapi,)
