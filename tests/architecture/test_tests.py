"""The tests wait for something to become true, never for time to pass."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tests.architecture.sources import Function, Module, listed, modules

VIRTUAL = re.compile(r"run_in_virtual_time|JumpLoop|run_world")
"""In virtual time a sleep is a jump of the clock, and the only way to move it."""
DEADLINE = re.compile(r"timeout|deadline|monotonic|within_s|range\(")


def test_nobody_hopes_that_time_is_enough() -> None:
    found = [
        f"{one.path}:{call.lineno}" for one in modules("tests") if not VIRTUAL.search(one.text) for call in _hopes(one)
    ]
    assert not found, (
        "a sleep in a test is a hope. Wait for what should become true, in a loop with a deadline; "
        f"or say in a comment on the line why it is none{listed(found)}"
    )


def _hopes(one: Module) -> Iterator[ast.Call]:
    """Sleeps that are no turn of the event loop, no part of a loop with an end, and have no reason beside them."""
    explained = _commented(one.text)
    for function in one.functions:
        source = ast.get_source_segment(one.text, function) or ""
        looped = {id(call) for loop in ast.walk(function) if _is_loop(loop) for call in ast.walk(loop)}
        for call in _own_sleeps(function):
            polls = id(call) in looped and DEADLINE.search(source)
            if not polls and not explained & set(range(call.lineno, (call.end_lineno or call.lineno) + 1)):
                yield call


def _own_sleeps(function: Function) -> Iterator[ast.Call]:
    """Calls of sleep in a function but not in the functions within it, which are asked themselves."""
    inner = {
        id(node)
        for one in ast.walk(function)
        if one is not function and isinstance(one, Function)
        for node in ast.walk(one)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and id(node) not in inner and _is_sleep(node):
            yield node


def _is_loop(node: ast.AST) -> bool:
    return isinstance(node, ast.While | ast.For | ast.AsyncFor)


def _is_sleep(call: ast.Call) -> bool:
    """A sleep of some time; one of none is a turn of the event loop."""
    match call:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio" | "time"), attr="sleep"), args=[*seconds]):
            return not (len(seconds) == 1 and isinstance(seconds[0], ast.Constant) and seconds[0].value == 0)
    return False


def _commented(text: str) -> set[int]:
    """Lines with a comment for people."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {one.start[0] for one in tokens if one.type == tokenize.COMMENT and not one.string.startswith("# noqa")}
