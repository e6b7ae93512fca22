"""Lists in parts, whose order does not depend on when they are asked for.

A cursor is the key of the last item that was shown, wrapped so that nobody takes it apart: a list goes on behind that
key even if the item is gone by then. Knows keys; must not know what the items are.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Annotated, TypeVar

import msgspec

from longshore.model.errors import Invalid
from longshore.model.views import Page

T = TypeVar("T")

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="Items at most.")]
Cursor = Annotated[str, msgspec.Meta(description="`next` of the part before.")]
LIMIT = 100


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a list."""

    limit: Limit = LIMIT
    after: Cursor | None = None


def part(items: Iterable[T], key_of: Callable[[T], str], limit: int) -> Page[T]:
    """The first `limit` of `items`, which are in order and begin behind the cursor already."""
    taken = tuple(islice(items, limit + 1))
    items = taken[:limit]
    return Page(items=items, next=wrap(key_of(items[-1])) if len(taken) > limit else None)


def wrap(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def unwrap(cursor: str | None) -> str | None:
    """The key in a cursor; None stays None. Raises Invalid if this is no cursor of ours."""
    if cursor is None:
        return None
    try:
        key = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError as error:
        raise Invalid("this is not the `next` of a page", field="after") from error
    if wrap(key) != cursor:
        raise Invalid("this is not the `next` of a page", field="after")
    return key
