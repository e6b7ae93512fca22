"""Lines that a person types at a prompt: history, and completion of words, ids and files.

The only module that knows prompt_toolkit, which takes longer to import than everything else of a command. Must not know
what a line means.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from longshore.cli.tables import note

PROMPT = "> "
TAKES_ID = ("stop", "get")
TAKES_FILE = ("start",)
FRESH_S = 3.0
"""How long the ids that were learned for one key are good for the next."""


def typed_lines(words: Sequence[str], ids: Callable[[], Iterable[str]]) -> Iterator[str]:
    """Each line that is typed, until Ctrl-D. Ctrl-C drops what stands on the line."""
    session: PromptSession[str] = PromptSession(
        PROMPT,
        history=_history(history_file(os.environ)),
        completer=LineCompleter(words, ids),
        # It may ask a manager: only when Tab says so, and typing goes on meanwhile.
        complete_while_typing=False,
        complete_in_thread=True,
    )
    while True:
        try:
            yield session.prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def history_file(env: Mapping[str, str]) -> Path:
    """Where the lines of this user are kept."""
    state = env.get("XDG_STATE_HOME") or ""
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "longshore" / "client.history"


def _history(path: Path) -> History:
    """Lines are kept for their user alone; where they cannot be, for this session."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        note(f"lines are not remembered: {path}: {error.strerror}")
        return InMemoryHistory()
    return FileHistory(str(path))


class LineCompleter(Completer):
    """What may come next on a line: a word, then the id of a task or a file, by the word."""

    def __init__(
        self, words: Sequence[str], ids: Callable[[], Iterable[str]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._words = tuple(words)
        self._ids = ids
        self._now = now
        self._known: tuple[str, ...] = ()
        self._learned_at: float | None = None
        self._files = PathCompleter(expanduser=False)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        before = document.text_before_cursor.lstrip()
        word, space, rest = before.partition(" ")
        rest = rest.lstrip()
        if not space:
            yield from _beginning(self._words, word)
        elif word in TAKES_ID:
            yield from _beginning(self._fresh_ids(), rest)
        elif word in TAKES_FILE:
            yield from self._files.get_completions(Document(rest, len(rest)), complete_event)

    def _fresh_ids(self) -> tuple[str, ...]:
        now = self._now()
        if self._learned_at is None or now - self._learned_at > FRESH_S:
            self._known = tuple(sorted(self._ids()))
            self._learned_at = now
        return self._known


def _beginning(choices: Iterable[str], typed: str) -> Iterator[Completion]:
    return (Completion(one, -len(typed)) for one in choices if one.startswith(typed))
