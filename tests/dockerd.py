"""The real engine seen from outside: what happens there behind a cluster's back, and one that may be killed.

Speaks the Engine API over http.client, on purpose not through `longshore.engine`: what tests the product must not share
its mistakes. Knows the labels that make containers ours, and how `scripts/engine` starts a dockerd.
"""

import http.client
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import pytest

CLUSTER = "longshore.cluster"
TASK = "longshore.task"
ORDER = "longshore.spec"
DEMO = "longshore/demo:1"
DEMO_2 = "longshore/demo:2"
ANSWER_S = 60.0
ROOT = Path(__file__).resolve().parent.parent


class Container(msgspec.Struct, frozen=True):
    """As the engine lists it."""

    id: str = msgspec.field(name="Id")
    state: str = msgspec.field(name="State")
    labels: dict[str, str] = msgspec.field(name="Labels")

    @property
    def task(self) -> str:
        return self.labels[TASK]

    @property
    def running(self) -> bool:
        return self.state == "running"


class _Actor(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="ID")
    labels: dict[str, str] = msgspec.field(name="Attributes")


class Happened(msgspec.Struct, frozen=True):
    """A line of the engine's events."""

    action: str = msgspec.field(name="Action")
    actor: _Actor = msgspec.field(name="Actor")


class _Connection(http.client.HTTPConnection):
    """HTTP to `unix:///path` or `tcp://host:port`."""

    def __init__(self, url: str, timeout_s: float | None) -> None:
        parts = urlsplit(url)
        super().__init__(parts.hostname or "localhost", parts.port or 2375, timeout=timeout_s)
        self._path = parts.path if parts.scheme == "unix" else ""

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EngineApi:
    """One engine, asked and changed by somebody who is no cluster."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        content_type: str = "application/x-tar",
    ) -> bytes:
        """Raises OSError if it does not answer, or not well."""
        with closing(_Connection(self.url, ANSWER_S)) as connection:
            headers = {"Content-Type": content_type} if body else {}
            connection.request(method, f"{path}?{urlencode(query or {})}", body, headers)
            response = connection.getresponse()
            content = response.read()
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            raise OSError(f"{method} {path}: {response.status} {content[:300]!r}")
        return content

    def containers(self, cluster: str, **labels: str) -> list[Container]:
        """All of a cluster, the ended ones too; `labels` such as node="n1" narrow it."""
        wanted = [f"{CLUSTER}={cluster}", *(f"longshore.{key}={value}" for key, value in labels.items())]
        query = {"all": "1", "filters": msgspec.json.encode({"label": wanted}).decode()}
        return msgspec.json.decode(self.ask("GET", "/containers/json", query), type=list[Container])

    def running(self, cluster: str, **labels: str) -> list[Container]:
        return [one for one in self.containers(cluster, **labels) if one.running]

    def inspect(self, id: str) -> Any:
        return msgspec.json.decode(self.ask("GET", f"/containers/{id}/json"))

    def kill(self, id: str, with_signal: str = "KILL") -> None:
        self.ask("POST", f"/containers/{id}/kill", {"signal": with_signal})

    def remove(self, id: str) -> None:
        self.ask("DELETE", f"/containers/{id}", {"force": "1", "v": "1"})

    def volumes(self) -> set[str]:
        listed = msgspec.json.decode(self.ask("GET", "/volumes"))["Volumes"] or []
        return {volume["Name"] for volume in listed}

    def clean(self, cluster: str) -> None:
        """Remove every container of a cluster."""
        for container in self.containers(cluster):
            with suppress(OSError):  # somebody else was quicker
                self.remove(container.id)

    def remove_volume(self, name: str) -> None:
        with suppress(OSError):  # never made
            self.ask("DELETE", f"/volumes/{quote(name)}", {"force": "1"})


class Witness:
    """Hears all that happens to a cluster's containers, so that what was doubled for a moment only is seen too."""

    def __init__(self, engine: EngineApi, cluster: str) -> None:
        self.heard: list[Happened] = []
        self._connection = _Connection(engine.url, None)
        only = {"type": ["container"], "event": ["create", "start", "die"], "label": [f"{CLUSTER}={cluster}"]}
        # From a little before now: an engine answers just before it begins to listen.
        query = {"filters": msgspec.json.encode(only).decode(), "since": str(int(time.time()) - 1)}
        self._connection.request("GET", f"/events?{urlencode(query)}")
        self._socket = self._connection.sock
        self._thread = threading.Thread(target=self._listen, name="witness", daemon=True)

    def __enter__(self) -> "Witness":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _listen(self) -> None:
        with suppress(OSError, http.client.HTTPException), self._connection.getresponse() as events:
            while line := events.readline():
                if line.strip():
                    self.heard.append(msgspec.json.decode(line, type=Happened))

    def doubles(self) -> list[str]:
        """Orders that were carried out twice, and slots in which two containers ran at the same time."""
        found, made = [], dict[str, str]()
        running: dict[str, str] = {}
        for one in self.heard:
            task, order = one.actor.labels[TASK], one.actor.labels[ORDER]
            slot = task.rpartition(".")[0]
            if one.action == "create":
                if made.setdefault(order, one.actor.id) != one.actor.id:
                    found.append(f"{task} was created twice")
            elif one.action == "start":
                if slot in running:
                    found.append(f"{task} was started while {running[slot]} ran")
                running[slot] = task
            elif running.get(slot) == task:
                del running[slot]
        return found


def engine_url() -> str:
    """The engine that scripts/with-engine made sure of. Skips the test if there is none."""
    missing = os.environ.get("LONGSHORE_NO_ENGINE", "")
    url = os.environ.get("DOCKER_HOST", "")
    if missing or not url:
        pytest.skip(missing or "there is no DOCKER_HOST: run this through scripts/with-engine")
    return url


class PrivateEngine:
    """A dockerd of this test's own, which nobody else minds to see killed.

    Made by a copy of scripts/engine: its folders, sockets and networks go by the place where the script lies.
    """

    def __init__(self, folder: Path) -> None:
        scripts = folder / "scripts"
        scripts.mkdir(parents=True)
        self._script = shutil.copy2(ROOT / "scripts" / "engine", scripts / "engine")
        self._known = runpy.run_path(str(self._script))
        self.api = EngineApi(self._known["PRIVATE"])

    def start(self) -> None:
        """Start it, also after a kill. Not `up`, which is content with any engine of the machine."""
        line = "import runpy, sys; runpy.run_path(sys.argv[1])['start']()"
        done = subprocess.run([sys.executable, "-c", line, self._script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    @property
    def pid(self) -> int:
        """Of its dockerd."""
        pid: int | None = self._known["dockerd_pid"]()
        assert pid is not None, "the private engine does not run"
        return pid

    def kill(self) -> None:
        """As a crash would: nothing is told to containers or their keepers."""
        os.kill(self.pid, signal.SIGKILL)
        assert self._known["wait_until"](lambda: self._known["dockerd_pid"]() is None, 10.0)

    def copy_image(self, source: EngineApi, image: str) -> None:
        """Take an image over from another engine, as no registry is needed for that."""
        self.api.ask("POST", "/images/load", body=source.ask("GET", f"/images/{quote(image)}/get"))

    def down(self) -> None:
        """Away with it and all that it held."""
        done = subprocess.run([self._script, "down"], capture_output=True, text=True, env=_without_docker_host())
        assert done.returncode == 0, done.stderr


def _without_docker_host() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "DOCKER_HOST"}


@pytest.fixture
def private_engine(tmp_path: Path) -> Iterator[PrivateEngine]:
    """A dockerd with the demo image; skips where none may be started."""
    source = EngineApi(engine_url())
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("an engine to be killed needs root and a dockerd on this machine")
    engine = PrivateEngine(tmp_path / "engine")
    try:
        engine.start()
        engine.copy_image(source, DEMO)
        yield engine
    finally:
        engine.down()
