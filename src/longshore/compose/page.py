"""The file being read, and its values with their places: what every reader of a key works with.

Knows the way from a node to a typed value: variables are filled in, then the text is given its type, and whatever does
not fit is a fault at its path and line. Must not know any key by name; those are in `table`, and what they mean is in
`services` and its neighbours.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from longshore.compose import tree
from longshore.compose.faults import Fault, Faults, quoted, step
from longshore.compose.quantities import Sort, sort_of, truth, whole
from longshore.compose.table import Level, advice
from longshore.compose.variables import Unfilled, fill

T = TypeVar("T")
D = TypeVar("D")


class Page:
    """One Compose file: where it is, what its variables are, and what was found wrong with it so far."""

    __slots__ = ("faults", "folder", "ports_left", "variables")

    def __init__(self, folder: Path, variables: Mapping[str, str], faults: Faults) -> None:
        self.folder = folder
        """Absolute; relative paths of the file start here."""
        self.variables = variables
        self.faults = faults
        self.ports_left = 20_000
        """Ranges make a short file long; this bounds what they write out in one file."""


class Value:
    """A node at its place."""

    __slots__ = ("line", "node", "page", "path")

    def __init__(self, page: Page, node: tree.Node, path: str = "", key_line: int = 0) -> None:
        self.page = page
        self.node = node
        self.path = path
        # What is wrong with a list or a mapping is mostly missing from it, so the line of its key shows it best.
        self.line = node.line if isinstance(node, tree.Scalar) or not key_line else key_line

    def fault(self, message: str) -> Fault:
        """To raise, when the value cannot be read."""
        return Fault(message, line=self.line, path=self.path)

    def note(self, message: str) -> None:
        """To say what is wrong with a value and read on."""
        self.page.faults.note(self.fault(message))

    def attempt(self, reader: "Callable[[Value], T]", default: D) -> T | D:
        """What `reader` makes of this value; when it refuses, that is noted and reading goes on with `default`."""
        try:
            return reader(self)
        except Fault as fault:
            self.page.faults.note(fault)
            return default

    # Shapes

    @property
    def is_null(self) -> bool:
        """Nothing is written here. A variable that is empty is not nothing: it is an empty text."""
        node = self.node
        if not isinstance(node, tree.Scalar):
            return False
        return node.tag == "null" or (node.plain and not node.tag and sort_of(node.text) is Sort.NULL)

    @property
    def is_scalar(self) -> bool:
        return isinstance(self.node, tree.Scalar)

    @property
    def is_list(self) -> bool:
        return isinstance(self.node, tree.Sequence)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, tree.Mapping)

    def items(self) -> "list[Value]":
        """The items of a list. A key without a value is an empty one: its items are commented out."""
        if self.is_null:
            return []
        if not isinstance(self.node, tree.Sequence):
            raise self.fault(f"must be a list, not {self._shape}")
        # An item's own line shows it better than that of the list's key.
        return [Value(self.page, item, f"{self.path}[{index}]") for index, item in enumerate(self.node.items)]

    def each(self, reader: "Callable[[Value], T]") -> list[T]:
        """Every item of a list that `reader` accepts; the others are noted."""
        found = list[T]()
        for item in self.items():
            try:
                found.append(reader(item))
            except Fault as fault:
                self.page.faults.note(fault)
        return found

    def entries(self) -> "dict[str, Value]":
        """A mapping whose keys are the user's own."""
        if self.is_null:
            return {}
        if not isinstance(self.node, tree.Mapping):
            raise self.fault(f"must be a mapping, not {self._shape}")
        start = f"{self.path}." if self.path else ""
        return {
            key: Value(self.page, entry.node, start + step(key), entry.line) for key, entry in self.node.entries.items()
        }

    def fields(self, level: Level) -> "Fields":
        """A mapping whose keys are the specification's. Every other key is noted as a fault."""
        fields = dict[str, Value]()
        for key, value in self.entries().items():
            if key in level.supported:
                fields[key] = value
            elif not (level.extensible and key.startswith("x-")):
                assert isinstance(self.node, tree.Mapping)
                line = self.node.entries[key].line
                why = advice(level, key, guess=not self.page.faults.many)
                self.page.faults.note(Fault(why, line=line, path=value.path))
        return Fields(self, level, fields)

    # Scalars

    def _scalar(self) -> tuple[str, Sort]:
        """The text with its variables filled in, and its sort. What a variable brings in is never null or truth:
        `FOO: ${X}` with X=null is the word."""
        node = self.node
        if not isinstance(node, tree.Scalar):
            raise self.fault(f"must be a single value, not {self._shape}")
        filled = "$" in node.text
        text = self._filled(node) if filled else node.text
        sort = sort_of(text) if node.tag or (node.plain and not filled) else Sort.TEXT
        if node.tag and sort.name.lower() != node.tag:
            raise self.fault(f"{quoted(text)} is not what its tag !!{node.tag} says")
        self.check_characters(text)
        return text, sort

    def check_characters(self, text: str) -> None:
        """Refuse what no container can be given. Variables of a process need not be valid Unicode; the wire must."""
        if "\0" in text:
            raise self.fault("contains a NUL character")
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise self.fault("is not valid Unicode, which a variable in it brings; set that to UTF-8")

    def _filled(self, node: tree.Scalar) -> str:
        try:
            return fill(node.text, self.page.variables)
        except Unfilled as unfilled:
            # In a `|` block the text's lines are the file's, so the very line is known.
            line = node.line + 1 + node.text.count("\n", 0, unfilled.at) if node.literal else node.line
            raise Fault(unfilled.message, line=line, path=self.path) from unfilled

    def text(self) -> str:
        """A text, as it is written: `017` stays `017`. Truth is refused, as somebody meant a word by it."""
        text, sort = self._scalar()
        if sort is Sort.NULL:
            raise self.fault("has no value; give it one or remove the key")
        if sort is Sort.BOOL:
            raise self.fault(f"{text} is a truth value here; quote it to mean the word")
        return text

    def word(self) -> str:
        """A text that is not empty."""
        text = self.text()
        if not text:
            raise self.fault("is empty; give it a value or remove the key")
        return text

    def spelled(self) -> str:
        """Any scalar as the text a program gets to see, such as an environment variable or a label."""
        text, sort = self._scalar()
        if sort is Sort.NULL:
            return ""
        # Compose hands on truth and not its spelling.
        return text.lower() if sort is Sort.BOOL else text

    def flag(self) -> bool:
        return self.of(truth)

    def integer(self, low: int = 0, high: int = 1_000_000) -> int:
        number = self.of(whole)
        if not low <= number <= high:
            raise self.fault(f"must be between {low} and {high}, not {number}")
        return number

    def of(self, quantity: Callable[[str], T]) -> T:
        """The value that `quantity` reads from the text; quotes make no difference."""
        text, sort = self._scalar()
        if sort is Sort.NULL:
            raise self.fault("has no value; give it one or remove the key")
        return self.parsed(text, quantity)

    def parsed(self, text: str, quantity: Callable[[str], T]) -> T:
        """The same for a part of the value's text."""
        try:
            return quantity(text)
        except ValueError as error:
            wrong = str(error)
            message = f"{wrong}, not {quoted(text)}" if wrong.startswith("must") else f"{quoted(text)} {wrong}"
            raise self.fault(message) from error

    def one_of(self, choices: Mapping[str, T], refused: Mapping[str, str] | None = None) -> T:
        """The choice that the text names; `refused` says of known other words why not."""
        text = self.word()
        if text in choices:
            return choices[text]
        if refused and text in refused:
            raise self.fault(f"{quoted(text)} is not supported: {refused[text]}")
        raise self.fault(f"must be {' or '.join(choices)}, not {quoted(text)}")

    @property
    def _shape(self) -> str:
        if self.is_list:
            return "a list"
        return "a mapping" if self.is_mapping else "a single value"


class Stated(NamedTuple, Generic[T]):
    """A value and where it was said, for what can be said in two places."""

    value: T
    place: Value


class Fields:
    """A mapping's supported keys. Asking for a key that its table does not have is a bug."""

    __slots__ = ("_by_key", "level", "place")

    def __init__(self, place: Value, level: Level, by_key: dict[str, Value]) -> None:
        self.place = place
        self.level = level
        self._by_key = by_key

    def get(self, key: str) -> Value | None:
        assert key in self.level.supported, f"{key} is not in the table of {self.level.path}"
        return self._by_key.get(key)

    def read(self, key: str, reader: Callable[[Value], T], default: D) -> T | D:
        value = self.get(key)
        return default if value is None else value.attempt(reader, default)

    def stated(self, key: str, reader: Callable[[Value], T]) -> Stated[T] | None:
        value = self.get(key)
        if value is None:
            return None
        return value.attempt(lambda value: Stated(reader(value), value), None)


def agreed(first: Stated[T] | None, second: Stated[T] | None, default: D) -> T | D:
    """What one or both places say. Where they differ, which one counts depends on the tool, so neither does."""
    if first is None or second is None:
        only = first or second
        return default if only is None else only.value
    if first.value != second.value:
        second.place.note(f"says otherwise than {first.place.path} on line {first.place.line}; keep one of them")
    return first.value
