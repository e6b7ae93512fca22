"""What the SQLite store promises beyond every store: it is there again after a restart, or says why it is not."""

# ruff: noqa: ASYNC240  (a test may wait for the disk)

import asyncio
import os
import random
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from longshore.model.changes import COMMIT_CHANGES_MAX
from longshore.model.errors import Compacted, Refused, Unavailable
from longshore.model.lifecycle import State
from longshore.model.objects import Kind, Object
from longshore.store.database import Database
from longshore.store.journal import EVENTS_KEPT
from longshore.store.landing import GROUP_CHANGES
from longshore.store.sqlite import SqliteStore
from tests.clocks import StepClock
from tests.contracts.commits import drop, following, put, rename
from tests.situations import node, releases, service, task


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


async def open_store(path: Path, **bounds: int) -> SqliteStore:
    return await SqliteStore.open(path, StepClock(), **bounds)


async def filled(path: Path, nodes: int = 20) -> None:
    """A closed store with some nodes, whose log is longer than that."""
    store = await open_store(path)
    await asyncio.gather(*(store.commit([put(node(f"n{i}"))]) for i in range(nodes)))
    await asyncio.gather(*(rename(store, f"n{i}", "10.0.0.1") for i in range(nodes)))
    await store.close()


@contextmanager
def held_up(path: Path) -> Iterator[None]:
    """Nothing is written to the store meanwhile; it waits."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def refused(path: Path) -> str:
    with pytest.raises(Refused) as refusal:
        await open_store(path)
    assert str(path) in refusal.value.message
    return refusal.value.message


# -- durability


async def test_everything_is_there_again(path: Path) -> None:
    store = await open_store(path)
    web = service(env={"A": "ü\0"})
    records: list[Object] = [node("n1"), web, *releases(web), task(state=State.PLACED)]
    await store.commit([put(one) for one in records])
    await rename(store, "n1", "10.0.0.1")
    await store.commit([put(node("n2"))])
    await store.commit([drop(Kind.NODE, "n2", 3)])
    world = store.read()
    stories = [store.story(Kind.NODE, "n1"), store.story(Kind.NODE, "n2"), store.story(Kind.TASK, "web.1.1")]
    batches = [await following(store.watch(after)) for after in range(4)]
    await store.close()

    again = await open_store(path)
    assert again.read().revision == world.revision == 4
    assert list(again.read().objects()) == list(world.objects())
    assert dict(again.read().tasks_of_node("n1")) == dict(world.tasks_of_node("n1"))
    kinds = [(Kind.NODE, "n1"), (Kind.NODE, "n2"), (Kind.TASK, "web.1.1")]
    assert [again.story(kind, id) for kind, id in kinds] == stories
    assert [await following(again.watch(after)) for after in range(4)] == batches
    assert await rename(again, "n1", "10.0.0.2") == 5
    await again.close()


async def test_what_is_acknowledged_is_in_the_file(path: Path) -> None:
    store = await open_store(path)
    watch = store.watch(0)
    with sqlite3.connect(path) as other:
        for revision in range(1, 20):
            landing = asyncio.create_task(store.commit([put(node(f"n{revision}"))]))
            assert (await following(watch)).revision == revision
            assert other.execute("SELECT max(revision) FROM log").fetchone() == (revision,), "before readers hear of it"
            assert await landing == revision
            assert other.execute("SELECT revision FROM objects WHERE id = ?", (f"n{revision}",)).fetchone() == (
                revision,
            )
    other.close()
    await store.close()


def test_a_commit_is_on_the_disk_and_not_only_on_its_way(path: Path) -> None:
    """No test here can pull the plug. What survives that rests on these two settings."""
    database = Database.open(path, log_events=100)
    assert database._connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
    assert database._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


async def test_commits_that_wait_are_written_together(path: Path) -> None:
    store = await open_store(path)
    await asyncio.gather(*(store.commit([put(node(f"n{i}"))]) for i in range(1000)))
    # The first wakes the thread; those that come until it is back from the disk go together.
    assert store.transactions < 20
    assert store.read().revision == 1000
    before = store.transactions
    for i in range(5):
        await store.commit([put(node(f"m{i}"))])
    assert store.transactions == before + 5
    await store.close()


async def test_a_reader_follows_more_than_is_kept_for_it_though_all_came_at_once(path: Path) -> None:
    """One transaction of all that waits would be one step for whoever reads the log, and too long a one."""
    store = await open_store(path)
    count = EVENTS_KEPT // COMMIT_CHANGES_MAX + 30
    parts = [[put(node(f"n{part}-{i}")) for i in range(COMMIT_CHANGES_MAX)] for part in range(count)]
    written = asyncio.create_task(store.commit_in_turn(parts))
    reader = store.watch(0)
    assert [(await anext(reader)).revision for _ in parts] == list(range(1, count + 1))
    await written
    assert store.transactions > EVENTS_KEPT // (GROUP_CHANGES + COMMIT_CHANGES_MAX)
    nodes = dict(store.read().nodes)
    await store.close()
    again = await open_store(path)
    assert dict(again.read().nodes) == nodes
    await again.close()


async def test_refused_commits_cost_no_transaction(path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    await asyncio.gather(*(store.commit([put(node("n1"))]) for _ in range(10)), return_exceptions=True)
    assert store.transactions == 1
    await store.close()


async def test_a_record_that_changes_often_in_one_transaction_is_kept_at_its_newest(path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    calls = [
        store.commit([put(replace(node("n1"), address=f"10.0.0.{i}"), before=i + 1)]) for i in range(50)
    ]  # each decided on the one before it
    await asyncio.gather(*calls, store.commit([drop(Kind.NODE, "n1", 51)]), store.commit([put(node("n1"))]))
    await store.close()
    again = await open_store(path)
    assert again.read().nodes == {"n1": replace(node("n1"), revision=53)}
    assert len(again.story(Kind.NODE, "n1")) == 20
    await again.close()


async def test_compacting_lasts(path: Path) -> None:
    await filled(path)
    store = await open_store(path)
    await store.compact(30)
    await store.close()
    again = await open_store(path)
    assert again.read().revision == 40
    with pytest.raises(Compacted):
        await following(again.watch(28))
    assert (await following(again.watch(29))).revision == 30
    await again.compact(10_000)
    await again.close()
    empty = await open_store(path)
    assert empty.read().revision == 40
    assert await empty.commit([put(node("new"))]) == 41
    await empty.close()


async def test_the_log_does_not_grow_for_ever(path: Path) -> None:
    store = await open_store(path, log_events=100)
    await store.commit([put(node(f"n{i}")) for i in range(10)])
    for round in range(50):
        await asyncio.gather(*(rename(store, f"n{i}", f"10.0.0.{round}") for i in range(10)))
        with sqlite3.connect(path) as other:
            (events,) = other.execute("SELECT count(*) FROM log").fetchone()
        other.close()
        assert events <= 101
        assert events >= min(100, 10 + (round + 1) * 10)
    await store.close()
    again = await open_store(path, log_events=100)
    assert again.read().revision == 501
    assert (await following(again.watch(401))).revision == 402
    await again.close()


async def test_only_the_last_events_are_in_memory_after_a_start(path: Path) -> None:
    await filled(path)
    store = await open_store(path, events_kept=10)
    with pytest.raises(Compacted):
        await following(store.watch(29))
    assert (await following(store.watch(30))).revision == 31
    assert [event.revision for event in store.story(Kind.NODE, "n0")] == [1, 21], "older than that, but still told"
    await store.close()


async def test_the_newest_commit_is_in_memory_after_a_start_whatever_its_size(path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("first"))])
    await store.commit([put(node(f"n{i}")) for i in range(100)])
    await store.close()
    again = await open_store(path, events_kept=10)
    assert len((await following(again.watch(1))).events) == 100
    await again.close()


async def test_files_and_the_directory_made_for_them_are_private(path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm", "store.db.lock"), 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await store.close()
    assert {file.name for file in path.parent.iterdir()} == {"store.db", "store.db.lock"}


async def test_a_shell_that_writes_is_waited_for(path: Path) -> None:
    store = await open_store(path)
    with held_up(path):
        landing = asyncio.create_task(store.commit([put(node("n1"))]))
        await asyncio.sleep(0.05)  # not a hope: whether the thread is there already or not, the commit has to land
        assert not landing.done()
    assert await landing == 1
    await store.close()


async def test_a_cancellation_comes_through_once_its_commit_is_decided(path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    with held_up(path):
        calls = [
            asyncio.create_task(store.commit([put(node("n2"))])),
            asyncio.create_task(store.commit([put(node("n1"))])),
            asyncio.create_task(store.commit_in_turn([[put(node("n3"))], [put(node("n1"))], [put(node("n4"))]])),
        ]
        await asyncio.sleep(0)
        for _ in range(3):
            for call in calls:
                call.cancel()
            await asyncio.sleep(0.01)  # not a hope: until the disk is free none of them can be decided
        assert not any(call.done() for call in calls)
        assert set(store.read().nodes) == {"n1"}
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in outcomes] == [asyncio.CancelledError] * 3
    assert set(store.read().nodes) == {"n1", "n2", "n3"}
    await store.close()


async def test_a_store_that_closes_waits_for_what_was_cancelled_and_for_what_was_not(path: Path) -> None:
    store = await open_store(path)
    with held_up(path):
        calls = [asyncio.create_task(store.commit([put(node(f"n{i}"))])) for i in range(4)]
        await asyncio.sleep(0)
        calls[1].cancel()
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        calls[2].cancel()
        await asyncio.sleep(0.01)  # as above
        assert not any(call.done() for call in (closing, *calls))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await closing
    assert [one if isinstance(one, int) else type(one) for one in outcomes] == [
        1,
        asyncio.CancelledError,
        asyncio.CancelledError,
        4,
    ]
    assert await _names(path) == {"n0", "n1", "n2", "n3"}


def test_a_program_that_forgets_to_close_it_ends(path: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from longshore.store.database import Database
from longshore.store.sqlite import SqliteStore
from tests.clocks import StepClock
from tests.contracts.commits import put
from tests.situations import node

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), StepClock())
    await store.commit([put(node("n1"))])

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60)
    assert asyncio.run(_names(path)) == {"n1"}


async def _names(path: Path) -> set[str]:
    store = await open_store(path)
    names = set(store.read().nodes)
    await store.close()
    return names


# -- one manager at a time


async def test_a_second_manager_is_kept_out(path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    message = await refused(path)
    assert f"in use by another manager (process {os.getpid()})" in message
    link = path.parent.parent / "link"
    link.symlink_to(path.parent)
    with pytest.raises(Refused, match="in use"):
        await open_store(link / path.name)
    await store.commit([put(node("n2"))])
    await store.close()
    assert await _names(path) == {"n1", "n2"}


async def test_a_start_that_failed_leaves_no_lock(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database at all")
    await refused(path)
    path.unlink()
    assert await _names(path) == set()


async def test_a_start_that_was_cancelled_leaves_no_lock(path: Path) -> None:
    await filled(path)
    opening = asyncio.create_task(open_store(path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    async with asyncio.timeout(30):
        while True:  # until its thread has let go
            try:
                store = await open_store(path)
                break
            except Refused:
                await asyncio.sleep(0.01)
    await store.close()


# -- what is not ours, not whole or not for us


async def test_a_newer_store_is_refused(path: Path) -> None:
    await filled(path)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")
    other.close()
    assert "written by a newer Longshore (tables of version 2; this one knows 1)" in await refused(path)


async def test_a_reason_that_is_not_known_is_refused(path: Path) -> None:
    await filled(path)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE log SET reason = 'the moon was full' WHERE revision = 7")
    other.close()
    assert "the moon was full" in await refused(path)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DELETE FROM meta", "which version"),
        ("DELETE FROM log WHERE revision = 12", "gaps"),
        ("DELETE FROM log WHERE revision > 35", "record of revision 40, but its log ends at 35"),
        ("DELETE FROM log", "record of revision 40"),
        ("DROP TABLE objects", "no such table"),
        ("DROP TABLE meta", "no such table"),
        ("UPDATE objects SET body = '{' WHERE id = 'n3'", "damaged"),
        ("UPDATE objects SET body = replace(body, 'capacity', 'x\\')", "damaged"),
        ("UPDATE objects SET kind = 'ship' WHERE id = 'n3'", "'ship' is not a valid Kind"),
    ],
)
async def test_a_store_that_contradicts_itself_is_refused(path: Path, sql: str, words: str) -> None:
    await filled(path)
    with sqlite3.connect(path) as other:
        other.execute(sql)
    other.close()
    assert words in await refused(path)


async def test_an_empty_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert "is empty. Restore a backup, or move the file away" in await refused(path)


@pytest.mark.parametrize("content", [b"x", b"x" * 5000, b"SQLite format 3\0" + b"x" * 50], ids=["x", "long", "short"])
async def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert "not a database" in await refused(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_another_program_s_database_is_refused_and_left_alone(path: Path, mode: str) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute("CREATE TABLE objects (kind, id, revision, body)")
    other.close()
    before = path.read_bytes()
    assert "the database of another program" in await refused(path)
    assert path.read_bytes() == before


async def test_a_directory_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    await refused(path)


async def test_a_parent_that_is_a_file_is_refused(path: Path) -> None:
    path.parent.write_text("")
    with pytest.raises(Refused, match="cannot make the directory"):
        await open_store(path)


async def test_a_log_without_its_database_is_refused(path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    lost = path.parent / "copy.db"
    (path.parent / "copy.db-wal").write_bytes((path.parent / "store.db-wal").read_bytes())
    await store.close()
    message = await refused(lost)
    assert "is gone, but its newest changes are still in" in message


async def test_a_truncated_file_is_refused_wherever_it_ends(path: Path) -> None:
    await filled(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 1024):
        path.write_bytes(whole[:size])
        await refused(path)
    path.write_bytes(whole)
    assert len(await _names(path)) == 20


async def test_a_page_that_is_lost_is_noticed(path: Path) -> None:
    await filled(path)
    whole = path.read_bytes()
    for page in range(len(whole) // 4096):
        path.write_bytes(whole[: page * 4096] + bytes(4096) + whole[(page + 1) * 4096 :])
        await refused(path)


async def test_a_page_of_noise_is_refused_or_harmless(path: Path) -> None:
    """What is no checksum's business may pass: a digit turned inside a text. It must never crash or hang."""
    await filled(path)
    whole = bytearray(path.read_bytes())
    chance = random.Random(7)
    for _ in range(100):
        noisy = bytearray(whole)
        begins = chance.randrange(100, len(whole) - 64)
        noisy[begins : begins + 64] = chance.randbytes(64)
        path.write_bytes(noisy)
        try:
            store = await open_store(path)
        except Refused:
            continue
        assert len(store.read().nodes) == 20
        await store.close()


async def test_what_is_left_of_a_first_start_that_died_is_no_obstacle(path: Path) -> None:
    path.parent.mkdir()
    (path.parent / "store.db.new").write_text("half of it")
    (path.parent / "store.db-wal").touch()
    assert await _names(path) == set()
    assert not (path.parent / "store.db.new").exists()


async def test_a_file_that_was_taken_away_takes_no_commits(path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(Unavailable, match="removed or replaced"):
        await store.commit([put(node("n2"))])
    path.with_name("elsewhere.db").rename(path)
    assert await store.commit([put(node("n2"))]) == 2
    wal = path.with_name("store.db-wal")
    kept = wal.read_bytes()
    wal.unlink()
    with pytest.raises(Unavailable, match="-wal"):
        await store.commit([put(node("n3"))])
    wal.write_bytes(kept)
    with pytest.raises(Unavailable):
        await store.commit([put(node("n3"))])
    assert set(store.read().nodes) == {"n1", "n2"}
    await store.close()
