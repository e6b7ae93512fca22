"""What the servers say of themselves: structlog, for a person on a terminal and as JSON lines otherwise.

Secrets are never passed to a logger; the one filter here is a second line, for the day somebody forgets.
"""

import logging
import re
import sys
from contextlib import suppress
from typing import IO, Any

import msgspec
import structlog

_SECRET = re.compile(r"\bls[ajnw]_[A-Za-z0-9_-]{8,}")


def _mask(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key, value in line.items():
        if isinstance(value, str) and "ls" in value:
            line[key] = _SECRET.sub("ls*_…", value)
    return line


class _Sink:
    """Where lines go. What cannot be written, as on a full disk, is lost: no server ends because its log does."""

    def __init__(self, file: IO[Any]) -> None:
        self._file = file

    def write(self, line: Any) -> None:
        with suppress(OSError):
            self._file.write(line)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()


def announce(text: str) -> None:
    """A line for whoever started a server, as it is."""
    sink = _Sink(sys.stderr)
    sink.write(f"{text}\n")
    sink.flush()


def speak(*, level: str = "info", form: str | None = None) -> None:
    """Configure logging once. `form` is `json` or `console`; None is console on a terminal, JSON otherwise."""
    form = form or ("console" if sys.stderr.isatty() else "json")
    renderer: Any
    if form == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        sink: Any = structlog.WriteLoggerFactory(file=_Sink(sys.stderr))  # type: ignore[arg-type]
    else:
        renderer = structlog.processors.JSONRenderer(serializer=lambda one, **_: msgspec.json.encode(one))
        sink = structlog.BytesLoggerFactory(file=_Sink(sys.stderr.buffer))  # type: ignore[arg-type]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            _mask,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=sink,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # A stranger's malformed request is answered with 400; its traceback is of use to nobody.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
