"""Which port of the entries is whose: what one port may ask for, and that no two services ask for the same.

Knows ports and services; no nodes, no tasks. `admission` asks about a single wish, `wishes` about the whole world.
"""

from collections.abc import Mapping

from longshore.decide import grammar
from longshore.model.errors import Conflict, Invalid
from longshore.model.spec import Port, Protocol, ServiceSpec


def listen_of(port: Port, path: str) -> int | None:
    """The port of the entries, written out; None if they do not answer for this one."""
    if port.ingress is None:
        if port.listen is not None:
            raise Invalid("only a port with ingress has this; set ingress to http or tcp", field=f"{path}.listen")
        return None
    if port.protocol is not Protocol.TCP:
        raise Invalid("entries pass on TCP alone; leave ingress out", field=f"{path}.ingress")
    if port.host is not None:
        raise Invalid(
            "with ingress the cluster chooses the nodes' own ports; name the entries' under listen",
            field=f"{path}.host",
        )
    listen = port.container if port.listen is None else port.listen
    if not 1 <= listen <= grammar.PORT_MAX:
        raise Invalid(f"{listen} is out of range; use 1 to {grammar.PORT_MAX}", field=f"{path}.listen")
    first, last = grammar.PORTS_CHOSEN
    if first <= listen <= last:
        raise Invalid(f"{first} to {last} are given to tasks; choose another port", field=f"{path}.listen")
    return listen


def claims(spec: ServiceSpec) -> dict[int, Port]:
    """The ports of a spec that entries answer for, by the port that they answer at."""
    return {port.listen: port for port in spec.ports if port.ingress is not None and port.listen is not None}


def check_claims(wished: Mapping[str, ServiceSpec], standing: Mapping[str, ServiceSpec]) -> None:
    """Raises Conflict if a service of `wished` listens at what another one, of these or of `standing`, has. A host port
    that a service names counts: on a node that is an entry the two would meet."""
    listening: dict[int, str] = {}
    fixed: dict[int, str] = {}
    for name, spec in [*standing.items(), *wished.items()]:
        for listen in claims(spec):
            other = listening.setdefault(listen, name)
            if other != name and name in wished:
                raise Conflict(f"port {listen} of the entries is service {other}'s; have {name} listen at another")
        for port in spec.ports:
            if port.host is not None and port.protocol is Protocol.TCP:
                fixed[port.host] = name
    for listen, name in listening.items():
        other = fixed.get(listen, name)
        if other != name and (name in wished or other in wished):
            raise Conflict(
                f"port {listen} is the entries' for service {name} and a host port of {other}; choose another for one"
            )
