"""How Compose spells numbers, truth, durations, sizes and cores.

Pure functions from text to a value; each raises ValueError with a sentence that says how to write it instead. Must not
know where the text stood. The core schema is YAML 1.2's and not PyYAML's 1.1, in which `22:22` is 1342, `017` is 15 and
`on` is true.
"""

import re
from decimal import Decimal
from enum import Enum, auto


class Sort(Enum):
    """What an unquoted scalar is by the core schema of YAML 1.2."""

    NULL = auto()
    BOOL = auto()
    INT = auto()
    FLOAT = auto()
    TEXT = auto()


_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_SECONDS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),  # U+00B5, the micro sign
    "μs": Decimal("1e-6"),  # U+03BC, the Greek letter, which looks the same
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_CORES = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", re.ASCII)

DIGITS_MAX = 18
"""Longest run of digits read as a number: it fits 64 bits, which is what the store and the wire carry."""
SIZE_MAX = 2**60
DURATION_MAX_S = 10 * 365 * 86400
CORES_MAX = 100_000


def sort_of(text: str) -> Sort:
    if text in _NULL:
        return Sort.NULL
    if text in _TRUE or text in _FALSE:
        return Sort.BOOL
    if _INT.fullmatch(text):
        return Sort.INT
    return Sort.FLOAT if _FLOAT.fullmatch(text) else Sort.TEXT


def truth(text: str) -> bool:
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError("must be true or false")


def whole(text: str) -> int:
    """Decimal, `0o` octal or `0x` hexadecimal; a leading zero means nothing."""
    if not _INT.fullmatch(text):
        raise ValueError("must be a whole number")
    if len(text) > DIGITS_MAX:
        raise ValueError("is too large a number")
    if text.startswith(("0x", "0o")):
        return int(text, 0)
    return int(text)


def duration_s(text: str) -> float:
    """`1m30s`, `500ms`, `1.5h`; a bare number has no unit and is refused, as in Compose, but for `0`."""
    if text == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(parts) != text or len(text) > 2 * DIGITS_MAX:
        raise ValueError("must be a duration with its unit, such as 500ms, 10s, 1m30s or 1h")
    total = Decimal(0)
    for part in parts:
        number = part.rstrip("nuµμmsh")
        total += Decimal(number) * _SECONDS[part[len(number) :]]
    if total > DURATION_MAX_S:
        raise ValueError("is longer than ten years")
    return float(total)


def size_bytes(text: str) -> int:
    """`64m`, `1.5gb`, `128MiB`, `4096`; as in Compose every unit is a power of 1024, and `k`, `kb`, `KiB` are one."""
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > 2 * DIGITS_MAX:
        raise ValueError("must be a size, such as 64m, 1.5g or 128MiB, or a number of bytes")
    number, unit = match.groups()
    size = int(Decimal(number) * (1024 ** " kmgtp".index(unit.lower() or " ")))
    if size > SIZE_MAX:
        raise ValueError("is too large a size")
    return size


def cores(text: str) -> float:
    if not _CORES.fullmatch(text) or len(text) > DIGITS_MAX:
        raise ValueError("must be a number of CPU cores, such as 0.5 or 2")
    count = float(text)
    if count > CORES_MAX:
        raise ValueError("is more cores than any machine has")
    return count
