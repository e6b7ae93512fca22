"""`ports`: both syntaxes, with their ranges written out.

Knows how a port is spelled. Must not know which ports are free or taken twice; that is admission's and placement's.
A port without a host port is chosen by the cluster, so that several tasks of a service fit on one node.
"""

import ipaddress
import re

from longshore.compose import table
from longshore.compose.faults import quoted
from longshore.compose.page import Value
from longshore.compose.quantities import whole
from longshore.model.spec import Ingress, Port, Protocol

ANY_ADDRESS = Port(container=1).ip

_SHORT = re.compile(
    r"(?:(?P<ip>\[[^\]]*\]|[^:\[\]]+):(?=.*:)|:(?=:))?"  # an address counts as one only before two more parts
    r"(?:(?P<host>[^:\[\]/]*):)?"
    r"(?P<container>[^:\[\]/]*)"
    r"(?:/(?P<protocol>[^/]*))?"
)
_MODES = {"host": False, "ingress": True}
_APP_PROTOCOLS = {"http": Ingress.HTTP, "tcp": Ingress.TCP}
_PROTOCOLS = {"tcp": Protocol.TCP, "udp": Protocol.UDP}
_HOW = 'write "8080:80", "80" to have the host port chosen, or "127.0.0.1:8080:80/udp"'


def ports(value: Value) -> tuple[Port, ...]:
    return tuple(port for found in value.each(_item) for port in found)


def _item(item: Value) -> list[Port]:
    return _long(item) if item.is_mapping else _short(item)


def _short(item: Value) -> list[Port]:
    text = item.word()
    match = _SHORT.fullmatch(text)
    if match is None or not match["container"]:
        raise item.fault(f"{quoted(text)} is no port; {_HOW}")
    containers = _range(item, match["container"])
    hosts: range | None = None
    if match["host"]:
        hosts = _hosts(item, match["host"], containers)
    return _written_out(
        item,
        containers,
        hosts,
        protocol=_protocol(item, match["protocol"]),
        ip=ANY_ADDRESS if match["ip"] is None else _address(item, match["ip"].strip("[]")),
    )


def _long(item: Value) -> list[Port]:
    fields = item.fields(table.PORT)
    target, published = fields.get("target"), fields.get("published")
    if target is None:
        raise item.fault("has no target; name the container's port under target")
    ingress = fields.read("mode", lambda value: value.one_of(_MODES), False)
    protocol = fields.read("protocol", lambda value: _protocol(value, value.word()), Protocol.TCP)
    ip = fields.read("host_ip", lambda value: _address(value, value.word()), ANY_ADDRESS)
    port = _port(target, target.word())
    hosts: range | None = None
    if published is not None and (text := published.text()):
        hosts = _hosts(published, text, range(port, port + 1))
    said = fields.get("app_protocol")
    mode = Ingress.TCP if said is None else said.one_of(_APP_PROTOCOLS)
    if ingress:
        if protocol is not Protocol.TCP:
            raise item.fault("entries pass on TCP alone; leave mode: ingress out")
        return [Port(container=port, ip=ip, ingress=mode, listen=port if hosts is None else hosts[0])]
    if said is not None:
        raise said.fault("says how entries are to read the port; it needs mode: ingress")
    return _written_out(item, range(port, port + 1), hosts, protocol=protocol, ip=ip)


def _written_out(item: Value, containers: range, hosts: range | None, *, protocol: Protocol, ip: str) -> list[Port]:
    item.page.ports_left -= len(containers)
    if item.page.ports_left < 0:
        raise item.fault("the file's ranges come to too many ports; publish fewer")
    return [
        Port(container=port, host=None if hosts is None else hosts[index], protocol=protocol, ip=ip)
        for index, port in enumerate(containers)
    ]


def _hosts(place: Value, text: str, containers: range) -> range | None:
    """None where the cluster is to choose. Zero says so too, as in every socket API."""
    if text == "0":
        return None
    hosts = _range(place, text)
    if len(hosts) == len(containers):
        return hosts
    if len(containers) == 1:
        raise place.fault("a range of host ports for one container port; name one, or none to have the cluster choose")
    raise place.fault(f"{len(hosts)} host ports for {len(containers)} container ports; make the ranges equally long")


def _range(place: Value, text: str) -> range:
    first, dash, last = text.partition("-")
    start = _port(place, first)
    end = _port(place, last) if dash else start
    if end < start:
        raise place.fault(f"the range {quoted(text)} runs backwards")
    return range(start, end + 1)


def _port(place: Value, text: str) -> int:
    try:
        port = whole(text)
    except ValueError:
        raise place.fault(f"{quoted(text)} is no port number; {_HOW}") from None
    if not 1 <= port <= 65535:
        raise place.fault(f"ports go from 1 to 65535, not {quoted(text)}")
    return port


def _protocol(place: Value, text: str | None) -> Protocol:
    if text is None:
        return Protocol.TCP
    protocol = _PROTOCOLS.get(text.lower())
    if protocol is None:
        raise place.fault(f"the protocol must be tcp or udp, not {quoted(text)}")
    return protocol


def _address(place: Value, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise place.fault(f"{quoted(text)} is no IP address of a node; {_HOW}") from None
