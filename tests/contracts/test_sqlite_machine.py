"""The SQLite store against the reference: the same commits, in any order hypothesis can think of, have the same
outcome in both, whether the SQLite store was closed and opened in between or not."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from longshore.model.changes import Batch, Change, Guard
from longshore.model.errors import Compacted, Failure, Illegal
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Kind, Object
from longshore.model.reasons import Reason
from longshore.ports import Store
from longshore.store.memory import MemoryStore
from longshore.store.sqlite import SqliteStore
from tests.clocks import StepClock
from tests.contracts.commits import following
from tests.situations import node, service, task

T = TypeVar("T")

KEYS = [
    *((Kind.NODE, f"n{i}") for i in range(3)),
    *((Kind.SERVICE, f"s{i}") for i in range(2)),
    *((Kind.TASK, f"s{i}.{slot}.1") for i in range(2) for slot in (1, 2)),
]


@st.composite
def changes(draw: st.DrawFn) -> Change:
    kind, id = draw(st.sampled_from(KEYS))
    text = draw(st.text(max_size=5))
    after: Object | None = None
    by = draw(st.sampled_from([Owner.USER, Owner.WORKER, Owner.PLACEMENT, Owner.NODES]))
    if draw(st.integers(0, 4)):
        if kind is Kind.NODE:
            after = node(id, note=text)
        elif kind is Kind.SERVICE:
            after = service(id, env={"TEXT": text})
        else:
            name, slot, _ = id.split(".")
            on = draw(st.sampled_from(["n0", "n1"]))
            after = task(int(slot), state=draw(st.sampled_from(list(State))), of=name, on=on, message=text)
    # -1 stands for the revision that the record has now, so that most commits are not conflicts.
    before = draw(st.sampled_from([-1, -1, -1, -1, 0, 1, 5]))
    return Change(kind=kind, id=id, before=before, after=after, by=by, reason=Reason.UPDATED, message=text)


guards = st.builds(
    lambda key, revision: Guard(kind=key[0], id=key[1], revision=revision), st.sampled_from(KEYS), st.integers(-1, 3)
)
commits = st.tuples(st.lists(changes(), max_size=4), st.lists(guards, max_size=1))


def key_now(store: Store, one: Change | Guard) -> int:
    there = store.read().get(one.kind, one.id)
    return there.revision if there else 0


async def outcome(call: Coroutine[Any, Any, int]) -> object:
    """What came of it, in a form that two stores can be compared by."""
    try:
        return await call
    except (Failure, Illegal) as failure:
        return type(failure), str(failure)


async def batches(store: Store, after: int) -> list[Batch] | str:
    watch = store.watch(after)
    try:
        return [await following(watch) for _ in range(store.read().revision - after)]
    except Compacted as compacted:
        return str(compacted)


class Stores(RuleBasedStateMachine):
    """Does everything to both."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp())
        self.clocks = StepClock(), StepClock()

    @initialize(events_kept=st.sampled_from([3, 10_000]))
    def begin(self, events_kept: int) -> None:
        self.events_kept = events_kept
        self.memory = MemoryStore(self.clocks[0], events_kept=events_kept)
        self.sqlite = self.run(self.open())

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def open(self) -> Coroutine[Any, Any, SqliteStore]:
        return SqliteStore.open(self.directory / "store.db", self.clocks[1], events_kept=self.events_kept)

    @rule(group=st.lists(commits, min_size=1, max_size=5))
    def commit(self, group: list[tuple[list[Change], list[Guard]]]) -> None:
        """Several at once, all decided on the same snapshot."""
        prepared = [
            (
                [_on(change, key_now(self.memory, change)) for change in asked],
                [_relied(guard, key_now(self.memory, guard)) for guard in relied],
            )
            for asked, relied in group
        ]

        async def all_of(store: Store) -> list[object]:
            return await asyncio.gather(*(outcome(store.commit(*one)) for one in prepared))

        assert self.run(all_of(self.sqlite)) == self.run(all_of(self.memory))

    @rule()
    def reopen(self) -> None:
        self.run(self.sqlite.close())
        self.sqlite = self.run(self.open())

    @rule(before=st.integers(0, 30))
    def compact(self, before: int) -> None:
        for store in (self.memory, self.sqlite):
            self.run(store.compact(before))

    @invariant()
    def same_world(self) -> None:
        ours, theirs = self.sqlite.read(), self.memory.read()
        assert ours.revision == theirs.revision
        for world in (ours, theirs):
            assert all(one.revision <= world.revision for _, _, one in world.objects())
        assert {(kind, id): one for kind, id, one in ours.objects()} == {
            (kind, id): one for kind, id, one in theirs.objects()
        }
        for name in ("n0", "n1", "n2"):
            assert dict(ours.tasks_of_node(name)) == dict(theirs.tasks_of_node(name))

    @invariant()
    def same_log(self) -> None:
        revision = self.memory.read().revision
        for after in {0, revision // 2, revision}:
            assert self.run(batches(self.sqlite, after)) == self.run(batches(self.memory, after))

    @invariant()
    def same_stories(self) -> None:
        if self.events_kept == 3:
            return  # a record made anew after its story left memory finds it in the file again: more, not less
        for kind, id in KEYS:
            assert self.sqlite.story(kind, id) == self.memory.story(kind, id)

    def teardown(self) -> None:
        if hasattr(self, "sqlite"):
            self.run(self.sqlite.close())
        self.runner.close()
        shutil.rmtree(self.directory)


def _on(change: Change, now: int) -> Change:
    return change if change.before >= 0 else replace(change, before=now)


def _relied(guard: Guard, now: int) -> Guard:
    return guard if guard.revision >= 0 else replace(guard, revision=now)


Stores.TestCase.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestStores = Stores.TestCase
