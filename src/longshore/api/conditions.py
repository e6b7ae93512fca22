"""If-Match and If-None-Match: what a request demands of a record before it may change it; 412 if that is not so.

Knows the two headers and revisions. The operation checks the demand again in its commit; here it is only told apart
from other conflicts, because what the asker does next differs: look at the record again, or clear the obstacle.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec
from aiohttp import web

from longshore.model.errors import Compacted, Conflict, Invalid, NotFound
from longshore.model.objects import Record

REVISION = re.compile(r'"[0-9]{1,18}"|[0-9]{1,18}')
"""The quotes belong there, but shells eat them, and without them it means the same."""


class Condition(msgspec.Struct, frozen=True):
    """What a request demands of a record."""

    revision: int | None = None
    """From If-Match."""
    absent: bool = False
    """From `If-None-Match: *`."""

    def unmet(self, record: Record | None) -> bool:
        if self.absent and record is not None:
            return True
        return self.revision is not None and (record is None or record.revision != self.revision)


def demanded(headers: Mapping[str, str]) -> Condition:
    """Raises Invalid for the forms that this API has no use for."""
    revision, absent = None, False
    if (wanted := headers.get("If-Match")) is not None:
        if REVISION.fullmatch(wanted) is None:
            raise Invalid('If-Match takes one revision in double quotes, such as "42"', field="If-Match")
        revision = int(wanted.strip('"'))
    if (unwanted := headers.get("If-None-Match")) is not None:
        if unwanted.strip() != "*":
            raise Invalid("If-None-Match takes only *", field="If-None-Match")
        absent = True
    return Condition(revision, absent)


@contextmanager
def met(condition: Condition, record: Callable[[], Record | None]) -> Iterator[None]:
    """The block changes `record` only as the condition demands it; otherwise 412."""
    _check(condition, record())
    try:
        yield
    except (Conflict, NotFound) as failure:
        if not isinstance(failure, Compacted):
            _check(condition, record())
        raise


def _check(condition: Condition, record: Record | None) -> None:
    if condition.unmet(record):
        stands = "it does not exist" if record is None else f"it is of revision {record.revision}"
        raise web.HTTPPreconditionFailed(text=f"the record is not as demanded: {stands}")


def etag(revision: int) -> dict[str, str]:
    return {"ETag": f'"{revision}"'}
