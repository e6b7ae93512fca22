"""What Longshore itself costs when nothing happens: memory and CPU of an idle manager and of an idle worker.

Processes of their own, as on separate machines, with a SQLite store and a few services running on the real engine; the
engine's own memory is not Longshore's. RSS is what `ps` shows and what the targets are of; PSS counts a page that is
shared by two processes half for each.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.figure import Figure, measured
from bench.follower import Follower, count
from bench.programs import Cluster, Program, cluster_of_processes
from bench.run import Run
from longshore.model.spec import ServiceSpec

FAMILY = "footprint"
SERVICES = 3
REPLICAS = 2
IDLE_S = 10.0
LIMIT_S = 30.0
TARGETS_MB = {"manager": 80.0, "n1": 60.0}
ROLES = {"manager": "manager", "n1": "worker"}


def measure(run: Run) -> list[Figure]:
    with cluster_of_processes(run.folder, run.engine, "n1") as cluster, _some_services(cluster):
        run.say(f"{SERVICES} services run; idling for {IDLE_S:.0f} s")
        before = {name: program.cpu_s for name, program in cluster.programs.items()}
        time.sleep(IDLE_S)
        figures: list[Figure] = []
        for name, program in cluster.programs.items():
            figures += _of(name, program, program.cpu_s - before[name])
        return figures


def _of(name: str, program: Program, cpu_s: float) -> list[Figure]:
    role, memory = ROLES[name], program.memory
    return [
        measured(FAMILY, f"{role}, idle, RSS", "MB", [memory.rss / 1e6], target=TARGETS_MB[name]),
        measured(FAMILY, f"{role}, idle, PSS", "MB", [memory.pss / 1e6]),
        measured(FAMILY, f"{role}, idle, CPU", "% of a core", [100 * cpu_s / IDLE_S], note=f"over {IDLE_S:.0f} s"),
    ]


@contextmanager
def _some_services(cluster: Cluster) -> Iterator[None]:
    with cluster.client() as client:
        for number in range(SERVICES):
            name = f"idle{number}"
            up = Follower(client, name, lambda tasks: count(tasks, "running") == REPLICAS)
            client.put_service(name, ServiceSpec(image="longshore/demo:1", replicas=REPLICAS))
            up.moment(LIMIT_S)
    yield
