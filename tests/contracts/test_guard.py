"""The guard as a program of its own, on a real engine: what it kills, what it removes, what it leaves alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from longshore.agent import guard
from longshore.main.guarding import FolderGuard
from longshore.model.lease import Lease
from tests.clusters import eventually
from tests.dockerd import DEMO, EngineApi, engine_url

LEASE_S = 0.6
SOON_S = 10.0


class Bench:
    """Containers of a test's own, and a guard in a folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.engine = EngineApi(url)
        self.guard = FolderGuard(folder, url)
        self.made: list[str] = []

    def container(self, *, user: str = "", start: bool = True) -> str:
        body = msgspec.json.encode({"Image": DEMO, "User": user})
        answer = self.engine.ask("POST", "/containers/create", body=body, content_type="application/json")
        id = str(msgspec.json.decode(answer)["Id"])
        self.made.append(id)
        if start:
            self.engine.ask("POST", f"/containers/{id}/start")
        return id

    def status(self, id: str) -> str:
        try:
            return str(self.engine.inspect(id)["State"]["Status"])
        except OSError:
            return "gone"

    def keep(self, *ids: str, lease_s: float = LEASE_S) -> None:
        lease = Lease(renewed_at=guard.now(), lease_s=lease_s)
        self.guard.keep(lease.covering(ids, (), guard.now()))

    def said(self) -> str:
        log = self.folder / guard.LOG
        return log.read_text() if log.exists() else ""

    def over(self) -> bool:
        """No guard stands."""
        return not self.pids()

    def pids(self) -> list[int]:
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    words = (path / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if guard.__file__.encode() in words and str(self.folder).encode() in words:
                    found.append(int(path.name))
        return found

    def close(self) -> None:
        for id in self.made:
            if self.status(id) != "gone":
                self.engine.remove(id)
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, engine_url())
    try:
        yield made
    finally:
        made.close()


async def test_it_kills_what_is_guarded_and_nothing_else(bench: Bench) -> None:
    ours, new, other = bench.container(), bench.container(start=False), bench.container()
    bench.keep(ours, new)
    await bench.guard.stand()
    eventually(lambda: bench.status(ours) == "exited", within_s=SOON_S)
    eventually(lambda: bench.status(new) == "gone", within_s=SOON_S)
    eventually(bench.over, within_s=SOON_S)
    assert bench.status(other) == "running"
    assert f"killed {ours}" in bench.said()
    assert f"removes {new}, which was never started" in bench.said()


async def test_it_kills_nothing_that_is_renewed_and_goes_when_there_is_nothing(bench: Bench) -> None:
    ours = bench.container()
    bench.keep(ours)
    await bench.guard.stand()
    (pid,) = eventually(lambda: [one for one in (bench.pids(),) if len(one) == 1], within_s=SOON_S)[0]
    end = guard.now() + 5 * LEASE_S

    def renewed() -> bool:
        bench.keep(ours)
        return guard.now() > end

    eventually(renewed, within_s=SOON_S)
    await bench.guard.stand()
    assert bench.pids() == [pid], "one is enough"
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGHUP)
    assert bench.guard.left() is not None
    bench.keep()
    eventually(bench.over, within_s=SOON_S)
    assert bench.status(ours) == "running"
    assert bench.said() == ""
    bench.keep(ours)
    await bench.guard.stand()
    eventually(lambda: bench.status(ours) == "exited", within_s=SOON_S)


async def test_a_lease_of_another_start_of_the_machine_is_none(bench: Bench) -> None:
    ours = bench.container()
    ends = {ours: guard.now() - 1.0}
    text = guard.written("another-boot", 1.0, 1.0, bench.engine.url, ends)
    (bench.folder / guard.LEASE).write_text(text)
    assert bench.guard.left() is None
    start(bench)
    eventually(bench.over, within_s=SOON_S)
    assert bench.status(ours) == "running"


async def test_what_is_no_containers_id_is_not_looked_for(bench: Bench) -> None:
    ours = bench.container()
    ends = dict.fromkeys(["/", "docker", ours[:12], "z" * 64], 0.0)
    (bench.folder / guard.LEASE).write_text(guard.written(guard.boot_id(), 1.0, 1.0, bench.engine.url, ends))
    start(bench)
    eventually(bench.over, within_s=SOON_S)
    assert bench.status(ours) == "running"


async def test_what_it_may_not_kill_the_engine_kills(bench: Bench) -> None:
    ours = bench.container(user="1000")
    bench.keep(ours)
    start(bench, "setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill")
    eventually(lambda: bench.status(ours) == "exited", within_s=SOON_S)
    eventually(bench.over, within_s=SOON_S)
    assert f"has the engine kill {ours}" in bench.said()


def start(bench: Bench, *by: str) -> None:
    """Without the worker's way."""
    words = [*by, sys.executable, "-I", "-S", guard.__file__, str(bench.folder)]
    assert subprocess.run(words, stdin=subprocess.DEVNULL, timeout=SOON_S).returncode == 0
