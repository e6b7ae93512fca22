"""HAProxy's language: its configuration, the commands of its runtime API, and what that answers. Pure text.

What a reload is needed for (which ports, in which mode) is the shape; its digest stands in the configuration as the
description, so a process tells by itself which one it runs. Servers come and go at runtime and are written into the
configuration as well, which the next process starts from. A server's name holds its address: a task's id may come
again, and what is behind a name never changes.
"""

import csv
import hashlib
import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from longshore.model.messages import Listener, Server
from longshore.model.spec import Ingress

SOCKET = "entry.sock"
"""In the process' own directory, as the path of a socket may have 107 characters and a data folder more."""

_HEAD = """\
# Written by longshore; changes are lost.
global
    description {shape}
    stats socket unix@{socket} mode 600 level admin expose-fd listeners
    hard-stop-after 10m

defaults
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1d
    timeout http-request 30s
    timeout http-keep-alive 60s
    retries 3
    option redispatch 1
"""
# Whoever is refused a connection has not been asked anything, so that may be tried elsewhere for every request. A
# connection that ends without an answer may have been heard: only what is safe to ask twice is asked again.
_MODES = {
    Ingress.HTTP: (
        ("option forwardfor", "option idle-close-on-response"),
        (
            "balance roundrobin",
            "retry-on conn-failure empty-response",
            "http-request disable-l7-retry unless METH_GET",
        ),
    ),
    Ingress.TCP: ((), ("balance leastconn",)),
}

_DECLINED = re.compile(r"frontend at_(\d+)_([0-9A-Fa-f.:]+): (cannot [^\[\n]*)")
_MAINTAINED = 0x01 | 0x02 | 0x04
_DRAINED = 0x08 | 0x10


class Shown(msgspec.Struct, frozen=True):
    """What a running process has: the ports that it listens at, and the servers behind each with their state."""

    shape: str
    bound: frozenset[tuple[str, int]] = frozenset()
    servers: Mapping[int, Mapping[str, int]] = {}
    """By port: name and administrative state, a set of bits."""


def shape(listeners: Sequence[Listener]) -> str:
    """What tells whether two configurations differ in more than their servers."""
    parts = [(one.port, one.ip, one.mode) for one in sorted(listeners, key=lambda one: one.port)]
    text = _HEAD + repr(_MODES) + repr(parts)
    return f"longshore-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def render(listeners: Sequence[Listener]) -> str:
    """The configuration. A server that leaves is not in it: a process that starts has nothing to finish there."""
    parts = [_HEAD.format(shape=shape(listeners), socket=SOCKET)]
    for one in sorted(listeners, key=lambda one: one.port):
        front, back = _MODES[one.mode]
        lines = [f"frontend {frontend(one)}", f"    # service {one.service}", f"    mode {one.mode}"]
        lines += [f"    {line}" for line in front]
        lines += [f"    bind {_host(one.ip)}:{one.port}", f"    default_backend {_backend(one.port)}"]
        lines += ["", f"backend {_backend(one.port)}", f"    mode {one.mode}", *(f"    {line}" for line in back)]
        lines += [f"    server {name_of(server)} {place_of(server)}" for server in one.servers if _serves(server)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def commands(listeners: Sequence[Listener], shown: Shown, overdue: Collection[str] = ()) -> Iterator[str]:
    """What makes a process of the right shape serve these: first what is added, so that something always serves.
    Servers that are `overdue` have been waited for long enough."""
    for added in (True, False):
        for one in listeners:
            there = shown.servers.get(one.port, {})
            yield from _arrivals(one, there) if added else _departures(one, there, overdue)


def _arrivals(one: Listener, there: Mapping[str, int]) -> Iterator[str]:
    for server in one.servers:
        target = f"{_backend(one.port)}/{name_of(server)}"
        if not _serves(server):
            continue
        if name_of(server) not in there:
            yield f"add server {target} {place_of(server)}"
            yield f"set server {target} state ready"
        elif there[name_of(server)]:
            yield f"set server {target} state ready"


def _departures(one: Listener, there: Mapping[str, int], overdue: Collection[str]) -> Iterator[str]:
    wanted = {name_of(server): server for server in one.servers if not server.lost}
    for name, state in there.items():
        target = f"{_backend(one.port)}/{name}"
        if name not in wanted:
            if not state & _MAINTAINED:
                yield f"set server {target} state maint"
            if name in overdue:
                yield f"shutdown sessions server {target}"
            yield f"del server {target}"  # refused while it is in use, and asked again
        elif wanted[name].leaving and not state & (_DRAINED | _MAINTAINED):
            yield f"set server {target} state drain"


def has_leftovers(listeners: Sequence[Listener], shown: Shown) -> bool:
    """Whether servers that are wanted no more are still to be deleted."""
    wanted = {one.port: {name_of(server) for server in one.servers if not server.lost} for one in listeners}
    return any(names.keys() - wanted.get(port, set()) for port, names in shown.servers.items())


def lost(listeners: Sequence[Listener], shown: Shown) -> set[str]:
    """Servers that a process still has although their nodes are gone."""
    return {
        name_of(server)
        for one in listeners
        for server in one.servers
        if server.lost and name_of(server) in shown.servers.get(one.port, {})
    }


def _serves(server: Server) -> bool:
    """Whether it gets what is new."""
    return not server.leaving and not server.lost


# -- what a process answers


def read_shape(info: str) -> str:
    """From `show info`."""
    for line in info.splitlines():
        key, _, value = line.partition(":")
        if key.lower() == "description":
            return value.strip()
    return ""


def read_bound(stat: str) -> frozenset[tuple[str, int]]:
    """From `show stat -1 1 -1`: the addresses in the names of the frontends."""
    found = set()
    for row in csv.DictReader(stat.lstrip("# ").splitlines()):
        name = row.get("pxname") or ""
        if name.startswith("at_"):
            _, port, ip = name.split("_", 2)
            found.add((ip, int(port)))
    return frozenset(found)


def read_servers(state: str) -> dict[int, dict[str, int]]:
    """From `show servers state`."""
    found: dict[int, dict[str, int]] = {}
    columns: list[str] = []
    for line in state.splitlines():
        if line.startswith("#"):
            columns = line.lstrip("# ").split()
        elif columns and line.strip():
            row = dict(zip(columns, line.split(), strict=False))
            backend = row.get("be_name", "")
            if backend.startswith("to_"):
                port = int(backend.removeprefix("to_"))
                found.setdefault(port, {})[row["srv_name"]] = int(row["srv_admin_state"])
    return found


def read_declined(log: str) -> dict[tuple[str, int], str]:
    """From the log: the addresses of the frontends that it could not listen at, and why."""
    return {(ip, int(port)): why.strip().removesuffix(" for") for port, ip, why in _DECLINED.findall(log)}


# -- names


def frontend(one: Listener) -> str:
    return f"at_{one.port}_{one.ip}"


def _backend(port: int) -> str:
    return f"to_{port}"


def name_of(server: Server) -> str:
    return f"{server.task}_{server.address}:{server.port}"


def place_of(server: Server) -> str:
    return f"{_host(server.address)}:{server.port}"


def _host(ip: str) -> str:
    return f"ipv6@[{ip}]" if ":" in ip else ip


def is_address(text: str) -> bool:
    """Whether a server may have it: at runtime HAProxy looks no names up."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not getattr(ip, "scope_id", None)  # a zone means something on one machine alone, and may be any text
