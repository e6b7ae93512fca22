"""Changes and commits in one line, for the stores' tests."""

import asyncio
from collections.abc import AsyncIterator

from msgspec.structs import replace

from longshore.model.changes import Batch, Change
from longshore.model.lifecycle import Owner
from longshore.model.objects import Kind, Node, Object, Release, Service, Task
from longshore.model.reasons import Reason
from longshore.ports import Store


def key_of(record: Object) -> tuple[Kind, str]:
    match record:
        case Node():
            return Kind.NODE, record.name
        case Service():
            return Kind.SERVICE, record.name
        case Release():
            return Kind.RELEASE, record.id
        case Task():
            return Kind.TASK, record.id
        case _:
            raise AssertionError(f"no test puts a {type(record).__name__}")


def put(record: Object, *, by: Owner = Owner.USER, before: int | None = None) -> Change:
    """The change that makes the record what is given; decided on the revision that it carries, unless told."""
    kind, id = key_of(record)
    return Change(
        kind=kind,
        id=id,
        before=record.revision if before is None else before,
        after=record,
        by=by,
        reason=Reason.UPDATED,
        message=f"put {id}",
    )


def drop(kind: Kind, id: str, before: int) -> Change:
    return Change(kind=kind, id=id, before=before, after=None, by=Owner.USER, reason=Reason.REMOVED)


async def rename(store: Store, name: str, address: str) -> int:
    """Commit another address for a node that is there."""
    return await store.commit([put(replace(store.read().nodes[name], address=address))])


async def following(watch: AsyncIterator[Batch]) -> Batch:
    """The next batch; a store that forgets to wake its readers fails the test instead of stopping it."""
    async with asyncio.timeout(30):
        return await anext(watch)
