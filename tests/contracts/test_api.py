"""Who the API lets in and what it answers, against a real server on a loopback port.

What it refuses is in test_api_nonsense.py, what goes on in test_api_streams.py and test_api_sessions.py; the document,
and what schemathesis thinks of, in test_openapi.py.
"""

import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from longshore.api.compat import doors
from longshore.api.routes import ADMINS, ANYONE, Route
from longshore.api.server import ROUTES
from longshore.api.wire import STATUS_OF, status_of
from longshore.control.operations import Operations
from longshore.main.clock import MachineClock
from longshore.model import errors
from longshore.model.errors import Compacted, Conflict, Denied, Failure, Unavailable
from longshore.model.lifecycle import State
from longshore.model.moves import Rebalance
from longshore.model.objects import Kind, NodeStatus, Object, Release, ReleasePhase, Role, Task
from longshore.model.views import (
    AppView,
    ClusterView,
    EventView,
    NodeView,
    Page,
    Plan,
    Problem,
    ServiceView,
    TokenView,
    Why,
)
from longshore.store.sqlite import SqliteStore
from tests import situations
from tests.contracts.serving import Manager, put, remove, serving

WEB = situations.service("web", app="shop", replicas=3)
TASKS = [situations.task(slot, generation) for slot in (1, 2, 10) for generation in (1, 2)]
RECORDS: tuple[Object, ...] = (WEB, *situations.releases(WEB), situations.node("n1"), *TASKS)
SPEC = {"image": "nginx:1"}


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    async with serving(tmp_path, *RECORDS) as running:
        yield running


# -- who may come in


def _path(route: Route) -> str:
    return re.sub(r"\{\w+(:[^}]*)?\}", "web", route.path)


EVERY = (*ROUTES, *doors.ROUTES)


@pytest.mark.parametrize("route", EVERY, ids=lambda route: f"{route.method} {route.path}")
async def test_each_route_opens_to_its_roles_and_to_nobody_else(manager: Manager, route: Route) -> None:
    for who in (None, "unknown", "expired", "revoked", "spent", "join", "node", "admin"):
        response, body = await manager.ask(route.method, _path(route), who=who, data=b"{" if route.body else None)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Server"] == "longshore"
        role = Role(who) if who in ("join", "node", "admin") else None
        if route.opens_to is ANYONE or (role is not None and role in route.opens_to):
            assert response.status not in (401, 403), (who, body)
            continue
        assert response.status == (401 if role is None else 403), (who, body)
        assert (response.headers.get("WWW-Authenticate") == "Bearer") is (role is None)
        assert response.content_type == "application/problem+json"


def test_workers_tokens_open_the_session_and_nothing_else() -> None:
    assert {route.path for route in EVERY if route.opens_to is ANYONE} == {"/health"}
    assert {route.path for route in EVERY if route.opens_to not in (ANYONE, ADMINS)} == {"/v1/session"}


@pytest.mark.parametrize("path", ["/v1", "/v1/nothing", "/health/", "/healthz", "/HEALTH", "/v1/tasks/", "/*", "//"])
async def test_what_nobody_declared_is_closed_before_it_is_missing(manager: Manager, path: str) -> None:
    for who, status in ((None, 401), ("join", 403), ("node", 403), ("admin", 404)):
        response, body = await manager.ask("GET", path, who=who)
        assert (response.status, response.content_type) == (status, "application/problem+json"), (who, body)


@pytest.mark.parametrize(
    "given", ["Basic eDp5", "Bearer", "Bearer ", "bearer\txyz", "Bearer é", "Bearer " + "x" * 5000, "x"]
)
async def test_what_is_no_bearer_token_opens_nothing(manager: Manager, given: str) -> None:
    response, _ = await manager.ask("GET", "/v1/tasks", who=None, headers={"Authorization": given})
    assert response.status == 401


async def test_the_scheme_may_be_written_in_any_case(manager: Manager) -> None:
    headers = {"Authorization": f"bearer {manager.secrets['admin']}"}
    assert (await manager.ask("GET", "/v1/tasks", who=None, headers=headers))[0].status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:7440"}, 200),
        ({"Host": "[::1]:7440"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:7440", "Origin": "http://evil.example:7440"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "http://localhost:8000"}, 403),
        ({"Host": "localhost", "Origin": "https://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
    ],
)
async def test_without_tokens_no_page_from_elsewhere_gets_in(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with serving(tmp_path, auth=False) as manager:
        response, _ = await manager.ask("GET", "/v1/tasks", who=None, headers=headers)
        assert response.status == status
        assert (await manager.ask("GET", "/health", who=None, headers=headers))[0].status == 200


async def test_no_secret_is_told_or_logged(manager: Manager) -> None:
    with structlog.testing.capture_logs() as logged:
        made = await manager.told("POST", "/v1/tokens", TokenView, 201, data=b"{}")
        await manager.ask("GET", f"/v1/tasks?token={made.secret}")
        await manager.ask("GET", "/v1/tasks", headers={"Authorization": f"Bearer {made.secret}"})
        pages = [await manager.ask("GET", path) for path in ("/v1/tokens", "/v1/events", "/metrics", "/v1/cluster")]
    told = repr(logged).encode() + b"".join(body for _, body in pages)
    assert made.secret
    for secret in (made.secret, *manager.secrets.values()):
        assert secret.encode() not in told


# -- answers


def test_every_failure_has_a_status() -> None:
    family = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Failure)}
    assert family - {Failure} == set(STATUS_OF)

    class Particular(Unavailable):
        """An adapter's own."""

    assert status_of(Particular("wait")) == 503
    assert status_of(Denied("who?")) == 401
    assert status_of(Denied("no", known=True)) == 403
    assert (status_of(Compacted("old")), status_of(Conflict("no")), status_of(Unavailable("wait"))) == (410, 409, 503)


async def test_a_bug_is_told_and_logged_and_the_manager_goes_on(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Operations) -> list[AppView]:
        raise ZeroDivisionError("the secret of the bug")

    monkeypatch.setattr(Operations, "apps", broken)
    with structlog.testing.capture_logs() as logged:
        response, body = await manager.ask("GET", "/v1/apps")
    assert response.status == 500
    assert b"the secret" not in body
    assert any(line["event"] == "bug in a route" for line in logged)
    assert (await manager.ask("GET", "/health"))[0].status == 200


async def test_a_service_from_wish_to_removal(manager: Manager) -> None:
    made = await manager.told("PUT", "/v1/services/api", ServiceView, 201, json={"spec": SPEC})
    assert made.spec.image == "nginx:1"
    response, _ = await manager.ask("GET", "/v1/services/api")
    tag = response.headers["ETag"]
    assert tag == f'"{made.revision}"'
    same = await manager.told("PUT", "/v1/services/api", ServiceView, json={"spec": SPEC})
    assert same.revision == made.revision
    scaled = await manager.told("POST", "/v1/services/api/scale", ServiceView, json={"replicas": 2.0})
    assert scaled.spec.replicas == 2
    await manager.told("PUT", "/v1/services/api", Problem, 412, json={"spec": SPEC}, headers={"If-Match": tag})
    headers = {"If-Match": f'"{scaled.revision}"'}
    changed = await manager.told("PUT", "/v1/services/api", ServiceView, json={"spec": SPEC}, headers=headers)
    again = await manager.told("POST", "/v1/services/api/restart", ServiceView)
    assert again.release == changed.release + 1
    gone = await manager.told("DELETE", "/v1/services/api", ServiceView, 202)
    assert gone.status.phase == "removing"
    await manager.told("GET", "/v1/services/api", Problem, 404)
    await manager.told("PUT", "/v1/services/api", ServiceView, 201, json={"spec": SPEC}, headers={"If-None-Match": "*"})


async def test_an_app_from_plan_to_removal(manager: Manager) -> None:
    plan = await manager.told("POST", "/v1/plan", Plan, json={"app": "blog", "services": {"a": SPEC, "b": SPEC}})
    assert [one.effect for one in plan.services] == ["create", "create"]
    app = await manager.told("PUT", "/v1/apps/blog", AppView, json={"services": {"a": SPEC, "b": SPEC}})
    assert app.services == ("a", "b")
    assert await manager.told("GET", "/v1/apps/blog", AppView) == app
    names = [view.name for view in (await manager.told("GET", "/v1/services?app=blog", Page[ServiceView])).items]
    assert names == ["a", "b"]
    await manager.told("PUT", "/v1/apps/other", Problem, 409, json={"services": {"a": SPEC}})
    await manager.told("DELETE", "/v1/apps/blog", AppView, 202)
    await manager.told("DELETE", "/v1/apps/blog", Problem, 404)


async def test_a_rebalance_is_planned_and_begun(manager: Manager) -> None:
    balanced = situations.service("even", replicas=2)
    record = Release(service="even", number=1, spec=balanced.spec, phase=ReleasePhase.DONE)
    tasks = [situations.task(slot, of="even") for slot in (1, 2)]
    await put(manager.store, situations.node("n9"), balanced, record, *tasks)
    plan = await manager.told("POST", "/v1/rebalance?dry_run=true", Rebalance, json={})
    assert [(move.service, move.target) for move in plan.moves] == [("even", "n9")]
    assert await manager.told("POST", "/v1/rebalance?dry_run=true", Rebalance, json={}) == plan
    assert (await manager.told("POST", "/v1/rebalance", Rebalance, json={})).moves == plan.moves
    marked = await manager.told("GET", f"/v1/tasks/{plan.moves[0].task}", Task)
    assert (marked.moves_to, marked.moves_turn) == ("n9", 1)
    again = await manager.told("POST", "/v1/rebalance", Rebalance, json={})
    assert (again.moves, again.under_way) == ((), (marked.id,))


async def test_a_node_is_changed_and_forgotten(manager: Manager) -> None:
    node = await manager.told("PATCH", "/v1/nodes/n1", NodeView, json={"availability": "drained", "labels": {"a": "b"}})
    assert (node.availability, node.labels, node.tasks) == ("drained", {"a": "b"}, 6)
    headers = {"If-Match": f'"{node.revision}"'}
    node = await manager.told("PATCH", "/v1/nodes/n1", NodeView, json={"labels": {"a": None}}, headers=headers)
    assert node.labels == {}
    await put(manager.store, situations.node("n2", status=NodeStatus.DOWN))
    assert (await manager.ask("DELETE", "/v1/nodes/n2"))[0].status == 204


async def test_a_token_is_made_used_and_revoked(manager: Manager) -> None:
    made = await manager.told("POST", "/v1/tokens", TokenView, 201, json={"role": "admin", "lifetime_s": None})
    headers = {"Authorization": f"Bearer {made.secret}"}
    page = await manager.told("GET", "/v1/tokens", Page[TokenView], headers=headers)
    assert page.items[-1].id == made.id
    assert all(view.secret is None for view in page.items)
    assert (await manager.ask("DELETE", f"/v1/tokens/{made.id}"))[0].status == 204
    assert (await manager.ask("GET", "/v1/tokens", headers=headers))[0].status == 401


async def test_the_cluster_the_metrics_and_the_reasons(manager: Manager) -> None:
    cluster = await manager.told("GET", "/v1/cluster", ClusterView)
    assert (cluster.id, cluster.revision, cluster.scheduler) == ("c1", manager.store.read().revision, "spread")
    assert (await manager.told("GET", "/v1/tasks/web.1.1/why", Why)).summary
    await manager.ask("PROPFIND", "/v1/secret-path")
    await manager.ask("PUT", "/v1/services/api", json={"spec": SPEC})
    _, page = await manager.ask("GET", "/metrics")
    lines = page.decode().splitlines()
    assert 'longshore_tasks{state="running"} 6.0' in lines
    assert 'longshore_nodes{availability="active",status="ready"} 1.0' in lines
    assert 'longshore_api_requests_total{method="other",route="unknown",status="404"} 1.0' in lines
    assert 'longshore_commits_total{outcome="done"} 1.0' in lines
    assert not any("web." in line or "secret-path" in line or 'api"' in line for line in lines)


# -- lists


async def _all(manager: Manager, path: str, type: Any) -> list[Any]:
    found, after = list[Any](), ""
    while True:
        page = await manager.told("GET", path + after, type)
        found += page.items
        if page.next is None:
            return found
        after = f"&after={page.next}"


async def test_lists_come_in_parts_and_in_order(manager: Manager) -> None:
    tasks = await _all(manager, "/v1/tasks?limit=2", Page[Task])
    assert [task.id for task in tasks] == [f"web.{slot}.{number}" for slot in (1, 2, 10) for number in (1, 2)]
    more = [situations.service(f"s{number:03}") for number in range(250)]
    await put(manager.store, *more, *situations.releases(*more))
    services = await _all(manager, "/v1/services?limit=99", Page[ServiceView])
    assert [view.name for view in services] == [f"s{number:03}" for number in range(250)] + ["web"]
    assert len(await _all(manager, "/v1/events?limit=100", Page[EventView])) == sum(
        [1 + len(RECORDS), 6, 1, len(more) * 2]
    )


async def test_a_list_goes_on_behind_what_is_gone_meanwhile(manager: Manager) -> None:
    first = await manager.told("GET", "/v1/tasks?limit=3", Page[Task])
    await remove(manager.store, Kind.TASK, first.items[-1].id)
    rest = await manager.told("GET", f"/v1/tasks?limit=3&after={first.next}", Page[Task])
    assert [task.id for task in rest.items] == ["web.2.2", "web.10.1", "web.10.2"]


async def test_lists_are_filtered(manager: Manager) -> None:
    other = situations.service("db")
    await put(
        manager.store,
        other,
        *situations.releases(other),
        situations.node("n2"),
        situations.task(1, of="db", on="n2"),
        situations.task(2, of="db", state=State.NEW),
    )
    for query, ids in (
        ("service=db", ["db.1.1", "db.2.1"]),
        ("node=n2", ["db.1.1"]),
        ("state=new", ["db.2.1"]),
        ("app=shop&limit=1", ["web.1.1"]),
        ("service=none", []),
        ("node=n2&service=web", []),
    ):
        page = await manager.told("GET", f"/v1/tasks?{query}", Page[Task])
        assert [task.id for task in page.items] == ids, query
    events = await manager.told("GET", "/v1/events?service=db&kind=task", Page[EventView])
    assert [(event.name, event.state) for event in events.items] == [("db.1.1", "running"), ("db.2.1", "new")]


async def test_head_and_options_are_answered(manager: Manager) -> None:
    response, body = await manager.ask("HEAD", "/v1/services/web")
    assert (response.status, body) == (200, b"")
    assert response.headers["ETag"]
    response, _ = await manager.ask("OPTIONS", "/v1/services/web")
    assert response.status == 204
    assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD", "PUT", "DELETE"}


# -- a copy of the store


async def test_a_backup_is_a_database_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "manager"
    left = folder / "backup-left"
    left.mkdir(parents=True)
    store = await SqliteStore.open(tmp_path / "longshore.db", MachineClock())
    async with serving(folder, *RECORDS, store=store) as manager:
        assert not left.exists()
        response, body = await manager.ask("GET", "/v1/backup")
        assert (response.status, response.content_type) == (200, "application/vnd.sqlite3")
        assert response.content_length == len(body)
        assert list(folder.iterdir()) == []
    copy = tmp_path / "copy.db"
    copy.write_bytes(body)
    with sqlite3.connect(copy) as database:
        assert database.execute("select count(*) from tasks").fetchone() == (6,)
    database.close()
    again = await SqliteStore.open(copy, MachineClock())
    assert set(again.read().services) == {"web"}
    await again.close()
