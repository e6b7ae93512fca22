"""What the API makes of nonsense: a sentence that names what is to blame, and nothing else happens."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from longshore.api.wire import BodyReader
from longshore.model.objects import Object
from longshore.model.views import Problem, Scale, ServiceView
from tests import situations
from tests.contracts.serving import Manager, serving

WEB = situations.service("web", replicas=3)
RECORDS: tuple[Object, ...] = (WEB, *situations.releases(WEB), situations.node("n1"), situations.task(1, on="n1"))
SPEC = {"image": "nginx:1"}


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    async with serving(tmp_path, *RECORDS) as running:
        yield running


_LONG = "a" * 300

NONSENSE: list[tuple[str, str, dict[str, Any], int, str | None]] = [
    ("PUT", "/v1/services/a", {"data": b""}, 400, None),
    ("PUT", "/v1/services/a", {"data": b"{"}, 400, None),
    ("PUT", "/v1/services/a", {"data": b'{"spec": {"image": "a" "b"}}'}, 400, None),
    ("PUT", "/v1/services/a", {"data": b'{"spec": {"image": "\xff"}}'}, 400, None),
    ("PUT", "/v1/services/a", {"data": b'{"spec": {"image": "\\ud800"}}'}, 400, None),
    ("PUT", "/v1/services/a", {"data": b'{"spec": {"image": "a"}} {}'}, 400, None),
    ("PUT", "/v1/services/a", {"data": b"[" * 500_000}, 400, None),
    ("PUT", "/v1/services/a", {"data": b'{"spec":' * 100_000}, 400, "spec.spec"),
    ("PUT", "/v1/services/a", {"json": []}, 400, None),
    ("PUT", "/v1/services/a", {"json": {}}, 400, "spec"),
    ("PUT", "/v1/services/a", {"json": {"spec": {}}}, 400, "spec.image"),
    ("PUT", "/v1/services/a", {"json": {"spec": SPEC, "extra": 1}}, 400, "extra"),
    ("PUT", "/v1/services/a", {"json": {"spec": {**SPEC, "privileged": True}}}, 400, "spec.privileged"),
    (
        "PUT",
        "/v1/services/a",
        {"json": {"spec": {**SPEC, "ports": [{"container": 1, "x": 1}]}}},
        400,
        "spec.ports[0].x",
    ),
    ("PUT", "/v1/services/a", {"json": {"spec": {**SPEC, "replicas": "3"}}}, 400, "spec.replicas"),
    ("PUT", "/v1/services/a", {"json": {"spec": {**SPEC, "replicas": 1.5}}}, 400, "spec.replicas"),
    ("PUT", "/v1/services/a", {"json": {"spec": {**SPEC, "replicas": True}}}, 400, "spec.replicas"),
    ("PUT", "/v1/services/a", {"json": {"spec": {**SPEC, "replicas": 10**30}}}, 400, "spec.replicas"),
    ("PUT", "/v1/services/a", {"json": {"spec": {**SPEC, "replicas": -1}}}, 400, "spec.replicas"),
    ("PUT", "/v1/services/a", {"data": b'{"spec": {"image": "a", "stop_grace_s": 1e999}}'}, 400, "spec.stop_grace_s"),
    ("PUT", "/v1/services/a", {"data": b'{"spec": {"image": "a", "stop_grace_s": NaN}}'}, 400, None),
    ("PUT", "/v1/services/a", {"json": {"spec": {**SPEC, "mode": "daemon"}}}, 400, "spec.mode"),
    ("PUT", "/v1/services/a", {"json": {"spec": SPEC, "name": "b"}}, 400, "name"),
    ("PUT", "/v1/services/A", {"json": {"spec": SPEC}}, 400, "name"),
    ("PUT", "/v1/services/a.b", {"json": {"spec": SPEC}}, 400, "name"),
    ("PUT", "/v1/services/a%2Fb", {"json": {"spec": SPEC}}, 400, "name"),
    ("PUT", "/v1/services/a%0Ab", {"json": {"spec": SPEC}}, 400, "name"),
    ("PUT", "/v1/services/a%00b", {"json": {"spec": SPEC}}, 400, "name"),
    ("PUT", "/v1/services/%FF", {"json": {"spec": SPEC}}, 400, "name"),
    ("PUT", "/v1/services/-a", {"json": {"spec": SPEC}}, 400, "name"),
    ("PUT", f"/v1/services/{_LONG}", {"json": {"spec": SPEC}}, 400, "name"),
    ("PUT", "/v1/services/a", {"json": {"spec": SPEC}, "headers": {"If-Match": "a"}}, 400, "If-Match"),
    ("PUT", "/v1/services/a", {"json": {"spec": SPEC}, "headers": {"If-Match": 'W/"4"'}}, 400, "If-Match"),
    ("PUT", "/v1/services/a", {"json": {"spec": SPEC}, "headers": {"If-None-Match": '"4"'}}, 400, "If-None-Match"),
    ("PUT", "/v1/services/a", {"json": {"spec": SPEC}, "headers": {"If-Match": '"4"'}}, 412, None),
    ("PUT", "/v1/services/web", {"json": {"spec": SPEC}, "headers": {"If-None-Match": "*"}}, 412, None),
    ("PUT", "/v1/services/a", {"data": b"x", "headers": {"Content-Type": "text/yaml"}}, 415, None),
    ("PUT", "/v1/services/a", {"data": b"x", "headers": {"Content-Encoding": "br"}}, 415, None),
    ("PUT", "/v1/services/a", {"data": b"x", "headers": {"Content-Type": "text/\udcff"}}, 415, None),
    ("PUT", "/v1/services/a", {"data": b"x", "headers": {"Content-Encoding": "\udcff"}}, 415, None),
    ("PUT", "/v1/apps/shop", {"json": {"services": {"a": SPEC, "b": {}}}}, 400, "services[...].image"),
    ("PUT", "/v1/apps/shop", {"json": {"services": {"B": SPEC}}}, 400, "services"),
    ("POST", "/v1/plan", {"json": {"services": {}}}, 400, "app"),
    ("POST", "/v1/rebalance", {"json": {"moves_max": 0}}, 400, "moves_max"),
    ("POST", "/v1/rebalance?dry_run=perhaps", {"json": {}}, 400, "dry_run"),
    ("POST", "/v1/services/web/scale", {"json": {"replicas": None}}, 400, "replicas"),
    ("POST", "/v1/services/web/scale", {"json": {"replicas": 2**70}}, 400, "replicas"),
    ("POST", "/v1/services/none/scale", {"json": {"replicas": 1}}, 404, None),
    ("POST", "/v1/services/none/restart", {}, 404, None),
    ("DELETE", "/v1/services/none", {}, 404, None),
    ("DELETE", "/v1/services/web", {"headers": {"If-Match": '"99"'}}, 412, None),
    ("PATCH", "/v1/nodes/n1", {"json": {"availability": "gone"}}, 400, "availability"),
    ("PATCH", "/v1/nodes/n1", {"json": {"labels": {"a b": "x"}}}, 400, "labels"),
    ("PATCH", "/v1/nodes/n1", {"json": {}, "headers": {"If-Match": '"99"'}}, 412, None),
    ("PATCH", "/v1/nodes/none", {"json": {}}, 404, None),
    ("DELETE", "/v1/nodes/n1", {}, 409, None),
    ("POST", "/v1/tokens", {"json": {"role": "node"}}, 400, "role"),
    ("POST", "/v1/tokens", {"json": {"uses": 0}}, 400, "uses"),
    ("POST", "/v1/tokens", {"json": {"lifetime_s": -1}}, 400, "lifetime_s"),
    ("DELETE", "/v1/tokens/none", {}, 404, None),
    ("GET", "/v1/services/none", {}, 404, None),
    ("GET", "/v1/services/..%2Fnodes", {}, 400, "name"),
    ("GET", "/v1/services/a/b", {}, 404, None),
    ("GET", "/v1/tasks/none", {}, 404, None),
    ("GET", "/v1/tasks/web.x.y", {}, 404, None),
    ("GET", "/v1/tasks/none/why", {}, 404, None),
    ("GET", "/v1/tasks/none/logs", {}, 404, None),
    ("GET", "/v1/tasks/web.1.1/logs?tail=-1", {}, 400, "tail"),
    ("GET", "/v1/tasks/web.1.1/logs?since=yesterday", {}, 400, "since"),
    ("GET", "/v1/tasks/web.1.1/logs?since=2026-01-01T00:00:00", {}, 400, "since"),
    ("GET", "/v1/tasks/web.1.1/logs", {}, 503, None),
    ("GET", "/v1/tasks?limit=0", {}, 400, "limit"),
    ("GET", "/v1/tasks?limit=1001", {}, 400, "limit"),
    ("GET", "/v1/tasks?limit=x", {}, 400, "limit"),
    ("GET", "/v1/tasks?limit=", {}, 400, "limit"),
    ("GET", "/v1/tasks?limit=1&limit=2", {}, 400, "limit"),
    ("GET", "/v1/tasks?state=alive", {}, 400, "state"),
    ("GET", "/v1/tasks?watch=maybe", {}, 400, "watch"),
    ("GET", "/v1/tasks?after=!!", {}, 400, "after"),
    ("GET", "/v1/tasks?after=eA", {}, 400, "after"),
    ("GET", "/v1/tasks?colour=red", {}, 400, "colour"),
    ("GET", "/v1/cluster?colour=red", {}, 400, "colour"),
    ("GET", "/v1/events?after=x", {}, 400, "after"),
    ("GET", "/v1/events?kind=thing", {}, 400, "kind"),
    ("GET", "/v1/backup", {}, 409, None),
    ("GET", "/v1/session", {}, 426, None),
    ("GET", "/v1/nothing", {}, 404, None),
    ("POST", "/v1/tasks", {}, 405, None),
    ("HEAD", "/v1/backup", {}, 405, None),
]


@pytest.mark.parametrize(("method", "path", "more", "status", "field"), NONSENSE, ids=lambda value: str(value)[:40])
async def test_nonsense_is_refused_with_a_sentence(
    manager: Manager, method: str, path: str, more: dict[str, Any], status: int, field: str | None
) -> None:
    revision = manager.store.read().revision
    response, body = await manager.ask(method, path, **more)
    assert response.status == status, body
    assert response.content_type == "application/problem+json"
    if method != "HEAD":
        problem = msgspec.json.decode(body, type=Problem)
        assert (problem.status, problem.field) == (status, field), problem
        assert problem.detail
    if status == 405:
        assert response.headers["Allow"]
    assert manager.store.read().revision == revision


async def test_malformed_json_is_told_by_line_and_column(manager: Manager) -> None:
    problem = await manager.told("PUT", "/v1/services/a", Problem, 400, data=b'{\n  "spec": {\n    "image" "a"}}')
    assert "line 3, column 13" in problem.detail


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 10 * 1024 * 1024])
async def test_a_large_body_is_not_read(manager: Manager, size: int) -> None:
    problem = await manager.told("PUT", "/v1/services/a", Problem, 413, data=io.BytesIO(b" " * size))
    assert "1048576" in problem.detail
    assert (await manager.ask("GET", "/v1/services"))[0].status == 200


async def test_a_compressed_body_is_not_unpacked(manager: Manager) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    await manager.told("PUT", "/v1/services/a", Problem, 415, data=bomb, headers=headers)


@pytest.mark.parametrize("type", [None, "application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
async def test_a_body_is_json_also_if_it_does_not_say_so(manager: Manager, type: str | None) -> None:
    skip = ["Content-Type"] if type is None else []
    headers = {"Content-Type": type} if type is not None else {}
    more: dict[str, Any] = {"data": b'{"spec": {"image": "nginx:1"}}', "skip_auto_headers": skip, "headers": headers}
    await manager.told("PUT", "/v1/services/a", ServiceView, 201, **more)


@pytest.mark.parametrize(("body", "replicas"), [(b"3", 3), (b"3.0", 3), (b"3e0", 3), (b"1e2", 100)])
def test_an_integer_is_what_json_schema_calls_one(body: bytes, replicas: int) -> None:
    assert BodyReader(Scale).decode(b'{"replicas": %b}' % body) == Scale(replicas=replicas)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n",
        b"GET /v1/../health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET http://elsewhere/v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET //v1/tasks HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"PUT /v1/services/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_hardly_http_is_refused(manager: Manager, sent: bytes) -> None:
    host, port = manager.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    answer = await asyncio.wait_for(reader.readline(), 5)
    assert answer.split()[1] in (b"400", b"401"), answer
    writer.close()
