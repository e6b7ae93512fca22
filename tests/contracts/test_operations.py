"""The user's verbs on a real store: what they answer, that they land, and what becomes of those that collide."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.control import tokens
from longshore.control.operations import LOOKS_MAX, Operations
from longshore.decide import services
from longshore.decide.placement import place
from longshore.decide.placement.explain import explain
from longshore.model.changes import Change, Guard
from longshore.model.errors import Conflict, Invalid, NotFound, Unavailable
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Kind, Node, NodeStats, NodeStatus, Role, Task, Token
from longshore.model.reasons import Reason
from longshore.model.spec import Mode, Resources, ServiceSpec
from longshore.model.views import Effect, NodePatch, Phase, ServiceWish, TokenWish
from longshore.store.memory import MemoryStore
from tests.clocks import StepClock
from tests.situations import node, task

STATS = NodeStats(cpu_used=0.5)


class BusyStore(MemoryStore):
    """A store in which somebody else is faster: before each of the next `rivals` commits, the rival commits."""

    def __init__(self, clock: StepClock) -> None:
        super().__init__(clock)
        self.rivals = 0
        self.rival: Operations | None = None
        self.commits = 0

    async def commit(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        self.commits += 1
        if self.rivals > 0 and self.rival is not None:
            rivals, self.rivals = self.rivals, 0
            await self.rival.scale("web", 1000 + rivals)
            self.rivals = rivals - 1
        return await super().commit(changes, guards)


def operations_of(store: MemoryStore, clock: StepClock) -> Operations:
    return Operations(
        store,
        clock,
        "spread",
        decide_services=services.decide,
        place=partial(place.decide, policy="spread"),
        explain=partial(explain, policy="spread"),
        usage={"n1": STATS}.get,
    )


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
async def store(clock: StepClock) -> AsyncIterator[BusyStore]:
    store = BusyStore(clock)
    yield store
    await store.close()


@pytest.fixture
def operations(store: BusyStore, clock: StepClock) -> Operations:
    store.rival = operations_of(store, clock)
    return operations_of(store, clock)


def spec(**fields: Any) -> ServiceSpec:
    return ServiceSpec(**{"image": "web:1", "replicas": 2, **fields})


def wish(app: str = "", **fields: Any) -> ServiceWish:
    return ServiceWish(spec=spec(**fields), app=app)


async def put(store: MemoryStore, *records: Node | Task | Token) -> None:
    """Write records as if somebody had; a task of a state takes its owner's word for it."""
    changes = []
    for record in records:
        kind = {Node: Kind.NODE, Task: Kind.TASK, Token: Kind.TOKEN}[type(record)]
        id = record.name if isinstance(record, Node) else record.id
        before = store.read().get(kind, id)
        changes.append(
            Change(
                kind=kind,
                id=id,
                before=before.revision if before else 0,
                after=record,
                by=Owner.NODES,
                reason=Reason.CREATED,
            )
        )
    await store.commit(changes)


# -- services


async def test_a_service_is_created_then_updated_then_left_alone(store: BusyStore, operations: Operations) -> None:
    made, created = await operations.apply_service("web", wish())
    assert (created, made.name, made.release, made.status.phase) == (True, "web", 1, Phase.STARTING)
    updated, created = await operations.apply_service("web", wish(image="web:2"))
    assert (created, updated.release, updated.created_at) == (False, 2, made.created_at)
    assert updated.revision > made.revision
    commits = store.commits
    same, created = await operations.apply_service("web", wish(image="web:2"))
    assert (created, same) == (False, updated)
    assert store.commits == commits


async def test_create_only_refuses_what_exists(operations: Operations) -> None:
    await operations.apply_service("web", wish(), create_only=True)
    with pytest.raises(Conflict, match="exists already"):
        await operations.apply_service("web", wish(), create_only=True)


async def test_a_revision_that_moved_is_the_callers_conflict(operations: Operations) -> None:
    view, _ = await operations.apply_service("web", wish())
    await operations.scale("web", 3, if_match=view.revision)
    for verb in (
        operations.scale("web", 4, if_match=view.revision),
        operations.restart("web", if_match=view.revision),
        operations.remove_service("web", if_match=view.revision),
        operations.apply_service("web", wish(), if_match=view.revision),
        operations.apply_service("gone", wish(), if_match=view.revision),
    ):
        with pytest.raises(Conflict, match="look again"):
            await verb
    assert operations.service_view("web").spec.replicas == 3


async def test_a_revision_that_moves_between_look_and_commit_is_too(store: BusyStore, operations: Operations) -> None:
    view, _ = await operations.apply_service("web", wish())
    store.rivals = 1
    with pytest.raises(Conflict, match="look again"):
        await operations.apply_service("web", wish(image="web:2"), if_match=view.revision)
    assert operations.service_view("web").spec.replicas == 1001


async def test_without_a_revision_the_verb_looks_again_and_lands(store: BusyStore, operations: Operations) -> None:
    await operations.apply_service("web", wish())
    store.rivals = 3
    view, created = await operations.apply_service("web", wish(image="web:2"))
    assert (created, view.spec.image, view.spec.replicas, view.release) == (False, "web:2", 2, 2)
    assert store.rivals == 0


async def test_nobody_looks_again_for_ever(store: BusyStore, operations: Operations) -> None:
    await operations.apply_service("web", wish())
    store.rivals = 10 * LOOKS_MAX
    with pytest.raises(Unavailable, match="try again"):
        await operations.apply_service("web", wish(image="web:2"))


async def test_many_at_once_all_land(operations: Operations) -> None:
    await operations.apply_service("web", wish())
    await asyncio.gather(*(operations.restart("web") for _ in range(LOOKS_MAX - 1)))
    assert operations.service_view("web").release == LOOKS_MAX


async def test_scale_keeps_the_release_and_restart_makes_one(operations: Operations) -> None:
    await operations.apply_service("web", wish())
    scaled = await operations.scale("web", 5)
    assert (scaled.spec.replicas, scaled.release) == (5, 1)
    restarted = await operations.restart("web")
    assert (restarted.spec, restarted.release) == (scaled.spec, 2)


async def test_a_removed_service_is_shown_until_its_tasks_are_gone(store: BusyStore, operations: Operations) -> None:
    await operations.apply_service("web", wish(app="shop"))
    await put(store, node("n1"), task(1))
    view = await operations.remove_service("web")
    assert (view.name, view.app, view.status.phase, view.status.running) == ("web", "shop", Phase.REMOVING, 1)
    shown = operations.service_view("web")
    assert (shown.status.phase, shown.spec) == (Phase.REMOVING, view.spec)
    assert [one.status.phase for one in operations.services()] == [Phase.REMOVING]
    assert operations.services("shop") == []
    with pytest.raises(NotFound):
        await operations.remove_service("web")


async def test_a_service_made_anew_goes_on_counting_releases(store: BusyStore, operations: Operations) -> None:
    await operations.apply_service("web", wish())
    await operations.restart("web")
    await put(store, node("n1"), task(1, release=2))
    await operations.remove_service("web")
    again, created = await operations.apply_service("web", wish())
    assert (created, again.release) == (True, 3)


async def test_a_removed_service_without_tasks_is_gone(operations: Operations) -> None:
    await operations.apply_service("web", wish())
    view = await operations.remove_service("web")
    assert (view.status.phase, view.status.settled) == (Phase.REMOVING, True)
    with pytest.raises(NotFound):
        operations.service_view("web")


async def test_services_are_listed_by_name_and_app(operations: Operations) -> None:
    for name, app in (("web", "shop"), ("db", "shop"), ("api", "")):
        await operations.apply_service(name, wish(app=app))
    assert [one.name for one in operations.services()] == ["api", "db", "web"]
    assert [one.name for one in operations.services("shop")] == ["db", "web"]


# -- apps


async def test_an_app_comes_changes_and_goes(operations: Operations) -> None:
    made = await operations.apply_app("shop", {"web": spec(), "db": spec(image="db")})
    assert (made.name, made.services, made.phase, made.settled) == ("shop", ("db", "web"), Phase.STARTING, False)
    less = await operations.apply_app("shop", {"web": spec()})
    assert less.services == ("web",)
    assert operations.apps() == [less]
    gone = await operations.remove_app("shop")
    assert (gone.services, gone.phase) == (("web",), Phase.REMOVING)
    assert operations.apps() == []
    for verb in (lambda: operations.app_view("shop"), lambda: operations.plan("shop!", {})):
        with pytest.raises((NotFound, Invalid)):
            verb()
    with pytest.raises(NotFound):
        await operations.remove_app("shop")


async def test_an_app_without_services_is_one_that_goes(operations: Operations) -> None:
    await operations.apply_app("shop", {"web": spec()})
    view = await operations.apply_app("shop", {})
    assert (view.services, view.phase) == (("web",), Phase.REMOVING)
    assert operations.apps() == []


async def test_an_app_lands_whole_or_not_at_all(operations: Operations) -> None:
    with pytest.raises(Invalid) as refusal:
        await operations.apply_app("shop", {"db": spec(), "web": spec(replicas=-1)})
    assert refusal.value.field == "services.web.replicas"
    assert operations.services() == []


async def test_the_largest_app_is_applied_and_removed(operations: Operations) -> None:
    specs = {f"s{number}": spec() for number in range(60)}
    assert len((await operations.apply_app("shop", specs)).services) == 60
    assert len((await operations.remove_app("shop")).services) == 60


async def test_a_plan_is_what_then_happens(store: BusyStore, operations: Operations, clock: StepClock) -> None:
    await put(store, node("n1"), node("n2"))
    specs = {"web": spec(), "agent": spec(mode=Mode.GLOBAL)}
    planned = operations.plan("shop", specs)
    assert planned.revision == store.read().revision
    assert [(one.name, one.effect) for one in planned.services] == [("agent", Effect.CREATE), ("web", Effect.CREATE)]
    assert operations.services() == []
    await operations.apply_app("shop", specs)
    for name in specs:
        await store.commit(services.decide(store.read(), name, clock.now())[0])
    await store.commit(place.decide(store.read(), clock.now(), "spread")[0])
    happened = {one.id: one.node for one in store.read().tasks()}
    assert {one.id: one.node for planned in planned.services for one in planned.start} == happened


# -- tasks


async def test_why_tells_what_a_waiting_task_lacks(store: BusyStore, operations: Operations, clock: StepClock) -> None:
    await put(store, node("n1"))
    await operations.apply_service("web", wish(replicas=1, resources=Resources(cpu=64)))
    await store.commit(services.decide(store.read(), "web", clock.now())[0])
    answer = operations.why("web.1.1")
    assert answer.summary == "web.1.1 waits for a node: 0 of 1 node: not enough cpu (n1)."
    assert [verdict.filter for verdict in answer.refusals] == ["not enough cpu"]
    assert [line.reason for line in answer.story] == [Reason.SLOT_EMPTY]
    with pytest.raises(NotFound):
        operations.why("web.1.2")


async def test_why_tells_why_a_task_was_stopped(store: BusyStore, operations: Operations, clock: StepClock) -> None:
    await put(store, node("n1"))
    await operations.apply_service("web", wish())
    await put(store, task(1), task(2))
    await operations.scale("web", 1)
    await store.commit(services.decide(store.read(), "web", clock.now())[0])
    assert operations.why("web.2.1").summary == "web.2.1 is being stopped on n1: more tasks than wanted."


# -- nodes


async def test_a_node_is_shown_with_what_is_set_aside_and_used(store: BusyStore, operations: Operations) -> None:
    await operations.apply_service("web", wish(resources=Resources(cpu=0.1, memory=10)))
    stopping = replace(task(2), wanted=Wanted.STOPPED)
    await put(store, node("n2"), node("n1"), task(1), stopping, task(3, state=State.FAILED))
    view = operations.node_view("n1")
    assert (view.reserved.cpu, view.reserved.memory, view.tasks, view.used) == (0.2, 20, 2, STATS)
    assert [(one.name, one.used) for one in operations.nodes()] == [("n1", STATS), ("n2", None)]
    with pytest.raises(NotFound):
        operations.node_view("n3")


async def test_a_node_is_patched(store: BusyStore, operations: Operations) -> None:
    await put(store, node("n1", zone="a"))
    view = await operations.patch_node("n1", NodePatch(availability=Availability.DRAINED, labels={"disk": "ssd"}))
    assert (view.availability, view.labels) == (Availability.DRAINED, {"zone": "a", "disk": "ssd"})
    with pytest.raises(Conflict, match="look again"):
        await operations.patch_node("n1", NodePatch(availability=Availability.ACTIVE), if_match=view.revision - 1)


async def test_a_node_is_removed_once_it_is_down(store: BusyStore, operations: Operations) -> None:
    join, secret = tokens.mint(Role.NODE, now=1.0, node="n1")
    await put(store, node("n1"), join)
    with pytest.raises(Conflict, match="stop its worker"):
        await operations.remove_node("n1")
    await put(store, node("n1", status=NodeStatus.DOWN))
    await operations.remove_node("n1")
    assert operations.nodes() == []
    assert tokens.verify(store.read(), secret, 1.0) is None
    with pytest.raises(NotFound):
        await operations.remove_node("n1")


# -- tokens


async def test_a_tokens_secret_is_told_once(store: BusyStore, operations: Operations, clock: StepClock) -> None:
    made = await operations.create_token(TokenWish(role=Role.ADMIN, lifetime_s=None))
    assert made.secret is not None
    found = tokens.verify(store.read(), made.secret, clock.now())
    assert found is not None
    assert found.role is Role.ADMIN
    assert operations.tokens() == [replace(made, secret=None)]
    await operations.revoke_token(made.id)
    assert operations.tokens() == []
    assert tokens.verify(store.read(), made.secret, clock.now()) is None
    with pytest.raises(NotFound):
        await operations.revoke_token(made.id)


async def test_tokens_are_listed_oldest_first(operations: Operations) -> None:
    made = [await operations.create_token(TokenWish()) for _ in range(5)]
    assert [one.id for one in operations.tokens()] == [one.id for one in made]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        pytest.param(TokenWish(role=Role.NODE), "role", id="a node's"),
        pytest.param(TokenWish(uses=0), "uses", id="no uses"),
        pytest.param(TokenWish(uses=10**9), "uses", id="too many uses"),
        pytest.param(TokenWish(lifetime_s=0.0), "lifetime_s", id="no lifetime"),
        pytest.param(TokenWish(lifetime_s=float("nan")), "lifetime_s", id="a lifetime that is no number"),
        pytest.param(TokenWish(lifetime_s=float("inf")), "lifetime_s", id="an endless lifetime"),
    ],
)
async def test_tokens_that_make_no_sense(operations: Operations, asked: TokenWish, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await operations.create_token(asked)
    assert refusal.value.field == field
