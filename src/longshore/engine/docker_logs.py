"""Turns an engine's log stream into lines.

Knows the framing of Docker's log and attach streams (for containers without a terminal) and nothing else: bytes come
in as the network cut them, lines go out. Pure, so that every cut can be tried in a test.
"""

import math
from collections.abc import Iterator
from datetime import datetime

from longshore.model.containers import LogLine
from longshore.model.errors import Unavailable

LINE_BYTES_MAX = 16 * 1024
"""A longer line is given out in parts of this size. It is the size in which Docker keeps the parts of one."""

HEADER_BYTES = 8
STREAMS = {1: "stdout", 2: "stderr"}
ENGINE_STREAM = 3
"""On this one the engine speaks itself, to say why the log ends here."""


class Lines:
    """What has come of one container's log and is not yet given out as a line. Lines up to `after` are left out."""

    def __init__(self, after: float | None) -> None:
        self._after = -math.inf if after is None else after
        self._frames = bytearray()
        self._open: dict[str, tuple[float, bytearray]] = {}
        """By stream, the line that has begun and not ended, and when it began."""

    def feed(self, piece: bytes) -> Iterator[LogLine]:
        """The lines that are whole now. Raises Unavailable if the engine says that it cannot go on."""
        self._frames += piece
        while len(self._frames) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._frames[4:HEADER_BYTES], "big")
            if len(self._frames) < end:
                return
            number, payload = self._frames[0], bytes(self._frames[HEADER_BYTES:end])
            del self._frames[:end]
            if number == ENGINE_STREAM:
                raise Unavailable(payload.decode(errors="replace").strip())
            yield from self._add(STREAMS.get(number, "stdout"), payload)

    def rest(self) -> Iterator[LogLine]:
        """The lines that were never ended. Call it once nothing more will come."""
        for stream, (at, text) in self._open.items():
            yield from self._line(at, stream, text)
        self._open.clear()

    def _add(self, stream: str, payload: bytes) -> Iterator[LogLine]:
        """A frame is what the container wrote up to a line's end, or 16 KiB of it, each with its own time in front."""
        stamp, _, written = payload.partition(b" ")
        at, text = self._open.pop(stream) if stream in self._open else (_seconds(stamp), bytearray())
        text += written
        while text:
            size = text.find(b"\n")
            if 0 <= size <= LINE_BYTES_MAX:
                yield from self._line(at, stream, text[:size])
                del text[: size + 1]
            elif len(text) > LINE_BYTES_MAX:
                size = _cut(text)
                yield from self._line(at, stream, text[:size])
                del text[:size]
            else:
                self._open[stream] = (at, text)
                return

    def _line(self, at: float, stream: str, text: bytearray) -> Iterator[LogLine]:
        if at > self._after:
            yield LogLine(at=at, stream=stream, text=text.decode(errors="replace"))


def _cut(text: bytearray) -> int:
    """Where to cut a long line: not within a character of UTF-8."""
    size = LINE_BYTES_MAX
    while size > LINE_BYTES_MAX - 4 and text[size] & 0xC0 == 0x80:
        size -= 1
    return size


def _seconds(stamp: bytes) -> float:
    try:
        return datetime.fromisoformat(stamp.decode()).timestamp()
    except ValueError as error:
        raise Unavailable(f"the engine's log has no time in front of a line: {stamp[:40]!r}") from error
