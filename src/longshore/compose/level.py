"""What one kind of mapping in a Compose file may hold, and the advice on a key that it may not.

Knows no key itself: `table` lists them.
"""

import difflib

import msgspec


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of mapping in a Compose file."""

    path: str
    """How the documentation names it; `*` is a name of the user's."""
    supported: dict[str, str]
    refused: dict[str, str] = {}
    extensible: bool = True
    """Whether the specification allows `x-…` keys here, which are the user's own and are not read."""


def advice(level: Level, key: str, *, guess: bool) -> str:
    """Why `key` is refused at `level`, and what to write instead if that can be guessed."""
    reason = level.refused.get(key)
    if reason is not None:
        return f"not supported: {reason}"
    if guess and len(key) < 40:
        near = difflib.get_close_matches(key, [*level.supported, *level.refused], n=1, cutoff=0.7)
        if near:
            reason = level.refused.get(near[0])
            return f"unknown key; did you mean {near[0]}?" + (f" That is not supported: {reason}" if reason else "")
    return "unknown key; remove it" + (", or start it with x- if it is a note of your own" if level.extensible else "")
