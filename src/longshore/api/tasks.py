"""Tasks: what the store knows of them, why they are where they are, and what they write."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web

from longshore.api import pages, watching
from longshore.api.labels import has_label
from longshore.api.routes import Ask, NoQuery, route
from longshore.api.streams import gathered, pour
from longshore.api.wire import answer, encode
from longshore.model.containers import LogLine
from longshore.model.errors import Failure, Invalid, NotFound
from longshore.model.lifecycle import State
from longshore.model.objects import Kind, Task
from longshore.model.snapshot import Snapshot, service_of_task
from longshore.model.views import Page, Why

NDJSON = "application/x-ndjson"
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")

_Place = tuple[str, int, int]


class TasksQuery(pages.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    service: str | None = None
    app: str | None = None
    node: str | None = None
    state: State | None = None
    image: str | None = None
    label: Annotated[str, msgspec.Meta(description="`KEY=VALUE`, or `KEY` for any value, of the container.")] | None = (
        None
    )
    watch: bool = False


class LogsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    follow: bool = False
    tail: Annotated[int, msgspec.Meta(ge=0, le=1_000_000, description="Only the last so many lines.")] | None = None
    since: Annotated[str, msgspec.Meta(description="Seconds since the epoch, or RFC 3339.")] | None = None


@route("GET", "/v1/tasks", "List or watch tasks", {200: Page[Task]}, streams=Task)
async def list_tasks(ask: Ask[TasksQuery, None]) -> web.StreamResponse:
    query = ask.query
    if query.watch:
        return await watching.watch(
            ask,
            watching.Watched(
                ids=lambda world: (task.id for task in _ordered(world, query, None)),
                touched=lambda event: (event.id,) if event.kind is Kind.TASK else (),
                show=lambda world, key: _matching(world, query, key),
            ),
        )
    tasks = _ordered(ask.deps.store.read(), query, pages.unwrap(query.after))
    return answer(200, pages.part(tasks, lambda task: task.id, query.limit))


@route("GET", "/v1/tasks/{id}", "Show a task", {200: Task})
async def show_task(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return answer(200, _existing(ask.deps.store.read(), ask.key))


@route("GET", "/v1/tasks/{id}/why", "Explain a task", {200: Why})
async def explain_task(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    return answer(200, ask.deps.operations.why(ask.key))


@route("GET", "/v1/tasks/{id}/logs", "Read or follow a task's log", {200: NDJSON}, head=False)
async def read_log(ask: Ask[LogsQuery, None]) -> web.StreamResponse:
    task, query = _existing(ask.deps.store.read(), ask.key), ask.query
    since = _moment(query.since) if query.since is not None else None
    lines = ask.deps.sessions.logs(task, follow=query.follow, tail=query.tail, since=since)
    return await pour(ask.deps.streams, ask.request, NDJSON, _log_pieces(ask, lines))


async def _log_pieces(ask: Ask[LogsQuery, None], lines: AsyncIterator[LogLine]) -> AsyncGenerator[bytes, None]:
    """Lines as JSON, one a line. What fails before the first is raised: then it can still be a plain problem."""
    begun = False
    try:
        async with aclosing(gathered(lines, ask.deps.streams, ask.request)) as bursts:
            async for burst in bursts:
                begun = True
                yield b"".join(encode(line) + b"\n" for line in burst)
    except Failure as failure:
        if not begun:
            raise
        yield encode({"error": failure.message}) + b"\n"


def _existing(world: Snapshot, id: str) -> Task:
    task = world.task(id)
    if task is None:
        raise NotFound(f"there is no task {id}")
    return task


def _matching(world: Snapshot, query: TasksQuery, id: str) -> Task | None:
    task = world.task(id)
    return task if task is not None and _matches(world, query, task) else None


def _matches(world: Snapshot, query: TasksQuery, task: Task) -> bool:
    if query.service is not None and task.service != query.service:
        return False
    if query.node is not None and task.node != query.node:
        return False
    if query.state is not None and task.state is not query.state:
        return False
    if query.app is not None:
        service = world.services.get(task.service)
        if service is None or service.app != query.app:
            return False
    return (query.image is None and query.label is None) or _is_of(world, query, task)


def _is_of(world: Snapshot, query: TasksQuery, task: Task) -> bool:
    """By what its release says: another image is another release."""
    release = world.release(task.service, task.release)
    if release is None or (query.image is not None and release.spec.image != query.image):
        return False
    return query.label is None or has_label(release.spec.labels, query.label)


def _ordered(world: Snapshot, query: TasksQuery, after: str | None) -> Iterator[Task]:
    """Those that match, by service, slot and generation, behind the task `after`."""
    begin = _place_of(after) if after is not None else ("", 0, 0)
    for tasks in _groups(world, query, begin):
        for task in sorted(tasks, key=_place):
            if _place(task) > begin and _matches(world, query, task):
                yield task


def _groups(world: Snapshot, query: TasksQuery, begin: _Place) -> Iterator[Iterable[Task]]:
    """The tasks among which to look, as few as the query allows, in groups that are in order already."""
    if query.service is not None:
        yield from _parts(world, query.service, begin)
    elif query.node is not None:
        yield world.tasks_of_node(query.node).values()
    else:
        for service in sorted(world.services_with_tasks):
            if service >= begin[0]:
                yield from _parts(world, service, begin)


def _parts(world: Snapshot, service: str, begin: _Place) -> Iterator[Iterable[Task]]:
    for part in world.tasks_of_service(service).parts:
        if service != begin[0] or part.slots.stop > begin[1]:
            yield part.tasks.values()


def _place(task: Task) -> _Place:
    return (task.service, task.slot, task.generation)


def _place_of(id: str) -> _Place:
    try:
        _, slot, generation = id.rsplit(".", 2)
        return (service_of_task(id), int(slot), int(generation))
    except ValueError as error:
        raise Invalid("this is not the `next` of a page of tasks", field="after") from error


def _moment(text: str) -> float:
    """Seconds since the epoch. A time without a zone would mean the manager's, which the asker does not know."""
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        rule = "since is seconds since the epoch or RFC 3339, such as 2026-01-31T12:00:00Z"
        raise Invalid(rule, field="since") from error
    if moment.tzinfo is None:
        raise Invalid("since needs a zone, such as Z or +01:00", field="since")
    return moment.timestamp()


ROUTES = (list_tasks, show_task, explain_task, read_log)
