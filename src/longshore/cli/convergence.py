"""Whether the cluster has come to where a command wants it: a pure machine that is fed what the watches tell.

Knows views, tasks and the time it is given. Must not know threads, terminals or the network. The truth it tells is the
exit code, so it does not believe a start at once: a container without a health check that dies in its first second was
`settled` for a moment, so what newly runs must keep running for a while before it counts.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from longshore.cli.exits import CONVERGED, FAILED, TIMED_OUT
from longshore.cli.references import newest
from longshore.client import Broken, Gone, Item, Ready, Watched
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import ReleasePhase, Task
from longshore.model.spec import Mode
from longshore.model.views import Phase, ServiceView

SERVICES = "services"
"""Name of the watch on services."""
TASKS_OF_APP = "tasks"
"""Name of the watch on an app's tasks."""

IN_STEP_S = 1.0
"""How long the watch on services may be ahead of the one on tasks. The last lines come with the latter."""

ENDED_BADLY = frozenset({State.FAILED, State.REJECTED, State.LOST})


class Outcome(StrEnum):
    CONVERGED = "converged"
    FAILED = "failed"
    TIMED_OUT = "timed out"


EXIT_OF_OUTCOME = {Outcome.CONVERGED: CONVERGED, Outcome.FAILED: FAILED, Outcome.TIMED_OUT: TIMED_OUT}


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be: these services as wished, those without tasks."""

    settle: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    release: bool = False
    """Whether those to settle shall come to the release that they have in the beginning, and to its end: of an update
    that is when it was judged, until which it may be taken back."""


class Told(msgspec.Struct, frozen=True):
    """A change worth a line."""

    task: Task
    gone: bool = False


class Convergence:
    """How far it is. `known` are the tasks from before, about which there is nothing to tell."""

    def __init__(self, goal: Goal, known: Iterable[Task], *, steady_s: float) -> None:
        self.goal = goal
        self.services: dict[str, ServiceView] = {}
        self.tasks: dict[str, Task] = {}
        self.lost: set[str] = set()
        """Services to settle that somebody removed meanwhile."""
        self._known = {task.id: task for task in known}
        self._steady_s = steady_s
        self._release: dict[str, int] = {}
        """Of each service, as it was first seen."""
        self._settled_at: float | None = None
        self._awaited: set[str] = set()

    def expect(self, source: str) -> None:
        """Nothing is decided before this watch has told everything."""
        self._awaited.add(source)

    def take(self, source: str, message: Watched[ServiceView] | Watched[Task]) -> Told | None:
        """Learn one message of a watch; what is worth telling of it."""
        match message:
            case Broken():
                self.expect(source)
            case Ready():
                self._awaited.discard(source)
            case Gone(id) if source == SERVICES:
                if self.services.pop(id, None) is not None:
                    self.lost.add(id)
            case Gone(id):
                task = self.tasks.get(id)
                if task is not None and self._concerns(source, task):
                    return Told(self.tasks.pop(id), gone=True)
            case Item(ServiceView() as service):
                if service.name in self.goal.settle:
                    self.services[service.name] = service
                    self._release.setdefault(service.name, service.release)
                    self.lost.discard(service.name)
            case Item(Task() as task) if self._concerns(source, task):
                return self._learn(task)
        return None

    def outcome(self, now: float) -> Outcome | None:
        """None is not yet. `now` is of any clock that never goes back."""
        if self._awaited:
            self._settled_at = None
            return None
        if self.lost or any(view.status.phase is Phase.FAILED for view in self.services.values()):
            return Outcome.FAILED
        if any(view.status.rollout is ReleasePhase.PAUSED for view in self.services.values()):
            return Outcome.FAILED  # it goes no further by itself
        if self.overtaken():
            return Outcome.FAILED
        if not self._settled() or any(task.service in self.goal.leave for task in self.tasks.values()):
            self._settled_at = None
            return None
        if self._settled_at is None:
            self._settled_at = now
        doubt_s = max((self._doubt_s(self.services[name]) for name in self.goal.settle), default=0.0)
        if now - self._settled_at < doubt_s or self._is_on_trial():
            return None
        return Outcome.FAILED if self.taken_back() else Outcome.CONVERGED

    def taken_back(self) -> list[ServiceView]:
        """Services whose release failed and was rolled back since they were first seen."""
        return [
            view
            for name, view in sorted(self.services.items())
            if view.status.rolls_back == self._release[name] != view.release
        ]

    def overtaken(self) -> list[ServiceView]:
        """Services that went to a release of somebody else's since they were first seen."""
        if not self.goal.release:
            return []
        others = [view for name, view in sorted(self.services.items()) if view.release != self._release[name]]
        return [view for view in others if view not in self.taken_back()]

    def shown(self) -> list[Task]:
        """What a person wants to see: of each slot the newest task, and older ones that still live."""
        live = [task for task in self.tasks.values() if task.live]
        shown = {task.id: task for task in [*newest(self._of_goal()), *live]}
        return sorted(shown.values(), key=lambda task: (task.service, task.slot, task.generation))

    # -- inside

    def _concerns(self, source: str, task: Task) -> bool:
        """Whether this watch is the one to believe about `task`. An app's watch says of a service that is being removed
        that its tasks are gone, because they are nobody's app's any more, while they still run."""
        if source == TASKS_OF_APP:
            return task.service in self.goal.settle
        return source == watch_of(task.service)

    def _learn(self, task: Task) -> Told | None:
        before = self.tasks.get(task.id) or self._known.get(task.id)
        self.tasks[task.id] = task
        if before is not None and _face(before) == _face(task):
            return None
        return Told(task)

    def _of_goal(self) -> list[Task]:
        return [task for task in self.tasks.values() if task.service in self.goal.settle]

    def _settled(self) -> bool:
        return all(name in self.services and self.services[name].status.settled for name in self.goal.settle)

    def _is_on_trial(self) -> bool:
        """Whether a release is still on trial, with another to come back to."""
        return self.goal.release and any(on_trial(view) for view in self.services.values())

    def _doubt_s(self, view: ServiceView) -> float:
        """How long it must have been as wished to be believed."""
        tasks = [task for task in self.tasks.values() if task.service == view.name]
        running = [task for task in tasks if task.state is State.RUNNING]
        finished = sum(task.state is State.FINISHED for task in tasks)
        behind = sum(task.ready for task in running) < view.status.ready or finished < view.status.finished
        new = any((before := self._known.get(task.id)) is None or before.state != task.state for task in running)
        may_be_dying = view.spec.health is None and view.spec.mode is not Mode.JOB and (new or behind)
        return max(self._steady_s if may_be_dying else 0.0, IN_STEP_S if behind else 0.0)


def on_trial(view: ServiceView) -> bool:
    """Whether a release is served and not yet judged, and may be taken back: it is not what the service began with."""
    rolling = view.status.rollout is ReleasePhase.ROLLING
    return view.status.settled and rolling and view.updated_at > view.created_at


def watch_of(service: str) -> str:
    """Name of the watch on one service's tasks."""
    return f"tasks of {service}"


def in_trouble(task: Task) -> bool:
    """Whether a slot's newest task keeps its service from being as wished."""
    if task.state in ENDED_BADLY:
        return task.wanted is Wanted.RUNNING
    return task.counts and (not task.ready or task.attempt > 0)


def _face(task: Task) -> tuple[object, ...]:
    """What a change has to change to be worth a line."""
    return task.state, task.ready, task.node, task.live and task.wanted is not Wanted.RUNNING
