"""YAML text to a tree of nodes that remember their lines.

Knows YAML: anchors, aliases, merge keys, tags and documents. Must not know Compose, variables or types: a scalar stays
the text that was written (`017`, `on`, `22:22`), because what it means is settled only after its variables are filled
in. Works on the parser's events and not on PyYAML's own loader for three reasons: libyaml's composer recurses in C and
a deep file ends the program, PyYAML lets a later key silently replace an earlier one, and its values have no lines.

The tree is a graph (an alias is the same node again), so every node carries how many nodes it is when written out; the
sum is held below `NODES_MAX` while reading, which refuses alias bombs in time linear in the file.
"""

from collections.abc import Iterator

import msgspec
import yaml

from longshore.compose.faults import Fault, quoted, step

NODES_MAX = 100_000
DEPTH_MAX = 50
"""Compose itself nests eight deep; the rest is for `x-` blocks."""

STANDARD = "tag:yaml.org,2002:"


class Scalar(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    line: int
    plain: bool
    """Written without quotes, so that `3` is a number and `null` is nothing."""
    literal: bool = False
    """Written as a `|` block: each line of the text is a line of the file, from the one after `line`."""
    tag: str = ""
    """`int`, `float`, `bool` or `null` where the user forced one; a forced `str` is just not plain."""
    size: int = 1


class Sequence(msgspec.Struct, frozen=True, kw_only=True):
    items: list["Node"]
    line: int
    size: int


class Entry(msgspec.Struct, frozen=True):
    line: int
    """Of the key."""
    node: "Node"


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    entries: dict[str, Entry]
    line: int
    size: int


Node = Scalar | Sequence | Mapping


def parse(text: str) -> Node:
    """The one document in `text`."""
    try:
        return _Composer(text).document()
    except yaml.MarkedYAMLError as error:
        raise _translated(error, text) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Fault(f"not YAML: {error.reason}", line=line) from error


class _Composer:
    """One pass over the events. Anchors are known from the end of their node on, so an alias cannot contain itself."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[yaml.Event] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._anchors: dict[str, Node] = {}
        self._path: list[str | int] = []
        self._nodes = 0

    def document(self) -> Node:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise Fault("the file is empty; a Compose file starts with `services:`")
        root = self._node(next(self._events))
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise Fault("a second YAML document starts here; keep one app per file", line=_line(event))
        return root

    def _node(self, event: yaml.Event) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(1, event)
        assert isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.ScalarEvent):
            node: Node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event)
        else:
            assert isinstance(event, yaml.MappingStartEvent)
            node = self._mapping(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        name = event.anchor or ""
        node = self._anchors.get(name)
        if node is None:
            raise self._fault(f"nothing above is anchored as {quoted(name)}; write `&{name}` at the original", event)
        self._count(node.size, event)
        return node

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        plain, tag = bool(event.implicit[0]), ""
        if event.tag is not None:
            tag = event.tag.removeprefix(STANDARD)
            if tag not in ("!", "str", "int", "float", "bool", "null"):
                raise self._unknown_tag(event, event.tag)
            tag = "" if tag in ("!", "str") else tag
            plain = tag != ""
        return Scalar(text=event.value, line=_line(event), plain=plain, literal=event.style == "|", tag=tag)

    def _sequence(self, event: yaml.SequenceStartEvent) -> Sequence:
        self._check_collection(event, "seq")
        items: list[Node] = []
        while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
            self._path.append(len(items))
            items.append(self._node(inner))
            self._path.pop()
        return Sequence(items=items, line=_line(event), size=1 + sum(item.size for item in items))

    def _mapping(self, event: yaml.MappingStartEvent) -> Mapping:
        self._check_collection(event, "map")
        entries: dict[str, Entry] = {}
        merged: list[Mapping] | None = None
        size = 1
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            if not isinstance(inner, yaml.ScalarEvent) or not inner.value:
                raise self._fault("a key must be a word", inner)
            self._path.append(inner.value)
            self._node(inner)  # counts it, and minds its tag and its anchor
            merge = inner.value == "<<" and inner.implicit[0]
            if inner.value in entries or (merge and merged is not None):
                raise self._twice(inner, entries)
            node = self._node(next(self._events))
            size += 1 + node.size
            if merge:
                merged = self._merge_sources(node, inner)
            else:
                entries[inner.value] = Entry(_line(inner), node)
            self._path.pop()
        for source in merged or ():
            for key, entry in source.entries.items():
                entries.setdefault(key, entry)  # what is written here wins, then the source named first
        return Mapping(entries=entries, line=_line(event), size=size)

    def _merge_sources(self, node: Node, key: yaml.Event) -> list[Mapping]:
        listed = node.items if isinstance(node, Sequence) else [node]
        sources = [source for source in listed if isinstance(source, Mapping)]
        if len(sources) != len(listed):
            raise self._fault("`<<` takes a mapping or a list of them, mostly aliases: `*defaults`", key)
        return sources

    def _check_collection(self, event: yaml.CollectionStartEvent, tag: str) -> None:
        if event.tag not in (None, "!", STANDARD + tag):
            raise self._unknown_tag(event, event.tag)
        if len(self._path) >= DEPTH_MAX:
            raise self._fault(f"nested more than {DEPTH_MAX} deep", event, path=False)

    def _count(self, size: int, event: yaml.Event) -> None:
        self._nodes += size
        if self._nodes > NODES_MAX:
            raise self._fault(
                f"more than {NODES_MAX} values once its aliases are written out; use fewer", event, path=False
            )

    def _twice(self, key: yaml.ScalarEvent, entries: dict[str, Entry]) -> Fault:
        if key.value == "<<":
            return self._fault("`<<` is given twice; merge several with `<<: [*one, *two]`", key)
        first = entries[key.value].line
        return self._fault(f"given twice, first on line {first}; keep one", key)

    def _unknown_tag(self, event: yaml.Event, tag: str) -> Fault:
        return self._fault(f"the tag {quoted(tag)} is not supported; remove it", event)

    def _fault(self, message: str, event: yaml.Event, *, path: bool = True) -> Fault:
        return Fault(message, line=_line(event), path=_joined(self._path) if path else "")


def _joined(path: list[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{step(part)}" for part in path).removeprefix(".")


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None
    return event.start_mark.line + 1


def _translated(error: yaml.MarkedYAMLError, text: str) -> Fault:
    """The parser's words, with the line a person would look at."""
    mark = error.problem_mark or error.context_mark
    lines = text.removesuffix("\n").split("\n")
    # What is missing at the end is missed on the line after the last.
    line = min(mark.line + 1, len(lines)) if mark else 0
    if mark and line and lines[line - 1][mark.column : mark.column + 1] == "\t":
        return Fault("not YAML: a tab in the indentation; YAML takes spaces only", line=line)
    problem = error.problem or "unreadable"
    if error.context:
        problem += f", {error.context}"
    if error.context_mark and error.context_mark.line + 1 < line:
        problem += f" that starts on line {error.context_mark.line + 1}"
    return Fault(f"not YAML: {problem}", line=line)
