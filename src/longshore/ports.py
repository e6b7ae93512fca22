"""What Longshore needs of the world: a store, an engine, a prober, a clock, a channel. Protocols only.

Each has one contract suite under tests/contracts, which every implementation passes: memory and SQLite, the fake and
the real engine. Implementations translate what goes wrong into `model.errors` and let nothing else out.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from longshore.model.changes import Batch, Change, Event, Guard
from longshore.model.containers import Container, ContainerOrder, LogLine, Ran, Target
from longshore.model.lease import Lease
from longshore.model.messages import Down, Up
from longshore.model.objects import Capacity, EngineFacts, Kind
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Pull


class Clock(Protocol):
    """Where time comes from. Delays are asyncio's own, so that a loop with virtual time moves both."""

    def now(self) -> float:
        """Seconds since the epoch; may jump."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point of the machine's present run; never goes back."""


class Store(Protocol):
    """The one place for state that must not be lost. One process writes; what is acknowledged is durable."""

    def read(self) -> Snapshot:
        """The newest durable snapshot; immutable."""

    async def commit(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        """Apply all changes or none and return the new revision, once that is durable.

        Raises Conflict if a record moved since it was decided on or a guard does not hold, Illegal (a bug) if the
        lifecycle forbids a change, Unavailable if the store cannot write now. Once a cancellation comes through, it has
        landed, which `read` shows, or never will: whoever decides next is not overtaken by it.
        """

    async def commit_in_turn(self, parts: Sequence[Sequence[Change]], guards: Sequence[Guard] = ()) -> int:
        """The same of several parts, at least one, each all or nothing and in this order: none lands after one that did
        not. Parts may share a transaction, so it costs less than one after the other. Returns the revision of the last;
        raises what the first that did not land was refused for: those before it hold. Of one that was cancelled, too,
        those that have landed hold, and no more will."""

    def watch(self, after: int) -> AsyncIterator[Batch]:
        """Every batch with a revision greater than `after`, in order and without gaps, then each as it lands.

        Raises Compacted if batches after `after` are no longer kept, also when the reader falls that far behind.
        """

    async def compact(self, before: int) -> None:
        """Forget the log of revisions less than `before`. Records are not touched."""

    def story(self, kind: Kind, id: str) -> Sequence[Event]:
        """The kept events of one record, oldest first: the log, read for one record."""

    async def backup(self, target: Path) -> None:
        """Write a consistent copy of everything to a new file, while commits go on. Raises Refused if it cannot."""

    async def close(self) -> None:
        """Finish what was accepted, then stop. Later calls raise Unavailable."""


class Engine(Protocol):
    """A container engine. Every call may raise Unavailable (it does not answer) and nothing else unless said."""

    async def describe(self) -> tuple[EngineFacts, Capacity]:
        """What it is and what it has."""

    async def ping(self) -> None:
        """Raise Unavailable unless it answers within its time limit."""

    async def containers(self, cluster: str, node: str) -> Sequence[Container]:
        """All containers that carry these labels, in any state. One of which the engine does not answer is among them,
        and its status unknown: an engine may wait for a single container for as long as that hangs."""

    async def container(self, id: str) -> Container | None:
        """One of them, None if there is no such container."""

    async def inspect(self, id: str) -> bytes | None:
        """All that the engine says of a container, as the JSON that it says it in, for a person to read; nothing here
        looks into it. None if there is no such container."""

    async def prepare(self, image: str, pull: Pull) -> None:
        """Have the image. Raises Refused with the engine's or registry's own words if it cannot be had."""

    async def create(self, order: ContainerOrder) -> Container:
        """Make a container and return it; if one of that name is there already with the same fingerprint, that one,
        which may have run. Raises Refused with the engine's own words."""

    async def start(self, id: str) -> None:
        """Start it; nothing happens if it runs. Raises PortTaken or Refused with the engine's own words, NotFound."""

    async def stop(self, id: str, grace_s: float) -> None:
        """Send its stop signal, wait for it to exit, kill it after `grace_s`. Nothing happens if it is gone or has
        stopped."""

    async def remove(self, id: str) -> None:
        """Kill it if it runs, then remove it with its anonymous volumes. Nothing happens if it is gone."""

    def events(self, cluster: str, node: str) -> AsyncIterator[str]:
        """Ids of containers with these labels to which something happened. First yields an empty string once it is
        listening, and again whenever something may have been missed: list them all then. Ends only by raising
        Unavailable."""

    async def exec(self, id: str, command: Sequence[str], timeout_s: float) -> Ran:
        """Run a program in a running container, as the container's user and without a terminal, and wait for its end
        for so long from its start. A program that cannot be started has an exit code of 126 or 127. Raises NotFound if
        the container is gone or does not run; Refused, without starting it, while too many that were run in it before
        have not ended."""

    def logs(self, id: str, *, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        """Its log lines, oldest first: the last `tail` (None is all) after `since`; with `follow`, until it is
        removed or exits. Raises NotFound."""

    async def usage(self, ids: Sequence[str]) -> tuple[float, int]:
        """(cpu seconds, bytes of memory) that these containers have used and use, from the host's own accounting.
        Containers that are gone count as zero."""

    async def close(self) -> None:
        """Give up connections. Containers are not touched."""


class LeaseGuard(Protocol):
    """Ends containers when their lease ends, whatever has become of the worker and of the engine by then."""

    def left(self) -> Lease | None:
        """The lease that an earlier life of this worker left, if the machine has run on since. Raises Refused."""

    def keep(self, lease: Lease) -> None:
        """The lease from now on; one without containers lets the guard go. Raises Unavailable: the older one holds."""

    async def stand(self) -> None:
        """See to it that there is one, and that it knows the lease. Raises Unavailable."""


class Prober(Protocol):
    """Asks a container what a probe wants to know."""

    async def probe(self, target: Target) -> None:
        """Return if it answers as it should; raise Unavailable with what was wrong if not, Refused if it could not be
        asked through no fault of its own. Waits as long as it is let: the time limit is the asker's, but for a command,
        whose time begins with its start, and ends in Unavailable."""

    async def close(self) -> None:
        """Give up connections."""


class WorkerChannel(Protocol):
    """A worker's end of a session."""

    async def send(self, message: Up) -> None:
        """Raises Unavailable once the session is over."""

    async def receive(self) -> Down:
        """The next message. Raises Unavailable once the session is over."""

    async def close(self) -> None: ...


class ManagerChannel(Protocol):
    """The manager's end of a session."""

    async def send(self, message: Down) -> None:
        """Raises Unavailable once the session is over, or if the worker reads too slowly to keep it."""

    async def receive(self) -> Up:
        """The next message. Raises Unavailable once the session is over."""

    async def close(self) -> None: ...
