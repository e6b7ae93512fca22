"""The document says what the code does: schemathesis asks a real server what only a machine thinks of asking.

Every check is on. What JSON Schema cannot say (a spec that admission refuses, a mark that is forgotten) is listed per
operation below, so that a refusal which nobody planned is found.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from longshore.api.openapi import document, problems
from longshore.api.server import ROUTES
from longshore.api.streams import Streams
from longshore.model.objects import Object
from tests import situations
from tests.contracts.serving import serving

EXAMPLES = 12
ACCEPTED = ["2xx", "401", "403", "404", "409"]

WEB = situations.service("web", app="shop", replicas=2)
TASKS = [situations.task(1), situations.task(2)]
RECORDS: tuple[Object, ...] = (WEB, *situations.releases(WEB), situations.node("n1"), *TASKS)


def _expecting(name: str, *more: str) -> dict[str, Any]:
    accepted = {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, *more]}}
    return {"include-operation-id": name, "checks": accepted}


CONFIG = {
    "request-timeout": 10.0,
    "operations": [
        _expecting("put_service", "400", "412"),
        _expecting("remove_service", "412"),
        _expecting("scale_service", "400"),
        _expecting("patch_node", "400", "412"),
        _expecting("put_app", "400"),
        _expecting("plan_app", "400"),
        _expecting("rebalance", "400"),
        _expecting("create_token", "400"),
        _expecting("list_services", "400"),  # a cursor that is none of ours
        _expecting("list_tasks", "400"),
        _expecting("list_nodes", "400"),
        _expecting("list_apps", "400"),
        _expecting("list_tokens", "400"),
        _expecting("list_events", "410"),
        {  # a moment that is none; a worker that is not there
            "include-operation-id": "read_log",
            "checks": {
                "positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400", "503"]},
                "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503"]},
            },
        },
        _expecting("open_session", "426"),  # schemathesis speaks no WebSocket
    ],
}


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A manager in a thread of its own: its address, and an admin's secret. Streams end soon."""
    folder: Path = tmp_path_factory.mktemp("manager")
    ready, stop = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        streams = Streams(keep_alive_s=0.02, lifetime_s=0.05)
        async with serving(folder, *RECORDS, streams=streams) as running:
            found.update(url=running.url, secret=running.secrets["admin"], loop=asyncio.get_running_loop())
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="manager")
    thread.start()
    assert ready.wait(10)
    yield found["url"], found["secret"]
    found["loop"].call_soon_threadsafe(stop.set)
    thread.join(10)


# Not from the server's address: schemathesis' fixture for that does not work with pytest 9.2. That the server gives
# this document is a test of its own below.
DOCUMENT = document(ROUTES, "test")
schema = schemathesis.openapi.from_dict(msgspec.json.decode(DOCUMENT), config=schemathesis.Config.from_dict(CONFIG))


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_the_server_does_what_its_document_says(case: Any, manager: tuple[str, str]) -> None:
    url, secret = manager
    case.call_and_validate(base_url=url, headers={"Authorization": f"Bearer {secret}"})


def test_the_server_gives_the_document(manager: tuple[str, str]) -> None:
    url, secret = manager
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("GET", "/openapi.json", headers={"Authorization": f"Bearer {secret}"})
        assert connection.getresponse().read() == DOCUMENT


def test_each_route_is_in_the_document_with_all_it_may_answer() -> None:
    paths = msgspec.json.decode(DOCUMENT)["paths"]
    told = {(method.upper(), path): one for path, methods in paths.items() for method, one in methods.items()}
    assert set(told) == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        statuses = {int(status) for status in told[route.method, route.path]["responses"]}
        assert statuses == {*route.answers, *problems(route)}
    names = [one["operationId"] for one in told.values()]
    assert len(names) == len(set(names))
