"""What happened in a world, line by line: what the user did, what was done to it, and what the cluster made of that.

A story is told from the store's events and from what the simulator itself does, never from logs, so the same seed
tells the same one. Knows how to say a thing, not whether it is right.
"""

from enum import StrEnum

import msgspec

from longshore.model.changes import Event
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Kind, Node, Task
from longshore.model.reasons import Reason

MESSAGE_MAX = 100


class Voice(StrEnum):
    """Whose doing a line tells of."""

    USER = "user"
    FAULT = "fault"
    CLUSTER = "cluster"
    BROKEN = "broken"


class Told(msgspec.Struct, frozen=True):
    """One line of a story."""

    at: float
    """Seconds of virtual time."""
    voice: Voice
    text: str


_SILENT = frozenset({State.ACCEPTED, State.PREPARING, State.STARTING})
"""On the way to a state that is told."""


def of_event(event: Event, before: object) -> str | None:
    """What an event is to a reader of the story; None if it is no news. `before` is the record as it was."""
    after = event.after
    if isinstance(after, Node):
        status = before.status if isinstance(before, Node) else None
        if after.status is status:
            return None
        return _because(f"node {event.id} is {after.status}", event.reason, after.message)
    if event.kind is not Kind.TASK:
        return None
    if isinstance(after, Task):
        return _of_task(after, before if isinstance(before, Task) else None, event)
    if isinstance(before, Task) and before.state is State.NEW:
        return _because(f"task {event.id} is dropped before it was placed", event.reason, event.message)
    return None


def _of_task(task: Task, before: Task | None, event: Event) -> str | None:
    if before is None:
        return _because(f"task {task.id} is made", event.reason, event.message)
    if task.wanted is not before.wanted:
        verb = "to stop" if task.wanted is Wanted.STOPPED else "to be removed"
        return _because(f"task {task.id} is {verb}", event.reason, event.message) if task.live else None
    if task.state is State.NEW:
        return _because(f"task {task.id} waits", event.reason, event.message)
    if task.state is State.PLACED and before.state is State.NEW:
        return f"task {task.id} is placed on {task.node}: {event.message}"
    if task.state in _SILENT:
        return None
    if task.state is not before.state:
        if task.live and task.ready:
            return f"task {task.id} is running and ready"
        return _because(f"task {task.id} is {task.state}", event.reason, event.message)
    if task.live and task.counts and task.moves_to != before.moves_to:
        return _because(f"task {task.id} " + ("is to move" if task.moves_to else "stays"), event.reason, event.message)
    if task.live and task.ready is not before.ready:
        return _because(f"task {task.id} is {'ready' if task.ready else 'not ready'}", event.reason, event.message)
    return None


def _because(what: str, reason: Reason, message: str) -> str:
    """The particulars where there are any; else the reason."""
    why = message or str(reason)
    return f"{what}: {why if len(why) <= MESSAGE_MAX else why[: MESSAGE_MAX - 1] + '…'}"
