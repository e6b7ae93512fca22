"""What a person sees while the cluster works: a table that lives on a terminal, a line for each change elsewhere.

Knows tasks and how they are told in words. Must not know where they come from or when it is over.
"""

import time
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import click

from longshore.cli.convergence import ENDED_BADLY, Convergence, Told, on_trial
from longshore.cli.tables import BAD, DOUBTFUL, FAINT, GOOD, on_terminal
from longshore.cli.units import plain, ports, span
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Task
from longshore.model.views import ServiceView

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

FRAME_S = 0.1
"""How often a display moves by itself."""
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Display(Protocol):
    """Shows how far a convergence is, within a `with` block."""

    def __enter__(self) -> "Display": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def tell(self, told: Told) -> None: ...

    def refresh(self) -> None:
        """Time has passed."""


def display(convergence: Convergence, *, silent: bool) -> Display:
    """The display that fits where standard output goes."""
    if silent:
        return _Silence()
    return _Living(convergence) if on_terminal() else _Lines()


def state_word(task: Task) -> str:
    """A task's state in one word, as people think of it."""
    if task.live and task.wanted is not Wanted.RUNNING:
        return "stopping"
    if task.state is State.NEW:
        return "waiting"
    return task.state


def colour(task: Task) -> str:
    if task.state in ENDED_BADLY:
        return BAD
    if not task.live or task.wanted is not Wanted.RUNNING:
        return FAINT
    return GOOD if task.ready else DOUBTFUL


def remark(task: Task) -> str:
    """What there is to say of a task beyond its state; empty if all is well."""
    if task.state is State.RUNNING and task.wanted is Wanted.RUNNING:
        return "" if task.ready else plain(task.message) or "not ready yet"
    if task.state in ENDED_BADLY:
        said = plain(task.message)
        return f"{task.reason}: {said}" if said and said != task.reason else str(task.reason)
    return plain(task.message)


def line(told: Told) -> str:
    """One change, as a line that may be appended anywhere."""
    task = told.task
    if told.gone:
        return f"{task.id:<20}  removed"
    running_well = task.state is State.RUNNING and task.ready and task.wanted is Wanted.RUNNING
    word = "ready" if running_well else state_word(task)
    return f"{task.id:<20}  {word:<9}  {task.node or '-':<8}  {ports(task) if running_well else remark(task)}".rstrip()


def heading(view: ServiceView) -> str:
    """A service's standing: `web  2/3 ready, 1/3 of the new release`."""
    status = view.status
    text = f"{view.name}  {status.ready}/{status.wanted} ready"
    if status.finished:
        text = f"{view.name}  {status.finished}/{status.wanted} finished"
    elif status.updated < status.ready:
        text += f", {status.updated}/{status.wanted} of the new release"
    elif on_trial(view):
        text += f", release {view.release} on trial"
    return f"{text}  {plain(status.message)}".rstrip()


class _Silence:
    def __enter__(self) -> "_Silence":
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None: ...

    def tell(self, told: Told) -> None: ...

    def refresh(self) -> None: ...


class _Lines(_Silence):
    """For pipes and logs: what was written stays as it is."""

    def tell(self, told: Told) -> None:
        click.echo(line(told))


class _Living(_Silence):
    """For a terminal: one table, drawn anew in its place."""

    def __init__(self, convergence: Convergence) -> None:
        self._convergence = convergence
        self._live: Live | None = None
        self._began = time.monotonic()
        self._drawn_at = 0.0

    def __enter__(self) -> "_Living":
        from rich.live import Live

        # Rich would draw from a thread of its own while this one changes what is drawn.
        self._live = Live(self._drawn(), auto_refresh=False, vertical_overflow="crop")
        self._live.__enter__()
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.refresh()
        if self._live is not None:
            self._live.stop()

    def tell(self, told: Told) -> None:
        if time.monotonic() - self._drawn_at >= FRAME_S:
            self.refresh()

    def refresh(self) -> None:
        if self._live is not None:
            self._drawn_at = time.monotonic()
            self._live.update(self._drawn(), refresh=True)

    def _drawn(self) -> "RenderableType":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        frame = _FRAMES[int((time.monotonic() - self._began) * 10) % len(_FRAMES)]
        for task in self._convergence.shown():
            mark = frame if task.counts and not task.ready else {BAD: "✗", GOOD: "✓"}.get(colour(task), " ")
            style = colour(task)
            words = ports(task) if task.ready and task.wanted is Wanted.RUNNING else remark(task)
            table.add_row(
                Text(mark, style=style),
                Text(task.id),
                Text(task.node or "-"),
                Text(state_word(task), style=style),
                Text(words, overflow="ellipsis", no_wrap=True),
            )
        views = sorted(self._convergence.services.values(), key=lambda view: view.name)
        passed = span(time.monotonic() - self._began)
        return Group(*(Text(heading(view), style="bold") for view in views), table, Text(passed, style=FAINT))
