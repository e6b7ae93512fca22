"""Durable commits a second: Longshore's store one by one and in a burst, beside a plain loop over sqlite3.

Both write the same rows into the same tables with WAL and `synchronous=FULL` on the same disk, in turn. The plain loop
is one transaction for each commit and does nothing else: it checks nothing, keeps no state, tells no watcher, and its
rows are ready beforehand. In a burst the store may do better than it, because who waits together shares an fsync.
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from bench.figure import Figure, compared
from bench.records import running_task, written
from bench.run import Run
from longshore.main.clock import MachineClock
from longshore.model.changes import Change
from longshore.model.objects import Kind, Task
from longshore.store.schema import TABLES
from longshore.store.sqlite import SqliteStore

FAMILY = "store"
ROUNDS = 5
ONE_BY_ONE = 300
BURST = 1000

_LOG = "INSERT INTO log VALUES (?, 0, ?, 'task', ?, ?, 'manager', 'created', '')"
_OBJECT = "INSERT INTO objects (kind, id, revision, body) VALUES ('task', ?, ?, ?)"


def measure(run: Run) -> list[Figure]:
    run.folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_measure(run.folder))


async def _measure(folder: Path) -> list[Figure]:
    store = await SqliteStore.open(folder / "store.db", MachineClock())
    plain = _plain(folder / "plain.db")
    try:
        single, burst = [], []
        await store.commit([_change(task) for task in _tasks("warm", 100)])
        for number in range(ROUNDS):
            tasks = _tasks(f"single{number}", ONE_BY_ONE)
            single.append((await _one_by_one(store, tasks), _looped(plain, tasks)))
            tasks = _tasks(f"burst{number}", BURST)
            burst.append((await _at_once(store, tasks), _looped(plain, tasks)))
    finally:
        plain.close()
        await store.close()
    against = "plain sqlite3 loop"
    return [
        compared(FAMILY, "durable commits, one by one", "commits/s", single, against),
        compared(FAMILY, f"durable commits, {BURST} at once", "commits/s", burst, against),
    ]


async def _one_by_one(store: SqliteStore, tasks: list[Task]) -> float:
    changes = [_change(task) for task in tasks]
    began = time.perf_counter()
    for change in changes:
        await store.commit([change])
    return len(changes) / (time.perf_counter() - began)


async def _at_once(store: SqliteStore, tasks: list[Task]) -> float:
    changes = [_change(task) for task in tasks]
    began = time.perf_counter()
    await asyncio.gather(*(store.commit([change]) for change in changes))
    return len(changes) / (time.perf_counter() - began)


def _looped(connection: sqlite3.Connection, tasks: Iterable[Task]) -> float:
    rows = [(task.id, msgspec.json.encode(task).decode(), time.time()) for task in tasks]
    (first,) = connection.execute("SELECT coalesce(max(revision), 0) + 1 FROM log").fetchone()
    began = time.perf_counter()
    for revision, (id, body, at) in enumerate(rows, first):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_LOG, (revision, at, id, body))
        connection.execute(_OBJECT, (id, revision, body))
        connection.execute("COMMIT")
    return len(rows) / (time.perf_counter() - began)


def _plain(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(f"BEGIN; {TABLES} COMMIT;")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _tasks(service: str, count: int) -> list[Task]:
    now = time.time()
    return [running_task(service, slot, now) for slot in range(1, count + 1)]


def _change(task: Task) -> Change:
    return written(Kind.TASK, task.id, task)
