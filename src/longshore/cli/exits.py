"""How a command ends: the exit code of every failure, and the same failure as a problem for programs.

The one table of this edge; `api.wire` has the other. Knows the family of failures and nothing of commands.
"""

from http import HTTPStatus

from longshore.model.errors import (
    Compacted,
    Conflict,
    Denied,
    Failure,
    Invalid,
    NotFound,
    PortTaken,
    Refused,
    Unavailable,
)
from longshore.model.views import Problem

CONVERGED = 0
FAILED = 1
"""It was tried and failed, or was rolled back."""
USAGE = 2
TIMED_OUT = 3
"""Not converged in time; the cluster goes on."""
NOT_FOUND = 4
CONFLICT = 5
UNREACHABLE = 6
NOT_ALLOWED = 7
INTERRUPTED = 130
"""As shells have it for Ctrl-C."""

EXIT_OF: dict[type[Failure], int] = {
    Refused: FAILED,
    PortTaken: FAILED,
    Invalid: USAGE,
    NotFound: NOT_FOUND,
    Conflict: CONFLICT,
    Compacted: CONFLICT,
    Unavailable: UNREACHABLE,
    Denied: NOT_ALLOWED,
}

_STATUS_OF: dict[int, HTTPStatus] = {
    FAILED: HTTPStatus.CONFLICT,
    USAGE: HTTPStatus.BAD_REQUEST,
    NOT_FOUND: HTTPStatus.NOT_FOUND,
    CONFLICT: HTTPStatus.CONFLICT,
    UNREACHABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    NOT_ALLOWED: HTTPStatus.FORBIDDEN,
}


def exit_of(failure: Failure) -> int:
    return next(EXIT_OF[kind] for kind in type(failure).__mro__ if kind in EXIT_OF)


def problem_of(failure: Failure) -> Problem:
    """The failure as the API would have told it, wherever it came from."""
    status = _STATUS_OF[exit_of(failure)]
    if isinstance(failure, Denied) and not failure.known:
        status = HTTPStatus.UNAUTHORIZED
    elif isinstance(failure, Compacted):
        status = HTTPStatus.GONE
    return Problem(title=status.phrase, status=status, detail=failure.message, field=failure.field)
