"""What a release waits for, what a slot runs meanwhile, and who is told of it."""

from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.control.dependents import Dependents
from longshore.decide import rollout, services, wishes
from longshore.decide.admission import admit
from longshore.decide.dependencies import release_for, told, waits
from longshore.decide.status import status_of
from longshore.decide.why import Sequel, sequel_of, waiting, why
from longshore.model.changes import Event
from longshore.model.errors import Invalid
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Kind, Object, Release, ReleasePhase, Service, Task
from longshore.model.ordering import cycle
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Condition, Dependency, Mode, RestartPolicy, ServiceSpec, UpdateOrder, UpdateRules
from longshore.model.views import Phase, ServiceWish
from tests.situations import NOW, node, said, service, task, world

STARTED, READY, COMPLETED = Condition
DB = service("db")
DB2 = service("db", release=2)
JOB = service("db", mode=Mode.JOB, replicas=2)
AGENT = service("db", mode=Mode.GLOBAL)


def web(condition: Condition = READY, *, release: int = 1, on: str = "db", **fields: Any) -> Service:
    return service(release=release, depends=(Dependency(service=on, condition=condition),), **fields)


def of(wished: Service, phase: ReleasePhase, number: int = 0, **fields: Any) -> Release:
    return Release(service=wished.name, number=number or wished.release, spec=wished.spec, phase=phase, **fields)


def db(slot: int = 1, state: State = State.RUNNING, **fields: Any) -> Task:
    return task(slot, state=state, of="db", **fields)


@pytest.mark.parametrize(
    ("condition", "records", "expected"),
    [
        pytest.param(STARTED, [], "db: there is no such service", id="nobody"),
        pytest.param(STARTED, [DB], "db: 0 of 1 started", id="no task"),
        pytest.param(STARTED, [DB, db(state=State.STARTING)], "db: 0 of 1 started", id="on its way"),
        pytest.param(STARTED, [DB, db(ready=False)], "", id="running is started"),
        pytest.param(READY, [DB, db(ready=False)], "db: 0 of 1 ready", id="running is not ready"),
        pytest.param(READY, [DB, db()], "", id="ready"),
        pytest.param(READY, [DB, db(state=State.FINISHED)], "db: 0 of 1 ready", id="what ended is not ready"),
        pytest.param(READY, [DB, db(wanted=Wanted.STOPPED)], "db: 0 of 1 ready", id="nor what is to go"),
        pytest.param(READY, [DB, db(relieves="db.1.0")], "db: 0 of 1 ready", id="nor what stands by"),
        pytest.param(READY, [service("db", replicas=3), db(1), db(3)], "db: 2 of 3 ready", id="every slot counts"),
        pytest.param(READY, [service("db", replicas=0)], "", id="and there may be none"),
        pytest.param(READY, [service("db", replicas=2), db(1), db(3)], "db: 1 of 2 ready", id="but for one that is about to go"),
        pytest.param(READY, [DB2, db()], "db: 0 of 1 ready", id="an older release is not what is waited for"),
        pytest.param(READY, [DB2, db(release=2)], "", id="the current one is"),
        pytest.param(READY, [AGENT, node("a"), node("b"), db(on="a", pinned="a")], "db: 1 of 2 ready", id="global"),
        pytest.param(READY, [AGENT, node("a"), db(on="a", pinned="a")], "", id="global: on each node"),
        pytest.param(STARTED, [JOB, db(1), db(2, State.FINISHED)], "", id="a job's finished part has started"),
        pytest.param(COMPLETED, [JOB, db(1), db(2, State.FINISHED)], "db: 1 of 2 completed", id="a job under way"),
        pytest.param(COMPLETED, [JOB, of(JOB, ReleasePhase.DONE)], "", id="a job that is done"),
        pytest.param(COMPLETED, [DB, db()], "db: it is no job, so it never completes", id="no job"),
    ],
)  # fmt: skip
def test_conditions(condition: Condition, records: list[Object], expected: str) -> None:
    wished = web(condition)
    situation = world(wished, *records)
    assert "; ".join(waits(situation, wished)) == expected
    assert told(situation, wished) == (f"release 1 waits for {expected}" if expected else "")
    assert said(services.decide(situation, "web", NOW)[0]) == ([] if expected else ["+web.1.1"])


@pytest.mark.parametrize(
    ("releases", "waiting"),
    [
        pytest.param([of(web(release=2), ReleasePhase.ROLLING)], True, id="a release that is rolled out"),
        pytest.param([of(web(release=2), ReleasePhase.PAUSED)], True, id="also while it is paused"),
        pytest.param([of(web(release=2), ReleasePhase.DONE)], False, id="one that is done waits for nothing"),
        pytest.param([of(web(release=2), ReleasePhase.ROLLING), of(web(), ReleasePhase.FAILED, 3)], False, id="nor one that was come back to"),
    ],
)  # fmt: skip
def test_which_release_waits(releases: list[Release], waiting: bool) -> None:
    wished = web(release=2)
    situation = world(wished, DB, *releases)
    assert bool(waits(situation, wished)) is waiting


ROLLING2 = web(release=2, replicas=2)
STOP_FIRST2 = web(release=2, replicas=2, update=UpdateRules(order=UpdateOrder.STOP_FIRST))
FAILED: dict[str, Any] = {"state": State.FAILED, "started_at": NOW - 50}
GATED: list[Any] = [
    pytest.param([ROLLING2], [], [], id="nothing is started"),
    pytest.param([ROLLING2, task(1), task(2)], [], [], id="nothing gives way"),
    pytest.param([STOP_FIRST2, task(1), task(2)], [], [], id="nothing is stopped first"),
    pytest.param([ROLLING2, task(1, ready=False), task(2)], [], [], id="not even what serves nobody"),
    pytest.param([ROLLING2, task(1, **FAILED), task(2)], ["+web.1.2@1"], [], id="what ended is replaced by its own release"),
    pytest.param([ROLLING2, task(1, release=2, **FAILED), task(2)], ["+web.1.2@2"], [], id="also by the new one, if it had begun"),
    pytest.param([ROLLING2, task(1), task(1, 2, State.RUNNING, release=2, relieves="web.1.1"), task(2)], [], ["web.1.1 wanted stopped", "web.1.2 running"], id="what had begun to take over goes on"),
    pytest.param([ROLLING2, task(1), task(1, 2, State.NEW, release=2, relieves="web.1.1", reason=Reason.NO_NODE, created_at=1.0), task(2)], [], [], id="but nothing makes room for it"),
    pytest.param([ROLLING2, node("n1", availability=Availability.DRAINED), node("n2"), task(1), task(2, on="n2")], [], ["+web.1.2@1"], id="a node is drained, with the release that runs"),
    pytest.param([STOP_FIRST2, node("n1", availability=Availability.DRAINED), task(1)], [], ["web.1.1 wanted stopped"], id="also beside a slot that has to wait"),
    pytest.param([ROLLING2, of(STOP_FIRST2, ReleasePhase.DONE, 1), node("n1", availability=Availability.DRAINED), task(1), task(2, on="n2")], [], ["web.1.1 wanted stopped"], id="by the rules of the release that runs"),
    pytest.param([ROLLING2, node("n1", availability=Availability.DRAINED), task(1), task(1, 2, State.RUNNING, relieves="web.1.1", on="n2"), task(2, on="n2")], [], ["web.1.1 wanted stopped", "web.1.2 running"], id="to the end"),
    pytest.param([web(release=2, mode=Mode.JOB), task(1)], [], [], id="a job that runs goes on"),
    pytest.param([web(release=2, mode=Mode.JOB), task(1, state=State.FINISHED)], [], [], id="and is not run again"),
]  # fmt: skip


@pytest.mark.parametrize(("records", "started", "rolled"), GATED)
def test_while_it_waits_the_slots_go_on_as_they_are(
    records: list[Object], started: list[str], rolled: list[str]
) -> None:
    situation = world(*records, DB)
    assert numbered(situation, services.decide(situation, "web", NOW)[0]) == started
    assert numbered(situation, rollout.decide(situation, "web", NOW)[0]) == rolled


def numbered(situation: Snapshot, changes: list[Any]) -> list[str]:
    """Changes in short, new tasks with their release."""
    return [
        f"{one}@{change.after.release}" if change.before == 0 else one
        for one, change in zip(said(changes), changes, strict=True)
    ]


def test_once_it_may_start_it_is_rolled_out_as_ever() -> None:
    situation = world(ROLLING2, DB, db(), task(1), task(2))
    assert numbered(situation, rollout.decide(situation, "web", NOW)[0]) == ["+web.1.2@2"]
    situation = world(ROLLING2, DB, db(), task(1, **FAILED), task(2))
    assert numbered(situation, services.decide(situation, "web", NOW)[0]) == ["+web.1.2@2"]


def test_a_slot_of_another_mode_is_not_filled_with_what_it_was() -> None:
    was = of(service(mode=Mode.JOB), ReleasePhase.DONE, 1)
    ended = task(1, **FAILED)
    situation = world(ROLLING2, was, DB, ended)
    assert release_for(situation, ROLLING2, ended) is None


@pytest.mark.parametrize("mode", [Mode.REPLICATED, Mode.JOB])
def test_a_service_that_is_made_anew_goes_on_with_nothing_of_the_removed_one(mode: Mode) -> None:
    anew = replace(ROLLING2, created_at=NOW)
    one = replace(of(service(mode=mode), ReleasePhase.DONE, 1), created_at=1.0)
    goes = task(1, wanted=Wanted.REMOVED)
    records: list[Object] = [anew, replace(of(anew, ReleasePhase.ROLLING), created_at=NOW), one]
    for former in (goes, replace(goes, state=State.STOPPED, ready=False, finished_at=NOW)):
        situation = world(*records, former)
        assert release_for(situation, anew, former) is None
        assert said(services.decide(situation, "web", NOW)[0]) == ([] if former.live else ["-web.1.1"])
        assert rollout.decide(situation, "web", NOW)[0] == []


# -- who tells of it


def test_a_service_says_what_it_waits_for() -> None:
    situation = world(ROLLING2, DB, task(1), task(2))
    status = status_of(situation, ROLLING2)
    assert (status.phase, status.settled) == (Phase.STARTING, False)
    assert status.message == "release 2 waits for db: 0 of 1 ready"


def test_so_does_the_explanation_of_its_tasks() -> None:
    one = task(1)
    situation = world(ROLLING2, DB, one, task(2))
    answer = why(one, [], waits=waiting(situation, one))
    assert answer.summary == "web.1.1 runs on n1 and is ready; release 2 waits for db: 0 of 1 ready."
    new = task(1, release=2)
    assert waiting(world(ROLLING2, DB, new), new) == ""


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([ROLLING2, task(1, **FAILED)], Sequel(at=NOW), id="its own release follows"),
        pytest.param([replace(web(release=2, mode=Mode.JOB)), task(1, state=State.FINISHED)], Sequel(never="release 2 waits for db: 0 of 1 ready"), id="nothing, of a job that is done"),
        pytest.param([ROLLING2, of(service(mode=Mode.JOB), ReleasePhase.DONE, 1), task(1, **FAILED)], Sequel(never="release 2 waits for db: 0 of 1 ready"), id="nothing, of another mode"),
        pytest.param([ROLLING2, db(), task(1, **FAILED)], Sequel(at=NOW), id="the new release follows"),
    ],
)  # fmt: skip
def test_what_follows_a_task_that_ended(records: list[Object], expected: Sequel) -> None:
    ended = next(one for one in records if isinstance(one, Task) and one.service == "web")
    assert sequel_of(world(DB, *records), ended) == expected


@pytest.mark.parametrize(
    ("kind", "id", "expected"),
    [
        (Kind.TASK, "db.1.1", ["api", "web"]),
        (Kind.RELEASE, "db@1", ["api", "web"]),
        (Kind.SERVICE, "db", ["api", "web"]),
        (Kind.TASK, "other.1.1", ["shop"]),
        (Kind.TASK, "web.1.1", []),
        (Kind.NODE, "n1", ["shop"]),
        (Kind.TOKEN, "db", []),
    ],
)
def test_who_is_to_look_again(kind: Kind, id: str, expected: list[str]) -> None:
    done = replace(web(), name="done")
    situation = world(
        DB,
        web(),
        replace(web(), name="api"),
        replace(web(on="other"), name="shop"),
        replace(service(mode=Mode.GLOBAL), name="other"),
        done,
        of(done, ReleasePhase.DONE),
    )
    event = Event(
        revision=2, position=0, at=NOW, kind=kind, id=id, after=None, by=Owner.USER, reason=Reason.REMOVED, message=""
    )
    assert list(Dependents().touched([event], situation)) == expected


def test_who_waits_is_known_anew_when_services_change() -> None:
    dependents = Dependents()
    event = Event(
        revision=2, position=0, at=NOW, kind=Kind.SERVICE, id="db", after=None, by=Owner.USER, reason=Reason.REMOVED
    )
    for records, expected in (
        ([DB, web()], ["web"]),
        ([DB, web(), replace(web(), name="api")], ["api", "web"]),
        ([DB, web(on="other"), replace(web(), name="api")], ["api"]),
        ([DB], []),
    ):
        assert list(dependents.touched([event], world(*records))) == expected


# -- what may be wished


def spec(*depends: Dependency, **fields: Any) -> ServiceSpec:
    return ServiceSpec(image="i", depends=depends, **fields)


def on(*names: str) -> ServiceSpec:
    return spec(*(Dependency(service=name) for name in names))


@pytest.mark.parametrize(
    ("specs", "field", "words"),
    [
        ({"web": on("db")}, "services.web.depends[0]", "there is no service db in this app"),
        ({"web": on("web")}, "services.web.depends[0]", "web waits for web; break the circle"),
        ({"a": on("b"), "b": on("d", "c"), "c": on("a"), "d": on()}, "services.a.depends[0]", "a waits for b waits for c waits for a;"),
        ({"db": on(), "web": spec(Dependency(service="db", condition=COMPLETED))}, "services.web.depends[0]", "db is no job"),
        ({"db": on(), "web": on("db", "db")}, "services.web.depends[1].service", "named twice"),
        ({"web": on("DB")}, "services.web.depends[0].service", "a service's name is"),
    ],
)  # fmt: skip
def test_what_an_app_cannot_wait_for(specs: dict[str, ServiceSpec], field: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as refusal:
        wishes.apply_app(world(), "shop", specs, NOW)
    assert refusal.value.field == field


def test_one_service_may_wait_for_another_that_may_come_but_in_no_circle() -> None:
    assert wishes.apply_service(world(), "web", ServiceWish(spec=on("later")), NOW)
    standing = replace(service("db"), spec=admit(on("web")))
    with pytest.raises(Invalid, match="; break the circle"):
        wishes.apply_service(world(standing), "web", ServiceWish(spec=on("db")), NOW)
    with pytest.raises(Invalid, match="web waits for web; break the circle"):
        wishes.apply_service(world(), "web", ServiceWish(spec=on("web")), NOW)


def test_what_a_service_waits_for_makes_no_release() -> None:
    stored = replace(service(), spec=admit(service(restart=RestartPolicy()).spec))
    changes = wishes.apply_service(
        world(stored), "web", ServiceWish(spec=replace(stored.spec, depends=on("db").depends)), NOW
    )
    assert [change.kind for change in changes] == [Kind.SERVICE]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, ()),
        ({"a": ["b"], "b": ["c"], "d": ["b", "c"]}, ()),
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, ("b", "c", "b")),
    ],
)
def test_circles(graph: dict[str, list[str]], expected: tuple[str, ...]) -> None:
    found = cycle(graph)
    assert len(found) == len(expected)
    assert set(found) == set(expected)
    assert all(after in graph[before] for before, after in pairwise(found))
