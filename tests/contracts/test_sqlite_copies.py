"""Backups of a SQLite store while it is in use, and the way back."""

# ruff: noqa: ASYNC240  (a test may wait for the disk)

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from longshore.model.errors import Compacted, Refused
from longshore.model.objects import Kind, Node
from longshore.store.copies import REVISIONS_SKIPPED
from longshore.store.sqlite import SqliteStore, restore
from tests.clocks import StepClock
from tests.contracts.commits import drop, following, put, rename
from tests.situations import node, service

AT = 1_700_000_000.0
ASIDE = ".before-restore-20231114T221320Z"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


async def open_store(path: Path) -> SqliteStore:
    return await SqliteStore.open(path, StepClock())


async def names(path: Path) -> set[str]:
    store = await open_store(path)
    found = set(store.read().nodes)
    await store.close()
    return found


async def backed_up(path: Path, target: Path, *nodes: str) -> None:
    """A closed store with these nodes, and its backup."""
    store = await open_store(path)
    for name in nodes:
        await store.commit([put(node(name))])
    await store.backup(target)
    await store.close()


async def test_a_backup_is_restored(path: Path, tmp_path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node("n1")), put(service())])
    await rename(store, "n1", "10.0.0.1")
    await store.backup(tmp_path / "copy")
    then = store.read()
    story = store.story(Kind.NODE, "n1")
    await store.commit([drop(Kind.NODE, "n1", 2)])
    await store.commit([put(node("n2"))])
    await store.close()

    aside = restore(tmp_path / "copy", path, AT)
    assert aside == path.with_name("store.db" + ASIDE)
    again = await open_store(path)
    assert list(again.read().objects()) == list(then.objects())
    assert again.story(Kind.NODE, "n1") == story
    await again.close()
    assert await names(aside) == {"n2"}


async def test_a_restored_store_is_not_taken_for_its_former_self(path: Path, tmp_path: Path) -> None:
    """Revisions that were handed out after the backup must not come again for other commits."""
    await backed_up(path, tmp_path / "copy", "n1", "n2")
    store = await open_store(path)
    for i in range(10):
        mark = await store.commit([put(node(f"lost{i}"))])
    await store.close()
    restore(tmp_path / "copy", path, AT)
    again = await open_store(path)
    assert again.read().revision == 2 + REVISIONS_SKIPPED
    for after in (0, 1, 2, mark):
        with pytest.raises(Compacted):
            await following(again.watch(after))
    watch = again.watch(again.read().revision)
    assert await rename(again, "n1", "10.0.0.1") == 3 + REVISIONS_SKIPPED
    assert (await following(watch)).revision == 3 + REVISIONS_SKIPPED
    await again.compact(10**9)
    await again.close()
    assert await names(path) == {"n1", "n2"}
    await backed_up(path, tmp_path / "second")
    restore(tmp_path / "second", path, AT + 1)
    twice = await open_store(path)
    assert twice.read().revision == 3 + 2 * REVISIONS_SKIPPED
    await twice.close()


async def test_a_backup_while_commits_go_on_is_one_revision_whole(path: Path, tmp_path: Path) -> None:
    store = await open_store(path)
    await store.commit([put(node(f"n{i}")) for i in range(10)])
    stop = asyncio.Event()

    async def move_all() -> None:
        """Every commit gives all nodes the same address."""
        count = 0
        while not stop.is_set():
            count += 1
            world = store.read()
            await store.commit([put(_moved(world.nodes[f"n{i}"], count)) for i in range(10)])

    async def noise(worker: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            await store.commit([put(node(f"noise{worker}.{count}"))])

    busy = [asyncio.create_task(move_all()), *(asyncio.create_task(noise(worker)) for worker in range(4))]
    revisions = []
    for i in range(5):
        least = store.read().revision
        await store.backup(tmp_path / f"copy{i}")
        revisions.append((least, store.read().revision))
    stop.set()
    await asyncio.gather(*busy)
    await store.close()
    assert any(most > least for least, most in revisions), "commits went on meanwhile"
    for i, (least, most) in enumerate(revisions):
        target = tmp_path / f"copy{i}"
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        with sqlite3.connect(target) as copy:
            (revision,) = copy.execute("SELECT max(revision) FROM log").fetchone()
            assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",), "one file, nothing beside it"
        copy.close()
        assert least <= revision <= most
        restore(target, tmp_path / f"restored{i}" / "store.db", AT)
        again = await open_store(tmp_path / f"restored{i}" / "store.db")
        assert len({again.read().nodes[f"n{i}"].address for i in range(10)}) == 1
        assert len(again.read().nodes) == 10 + revision - 1 - _moves(again)
        await again.close()
    assert {file.name for file in tmp_path.iterdir() if file.is_file()} == {f"copy{i}" for i in range(5)}


def _without(whole: bytes, page: int) -> bytes:
    return whole[: page * 4096] + bytes(4096) + whole[(page + 1) * 4096 :]


def _moved(one: Node, count: int) -> Node:
    return replace(one, address=f"10.0.0.{count}")


def _moves(store: SqliteStore) -> int:
    address = store.read().nodes["n0"].address
    return int(address.rsplit(".", 1)[1]) if address.startswith("10.") else 0


async def test_a_backup_replaces_nothing(path: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("precious")
    store = await open_store(path)
    with pytest.raises(Refused, match="there already"):
        await store.backup(tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "precious"
    with pytest.raises(Refused, match="No such file or directory"):
        await store.backup(tmp_path / "absent" / "copy")
    outcomes = await asyncio.gather(*(store.backup(tmp_path / "new") for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in outcomes].count(Refused) == 4
    assert {file.name for file in tmp_path.iterdir()} == {"copy", "new", "state"}
    await store.close()


async def test_a_store_in_use_is_not_restored_over(path: Path, tmp_path: Path) -> None:
    await backed_up(path, tmp_path / "copy", "n1")
    store = await open_store(path)
    await store.commit([put(node("n2"))])
    with pytest.raises(Refused, match="in use by another manager"):
        restore(tmp_path / "copy", path, AT)
    await store.commit([put(node("n3"))])
    await store.close()
    assert await names(path) == {"n1", "n2", "n3"}


async def test_restoring_where_nothing_was(path: Path, tmp_path: Path) -> None:
    await backed_up(path, tmp_path / "copy", "n1")
    target = tmp_path / "fresh" / "store.db"
    assert restore(tmp_path / "copy", target, AT) is None
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700
    assert await names(target) == {"n1"}
    assert {file.name for file in target.parent.iterdir()} == {"store.db", "store.db.lock"}


async def test_restoring_what_is_not_a_whole_backup_touches_nothing(path: Path, tmp_path: Path) -> None:
    await backed_up(path, tmp_path / "copy", "n1", "n2")
    whole = (tmp_path / "copy").read_bytes()
    bad = tmp_path / "bad"
    refusals = {
        b"": "empty",
        b"hello": "not a database",
        whole[:-4096]: "damaged",
        **{_without(whole, page): "damaged" for page in range(1, len(whole) // 4096)},
        whole.replace(b'"reason":', b'"reason"!'): "damaged",
        whole[:68] + bytes(4) + whole[72:]: "another program",
    }
    for content, words in refusals.items():
        bad.write_bytes(content)
        with pytest.raises(Refused, match=words):
            restore(bad, path, AT)
    with sqlite3.connect(tmp_path / "copy") as copy:
        copy.execute("UPDATE meta SET value = '9' WHERE key = 'schema'")
    copy.close()
    with pytest.raises(Refused, match="newer Longshore"):
        restore(tmp_path / "copy", path, AT)
    with pytest.raises(Refused, match="there is no"):
        restore(tmp_path / "absent", path, AT)
    with pytest.raises(Refused, match="the store itself"):
        restore(path, path, AT)
    assert {file.name for file in path.parent.iterdir()} == {"store.db", "store.db.lock"}
    assert await names(path) == {"n1", "n2"}


async def test_a_damaged_store_is_set_aside_with_its_log(path: Path, tmp_path: Path) -> None:
    await backed_up(path, tmp_path / "copy", "n1")
    store = await open_store(path)
    await store.commit([put(node("n2"))])
    wal = (path.parent / "store.db-wal").read_bytes()
    await store.close()
    path.write_text("damaged beyond repair")
    (path.parent / "store.db-wal").write_bytes(wal)
    (path.parent / "store.db-shm").write_bytes(bytes(32768))
    aside = restore(tmp_path / "copy", path, AT)
    assert aside is not None
    assert aside.read_text() == "damaged beyond repair"
    assert aside.with_name(aside.name + "-wal").read_bytes() == wal
    assert await names(path) == {"n1"}, "nothing of the old log got into it"
    with pytest.raises(Refused, match="there already"):
        restore(tmp_path / "copy", path, AT)


async def test_a_store_that_died_is_set_aside_with_its_newest_changes(path: Path, tmp_path: Path) -> None:
    """A killed manager leaves its last commits in the -wal; what is set aside has them too."""
    await backed_up(path, tmp_path / "copy", "n1")
    store = await open_store(path)
    await store.commit([put(node("n2"))])
    died = tmp_path / "died" / "store.db"
    died.parent.mkdir()
    with sqlite3.connect(path):  # as the files are at this moment
        died.write_bytes(path.read_bytes())
        died.with_name("store.db-wal").write_bytes(path.with_name("store.db-wal").read_bytes())
    await store.close()
    aside = restore(tmp_path / "copy", died, AT)
    assert aside is not None
    assert not aside.with_name(aside.name + "-wal").exists(), "they were folded into it first, so no moment was without"
    assert await names(died) == {"n1"}
    assert await names(aside) == {"n1", "n2"}


async def test_restoring_from_what_was_set_aside(path: Path, tmp_path: Path) -> None:
    await backed_up(path, tmp_path / "copy", "n1")
    store = await open_store(path)
    await store.commit([put(node("n2"))])
    await store.close()
    aside = restore(tmp_path / "copy", path, AT)
    assert aside is not None
    restore(aside, path, AT + 1)
    assert await names(path) == {"n1", "n2"}
