"""The programs around older orchestrators, for tests: what their clients send, the files that they send, and a manager
with workers to send it to.

Knows the bytes of a request as curl and a Go program write them, on http.client and on purpose not through
`longshore.client`. Must not know what an ancestor's fields mean: a test says what it sends and what it expects.
"""

import http.client
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import pytest

from longshore.model.errors import Unavailable
from tests.clusters import Manager, Server, eventually, free_port
from tests.dockerd import DEMO, Container, EngineApi, engine_url

FILES = Path(__file__).with_name("e2e") / "ancestors"
NO_TIME = "0001-01-01T00:00:00Z"
PENDING, SCHEDULED, RUNNING, COMPLETED, FAILED = range(5)
ANSWER_S = 20.0
HOST = "localhost"

CURL = {"User-Agent": "curl/8.5.0", "Accept": "*/*"}
CURL_FORM = {**CURL, "Content-Type": "application/x-www-form-urlencoded"}
"""What `curl -d` says of any body."""
GO = {"User-Agent": "Go-http-client/1.1"}
GO_JSON = {**GO, "Content-Type": "application/json"}

Json = dict[str, Any]


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        assert "json" in self.headers.get("Content-Type", ""), (self.status, self.headers, self.body)
        return json.loads(self.body)


class Caller:
    """Somebody who asks one `host:port`."""

    def __init__(self, port: int, host: str = HOST) -> None:
        self.address = f"{host}:{port}"

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """These headers and no others, but for the host and the length. Raises Unavailable."""
        try:
            with closing(http.client.HTTPConnection(self.address, timeout=ANSWER_S)) as connection:
                connection.putrequest(method, path, skip_accept_encoding=True)
                for name, value in headers.items():
                    connection.putheader(name, value)
                if body:
                    connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body or None)
                answer = connection.getresponse()
                return Answer(answer.status, dict(answer.headers), answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self.address}: {error!r}") from error

    def curl(self, method: str, path: str, body: bytes | str | object = b"") -> Answer:
        """`curl -X METHOD host:port/path -d BODY`, which sends a file without the ends of its lines."""
        sent = _bytes(body).replace(b"\r", b"").replace(b"\n", b"")
        return self.send(method, path, CURL_FORM if sent else CURL, sent)

    def go(self, method: str, path: str, body: bytes | str | object = b"") -> Answer:
        """`net/http`: no word of what it would accept."""
        sent = _bytes(body)
        return self.send(method, path, GO_JSON if sent else GO, sent)

    def get(self, path: str) -> Any:
        """What a GET shows, which has to succeed."""
        answer = self.curl("GET", path)
        assert answer.status == 200, answer
        return answer.json()


def _bytes(body: bytes | str | object) -> bytes:
    match body:
        case bytes():
            return body
        case str():
            return body.encode()
    return json.dumps(body).encode()


def _port_words(told: int, port: int) -> tuple[str, ...]:
    return () if told else ("-p", str(port))


class AncestorManager(Manager):
    """A manager without tokens, as the ancestors' are, that dials its workers."""

    def __init__(self, data_dir: Path, engine: EngineApi, *words: str, port: int = 0) -> None:
        """`port` is one that it is told of by variables; else it is told a free one by -p."""
        self.port = port or free_port()
        own = ("--no-auth", "--data", data_dir)
        super().__init__(data_dir, *words, *_port_words(port, self.port), *own, "--log-format", "json", engine=engine)
        self.api = Caller(self.port)


class AncestorWorker(Server):
    """A worker without tokens that waits to be dialled."""

    def __init__(self, node: str, data_dir: Path, engine: EngineApi, *words: str, port: int = 0) -> None:
        """`port` as of a manager."""
        self.node = node
        self.port = port or free_port()
        log = data_dir.with_name(f"{node}.log")
        own = ("-n", node, "--no-auth", "--engine", engine.url, "--data", data_dir, "--log-format", "json")
        super().__init__(f"worker {node}", log, *words, *_port_words(port, self.port), *own)
        self.api = Caller(self.port)

    @property
    def address(self) -> str:
        return self.api.address

    def start(self) -> None:
        """Start it and wait until its port answers."""
        self.spawn()
        eventually(lambda: self.api.curl("GET", "/health").status == 200, f"{self.name} answers")


class Yard:
    """A manager and workers as processes of their own, on one real engine."""

    def __init__(self, folder: Path, engine: EngineApi) -> None:
        self.folder = folder
        self.engine = engine
        self.workers: list[AncestorWorker] = []
        self._manager: AncestorManager | None = None
        self._mark = secrets.token_hex(3)
        self._images: list[str] = []

    @property
    def manager(self) -> AncestorManager:
        assert self._manager is not None, "not made yet"
        return self._manager

    @property
    def api(self) -> Caller:
        return self.manager.api

    def add_worker(self, name: str, *words: str, port: int = 0) -> AncestorWorker:
        """One that is not started yet. Its node's name has a mark, by which its containers are found in the end."""
        node = f"{name}-{self._mark}"
        worker = AncestorWorker(node, self.folder / node, self.engine, *words, port=port)
        self.workers.append(worker)
        return worker

    def start_manager(self, *words: str, port: int = 0) -> None:
        self._manager = AncestorManager(self.folder / "manager", self.engine, *words, port=port)
        self._manager.start()

    def name_image(self, image: str, command: Sequence[str], port: int) -> None:
        """Have the demo image under a name of theirs, with another command, until the yard is closed."""
        made = json.loads(self._ask("POST", "/containers/create", {}, {"Image": DEMO}))["Id"]
        repository, _, tag = image.partition(":")
        config = {"Cmd": list(command), "ExposedPorts": {f"{port}/tcp": {}}}
        self._ask("POST", "/commit", {"container": made, "repo": repository, "tag": tag or "latest"}, config)
        self._images.append(image)
        self.engine.remove(made)

    def _ask(self, method: str, path: str, query: dict[str, str], body: object) -> bytes:
        return self.engine.ask(method, path, query, json.dumps(body).encode(), "application/json")

    def containers(self, node: str) -> list[Container]:
        """All on one node, whoever wished for them."""
        filters = json.dumps({"label": [f"longshore.node={node}"]})
        listed = self.engine.ask("GET", "/containers/json", {"all": "1", "filters": filters})
        return msgspec.json.decode(listed, type=list[Container])

    def close(self) -> None:
        if self._manager is not None:
            self._manager.stop()
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            for container in self.containers(worker.node):
                self.engine.remove(container.id)
        for image in self._images:
            with suppress(OSError):  # somebody else's by now
                self.engine.ask("DELETE", f"/images/{image}", {"force": "1"})

    # -- what comes to be so

    def task(self, id: str, path: str = "/tasks") -> Json:
        shown: Json = self.api.get(f"{path}/{id}")
        return shown

    def comes_to(self, id: str, holds: Callable[[Json], bool], path: str = "/tasks", within_s: float = 30.0) -> Json:
        """The task, once that holds of it."""
        last: Json = {}

        def look() -> Json | None:
            last.clear()
            last.update(self.task(id, path))
            return last if holds(last) else None

        try:
            found = eventually(look, within_s=within_s)
        except AssertionError as late:
            raise AssertionError(f"{late}: last seen as {last}") from late
        assert found is not None
        return found

    def runs(self, id: str, path: str = "/tasks") -> Json:
        return self.comes_to(id, lambda task: task["State"] == RUNNING, path)

    def ends(self, id: str, path: str = "/tasks") -> Json:
        return self.comes_to(id, lambda task: task["State"] in (COMPLETED, FAILED), path)


def open_yard(factory: pytest.TempPathFactory, name: str) -> Yard:
    return Yard(factory.mktemp(name), EngineApi(engine_url()))


def event(state: int = RUNNING, **task: object) -> Json:
    """A task event as their clients make one: start, with ids of the client's. `task` are fields of the task."""
    fields = {"ID": str(uuid4()), "State": SCHEDULED, "Name": "one", "Image": DEMO, **task}
    return {"ID": str(uuid4()), "State": state, "Timestamp": datetime.now(UTC).isoformat(), "Task": fields}


def file(name: str) -> bytes:
    """A file as an ancestor ships it."""
    return (FILES / name).read_bytes()


def fetch(port: int | str, path: str = "/") -> Answer:
    """What a published port answers, once it does."""
    caller = Caller(int(port), "127.0.0.1")
    return eventually(lambda: caller.curl("GET", path), f"port {port} answers")
