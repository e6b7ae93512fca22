"""What valsov/orchestrator adds to Cube's words: task files, with ports as Docker's port specs; and so what a body is.

Its own client turns a file into task events one by one; here the file may be sent as it is, too. Its events and answers
are Cube's with other endings, which `cube` reads and shows already.
"""

import re

import msgspec
from msgspec.structs import replace

from longshore.api.compat.cube import read_task
from longshore.api.compat.reading import Fields, container_port, host_port
from longshore.decide.postings import Phase
from longshore.model.errors import Invalid
from longshore.model.objects import Posting


class Asked(msgspec.Struct, frozen=True):
    """What is asked for: a task to run, or one to stop."""

    posting: Posting
    stops: bool


PORTS_MAX = 128
_SPEC = re.compile(
    r"(?:(?P<ip>\[[^\]]*\]|[^:]*):)?(?:(?P<host>[0-9]*(?:-[0-9]+)?):)?(?P<container>[0-9]{1,5}(?:-[0-9]{1,5})?)"
    r"(?:/(?P<protocol>[A-Za-z]+))?"
)


def read_body(body: Fields) -> Asked:
    """Any of the shapes that are posted as one task: an event with a task in it, a task of a file, an id and a status.

    An event's own id and time are checked and not kept: the log has better ones.
    """
    if not body.has("Task"):
        body.text("Status")
        return Asked(posting=_read_task(body, body.free_id("ID")), stops=False)
    body.identity("ID")
    body.moment("Timestamp")
    task = body.within("Task")
    says = body if body.has("State") else task
    return Asked(posting=_read_task(task, task.identity("ID")), stops=says.whole("State") == Phase.COMPLETED)


def _read_task(task: Fields, id: str) -> Posting:
    """Cube's task, but that its exposed ports may be a list of port specs."""
    ports = task.value("ExposedPorts", "ExposedPort")
    if not isinstance(ports, list):
        return read_task(task, id=id)
    specs = task.texts("ExposedPorts", "ExposedPort")
    posting = read_task(task.without("ExposedPorts", "ExposedPort"), id=id)
    exposed, bound = read_port_specs(specs, task.path("ExposedPorts"))
    return replace(posting, exposed_ports=exposed, port_bindings={**bound, **posting.port_bindings})


def read_port_specs(specs: tuple[str, ...], path: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """`80`, `80/udp`, `8080:80`, `127.0.0.1:8080:80/tcp`, `8000-8002:80-82`: the ports exposed, and those bound."""
    exposed: dict[str, None] = {}
    bound: dict[str, str] = {}
    for place, text in enumerate(specs):
        for container, host in _ranges(text, f"{path}[{place}]"):
            exposed[container] = None
            if host:
                bound[container] = host
        if len(exposed) > PORTS_MAX:
            raise Invalid(f"{path}: these are more than {PORTS_MAX} ports", field=path)
    return tuple(exposed), bound


def _ranges(text: str, path: str) -> list[tuple[str, str]]:
    match = _SPEC.fullmatch(text.strip())
    if match is None:
        raise Invalid(f"{path}: {text[:60]!r} is no port such as 80/tcp or 8080:80", field=path)
    # `8080:80` has one colon, which the pattern takes for an address's.
    host = match["host"] or ""
    if match["host"] is None and match["ip"] and not match["ip"].startswith("["):
        host = match["ip"]
    first, last = _span(match["container"])
    if last < first or last - first >= PORTS_MAX:
        raise Invalid(f"{path}: {text[:60]!r} is no range of up to {PORTS_MAX} ports", field=path)
    protocol = match["protocol"] or "tcp"
    hosts = _hosts(host, last - first, text, path)
    return [
        (container_port(f"{number}/{protocol}", path), one)
        for number, one in zip(range(first, last + 1), hosts, strict=True)
    ]


def _span(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _hosts(host: str, length: int, text: str, path: str) -> list[str]:
    """One host port for each container port; empty ones where none is named."""
    if not host:
        return [""] * (length + 1)
    if not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", host):
        raise Invalid(f"{path}: {text[:60]!r} names no host port", field=path)
    first, last = _span(host)
    if last - first != length:
        raise Invalid(f"{path}: {text[:60]!r} has host and container ranges of different lengths", field=path)
    return [host_port(str(number), path) for number in range(first, last + 1)]
