"""How a foreign door refuses: in the shape that its clients read, with the status that a failure has at every door."""

from collections.abc import Callable

from aiohttp import web

from longshore.api.compat import cube, gokube
from longshore.api.compat.reading import uuid_of
from longshore.api.wire import answer, status_of
from longshore.model.errors import Failure, Invalid, NotFound

Refuse = Callable[[Failure], web.Response]


def as_cube(failure: Failure) -> web.Response:
    status = status_of(failure)
    return answer(status, cube.Refusal(status, _words(failure)))


def as_gokube(failure: Failure) -> web.Response:
    status = status_of(failure)
    return answer(status, gokube.Refusal(status, _words(failure)))


def as_text(failure: Failure) -> web.Response:
    return web.Response(status=status_of(failure), text=f"{_words(failure)}\n")


def _words(failure: Failure) -> str:
    """What a refusal says to a client whose errors have no place for a field's name: that comes first, unless the
    sentence has it."""
    if not failure.field or failure.field in failure.message:
        return failure.message
    return f"{failure.field}: {failure.message}"


def no_task(id: str) -> Failure:
    """That nobody posted a task under `id`. What is no UUID either was never an id of theirs: the ancestors call that
    a bad request."""
    wanted = uuid_of(id)
    if wanted is None:
        return Invalid(f"{id[:60]!r} is neither a UUID nor the id of a task", field="id")
    return NotFound(f"there is no task {wanted}")
