"""The world at one revision, its indices, and the rules that every version of it obeys.

A snapshot is never changed. `apply` makes the next one by copying only the tables that a commit touches, so a commit
costs in proportion to its changes and to the one service they belong to, not to the whole state; readers of an older
snapshot keep what they had. Both stores apply commits through it, so compare-and-swap, guards and the lifecycle are
checked in one place. Knows nothing of durability, clocks or watchers.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from longshore.model.changes import COMMIT_CHANGES_MAX, Batch, Change, Event, Guard
from longshore.model.errors import Conflict, Illegal
from longshore.model.lifecycle import check_move, check_wish
from longshore.model.objects import (
    TYPE_OF,
    Cluster,
    Kind,
    Node,
    Object,
    Posting,
    Release,
    Service,
    Task,
    Token,
    Volume,
    release_id,
)

_NONE: Mapping[str, Task] = MappingProxyType({})
_NO_RELEASE: Mapping[int, Release] = MappingProxyType({})


_INDEXED = frozenset({Kind.TASK, Kind.RELEASE})
"""Kinds kept in tables of their own, by service."""


def service_of_task(task_id: str) -> str:
    """`web.3.2` -> `web`."""
    return task_id.rsplit(".", 2)[0]


class Snapshot:
    """Every record at one revision. Read through its properties and methods; all mappings are read-only by contract."""

    __slots__ = ("_plain", "_releases_by_service", "_tasks_by_node", "_tasks_by_service", "revision")

    def __init__(self) -> None:
        self.revision = 0
        self._plain: dict[Kind, dict[str, Object]] = {kind: {} for kind in Kind if kind not in _INDEXED}
        self._releases_by_service: dict[str, dict[int, Release]] = {}
        self._tasks_by_service: dict[str, dict[str, Task]] = {}
        self._tasks_by_node: dict[str, dict[str, Task]] = {}

    # -- reading

    @property
    def cluster(self) -> Cluster | None:
        for one in self._plain[Kind.CLUSTER].values():
            assert isinstance(one, Cluster)
            return one
        return None

    @property
    def nodes(self) -> Mapping[str, Node]:
        return self._plain[Kind.NODE]  # type: ignore[return-value]  # apply() admits one type per kind

    @property
    def services(self) -> Mapping[str, Service]:
        return self._plain[Kind.SERVICE]  # type: ignore[return-value]

    @property
    def tokens(self) -> Mapping[str, Token]:
        return self._plain[Kind.TOKEN]  # type: ignore[return-value]

    @property
    def postings(self) -> Mapping[str, Posting]:
        return self._plain[Kind.POSTING]  # type: ignore[return-value]

    @property
    def volumes(self) -> Mapping[str, Volume]:
        return self._plain[Kind.VOLUME]  # type: ignore[return-value]

    def release(self, service: str, number: int) -> Release | None:
        return self.releases_of(service).get(number)

    def releases_of(self, service: str) -> Mapping[int, Release]:
        """The kept releases of a service, by number; also of one that was removed and whose tasks still go."""
        return self._releases_by_service.get(service, _NO_RELEASE)

    def task(self, task_id: str) -> Task | None:
        return self._tasks_by_service.get(service_of_task(task_id), _NONE).get(task_id)

    def tasks_of_service(self, service: str) -> Mapping[str, Task]:
        return self._tasks_by_service.get(service, _NONE)

    def tasks_of_node(self, node: str) -> Mapping[str, Task]:
        return self._tasks_by_node.get(node, _NONE)

    @property
    def services_with_tasks(self) -> Mapping[str, Mapping[str, Task]]:
        """Tasks by service; also of services that were removed and whose tasks still go."""
        return self._tasks_by_service

    def tasks(self) -> Iterator[Task]:
        """Every task, by service in order of name."""
        for service in sorted(self._tasks_by_service):
            yield from self._tasks_by_service[service].values()

    def get(self, kind: Kind, id: str) -> Object | None:
        if kind is Kind.TASK:
            return self.task(id)
        if kind is Kind.RELEASE:
            service, _, number = id.rpartition("@")
            return self.release(service, int(number))
        return self._plain[kind].get(id)

    def objects(self) -> Iterator[tuple[Kind, str, Object]]:
        """Every record, for a store that writes them all out."""
        for kind, table in self._plain.items():
            for id, one in table.items():
                yield kind, id, one
        for releases in self._releases_by_service.values():
            for release in releases.values():
                yield Kind.RELEASE, release.id, release
        for tasks in self._tasks_by_service.values():
            for id, task in tasks.items():
                yield Kind.TASK, id, task

    # -- the next version

    def apply(self, changes: Sequence[Change], guards: Sequence[Guard], at: float) -> tuple["Snapshot", Batch]:
        """The world after `changes`, and what the log says of them. All or nothing.

        Raises Conflict if a record moved since the change was decided, or is a release that a task runs by now; Illegal
        if the lifecycle forbids it.
        """
        self._check(changes, guards)
        following = self._copy(changes)
        following.revision = self.revision + 1
        events = []
        for position, change in enumerate(changes):
            after = change.after
            if after is not None:
                after = msgspec.structs.replace(after, revision=following.revision)
            following._put(change.kind, change.id, after)
            events.append(
                Event(
                    revision=following.revision,
                    position=position,
                    at=at,
                    kind=change.kind,
                    id=change.id,
                    after=after,
                    by=change.by,
                    reason=change.reason,
                    message=change.message,
                )
            )
        return following, Batch(revision=following.revision, events=tuple(events))

    def _check(self, changes: Sequence[Change], guards: Sequence[Guard]) -> None:
        if not changes or len(changes) > COMMIT_CHANGES_MAX:
            raise Illegal(f"a commit has 1 to {COMMIT_CHANGES_MAX} changes, not {len(changes)}")
        seen: set[tuple[Kind, str]] = set()
        for change in changes:
            if (change.kind, change.id) in seen:
                raise Illegal(f"two changes of {change.kind} {change.id} in one commit")
            seen.add((change.kind, change.id))
            before = self.get(change.kind, change.id)
            if (before.revision if before else 0) != change.before:
                raise Conflict(f"{change.kind} {change.id} changed meanwhile")
            if change.after is None:
                if before is None:
                    raise Illegal(f"{change.kind} {change.id} is deleted twice")
            elif not isinstance(change.after, TYPE_OF[change.kind]):
                raise Illegal(f"{change.kind} {change.id} given as {type(change.after).__name__}")
            if isinstance(before, Task) and isinstance(change.after, Task):
                check_move(before.state, change.after.state, change.by)
                check_wish(before.wanted, change.after.wanted, change.by)
            elif isinstance(change.after, Task) and not self._has_release(change.after, changes):
                raise Conflict(f"release {change.after.release} of {change.after.service} is not kept any more")
            elif isinstance(before, Release) and change.after is None and self._is_run(before, changes):
                raise Conflict(f"a task runs {before.id}")
        for guard in guards:
            relied = self.get(guard.kind, guard.id)
            if (relied.revision if relied else 0) != guard.revision:
                raise Conflict(f"{guard.kind} {guard.id} changed meanwhile")

    def _has_release(self, task: Task, changes: Sequence[Change]) -> bool:
        """Whether the release that a new task names will be there after these changes."""
        id = release_id(task.service, task.release)
        made = [change.after is not None for change in changes if change.kind is Kind.RELEASE and change.id == id]
        return made[0] if made else self.release(task.service, task.release) is not None

    def _is_run(self, release: Release, changes: Sequence[Change]) -> bool:
        """Whether a task will name it after these changes."""
        gone = {change.id for change in changes if change.kind is Kind.TASK and change.after is None}
        tasks = self.tasks_of_service(release.service)
        return any(task.release == release.number and id not in gone for id, task in tasks.items())

    def _copy(self, changes: Sequence[Change]) -> "Snapshot":
        """A snapshot that shares every table except those that `changes` touch."""
        following = Snapshot.__new__(Snapshot)
        following._plain = dict(self._plain)
        following._tasks_by_service = self._tasks_by_service
        following._tasks_by_node = self._tasks_by_node
        following._releases_by_service = self._releases_by_service
        kinds = {change.kind for change in changes}
        for kind in kinds - _INDEXED:
            following._plain[kind] = dict(self._plain[kind])
        if Kind.RELEASE in kinds:
            following._releases_by_service = dict(self._releases_by_service)
            for change in changes:
                if change.kind is Kind.RELEASE:
                    service = change.id.rpartition("@")[0]
                    following._releases_by_service[service] = dict(self.releases_of(service))
        if Kind.TASK in kinds:
            following._tasks_by_service = dict(self._tasks_by_service)
            following._tasks_by_node = dict(self._tasks_by_node)
            services, nodes = set(), set()
            for change in changes:
                if change.kind is Kind.TASK:
                    services.add(service_of_task(change.id))
                    for one in (self.task(change.id), change.after):
                        if isinstance(one, Task) and one.node:
                            nodes.add(one.node)
            for service in services:
                following._tasks_by_service[service] = dict(self._tasks_by_service.get(service, _NONE))
            for node in nodes:
                following._tasks_by_node[node] = dict(self._tasks_by_node.get(node, _NONE))
        return following

    def _put(self, kind: Kind, id: str, after: Object | None) -> None:
        """Write one record into tables that `_copy` has made this snapshot's own."""
        if kind is Kind.TASK:
            self._put_task(id, after)
        elif kind is Kind.RELEASE:
            self._put_release(id, after)
        elif after is None:
            del self._plain[kind][id]
        else:
            self._plain[kind][id] = after

    def _put_release(self, id: str, after: Object | None) -> None:
        service, _, number = id.rpartition("@")
        table = self._releases_by_service.setdefault(service, {})
        if after is None:
            del table[int(number)]
            if not table:
                del self._releases_by_service[service]
        else:
            assert isinstance(after, Release)
            table[after.number] = after

    def _put_task(self, id: str, after: Object | None) -> None:
        service = service_of_task(id)
        table = self._tasks_by_service.setdefault(service, {})
        before = table.get(id)
        if before is not None and before.node:
            of_node = self._tasks_by_node[before.node]
            del of_node[id]
            if not of_node:
                del self._tasks_by_node[before.node]
        if after is None:
            del table[id]
            if not table:
                del self._tasks_by_service[service]
        else:
            assert isinstance(after, Task)
            table[id] = after
            if after.node:
                self._tasks_by_node.setdefault(after.node, {})[id] = after

    @classmethod
    def restored(cls, revision: int, objects: Sequence[tuple[Kind, Object]], ids: Sequence[str]) -> "Snapshot":
        """The snapshot that holds exactly `objects` under `ids`, as a store reads them back at start."""
        world = cls()
        for (kind, one), id in zip(objects, ids, strict=True):
            world._put(kind, id, one)
        world.revision = revision
        return world
