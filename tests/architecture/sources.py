"""The repository as the tests of its rules read it: modules with their syntax trees, and pages.

Nothing is imported from what is judged unless a test says so, so a rule also holds for a module that nobody loads.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "longshore"

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """One Python file."""

    path: str
    """From the root of the repository."""
    text: str
    tree: ast.Module

    @property
    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    @property
    def lines(self) -> int:
        return self.text.count("\n")


def modules(under: str = "src/longshore") -> list[Module]:
    """Every module below a folder, in order of path."""
    return [module(path.relative_to(ROOT).as_posix()) for path in sorted((ROOT / under).rglob("*.py"))]


@cache
def module(path: str) -> Module:
    text = (ROOT / path).read_text()
    return Module(path, text, ast.parse(text))


def rooms() -> list[str]:
    """What stands directly in the package: `model/`, `ports.py` and so on."""
    found = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return sorted(f"{path.name}/" if path.is_dir() else path.name for path in found if path.name != "__init__.py")


@cache
def pages() -> dict[str, str]:
    """Every page of the documentation: path from the root -> text."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted(paths)}


def documentation() -> str:
    """All pages as one text."""
    return "\n".join(pages().values())


def source() -> str:
    """The whole package as one text."""
    return "\n".join(one.text for one in modules())


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def listed(faults: list[str]) -> str:
    """Faults as an assertion shows them: one a line."""
    return "\n".join(["", *faults])
