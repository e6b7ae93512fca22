"""How two specs differ, field by field, in words for people.

Values of environment variables and of probes' headers are never told, only that they changed: that is where passwords
are. Knows specs only.
"""

from collections.abc import Iterator, Mapping

import msgspec

from longshore.model.spec import Dependency, Ingress, Mount, Port, ServiceSpec
from longshore.model.views import FieldChange

MASK = "…"


def differences(before: ServiceSpec, after: ServiceSpec) -> tuple[FieldChange, ...]:
    """Every field that is not the same, in the order of the spec; an empty text is what is not there."""
    changes = []
    for name in before.__struct_fields__:
        old, new = (dict(_fields(getattr(spec, name), f"spec.{name}")) for spec in (before, after))
        for path in dict.fromkeys([*old, *new]):
            if old.get(path) != new.get(path):
                was, becomes = _words(path, old.get(path)), _words(path, new.get(path))
                changes.append(FieldChange(field=path, before=was, after=becomes))
    return tuple(changes)


def _fields(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Leaves with their paths. A list is one leaf: place by place, an insertion would change all that follows."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, Mapping):
        for key, one in sorted(value.items()):
            yield f"{path}[{key}]", one
    elif value is not None:
        yield path, value


def _words(path: str, value: object) -> str:
    if value is None:
        return ""
    if path.startswith(("spec.env[", "spec.liveness.http.headers[", "spec.readiness.http.headers[")):
        return MASK
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and path.endswith(("memory", "_bytes")):
        return _size(value)
    if isinstance(value, int | float):
        return f"{value:.15g}"
    if isinstance(value, tuple):
        return _list(value)
    return str(value)


def _size(count: int) -> str:
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count and count % (1 << power) == 0:
            return f"{count >> power} {unit}"
    return str(count)


def _list(values: tuple[object, ...]) -> str:
    if any(isinstance(one, Port | Mount | Dependency) for one in values):
        return ", ".join(_item(one) for one in values)
    return msgspec.json.encode(values).decode()


def _item(value: object) -> str:
    match value:
        case Port(ingress=Ingress() as mode):
            return f"{mode} at {value.ip}:{value.listen} of each entry->{value.container}"
        case Port():
            host = "any" if value.host is None else str(value.host)
            return f"{value.ip}:{host}->{value.container}/{value.protocol}"
        case Dependency():
            return f"{value.service} {value.condition}"
        case Mount():
            source = f" {value.source}" if value.source else ""
            extra = [f"{_size(value.size_bytes)}"] if value.size_bytes else []
            extra += ["read-only"] if value.read_only else []
            return f"{value.kind}{source} at {value.target}" + (f" ({', '.join(extra)})" if extra else "")
    return str(value)
