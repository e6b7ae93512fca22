"""The words of `longshore client`: what each expects, does and answers. One line is one word and what it is about.

The words and the shape of the answers are those of an older orchestrator's client, over the routes that its users know.
Knows nothing of where lines come from: a shell gives one as arguments, a prompt and a pipe give many.
"""

import shlex
from collections.abc import Callable, Iterable, Sequence

import click
import msgspec

from longshore.cli.exits import CONVERGED, exit_of, problem_of
from longshore.cli.tables import BAD, GOOD, Cell, coloured, show, show_json
from longshore.cli.taskfiles import Posting, read_file
from longshore.cli.units import counted, plain, size
from longshore.client.postings import PostedNode, PostedTask, Postings
from longshore.model.errors import Denied, Failure, Invalid, Unavailable
from longshore.model.views import Problem

OK, ERROR = "[OK]", "[ERROR]"

NOTHING_IS = "0001-01-01T00:00:00Z"
"""How these routes write a time that there is not."""
_HOPELESS = (Unavailable, Denied)
"""What one task was told for these, the next would be told again."""


class Posted(msgspec.Struct, frozen=True):
    """What became of one task of a file."""

    id: str
    name: str
    problem: Problem | None


class Desk(msgspec.Struct, frozen=True):
    """Where lines are brought to: the manager, and how to answer."""

    postings: Postings
    as_json: bool


class Word(msgspec.Struct, frozen=True):
    """One thing that can be asked for."""

    takes: tuple[str, ...]
    says: str
    act: Callable[[Desk, list[str]], int]
    """Carries it out and says so; returns the exit code. Raises Failure, which the caller says."""


def carry_out(desk: Desk, words: Sequence[str]) -> int:
    """Do what a line says and answer; returns the exit code. A failure is told here and is not the end of anything."""
    as_json = desk.as_json or "--json" in words
    given = [word for word in words if word != "--json"]
    try:
        return _act(Desk(desk.postings, as_json), given)
    except Failure as failure:
        return tell_failure(failure, as_json)


def split(line: str) -> list[str]:
    """A line's words, as a shell would have them. Raises Invalid."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise Invalid(f"a quote is not closed: {line.strip()}") from error


def tell_failure(failure: Failure, as_json: bool) -> int:
    if as_json:
        click.echo(msgspec.json.encode(problem_of(failure)), err=True)
    else:
        _tell(ERROR, failure.message, err=True)
    return exit_of(failure)


def usage() -> Iterable[tuple[str, str]]:
    """Each word with what it takes, and what it is for."""
    return [(" ".join((name, *word.takes)), word.says) for name, word in WORDS.items()]


def _act(desk: Desk, given: list[str]) -> int:
    name, *rest = given or [""]
    word = WORDS.get(name)
    if word is None:
        raise Invalid(f"{name!r} is none of {', '.join(WORDS)}")
    if len(rest) != len(word.takes):
        wanted = f"{counted(len(word.takes), 'word')} behind it" + (f" ({', '.join(word.takes)})" if word.takes else "")
        raise Invalid(f"{name} expects {wanted}, got {len(rest)}")
    return word.act(desk, rest)


# -- what the words do


def _start(desk: Desk, words: list[str]) -> int:
    tasks = read_file(words[0])
    codes, answers = [CONVERGED], []
    for at, task in enumerate(tasks):
        id, failure = _post(desk, task)
        answers.append(Posted(id, task.name, problem_of(failure) if failure else None))
        if failure is None:
            if not desk.as_json:
                _tell(OK, f"{_called(task)} is accepted as {id}")
            continue
        codes.append(exit_of(failure))
        if not desk.as_json:
            _tell(ERROR, f"{_called(task)}: {failure.message}", err=True)
        if isinstance(failure, _HOPELESS):
            answers += _not_sent(desk, tasks[at + 1 :], failure)
            break
    if desk.as_json:
        show_json(answers)
    return max(codes)


def _post(desk: Desk, task: Posting) -> tuple[str, Failure | None]:
    """The id that it has now, which the manager makes where a file has none."""
    try:
        return desk.postings.post(task.body) or task.id, None
    except Failure as failure:
        return task.id, failure


def _not_sent(desk: Desk, tasks: list[Posting], failure: Failure) -> list[Posted]:
    """What is left of a file once there is no use in going on."""
    if tasks and not desk.as_json:
        _tell(ERROR, f"not sent: {', '.join(map(_called, tasks))}", err=True)
    return [Posted(task.id, task.name, problem_of(failure)) for task in tasks]


def _stop(desk: Desk, words: list[str]) -> int:
    desk.postings.remove(words[0])
    if desk.as_json:
        show_json({"stopping": words[0]})
    else:
        _tell(OK, f"the end of {words[0]} is asked for")
    return CONVERGED


def _get(desk: Desk, words: list[str]) -> int:
    task = desk.postings.task(words[0])
    if desk.as_json:
        show_json(task)
        return CONVERGED
    _tell(OK, task.name or task.key)
    lines = [(name, value) for name, value in _described(task) if value]
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"  {name.ljust(width)}  {plain(value)}")
    return CONVERGED


def _list(desk: Desk, words: list[str]) -> int:
    del words
    tasks = desk.postings.tasks()
    if desk.as_json:
        show_json(tasks)
        return CONVERGED
    _tell(OK, counted(len(tasks), "task"))
    if tasks:
        show(("ID", "NAME", "STATE", "NODE", "IMAGE", "REASON"), [_task_row(task) for task in tasks])
    return CONVERGED


def _list_nodes(desk: Desk, words: list[str]) -> int:
    del words
    nodes = desk.postings.nodes()
    if desk.as_json:
        show_json(nodes)
        return CONVERGED
    _tell(OK, counted(len(nodes), "node"))
    if nodes:
        show(("NAME", "STATUS", "ROLE", "TASKS", "MEMORY", "DISK", "API"), [_node_row(node) for node in nodes])
    return CONVERGED


WORDS = {
    "start": Word(("FILE",), "Post the tasks of a JSON file.", _start),
    "stop": Word(("ID",), "Ask for the end of a task.", _stop),
    "get": Word(("ID",), "Show one task.", _get),
    "list": Word((), "List the tasks.", _list),
    "list-nodes": Word((), "List the nodes.", _list_nodes),
}


# -- how things are said


def state_cell(task: PostedTask) -> Cell:
    return Cell(task.word, {"Running": GOOD, "Failed": BAD}.get(task.word, ""))


def _tell(sign: str, text: str, *, err: bool = False) -> None:
    colour = BAD if sign == ERROR else GOOD
    # What goes to stderr click strips of colour itself where nobody would see it.
    click.echo(f"{click.style(sign, fg=colour) if err or coloured() else sign} {plain(text)}", err=err)


def _called(task: Posting) -> str:
    return f"{task.name!r}" if task.name else task.id or "a task"


def _task_row(task: PostedTask) -> tuple[str | Cell, ...]:
    return (task.key, task.name, state_cell(task), task.node, task.image, task.reason)


def _node_row(node: PostedNode) -> tuple[str | Cell, ...]:
    return (
        node.name,
        _status_cell(node),
        node.role,
        str(node.task_count),
        f"{size(node.memory_allocated * 1024)}/{size(node.memory * 1024)}",
        f"{size(node.disk_allocated)}/{size(node.disk)}",
        node.api,
    )


def _status_cell(node: PostedNode) -> Cell:
    if node.healthy is None:
        return Cell(node.status)
    word = node.status or ("healthy" if node.healthy else "not healthy")
    return Cell(word, GOOD if node.healthy else BAD)


def _described(task: PostedTask) -> list[tuple[str, str]]:
    bound = {
        port: ", ".join(f"{one.host_ip}:{one.host_port}" for one in bindings or ())
        for port, bindings in (task.host_ports or {}).items()
    }
    return [
        ("id", task.key),
        ("state", task.word),
        ("reason", task.reason),
        ("node", task.node),
        ("image", task.image),
        ("container", task.container),
        ("cpu", f"{task.cpu:g}" if task.cpu else ""),
        ("memory", size(task.memory) if task.memory else ""),
        ("disk", size(task.disk) if task.disk else ""),
        ("ports", ", ".join(f"{where} -> {port}" for port, where in bound.items() if where)),
        ("restart policy", task.restart_policy),
        ("health check", task.health_check),
        ("restarts", str(task.restart_count) if task.restart_count else ""),
        ("started", task.start_time if task.start_time != NOTHING_IS else ""),
        ("finished", task.finish_time if task.finish_time != NOTHING_IS else ""),
    ]
