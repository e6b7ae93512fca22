"""How much is kept of what is over: limits that whoever runs a manager may set.

Records alone: how many events the log keeps is the store's.
"""

import msgspec

TASKS_KEPT = 3
RELEASES_KEPT = 10
POSTINGS_KEPT = 1000


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What is more than this goes, the oldest first."""

    tasks: int = TASKS_KEPT
    """Ended tasks that each slot keeps, with their containers, so that their logs can still be read."""
    releases: int = RELEASES_KEPT
    """Releases of a service, so that one can go back."""
    postings: int = POSTINGS_KEPT
    """Posted tasks that are over, so that their clients can still ask."""
    jobs_s: float | None = None
    """For how long a job is kept once it is done; None is until somebody removes it."""
