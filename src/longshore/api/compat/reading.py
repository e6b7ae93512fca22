"""Foreign JSON to typed values: keys in any case, missing and null as nothing, wrong types named by their path.

The ancestors' servers match names whatever their case and read `null` as a zero value, and their clients lean on it.
Knows no foreign API. Nothing past this module sees what the body looked like.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import datetime

import msgspec

from longshore.model.errors import Invalid

NO_TIME = "0001-01-01T00:00:00Z"
NO_ID = "00000000-0000-0000-0000-000000000000"
_INTEGRAL_MAX = 2.0**63
_PORT = re.compile(r"(?P<number>[0-9]{1,5})(?:/(?P<protocol>tcp|udp))?", re.IGNORECASE)
PORT_MAX = 65_535
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def parse(body: bytes) -> object:
    """Any JSON. Raises Invalid with where it stops being that."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = "the body is empty" if not body.strip() else str(error)
        raise Invalid(what) from error


class Fields:
    """A JSON object whose fields are asked for by any of their names."""

    def __init__(self, value: object, path: str = "") -> None:
        """Raises Invalid if it is no object."""
        if not isinstance(value, dict):
            raise Invalid(f"{path or 'the body'} is {_kind(value)}, not an object", field=path or None)
        self._path = path
        self._values = {str(key).lower(): one for key, one in value.items()}

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def has(self, *names: str) -> bool:
        return any(name.lower() in self._values for name in names)

    def value(self, *names: str) -> object:
        """The first of these that is there; None if none is, or if it is null."""
        return next((self._values[name.lower()] for name in names if name.lower() in self._values), None)

    def text(self, *names: str) -> str:
        value = self.value(*names)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(names, value, "a string")
        return value

    def whole(self, *names: str) -> int:
        value = self.value(*names)
        if value is None:
            return 0
        if isinstance(value, float) and value.is_integer() and abs(value) < _INTEGRAL_MAX:
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(names, value, "a whole number")
        return value

    def number(self, *names: str) -> float:
        value = self.value(*names)
        if value is None:
            return 0.0
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(names, value, "a number")
        try:
            return float(value)
        except OverflowError as error:
            raise self._wrong(names, value, "a number") from error

    def truth(self, *names: str) -> bool:
        value = self.value(*names)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._wrong(names, value, "true or false")
        return value

    def without(self, *names: str) -> "Fields":
        """The same object but for these."""
        left = {key: one for key, one in self._values.items() if key not in {name.lower() for name in names}}
        return Fields(left, self._path)

    def within(self, *names: str) -> "Fields":
        """An object inside this one; an empty one if it is not there."""
        return Fields(self.value(*names) or {}, self.path(names[0]))

    def table(self, *names: str) -> Mapping[str, object]:
        """An object whose keys are the user's."""
        value = self.value(*names)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._wrong(names, value, "an object")
        return {str(key): one for key, one in value.items()}

    def texts(self, *names: str) -> tuple[str, ...]:
        value = self.value(*names)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._wrong(names, value, "a list of strings")
        return tuple(value)

    def moment(self, *names: str) -> None:
        """Check a time, which nobody needs: an empty one passes, one of the ancestors' own files has that."""
        text = self.text(*names)
        if not text:
            return
        try:
            datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text))
        except ValueError as error:
            path = self.path(names[0])
            raise Invalid(f"{path}: {text[:60]!r} is no time such as 2026-01-31T12:00:00Z", field=path) from error

    def identity(self, *names: str) -> str:
        """A UUID in one spelling; empty if there is none."""
        text = self.text(*names)
        if not text:
            return ""
        found = uuid_of(text)
        if found is None:
            path = self.path(names[0])
            raise Invalid(f"{path}: {text[:60]!r} is no UUID", field=path)
        return "" if found == NO_ID else found

    def free_id(self, *names: str) -> str:
        """An id that is any word; a UUID in one spelling."""
        text = self.text(*names)
        if not text:
            return ""
        found = uuid_of(text) or text
        if not _ID.fullmatch(found):
            path = self.path(names[0])
            rule = "an id is up to 128 of A-Z, a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
            raise Invalid(f"{path}: {text[:60]!r} will not do: {rule}", field=path)
        return "" if found == NO_ID else found

    def _wrong(self, names: tuple[str, ...], value: object, wanted: str) -> Invalid:
        path = self.path(names[0])
        return Invalid(f"{path} is {_kind(value)}, not {wanted}", field=path)


def uuid_of(text: str) -> str | None:
    """`text` as a UUID with dashes, in small letters; `urn:uuid:…`, `{…}` and none of the dashes are spellings of it.
    None if it is no UUID."""
    plain = text.lower().removeprefix("urn:uuid:")
    if len(plain) == 38 and plain[0] == "{" and plain[-1] == "}":
        plain = plain[1:-1]
    if not re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", plain):
        return None
    return str(uuid.UUID(plain))


def container_port(text: str, path: str) -> str:
    """`80` and `80/TCP` are `80/tcp`."""
    match = _PORT.fullmatch(text.strip())
    if match is None or not 1 <= int(match["number"]) <= PORT_MAX:
        raise Invalid(f"{path}: {text[:60]!r} is no port such as 80/tcp", field=path)
    return f"{int(match['number'])}/{(match['protocol'] or 'tcp').lower()}"


def host_port(value: object, path: str) -> str:
    """A host port as text or number; empty is one of the cluster's choice."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if text is None or text in ("", "0"):
        return ""
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= PORT_MAX:
        raise Invalid(f'{path}: {value!r} is no host port such as "8080"', field=path)
    return str(int(text))


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
    return "an object"
