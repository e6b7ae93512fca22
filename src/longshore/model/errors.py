"""The closed family of failures that are expected, each named by what to do next.

An adapter translates a foreign exception into one of these once, with the original as its cause; whatever is not in
this family is a bug and crashes its task group. Knows nothing of HTTP or exit codes: one table per edge maps the
family to those (`api.wire.STATUS_OF`, `cli.exits.EXIT_OF`), and a test holds both tables complete.
"""


class Failure(Exception):
    """An expected failure. Never raised itself: raise one of its children."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        """Path of the input that is to blame, such as `spec.ports[1].host`."""


class Invalid(Failure):
    """The asker must change what was asked."""


class NotFound(Failure):
    """There is no such thing."""


class Conflict(Failure):
    """The world moved since the asker looked: look again, then decide again."""


class Unavailable(Failure):
    """Not now: wait, then try the same again."""


class Refused(Failure):
    """It was tried and will not work: give up and keep the reason."""


class Denied(Failure):
    """The asker may not do this; `known` tells whether the asker was recognised at all."""

    def __init__(self, message: str, *, known: bool = False) -> None:
        super().__init__(message)
        self.known = known


class Compacted(Conflict):
    """The log before this revision is gone: read the whole state again, then watch from there."""


class PortTaken(Refused):
    """Another program on the machine has the host port."""


class Illegal(AssertionError):
    """A bug of ours: a change that the lifecycle or the one-writer rule forbids. Not a Failure: a controller crashes
    with it, and a route answers 500."""
