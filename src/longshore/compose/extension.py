"""`x-longshore`: what a service may be wished to have that Compose has no key for.

Knows its keys, each of which is a field of the spec with a reader; but `rebalance` is one of its placement, of which
`placing` knows the rest, and `shares` one of its resources. Other `x-` keys are the user's own and are not read. Must
not judge what was written beyond its spelling: which probes will do is admission's.
"""

from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from longshore.compose import placing, table
from longshore.compose.page import Fields, Value
from longshore.compose.quantities import cores, duration_s
from longshore.model.spec import PRIORITY_MAX, ExecProbe, HttpProbe, Preemption, Probe, ServiceSpec, TcpProbe

KEY = "x-longshore"

_DEFAULT = Probe()


def extended(spec: ServiceSpec, service: Fields) -> ServiceSpec:
    """`spec` with what the service's extension says."""
    value = service.get(KEY)
    if value is None:
        return spec
    fields = value.attempt(lambda value: value.fields(table.EXTENSION), None)
    if fields is None:
        return spec
    said = {key: fields.read(key, reader, None) for key, reader in _READERS.items()}
    own = replace(spec, **{key: found for key, found in said.items() if found is not None})
    rebalance = fields.read("rebalance", Value.flag, spec.placement.rebalance)
    rules = replace(spec.placement, rebalance=rebalance)
    shares = fields.read("shares", _shares, {})
    return replace(
        own,
        placement=fields.read("placement", partial(placing.extended, rules), rules),
        resources=replace(spec.resources, shares=shares),
    )


def _shares(value: Value) -> dict[str, float]:
    return {name: entry.of(cores) for name, entry in value.entries().items()}


def _probe(value: Value) -> Probe:
    fields = value.fields(table.PROBE)
    ways = [way for way in ("http", "tcp", "command") if fields.get(way) is not None]
    if len(ways) != 1:
        raise value.fault(f"asks in {' and '.join(ways) or 'no way'}; a probe has one of http, tcp and command")
    return Probe(
        http=fields.read("http", _http, None),
        tcp=fields.read("tcp", _tcp, None),
        exec=fields.read("command", _command, None),
        interval_s=fields.read("interval", _duration, _DEFAULT.interval_s),
        timeout_s=fields.read("timeout", _duration, _DEFAULT.timeout_s),
        retries=fields.read("retries", Value.integer, _DEFAULT.retries),
        successes=fields.read("successes", Value.integer, _DEFAULT.successes),
        start_period_s=fields.read("start_period", _duration, _DEFAULT.start_period_s),
    )


def _http(value: Value) -> HttpProbe:
    fields = value.fields(table.PROBE_HTTP)
    return HttpProbe(
        port=_port(fields),
        path=fields.read("path", Value.word, "/"),
        headers=fields.read("headers", _headers, {}),
        accepts=tuple(fields.read("accepts", lambda value: value.each(Value.integer), [])),
    )


def _tcp(value: Value) -> TcpProbe:
    return TcpProbe(port=_port(value.fields(table.PROBE_TCP)))


def _port(fields: Fields) -> int:
    port = fields.get("port")
    if port is None:
        raise fields.place.fault("has no port; name the container's")
    return port.integer(1, 65_535)


def _headers(value: Value) -> dict[str, str]:
    return {name: entry.spelled() for name, entry in value.entries().items()}


def _command(value: Value) -> ExecProbe:
    words = tuple(value.each(Value.text))
    if not words:
        raise value.fault("is empty; list the program and its arguments")
    return ExecProbe(command=words)


def _duration(value: Value) -> float:
    return value.of(duration_s)


_PREEMPTIONS = {one.value: one for one in Preemption}
_READERS: Mapping[str, Callable[[Value], object]] = {
    "liveness": _probe,
    "readiness": _probe,
    "single_writer": Value.flag,
    "priority": lambda value: value.integer(-PRIORITY_MAX, PRIORITY_MAX),
    "preemption": lambda value: value.one_of(_PREEMPTIONS),
}
"""By key, which is the field of the spec as well."""
