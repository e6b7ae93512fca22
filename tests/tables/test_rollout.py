"""How tasks give way to others of their slot, step by step."""

from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide.moves import TURN_LOOK_S
from longshore.decide.rollout import NO_ROOM_S, decide, starts_first
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Availability, Object, Release, ReleasePhase, Service, Task
from longshore.model.reasons import Reason
from longshore.model.spec import (
    Condition,
    Dependency,
    Mode,
    Mount,
    MountKind,
    Port,
    RestartOn,
    RestartPolicy,
    ServiceSpec,
    UpdateOrder,
    UpdateRules,
)
from tests.situations import NOW, node, said, service, task, world

DRAINED = node("n1", availability=Availability.DRAINED)


def web(replicas: int = 3, *, release: int = 2, mode: Mode = Mode.REPLICATED, **rules: Any) -> Service:
    return service(release=release, replicas=replicas, mode=mode, update=UpdateRules(**rules))


def stop_first(replicas: int = 3, **rules: Any) -> Service:
    return web(replicas, order=UpdateOrder.STOP_FIRST, **rules)


def relief(slot: int = 1, generation: int = 2, state: State = State.STARTING, **fields: Any) -> Task:
    """One that is to take over from the first task of its slot."""
    given: dict[str, Any] = {"release": 2, "relieves": f"web.{slot}.1", **fields}
    return task(slot, generation, state, **given)


WAITS: dict[str, Any] = {"reason": Reason.NO_NODE, "message": "0 of 1 node: not enough cpu (n1)"}


@pytest.mark.parametrize(
    ("records", "expected", "again"),
    [
        pytest.param([web(), task(1, release=2), task(2, release=2), task(3, release=2)], [], None, id="all current"),
        pytest.param([web(), task(1), task(2), task(3)], ["+web.1.2"], None, id="one stands by first"),
        pytest.param([web(), task(1), relief(), task(2), task(3)], [], None, id="and is waited for"),
        pytest.param([web(), task(1), relief(state=State.RUNNING), task(2), task(3)], ["web.1.1 wanted stopped", "web.1.2 running"], None, id="ready, it takes over"),
        pytest.param([web(), task(1), relief(state=State.RUNNING, started_at=NOW - 0.4), task(2), task(3)], ["+web.2.2"], NOW + 0.6, id="running without a check, once it has for a moment, and the next begins meanwhile"),
        pytest.param([web(parallelism=2), task(1), relief(state=State.RUNNING, started_at=NOW), relief(2), task(2), task(3)], ["+web.3.2"], NOW + 1.0, id="which does not count as being worked on"),
        pytest.param([web(), task(1), relief(state=State.RUNNING, ready=False), task(2), task(3)], [], None, id="running and not ready, it does not"),
        pytest.param([web(), task(1, 2, release=2), task(2), task(3)], ["+web.2.2"], None, id="then the next"),
        pytest.param([web(drain_s=2.0), task(1), relief(state=State.RUNNING), task(2), task(3)], ["web.1.1 wanted leaving", "web.1.2 running"], NOW + 2, id="out of rotation before it is stopped"),
        pytest.param([web(drain_s=2.0), task(1, wanted=Wanted.LEAVING, leaving_at=NOW - 1), task(1, 2, release=2), task(2, release=2), task(3, release=2)], [], NOW + 1, id="for its drain delay"),
        pytest.param([web(drain_s=2.0), task(1, wanted=Wanted.LEAVING, leaving_at=NOW - 2), task(1, 2, release=2), task(2, release=2), task(3, release=2)], ["web.1.1 wanted stopped"], None, id="and no longer"),
        pytest.param([web(parallelism=2), task(1), task(2), task(3)], ["+web.1.2", "+web.2.2"], None, id="two side by side"),
        pytest.param([web(parallelism=0), task(1), task(2), task(3)], ["+web.1.2", "+web.2.2", "+web.3.2"], None, id="all side by side"),
        pytest.param([web(parallelism=2), task(1), relief(), task(2), task(3)], ["+web.2.2"], None, id="as many as there is room for"),
        pytest.param([web(), task(1, release=2, ready=False), task(2), task(3)], [], None, id="not beside a slot that does not serve"),
        pytest.param([web(delay_s=5.0), task(1, 2, release=2, created_at=NOW - 3), task(2), task(3)], [], NOW + 2, id="not before the delay has passed"),
        pytest.param([web(delay_s=5.0), task(1, 2, release=2, created_at=NOW - 5), task(2), task(3)], ["+web.2.2"], None, id="after it"),
        pytest.param([web(), task(1, state=State.FAILED), relief(), task(2), task(3)], ["web.1.2 starting"], None, id="it takes over at once from one that ended"),
        pytest.param([web(), task(1, ready=False), relief(), task(2), task(3)], ["web.1.1 wanted stopped", "web.1.2 starting"], None, id="and from one that serves nobody"),
        pytest.param([web(), task(1), relief(state=State.FAILED, reason=Reason.EXITED, finished_at=NOW), task(2), task(3)], ["+web.1.3"], None, id="one that failed is tried again"),
        pytest.param([web(), task(1, ready=False), task(2), task(3)], ["web.1.1 wanted stopped"], None, id="what serves nobody goes at once"),
        pytest.param([web(2), task(1), task(2), task(3)], ["+web.1.2"], None, id="a surplus task holds nothing up"),
        pytest.param([web(mode=Mode.JOB), task(1), task(2)], ["web.1.1 wanted stopped", "web.2.1 wanted stopped"], None, id="a job's tasks all give way"),
        pytest.param([web(1, mode=Mode.JOB), task(1), relief()], ["web.1.2 wanted removed", "web.1.1 wanted stopped"], None, id="and who stood by to take over goes too"),
        pytest.param([web(mode=Mode.GLOBAL), task(1, pinned="n1"), task(2, pinned="n2", on="n2")], ["+web.1.2"], None, id="global: one at a time too"),
        pytest.param([web(1, mode=Mode.GLOBAL), task(1, pinned="n1"), relief(1, state=State.FAILED, release=3)], ["+web.1.3"], None, id="global: back from a release that was not, and failed"),
        pytest.param([task(1)], [], None, id="a removed service has no rollout"),
        pytest.param([stop_first(), task(1), task(2), task(3)], ["web.1.1 wanted stopped"], None, id="stop-first: one at a time"),
        pytest.param([stop_first(), task(1, wanted=Wanted.STOPPED), task(2), task(3)], [], None, id="stop-first: waits while one is leaving"),
        pytest.param([stop_first(), task(1, 2, State.STARTING, release=2), task(2), task(3)], [], None, id="stop-first: waits until the new one is ready"),
        pytest.param([stop_first(), task(1, 2, release=2), task(2), task(3)], ["web.2.1 wanted stopped"], None, id="stop-first: then goes on"),
        pytest.param([stop_first(), task(1, 2, State.FAILED, release=2), task(2), task(3)], [], None, id="stop-first: a release that fails stops it"),
        pytest.param([stop_first(parallelism=2, drain_s=1.0), task(1), task(2), task(3)], ["web.1.1 wanted leaving", "web.2.1 wanted leaving"], NOW + 1, id="stop-first: out of rotation first as well"),
    ],
)  # fmt: skip
def test_a_new_release(records: list[Object], expected: list[str], again: float | None) -> None:
    changes, look = decide(world(*records), "web", NOW)
    assert (said(changes), look) == (expected, again)


@pytest.mark.parametrize("phase", [ReleasePhase.PAUSED, ReleasePhase.FAILED])
def test_a_release_that_is_held_goes_no_further(phase: ReleasePhase) -> None:
    here = web()
    held = Release(service="web", number=2, spec=here.spec, phase=phase)
    assert decide(world(here, held, task(1), task(2), task(3)), "web", NOW) == ([], None)


@pytest.mark.parametrize(
    ("records", "expected", "again"),
    [
        pytest.param([DRAINED, web(2, release=1), task(1), task(2, on="n2")], ["+web.1.2"], None, id="another is started elsewhere first"),
        pytest.param([DRAINED, web(2, release=1), task(1), relief(release=1, **WAITS, state=State.NEW), task(2, on="n2")], [], None, id="and waited for, as long as it takes"),
        pytest.param([replace(DRAINED, drain_by=NOW + 5), web(1, release=1), task(1), relief(release=1)], [], NOW + 5, id="until the deadline"),
        pytest.param([replace(DRAINED, drain_by=NOW), web(1, release=1), task(1), relief(release=1)], ["web.1.1 wanted stopped", "web.1.2 starting"], None, id="and no longer"),
        pytest.param([DRAINED, web(2, release=1), task(1), task(2, on="n2", ready=False)], ["+web.1.2"], None, id="also beside a slot that does not serve: it takes nothing from it"),
        pytest.param([node("n1"), web(1, release=1), task(1), relief(release=1)], ["web.1.2 wanted removed"], None, id="a node that is active again keeps its task"),
        pytest.param([DRAINED, web(2, release=1, order=UpdateOrder.STOP_FIRST), task(1), task(2)], ["web.1.1 wanted stopped"], None, id="stop-first: one at a time"),
        pytest.param([DRAINED, web(2, release=1, order=UpdateOrder.STOP_FIRST), task(1), task(2, 2, State.NEW, on=None, **WAITS)], [], None, id="stop-first: not while another finds no place"),
        pytest.param([DRAINED, web(1, mode=Mode.JOB, release=1), task(1)], ["web.1.1 wanted stopped"], None, id="a job is begun elsewhere"),
        pytest.param([DRAINED, web(1, mode=Mode.GLOBAL, release=1), task(1, pinned="n1")], [], None, id="a global service has no business there any more, which others see to"),
    ],
)  # fmt: skip
def test_a_drained_node(records: list[Object], expected: list[str], again: float | None) -> None:
    changes, look = decide(world(node("n2"), *records), "web", NOW)
    assert (said(changes), look) == (expected, again)


@pytest.mark.parametrize(
    ("age_s", "rules", "expected"),
    [
        pytest.param(NO_ROOM_S - 1, {}, [], id="room may come"),
        pytest.param(NO_ROOM_S, {}, ["-web.1.2", "web.1.1 wanted stopped"], id="without room the former makes it"),
        pytest.param(NO_ROOM_S, {"order": UpdateOrder.START_FIRST}, [], id="not where start-first was asked for"),
    ],
)
def test_a_release_that_fits_nowhere_beside_the_former(age_s: float, rules: Any, expected: list[str]) -> None:
    waits = relief(state=State.NEW, on=None, created_at=NOW - age_s, **WAITS)
    changes, _ = decide(world(node("n1"), web(1, **rules), task(1), waits), "web", NOW)
    assert said(changes) == expected


@pytest.mark.parametrize(
    ("parallelism", "expected"),
    [
        pytest.param(1, [], id="none beside one that is not served"),
        pytest.param(2, ["-web.1.2", "web.1.1 wanted stopped"], id="no more than may be"),
        pytest.param(0, ["-web.1.2", "web.1.1 wanted stopped", "-web.3.2", "web.3.1 wanted stopped"], id="all may be"),
    ],
)
def test_one_look_empties_no_more_slots_than_may_be_empty(parallelism: int, expected: list[str]) -> None:
    waits = [relief(slot, state=State.NEW, on=None, created_at=NOW - NO_ROOM_S, **WAITS) for slot in (1, 3)]
    unserved = task(2, 2, State.NEW, release=2, on=None, **WAITS)
    situation = world(node("n1"), web(3, parallelism=parallelism), task(1), unserved, task(3), *waits)
    assert said(decide(situation, "web", NOW)[0]) == expected


def test_the_former_is_let_go_before_the_other_counts() -> None:
    """A commit may hold only so many changes, and between two commits no slot may be filled twice."""
    changes, _ = decide(world(web(1), task(1), relief(state=State.RUNNING)), "web", NOW)
    former, latter = (change.after for change in changes)
    assert isinstance(former, Task)
    assert isinstance(latter, Task)
    assert (former.counts, latter.counts, latter.relieves) == (False, True, "")


@pytest.mark.parametrize(
    ("spec", "first"),
    [
        pytest.param({}, True, id="nothing in the way"),
        pytest.param({"ports": (Port(container=80),)}, True, id="a host port of the cluster's choice"),
        pytest.param({"ports": (Port(container=80, host=80),)}, False, id="a fixed host port"),
        pytest.param({"mounts": (Mount(kind=MountKind.VOLUME, source="data", target="/d"),)}, False, id="a volume that is written to"),
        pytest.param({"mounts": (Mount(kind=MountKind.VOLUME, source="data", target="/d", read_only=True),)}, True, id="a volume that is read"),
        pytest.param({"mounts": (Mount(kind=MountKind.VOLUME, target="/d"),)}, True, id="a volume of its own"),
        pytest.param({"mounts": (Mount(kind=MountKind.TMPFS, target="/d"),)}, True, id="memory"),
        pytest.param({"ports": (Port(container=80, host=80),), "update": UpdateRules(order=UpdateOrder.START_FIRST)}, True, id="the user knows better"),
        pytest.param({"update": UpdateRules(order=UpdateOrder.STOP_FIRST)}, False, id="the user wants it so"),
        pytest.param({"single_writer": True}, False, id="a single writer"),
    ],
)  # fmt: skip
def test_who_may_start_first(spec: Any, first: bool) -> None:
    assert starts_first(ServiceSpec(image="x", **spec)) is first


# -- moves


def moving(slot: int = 1, to: str = "n2", **fields: Any) -> Task:
    """A task that is to move."""
    return task(slot, moves_to=to, **({"moves_turn": slot} | fields))


def sent(slot: int = 1, state: State = State.STARTING, to: str = "n2", **fields: Any) -> Task:
    """One that was started to take over from a task that moves."""
    return relief(slot, state=state, release=1, pinned=to, **({"on": to} | fields))


def done(replicas: int = 2, phase: ReleasePhase = ReleasePhase.DONE, **rules: Any) -> list[Object]:
    one = web(replicas, release=1, **rules)
    return [one, Release(service="web", number=1, spec=one.spec, phase=phase)]


def held_up(*, mode: Mode = Mode.REPLICATED, phase: ReleasePhase = ReleasePhase.ROLLING) -> list[Object]:
    """A second release that goes no further: it waits for what never comes, and may be held besides."""
    never = (Dependency(service="never", condition=Condition.READY),)
    two = service(release=2, replicas=2, mode=mode, depends=() if phase is ReleasePhase.PAUSED else never)
    return [two, Release(service="web", number=2, spec=two.spec, phase=phase), *done()[1:]]


def was_global() -> Release:
    return Release(service="web", number=0, spec=web(mode=Mode.GLOBAL).spec, phase=ReleasePhase.DONE)


STOPS_FIRST: dict[str, Any] = {"order": UpdateOrder.STOP_FIRST}
STAYS = "web.1.1 running"


@pytest.mark.parametrize(
    ("records", "expected", "again"),
    [
        pytest.param([*done(), moving(), task(2)], ["+web.1.2"], None, id="another is started there first"),
        pytest.param([*done(), moving(), sent(), task(2)], [], None, id="and waited for"),
        pytest.param([*done(), moving(), sent(state=State.RUNNING), task(2)], ["web.1.1 wanted stopped", "web.1.2 running"], None, id="ready, it takes over"),
        pytest.param([*done(drain_s=2.0), moving(), sent(state=State.RUNNING), task(2)], ["web.1.1 wanted leaving", "web.1.2 running"], NOW + 2, id="and the former drains as always"),
        pytest.param([*done(), moving(), moving(2, to="n1", on="n2")], ["+web.1.2"], None, id="one after the other, by the service's rules"),
        pytest.param([*done(), moving(moves_turn=2), moving(2, moves_turn=1, to="n1", on="n2")], ["+web.2.2"], None, id="in turn, whatever their slots are"),
        pytest.param([*done(3, parallelism=0), moving(), moving(2), moving(3)], ["+web.1.2", "+web.2.2"], NOW + TURN_LOOK_S, id="and two at a time"),
        pytest.param([*done(delay_s=5.0), moving(created_at=NOW - 3), task(2)], [], NOW + 2, id="with the delay between two"),
        pytest.param([*done(), moving(ready=False), sent(), task(2)], [], None, id="one that falters is not stopped for it"),
        pytest.param([*done(), moving(ready=False), task(2)], [STAYS], None, id="but does not move"),
        pytest.param([*done(), moving(state=State.FAILED), sent(), task(2)], ["web.1.2 starting"], None, id="one that ends is relieved at once"),
        pytest.param([*done(), moving(), task(2, on="n2", ready=False)], [STAYS], None, id="not while another slot is not served"),
        pytest.param([*done(), moving(), sent(state=State.FAILED), task(2)], [STAYS, "web.1.2 wanted removed"], None, id="what does not come up is given up"),
        pytest.param([*done(), moving(), sent(state=State.LOST), task(2)], [STAYS, "web.1.2 wanted removed"], None, id="also where its node died"),
        pytest.param([*done(), moving(), sent(state=State.NEW, created_at=NOW - NO_ROOM_S, **WAITS), task(2)], [STAYS, "-web.1.2"], None, id="so is what finds no room"),
        pytest.param([*done(), moving(), sent(state=State.NEW, created_at=NOW - 1, **WAITS), task(2)], [], NOW - 1 + NO_ROOM_S, id="after a moment"),
        pytest.param([*done(parallelism=2), moving(), moving(2), sent(2, state=State.NEW, created_at=NOW - NO_ROOM_S, **WAITS), sent()], [], None, id="while another may make room, it is waited for"),
        pytest.param([*done(), moving(), sent(state=State.RUNNING, ready=False, started_at=NOW - 60), task(2)], [STAYS, "web.1.2 wanted removed"], None, id="and what never gets ready"),
        pytest.param([*done(), moving(), sent(state=State.RUNNING, ready=False, started_at=NOW - 59), task(2)], [], NOW + 1, id="not before its time"),
        pytest.param([*done(), moving(to="gone"), task(2)], [STAYS], None, id="a node that is gone takes nothing"),
        pytest.param([*done(phase=ReleasePhase.ROLLING), moving(), sent(), task(2)], [STAYS, "web.1.2 wanted removed"], None, id="a release comes first"),
        pytest.param([*done(), moving(on="n3"), sent(), task(2)], ["web.1.1 running", "web.1.2 wanted removed"], None, id="so does a drained node"),
        pytest.param([*done(), task(1), sent(), task(2)], ["web.1.2 wanted removed"], None, id="one that is not to move has nobody sent ahead"),
        pytest.param([*done(), moving(to="n4"), sent(), task(2)], ["web.1.2 wanted removed"], None, id="nor to another node than it is to go to"),
        pytest.param([*done(**STOPS_FIRST), moving(), task(2)], ["web.1.1 wanted stopped"], None, id="stop-first"),
        pytest.param([*done(**STOPS_FIRST), moving(wanted=Wanted.STOPPED), moving(2)], [], None, id="stop-first: one at a time"),
        pytest.param([*done(**STOPS_FIRST), task(1, 2, release=1, pinned="n2", on="n2"), moving(2)], ["web.1.2 running"], None, id="stop-first: once it runs there it has moved"),
        pytest.param([*done(**STOPS_FIRST), task(1, 2, State.NEW, release=1, pinned="n2", on=None, **WAITS), task(2)], ["web.1.2 new"], None, id="stop-first: without room there it goes anywhere"),
        pytest.param([*held_up(), task(1, 2, State.NEW, pinned="n2", **WAITS), task(2)], ["web.1.2 new"], None, id="also while the next release waits"),
        pytest.param([*held_up(mode=Mode.JOB), task(1, 1, State.NEW, pinned="n2", **WAITS), task(2)], ["web.1.1 new"], None, id="be it a job's"),
        pytest.param([*held_up(phase=ReleasePhase.PAUSED), task(1, 2, State.NEW, pinned="n2", **WAITS), task(2)], ["web.1.2 new"], None, id="or is held"),
        pytest.param([*held_up(mode=Mode.GLOBAL), task(1, 2, State.NEW, pinned="n2", **WAITS), task(2)], ["web.1.2 new"], None, id="or is of another mode"),
        pytest.param([*held_up(), task(1, 2, pinned="n2", on="n2"), task(2)], ["web.1.2 running"], None, id="and once it runs there it has moved, whatever comes next"),
        pytest.param([*done(), was_global(), task(1, release=0, pinned="n1"), task(2)], ["+web.1.2"], None, id="a pin of a time when it was global is not touched"),
        pytest.param([web(mode=Mode.GLOBAL), task(1, pinned="n1"), task(2, pinned="n2", on="n2"), task(3, pinned="n4", on="n4")], ["+web.1.2"], None, id="nor is one that may be of a time when it was not"),
        pytest.param([web(1, mode=Mode.JOB, release=1), moving()], [STAYS], None, id="a job moves nothing"),
        pytest.param([*done(1, drain_s=5.0), moving(), sent(wanted=Wanted.LEAVING, leaving_at=NOW - 5), sent(generation=3, state=State.NEW, created_at=NOW - 5, **WAITS)], ["web.1.2 wanted stopped", STAYS, "-web.1.3"], None, id="what was displaced there and has left is stopped as it is given up"),
    ],
)  # fmt: skip
def test_a_move(records: list[Object], expected: list[str], again: float | None) -> None:
    drained = node("n3", availability=Availability.DRAINED)
    changes, look = decide(world(node("n1"), node("n2"), drained, node("n4"), *records), "web", NOW)
    assert (said(changes), look) == (expected, again)


def test_what_was_given_up_in_a_drain_does_not_keep_a_task_from_moving() -> None:
    once = replace(web(1, release=1), spec=replace(web(1).spec, restart=RestartPolicy(condition=RestartOn.NONE)))
    records: list[Object] = [once, Release(service="web", number=1, spec=once.spec, phase=ReleasePhase.DONE)]
    given_up = relief(release=1, state=State.FAILED, on="n3", reason=Reason.EXITED)
    changes, _ = decide(world(node("n1"), node("n2"), *records, moving(), given_up), "web", NOW)
    assert said(changes) == ["+web.1.3"]


def test_what_moved_is_bound_to_no_node_and_left_alone_for_a_while() -> None:
    records = [*done(1), moving(), sent(state=State.RUNNING)]
    changes, _ = decide(world(node("n1"), node("n2"), *records), "web", NOW)
    former, latter = (change.after for change in changes)
    assert isinstance(former, Task)
    assert isinstance(latter, Task)
    assert (former.moves_to, latter.pinned, latter.move_ended_at) == ("", "", NOW)
    assert changes[1].reason is Reason.MOVED


@pytest.mark.parametrize("held", [True, False], ids=["held up", "rolling"])
def test_who_was_sent_and_takes_over_at_once_is_bound_to_no_node_whatever_release_comes(held: bool) -> None:
    """Its former ended in the moment in which another release was wished."""
    sent_ahead = sent(state=State.NEW, **WAITS)
    records = held_up() if held else [web(2), *done()[1:]]
    changes, _ = decide(world(*records, task(1, state=State.FAILED, moves_to="n2"), sent_ahead, task(2)), "web", NOW)
    (latter,) = (change.after for change in changes)
    assert isinstance(latter, Task)
    assert (latter.relieves, latter.pinned) == ("", "")


def test_what_was_given_up_says_why_and_is_left_alone_for_a_while() -> None:
    failed = sent(state=State.FAILED, reason=Reason.EXITED, message="exit code 3")
    changes, _ = decide(world(node("n1"), node("n2"), *done(1), moving(), failed), "web", NOW)
    stays = changes[0].after
    assert isinstance(stays, Task)
    assert (stays.moves_to, stays.move_ended_at, stays.counts) == ("", NOW, True)
    assert changes[0].reason is Reason.MOVE_GIVEN_UP
    assert changes[0].message == "web.1.2 did not come up on n2: exited: exit code 3"


def test_none_stands_by_beside_a_single_writer_of_a_former_release() -> None:
    former = Release(service="web", number=1, spec=replace(web(1).spec, single_writer=True))
    assert said(decide(world(web(1), former, task(1)), "web", NOW)[0]) == ["web.1.1 wanted stopped"]
