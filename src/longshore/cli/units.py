"""Numbers as people write and read them: sizes, spans of time, moments, addresses of ports.

Pure functions; the present is an argument. Knows no command and no table.
"""

import re
import time
from collections.abc import Iterable, Mapping

from longshore.model.objects import PublishedPort, Task
from longshore.model.spec import Protocol

_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[bkmgt]?)(i?b)?", re.IGNORECASE)
_SPAN = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>ms|s|m|h|d|w)")
_SPAN_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  (what a published port says that is not narrowed)


def parse_size(text: str) -> int:
    """Bytes of `64m`, `1.5GiB`, `512`. Every unit is a power of 1024, as in Compose files. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size such as 64m or 1.5g")
    return int(float(match["number"]) * 1024 ** "bkmgt".index(match["unit"].lower() or "b"))


def parse_span(text: str) -> float:
    """Seconds of `90`, `10m`, `1h30m`. Raises ValueError."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = list(_SPAN.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"{text!r} is not a span of time such as 30s, 10m or 1h30m")
    return sum(float(part["number"]) * _SPAN_S[part["unit"]] for part in parts)


def size(count: float) -> str:
    """`64.0 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        # What would be rounded to 1024.0 belongs to the next unit.
        if abs(count) < (1024 if unit == "B" else 1023.95) or unit == "TiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("the last unit takes everything")


def span(seconds: float) -> str:
    """`12s`, `3m`, `5h`, `2d`: the largest unit alone. Clocks differ, so what lies ahead is `0s`."""
    seconds = max(0, seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def age(then: float | None, now: float) -> str:
    return "-" if not then else span(now - then)


def moment(at: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def cores(count: float) -> str:
    """`0.5`, `2`."""
    return f"{count:.2f}".rstrip("0").rstrip(".")


def plain(text: str) -> str:
    """Foreign words on one line and without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))


def port(node: str, one: PublishedPort) -> str:
    """`n1:30001->8080/tcp`."""
    return f"{node}:{one.host}->{one.container}/{one.protocol}"


def ports(task: Task) -> str:
    return " ".join(port(task.node, one) for one in task.ports)


def urls(task: Task, addresses: Mapping[str, str]) -> list[str]:
    """Where the task's TCP ports answer, if its node has an address."""
    return [where for one in task.ports if (where := port_url(one, addresses.get(task.node, "")))]


def port_url(one: PublishedPort, address: str) -> str:
    """`http://10.0.0.1:30001`; empty if that is not known or not TCP."""
    host = address if one.ip in _EVERYWHERE else one.ip
    if not host or one.protocol is not Protocol.TCP:
        return ""
    return f"http://[{host}]:{one.host}" if ":" in host else f"http://{host}:{one.host}"


def counted(count: int, noun: str) -> str:
    """`1 task`, `3 tasks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(words: Iterable[str], most: int = 6) -> str:
    """`a, b, c and 4 more`."""
    words = list(words)
    more = len(words) - most
    return ", ".join(words) if more <= 0 else f"{', '.join(words[:most])} and {more} more"
