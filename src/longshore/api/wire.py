"""Bytes to types and types to bytes, and every failure to its status: the edge where JSON ends.

Knows msgspec, aiohttp's requests and responses, and the family of failures. Must not know what an operation does, nor
who may ask for it. Decoding is strict and names the field to blame; nothing past this module sees a dict of a body.
Two traps are handled here: JSON Schema counts 3.0 as an integer and msgspec does not, and a number in a query is text.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from types import UnionType
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec
from aiohttp import web
from multidict import MultiMapping

from longshore.model.errors import (
    Compacted,
    Conflict,
    Denied,
    Failure,
    Invalid,
    NotFound,
    PortTaken,
    Refused,
    Unavailable,
)
from longshore.model.views import Problem

T = TypeVar("T")
Q = TypeVar("Q", bound=msgspec.Struct)

JSON = "application/json"
HEADERS = {"Server": "longshore", "X-Content-Type-Options": "nosniff"}
"""Of every answer. Names no versions, and lets no browser take a log line for a page."""
PROBLEM = "application/problem+json"
BODY_BYTES_MAX = 1024 * 1024
_INTEGRAL_MAX = 2.0**63
"""Beyond this a float is not meant as a count."""

STATUS_OF: dict[type[Failure], int] = {
    Invalid: 400,
    Denied: 403,  # 401 if the asker was not recognised: `status_of`
    NotFound: 404,
    Conflict: 409,
    Refused: 409,
    PortTaken: 409,
    Compacted: 410,
    Unavailable: 503,
}
"""Every failure that an operation may raise. A test holds it complete."""

_RETRY_AFTER_S = "1"
_WHERE = re.compile(r"(?P<what>.*) - at `(?:key in )?\$\.?(?P<field>.*?)`(?: in `.*`)?", re.DOTALL)
_NAMED = re.compile(r"Object (?P<how>missing required|contains unknown) field `(?P<name>.*)`", re.DOTALL)
_BYTE = re.compile(r"\(byte (?P<at>\d+)\)")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")

encode = msgspec.json.Encoder().encode


# -- answers


def answer(status: int, value: object, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer; None is no body."""
    if value is None:
        return web.Response(status=status, headers=headers)
    return web.Response(status=status, body=encode(value), content_type=JSON, headers=headers)


def problem(
    status: int, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """RFC 9457."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=_printable(detail), field=field)
    return web.Response(status=status, body=encode(body), content_type=PROBLEM, headers=headers)


def status_of(failure: Failure) -> int:
    if isinstance(failure, Denied) and not failure.known:
        return 401
    return next(STATUS_OF[kind] for kind in type(failure).__mro__ if kind in STATUS_OF)


def refusal(failure: Failure) -> web.Response:
    """What the asker is told of a failure."""
    status = status_of(failure)
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = _RETRY_AFTER_S
    return problem(status, failure.message, field=failure.field, headers=headers)


def foreign(error: web.HTTPException, path: str) -> web.Response:
    """What aiohttp itself refuses, in our words."""
    headers = {name: error.headers[name] for name in ("Allow", "Location") if name in error.headers}
    details = {
        404: f"there is no {path}",
        405: f"{path} knows only {error.headers.get('Allow', 'other methods')}",
        413: f"a body has at most {BODY_BYTES_MAX} bytes",
    }
    return problem(error.status, details.get(error.status, error.text or error.reason), headers=headers)


def _printable(text: str) -> str:
    """A path or a name may have come with what UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode()


# -- bodies


class BodyReader(Generic[T]):
    """Reads bodies as one type."""

    def __init__(self, type: type[T]) -> None:
        self._type = type
        self._decoder = msgspec.json.Decoder(type)

    async def read(self, request: web.Request) -> T:
        """Raises Invalid, or aiohttp's own 413 and 415."""
        encoding = request.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise web.HTTPUnsupportedMediaType(text=f"bodies come as they are, not as {_printable(encoding)}")
        content = request.headers.get("Content-Type", JSON)
        if content.split(";")[0].strip().lower() != JSON:
            raise web.HTTPUnsupportedMediaType(text=f"bodies are {JSON}, not {_printable(content)}")
        return self.decode(await request.read())

    def decode(self, body: bytes) -> T:
        """Strictly; only an integral float (3.0, 1e3) passes for an integer, as JSON Schema has it."""
        try:
            try:
                return self._decoder.decode(body)
            except msgspec.ValidationError as error:
                if "got `float`" not in str(error):
                    raise
                return msgspec.convert(_integers(msgspec.json.decode(body)), self._type)
        except msgspec.ValidationError as error:
            raise _blamed(error) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Invalid(_malformed(body, error)) from error


def _integers(value: Any) -> Any:
    """The same JSON with integral floats as integers; a float field takes either."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _INTEGRAL_MAX:
        return int(value)
    if isinstance(value, list):
        return [_integers(one) for one in value]
    if isinstance(value, dict):
        return {key: _integers(one) for key, one in value.items()}
    return value


def _blamed(error: msgspec.ValidationError, thing: str = "field") -> Invalid:
    """msgspec's sentence, taken apart into what is wrong and where."""
    what, field = str(error), ""
    if (match := _WHERE.fullmatch(what)) is not None:
        what, field = match["what"], match["field"]
    if (named := _NAMED.fullmatch(what)) is not None:
        field = f"{field}.{named['name']}" if field else named["name"]
        what = "this is required" if named["how"].startswith("missing") else f"there is no such {thing}"
    sentence = f"{field}: {what}" if field else what
    return Invalid(sentence, field=_printable(field) or None)


def _malformed(body: bytes, error: Exception) -> str:
    """Where JSON stops being JSON, as a person counts."""
    if isinstance(error, UnicodeDecodeError):
        return "the body is not UTF-8"
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    if not body.strip():
        return "the body is empty; it takes a JSON object"
    match = _BYTE.search(str(error))
    at = int(match["at"]) if match else len(body)
    line = body.count(b"\n", 0, at) + 1
    column = at - (body.rfind(b"\n", 0, at) + 1) + 1
    what = _BYTE.sub("", str(error)).strip().removeprefix("JSON is malformed: ")
    return f"the body is not JSON at line {line}, column {column} (byte {at}): {what}"


# -- queries


class QueryReader(Generic[Q]):
    """Reads query strings as one struct, whose fields are the parameters."""

    def __init__(self, type: type[Q]) -> None:
        self._type = type
        self._shapes = {field.encode_name: _shape(field.type) for field in msgspec.structs.fields(type)}

    def decode(self, query: MultiMapping[str]) -> Q:
        """Raises Invalid and names the parameter."""
        given: dict[str, object] = {}
        for name, text in query.items():
            if name in given:
                raise Invalid(f"{_printable(name)} is given twice", field=_printable(name))
            given[name] = _plain(text, self._shapes.get(name, str))
        try:
            return msgspec.convert(given, self._type)
        except msgspec.ValidationError as error:
            raise _blamed(error, "parameter") from error


def _plain(text: str, shape: type) -> object:
    """Text as what it says; left as it is if it says nothing of that shape, for msgspec to refuse."""
    if shape is bool:
        return {"true": True, "false": False}.get(text, text)
    if shape is int and _INTEGER.fullmatch(text):
        return int(text)
    if shape is float and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _shape(hint: Any) -> type:
    """What a parameter is, beneath its bounds and its being optional."""
    if hasattr(hint, "__metadata__"):  # Annotated: its bounds are msgspec's to check
        return _shape(hint.__origin__)
    if get_origin(hint) in (Union, UnionType):
        return _shape(next(one for one in get_args(hint) if one is not type(None)))
    return str if isinstance(hint, type) and issubclass(hint, StrEnum) else hint
