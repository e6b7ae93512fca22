"""The worker's own probes on the real engine: what begins to fail, or hangs, is taken out of rotation or replaced."""

import pytest

from longshore.model.lifecycle import State
from longshore.model.reasons import Reason
from longshore.model.spec import ExecProbe, HttpProbe, Port, Probe, ServiceSpec, TcpProbe
from tests.clusters import Cluster, eventually, sleeper

SERVER = """
mkdir /tmp/www; echo ok > /tmp/www/health
httpd -f -p 8080 -h /tmp/www & server=$!
trap 'rm /tmp/www/health' USR1
trap 'echo ok > /tmp/www/health' USR2
trap 'kill -STOP $server' HUP
trap 'exit 0' TERM
while :; do sleep 0.1; done
"""
"""Serves /health until USR1 and again after USR2; hangs from HUP on."""
HEALTH = Probe(http=HttpProbe(port=8080, path="/health"), interval_s=0.3, timeout_s=0.5, retries=2)


def server(**more: object) -> ServiceSpec:
    return sleeper(command=("sh", "-c", SERVER), **more)


@pytest.mark.parametrize(
    ("signal", "said"), [("USR1", "GET /health: 404 Not Found"), ("HUP", "GET /health: no answer in 0.5 s")]
)
@pytest.mark.parametrize("ports", [(), (Port(container=8080),)], ids=["own address", "published"])
def test_a_container_that_is_not_alive_is_replaced(
    real_cluster: Cluster, signal: str, said: str, ports: tuple[Port, ...]
) -> None:
    real_cluster.client.put_service("web", server(replicas=2, liveness=HEALTH, readiness=HEALTH, ports=ports))
    victim, other = real_cluster.settled("web")
    real_cluster.engine.kill(victim.container_id, signal)
    ended = real_cluster.ended_task(victim.id)
    assert (ended.state, ended.reason, ended.message) == (State.FAILED, Reason.UNHEALTHY, said)
    now = real_cluster.settled("web")
    assert {one.slot for one in now} == {1, 2}
    assert other.container_id in {one.container_id for one in now}
    real_cluster.at_rest()
    assert "was given up because its check failed" in real_cluster.did("why", victim.id)


def test_a_container_that_is_not_ready_is_left_alone(real_cluster: Cluster) -> None:
    real_cluster.client.put_service("web", server(readiness=HEALTH, liveness=Probe(tcp=TcpProbe(port=8080))))
    (before,) = real_cluster.settled("web")
    for signal, ready in (("USR1", False), ("USR2", True)):
        real_cluster.engine.kill(before.container_id, signal)
        eventually(lambda ready=ready: real_cluster.client.task(before.id).ready is ready)  # type: ignore[misc]
        now = real_cluster.client.task(before.id)
        assert (now.state, now.container_id) == (State.RUNNING, before.container_id)
        assert now.message == ("" if ready else "GET /health: 404 Not Found")


def test_what_nobody_listens_at_is_not_alive(real_cluster: Cluster) -> None:
    """Although its port is published, and something takes connections at the host port."""
    probe = Probe(tcp=TcpProbe(port=81), interval_s=0.3, retries=2)
    real_cluster.client.put_service("web", server(liveness=probe, ports=(Port(container=81),)))
    ended = real_cluster.ended_task("web.1.1")
    assert ended.reason is Reason.UNHEALTHY
    assert ended.message.endswith(":81: refused")


COMMAND = Probe(exec=ExecProbe(command=("sh", "-c", "cat /tmp/www/health")), interval_s=0.3, retries=2)


def test_a_command_in_the_container_is_a_check_like_the_others(real_cluster: Cluster) -> None:
    real_cluster.client.put_service("web", server(readiness=COMMAND))
    (before,) = real_cluster.settled("web")
    for signal, ready in (("USR1", False), ("USR2", True)):
        real_cluster.engine.kill(before.container_id, signal)
        eventually(lambda ready=ready: real_cluster.client.task(before.id).ready is ready)  # type: ignore[misc]
        said = "sh -c cat /tmp/www/health: exit code 1: cat: can't open '/tmp/www/health': No such file or directory"
        assert real_cluster.client.task(before.id).message == ("" if ready else said)


def test_a_container_whose_command_hangs_is_replaced(real_cluster: Cluster) -> None:
    hangs = Probe(
        exec=ExecProbe(command=("sh", "-c", "cat /tmp/www/health || sleep 60")), interval_s=0.3, timeout_s=0.5
    )
    real_cluster.client.put_service("web", server(liveness=hangs))
    (victim,) = real_cluster.settled("web")
    real_cluster.engine.kill(victim.container_id, "USR1")
    ended = real_cluster.ended_task(victim.id)
    assert (ended.state, ended.reason) == (State.FAILED, Reason.UNHEALTHY)
    assert ended.message.startswith("sh -c cat /tmp/www/health || sleep 60: no end in 0.5 s: cat: can't open")
    real_cluster.settled("web")
