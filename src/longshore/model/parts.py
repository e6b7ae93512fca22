"""An assignment in messages of bounded size: cut at one end of a session, put together at the other.

Each task carries its spec, so a whole assignment may be larger than a connection takes in one message, and what is on
its way holds up the heartbeats' answers behind it. A part means nothing before the assignment that ends it has come.
"""

import msgspec
from msgspec.structs import replace

from longshore.model.containers import Assigned
from longshore.model.messages import Assignment, AssignmentPart

PART_BYTES_MAX = 1024 * 1024
"""Of the tasks in one message; one that is larger by itself goes alone."""

_encoder = msgspec.json.Encoder()


def cut(assignment: Assignment) -> list[AssignmentPart | Assignment]:
    """The messages that carry it, in their order."""
    parts: list[AssignmentPart | Assignment] = []
    put: list[Assigned] = []
    size = 0
    for one in assignment.put:
        length = len(_encoder.encode(one))
        if put and size + length > PART_BYTES_MAX:
            parts.append(AssignmentPart(put=tuple(put)))
            put, size = [], 0
        put.append(one)
        size += length
    return [*parts, replace(assignment, put=tuple(put)) if parts else assignment]


class Gathering:
    """What one session has brought of an assignment that is not whole yet."""

    def __init__(self) -> None:
        self._put: list[Assigned] = []

    def take(self, message: AssignmentPart | Assignment) -> Assignment | None:
        """The assignment, once all of it has come."""
        self._put += message.put
        if isinstance(message, AssignmentPart):
            return None
        put, self._put = tuple(self._put), []
        return replace(message, put=put)
