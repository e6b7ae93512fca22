"""The world at one revision, its indices, and the rules that every version of it obeys.

A snapshot is never changed. `apply` makes the next one, which shares with it all that the commit does not touch
(`sharing`), so a commit costs in proportion to its changes, not to the state; readers of an older snapshot keep what
they had. Both stores apply commits through it, so compare-and-swap, guards and the lifecycle are
checked in one place. Knows nothing of durability, clocks or watchers.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

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
from longshore.model.sharing import Shared, Slots
from longshore.model.signs import releases_of

K = TypeVar("K")
V = TypeVar("V")
M = TypeVar("M")

_NO_TASKS: Shared[Task] = Shared()
_NO_SLOTS = Slots()
_NO_RELEASE: Mapping[int, Release] = MappingProxyType({})


_INDEXED = frozenset({Kind.TASK, Kind.RELEASE})
"""Kinds kept in tables of their own, by service."""


def service_of_task(task_id: str) -> str:
    """`web.3.2` -> `web`."""
    return task_id.rsplit(".", 2)[0]


class Snapshot:
    """Every record at one revision. Read through its properties and methods; all mappings are read-only by contract."""

    __slots__ = (
        "_plain",
        "_releases_by_service",
        "_tasks_by_node",
        "_tasks_by_service",
        "_tokens_by_digest",
        "revision",
    )

    def __init__(self) -> None:
        self.revision = 0
        self._plain: dict[Kind, Shared[Object]] = {kind: Shared() for kind in Kind if kind not in _INDEXED}
        self._releases_by_service: Shared[Mapping[int, Release]] = Shared()
        self._tasks_by_service: Shared[Slots] = Shared()
        self._tasks_by_node: Shared[Shared[Task]] = Shared()
        self._tokens_by_digest: Shared[Token] = Shared()

    # -- reading

    @property
    def cluster(self) -> Cluster | None:
        for one in self._plain[Kind.CLUSTER].values():
            assert isinstance(one, Cluster)
            return one
        return None

    @property
    def nodes(self) -> Shared[Node]:
        return self._plain[Kind.NODE]  # type: ignore[return-value]  # apply() admits one type per kind

    @property
    def services(self) -> Shared[Service]:
        return self._plain[Kind.SERVICE]  # type: ignore[return-value]

    @property
    def tokens(self) -> Shared[Token]:
        return self._plain[Kind.TOKEN]  # type: ignore[return-value]

    def token_of(self, sha256: str) -> Token | None:
        """The token whose secret has this hash."""
        return self._tokens_by_digest.get(sha256)

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

    def own_releases(self, service: Service) -> Mapping[int, Release]:
        """The same without those of a service of its name that was removed before it was made."""
        releases = self.releases_of(service.name).items()
        return {number: one for number, one in releases if one.created_at >= service.created_at}

    def task(self, task_id: str) -> Task | None:
        return self._tasks_by_service.get(service_of_task(task_id), _NO_SLOTS).get(task_id)

    def tasks_of_service(self, service: str) -> Slots:
        return self._tasks_by_service.get(service, _NO_SLOTS)

    def tasks_of_node(self, node: str) -> Shared[Task]:
        return self._tasks_by_node.get(node, _NO_TASKS)

    @property
    def services_with_tasks(self) -> Shared[Slots]:
        """Tasks by service; also of services that were removed and whose tasks still go."""
        return self._tasks_by_service

    @property
    def nodes_with_tasks(self) -> Shared[Shared[Task]]:
        """Tasks by node."""
        return self._tasks_by_node

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
        befores = [self.get(change.kind, change.id) for change in changes]
        self._check(changes, befores, guards)
        revision = self.revision + 1
        events, edits = [], _Edits()
        for position, (change, before) in enumerate(zip(changes, befores, strict=True)):
            after = change.after
            if after is not None:
                after = msgspec.structs.replace(after, revision=revision)
            edits.put(change.kind, change.id, before, after)
            events.append(
                Event(
                    revision=revision,
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
        return self._edited(edits, revision), Batch(revision=revision, events=tuple(events))

    def _check(self, changes: Sequence[Change], befores: Sequence[Object | None], guards: Sequence[Guard]) -> None:
        """Refuse what cannot be. `befores` are the versions that the records have until now."""
        if not changes or len(changes) > COMMIT_CHANGES_MAX:
            raise Illegal(f"a commit has 1 to {COMMIT_CHANGES_MAX} changes, not {len(changes)}")
        seen: set[tuple[Kind, str]] = set()
        releases = {change.id: change.after is not None for change in changes if change.kind is Kind.RELEASE}
        for change, before in zip(changes, befores, strict=True):
            if (change.kind, change.id) in seen:
                raise Illegal(f"two changes of {change.kind} {change.id} in one commit")
            seen.add((change.kind, change.id))
            if (before.revision if before else 0) != change.before:
                raise Conflict(f"{change.kind} {change.id} changed meanwhile")
            if change.rests_on is not None:
                self._check_guard(change.rests_on)
            if change.after is None:
                if before is None:
                    raise Illegal(f"{change.kind} {change.id} is deleted twice")
            elif not isinstance(change.after, TYPE_OF[change.kind]):
                raise Illegal(f"{change.kind} {change.id} given as {type(change.after).__name__}")
            if isinstance(before, Task) and isinstance(change.after, Task):
                check_move(before.state, change.after.state, change.by)
                check_wish(before.wanted, change.after.wanted, change.by)
            elif isinstance(change.after, Task) and not self._has_release(change.after, releases):
                raise Conflict(f"release {change.after.release} of {change.after.service} is not kept any more")
            elif isinstance(before, Release) and change.after is None and self._is_run(before, changes):
                raise Conflict(f"a task runs {before.id}")
        for guard in guards:
            self._check_guard(guard)

    def _check_guard(self, guard: Guard) -> None:
        relied = self.get(guard.kind, guard.id)
        if (relied.revision if relied else 0) != guard.revision:
            raise Conflict(f"{guard.kind} {guard.id} changed meanwhile")

    def _has_release(self, task: Task, written: Mapping[str, bool]) -> bool:
        """Whether the release that a new task names will be there after changes that write or delete these releases."""
        there = written.get(release_id(task.service, task.release)) if written else None
        return self.release(task.service, task.release) is not None if there is None else there

    def _is_run(self, release: Release, changes: Sequence[Change]) -> bool:
        """Whether a task will name it after these changes."""
        gone = {change.id for change in changes if change.kind is Kind.TASK and change.after is None}
        parts = self.tasks_of_service(release.service).parts
        naming = (part for part in parts if release.number in releases_of(part))
        return any(
            task.release == release.number and task.id not in gone for part in naming for task in part.tasks.values()
        )

    def _edited(self, edits: "_Edits", revision: int) -> "Snapshot":
        """The snapshot that shares with this one all that is not edited."""
        following = Snapshot.__new__(Snapshot)
        following.revision = revision
        following._plain = self._plain
        if edits.plain:
            changed = {kind: self._plain[kind].edited(one) for kind, one in edits.plain.items()}
            following._plain = {**self._plain, **changed}
        following._releases_by_service = _nested(self._releases_by_service, edits.releases, _edited_dict)
        following._tasks_by_service = _nested(self._tasks_by_service, edits.of_service, _edited_slots)
        following._tasks_by_node = _nested(self._tasks_by_node, edits.of_node, _edited_shared)
        digests = edits.digests
        following._tokens_by_digest = self._tokens_by_digest.edited(digests) if digests else self._tokens_by_digest
        return following

    @classmethod
    def restored(cls, revision: int, objects: Sequence[tuple[Kind, Object]], ids: Sequence[str]) -> "Snapshot":
        """The snapshot that holds exactly `objects` under `ids`, as a store reads them back at start."""
        edits = _Edits()
        of_service: defaultdict[str, dict[str, Task | None]] = defaultdict(dict)
        of_node: defaultdict[str, dict[str, Task | None]] = defaultdict(dict)
        for (kind, one), id in zip(objects, ids, strict=True):
            if isinstance(one, Task):  # nearly all are
                of_service[service_of_task(id)][id] = one
                if one.node:
                    of_node[one.node][id] = one
            else:
                edits.put(kind, id, None, one)
        edits.of_service, edits.of_node = of_service, of_node
        return cls()._edited(edits, revision)


class _Edits:
    """What a commit changes, table by table. None is to delete."""

    def __init__(self) -> None:
        self.plain: dict[Kind, dict[str, Object | None]] = {}
        self.releases: dict[str, dict[int, Release | None]] = {}
        self.of_service: dict[str, dict[str, Task | None]] = {}
        self.of_node: dict[str, dict[str, Task | None]] = {}
        self.digests: dict[str, Token | None] = {}

    def put(self, kind: Kind, id: str, before: Object | None, after: Object | None) -> None:
        """`before` is the version that it has until now."""
        if kind is Kind.TASK:
            assert after is None or isinstance(after, Task)
            self.of_service.setdefault(service_of_task(id), {})[id] = after
            if isinstance(before, Task) and before.node:
                self.of_node.setdefault(before.node, {})[id] = None
            if after is not None and after.node:
                self.of_node.setdefault(after.node, {})[id] = after
        elif kind is Kind.RELEASE:
            assert after is None or isinstance(after, Release)
            service, _, number = id.rpartition("@")
            self.releases.setdefault(service, {})[int(number)] = after
        else:
            self.plain.setdefault(kind, {})[id] = after
            if isinstance(before, Token):
                self.digests.setdefault(before.sha256, None)  # unless another has it by now
            if isinstance(after, Token):
                self.digests[after.sha256] = after


def _nested(
    table: Shared[M], edits: Mapping[str, Mapping[K, V | None]], edited: Callable[[M | None, Mapping[K, V | None]], M]
) -> Shared[M]:
    """A table of tables after these edits of some of them; one that is left empty goes."""
    if not edits:
        return table
    return table.edited({key: edited(table.get(key), mine) or None for key, mine in edits.items()})


def _edited_dict(table: Mapping[K, V] | None, edits: Mapping[K, V | None]) -> Mapping[K, V]:
    after = dict(table or {})
    for key, value in edits.items():
        if value is None:
            del after[key]
        else:
            after[key] = value
    return after


def _edited_shared(table: Shared[Task] | None, edits: Mapping[str, Task | None]) -> Shared[Task]:
    return (table or _NO_TASKS).edited(edits)


def _edited_slots(table: Slots | None, edits: Mapping[str, Task | None]) -> Slots:
    return (table or _NO_SLOTS).edited(edits)
