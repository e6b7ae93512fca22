"""Displacement on the real engine: what has to give way, what is kept, what the user is told, and who comes back."""

from pathlib import Path

from longshore.model.objects import Task
from tests.clusters import Cluster, eventually

APP = """
name: {app}
services:
  {app}-web:
    image: longshore/demo:1
    pull_policy: never
    stop_grace_period: 1s
    command: [sleep, "600"]
    deploy:
      replicas: {replicas}
      update_config: {{parallelism: 2}}
      resources: {{reservations: {{generic_resources: [{{discrete_resource_spec: {{kind: seats, value: 1}}}}]}}}}
    x-longshore: {{priority: {priority}}}
"""


def write(folder: Path, app: str, replicas: int, priority: int) -> Path:
    file = folder / f"{app}.yaml"
    file.write_text(APP.format(app=app, replicas=replicas, priority=priority))
    return file


def runs(cluster: Cluster, service: str) -> list[Task]:
    return [one for one in cluster.tasks(service) if one.counts and one.ready]


def test_higher_priority_displaces_lower_which_keeps_its_minimum_and_comes_back(
    real_cluster: Cluster, tmp_path: Path
) -> None:
    cluster = real_cluster
    cluster.did("node", "resource", "n2", "seats=4")
    try:
        cluster.did("up", "-f", write(tmp_path, "idle", 4, -10))
        assert {one.node for one in runs(cluster, "idle-web")} == {"n2"}
        file = write(tmp_path, "busy", 3, 10)
        planned = cluster.did("up", "--plan", "-f", file)
        assert "room is being made on n2, where idle-web." in planned
        ran = cluster.run("up", "-f", file, "--timeout", "15s")
        assert ran.returncode == 3, (ran.stdout, ran.stderr)
        assert len(runs(cluster, "busy-web")) == 2
        assert len(runs(cluster, "idle-web")) == 2, "four, less the two that an update may take away at a time"
        (waits,) = [one for one in cluster.tasks("busy-web") if not one.node]
        assert "what could give way would not make room" in cluster.did("why", waits.id)
        gone = [one for one in cluster.client.tasks(service="idle-web") if not one.live]
        assert len(gone) == 2
        told = cluster.did("why", gone[0].id)
        assert "was stopped on n2: displaced (by busy-web." in told
        assert "whose priority is 10, not -10" in told
        assert "room is being made" in cluster.did("why", runs(cluster, "busy-web")[0].id)
        (back, _) = [one for one in cluster.tasks("idle-web") if one.live and not one.node]
        assert "not enough seats" in cluster.did("why", back.id)
        cluster.did("down", "busy")
        eventually(lambda: len(runs(cluster, "idle-web")) == 4, "those that were displaced are back")
    finally:
        cluster.run("down", "busy")
        cluster.run("down", "idle")
        cluster.did("node", "resource", "n2", "seats-")
