"""The pages say what is: what they name is there, what is there is named, and what is generated is up to date."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import click
import pytest

import longshore.main  # noqa: F401  (adds the commands that serve)
from longshore.api.server import ROUTES
from longshore.cli import root
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Kind, NodeStatus, Role
from longshore.model.spec import Mode, Pull, RestartOn
from longshore.model.views import Effect, Phase
from tests.architecture import lifecycle_diagram
from tests.architecture.sources import ROOT, documentation, listed, module, pages, prose, rooms, source

LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
SHOWN: tuple[type[StrEnum], ...] = (
    Availability,
    Effect,
    Kind,
    Mode,
    NodeStatus,
    Owner,
    Phase,
    Pull,
    RestartOn,
    Role,
    State,
    Wanted,
)
"""Closed lists whose words a user reads."""


def test_the_page_on_the_lifecycle_is_what_the_table_says() -> None:
    again = ".venv/bin/python -m tests.architecture.lifecycle_diagram > docs/lifecycle.md"
    assert pages()["docs/lifecycle.md"] == lifecycle_diagram.page(), f"run {again}"


# -- pages lead somewhere


def test_links_lead_somewhere() -> None:
    broken = [
        f"{page}: {link['target']}"
        for page, text in pages().items()
        for link in LINK.finditer(prose(text))
        if not _leads_somewhere(page, link["target"])
    ]
    assert not broken, f"these links lead nowhere{listed(broken)}"


def _leads_somewhere(page: str, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return True  # another site's business
    name, _, anchor = target.partition("#")
    path = (ROOT / page).parent / name if name else ROOT / page
    if not path.exists():
        return False
    return not anchor or path.suffix != ".md" or anchor in _anchors(path)


def _anchors(path: Path) -> set[str]:
    """Of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_that_are_named_are_there() -> None:
    """`decide/services.py` is meant from the package, `tests/tables` from the root."""
    named = re.compile(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|md|yaml|svg)|(?:scripts|tests|examples|docs|src)/[\w/.-]+)`")
    gone = [
        f"{page}: {name}"
        for page, text in pages().items()
        for name in named.findall(prose(text))
        if not any((place / name).exists() for place in (ROOT, ROOT / "src/longshore", (ROOT / page).parent))
    ]
    assert not gone, f"these files are not there (any more){listed(gone)}"


def test_pages_hold_no_path_of_one_machine() -> None:
    own = re.compile(rf"{re.escape(str(ROOT))}\b|(?<![\w.])/(?:root|work|home/\w+)/")
    found = [f"{page}: {match[0]}" for page, text in pages().items() for match in own.finditer(text)]
    assert not found, f"no reader has these paths{listed(found)}"


# -- what is there is named


def test_every_command_is_told() -> None:
    text = documentation()
    untold = [words for words in _commands(root, "longshore") if not re.search(rf"\b{re.escape(words)}\b", text)]
    assert not untold, f"no page names these commands; docs/operations.md lists all{listed(untold)}"


def _commands(group: click.Group, name: str) -> Iterator[str]:
    context = click.Context(group, info_name=name)
    for word in group.list_commands(context):
        one = group.get_command(context, word)
        if isinstance(one, click.Group):
            yield from _commands(one, f"{name} {word}")
        else:
            yield f"{name} {word}"


def test_every_route_is_told() -> None:
    told = set(re.findall(r"`([A-Z]+ /[^`?]*)`", pages()["docs/api.md"]))
    routes = {f"{route.method} {route.path}" for route in ROUTES}
    assert routes - told == set(), "docs/api.md does not name these routes"
    assert {line for line in told if line not in routes} == set(), "docs/api.md names routes that there are not"


def test_every_room_is_on_the_map() -> None:
    text = pages()["docs/design.md"]
    missing = [room for room in rooms() if not re.search(rf"─ {re.escape(room)}", text)]
    assert not missing, f"docs/design.md is the map of the package: add these{listed(missing)}"


def test_every_metric_is_told() -> None:
    names = set(re.findall(r'"(longshore_\w+)"', module("src/longshore/control/metrics.py").text))
    missing = sorted(name for name in names if name not in pages()["docs/operations.md"])
    assert not missing, f"docs/operations.md lists the metrics: add these{listed(missing)}"


def test_every_variable_is_told() -> None:
    names = set(re.findall(r'"(LONGSHORE_[A-Z_]+)"', source()))
    missing = sorted(name for name in names if name not in documentation())
    assert not missing, f"docs/operations.md lists the environment: add these{listed(missing)}"


@pytest.mark.parametrize("words", SHOWN, ids=lambda words: words.__name__)
def test_every_word_that_a_user_reads_is_explained(words: type[StrEnum]) -> None:
    text = pages()["docs/glossary.md"] + pages()["docs/lifecycle.md"]
    missing = [word.value for word in words if not re.search(rf"\b{re.escape(word.value)}\b", text)]
    assert not missing, f"docs/glossary.md explains the words that a user reads: add these{listed(missing)}"


def test_the_glossary_s_words_are_used() -> None:
    headings = re.findall(r"^### (.+)$", pages()["docs/glossary.md"], re.MULTILINE)
    assert len(headings) == len(set(headings)), "one heading for a word"
    text = source().lower().replace("_", " ")
    unused = [word for word in headings if not re.search(rf"\b{re.escape(word)}(s|es)?\b", text)]
    assert not unused, f"the code does not use these words: take them out, or use them{listed(unused)}"


# -- decisions


def test_decisions_are_numbered_and_say_why() -> None:
    folder = "docs/decisions/"
    records = {page: text for page, text in pages().items() if re.match(rf"{folder}\d{{4}}-", page)}
    numbers = [page.removeprefix(folder)[:4] for page in records]
    assert numbers == [f"{number:04}" for number in range(1, len(records) + 1)], "number them without gaps"
    parts = ["Context", "Decision", "Consequence", "Evidence"]
    wrong = [page for page, text in records.items() if re.findall(r"^## (.+)$", text, re.MULTILINE) != parts]
    assert not wrong, f"a decision has the parts {', '.join(parts)}{listed(wrong)}"
    index = pages()[f"{folder}README.md"]
    assert not [page for page in records if page.removeprefix(folder) not in index], (
        "list it in docs/decisions/README.md"
    )
