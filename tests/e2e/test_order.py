"""`depends_on` on the real engine: an app that comes up in order, one that cannot, and what the user is told."""

from datetime import datetime
from pathlib import Path

from longshore.model.views import ReleaseState
from tests.clusters import Cluster

APP = """
name: {app}
services:
  {app}-web:
    image: longshore/demo:1
    pull_policy: never
    stop_grace_period: 2s
    command: [sleep, "600"]
    environment: {{ROUND: "{round}"}}
    depends_on:
      {app}-db: {{condition: service_healthy}}
      {app}-migrate: {{condition: service_completed_successfully}}
    deploy: {{replicas: 2}}
  {app}-migrate:
    image: longshore/demo:1
    pull_policy: never
    command: {migrate}
    environment: {{ROUND: "{round}"}}
    depends_on: {{{app}-db: {{condition: service_healthy}}}}
    deploy:
      mode: replicated-job
      restart_policy: {{max_attempts: 1}}
  {app}-db:
    image: longshore/demo:1
    pull_policy: never
    stop_grace_period: 2s
    command: [sh, -c, "sleep 2; touch /tmp/up; exec sleep 600"]
    environment: {{ROUND: "{round}"}}
    x-longshore:
      readiness: {{command: [test, -f, /tmp/up], interval: 300ms}}
"""


def write(folder: Path, app: str, migrate: str = "['true']", round: int = 1) -> Path:
    file = folder / "compose.yaml"
    file.write_text(APP.format(app=app, migrate=migrate, round=round))
    return file


def begun(cluster: Cluster, service: str, release: int) -> list[float]:
    """When the containers of a release were started, by the engine's own clock."""
    tasks = [one for one in cluster.client.tasks(service=service) if one.release == release and one.container_id]
    return sorted(
        datetime.fromisoformat(cluster.engine.inspect(one.container_id)["State"]["StartedAt"]).timestamp()
        for one in tasks
    )


def assert_in_order(cluster: Cluster, app: str, release: int) -> None:
    (db,), (job,) = (begun(cluster, f"{app}-{name}", release) for name in ("db", "migrate"))
    web = begun(cluster, f"{app}-web", release)
    assert job - db > 2, "the job comes once the database is healthy"
    assert len(web) == 2
    assert web[0] > job, "web comes once the job is done"
    (done,) = [one for one in cluster.client.tasks(service=f"{app}-migrate") if one.release == release]
    first = min(one.created_at for one in cluster.client.tasks(service=f"{app}-web") if one.release == release)
    assert done.finished_at is not None
    assert done.finished_at <= first


def test_an_app_comes_up_in_order_and_changes_in_order(real_cluster: Cluster, tmp_path: Path) -> None:
    file = write(tmp_path, "ordered")
    plan = real_cluster.did("up", "-f", file, "--plan")
    assert "wait for ordered-db: 0 of 1 ready; ordered-migrate: 0 of 1 completed" in plan
    said = real_cluster.did("up", "-f", file)
    assert "Done: " in said
    assert_in_order(real_cluster, "ordered", 1)
    real_cluster.did("up", "-f", write(tmp_path, "ordered", round=2))
    assert_in_order(real_cluster, "ordered", 2)
    assert "Nothing to change" in real_cluster.did("up", "-f", file)
    real_cluster.did("down", "ordered")


def test_a_job_that_fails_is_told_with_what_waits_for_it(real_cluster: Cluster, tmp_path: Path) -> None:
    ran = real_cluster.run("up", "-f", write(tmp_path, "stuck", migrate="[sh, -c, 'echo no table; exit 3']"))
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    assert "stuck-web is starting, 0/2 ready: release 1 waits for stuck-migrate: 0 of 1 completed" in ran.stderr
    assert "no table" in ran.stdout
    assert "release 1 waits for stuck-migrate: 0 of 1 completed" in real_cluster.did("why", "stuck-web")
    assert "waits for stuck-migrate" in real_cluster.did("ls", "--app", "stuck")
    assert not list(real_cluster.client.tasks(service="stuck-web"))
    release = next(iter(real_cluster.client.releases("stuck-web")))
    assert release.state == ReleaseState.ROLLING
    real_cluster.did("up", "-f", write(tmp_path, "stuck"))
    real_cluster.did("down", "stuck")
