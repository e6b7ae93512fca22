"""What every store promises, whatever it is made of. One suite for all of them."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from longshore.model.changes import COMMIT_CHANGES_MAX, Batch, Change, Guard
from longshore.model.errors import Compacted, Conflict, Illegal, Refused, Unavailable
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Kind, Node, Object, Role, Task, Token
from longshore.model.reasons import Reason
from longshore.ports import Store
from longshore.store.journal import STORY_EVENTS_MAX
from longshore.store.memory import MemoryStore
from longshore.store.sqlite import SqliteStore
from tests.clocks import StepClock
from tests.contracts.commits import drop, following, put, rename
from tests.situations import node, releases, service, task

Make = Callable[..., Awaitable[Store]]

(RELEASE,) = releases(service())


@pytest.fixture(params=["memory", "sqlite"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes the one store of a test; keywords are bounds."""
    made: list[Store] = []

    async def one(events_kept: int = 10_000) -> Store:
        if request.param == "memory":
            made.append(MemoryStore(StepClock(), events_kept=events_kept))
        else:
            made.append(await SqliteStore.open(tmp_path / "store.db", StepClock(), events_kept=events_kept))
        return made[-1]

    yield one
    for store in made:
        await store.close()


@pytest.fixture
async def store(make: Make) -> Store:
    return await make()


async def read_batches(store: Store, after: int, count: int) -> list[Batch]:
    watch = store.watch(after)
    return [await following(watch) for _ in range(count)]


# -- commits


async def test_a_store_begins_empty(store: Store) -> None:
    assert store.read().revision == 0
    assert list(store.read().objects()) == []


async def test_a_commit_is_read_once_it_returned(store: Store) -> None:
    assert await store.commit([put(node("n1"))]) == 1
    assert store.read().revision == 1
    assert store.read().nodes["n1"] == replace(node("n1"), revision=1)


async def test_every_commit_has_its_own_revision(store: Store) -> None:
    revisions = await asyncio.gather(*(store.commit([put(node(f"n{i}"))]) for i in range(50)))
    assert revisions == list(range(1, 51))


async def test_a_change_of_something_that_moved_conflicts(store: Store) -> None:
    await store.commit([put(node("n1"))])
    old = store.read().nodes["n1"]
    await rename(store, "n1", "10.0.0.1")
    with pytest.raises(Conflict, match="node n1 changed meanwhile"):
        await store.commit([put(replace(old, address="10.0.0.2"))])
    assert store.read().nodes["n1"].address == "10.0.0.1"


async def test_making_what_is_there_conflicts(store: Store) -> None:
    await store.commit([put(node("n1"))])
    with pytest.raises(Conflict):
        await store.commit([put(node("n1"))])


async def test_changing_what_is_gone_conflicts(store: Store) -> None:
    await store.commit([put(node("n1"))])
    await store.commit([drop(Kind.NODE, "n1", 1)])
    with pytest.raises(Conflict):
        await store.commit([put(node("n1"), before=1)])
    assert not store.read().nodes


async def test_of_concurrent_changes_to_one_record_one_wins(store: Store) -> None:
    await store.commit([put(node("n1"))])
    mine = store.read().nodes["n1"]
    outcomes = await asyncio.gather(
        *(store.commit([put(replace(mine, address=f"10.0.0.{i}"))]) for i in range(20)), return_exceptions=True
    )
    assert [one for one in outcomes if isinstance(one, int)] == [2]
    assert sum(isinstance(one, Conflict) for one in outcomes) == 19
    assert store.read().nodes["n1"].address == "10.0.0.0", "the first that came"


async def test_after_a_conflict_the_reason_for_it_can_be_read(store: Store) -> None:
    await store.commit([put(node("n1"))])
    mine = store.read().nodes["n1"]

    async def try_until_it_lands(address: str) -> int:
        tries = 0
        while True:
            tries += 1
            now = store.read().nodes["n1"] if tries > 1 else mine
            try:
                return await store.commit([put(replace(now, address=address))])
            except Conflict:
                assert store.read().nodes["n1"].revision > now.revision

    revisions = await asyncio.gather(*(try_until_it_lands(f"10.0.0.{i}") for i in range(10)))
    assert sorted(revisions) == list(range(2, 12))


async def test_a_release_is_not_deleted_while_a_task_of_it_lives(store: Store) -> None:
    """Who decided that nothing uses it had not seen the task."""
    (release,) = releases(service())
    made = await store.commit([put(release)])
    await store.commit([put(task(1))])
    with pytest.raises(Conflict, match="a task runs web@1"):
        await store.commit([drop(Kind.RELEASE, release.id, made)])
    await store.commit([drop(Kind.TASK, "web.1.1", made + 1)])
    await store.commit([drop(Kind.RELEASE, release.id, made)])
    assert not store.read().releases_of("web")


async def test_a_guard_that_holds_lets_a_commit_pass(store: Store) -> None:
    await store.commit([put(node("n1"))])
    await store.commit([put(service())], [Guard(kind=Kind.NODE, id="n1", revision=1)])
    await store.commit([put(service("api"))], [Guard(kind=Kind.NODE, id="absent", revision=0)])
    assert set(store.read().services) == {"web", "api"}


@pytest.mark.parametrize("revision", [0, 1])
async def test_a_guard_that_does_not_hold_conflicts(store: Store, revision: int) -> None:
    await store.commit([put(node("n1"))])
    await rename(store, "n1", "10.0.0.1")
    with pytest.raises(Conflict, match="node n1"):
        await store.commit([put(service())], [Guard(kind=Kind.NODE, id="n1", revision=revision)])
    assert not store.read().services


async def test_a_commit_is_all_or_nothing(store: Store) -> None:
    await store.commit([put(node("n1"))])
    await rename(store, "n1", "10.0.0.1")
    before = store.read()
    with pytest.raises(Conflict):
        await store.commit([put(service()), put(node("n2")), put(replace(node("n1"), revision=1))])
    assert store.read() is before
    assert store.story(Kind.SERVICE, "web") == ()


async def test_a_commit_that_fails_does_not_touch_those_beside_it(store: Store) -> None:
    outcomes = await asyncio.gather(
        store.commit([put(node("n1"))]),
        store.commit([put(node("n1"))]),
        store.commit([put(RELEASE), put(task(state=State.RUNNING))]),
        store.commit([put(task(state=State.PLACED), by=Owner.WORKER, before=2)]),
        store.commit([put(node("n2"))]),
        return_exceptions=True,
    )
    assert [type(one) if isinstance(one, BaseException) else one for one in outcomes] == [1, Conflict, 2, Illegal, 3]
    assert set(store.read().nodes) == {"n1", "n2"}


async def test_parts_land_in_turn(store: Store) -> None:
    last = await store.commit_in_turn([[put(node("n1"))], [put(node("n2")), put(node("n3"))], [put(node("n4"))]])
    assert last == store.read().revision == 3
    batches = await read_batches(store, 0, 3)
    assert [[event.id for event in batch.events] for batch in batches] == [["n1"], ["n2", "n3"], ["n4"]]


async def test_nothing_lands_after_a_part_that_did_not(store: Store) -> None:
    await store.commit([put(node("n2"))])
    turn = store.commit_in_turn([[put(node("n1"))], [put(node("n2"))], [put(node("n3"))], [put(node("n4"))]])
    beside = store.commit([put(node("n5"))])
    outcomes = await asyncio.gather(turn, beside, return_exceptions=True)
    assert [str(outcomes[0]), outcomes[1]] == ["node n2 changed meanwhile", 3]
    assert set(store.read().nodes) == {"n1", "n2", "n5"}


@pytest.mark.parametrize(
    ("after", "by"),
    [
        (task(state=State.PLACED), Owner.WORKER),
        (task(state=State.LOST), Owner.WORKER),
        (task(state=State.FAILED), Owner.NODES),
    ],
)
async def test_a_move_that_the_lifecycle_forbids_is_illegal(store: Store, after: Task, by: Owner) -> None:
    await store.commit([put(RELEASE), put(task(state=State.RUNNING), by=Owner.SERVICES)])
    with pytest.raises(Illegal):
        await store.commit([put(after, by=by, before=1)])
    assert store.read().task("web.1.1") == replace(task(state=State.RUNNING), revision=1)


async def test_a_task_and_its_release_are_there_together(store: Store) -> None:
    """Whoever decided when the other one was, or was not yet, there decides again."""
    with pytest.raises(Conflict, match="release 1 of web is not kept any more"):
        await store.commit([put(task(state=State.NEW))])
    await store.commit([put(RELEASE), put(task(state=State.NEW))])
    with pytest.raises(Conflict, match="a task runs web@1"):
        await store.commit([drop(Kind.RELEASE, "web@1", 1)])
    await store.commit([drop(Kind.RELEASE, "web@1", 1), drop(Kind.TASK, "web.1.1", 1)])
    assert store.read().releases_of("web") == {}


async def test_a_commit_has_changes_and_not_too_many(store: Store) -> None:
    with pytest.raises(Illegal):
        await store.commit([])
    with pytest.raises(Illegal):
        await store.commit([put(node(f"n{i}")) for i in range(COMMIT_CHANGES_MAX + 1)])
    assert await store.commit([put(node(f"n{i}")) for i in range(COMMIT_CHANGES_MAX)]) == 1


@pytest.mark.parametrize(
    "unreadable",
    [
        node("n1", cpu=math.nan),
        node("n1", cpu=math.inf),
        node("n1", zone="\ud800"),
        replace(node("n1"), address=7),
        replace(node("n1"), capacity=object()),
    ],
    ids=["nan", "infinite", "half a character", "wrong type", "no type"],
)
async def test_what_could_not_be_read_back_is_never_taken_in(store: Store, unreadable: Node) -> None:
    with pytest.raises(Illegal, match="node n1 cannot be kept"):
        await store.commit([put(unreadable)])
    assert store.read().revision == 0


async def test_a_caller_that_goes_away_stops_nobody_else(store: Store) -> None:
    calls = [asyncio.create_task(store.commit([put(node(f"n{i}"))])) for i in range(10)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await store.commit([put(node("last"))])
    names = set(store.read().nodes)
    assert {"n1", "n3", "n5", "n7", "n9", "last"} <= names, "what was cancelled may land or not"
    assert store.read().revision == len(names)


async def test_what_a_caller_that_went_away_left_behind_does_not_land_later(store: Store) -> None:
    """Whoever decides once the cancellation came through sees all that is to come of it."""
    calls = [asyncio.create_task(store.commit([put(node(f"n{i}"))])) for i in range(10)]
    calls.append(asyncio.create_task(store.commit_in_turn([[put(node(f"m{i}"))] for i in range(3)])))
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in outcomes] == [asyncio.CancelledError] * 11
    seen = set(store.read().nodes)
    await store.commit([put(node("next"))])
    assert set(store.read().nodes) == {*seen, "next"}


async def test_big_values_are_kept_whole(store: Store) -> None:
    text = 'ü\0🚢"\\\n' * 200_000
    await store.commit([put(service(env={"TEXT": text}))])
    assert store.read().services["web"].spec.env["TEXT"] == text
    (batch,) = await read_batches(store, 0, 1)
    assert batch.events[0].after == store.read().services["web"]


# -- snapshots


async def test_a_snapshot_stays_what_it_was(store: Store) -> None:
    tasks = (task(state=State.PLACED), task(2, state=State.NEW))
    await store.commit([put(one) for one in (service(), RELEASE, node("n1"), *tasks)])
    before = store.read()
    kept = list(before.objects())
    by_node = dict(before.tasks_of_node("n1"))
    running = replace(before.tasks_of_service("web")["web.1.1"], state=State.RUNNING)
    await store.commit([put(running, by=Owner.WORKER), drop(Kind.NODE, "n1", 1), drop(Kind.TASK, "web.2.1", 1)])
    await store.commit([put(node("n1"))])
    assert before.revision == 1
    assert list(before.objects()) == kept
    assert dict(before.tasks_of_node("n1")) == by_node
    assert store.read().tasks_of_node("n1")["web.1.1"].state is State.RUNNING


async def test_tasks_are_read_in_order_of_their_slots_whatever_their_history(store: Store) -> None:
    slots = [slot * 37 % 101 for slot in range(1, 101)]
    await store.commit([put(service()), put(RELEASE)])
    await store.commit([put(replace(task(slot), revision=0)) for slot in slots])
    tasks = store.read().tasks_of_service("web")
    await store.commit([drop(Kind.TASK, one.id, one.revision) for one in tasks.values() if one.slot % 3 == 0])
    await store.commit([put(replace(task(slot), revision=0)) for slot in slots if slot % 6 == 0])
    kept = [slot for slot in range(1, 101) if slot % 3 or slot % 6 == 0]
    assert [one.slot for one in store.read().tasks_of_service("web").values()] == kept
    assert [one.slot for one in tasks.values()] == list(range(1, 101))


async def test_a_token_is_found_by_its_hash_for_as_long_as_it_has_it(store: Store) -> None:
    def made(id: str, sha256: str, before: int = 0) -> Change:
        token = Token(id=id, role=Role.NODE, sha256=sha256, node="n1")
        return Change(kind=Kind.TOKEN, id=id, before=before, after=token, by=Owner.MANAGER, reason=Reason.TOKEN_CREATED)

    first = await store.commit([made("a", "1"), made("b", "2")])
    found = [store.read().token_of(digest) for digest in ("1", "2", "3")]
    assert [token.id if token is not None else None for token in found] == ["a", "b", None]
    second = await store.commit([made("a", "3", first), drop(Kind.TOKEN, "b", first)])
    found = [store.read().token_of(digest) for digest in ("1", "2", "3")]
    assert [token.id if token is not None else None for token in found] == [None, None, "a"]
    await store.commit([drop(Kind.TOKEN, "a", second), made("c", "3")])
    moved = store.read().token_of("3")
    assert moved is not None
    assert moved.id == "c"


async def test_reading_twice_without_a_commit_is_the_same_snapshot(store: Store) -> None:
    await store.commit([put(node("n1"))])
    assert store.read() is store.read()


# -- the log


async def test_a_reader_gets_what_is_there_and_then_what_lands(store: Store) -> None:
    await store.commit([put(node("n1")), put(node("n2"))])
    watch = store.watch(0)
    first = await following(watch)
    assert (first.revision, [event.id for event in first.events]) == (1, ["n1", "n2"])
    assert [event.mark for event in first.events] == ["1.0", "1.1"]
    coming = asyncio.ensure_future(following(watch))
    await asyncio.sleep(0)
    assert not coming.done()
    await store.commit([drop(Kind.NODE, "n1", 1)])
    second = await coming
    (event,) = second.events
    assert (event.revision, event.kind, event.id, event.after) == (2, Kind.NODE, "n1", None)
    assert (event.by, event.reason) == (Owner.USER, Reason.REMOVED)
    assert first.events[0].at < event.at


async def test_an_event_carries_the_record_as_it_is_kept(store: Store) -> None:
    await store.commit([put(node("n1"))])
    ((event,),) = [batch.events for batch in await read_batches(store, 0, 1)]
    assert event.after == store.read().nodes["n1"]
    assert (event.message, event.reason) == ("put n1", Reason.UPDATED)


async def test_a_batch_comes_only_after_the_snapshot_shows_it(store: Store) -> None:
    async def follow() -> None:
        watch = store.watch(0)
        for _ in range(100):
            batch = await following(watch)
            assert store.read().revision >= batch.revision

    reading = asyncio.create_task(follow())
    await asyncio.gather(*(store.commit([put(node(f"n{i}"))]) for i in range(100)))
    await reading


async def test_readers_see_every_commit_once_and_in_order(store: Store) -> None:
    writers, each, readers = 10, 30, 5
    total = writers * each + 1
    await store.commit([put(node(f"n{i}")) for i in range(writers)])

    async def write(name: str) -> None:
        for i in range(each):
            await rename(store, name, f"10.0.0.{i}")

    async def follow(after: int) -> list[Batch]:
        watch = store.watch(after)
        batches: list[Batch] = []
        while not batches or batches[-1].revision < total:
            batches.append(await following(watch))
            if len(batches) % 7 == 0:
                await asyncio.sleep(0)
        return batches

    reading = [asyncio.create_task(follow(0)) for _ in range(readers)]
    await asyncio.gather(*(write(f"n{i}") for i in range(writers)))
    late = await follow(total // 2)
    for batches in await asyncio.gather(*reading):
        assert [batch.revision for batch in batches] == list(range(1, total + 1))
        assert batches[total // 2 :] == late
    told: dict[str, Object | None] = {event.id: event.after for batch in batches for event in batch.events}
    assert told == dict(store.read().nodes), "the log told to its end is the state"


async def test_a_reader_may_begin_at_any_revision_that_is_kept(store: Store) -> None:
    for i in range(10):
        await store.commit([put(node(f"n{i}"))])
    for after in range(10):
        assert [batch.revision for batch in await read_batches(store, after, 10 - after)] == [*range(after + 1, 11)]


async def test_a_reader_may_be_cancelled_and_go_on(store: Store) -> None:
    await store.commit([put(node("n1"))])
    watch = store.watch(1)
    for _ in range(3):
        reading = asyncio.ensure_future(following(watch))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    await store.commit([put(node("n2"))])
    assert (await following(watch)).revision == 2


async def test_a_reader_that_is_too_slow_is_told_so(make: Make) -> None:
    store = await make(events_kept=10)
    slow, quick = store.watch(0), store.watch(0)
    for i in range(11):
        await store.commit([put(node(f"n{i}"))])
        assert (await following(quick)).revision == i + 1
    with pytest.raises(Compacted, match="revisions up to 1 are forgotten"):
        await following(slow)
    with pytest.raises(Compacted):
        await following(store.watch(0))
    assert len(await read_batches(store, 1, 10)) == 10


async def test_the_window_counts_events_and_keeps_the_newest_batch_whole(make: Make) -> None:
    store = await make(events_kept=10)
    await store.commit([put(node(f"n{i}")) for i in range(4)])
    await store.commit([put(node(f"m{i}")) for i in range(20)])
    with pytest.raises(Compacted):
        await following(store.watch(0))
    ((batch),) = await read_batches(store, 1, 1)
    assert len(batch.events) == 20


async def test_a_reader_with_a_mark_from_the_future_is_told_so(store: Store) -> None:
    await store.commit([put(node("n1"))])
    with pytest.raises(Compacted, match="no revision 9"):
        await following(store.watch(9))


async def test_compacting_forgets_the_log_and_no_record(store: Store) -> None:
    for i in range(10):
        await store.commit([put(node(f"n{i}"))])
    before = store.read()
    await store.compact(6)
    assert store.read() is before
    with pytest.raises(Compacted):
        await following(store.watch(4))
    assert [batch.revision for batch in await read_batches(store, 5, 5)] == [6, 7, 8, 9, 10]
    assert store.story(Kind.NODE, "n4") == ()
    assert len(store.story(Kind.NODE, "n5")) == 1
    await store.compact(3)
    assert len(await read_batches(store, 5, 5)) == 5, "an older bound changes nothing"


async def test_compacting_everything_keeps_the_newest_commit(store: Store) -> None:
    await store.compact(5)
    for i in range(3):
        await store.commit([put(node(f"n{i}"))])
    await store.compact(100)
    assert [batch.revision for batch in await read_batches(store, 2, 1)] == [3]
    assert await store.commit([put(node("n4"))]) == 4


async def test_a_reader_in_the_middle_of_a_compaction_is_told_so(store: Store) -> None:
    for i in range(5):
        await store.commit([put(node(f"n{i}"))])
    watch = store.watch(0)
    await following(watch)
    await store.compact(5)
    with pytest.raises(Compacted):
        await following(watch)


# -- stories


async def test_a_record_has_a_story(store: Store) -> None:
    await store.commit([put(node("n1")), put(node("n2"))])
    await rename(store, "n1", "10.0.0.1")
    await store.commit([drop(Kind.NODE, "n1", 2)])
    story = store.story(Kind.NODE, "n1")
    assert [event.mark for event in story] == ["1.0", "2.0", "3.0"]
    assert story[-1].after is None
    assert store.story(Kind.SERVICE, "n1") == ()
    assert store.story(Kind.NODE, "n3") == ()


async def test_a_story_keeps_the_last_events(store: Store) -> None:
    await store.commit([put(node("n1"))])
    for i in range(STORY_EVENTS_MAX + 5):
        await rename(store, "n1", f"10.0.0.{i}")
    assert [event.revision for event in store.story(Kind.NODE, "n1")] == list(range(7, STORY_EVENTS_MAX + 7))


async def test_a_story_lasts_as_long_as_its_record(make: Make) -> None:
    store = await make(events_kept=10)
    await store.commit([put(node("stays")), put(node("goes"))])
    await store.commit([drop(Kind.NODE, "goes", 1)])
    for i in range(20):
        await store.commit([put(node(f"n{i}"))])
    assert [event.mark for event in store.story(Kind.NODE, "stays")] == ["1.0"]
    assert store.story(Kind.NODE, "goes") == (), "it ends with the log"


async def test_a_record_that_is_made_anew_keeps_its_story(make: Make) -> None:
    store = await make(events_kept=3)
    await store.commit([put(node("n1"))])
    await store.commit([drop(Kind.NODE, "n1", 1)])
    await store.commit([put(node("n1"))])
    for i in range(5):
        await store.commit([put(node(f"other{i}"))])
    assert [event.revision for event in store.story(Kind.NODE, "n1")] == [1, 2, 3]


# -- the end


async def test_closing_finishes_what_was_accepted(store: Store) -> None:
    watch = store.watch(0)
    calls: Sequence[asyncio.Task[int]] = [asyncio.create_task(store.commit([put(node(f"n{i}"))])) for i in range(20)]
    await asyncio.sleep(0)
    await store.close()
    for revision in range(1, 21):
        assert (await following(watch)).revision == revision
    assert await asyncio.gather(*calls) == list(range(1, 21))
    with pytest.raises(Unavailable):
        await following(watch)


async def test_nothing_works_after_closing(store: Store, tmp_path: Path) -> None:
    await store.commit([put(node("n1"))])
    watch = store.watch(1)
    reading = asyncio.ensure_future(following(watch))
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())
    await store.close()
    with pytest.raises(Unavailable):
        await reading
    for call in (store.commit([put(node("n2"))]), store.compact(1), store.backup(tmp_path / "copy")):
        with pytest.raises(Unavailable, match="closed"):
            await call
    with pytest.raises(Unavailable):
        store.read()
    with pytest.raises(Unavailable):
        store.story(Kind.NODE, "n1")


async def test_a_backup_is_a_file_or_a_reason(make: Make, tmp_path: Path) -> None:
    store = await make()
    target = tmp_path / "copy"
    if isinstance(store, MemoryStore):
        with pytest.raises(Refused, match="memory store has nothing to back up"):
            await store.backup(target)
    else:
        await store.backup(target)
        assert target.is_file()
