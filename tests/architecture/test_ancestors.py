"""The pages on older orchestrators name, for each promise, a test; so each of those tests has to be there."""

import ast
import re

import pytest

from tests.architecture.sources import ROOT, listed, module, pages

FOLDER = "docs/ancestors/"
PAGES = sorted(page for page in pages() if page.startswith(FOLDER) and page != f"{FOLDER}README.md")
NAME = re.compile(r"`(test_\w+)`")


def functions_of(path: str) -> set[str]:
    return {one.name for one in ast.walk(module(path).tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_the_tests_that_prove_a_row_are_there(page: str) -> None:
    known = {name for path in (ROOT / "tests").rglob("test_*.py") for name in functions_of(str(path.relative_to(ROOT)))}
    known |= {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    gone = [name for name in NAME.findall(pages()[page]) if name not in known]
    assert not gone, f"{page} names tests that are not there (any more){listed(gone)}"


@pytest.mark.parametrize("name", ["cube", "gokube", "orchestrator", "simulation", "replicas"])
def test_every_test_is_a_row_s(name: str) -> None:
    """So that the page grows with what is proved."""
    told = set(NAME.findall(pages()[f"{FOLDER}{name}.md"]))
    path = f"tests/e2e/test_{name}.py"
    untold = sorted(one for one in functions_of(path) if one.startswith("test_") and one not in told)
    assert not untold, f"{FOLDER}{name}.md does not name these of {path}{listed(untold)}"
