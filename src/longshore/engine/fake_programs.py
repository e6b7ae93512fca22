"""What a fake container does once it is started: the few commands that tests and simulations need, by simple rules.

Knows argument lists; must not know containers. The rules are those of the real programs as a container's first
process, which gets no signal that it has not asked for:

- no command, or one that is not known here: runs until it is stopped, and obeys its stop signal with exit code 0
- `true`, `false`, `sleep S`, `exit N`: end as they say; ignore signals
- `sh -c SCRIPT` with any of `echo TEXT`, `echo TEXT >&2`, `sleep S`, `exit N`, `true`, `false`, `trap "exit N" SIGNAL`
  and `wait`, joined by `;`, `&&` or `&`: goes through them; anything else in it runs until it is stopped
- a program with `missing` in its name cannot be started
"""

import shlex
from functools import lru_cache

import msgspec

FOR_EVER = float("inf")


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a command, as far as it can be told beforehand."""

    lines: tuple[tuple[float, str, str], ...] = ()
    """What it writes: seconds after its start, stream, text."""
    ends_after_s: float = FOR_EVER
    exit_code: int = 0
    obeys: dict[str, int] = {}
    """Signals that end it, with the exit code."""
    missing: str = ""
    """The program that is not there, if it is not."""


@lru_cache(maxsize=1024)
def program_of(arguments: tuple[str, ...]) -> Program:
    match arguments:
        case (name, *_) if "missing" in name:
            return Program(missing=name)
        case ("sh" | "/bin/sh", "-c", script):
            return _run(script)
        case ("true" | "false" | "sleep" | "exit", *_):
            return _run(shlex.join(arguments))
        case _:
            served: tuple[tuple[float, str, str], ...] = ((0.0, "stdout", "started"),)
            return Program(lines=served, obeys={"TERM": 0, "INT": 0, "QUIT": 0})


def _run(script: str) -> Program:
    now, code = 0.0, 0
    lines: list[tuple[float, str, str]] = []
    obeys: dict[str, int] = {}
    for statement in _statements(script):
        match statement:
            case ["echo", *words, ">&", "2"]:
                lines.append((now, "stderr", " ".join(words)))
            case ["echo", *words]:
                lines.append((now, "stdout", " ".join(words)))
            case ["sleep", seconds]:
                now += float(seconds)
            case ["trap", action, *signals]:
                obeys |= dict.fromkeys(signals, _run(action).exit_code)
            case ["true" | "wait", *_]:
                code = 0
            case ["false", *_]:
                code = 1
            case ["exit", *rest]:
                code = int(rest[0]) if rest else code
                break
            case _:
                now = FOR_EVER
                break
    return Program(lines=tuple(lines), ends_after_s=now, exit_code=code, obeys=obeys)


def _statements(script: str) -> list[list[str]]:
    statements: list[list[str]] = [[]]
    words = shlex.shlex(script.replace("\n", ";"), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    for word in words:
        if word in (";", "&", "&&"):
            statements.append([])
        else:
            statements[-1].append(word)
    return [statement for statement in statements if statement]
