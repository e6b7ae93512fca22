"""What a manager counts, as Prometheus reads it.

Knows Prometheus' library and its own registry (the library's default one is shared by everything in the process).
States are not counted as they change but read off the snapshot when somebody looks, so they cannot drift. Must not
know HTTP. No task or service is ever a label: labels that come and go with the work fill memory and never leave.
"""

import time
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from longshore.decide.status import status_of
from longshore.loop.controller import Controller, Decision
from longshore.model.changes import Batch, Change, Event, Guard
from longshore.model.lifecycle import State
from longshore.model.objects import Availability, Kind, NodeStatus, Task
from longshore.model.snapshot import Snapshot
from longshore.model.views import Phase
from longshore.ports import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COMMIT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_REQUEST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
_DECISION_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counters of one manager."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._commits = Counter(
            "longshore_commits", "Commits to the store, by outcome.", ["outcome"], registry=self._registry
        )
        self._commit_s = Histogram(
            "longshore_commit_seconds", "From asking to durable.", registry=self._registry, buckets=_COMMIT_S
        )
        self._requests = Counter(
            "longshore_api_requests", "Answered requests.", ["method", "route", "status"], registry=self._registry
        )
        self._request_s = Histogram(
            "longshore_api_request_seconds",
            "From request to answer; streams and sessions are left out.",
            ["method", "route"],
            registry=self._registry,
            buckets=_REQUEST_S,
        )
        self._decisions = Counter(
            "longshore_decisions", "Looks that a controller took at a key.", ["controller"], registry=self._registry
        )
        self._decided = Counter(
            "longshore_decided_changes", "Changes it decided on.", ["controller"], registry=self._registry
        )
        self._decision_s = Histogram(
            "longshore_decision_seconds",
            "Duration of a look.",
            ["controller"],
            registry=self._registry,
            buckets=_DECISION_S,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def asked(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """One request to a route's template was answered; without `seconds` its duration says nothing."""
        key = (method, route, status)
        children = self._children.get(key)
        if children is None:
            # Anyone may send any method: those we do not know must not become labels, nor keys.
            known = method if method in _METHODS else "other"
            children = (self._requests.labels(known, route, str(status)), self._request_s.labels(known, route))
            if known == method:
                self._children[key] = children
        children[0].inc()
        if seconds is not None:
            children[1].observe(seconds)

    def committed(self, seconds: float, outcome: str) -> None:
        self._commits.labels(outcome).inc()
        self._commit_s.observe(seconds)

    def decided(self, controller: str, seconds: float, changes: int) -> None:
        self._decisions.labels(controller).inc()
        self._decided.labels(controller).inc(changes)
        self._decision_s.labels(controller).observe(seconds)

    def page(self, world: Snapshot, *, sessions: int) -> bytes:
        """Everything, in Prometheus' text format. Takes milliseconds: call it in a thread."""
        seen = CollectorRegistry()
        seen.register(_Seen(world, sessions, self._version))
        return generate_latest(self._registry) + generate_latest(seen)


class _Seen(Collector):
    """What one snapshot shows."""

    def __init__(self, world: Snapshot, sessions: int, version: str) -> None:
        self._world = world
        self._sessions = sessions
        self._version = version

    def collect(self) -> Iterable[Metric]:
        world = self._world
        info = GaugeMetricFamily("longshore_info", "Always 1.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        yield GaugeMetricFamily("longshore_revision", "The store's counter.", value=world.revision)
        yield GaugeMetricFamily("longshore_sessions", "Workers that are connected.", value=self._sessions)
        services = GaugeMetricFamily("longshore_services", "Services by phase.", labels=["phase"])
        by_phase = Tally(status_of(world, service).phase for service in world.services.values())
        for phase in Phase:
            services.add_metric([phase], by_phase[phase])
        yield services
        tasks = GaugeMetricFamily("longshore_tasks", "Tasks by state.", labels=["state"])
        by_state: Tally[State] = Tally()
        for of_service in world.services_with_tasks.values():
            for part in of_service.parts:
                by_state.update(part.derive(_by_state))
        for state in State:
            tasks.add_metric([state], by_state[state])
        yield tasks
        nodes = GaugeMetricFamily("longshore_nodes", "Nodes.", labels=["status", "availability"])
        by_status = Tally((node.status, node.availability) for node in world.nodes.values())
        for status in NodeStatus:
            for availability in Availability:
                nodes.add_metric([status, availability], by_status[status, availability])
        yield nodes
        held = sum(node.held for node in world.nodes.values())
        yield GaugeMetricFamily(
            "longshore_evictions_held", "Silent nodes that are kept, as too many are silent at once.", value=held
        )


def _by_state(tasks: Iterable[Task]) -> Tally[State]:
    return Tally(task.state for task in tasks)


class MeasuredStore:
    """A store (`ports.Store`) whose commits are counted."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def read(self) -> Snapshot:
        return self._store.read()

    async def commit(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        return await self._measured(self._store.commit(changes, guards))

    async def commit_in_turn(self, parts: Sequence[Sequence[Change]], guards: Sequence[Guard] = ()) -> int:
        return await self._measured(self._store.commit_in_turn(parts, guards))

    async def _measured(self, commit: Awaitable[int]) -> int:
        began, outcome = time.perf_counter(), "done"
        try:
            return await commit
        except BaseException as failure:
            outcome = type(failure).__name__.lower()
            raise
        finally:
            self._metrics.committed(time.perf_counter() - began, outcome)

    def watch(self, after: int) -> AsyncIterator[Batch]:
        return self._store.watch(after)

    async def compact(self, before: int) -> None:
        await self._store.compact(before)

    def story(self, kind: Kind, id: str) -> Sequence[Event]:
        return self._store.story(kind, id)

    async def backup(self, target: Path) -> None:
        await self._store.backup(target)

    async def close(self) -> None:
        await self._store.close()


def measured(row: Controller, metrics: Metrics) -> Controller:
    """The same controller, its decisions counted."""

    def decide(world: Snapshot, key: str, now: float) -> Decision:
        began = time.perf_counter()
        changes, again = row.decide(world, key, now)
        metrics.decided(row.name, time.perf_counter() - began, len(changes))
        return changes, again

    return replace(row, decide=decide)
