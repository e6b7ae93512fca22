"""`$X`, `${X:-default}` and their kin, in one string.

Knows the grammar of Compose's interpolation and one mapping of variables. Must not know files or YAML: it works on
values that are already parsed, so no variable can ever add a key, a line or a comment. Where Compose warns of an unset
variable and goes on with an empty string, this refuses: a warning scrolls by, and a container starts with no password.
"""

import re
from collections.abc import Mapping

DEPTH_MAX = 10
"""Defaults within defaults. Nobody reads more, and the bound keeps the work linear."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


class Unfilled(Exception):
    """What is wrong with the string at character `at`."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def fill(text: str, variables: Mapping[str, str]) -> str:
    """`text` with every variable replaced; raises Unfilled."""
    if "$" not in text:
        return text
    return _Filling(text, variables).run(0, len(text), depth=0, used=True)


class _Filling:
    """One string being filled in. Words are spans of the text, so that a fault points into the original."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        self._text = text
        self._variables = variables

    def run(self, start: int, end: int, *, depth: int, used: bool) -> str:
        """The span, filled in. A word that is not `used` is only checked: its variables may be unset."""
        text, parts, at = self._text, list[str](), start
        while (dollar := text.find("$", at, end)) != -1:
            parts.append(text[at:dollar])
            follows = text[dollar + 1 : dollar + 2] if dollar + 1 < end else ""
            if follows == "$":
                parts.append("$")
                at = dollar + 2
            elif follows == "{":
                close = self._closing(dollar, end)
                parts.append(self._braced(dollar, close, depth=depth, used=used))
                at = close + 1
            else:
                name = _NAME.match(text, dollar + 1, end)
                if name is None:
                    raise Unfilled("a lone `$`; write `$$` for a dollar sign", dollar)
                parts.append(self._value(name.group(), dollar, used=used))
                at = name.end()
        parts.append(text[at:end])
        return "".join(parts)

    def _closing(self, start: int, end: int) -> int:
        """Where the `${` at `start` is closed. Only `${` nests: a `{` alone is text, as in Compose."""
        depth, at = 0, start
        while at < end:
            if self._text.startswith("$$", at):
                at += 2
            elif self._text.startswith("${", at):
                depth += 1
                at += 2
            elif self._text[at] == "}":
                depth -= 1
                if depth == 0:
                    return at
                at += 1
            else:
                at += 1
        raise Unfilled("a `${` that is never closed; add the `}`, or write `$$` for a dollar sign", start)

    def _braced(self, dollar: int, close: int, *, depth: int, used: bool) -> str:
        if depth >= DEPTH_MAX:
            raise Unfilled(f"defaults nested more than {DEPTH_MAX} deep", dollar)
        name = _NAME.match(self._text, dollar + 2, close)
        if name is None:
            raise Unfilled("`${` must be followed by the name of a variable", dollar)
        if name.end() == close:
            return self._value(name.group(), dollar, used=used)
        operator = _OPERATOR.match(self._text, name.end(), close)
        if operator is None:
            raise Unfilled(
                f"after `${{{name.group()}` comes `}}` or one of :- - :? ? :+ +; write `${{{name.group()}:-default}}`",
                dollar,
            )
        value = self._variables.get(name.group())
        there = bool(value) if operator.group().startswith(":") else value is not None
        kind = operator.group()[-1]
        take_word = there if kind == "+" else not there
        word = self.run(operator.end(), close, depth=depth + 1, used=used and take_word)
        if kind == "?" and used and not there:
            raise Unfilled(f"variable {name.group()} must be set{f': {word}' if word else ''}", dollar)
        if kind == "+":
            return word if there else ""
        return word if take_word else value or ""

    def _value(self, name: str, dollar: int, *, used: bool) -> str:
        value = self._variables.get(name)
        if value is None and used:
            raise Unfilled(
                f"variable {name} is not set; set it in the environment or in .env, or give a default with "
                f"`${{{name}:-default}}`, or write `$$` for a dollar sign",
                dollar,
            )
        return value or ""
