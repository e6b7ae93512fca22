"""What the words on a command line mean: sizes, spans, ports, mounts, pairs; and options that several commands share.

Knows click's types and `model.spec`. A word that makes no sense is refused here, with the form that would; whether the
whole makes sense is for the manager to say.
"""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from longshore.cli.units import parse_size, parse_span
from longshore.model.placing import GPU, Supply, Taint, TaintEffect
from longshore.model.spec import Mount, MountKind, Port, Protocol

F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT_S = 120.0
STEADY_S = 2.0

_MOUNT_KEYS = {
    "type": "kind",
    "source": "source",
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "readonly": "read_only",
    "ro": "read_only",
    "size": "size",
    "tmpfs-size": "size",
}


if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # takes no parameters in older versions of click


class _Word(_ParamType):
    """A parameter whose reader raises ValueError."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


def read_port(text: str) -> Port:
    """`8080:80`, `80`, `127.0.0.1:8080:80/udp`, `[::1]:8080:80`."""
    body, _, protocol = text.partition("/")
    if protocol not in ("", *Protocol):
        raise ValueError(f"{protocol!r} in {text!r} is neither tcp nor udp")
    rest, _, container = body.rpartition(":")
    ip, _, host = rest.rpartition(":")
    ip = ip.removeprefix("[").removesuffix("]")
    if ip and not host:
        raise ValueError(f"{text!r} has an address but no host port; write IP:HOST:CONTAINER")
    return Port(
        container=_port_number(container, text),
        host=_port_number(host, text) if host else None,
        protocol=Protocol(protocol or "tcp"),
        ip=ip or Port(container=1).ip,
    )


def _port_number(text: str, whole: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} in {whole!r} is not a port; write HOST:CONTAINER such as 8080:80")
    return int(text)


def read_mount(text: str) -> Mount:
    """`data:/var/lib/data`, `/etc/app:/etc/app:ro`, or `type=tmpfs,target=/tmp,size=64m`."""
    if "=" not in text.split(",")[0]:
        return _short_mount(text)
    given: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if key not in _MOUNT_KEYS:
            raise ValueError(f"{key!r} in {text!r} is none of {', '.join(_MOUNT_KEYS)}")
        given[_MOUNT_KEYS[key]] = value if separator else "true"
    kind = given.get("kind", "volume")
    if kind not in tuple(MountKind):
        raise ValueError(f"{kind!r} in {text!r} is none of {', '.join(MountKind)}")
    if "target" not in given:
        raise ValueError(f"{text!r} has no target=")
    return Mount(
        kind=MountKind(kind),
        target=given["target"],
        source=given.get("source", ""),
        read_only=_truth(given.get("read_only", "false"), text),
        size_bytes=parse_size(given["size"]) if "size" in given else 0,
    )


def _truth(text: str, whole: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise ValueError(f"{text!r} in {whole!r} is neither true nor false")
    return text.lower() in ("true", "1")


def _short_mount(text: str) -> Mount:
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or parts[2:] not in ([], ["ro"], ["rw"]) or not parts[0]:
        raise ValueError(f"{text!r} is not a mount; write SOURCE:TARGET[:ro] or type=…,target=…")
    kind = MountKind.BIND if parts[0].startswith("/") else MountKind.VOLUME
    return Mount(kind=kind, source=parts[0], target=parts[1], read_only=parts[2:] == ["ro"])


def read_variable(text: str, env: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """`KEY=VALUE`, or `KEY` for what it is in this shell."""
    key, separator, value = text.partition("=")
    if not key:
        raise ValueError(f"{text!r} is not a variable; write KEY=VALUE, or KEY to pass it on from here")
    if not separator and key not in env:
        raise ValueError(f"{key} is not set here; write {key}=VALUE")
    return key, value if separator else env[key]


def read_count(text: str) -> tuple[str, int]:
    """`web=3`."""
    name, separator, count = text.rpartition("=")
    if not name or not separator or not count.isascii() or not count.isdecimal():
        raise ValueError(f"{text!r} is not NAME=N such as web=3")
    return name, int(count)


def read_label(text: str) -> tuple[str, str | None]:
    """`zone=a`, or `zone-` to remove it."""
    key, separator, value = text.partition("=")
    if separator and key:
        return key, value
    if not separator and len(text) > 1 and text.endswith("-"):
        return text[:-1], None
    raise ValueError(f"{text!r} is neither KEY=VALUE nor KEY-")


def read_taint(text: str) -> Taint:
    """`dedicated=db:NoSchedule`, or without the value."""
    pair, colon, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    if not colon or not key or effect not in tuple(TaintEffect):
        raise ValueError(f"{text!r} is not KEY[=VALUE]:EFFECT, with one of {', '.join(TaintEffect)}")
    return Taint(key=key, value=value, effect=TaintEffect(effect))


def read_taint_change(text: str) -> Taint | str:
    """The same, or `dedicated-` or `dedicated:NoSchedule-` to remove it."""
    if text.endswith("-") and len(text) > 1 and "=" not in text:
        return text[:-1]
    return read_taint(text)


def read_resource(text: str) -> tuple[str, Supply | None]:
    """`licences=3`, `tty=/dev/ttyUSB0,/dev/ttyUSB1`, or `licences-` to remove it. So many GPUs are numbered from zero,
    as engines have them."""
    name, separator, value = text.partition("=")
    if not separator and len(text) > 1 and text.endswith("-"):
        return text[:-1], None
    if not separator or not name or not value:
        raise ValueError(f"{text!r} is neither NAME=NUMBER, NAME=DEVICE,... nor NAME-")
    if not (value.isascii() and value.isdecimal()):
        return name, tuple(one for one in value.split(",") if one)
    return name, tuple(map(str, range(int(value)))) if name == GPU else int(value)


def read_uses(text: str) -> int | None:
    """`3`, or `any`."""
    if text == "any":
        return None
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is neither a number from 1 on nor any")
    return int(text)


def read_lifetime(text: str) -> float | None:
    """`12h`, or `ever`."""
    return None if text == "ever" else parse_span(text)


SIZE = _Word("size", parse_size)
SPAN = _Word("span", parse_span)
PORT = _Word("port", read_port)
MOUNT = _Word("mount", read_mount)
VARIABLE = _Word("key=value", read_variable)
COUNT = _Word("name=n", read_count)
LABEL = _Word("label", read_label)
TAINT = _Word("taint", read_taint)
TAINT_CHANGE = _Word("taint", read_taint_change)
RESOURCE = _Word("resource", read_resource)
USES = _Word("uses", read_uses)
LIFETIME = _Word("lifetime", read_lifetime)


def waiting(*, default: bool) -> Callable[[F], F]:
    """The options `--wait`, `--timeout` and `--steady`."""

    def add(function: F) -> F:
        for option in (
            click.option(
                "--steady",
                "steady_s",
                type=SPAN,
                default=str(STEADY_S),
                metavar="SECONDS",
                help=f"How long new tasks without a health check must keep running to count. [{STEADY_S:g}]",
            ),
            click.option(
                "--timeout",
                "timeout_s",
                type=SPAN,
                default=str(TIMEOUT_S),
                metavar="SECONDS",
                help=f"How long to wait before ending with exit code 3. [{TIMEOUT_S:g}]",
            ),
            click.option(
                "--wait/--no-wait",
                default=default,
                help=f"Follow it to the end and exit with the truth, or not. [{'wait' if default else 'no wait'}]",
            ),
        ):
            function = option(function)
        return function

    return add
