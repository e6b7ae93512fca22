"""Streams that outlive their connection: server-sent events, and watches made of them.

Knows the text format of server-sent events, and how to go on after a break: events by the last id, watches by comparing
what is there now with what was there before, so whoever reads sees one stream without gaps or repetitions. Must not
know routes or how a connection is made; a stream is opened by what it is given.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

import msgspec

from longshore.model.errors import Refused, Unavailable

T = TypeVar("T")

SILENCE_S = 45.0
"""A manager gives a sign of life every 15 s; after three missed ones it is taken for gone."""
PATIENCE_S = 60.0
"""How long a broken stream is tried again before its reader is told."""
_BACK_OFF_S = 0.1
_BACK_OFF_MAX_S = 3.0


class ServerEvent(msgspec.Struct, frozen=True):
    """One server-sent event."""

    event: str
    id: str
    """The last one that was given, also by an earlier event."""
    text: str


class Item(msgspec.Struct, Generic[T], frozen=True):
    """Something matches, or changed."""

    value: T


class Ready(msgspec.Struct, frozen=True):
    """Everything that matches has been given. Comes again after each break."""


class Broken(msgspec.Struct, frozen=True):
    """From here to the next Ready, what was given may be true no more."""


class Gone(msgspec.Struct, frozen=True):
    """Something does not match any more, or is removed."""

    id: str


Watched = Item[T] | Ready | Broken | Gone
Open = Callable[[str], AbstractContextManager[Iterable[bytes]]]
"""Opens a stream after the event with this id (empty: from its beginning) and gives its bytes."""


class _GoneText(msgspec.Struct, frozen=True):
    id: str


def parse(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Events from bytes, however they were cut. Comments are signs of life only and are dropped. An id may come without
    text, to say from where to go on; such an event is given too."""
    kind, lines, last, named = "", list[str](), "", False
    for line in _lines(chunks):
        if not line:
            if lines or named:
                yield ServerEvent(kind or "message", last, "\n".join(lines))
            kind, lines, named = "", [], False
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            lines.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last, named = value, True


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole lines without their ends. What is left at the end of the stream was cut off and is not given."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


class Patience:
    """How long to go on after a break, and how long to wait before each try."""

    def __init__(
        self,
        limit_s: float = PATIENCE_S,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._sleep = sleep
        self._reached = False
        self._broken_at: float | None = None
        """Since when nothing has been heard across breaks; a reader that is slow to read does not count."""
        self._wait_s = _BACK_OFF_S

    def hear(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same bytes; each is a sign that the other side lives."""
        for chunk in chunks:
            self._broken_at = None
            self._wait_s = _BACK_OFF_S
            yield chunk

    def reach(self) -> None:
        """The other side was there once, so it is worth waiting for."""
        self._reached = True

    def check(self, failure: Unavailable) -> None:
        """Raise `failure` if there is no point in another try: never reached yet, or silent for too long."""
        now = self._clock()
        if self._broken_at is None:
            self._broken_at = now
        if not self._reached or now - self._broken_at > self._limit_s:
            raise failure

    def wait(self) -> None:
        """Wait before the next try."""
        self._sleep(self._wait_s)
        self._wait_s = min(2 * self._wait_s, _BACK_OFF_MAX_S)


def resumed(open_stream: Open, last: str = "", patience: Patience | None = None) -> Iterator[ServerEvent | None]:
    """Every event of a stream, across breaks; None for each break."""
    patience = patience or Patience()
    while True:
        failure = Unavailable("the stream ended")
        try:
            with open_stream(last) as chunks:
                patience.reach()
                for event in parse(patience.hear(chunks)):
                    last = event.id or last
                    yield event
        except Unavailable as broken:
            failure = broken
        patience.check(failure)
        yield None
        patience.wait()


def watched(events: Iterable[ServerEvent | None], type: type[T], key: Callable[[T], str]) -> Iterator[Watched[T]]:
    """A watch as one seamless stream. After a break the manager tells everything anew: what is the same as before is
    dropped, and what is missing is told as gone."""
    known: dict[str, T] = {}
    missing: set[str] = set()
    for one in events:
        if one is None:
            missing = set(known)
            yield Broken()
        elif one.event == "item":
            value = decoded(one.text, type)
            missing.discard(key(value))
            if known.get(key(value)) != value:
                known[key(value)] = value
                yield Item(value)
        elif one.event == "gone":
            gone = decoded(one.text, _GoneText).id
            missing.discard(gone)
            if known.pop(gone, None) is not None:
                yield Gone(gone)
        elif one.event == "ready":
            for id in sorted(missing):
                del known[id]
                yield Gone(id)
            missing = set()
            yield Ready()


def decoded(content: bytes | str, type: type[T]) -> T:
    """What a manager said, as the type that it should be. Raises Refused if it is not."""
    try:
        return msgspec.json.decode(content, type=type)
    except msgspec.MsgspecError as error:
        raise Refused(
            f"the manager's answer is not understood ({error}); it may be of another version than this command"
        ) from error
