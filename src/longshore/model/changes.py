"""What may be asked of a store, and what its log says afterwards.

A Change names the version of the record that it was decided on, so a decision that lands late is refused instead of
overwriting what happened meanwhile. Knows records and owners; does not know how a store keeps them.
"""

import msgspec
from msgspec import structs

from longshore.model.lifecycle import WANTED_RANK, Owner, State, Wanted
from longshore.model.objects import Kind, Node, Object, Task
from longshore.model.reasons import Reason

COMMIT_CHANGES_MAX = 128
"""Changes in one atomic step: what the smallest store that is planned for (etcd) takes in one transaction."""


class Guard(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record that a decision relied on without writing it; its revision must still be this one (0: absent)."""

    kind: Kind
    id: str
    revision: int


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record's next version; `after` is None to delete it, `before` the revision it was decided on (0: none)."""

    kind: Kind
    id: str
    before: int
    after: Object | None
    by: Owner
    reason: Reason
    message: str = ""
    rests_on: Guard | None = None
    """The one other record for whose sake this was decided, if there is one: the node of a task."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of the story: a change that landed. Its place in the log is (revision, position)."""

    revision: int
    position: int
    at: float
    kind: Kind
    id: str
    after: Object | None
    """The version that was written; None if it was deleted."""
    by: Owner
    reason: Reason
    message: str = ""

    @property
    def mark(self) -> str:
        """Where a reader may resume: `revision.position`."""
        return f"{self.revision}.{self.position}"


class Batch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All events of one commit, in order."""

    revision: int
    events: tuple[Event, ...]


def on_node(name: str, node: Node | None) -> Guard:
    """What rests on the record of node `name` as it is in some world; None if it is not there. Heartbeats do not touch
    a node's record, so it moves only for what a decision about its tasks has to know."""
    return Guard(kind=Kind.NODE, id=name, revision=node.revision if node is not None else 0)


def changed(
    task: Task, after: Task | None, by: Owner, reason: Reason, message: str = "", rests_on: Guard | None = None
) -> Change:
    """The change that makes a task's record `after`."""
    return Change(
        kind=Kind.TASK,
        id=task.id,
        before=task.revision,
        after=after,
        by=by,
        reason=reason,
        message=message,
        rests_on=rests_on,
    )


def raise_wanted(
    task: Task, wanted: Wanted, reason: Reason, by: Owner, message: str = "", rests_on: Guard | None = None
) -> Change | None:
    """The change that raises what is wanted of `task`; None if that much is wanted already.

    A task that never got a node has nothing to stop: it is deleted.
    """
    if WANTED_RANK[task.wanted] >= WANTED_RANK[wanted]:
        return None
    after = None if task.state is State.NEW else structs.replace(task, wanted=wanted)
    return changed(task, after, by, reason, message, rests_on)


def deleted(kind: Kind, id: str, before: int, by: Owner, reason: Reason) -> Change:
    """The change that deletes a record."""
    return Change(kind=kind, id=id, before=before, after=None, by=by, reason=reason)
