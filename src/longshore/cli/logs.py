"""Logs: what containers wrote, of all replicas together.

Without --follow the lines of all are put in order of time. With it they come as they come, and what starts later in a
slot is read as well, so that a restart does not end the story.
"""

import time
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping

import click
import msgspec

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.merged import Came, Ended, Merged
from longshore.cli.parameters import SPAN
from longshore.cli.references import is_task, slot_name, standing, tasks_of
from longshore.cli.tables import coloured, note, show_json_line
from longshore.cli.units import moment
from longshore.client import Client, Item, Watched
from longshore.client.streams import PATIENCE_S
from longshore.model.containers import LogLine
from longshore.model.errors import Unavailable
from longshore.model.lifecycle import State
from longshore.model.objects import Task

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")
_TASKS = "tasks of "
_RAN = frozenset({State.FINISHED, State.FAILED, State.STOPPED})
_AGAIN_S = 1.0
_HELD_S = 40.0
"""What lasted longer was a connection; no attempt to have one takes as long."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines."""

    tail: int | None
    since: float | None


class Printer:
    """Writes lines with the name of their slot before them, in a colour that is always the same for it."""

    def __init__(self, *, as_json: bool, stamped: bool) -> None:
        self._as_json = as_json
        self._stamped = stamped
        self._width = 0

    def expect(self, slots: Iterable[str]) -> None:
        """Slots that lines will come from, so that their names take the same room."""
        self._width = max([self._width, *map(len, slots)])

    def write(self, task: Task, line: LogLine) -> None:
        if self._as_json:
            show_json_line({"task": task.id, "at": line.at, "stream": line.stream, "text": line.text})
            return
        prefix = f"{slot_name(task):<{self._width}} | "
        if coloured():
            prefix = click.style(prefix, fg=colour_of(slot_name(task)))
        stamp = f"{moment(line.at)} " if self._stamped else ""
        text = line.text.rstrip("\r\n")
        # Colour codes in a container's line are its own; click would take them out where nobody sees colours.
        click.echo(f"{prefix}{stamp}{text}", color=True)


def colour_of(slot: str) -> str:
    """The same in every run, unlike what `hash` gives."""
    return _COLOURS[zlib.crc32(slot.encode()) % len(_COLOURS)]


@command(
    "logs",
    "longshore logs web",
    "longshore logs -f --tail 20 web worker",
    "longshore logs --since 10m web.2",
    "longshore logs web.2.1",
)
@click.argument("names", metavar="SERVICE|TASK...", nargs=-1, required=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("-n", "--tail", type=click.IntRange(0), metavar="N", help="Begin with the last N lines of each.")
@click.option("--since", type=SPAN, metavar="SPAN", help="Only lines of the last 30s, 10m, 2h …")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@pass_settings
def logs(
    settings: Settings, names: tuple[str, ...], follow: bool, tail: int | None, since: float | None, timestamps: bool
) -> None:
    """Show what containers wrote.

    A name is a service (all its replicas), one slot of it (web.2), or one task (web.2.1).
    """
    printer = Printer(as_json=settings.as_json, stamped=timestamps)
    wish = Wish(tail=tail, since=None if since is None else time.time() - since)
    with settings.client() as client:
        found = {name: tasks_of(client, name) for name in names}
        readable = {task.id: task for name, tasks in found.items() for task in _readable(name, tasks)}
        printer.expect(slot_name(task) for task in readable.values())
        if follow:
            services = {name: _service_of(name, tasks) for name, tasks in found.items() if not is_task(name, tasks)}
            seen = {task.id for tasks in found.values() for task in tasks if not task.live}
            _Following(client, printer, wish, seen).run(readable.values(), services)
        elif readable:
            _show(client, printer, wish, list(readable.values()))
        else:
            note(f"Nothing has started yet; `longshore why {names[0]}` says why.")


def _readable(name: str, tasks: list[Task]) -> list[Task]:
    """The tasks whose logs are meant: what lives, and of a slot that nobody fills the last one. What has no container
    has no log."""
    if is_task(name, tasks):
        return tasks
    begun = [task for task in tasks if task.container_id]
    last = {task.id for task in standing(begun)}
    return [task for task in begun if task.live or task.id in last]


def _service_of(name: str, tasks: Iterable[Task]) -> str:
    """The service that `name`, which is one or a slot of one, belongs to."""
    return next((task.service for task in tasks), name)


def _show(client: Client, printer: Printer, wish: Wish, tasks: list[Task]) -> None:
    """All lines in order of time. Every log is read to its end at once: whoever waits in the middle is cut off."""
    if len(tasks) == 1:
        for line in client.logs(tasks[0].id, tail=wish.tail, since=wish.since):
            printer.write(tasks[0], line)
        return
    merged: Merged[LogLine] = Merged(waiting_max=0)
    by_id = {task.id: task for task in tasks}
    lines: list[tuple[LogLine, Task]] = []
    cut: list[str] = []
    for task in tasks:
        merged.add(task.id, client.logs(task.id, tail=wish.tail, since=wish.since))
    while merged.open:
        match merged.next():
            case Came(source, line):
                lines.append((line, by_id[source]))
            case Ended(source, failure) if failure is not None:
                cut.append(f"{source}: {failure}")
    for line, task in sorted(lines, key=lambda one: one[0].at):
        printer.write(task, line)
    if cut:
        raise Unavailable("\n".join(cut))


class _Following:
    """Reads what is there and what comes."""

    def __init__(self, client: Client, printer: Printer, wish: Wish, seen: Container[str]) -> None:
        """`seen` are the tasks that had ended before, and are no news."""
        self._seen = seen
        self._client = client
        self._printer = printer
        self._wish = wish
        self._merged: Merged[LogLine | Watched[Task]] = Merged()
        self._tasks: dict[str, Task] = {}
        """Those that are or were read."""
        self._cut: list[Exception] = []

    def run(self, tasks: Iterable[Task], services: Mapping[str, str]) -> None:
        """Until interrupted, or until all logs end of which there will be no more. `services` says of each name whose
        new tasks are wanted which service it is of."""
        for task in tasks:
            self._read(task, self._wish)
        for name, service in services.items():
            self._merged.add(_TASKS + name, self._client.watch_tasks(service=service))
        while self._merged.open:
            match self._merged.next():
                case Came(source, LogLine() as line):
                    self._printer.write(self._tasks[source], line)
                case Came(source, Item(task)):
                    if source.removeprefix(_TASKS) in (task.service, slot_name(task)):
                        self._learn(task)
                case Ended(source, failure) if failure is not None:
                    self._broken(source, failure)
        if self._cut:
            raise self._cut[0]

    def _learn(self, task: Task) -> None:
        """A task that has come to run since: all it wrote is new, also if it has ended before it was seen to run."""
        began = task.state is State.RUNNING or (task.state in _RAN and task.id not in self._seen)
        if task.id not in self._tasks and task.container_id and began:
            self._printer.expect([slot_name(task)])
            self._read(task, Wish(tail=None, since=None))

    def _read(self, task: Task, wish: Wish) -> None:
        self._tasks[task.id] = task
        self._merged.add(task.id, _unbroken(self._client, task.id, wish))

    def _broken(self, source: str, failure: Exception) -> None:
        """A log that cannot be read any more is the end of that log alone, unless there is nothing else to read."""
        if source.startswith(_TASKS):
            raise failure
        note(f"{source}: {failure}")
        self._cut.append(failure)


def _unbroken(client: Client, task: str, wish: Wish) -> Iterator[LogLine]:
    """A log that is taken up again where it was cut, for as long as a watch is. Lines of the very moment of the cut may
    be lost: a moment is all there is to tell lines apart. So may the first lines of a log that had none yet, where only
    the last few are wished."""
    last = known = 0.0
    give_up: float | None = None
    while True:
        began = time.monotonic()
        if last:
            lines = client.logs(task, follow=True, since=last)
        else:
            lines = client.logs(task, follow=True, tail=wish.tail, since=wish.since)
        try:
            for line in lines:
                if line.at > known:
                    last, give_up = max(last, line.at), None
                    yield line
        except Unavailable:
            now = time.monotonic()
            never_was = not last and give_up is None and now - began < _AGAIN_S
            if give_up is None or now - began > _HELD_S:
                give_up = now + PATIENCE_S
            if never_was or now > give_up:
                raise
        else:
            return
        time.sleep(_AGAIN_S)
        known = last
