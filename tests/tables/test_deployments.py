"""When a release is done, when it has failed, and what follows."""

from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide.deployments import decide
from longshore.model.changes import Change
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Object, Release, ReleasePhase, Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Ingress, Mode, OnFailure, Port, RestartPolicy, UpdateRules
from tests.situations import NOW, node, service, task, world

BEGUN = NOW - 50
LISTENS = (Port(container=80, ingress=Ingress.HTTP, listen=8080),)
MONITOR_S = 5.0


def web(replicas: int = 2, *, mode: Mode = Mode.REPLICATED, **rules: Any) -> Service:
    return service(release=2, replicas=replicas, mode=mode, update=UpdateRules(monitor_s=MONITOR_S, **rules))


def of(wished: Service, number: int, phase: ReleasePhase, **fields: Any) -> Release:
    return Release(service="web", number=number, spec=wished.spec, phase=phase, created_at=BEGUN, **fields)


def here(wished: Service, *tasks: Task, before: ReleasePhase | None = ReleasePhase.DONE, **fields: Any) -> Snapshot:
    """A service at its second release, with tasks, and how its first one went."""
    phase = fields.pop("phase", ReleasePhase.ROLLING)
    records: list[Object] = [node("n1"), wished, of(wished, 2, phase, **fields), *tasks]
    if before is not None:
        records.append(of(wished, 1, before, finished_at=1.0))
    return world(*records)


def new(slot: int, state: State = State.RUNNING, generation: int = 2, **fields: Any) -> Task:
    given: dict[str, Any] = {"release": 2, "created_at": BEGUN + 1, "started_at": NOW - 20} | fields
    return task(slot, generation, state, **given)


def failed(slot: int, **fields: Any) -> Task:
    given: dict[str, Any] = {
        "attempt": 1,
        "reason": Reason.EXITED,
        "message": "exit code 1",
        "finished_at": NOW - 19,
    } | fields
    return new(slot, State.FAILED, **given)


def phases(changes: list[Change]) -> dict[int, ReleasePhase]:
    return {one.after.number: one.after.phase for one in changes if isinstance(one.after, Release)}


@pytest.mark.parametrize(
    ("tasks", "done", "again"),
    [
        pytest.param([new(1), new(2)], True, None, id="all run it, and stayed ready"),
        pytest.param([new(1), new(2, started_at=NOW - 3)], False, NOW + 2, id="not for long enough yet"),
        pytest.param([new(1), new(2, ready_changed_at=NOW - 3)], False, NOW + 2, id="however long it has run"),
        pytest.param([new(1), task(2)], False, None, id="one runs the former"),
        pytest.param([new(1)], False, None, id="a slot is empty"),
        pytest.param([new(1), new(2, ready=False)], False, NOW - 20 + 60, id="one is not ready"),
        pytest.param([new(1), new(2), task(2, wanted=Wanted.LEAVING)], False, None, id="one still leaves"),
        pytest.param([new(1), new(2), new(2, State.STARTING, 3, relieves="web.2.2")], False, None, id="one stands by"),
    ],
)
def test_when_it_is_done(tasks: list[Task], done: bool, again: float | None) -> None:
    changes, look = decide(here(web(), *tasks), "web", NOW)
    assert (phases(changes), look) == ({2: ReleasePhase.DONE} if done else {}, again)


def test_a_global_one_is_done_on_a_paused_node_too() -> None:
    """It keeps its task there, which was given way to like any other."""
    tasks = [new(1, on="n1", pinned="n1"), new(2, on="n2", pinned="n2")]
    records: list[Object] = [node("n1"), node("n2", availability=Availability.PAUSED), web(mode=Mode.GLOBAL)]
    ended = world(*records, of(web(mode=Mode.GLOBAL), 2, ReleasePhase.ROLLING), *tasks)
    assert phases(decide(ended, "web", NOW)[0]) == {2: ReleasePhase.DONE}


def test_nothing_to_run_is_done_at_once() -> None:
    assert phases(decide(here(web(0)), "web", NOW)[0]) == {2: ReleasePhase.DONE}


def test_a_job_is_done_when_it_has_finished() -> None:
    job = web(2, mode=Mode.JOB)
    assert phases(decide(here(job, new(1, State.FINISHED), new(2)), "web", NOW)[0]) == {}
    ended = here(job, new(1, State.FINISHED), new(2, State.FINISHED))
    assert phases(decide(ended, "web", NOW)[0]) == {2: ReleasePhase.DONE}


def test_a_job_is_not_done_by_a_slot_that_it_no_longer_has() -> None:
    job = web(2, mode=Mode.JOB)
    in_back_off = here(job, failed(1, attempt=0), new(2, State.FINISHED), new(3, State.FINISHED))
    assert phases(decide(in_back_off, "web", NOW)[0]) == {}


def test_a_job_that_is_come_back_to_is_not_done_before_it_has_run_again() -> None:
    job = web(1, mode=Mode.JOB)
    assert phases(decide(here(job, new(1, State.FINISHED), failed(1, generation=3, release=3)), "web", NOW)[0]) == {}


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        pytest.param(failed(1), True, id="the second in a row"),
        pytest.param(failed(1, attempt=0), False, id="the first: an engine may have a bad moment"),
        pytest.param(failed(1, started_at=NOW - 100, finished_at=NOW - 1), False, id="after a long life"),
        pytest.param(failed(1, reason=Reason.PORT_TAKEN), False, id="a host port that another program holds"),
        pytest.param(failed(1, created_at=BEGUN - 1), False, id="of an earlier time"),
        pytest.param(failed(1, release=1), False, id="of the former release"),
        pytest.param(new(1, ready=False, started_at=NOW - 60), True, id="not ready for too long"),
        pytest.param(new(1, ready=False, started_at=NOW - 59), False, id="not ready yet"),
        pytest.param(
            new(1, ready=False, started_at=NOW - 900, ready_changed_at=NOW - 59),
            False,
            id="not ready for a moment after it was for long",
        ),
        pytest.param(
            new(1, ready=False, started_at=NOW - 900, ready_changed_at=NOW - 60),
            True,
            id="no longer ready for too long",
        ),
        pytest.param(new(1, ready=False, started_at=NOW - 61, ready_changed_at=NOW - 2), True, id="ready now and then"),
        pytest.param(new(1, State.LOST), False, id="lost with its node"),
        pytest.param(new(1, State.REJECTED, attempt=1, started_at=None, finished_at=NOW), True, id="refused twice"),
    ],
)
def test_what_counts_as_failed(task: Task, counts: bool) -> None:
    changes, _ = decide(here(web(), task), "web", NOW)
    assert (phases(changes).get(2) is ReleasePhase.FAILED) is counts


def test_it_goes_back_to_nothing_of_a_service_that_was_removed() -> None:
    """One of its name was made anew while its tasks were on their way out."""
    anew = replace(web(), created_at=BEGUN)
    removed = replace(of(web(), 1, ReleasePhase.DONE, finished_at=1.0), created_at=BEGUN - 1)
    records: list[Object] = [node("n1"), anew, of(anew, 2, ReleasePhase.ROLLING), removed]
    changes, _ = decide(world(*records, failed(1), task(2, wanted=Wanted.REMOVED)), "web", NOW)
    assert not any(isinstance(one.after, Service) for one in changes)


def test_it_goes_back_to_the_last_that_was_done() -> None:
    changes, _ = decide(here(web(), failed(1)), "web", NOW)
    assert phases(changes) == {2: ReleasePhase.FAILED, 1: ReleasePhase.ROLLING}
    back = next(one.after for one in changes if isinstance(one.after, Service))
    assert back.release == 1
    again = next(one.after for one in changes if isinstance(one.after, Release) and one.after.number == 1)
    assert again.rolls_back == 2
    assert {one.by for one in changes} == {Owner.DEPLOYMENTS}
    assert "web.1.2: exited: exit code 1" in changes[0].message


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        pytest.param(here(web(on_failure=OnFailure.PAUSE), failed(1), task(2)), {2: ReleasePhase.PAUSED}, id="pause"),
        pytest.param(here(web(on_failure=OnFailure.CONTINUE), failed(1), task(2)), {2: ReleasePhase.ROLLING}, id="continue: it is noted"),
        pytest.param(here(web(failures_max=1), failed(1), task(2)), {2: ReleasePhase.ROLLING}, id="one may fail"),
        pytest.param(here(web(failures_max=1), failed(1), failed(2)), {2: ReleasePhase.FAILED, 1: ReleasePhase.ROLLING}, id="two may not"),
        pytest.param(here(web(failures_max=1), failed(2), failed_slots=(1,)), {2: ReleasePhase.FAILED, 1: ReleasePhase.ROLLING}, id="what failed before counts"),
        pytest.param(here(web(), failed(1), failed_slots=(1,), resumed_at=BEGUN + 2), {2: ReleasePhase.FAILED, 1: ReleasePhase.ROLLING}, id="the slots that were noted count"),
        pytest.param(here(web(), failed(1), task(2), before=ReleasePhase.FAILED), {2: ReleasePhase.PAUSED}, id="nothing to go back to, and tasks to be spared"),
        pytest.param(here(web(), failed(1), before=None), {2: ReleasePhase.ROLLING}, id="nothing to go back to, nor to be spared"),
        pytest.param(here(web(), failed(1), task(2), rolls_back=3), {2: ReleasePhase.PAUSED}, id="it does not go back and forth"),
        pytest.param(here(web(), failed(1), phase=ReleasePhase.PAUSED), {2: ReleasePhase.PAUSED}, id="paused already: it is noted"),
        pytest.param(here(web(), new(1), new(2), phase=ReleasePhase.PAUSED), {2: ReleasePhase.DONE}, id="paused, and yet it came right"),
        pytest.param(here(web(), failed(1), phase=ReleasePhase.DONE), {}, id="done: what fails later is the restart policy's"),
    ],
)  # fmt: skip
def test_what_follows(world: Snapshot, expected: dict[int, ReleasePhase]) -> None:
    assert phases(decide(world, "web", NOW)[0]) == expected


@pytest.mark.parametrize(
    ("former", "others", "words"),
    [
        pytest.param({"image": "OLD"}, [], "'OLD' is no image reference", id="admission refuses it now"),
        pytest.param({"ports": LISTENS}, [service("api", ports=LISTENS)], "port 8080 of the entries is service api's", id="another service has its port now"),
    ],
)  # fmt: skip
def test_what_may_not_be_wished_any_more_is_not_gone_back_to(
    former: dict[str, Any], others: list[Service], words: str
) -> None:
    earlier = replace(of(web(), 1, ReleasePhase.DONE, finished_at=1.0), spec=replace(web().spec, **former))
    records: list[Object] = [web(), of(web(), 2, ReleasePhase.ROLLING), earlier, *others]
    (change,) = decide(world(*records, failed(1), task(2)), "web", NOW)[0]
    assert isinstance(change.after, Release)
    assert (change.after.number, change.after.phase) == (2, ReleasePhase.PAUSED)
    assert change.message.startswith("a task of it failed: web.1.2: exited: exit code 1; release 1 may not be wished")
    assert words in change.message


def test_a_slot_that_is_given_up_has_failed() -> None:
    wished = service(release=2, restart=RestartPolicy(attempts_max=0), update=UpdateRules())
    changes, _ = decide(here(wished, failed(1, attempt=0)), "web", NOW)
    assert phases(changes)[2] is ReleasePhase.FAILED


def test_what_was_said_is_not_said_again() -> None:
    said = here(web(failures_max=2), failed(1), failed_slots=(1,), message="slots 1 failed so far")
    assert decide(said, "web", NOW)[0] == []


def test_a_paused_release_goes_on_saying_why() -> None:
    why = "a task of it failed: web.1.2: exited: exit code 1"
    changes, _ = decide(here(web(), failed(2), phase=ReleasePhase.PAUSED, failed_slots=(1,), message=why), "web", NOW)
    assert [(one.after.failed_slots, one.after.message) for one in changes if isinstance(one.after, Release)] == [
        ((1, 2), why)
    ]


def test_that_there_is_none_to_come_back_to_is_said() -> None:
    changes, _ = decide(here(web(), failed(1), task(2), before=ReleasePhase.FAILED), "web", NOW)
    assert "none to come back to" in changes[0].message
