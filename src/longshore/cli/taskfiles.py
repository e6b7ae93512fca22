"""Files with tasks to post: an array of them, one alone, or an event that says what shall become of one.

Knows the shape of such a file and tells, with its line, where it has another. Must not know what a manager makes of a
task: whatever else an object says is passed on as it was written. Names of fields count in any case of their letters.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from longshore.model.errors import Invalid

Raw = msgspec.Raw

_NIL = "00000000-0000-0000-0000-000000000000"
_SCHEDULED = 1
"""The state that asks for a task to be run."""
_BYTE = re.compile(r" \(byte (?P<at>\d+)\)$")

_SHAPES: dict[str, tuple[Any, str]] = {
    "id": (str | None, "a text"),
    "name": (str | None, "a text"),
    "image": (str | None, "a text"),
    "state": (int | None, "a whole number"),
    "cpu": (float | None, "a number of cores"),
    "memory": (int | None, "a whole number of bytes"),
    "disk": (int | None, "a whole number of bytes"),
    "exposedports": (list[str] | dict[str, Raw] | None, 'a list of ports such as "80/tcp", or an object with them'),
    "exposedport": (list[str] | dict[str, Raw] | None, 'a list of ports such as "80/tcp", or an object with them'),
    "portbindings": (dict[str, str] | None, 'an object such as {"80/tcp": "8080"}'),
    "restartpolicy": (str | None, "a text"),
    "healthcheck": (str | None, "a text"),
}
"""What a field has to be, if it is there. `null` is as good as nothing, as it is to those who made these files up."""
_PORTS = ("exposedports", "exposedport")


class Posting(msgspec.Struct, frozen=True):
    """One task of a file, ready to be posted."""

    id: str
    name: str
    body: bytes


def read_file(name: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[Posting]:
    """What the file asks for, in its order. Raises Invalid with file and line."""
    try:
        content = Path(name).read_bytes()
    except FileNotFoundError as error:
        raise Invalid(f"there is no file {name}", field="FILE") from error
    except OSError as error:
        raise Invalid(f"cannot read {name}: {error.strerror}", field="FILE") from error
    return read_tasks(name, content, now())


def read_tasks(name: str, content: bytes, now: datetime) -> list[Posting]:
    """As `read_file`, of the file's content."""
    page = _Page(name, content)
    if not content.lstrip().startswith(b"["):
        return [_posting(page, *page.alone(), now)]
    found = [_posting(page, raw, where, now) for raw, where in page.elements()]
    if not found:
        raise page.fault(len(content), "the array has no task in it; write one object for each task")
    return found


class _Page:
    """A file's text, and where one is in it."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name = name
        self._content = content
        try:
            content.decode()
            self._root = msgspec.json.decode(content, type=Raw)
            msgspec.json.decode(content)
        except msgspec.MsgspecError as error:
            said = _BYTE.search(str(error))
            at = int(said["at"]) if said else len(content.rstrip())
            raise self.fault(at, _BYTE.sub("", str(error))) from error
        except UnicodeDecodeError as error:
            raise self.fault(error.start, "this is not UTF-8") from error

    def alone(self) -> tuple[Raw, int]:
        return self._root, len(self._content) - len(self._content.lstrip())

    def elements(self) -> Iterator[tuple[Raw, int]]:
        """The elements of an array, each with its place. They are the file's own bytes, one behind the other."""
        end = 0
        for raw in msgspec.json.decode(self._content, type=list[Raw]):
            at = self._content.index(bytes(raw), end)
            end = at + len(bytes(raw))
            yield raw, at

    def fault(self, at: int, message: str) -> Invalid:
        line = self._content.count(b"\n", 0, at) + 1
        return Invalid(f"{self._name}:{line}: {message}", field="FILE")


def _posting(page: _Page, raw: Raw, at: int, now: datetime) -> Posting:
    """One object: a task, which is wrapped into an event, or an event already, which goes as it is."""
    fields = _fields(page, raw, at, "a task")
    task = _named(fields, "task")
    if task is None:
        return _wrapped(page, fields, at, now)
    inner = _fields(page, task, at, "the Task of an event")
    _check(page, inner, at)
    return Posting(_text(inner, "id"), _text(inner, "name"), bytes(raw))


def _wrapped(page: _Page, fields: dict[str, Raw], at: int, now: datetime) -> Posting:
    _check(page, fields, at)
    if not _text(fields, "image"):
        raise page.fault(at, f"{_called(fields)} has no Image")
    id = _text(fields, "id")
    if id in ("", _NIL):
        id = str(uuid4())
        fields = {key: value for key, value in fields.items() if key.lower() != "id"}
        fields["ID"] = Raw(msgspec.json.encode(id))
    if _named(fields, "state") is None:
        fields["State"] = Raw(msgspec.json.encode(_SCHEDULED))
    if any(bytes(_named(fields, name) or b"").startswith(b"[") for name in _PORTS):
        # An event's ports are an object and nothing else; as a list they are understood in a file that is sent whole.
        return Posting(id, _text(fields, "name"), msgspec.json.encode([fields]))
    event = {"ID": str(uuid4()), "State": _SCHEDULED, "Timestamp": now, "Task": fields}
    return Posting(id, _text(fields, "name"), msgspec.json.encode(event))


def _fields(page: _Page, raw: Raw, at: int, what: str) -> dict[str, Raw]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Raw])
    except msgspec.ValidationError as error:
        raise page.fault(at, f'{what} is an object such as {{"Name": …, "Image": …}}') from error


def _check(page: _Page, fields: dict[str, Raw], at: int) -> None:
    for key, value in fields.items():
        shape = _SHAPES.get(key.lower())
        if shape is None:
            continue
        try:
            msgspec.json.decode(value, type=shape[0])
        except msgspec.ValidationError as error:
            raise page.fault(at, f"{key} of {_called(fields)} is not {shape[1]}") from error


def _named(fields: dict[str, Raw], name: str) -> Raw | None:
    return next((value for key, value in fields.items() if key.lower() == name), None)


def _text(fields: dict[str, Raw], name: str) -> str:
    """A field that `_check` has found to be a text; empty if it is not there."""
    value = _named(fields, name)
    return "" if value is None else msgspec.json.decode(value, type=str | None) or ""


def _called(fields: dict[str, Raw]) -> str:
    """How a task is spoken of: by its name if it has one."""
    value = _named(fields, "name")
    try:
        name = "" if value is None else msgspec.json.decode(value, type=str | None)
    except msgspec.ValidationError:
        name = ""
    return f"task {name}" if name else "a task"
