"""The rooms of the house: small, each opening with what it knows, named by what they are."""

import ast
import re

from tests.architecture.sources import listed, modules

MODULE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70

FORBIDDEN = {"util", "helper", "common", "misc", "handler", "data", "info", "process"}
"""Parts of names that say nothing. A thing is a noun of the glossary, a decision is a verb."""

ALLOWED = {
    "api/routes.py handler": "aiohttp's word for what answers a request",
    "client/target.py default_data_dir": "the folder that --data names",
    "client/target.py chosen_data_dir": "the folder that --data names",
    "engine/cgroups.py of_process": "a process of the kernel",
    "engine/docker_json.py Info": "the Engine API's own name of that answer",
}
"""Names that somebody else chose, each with who did."""


def test_every_module_says_what_it_is() -> None:
    found = [one.path for one in modules() if not _is_sentence(ast.get_docstring(one.tree) or "")]
    assert not found, f"open each module with a sentence on what it knows and what it must not know{listed(found)}"


def _is_sentence(text: str) -> bool:
    first = text.split("\n\n")[0]
    return len(first.split()) >= 3 and first.rstrip().endswith((".", ":", "`"))


def test_modules_are_small() -> None:
    found = [f"{one.path}: {one.lines} lines" for one in modules() if one.lines > MODULE_LINES_MAX]
    assert not found, f"over {MODULE_LINES_MAX} lines a module is probably two ideas: divide it{listed(found)}"


def test_functions_are_small() -> None:
    found = []
    for one in modules():
        for function in one.functions:
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                found.append(f"{one.path}:{function.lineno}: {function.name} has {lines} lines")
    assert not found, f"over {FUNCTION_LINES_MAX} lines a function is probably two ideas: divide it{listed(found)}"


def test_names_say_what_things_are() -> None:
    found = {f"{path} {name}" for path, name in _names() if FORBIDDEN & _parts(name)}
    assert found - ALLOWED.keys() == set(), "these names say nothing: use a word of docs/glossary.md"
    assert ALLOWED.keys() - found == set(), "these exceptions are no longer needed: take them out of ALLOWED"


def _names() -> list[tuple[str, str]]:
    """The names of all modules, packages, classes and functions, with the path from the package."""
    found = []
    for one in modules():
        path = one.path.removeprefix("src/longshore/")
        found += [(path, part) for part in path.removesuffix(".py").split("/")]
        named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found += [(path, node.name) for node in ast.walk(one.tree) if isinstance(node, named)]
    return found


def _parts(name: str) -> set[str]:
    """`makeDataUtils` and `make_data_utils` -> make, data, utils, util."""
    parts = {part.lower() for part in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}
    return parts | {part.removesuffix("s") for part in parts}
