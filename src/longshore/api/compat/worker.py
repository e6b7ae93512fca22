"""A worker's own port: the tasks it was told of directly, those that a manager gave it, and its machine's figures.

What is posted here is the worker's own: it keeps it in its own store and runs it with no manager in sight, by the same
decisions as a manager would (`main.alone` puts that together). A task that a manager gave it is shown here and stopped
there. One token opens this port, the one that a manager shows which dials it; without tokens, on loopback alone, only
this machine's own programs come in.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from longshore.agent import proc
from longshore.agent.proc import CpuTicks, DiskBytes, Figures, Load
from longshore.agent.worker import Worker
from longshore.api.compat import cube, gokube, orchestrator
from longshore.api.compat.reading import Fields, parse, uuid_of
from longshore.api.compat.refusals import Refuse, as_cube, as_gokube, no_task
from longshore.api.origin import check_same_site
from longshore.api.wire import BODY_BYTES_MAX, HEADERS, answer, foreign, refusal
from longshore.decide.postings import LABEL_ID, LABEL_NAME, PHASE, Shown
from longshore.model.containers import Assigned
from longshore.model.errors import Conflict, Denied, Failure, Invalid, NotFound
from longshore.model.messages import Observation
from longshore.model.objects import Posting, Task
from longshore.ports import Engine

if TYPE_CHECKING:  # a worker that has no tasks of its own does not load what they take
    from longshore.control.postings import Postings

log = structlog.get_logger("longshore.worker")

Show = Callable[[Shown], msgspec.Struct]

_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class WorkerDeps:
    """What a worker's port works with. `main` puts it together."""

    worker: Worker
    engine: Engine
    secret: str
    """The token that opens it; empty if none is asked for, which only happens on loopback."""
    begin: "Callable[[], Awaitable[Postings]]"
    """Its own tasks, ready to take one more."""
    own: "Callable[[], Postings | None]"
    """Its own tasks; None if it never had any."""


class CubeStats(msgspec.Struct, frozen=True, kw_only=True):
    memory: dict[str, int] = msgspec.field(name="MemStats")
    disk: DiskBytes = msgspec.field(name="DiskStats")
    cpu: CpuTicks = msgspec.field(name="CpuStats")
    load: Load = msgspec.field(name="LoadStats")
    tasks: int = msgspec.field(name="TaskCount")


class OrchestratorStats(msgspec.Struct, frozen=True, kw_only=True):
    memory: dict[str, int] = msgspec.field(name="MemoryStats")
    disk: DiskBytes = msgspec.field(name="DiskStats")
    cpu: CpuTicks = msgspec.field(name="CpuStats")
    load: Load = msgspec.field(name="LoadStats")


def make_worker_app(deps: WorkerDeps) -> web.Application:
    """The port as an aiohttp application; a session's place is for the caller to mount."""
    app = web.Application(middlewares=[_door(deps)], client_max_size=BODY_BYTES_MAX)
    app.router.add_get("/health", _health)
    for prefix, show, refuse in (
        ("/tasks", cube.show_task, as_cube),
        ("/task", gokube.show, as_gokube),
    ):
        _Tasks(deps, show, refuse).mount(app, prefix)
    figures = _Machine(deps)
    for slash in ("", "/"):
        app.router.add_get(f"/stats{slash}", figures.stats)
        app.router.add_get(f"/metrics{slash}", figures.metrics)
    return app


async def _health(request: web.Request) -> web.Response:
    return web.Response(text="OK")


# -- the door


def _door(deps: WorkerDeps) -> Any:
    @web.middleware
    async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path != "/health":
                _admit(deps, request)
            response = await handler(request)
        except Failure as failure:
            response = refusal(failure)
        except web.HTTPException as error:
            response = foreign(error, request.path)
        except web.RequestPayloadError as error:
            response = foreign(
                web.HTTPBadRequest(text=f"the body broke off or is not well-formed: {error}"), request.path
            )
        except ConnectionError:
            raise  # the asker left; nobody is there to be told
        except Exception:
            # A bug, which must not end the worker, whose containers go on; nor go by unseen.
            log.exception("bug in a route", method=request.method, path=request.path)
            response = web.Response(status=500, text="this is a bug of Longshore; the worker's log says more\n")
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    return door


def _admit(deps: WorkerDeps, request: web.Request) -> None:
    """Raises Denied."""
    if not deps.secret:
        check_same_site(request)
        return
    given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not hmac.compare_digest(given.encode(errors="replace"), deps.secret.encode()):
        raise Denied("this needs the worker's token: Authorization: Bearer SECRET")


# -- tasks


class _Tasks:
    """The four verbs of tasks, in one spelling."""

    def __init__(self, deps: WorkerDeps, show: Show, refuse: Refuse) -> None:
        self._deps = deps
        self._show = show
        self._refuse = refuse

    def mount(self, app: web.Application, path: str) -> None:
        for slash in ("", "/"):
            app.router.add_get(f"{path}{slash}", self._refusing(self._list))
            app.router.add_post(f"{path}{slash}", self._refusing(self._post))
            app.router.add_get(f"{path}/{{id:[^/]+}}{slash}", self._refusing(self._inspect))
            app.router.add_delete(f"{path}/{{id:[^/]+}}{slash}", self._refusing(self._stop))

    def _refusing(self, call: Handler) -> Handler:
        async def answering(request: web.Request) -> web.StreamResponse:
            try:
                return await call(request)
            except Failure as failure:
                return self._refuse(failure)

        return answering

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return answer(200, [self._show(one) for one in _shown(self._deps)])

    async def _post(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = orchestrator.read_body(Fields(parse(await request.read())))
        except Invalid as fault:
            raise Invalid(f"Error unmarshalling body: {fault.message}", field=fault.field) from fault
        posting = asked.posting
        if asked.stops:
            await self._end(posting.id)
            return answer(201, self._show(_existing(self._deps, posting.id)))
        if any(one.posting.id == posting.id for one in _assigned(self._deps.worker)):
            raise Conflict(f"task {posting.id} is a manager's already; a worker does not run it twice")
        return answer(201, self._show(await (await self._deps.begin()).post(posting)))

    async def _inspect(self, request: web.Request) -> web.StreamResponse:
        shown = _existing(self._deps, request.match_info["id"])
        container = shown.task.container_id if shown.task is not None else ""
        said = await self._deps.engine.inspect(container) if container else None
        if said is None:
            raise NotFound(f"task {shown.posting.id} is {shown.phase.name.lower()} and has no container")
        return web.Response(body=said, content_type=_JSON)

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        await self._end(request.match_info["id"])
        return web.Response(status=204)

    async def _end(self, id: str) -> None:
        shown = _existing(self._deps, id)
        own = self._deps.own()
        if own is None or not own.knows(shown.posting.id):
            raise Conflict(f"task {shown.posting.id} is a manager's; stop it there")
        await own.stop(shown.posting.id)


def _shown(deps: WorkerDeps) -> list[Shown]:
    """Its own, then those that a manager gave it and a client of the manager posted there."""
    own = deps.own()
    return [*(own.all() if own is not None else ()), *_assigned(deps.worker)]


def _existing(deps: WorkerDeps, id: str) -> Shown:
    wanted = uuid_of(id) or id
    own = deps.own()
    if own is not None and own.knows(wanted):
        return own.shown(wanted)
    for one in _assigned(deps.worker):
        if one.posting.id == wanted:
            return one
    raise no_task(id)


def _assigned(worker: Worker) -> list[Shown]:
    """A manager's tasks as its clients know them; those that nobody posted have no id to go by here. Of several in one
    slot, the newest."""
    found: dict[str, Shown] = {}
    for assigned, seen in worker.held():
        id = assigned.spec.labels.get(LABEL_ID)
        if id is not None and (id not in found or _generation(found[id]) < assigned.task.generation):
            found[id] = _seen(id, assigned, seen)
    return [found[id] for id in sorted(found)]


def _generation(shown: Shown) -> int:
    return shown.task.generation if shown.task is not None else 0


def _seen(id: str, assigned: Assigned, seen: Observation | None) -> Shown:
    spec, task = assigned.spec, assigned.task
    if seen is not None:
        task = _observed(task, seen)
    posting = Posting(
        id=id,
        name=spec.labels.get(LABEL_NAME, ""),
        service=task.service,
        image=spec.image,
        cpu=spec.resources.cpu,
        memory=spec.resources.memory,
        disk=spec.resources.disk,
        port_bindings={f"{port.container}/{port.protocol}": str(port.host) for port in task.ports},
        health_check=spec.liveness.http.path if spec.liveness is not None and spec.liveness.http is not None else "",
        created_at=task.created_at,
    )
    return Shown(posting=posting, phase=PHASE[task.state], task=task, finished_at=task.finished_at, reason=task.reason)


def _observed(task: Task, seen: Observation) -> Task:
    return msgspec.structs.replace(
        task,
        state=seen.state,
        ready=seen.ready,
        container_id=seen.container_id,
        exposed=seen.exposed,
        reason=seen.reason,
    )


# -- the machine


class _Machine:
    """What the kernel says of it, in the shapes that managers of old ask for."""

    def __init__(self, deps: WorkerDeps) -> None:
        self._deps = deps

    async def stats(self, request: web.Request) -> web.StreamResponse:
        figures = proc.read()
        return answer(
            200,
            CubeStats(
                memory=figures.memory, disk=figures.disk, cpu=figures.cpu, load=figures.load, tasks=self._running()
            ),
        )

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """JSON to those who ask for it, Prometheus' text to everyone else."""
        figures = proc.read()
        if _JSON in request.headers.get("Accept", ""):
            return answer(
                200,
                OrchestratorStats(memory=figures.memory, disk=figures.disk, cpu=figures.cpu, load=figures.load),
            )
        page = _page(figures, self._running())
        return web.Response(body=page, headers={"Content-Type": _PROMETHEUS})

    def _running(self) -> int:
        """Containers of its own and its manager's."""
        own = self._deps.own()
        mine = sum(one.task is not None and one.task.live for one in own.all()) if own is not None else 0
        return mine + sum(assigned.task.live for assigned, _ in self._deps.worker.held())


def _page(figures: Figures, tasks: int) -> bytes:
    """The figures for Prometheus, under the names that its node exporter gives them where it has one."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # when first asked: it is 4 MB of memory

    registry = CollectorRegistry()
    for name, words, value in (
        ("longshore_worker_tasks", "Live tasks on this worker.", float(tasks)),
        ("node_memory_MemTotal_bytes", "Memory in all.", figures.memory["mem_total"] * 1024.0),
        ("node_memory_MemAvailable_bytes", "Memory that could be had.", figures.memory["mem_available"] * 1024.0),
        ("node_filesystem_size_bytes", "Disk in all.", float(figures.disk.all)),
        ("node_filesystem_free_bytes", "Disk that is free.", float(figures.disk.free)),
        ("node_load1", "Load of the last minute.", figures.load.last1min),
    ):
        Gauge(name, words, registry=registry).set(value)
    return generate_latest(registry)
