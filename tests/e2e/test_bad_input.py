"""What a stranger, a careless user or a bad disk does to a running cluster: a clear sentence, the right exit code, and
nothing lost.

Real processes on simulated engines, so that it runs everywhere; a small disk needs root to mount one. What the API says
to malformed requests is tests/contracts' matter; here it is the doors and the ground that a whole program stands on.
"""

import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from longshore.client import Client
from longshore.model.errors import Denied, Unavailable
from longshore.model.objects import Role
from longshore.model.views import TokenWish
from tests.clusters import Fleet, ManagerProcess, Ran, eventually, longshore, sleeper

FAILED = 1
UNREACHABLE = 6
NOT_ALLOWED = 7
DISK_BYTES = 4 * 1024 * 1024
TEXT = "x" * 30_000


@pytest.fixture
def manager(fake_fleet: Fleet) -> ManagerProcess:
    """One that serves, without workers."""
    fake_fleet.start()
    return fake_fleet.manager


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, so small that it is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mount = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs")
    done = subprocess.run([*mount, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def refused(ran: Ran, code: int, *words: str) -> str:
    """What a command said that had to fail: one sentence, no traceback."""
    assert ran.returncode == code, (ran.args, ran.returncode, ran.stdout, ran.stderr)
    assert "Traceback" not in ran.stderr
    for word in words:
        assert word in ran.stderr, ran.stderr
    return ran.stderr


# -- tokens


def test_tokens_that_do_not_open_the_api(manager: ManagerProcess) -> None:
    admin = manager.client
    expired = admin.create_token(TokenWish(role=Role.ADMIN, uses=None, lifetime_s=0.2))
    revoked = admin.create_token(TokenWish(role=Role.ADMIN, uses=None))
    admin.remove_token(revoked.id)
    join = admin.create_token(TokenWish())
    assert None not in (expired.secret, revoked.secret, join.secret)

    def denied(secret: str | None) -> Denied | None:
        with Client(manager.url, secret) as client:
            try:
                client.cluster()
            except Denied as failure:
                return failure
        return None

    eventually(lambda: denied(expired.secret), "the token expires")
    for secret in (None, "lsa_wrong", expired.secret, revoked.secret):
        failure = denied(secret)
        assert failure is not None
        assert not failure.known
        assert "token" in failure.message
    known = denied(join.secret)
    assert known is not None
    assert known.known
    assert "a token of role join does not open this" in known.message
    admin.cluster()


def test_the_command_says_what_is_wrong_with_a_token(manager: ManagerProcess, tmp_path: Path) -> None:
    wrong, empty = tmp_path / "wrong", tmp_path / "empty"
    wrong.write_text("lsa_wrong\n")
    empty.write_text("\n")
    at = ("ps", "--url", manager.url)
    refused(longshore(*at, "--token-file", wrong), NOT_ALLOWED, "unknown, expired or revoked", "--token-file")
    refused(longshore(*at, "--token-file", empty), 2, "is empty")
    refused(longshore(*at, "--token-file", tmp_path / "none"), 2, "there is no token file")
    (manager.data_dir / "admin.token").unlink()
    refused(longshore(*at, "--data", manager.data_dir), NOT_ALLOWED, "needs a token")


@pytest.mark.parametrize("wrong", ["wrong", "expired", "revoked", "used up", "admin"])
def test_a_worker_with_a_bad_token_does_not_join(fake_fleet: Fleet, wrong: str) -> None:
    fake_fleet.start()
    client = fake_fleet.manager.client
    token = fake_fleet.folder / "bad.token"
    secret = "lsj_wrong"
    match wrong:
        case "expired":
            view = client.create_token(TokenWish(lifetime_s=0.05))
            secret = view.secret or ""
            eventually(lambda: time.time() > (view.expires_at or 0.0))
        case "revoked":
            view = client.create_token(TokenWish())
            client.remove_token(view.id)
            secret = view.secret or ""
        case "used up":
            secret = client.create_token(TokenWish()).secret or ""
            token.write_text(secret)
            fake_fleet.add_worker("first", token=token).spawn()
            fake_fleet.manager.nodes_ready("first")
        case "admin":
            secret = client.create_token(TokenWish(role=Role.ADMIN, uses=None)).secret or ""
    token.write_text(secret)
    worker = fake_fleet.add_worker("second", token=token)
    worker.spawn()
    assert worker.ended() == NOT_ALLOWED
    assert "token" in worker.said()
    assert "Traceback" not in worker.said()
    assert secret not in worker.said()
    assert "second" not in {node.name for node in client.nodes()}


# -- two where there may be one


def test_two_managers_of_one_folder(fake_fleet: Fleet) -> None:
    fake_fleet.start("w1")
    first = fake_fleet.manager
    record = (first.data_dir / "manager.json").read_text()
    second = longshore("manager", "-p", "0", "--data", first.data_dir)
    refused(second, FAILED, "longshore.db is in use by another manager", f"process {first.pid}")
    assert (first.data_dir / "manager.json").read_text() == record
    first.nodes_ready("w1")


def test_a_port_that_is_taken(manager: ManagerProcess, tmp_path: Path) -> None:
    other = longshore("manager", "-p", str(manager.port), "--data", tmp_path / "other")
    refused(other, FAILED, f"cannot listen on 127.0.0.1:{manager.port}", "address already in use", "-p")
    assert not (tmp_path / "other" / "manager.json").exists()
    worker = longshore("worker", "-n", "w", "--engine", "fake", "-p", str(manager.port), "--data", tmp_path / "w")
    refused(worker, FAILED, f"cannot listen on 127.0.0.1:{manager.port}", "-p")


def test_two_workers_of_one_name(fake_fleet: Fleet) -> None:
    """The second waits, and says so without filling the log; it takes over once the first is down."""
    fake_fleet.start("twin", timeout_s=2.0)
    manager = fake_fleet.manager
    manager.client.put_service("web", sleeper(replicas=2))
    before = {task.id: task.container_id for task in manager.settled("web")}
    second = fake_fleet.add_worker("twin", data="other")
    second.spawn()
    eventually(lambda: second.said().count("node twin exists and is ready") >= 3)
    waits = [float(found) for found in re.findall(r'"retry_s":([0-9.]+)', second.said())]
    assert waits == sorted(set(waits)), "each wait is longer than the one before"
    assert {task.id: task.container_id for task in manager.tasks("web")} == before
    fake_fleet.workers["twin"].kill()
    eventually(lambda: manager.said().count("worker connected") == 2)
    manager.nodes_ready("twin")
    manager.settled("web")


def test_two_workers_of_one_folder(fake_fleet: Fleet) -> None:
    fake_fleet.start("w1")
    first = fake_fleet.workers["w1"]
    refused(longshore(*first.words), FAILED, "is in use by another worker", "--data")
    first.kill()
    first.spawn()
    eventually(lambda: fake_fleet.manager.said().count("worker connected") == 2)


def test_two_workers_to_dial_of_one_name(fake_fleet: Fleet) -> None:
    """Whoever is dialled first has the name; the other is told, again and again, but ever more seldom."""
    fake_fleet.start_dialled({"twin": "twin", "other": "twin"})
    manager = fake_fleet.manager
    manager.client.put_service("web", sleeper(replicas=2))
    before = manager.settled("web")
    either = [*fake_fleet.workers.values()]
    eventually(lambda: sum(worker.said().count("is connected already") for worker in either) >= 2)
    assert manager.said().count("worker connected") == 1
    assert manager.tasks("web") == before


# -- the ground it stands on


def broken(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8192:16384] = bytes(range(256)) * 32
    path.write_bytes(content)


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
        database.commit()


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE recipes (name TEXT)")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (broken, ("is damaged", "Restore a backup")),
        (lambda path: path.write_bytes(b"not a database at all " * 500), ("is not a database", "Restore a backup")),
        (lambda path: path.write_bytes(b""), ("is empty", "Restore a backup")),
        (newer, ("was written by a newer Longshore", "run that version")),
        (foreign, ("is the database of another program",)),
    ],
    ids=["broken", "text", "empty", "newer", "foreign"],
)
def test_a_database_that_cannot_be_used(
    manager: ManagerProcess, tmp_path: Path, spoil: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    """It is said in a sentence, the file is left as it is, and a backup makes all well again."""
    manager.client.put_service("web", sleeper(replicas=2))
    manager.did("backup", tmp_path / "backup")
    assert manager.terminate() == 0
    database = manager.data_dir / "longshore.db"
    spoil(database)
    content = database.read_bytes()
    refused(longshore(*manager.words), FAILED, str(database), *words)
    assert database.read_bytes() == content
    manager.did("restore", tmp_path / "backup")
    manager.start()
    assert manager.client.service("web").spec.replicas == 2


def test_a_backup_that_is_none_is_not_restored(manager: ManagerProcess, tmp_path: Path) -> None:
    manager.client.put_service("web", sleeper())
    assert manager.terminate() == 0
    (tmp_path / "text").write_text("not a backup " * 100)
    refused(manager.run("restore", tmp_path / "text"), FAILED, "is not a database")
    refused(manager.run("restore", tmp_path / "none"), FAILED, "there is no")
    manager.start()
    assert manager.client.service("web").name == "web"


def fill(disk: Path, client: Client, first: int = 0) -> int:
    """Wish until the disk takes no more; how many wishes it took."""
    taken = 0
    for text in (TEXT, ""):  # what the large ones leave, the small ones take
        with suppress(Unavailable):
            while True:
                client.put_service(f"s{first + taken}", sleeper(replicas=0, env={"TEXT": text}))
                taken += 1
        with suppress(OSError), (disk / "filler").open("ab", buffering=0) as filler:
            while filler.write(bytes(512)):
                pass
    assert taken
    return taken


def empty(disk: Path) -> None:
    """Make some room again."""
    for ballast in [disk / "filler", *sorted(disk.glob("ballast*"))[:1]]:
        ballast.unlink()


def test_a_full_disk_takes_nothing_and_loses_nothing(disk: Path, fake_fleet: Fleet) -> None:
    """A whole cluster on a disk that is full: what was acknowledged stays, what was not is refused in words, what runs
    runs on, and wishes are taken again as soon as there is room."""
    try:
        for number in range(2):
            (disk / f"ballast{number}").write_bytes(bytes(DISK_BYTES // 4))
        fake_fleet.start("w1", data_dir=disk / "data")
        manager, client = fake_fleet.manager, fake_fleet.manager.client
        client.put_service("web", sleeper(replicas=2))
        running = {task.container_id for task in manager.settled("web")}
        taken, restarted = fill(disk, client), 1
        # A smaller commit than the ones that filled it may find a few bytes left, but not many do.
        while not (ran := manager.run("restart", "s0")).returncode:
            restarted = client.service("s0").release
        refused(ran, UNREACHABLE, "database or disk is full")
        assert (client.service("s0").release, client.service("web").release) == (restarted, 1)
        manager.nodes_ready("w1")
        empty(disk)
        client.scale("web", 3)
        assert {task.container_id for task in manager.settled("web")} > running

        taken += fill(disk, client, taken)
        running = {task.container_id for task in manager.tasks("web")}
        manager.kill()
        refused(longshore(*manager.words), FAILED, "No space left on device")
        empty(disk)
        manager.start()
        assert {view.name for view in manager.client.services()} == {"web", *(f"s{number}" for number in range(taken))}
        manager.nodes_ready("w1")
        assert {task.container_id for task in manager.settled("web")} == running
    finally:
        fake_fleet.close()  # before the disk goes


def test_a_log_that_takes_nothing_ends_nothing(fake_fleet: Fleet) -> None:
    fake_fleet.start("w1", log=Path("/dev/full"))
    manager, worker = fake_fleet.manager, fake_fleet.workers["w1"]
    worker.terminate()
    eventually(lambda: manager.client.node("w1").used is None)
    worker.log = Path("/dev/full")
    worker.spawn()
    eventually(lambda: manager.client.node("w1").used is not None)
    manager.client.put_service("web", sleeper(replicas=2))
    manager.settled("web")
    assert worker.terminate() == 0
    assert manager.terminate() == 0


def test_a_disk_that_may_not_be_written(disk: Path) -> None:
    manager = ManagerProcess(disk / "data")
    manager.log = disk.with_name("manager.log")
    try:
        manager.start()
        manager.client.put_service("web", sleeper())
        assert manager.terminate() == 0
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        refused(longshore(*manager.words), FAILED, "Read-only file system")
        nowhere = longshore("manager", "-p", "0", "--data", disk / "new")
        refused(nowhere, FAILED, "cannot make the data folder", "Read-only file system", "--data")
        worker = longshore("worker", "--engine", "fake", "-p", "0", "--data", disk / "worker")
        refused(worker, FAILED, "Read-only file system")
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        manager.start()
        assert manager.client.service("web").name == "web"
    finally:
        manager.stop()
