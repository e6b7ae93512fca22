"""What is wrong with a Compose file, where, and how it is told: all faults at once, as one `Invalid`.

Knows how a fault is printed (`FILE:LINE: path: what is wrong and what to do`). Must not know what a Compose file
contains. A `Fault` never leaves this package: readers raise it, `Faults` collects it, `load` settles it, so that a
user mends a file in one round instead of one error at a time.
"""

from longshore.model.errors import Invalid

SHOWN = 20
"""Faults printed in full; more are counted only. A page of refusals is read, a thousand are scrolled past."""


class Fault(Exception):
    """One thing that is wrong. `file` is empty for the Compose file itself and set for files that it names."""

    def __init__(self, message: str, *, line: int = 0, path: str = "", file: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        """Counted from one; zero when the fault is the whole file's."""
        self.path = path
        self.file = file

    def shown(self, file: str) -> str:
        where = self.file or file
        if self.line:
            where += f":{self.line}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class Faults:
    """The faults found so far in one file."""

    __slots__ = ("_file", "_found")

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: list[Fault] = []

    @property
    def many(self) -> bool:
        """Whether another one would not be shown any more, so that nobody needs to work out good advice for it."""
        return len(self._found) >= SHOWN

    def note(self, fault: Fault) -> None:
        self._found.append(fault)

    def settle(self) -> None:
        """Raise everything noted, in the order of the file."""
        if not self._found:
            return
        # Sorting is stable, and files named by this one come after it.
        ordered = sorted(self._found, key=lambda fault: (fault.file, fault.line))
        # An anchor that is used in several places says the same of each: equal sentences are shown once.
        lines = list(dict.fromkeys(fault.shown(self._file) for fault in ordered))
        if len(lines) > SHOWN:
            lines[SHOWN:] = [f"{self._file}: … and {len(lines) - SHOWN} more"]
        raise Invalid("\n".join(lines), field=ordered[0].path or None)


def quoted(text: str, *, limit: int = 60) -> str:
    """A user's text in a message: on one line, and cut when it is long."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return f"'{cut}'" if cut.isprintable() else ascii(cut)


def step(key: str) -> str:
    """A key as one step of a path; quoted where a dot or a line break in it would mislead."""
    return key if key.replace("-", "").replace("_", "").replace("/", "").isalnum() else quoted(key)
