"""Docker Swarm on the engines of some machines, asked to do what Longshore is measured at.

Speaks the Engine API, so that no command line is in a figure. Every machine is a manager where a leader is lost, and n1
alone otherwise. A task's clock stops when /tasks shows it, asked every 30 ms: Swarm has no stream of tasks.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from tests.dockerd import EngineApi
from tests.machines import Machine

from bench.programs import wait_for

NAME = "peer"
PORT = 2377
POLL_S = 0.03
LIMIT_S = 120.0
MONITOR_NS = 500_000_000

Json = dict[str, Any]


class Swarm:
    """A swarm, asked through one engine of it."""

    def __init__(self, machines: dict[str, Machine], asked: str) -> None:
        self._machines = machines
        self.engine: EngineApi = machines[asked].engine

    def _get(self, path: str, **query: str) -> Any:
        return msgspec.json.decode(self.engine.ask("GET", path, query))

    def _post(self, path: str, body: Json, **query: str) -> Any:
        return _post(self.engine, path, body, **query)

    def found(self, managers: int) -> None:
        first, *others = self._machines.values()
        _post(first.engine, "/swarm/init", {"ListenAddr": f"0.0.0.0:{PORT}", "AdvertiseAddr": first.address})
        tokens = msgspec.json.decode(first.engine.ask("GET", "/swarm"))["JoinTokens"]
        for number, machine in enumerate(others, 2):
            token = tokens["Manager" if number <= managers else "Worker"]
            join = {"ListenAddr": f"0.0.0.0:{PORT}", "AdvertiseAddr": machine.address, "JoinToken": token}
            _post(machine.engine, "/swarm/join", join | {"RemoteAddrs": [f"{first.address}:{PORT}"]})
        wait_for(lambda: len(self._ready()) == len(self._machines), LIMIT_S, "the swarm's nodes")

    def _ready(self) -> list[str]:
        return [one["ID"] for one in self._get("/nodes") if one["Status"]["State"] == "ready"]

    def create(self, image: str, replicas: int, parallelism: int = 1, order: str = "stop-first") -> None:
        spec = _spec(image, replicas, parallelism, order)
        self._post("/services/create", spec)
        self.runs(replicas, image)

    def update(self, image: str, replicas: int, parallelism: int, order: str) -> tuple[float, int]:
        """Seconds until as many as wished run another image, and the least that ran meanwhile."""
        service = self._get(f"/services/{NAME}")
        spec = _spec(image, replicas, parallelism, order)
        least = replicas
        began = time.perf_counter()
        self._post(f"/services/{NAME}/update", spec, version=str(service["Version"]["Index"]))

        def done() -> bool:
            nonlocal least
            running = self._running()
            least = min(least, len(running))
            return _of(running, image) >= replicas

        wait_for(done, LIMIT_S, "the swarm's update", poll_s=POLL_S)
        took_s = time.perf_counter() - began
        wait_for(lambda: self._get(f"/services/{NAME}")["UpdateStatus"]["State"] == "completed", LIMIT_S, "its end")
        return took_s, least

    def runs(self, replicas: int, image: str) -> None:
        wait_for(lambda: _of(self._running(), image) >= replicas, LIMIT_S, f"{replicas} tasks of the swarm")

    def lost_s(self, machine: Machine, replicas: int, lose: Callable[[], None], ask: EngineApi) -> float:
        """Seconds from a machine's loss until as many as wished run on others; another engine is asked for that."""
        id = msgspec.json.decode(machine.engine.ask("GET", "/info"))["Swarm"]["NodeID"]
        self.engine = ask
        began = time.perf_counter()
        lose()

        def elsewhere() -> bool:
            with suppress(OSError):  # there is no leader just now
                return len([one for one in self._running() if one["NodeID"] != id]) >= replicas
            return False

        wait_for(elsewhere, LIMIT_S, "the swarm's tasks elsewhere", poll_s=POLL_S)
        return time.perf_counter() - began

    def whole(self) -> None:
        """Wait until every node is there again."""
        wait_for(lambda: len(self._ready()) == len(self._machines), LIMIT_S, "the swarm's nodes")

    def _running(self) -> list[Json]:
        tasks: list[Json] = self._get("/tasks", filters=msgspec.json.encode({"service": [NAME]}).decode())
        return [one for one in tasks if one["Status"]["State"] == "running" and one["DesiredState"] == "running"]

    def remove(self) -> None:
        self.engine.ask("DELETE", f"/services/{NAME}")
        wait_for(lambda: not any(map(_holds_any, self._machines.values())), LIMIT_S, "the swarm's containers to go")

    def dissolve(self) -> None:
        for machine in reversed(self._machines.values()):
            with suppress(OSError):  # it was in none
                machine.engine.ask("POST", "/swarm/leave", {"force": "true"})


@contextmanager
def swarm_on(machines: dict[str, Machine], *, managers: int = 1) -> Iterator[Swarm]:
    """A new swarm of these machines, for as long as the block."""
    swarm = Swarm(machines, next(iter(machines)))
    try:
        swarm.found(managers)
        yield swarm
    finally:
        swarm.dissolve()


def _of(tasks: Sequence[Json], image: str) -> int:
    """How many run an image."""
    return len([one for one in tasks if one["Spec"]["ContainerSpec"]["Image"] == image])


def _holds_any(machine: Machine) -> bool:
    label = msgspec.json.encode({"label": [f"com.docker.swarm.service.name={NAME}"]}).decode()
    return machine.engine.ask("GET", "/containers/json", {"all": "1", "filters": label}).strip() != b"[]"


def _post(engine: EngineApi, path: str, body: Json, **query: str) -> Any:
    answer = engine.ask("POST", path, query, msgspec.json.encode(body), "application/json")
    return msgspec.json.decode(answer) if answer.strip() else None


def _spec(image: str, replicas: int, parallelism: int, order: str) -> Json:
    return {
        "Name": NAME,
        "TaskTemplate": {"ContainerSpec": {"Image": image, "StopGracePeriod": 10_000_000_000}},
        "Mode": {"Replicated": {"Replicas": replicas}},
        "UpdateConfig": {"Parallelism": parallelism, "Order": order, "Monitor": MONITOR_NS},
        "EndpointSpec": {"Mode": "dnsrr"},
    }
