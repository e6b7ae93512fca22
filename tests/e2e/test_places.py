"""Rules about places on the real engine: taints, devices, neighbours, even spread, and what the user is told."""

from collections import Counter
from pathlib import Path

from longshore.model.objects import Task
from tests.clusters import Cluster, eventually

HEAD = """
name: {app}
services:
  {app}-web:
    image: longshore/demo:1
    pull_policy: never
    stop_grace_period: 2s
    command: [sleep, "600"]
"""


def write(folder: Path, app: str, keys: str) -> Path:
    file = folder / "compose.yaml"
    indented = "".join(f"    {line}\n" for line in keys.strip().splitlines())
    file.write_text(HEAD.format(app=app) + indented.replace("APP", app))
    return file


def live(cluster: Cluster, service: str) -> list[Task]:
    return [one for one in cluster.tasks(service) if one.live]


def test_tasks_leave_a_tainted_node_and_come_back_only_if_they_tolerate_it(
    real_cluster: Cluster, tmp_path: Path
) -> None:
    assert real_cluster.did("node", "taint", "n1", "kept=db:NoSchedule").strip() == "n1: kept=db:NoSchedule"
    try:
        real_cluster.did("up", "-f", write(tmp_path, "shy", "deploy: {replicas: 4}"))
        assert {one.node for one in live(real_cluster, "shy-web")} == {"n2", "n3"}
        real_cluster.did("node", "taint", "n2", "out:NoExecute")
        eventually(lambda: {one.node for one in live(real_cluster, "shy-web")} == {"n3"}, "all on n3")
        bold = "deploy: {replicas: 4}\nx-longshore: {placement: {tolerations: [{operator: Exists}]}}"
        real_cluster.did("up", "-f", write(tmp_path, "shy", bold))
        assert {one.node for one in live(real_cluster, "shy-web")} >= {"n1", "n2"}
    finally:
        real_cluster.did("node", "taint", "n1", "kept-")
        real_cluster.run("node", "taint", "n2", "out-")


def test_a_device_is_one_task_s_and_who_gets_none_is_told(real_cluster: Cluster, tmp_path: Path) -> None:
    said = real_cluster.did("node", "resource", "n2", "full=/dev/full,/dev/zero", "licences=3")
    assert said.strip() == "n2: full=0/2,licences=0/3"
    try:
        need = "deploy: {replicas: 3, resources: {reservations: {devices: [{capabilities: [full]}]}}}"
        ran = real_cluster.run("up", "-f", write(tmp_path, "given", need), "--timeout", "5s")
        assert ran.returncode == 3, (ran.stdout, ran.stderr)
        tasks = [one for one in live(real_cluster, "given-web") if one.node]
        assert sorted(one.devices["full"] for one in tasks) == [("/dev/full",), ("/dev/zero",)]
        assert {one.node for one in tasks} == {"n2"}
        for one in tasks:
            inspected = real_cluster.engine.inspect(one.container_id)
            assert [device["PathOnHost"] for device in inspected["HostConfig"]["Devices"]] == [*one.devices["full"]]
            assert f"LONGSHORE_DEVICES_FULL={one.devices['full'][0]}" in inspected["Config"]["Env"]
        (waits,) = [one for one in live(real_cluster, "given-web") if not one.node]
        why = real_cluster.did("why", waits.id)
        assert "not enough full" in why
        assert "n1: 1 more full" in why
        assert "full=2/2,licences=0/3" in real_cluster.did("nodes")
        real_cluster.did("node", "resource", "n3", "full=/dev/null")
        eventually(lambda: all(one.node for one in live(real_cluster, "given-web")), "the third has a place")
    finally:
        real_cluster.did("down", "given")
        real_cluster.did("node", "resource", "n2", "full-", "licences-")
        real_cluster.did("node", "resource", "n3", "full-")


def test_neighbours_and_even_spread(real_cluster: Cluster, tmp_path: Path) -> None:
    for name, zone in (("n1", "a"), ("n2", "a"), ("n3", "b")):
        real_cluster.did("node", "label", name, f"zone={zone}")
    even = "deploy: {replicas: 4}\nx-longshore: {placement: {spread: [{over: node.labels.zone, skew_max: 1}]}}"
    real_cluster.did("up", "-f", write(tmp_path, "even", even))
    assert Counter(one.node == "n3" for one in live(real_cluster, "even-web")) == {True: 2, False: 2}
    rule = "anti_affinity: [{service: APP-web, over: node.labels.zone}]"
    apart = f"deploy: {{replicas: 3}}\nx-longshore: {{placement: {{{rule}}}}}"
    ran = real_cluster.run("up", "-f", write(tmp_path, "apart", apart), "--timeout", "5s")
    assert ran.returncode == 3, (ran.stdout, ran.stderr)
    waits = next(one for one in live(real_cluster, "apart-web") if not one.node)
    assert "not apart from apart-web by node.labels.zone" in real_cluster.did("why", waits.id)
    near = "x-longshore: {placement: {affinity: [{service: apart-web}], policy: 'spread=1,image=2'}}"
    real_cluster.did("up", "-f", write(tmp_path, "near", near))
    (one,) = live(real_cluster, "near-web")
    assert one.node in {other.node for other in live(real_cluster, "apart-web")}
    assert f"spread=1,image=2: {one.node} scores" in real_cluster.did("why", one.id)
