"""A disk that gives up under the SQLite store: what was acknowledged stays, what was not is refused in words, and the
store goes on when the disk does. Real disks: a small tmpfs, and the kernel's limit on the size of a file."""

# ruff: noqa: ASYNC221, ASYNC240  (a test may wait for the disk)

import asyncio
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from longshore.model.errors import Conflict, Refused, Unavailable
from longshore.model.objects import Kind
from longshore.store.sqlite import SqliteStore
from tests.clocks import StepClock
from tests.contracts.commits import drop, following, put
from tests.situations import node, service

TEXT = "x" * 10_000


def mounted(directory: Path, options: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory with two megabytes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted(directory, "size=2m")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    """Makes every write past `size` fail with EFBIG, in this whole process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def open_store(path: Path) -> SqliteStore:
    return await SqliteStore.open(path, StepClock())


async def fill(store: SqliteStore) -> int:
    """Commit until the disk takes no more; how many it took."""
    for i in range(1000):
        try:
            await store.commit([put(service(f"s{i}", env={"TEXT": TEXT}))])
        except Unavailable:
            return i
    raise AssertionError("the disk never was full")


async def test_a_full_disk_takes_nothing_and_loses_nothing(disk: Path) -> None:
    path = disk / "store.db"
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    store = await open_store(path)
    watch = store.watch(0)
    taken = await fill(store)
    full = store.read()
    assert (full.revision, len(full.services)) == (taken, taken)
    for _ in range(3):
        waiting = [store.commit([put(service(f"more{i}", env={"TEXT": TEXT * 10}))]) for i in range(10)]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in outcomes] == [Unavailable] * 10
        assert str(outcomes[0]) == f"cannot write to {path}: database or disk is full"
    assert store.read() is full

    ballast.unlink()
    assert await store.commit([put(service("again"))]) == taken + 1
    assert [(await following(watch)).revision for _ in range(taken + 1)] == [*range(1, taken + 2)]
    await store.close()
    reopened = await open_store(path)
    assert set(reopened.read().services) == {*(f"s{i}" for i in range(taken)), "again"}
    await reopened.close()


async def test_a_store_left_on_a_full_disk_opens_again(disk: Path) -> None:
    path = disk / "store.db"
    store = await open_store(path)
    taken = await fill(store)
    await store.close()
    again = await open_store(path)
    assert again.read().revision == taken
    await again.close()


async def test_a_disk_without_room_for_a_store_is_refused(disk: Path) -> None:
    (disk / "ballast").write_bytes(bytes(2 * 1024 * 1024 - 8192))
    with pytest.raises(Refused, match=r"cannot (make|use)"):
        await open_store(disk / "store.db")
    assert not (disk / "store.db").exists()
    (disk / "ballast").unlink()
    store = await open_store(disk / "store.db")
    await store.close()


async def test_a_backup_that_does_not_fit_is_refused_and_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    store = await open_store(tmp_path / "state" / "store.db")
    for i in range(300):
        await store.commit([put(service(f"s{i}", env={"TEXT": TEXT}))])
    with pytest.raises(Refused, match="full"):
        await store.backup(disk / "copy")
    assert list(disk.iterdir()) == []
    await store.close()


async def test_a_read_only_disk_is_refused(disk: Path) -> None:
    path = disk / "store.db"
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    await store.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(Refused, match="Read-only file system"):
        await open_store(path)
    with pytest.raises(Refused, match="Read-only file system"):
        await open_store(disk / "new" / "store.db")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    again = await open_store(path)
    assert set(again.read().nodes) == {"n1"}
    await again.close()


async def test_a_write_that_fails_is_refused_and_the_next_one_passes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await open_store(path)
    await store.commit([put(node("n1"))])
    with files_no_longer_than((tmp_path / "store.db-wal").stat().st_size):
        outcomes = await asyncio.gather(
            store.commit([put(node("n2"))]),
            store.commit([put(node("n1"))]),
            store.commit([drop(Kind.NODE, "n1", 1)]),
            store.compact(1),
            return_exceptions=True,
        )
        assert [type(one) for one in outcomes[:3]] == [Unavailable] * 3
    assert set(store.read().nodes) == {"n1"}
    assert await store.commit([put(node("n2"))]) == 2
    with pytest.raises(Conflict):
        await store.commit([put(node("n2"))])
    await store.close()
    again = await open_store(path)
    assert set(again.read().nodes) == {"n1", "n2"}
    await again.close()


async def test_a_disk_that_fails_now_and_then_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await open_store(path)
    wal = tmp_path / "store.db-wal"
    acknowledged: dict[str, int] = {}

    async def write(worker: int) -> None:
        for i in range(40):
            name = f"n{worker}-{i}"
            try:
                acknowledged[name] = await store.commit([put(node(name, note=TEXT))])
            except Unavailable:
                await asyncio.sleep(0)

    async def trouble() -> None:
        for i in range(30):
            with files_no_longer_than(wal.stat().st_size + 3000 * i):
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.001)

    await asyncio.gather(trouble(), *(write(worker) for worker in range(8)))
    await store.commit([put(node("last"))])
    world = store.read()
    assert {name: world.nodes[name].revision for name in acknowledged} == acknowledged
    assert world.revision == len(acknowledged) + 1
    assert len(acknowledged) < 8 * 40, "some failed"
    await store.close()
    again = await open_store(path)
    assert list(again.read().objects()) == list(world.objects())
    await again.close()
