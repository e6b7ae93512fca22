"""Files of `KEY=VALUE` lines: the `.env` beside a Compose file and those that `env_file` names.

Knows their grammar: `export`, comments, three ways of quoting, and variables. Must not know which file wins over which;
that is `load`'s and `services`' to say. A line it cannot read is a fault with that file's name and line.
"""

import re
from collections import ChainMap
from collections.abc import Mapping

from longshore.compose.faults import Fault, quoted
from longshore.compose.variables import Unfilled, fill

# Compose also takes `KEY: VALUE`, dots and dashes in a key, and brackets.
_KEY = re.compile(r"(?:export[ \t]+)?(?P<key>[A-Za-z0-9_.\-\[\]]+)[ \t]*(?P<delimiter>[=:]?)[ \t]*", re.ASCII)
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_ESCAPE = re.compile(r"\\([abfnrtv\\\"$]|0[0-7]{1,3})")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse(text: str, variables: Mapping[str, str], file: str) -> dict[str, str]:
    """The file's variables. In its values `variables` are seen first and then the lines above, as in Compose."""
    found: dict[str, str] = {}
    # A ChainMap takes only mutable maps by type; this one is never written.
    seen = ChainMap(dict(variables), found)
    lines = text.replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].strip(" \t")
        at += 1
        if not line or line.startswith("#"):
            continue
        match = _KEY.match(line)
        if match is None:
            raise Fault(f"must be KEY=VALUE, not {quoted(line)}", line=number, file=file)
        key, rest = match["key"], line[match.end() :]
        if not match["delimiter"]:
            # A line that is only a key takes its value from outside, or leaves it unset.
            if _COMMENT.sub("", rest).strip():
                raise Fault(f"must be KEY=VALUE, not {quoted(line)}", line=number, file=file)
            if key in variables:
                found[key] = variables[key]
            continue
        if rest[:1] in ("'", '"'):
            # A quoted value may go on over the following lines; those are taken as they stand.
            value, at = _quoted_value(lines, at, rest, file)
            literal = rest[0] == "'"
        elif rest.startswith("#") and line[match.end() - 1] in "=:":
            # Of Compose's versions some take it for a comment and some for the value, which may be a password.
            raise Fault(f"{key} has a value that begins with #: quote it, or remove it", line=number, file=file)
        else:
            value, literal = _COMMENT.sub("", rest).rstrip(), False
        found[key] = value if literal else _filled(value, seen, number, file)
    return found


def _quoted_value(lines: list[str], at: int, first: str, file: str) -> tuple[str, int]:
    """The text between the quotes, and the number of the line that comes next."""
    quote, number, rest = first[0], at, first[1:]
    value = list[str]()
    while True:
        closing = _closing(rest, quote)
        if closing is not None:
            after = rest[closing + 1 :].strip()
            if after and not after.startswith("#"):
                raise Fault(f"{quoted(after)} follows the closing quote", line=at, file=file)
            value.append(rest[:closing])
            break
        value.append(rest)
        if at == len(lines):
            raise Fault(f"a quote ({quote}) that is never closed", line=number, file=file)
        rest = lines[at]
        at += 1
    text = "\n".join(value)
    if quote == "'":
        return text.replace("\\'", "'"), at
    return _ESCAPE.sub(_unescaped, text), at


def _closing(text: str, quote: str) -> int | None:
    at = 0
    while at < len(text):
        if text[at] == quote:
            return at
        at += 2 if text[at] == "\\" else 1
    return None


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape == "$":
        return "$$"  # still to be filled in, where this stands for a dollar sign
    if escape.startswith("0"):
        return chr(int(escape, 8))
    return _ESCAPES.get(escape, escape)


def _filled(value: str, seen: Mapping[str, str], number: int, file: str) -> str:
    try:
        return fill(value, seen)
    except Unfilled as unfilled:
        raise Fault(f"{unfilled.message}, or quote the value with '…'", line=number, file=file) from unfilled
