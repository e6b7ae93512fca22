"""The durable store: one SQLite file, one thread that writes to it, and the state in memory for everyone else.

Commits queue up while the thread is at the disk; it then lands all that wait in one transaction, so that the price of
an fsync is shared by whoever came meanwhile. Only when the transaction is on the disk does the event loop hear of it:
first the snapshot, then the readers, then the callers. Knows threads and the event loop; leaves SQL to `database`.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple, TypeVarTuple, Unpack

from longshore.model.changes import Change, Event, Guard
from longshore.model.errors import Unavailable
from longshore.model.objects import Kind
from longshore.model.snapshot import Snapshot
from longshore.ports import Clock
from longshore.store.copies import back_up, restore
from longshore.store.database import Database
from longshore.store.journal import EVENTS_KEPT, Journal, Watch
from longshore.store.landing import GROUP_CHANGES, Failed, Landed, Pending, Turn, decided, in_turn, land, settle

__all__ = ["LOG_EVENTS_MAX", "SqliteStore", "restore"]

LOG_EVENTS_MAX = 100_000
"""Events kept in the file; older ones are deleted as new ones come."""

Ts = TypeVarTuple("Ts")


class _Compaction(NamedTuple):
    before: int
    done: asyncio.Future[None]


_Job = Pending | _Compaction | None
"""What the thread is asked to do; None is to stop."""

_Opened = tuple[Snapshot, Journal]


class SqliteStore:
    """The port `Store` on one file. Made by `open`, and bound to the event loop that it was opened in."""

    def __init__(self, path: Path, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path.absolute()
        self._clock = clock
        self._loop = loop
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._stopped: asyncio.Future[None] = loop.create_future()
        self._closing = False
        self._world = Snapshot()
        self._journal = Journal()
        self.transactions = 0
        """Written since it was opened."""

    @classmethod
    async def open(
        cls, path: Path, clock: Clock, *, events_kept: int = EVENTS_KEPT, log_events: int = LOG_EVENTS_MAX
    ) -> "SqliteStore":
        """Open the store at `path`, or make an empty one if there is none.

        Raises Refused if the file cannot be used, is damaged, belongs to another program or a newer Longshore, or is
        open in another manager.
        """
        loop = asyncio.get_running_loop()
        store = cls(path, clock, loop)
        opened: asyncio.Future[_Opened] = loop.create_future()
        # A daemon: a program that ends without close() must end, and the file is made for that.
        threading.Thread(
            target=store._run, args=(opened, events_kept, log_events), name=f"store {path.name}", daemon=True
        ).start()
        try:
            store._world, store._journal = await asyncio.shield(opened)
        except asyncio.CancelledError:
            store._jobs.put(None)
            raise
        return store

    def read(self) -> Snapshot:
        self._check_open()
        return self._world

    async def commit(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        return await self.commit_in_turn((changes,), guards)

    async def commit_in_turn(self, parts: Sequence[Sequence[Change]], guards: Sequence[Guard] = ()) -> int:
        self._check_open()
        turn, now = Turn(), self._clock.now()
        asked = [Pending(tuple(part), tuple(guards), now, self._loop.create_future(), turn) for part in parts]
        for one in asked:
            self._jobs.put(one)
        await decided(asked)
        return await in_turn(asked)

    def watch(self, after: int) -> Watch:
        return self._journal.watch(after)

    async def compact(self, before: int) -> None:
        self._check_open()
        done: asyncio.Future[None] = self._loop.create_future()
        # Not past what is durable now: the log's end is what says at which revision the store stands.
        self._jobs.put(_Compaction(min(before, self._world.revision), done))
        await done

    def story(self, kind: Kind, id: str) -> Sequence[Event]:
        self._check_open()
        return self._journal.story(kind, id)

    async def backup(self, target: Path) -> None:
        self._check_open()
        await asyncio.to_thread(back_up, self._path, target)

    async def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._jobs.put(None)
        await asyncio.shield(self._stopped)

    def _check_open(self) -> None:
        if self._closing:
            raise Unavailable("the store is closed")

    # -- on the event loop, called from the thread

    def _settle(self, world: Snapshot, landed: Sequence[Landed], failed: Sequence[Failed]) -> None:
        if landed:
            self.transactions += 1
            self._world = world
            self._journal.append(one.batch for one in landed)
        settle(landed, failed)

    def _compacted(self, compaction: _Compaction, failure: Exception | None) -> None:
        if failure is None:
            self._journal.compact(compaction.before)
        if compaction.done.done():
            return
        if failure is None:
            compaction.done.set_result(None)
        else:
            compaction.done.set_exception(failure)

    def _end(self) -> None:
        self._closing = True  # also if the thread was ended by a bug
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None:
                job.done.set_exception(Unavailable("the store is closed"))
        self._journal.close()
        self._stopped.set_result(None)

    # -- in the thread

    def _run(self, opened: asyncio.Future[_Opened], events_kept: int, log_events: int) -> None:
        try:
            database = Database.open(self._path, log_events=log_events)
            try:
                world, journal = database.load(events_kept)
            except BaseException:
                database.close()
                raise
        except BaseException as failure:  # noqa: BLE001  (open() is waiting for it)
            self._post(_fail, opened, failure)
            return
        self._post(_succeed, opened, (world, journal))
        try:
            self._serve(database, world)
        finally:
            database.close()
            self._post(self._end)

    def _serve(self, database: Database, world: Snapshot) -> None:
        """Do what is asked for until told to stop; what waits is done together."""
        stopping = False
        while not stopping:
            jobs = self._group()
            waiting = [job for job in jobs if isinstance(job, Pending)]
            if waiting:
                world = self._write(database, world, waiting)
            for job in jobs:
                if isinstance(job, _Compaction):
                    self._compact(database, job)
            stopping = None in jobs

    def _group(self) -> list[_Job]:
        """What waits, at least one job and at most about as much as one transaction is to hold."""
        jobs = [job := self._jobs.get()]
        changes = 0
        while job is not None and changes < GROUP_CHANGES and not self._jobs.empty():  # nobody else takes from it
            changes += len(job.changes) if isinstance(job, Pending) else 0
            jobs.append(job := self._jobs.get_nowait())
        return jobs

    def _write(self, database: Database, world: Snapshot, waiting: Sequence[Pending]) -> Snapshot:
        """Land what waits. If the disk does not take it, the world stays as it was and all who waited hear why."""
        following, landed, failed = land(world, waiting)
        if landed:
            try:
                database.write(landed)
            except Unavailable as error:
                for pending in waiting:
                    pending.fails()
                # One failure each: an exception that is raised in many tasks collects all their tracebacks.
                failed = [Failed(pending, _again(error)) for pending in waiting]
                self._post(self._settle, world, [], failed)
                return world
            except Exception as bug:  # noqa: BLE001  (callers crash on it; they must not wait for ever)
                for pending in waiting:
                    pending.fails()
                self._post(self._settle, world, [], [Failed(pending, bug) for pending in waiting])
                return world
        self._post(self._settle, following, landed, failed)
        return following

    def _compact(self, database: Database, compaction: _Compaction) -> None:
        failure: Exception | None = None
        try:
            database.compact(compaction.before)
        except Exception as error:  # noqa: BLE001  (handed to the caller, whatever it is)
            failure = error
        self._post(self._compacted, compaction, failure)

    def _post(self, call: Callable[[Unpack[Ts]], object], *values: *Ts) -> None:
        with suppress(RuntimeError):  # the loop was closed without close(): nobody is there to be told
            self._loop.call_soon_threadsafe(call, *values)


def _succeed(opened: asyncio.Future[_Opened], contents: _Opened) -> None:
    if not opened.done():
        opened.set_result(contents)


def _fail(opened: asyncio.Future[_Opened], failure: BaseException) -> None:
    if not opened.done():
        opened.set_exception(failure)


def _again(error: Unavailable) -> Unavailable:
    again = Unavailable(error.message)
    again.__cause__ = error.__cause__
    return again
