"""`longshore why` names the cause of a failure above the story that it tells, for each failure that one can plant.

docs/why.md has them in words. Each row plants one on the real engine, and waits until what the command prints first
names the cause. Most need nothing but a spec.
"""

import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from msgspec.structs import replace

from longshore.model.lifecycle import State
from longshore.model.objects import ReleasePhase
from longshore.model.spec import (
    HealthCheck,
    HttpProbe,
    Limits,
    Mode,
    Mount,
    MountKind,
    PlacementRules,
    Port,
    Probe,
    Pull,
    Resources,
    RestartPolicy,
    TcpProbe,
    UpdateRules,
)
from tests.clusters import Cluster, Fleet, Manager, eventually, free_port, sleeper

MIB = 1024 * 1024
ONCE = RestartPolicy(attempts_max=0)
FIXED = free_port()


class _Registry(BaseHTTPRequestHandler):
    """A registry that has nothing (`/v2/none/…`), and shows what it has to nobody (`/v2/private/…`)."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status = 401 if "private" in self.path else 200 if self.path == "/v2/" else 404
        code = "UNAUTHORIZED" if status == 401 else "MANIFEST_UNKNOWN"
        body = b'{"errors":[{"code":"%s","message":"no"}]}' % code.encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the engine says what it was told."""


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


IMAGES = {
    "an image that nobody has": ("has no image.*longshore/none:1", sleeper(image="longshore/none:1", restart=ONCE)),
    "a registry that is away": (
        "has no image.*127.0.0.1:1/.*connection refused",
        sleeper(image="127.0.0.1:1/none:1", pull=Pull.MISSING, restart=ONCE),
    ),
    "a registry without it": (
        "has no image.*REGISTRY/none:1.*(unknown|not found)",
        sleeper(image="REGISTRY/none:1", pull=Pull.MISSING, restart=ONCE),
    ),
    "a registry that refuses": (
        "has no image.*REGISTRY/private:1.*(credentials|unauthorized)",
        sleeper(image="REGISTRY/private:1", pull=Pull.MISSING, restart=ONCE),
    ),
}
ROOM = {
    "a port of another task": (
        f"host port {FIXED}/tcp in use .n1, n2, n3",
        sleeper(replicas=2, ports=(Port(container=8080, host=FIXED),)),
    ),
    "no memory": ("not enough memory .n1, n2, n3", sleeper(resources=Resources(memory=1 << 49))),
    "no cpu": ("not enough cpu .n1, n2, n3", sleeper(resources=Resources(cpu=1000))),
    "no disk": ("not enough disk .n1, n2, n3", sleeper(resources=Resources(disk=1 << 49))),
    "a constraint": (
        "constraint node.labels.disk==ssd .n1, n2, n3",
        sleeper(placement=PlacementRules(constraints=("node.labels.disk==ssd",))),
    ),
    "no node for a global one": (
        "no node is eligible",
        sleeper(mode=Mode.GLOBAL, placement=PlacementRules(constraints=("node.labels.disk==ssd",))),
    ),
}
STARTS = {
    "no such command": ("refused to start.*nonsense.*(not found|no such file)", sleeper(command=("nonsense",))),
    "no such user": ("refused to start.*nobody-here", sleeper(user="nobody-here")),
    "no such path": (
        "refused to start.*/longshore/none",
        sleeper(mounts=(Mount(kind=MountKind.BIND, source="/longshore/none", target="/here"),)),
    ),
}
ENDS = {
    "out of memory": (
        f"ran out of memory.*limit of {16 * MIB} bytes",
        sleeper(command=("sh", "-c", "x=x; while :; do x=$x$x; done"), limits=Limits(memory=16 * MIB), restart=ONCE),
    ),
    "a crash loop": ("exited.*code 3.*crash loop.*the next follows at", sleeper(command=("sh", "-c", "exit 3"))),
    "restarts that are spent": (
        "code 1.*1 of 1 are spent",
        sleeper(command=("false",), restart=RestartPolicy(attempts_max=1)),
    ),
    "a program that just ends": (
        "is failed, 0 of 1.*finished.*not to be restarted",
        sleeper(command=("true",), restart=ONCE),
    ),
    "a job": ("exited.*code 4", sleeper(mode=Mode.JOB, command=("sh", "-c", "exit 4"), restart=ONCE)),
}
CHECKS = {
    "the engine's check": (
        "its check fails.*out of order",
        sleeper(health=HealthCheck(test=("CMD-SHELL", "echo out of order; exit 1"), interval_s=0.3, retries=1)),
    ),
    "readiness": (
        "its check fails.*GET /none: 404",
        sleeper(readiness=Probe(http=HttpProbe(port=8080, path="/none"), interval_s=0.2, timeout_s=0.2, retries=2)),
    ),
    "liveness": (
        "its check failed.*connect to .*:9: refused",
        sleeper(liveness=Probe(tcp=TcpProbe(port=9), interval_s=0.2, timeout_s=0.2, retries=2), restart=ONCE),
    ),
}
PLANTED = IMAGES | ROOM | STARTS | ENDS | CHECKS


def names_it(cluster: Manager, name: str, words: str) -> None:
    """What `longshore why` says of `name` comes to have these words, in this order, above the story."""

    def look() -> bool:
        said = cluster.did("why", name).partition("\nStory:")[0]
        assert re.search(words, said, re.IGNORECASE | re.DOTALL), said
        return True

    eventually(look)


@pytest.mark.parametrize("planted", PLANTED)
def test_the_cause_is_on_the_first_screen(real_cluster: Cluster, registry: str, planted: str) -> None:
    words, spec = PLANTED[planted]
    real_cluster.client.put_service("web", replace(spec, image=spec.image.replace("REGISTRY", registry)))
    names_it(real_cluster, "web", words.replace("REGISTRY", registry))


def test_another_program_has_the_port(real_cluster: Cluster) -> None:
    with socket.socket() as foreign:
        foreign.bind(("", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        real_cluster.client.put_service("web", sleeper(ports=(Port(container=8080, host=port),), restart=ONCE))
        names_it(real_cluster, "web", f"host port taken by another program.*:{port}")


def test_no_node_takes_tasks(real_cluster: Cluster) -> None:
    for node in ("n1", "n2"):
        real_cluster.did("node", "drain", node)
    real_cluster.did("node", "pause", "n3")
    real_cluster.client.put_service("web", sleeper())
    names_it(real_cluster, "web", "node is paused or drained .n1, n2, n3")
    names_it(real_cluster, "n1", "node n1 is ready, drained")


def test_a_rollout_that_is_paused(real_cluster: Cluster) -> None:
    real_cluster.client.put_service("web", sleeper(replicas=2))
    real_cluster.settled("web")
    real_cluster.client.put_service("web", sleeper(replicas=2, update=UpdateRules(delay_s=60.0), env={"A": "1"}))
    real_cluster.did("rollout", "pause", "web")
    names_it(real_cluster, "web", "release 2 is paused: paused by a user.*rollout resume web.*rollback web")


def test_a_release_that_was_taken_back(real_cluster: Cluster) -> None:
    real_cluster.client.put_service("web", sleeper())
    eventually(lambda: real_cluster.client.service("web").status.rollout is ReleasePhase.DONE)
    real_cluster.client.put_service("web", sleeper(command=("sh", "-c", "exit 7")))
    names_it(real_cluster, "web", "as wished.*release 2 failed and was taken back to release 1.*exit.* 7")


def test_what_was_removed_or_never_was(real_cluster: Cluster) -> None:
    real_cluster.client.put_service("web", sleeper(replicas=0))
    names_it(real_cluster, "web", "as wished, 0 of 0 ready")
    real_cluster.did("rm", "web")
    ran = real_cluster.run("why", "web")
    assert ran.returncode == 4
    assert "there is no service, task or node web" in ran.stderr


def test_a_node_that_is_gone(fleet: Fleet) -> None:
    fleet.start("n1", "n2", timeout_s=2.0)
    fleet.manager.client.put_service("web", sleeper(replicas=2))
    fleet.manager.settled("web")
    fleet.workers["n2"].kill()
    names_it(fleet.manager, "n2", "node n2 is down.*connection of node n2 ended")
    (lost,) = [task.id for task in fleet.manager.client.tasks(service="web") if task.state is State.LOST]
    names_it(fleet.manager, lost, f"{lost} was lost with its node.*n2.*took its place")
