"""Which tasks should exist: situations in, changes out."""

from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide.services import decide
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Availability, Kind, NodeStatus, Object, Release, ReleasePhase, Task
from longshore.model.placing import PlacementRules
from longshore.model.retention import TASKS_KEPT, Retention
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Dependency, Mode, RestartOn, RestartPolicy, ServiceSpec
from tests.situations import NOW, node, releases, said, service, task, world

WEB3 = service(replicas=3)
AGENT = service(mode=Mode.GLOBAL)
JOB = service(mode=Mode.JOB, replicas=2)
GONE = releases(service())
ANEW = replace(service(release=2), created_at=5.0)


def failed(generation: int, **fields: object) -> Task:
    return task(1, generation, State.FAILED, started_at=NOW - 1, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([WEB3], ["+web.1.1", "+web.2.1", "+web.3.1"], id="a new service gets a task in each slot"),
        pytest.param([WEB3, task(1), task(2), task(3)], [], id="all as wished: nothing"),
        pytest.param([WEB3, task(1), task(3)], ["+web.2.1"], id="an empty slot is filled"),
        pytest.param([WEB3, task(1), task(2, state=State.NEW), task(3)], [], id="a task that waits fills its slot"),
        pytest.param([service(), task(1), task(2)], ["web.2.1 wanted removed"], id="scaled down: the highest slot goes"),
        pytest.param([service(), task(1), task(2, state=State.NEW)], ["-web.2.1"], id="what was on no node is deleted"),
        pytest.param([service(replicas=0), task(1)], ["web.1.1 wanted removed"], id="scaled to nothing"),
        pytest.param([*GONE, task(1)], ["web.1.1 wanted removed"], id="service removed"),
        pytest.param([*GONE, task(1, state=State.STOPPED, wanted=Wanted.REMOVED, container_id="")], ["-web.1.1"], id="and forgotten once its container is gone"),
        pytest.param([*GONE, node("n1"), task(1, state=State.STOPPED, wanted=Wanted.REMOVED)], [], id="not before"),
        pytest.param([*GONE, node("n1", status=NodeStatus.DOWN), task(1, state=State.STOPPED, wanted=Wanted.REMOVED)], ["-web.1.1"], id="unless its node is down"),
        pytest.param([*GONE, task(1, state=State.STOPPED, wanted=Wanted.REMOVED)], ["-web.1.1"], id="or removed"),
        pytest.param(GONE, ["-web@1"], id="a removed service's releases go with its last task"),
        pytest.param([service(), failed(1)], ["+web.1.2"], id="a failed task is replaced"),
        pytest.param([service(), failed(1, attempt=1)], [], id="in a crash loop not at once"),
        pytest.param([service(), task(1, wanted=Wanted.STOPPED)], [], id="a task on its way out still holds its slot"),
        pytest.param([service(), task(1, state=State.STOPPED, wanted=Wanted.STOPPED)], ["+web.1.2"], id="then it is replaced"),
        pytest.param([service(), task(1, state=State.LOST)], ["+web.1.2"], id="a lost task is replaced"),
        pytest.param([service(), task(1), task(1, 2)], ["web.1.1 wanted removed"], id="of two in a slot the newer stays"),
        pytest.param([service(restart=RestartPolicy(attempts_max=0)), failed(1)], [], id="attempts spent: the slot stays empty"),
        pytest.param([service(release=2, restart=RestartPolicy(attempts_max=0)), failed(1)], ["+web.1.2"], id="a new release starts afresh"),
        pytest.param([service(release=2), task(1, release=2)], [], id="a release that nothing names is kept for a while"),
        pytest.param([service(release=12), task(1, release=12)], ["-web@1", "-web@2"], id="ten releases are kept"),
        pytest.param([service(release=12), task(1, release=1)], ["-web@2"], id="and those that a task runs"),
        pytest.param([ANEW, task(1, release=2)], ["-web@1"], id="none of a removed service is, once one of its name was made"),
        pytest.param([ANEW, task(1, release=2), task(2, wanted=Wanted.REMOVED)], [], id="but while its tasks go"),
        pytest.param([service(), task(1), task(1, 2, State.STARTING, relieves="web.1.1")], [], id="one that stands by is left alone"),
        pytest.param([service(), task(1, state=State.FAILED), task(1, 2, State.STARTING, relieves="web.1.1")], [], id="also once it is alone in its slot"),
        pytest.param([service(), task(1, wanted=Wanted.LEAVING)], [], id="a slot is not filled again before its task has left"),
        pytest.param([service(release=2), task(1, release=1)], [], id="one that a task runs is kept"),
        pytest.param([JOB], ["+web.1.1", "+web.2.1"], id="a job starts all its tasks"),
        pytest.param([JOB, task(1, state=State.FINISHED), task(2)], [], id="a job's finished slot is done"),
        pytest.param([JOB, task(1, state=State.FINISHED), task(2, state=State.FAILED)], ["+web.2.2"], id="a job's failed slot is not"),
        pytest.param([AGENT], [], id="global without nodes: nothing"),
        pytest.param([AGENT, node("b"), node("a")], ["+web.1.1", "+web.2.1"], id="global: one a node"),
        pytest.param([AGENT, node("a"), node("b"), task(1, on="a", pinned="a")], ["+web.2.1"], id="global: a new node gets one"),
        pytest.param([AGENT, node("a", status=NodeStatus.DOWN)], [], id="global: not on a node that is down"),
        pytest.param([AGENT, node("a", availability=Availability.PAUSED)], [], id="global: not on a paused node"),
        pytest.param([AGENT, node("a", availability=Availability.PAUSED), task(1, on="a", pinned="a")], [], id="global: a paused node keeps its own"),
        pytest.param([AGENT, node("a", availability=Availability.DRAINED), task(1, on="a", pinned="a")], ["web.1.1 wanted removed"], id="global: a drained node does not"),
    ],
)  # fmt: skip
def test_services(records: list[Object], expected: list[str]) -> None:
    changes, _ = decide(world(*records), "web", NOW)
    assert said(changes) == expected


def test_a_restart_that_has_to_wait_says_when_to_look_again() -> None:
    situation = world(service(), failed(1, attempt=2))
    changes, at = decide(situation, "web", NOW)
    assert changes == []
    assert at is not None
    assert 1.8 <= at - NOW <= 2.2, "two seconds, more or less"
    assert said(decide(situation, "web", at)[0]) == ["+web.1.2"]


def test_a_global_task_is_pinned_to_its_node() -> None:
    changes, _ = decide(world(AGENT, node("a"), node("b")), "web", NOW)
    assert [change.after.pinned for change in changes if isinstance(change.after, Task)] == ["a", "b"]


def test_history_keeps_the_newest_ended_tasks_of_a_slot() -> None:
    ended = [task(1, generation, State.STOPPED) for generation in range(1, TASKS_KEPT + 3)]
    changes, _ = decide(world(service(), *ended, task(1, TASKS_KEPT + 3)), "web", NOW)
    assert said(changes) == ["web.1.1 wanted removed", "web.1.2 wanted removed"]


def test_a_crash_loop_is_counted_from_task_to_task() -> None:
    changes, _ = decide(world(service(), failed(4, attempt=3)), "web", NOW + 60)
    assert [change.after.attempt for change in changes if isinstance(change.after, Task)] == [4]


def test_a_new_release_forgets_the_crash_loop_of_the_old() -> None:
    changes, _ = decide(world(service(release=2), failed(4, attempt=3)), "web", NOW)
    assert [change.after.attempt for change in changes if isinstance(change.after, Task)] == [0]


def test_every_change_says_why() -> None:
    changes, _ = decide(world(WEB3, failed(1), task(9)), "web", NOW)
    assert all(change.reason for change in changes)


@pytest.mark.parametrize(
    ("former", "pinned"),
    [
        pytest.param(task(1, state=State.STOPPED, wanted=Wanted.STOPPED, moves_to="n2"), "n2", id="stopped for its move"),
        pytest.param(task(1, state=State.STOPPED, wanted=Wanted.STOPPED), "", id="stopped for another reason"),
        pytest.param(failed(1, moves_to="n2"), "", id="ended before it could move"),
        pytest.param(task(1, state=State.STOPPED, wanted=Wanted.STOPPED, moves_to="n2", release=0), "", id="of another release"),
    ],
)  # fmt: skip
def test_what_was_stopped_to_move_is_started_where_it_was_to_go(former: Task, pinned: str) -> None:
    (change,), _ = decide(world(node("n1"), node("n2"), service(), former), "web", NOW)
    assert isinstance(change.after, Task)
    assert change.after.pinned == pinned


# -- what is over


DONE_JOB = Release(service="web", number=1, spec=ServiceSpec(image="i", mode=Mode.JOB), phase=ReleasePhase.DONE, finished_at=NOW - 60.0)  # fmt: skip


@pytest.mark.parametrize(
    ("kept", "expected", "look"),
    [
        (Retention(), [], None),
        (Retention(jobs_s=60.0), ["web"], None),
        (Retention(jobs_s=61.0), [], NOW + 1.0),
    ],
)
def test_a_job_that_is_done_goes_after_a_while(kept: Retention, expected: list[str], look: float | None) -> None:
    job = service(replicas=1, mode=Mode.JOB)
    here = Snapshot.restored(5, [(Kind.SERVICE, job), (Kind.RELEASE, DONE_JOB), (Kind.TASK, task(1, 1, State.FINISHED, finished_at=NOW - 60.0))], ["web", "web@1", "web.1.1"])  # fmt: skip
    changes, again = decide(here, "web", NOW, kept)
    assert ([one.id for one in changes if one.kind is Kind.SERVICE and one.after is None], again) == (expected, look)


@pytest.mark.parametrize(
    ("second", "look"),
    [
        pytest.param(None, None, id="not begun"),
        pytest.param(task(2), None, id="at work"),
        pytest.param(task(2, state=State.FINISHED, finished_at=NOW - 20), NOW + 40, id="done later"),
    ],
)
def test_a_job_that_was_scaled_up_once_done_is_kept_until_that_is_done(second: Task | None, look: float | None) -> None:
    job = service(replicas=2, mode=Mode.JOB)
    tasks = [task(1, state=State.FINISHED, finished_at=NOW - 60), *([second] if second is not None else [])]
    changes, again = decide(world(job, DONE_JOB, *tasks), "web", NOW, Retention(jobs_s=60.0))
    assert not [one for one in changes if one.kind is Kind.SERVICE]
    assert again == look


def test_a_job_that_others_wait_for_stays() -> None:
    job = service(replicas=1, mode=Mode.JOB)
    waiting = replace(service(), name="api", spec=ServiceSpec(image="i", depends=(Dependency(service="web"),)))
    here = Snapshot.restored(5, [(Kind.SERVICE, job), (Kind.SERVICE, waiting), (Kind.RELEASE, DONE_JOB), (Kind.TASK, task(1, 1, State.FINISHED, finished_at=NOW - 60.0))], ["web", "api", "web@1", "web.1.1"])  # fmt: skip
    assert decide(here, "web", NOW, Retention(jobs_s=0.0)) == ([], None)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_so_many_ended_tasks_are_kept(count: int) -> None:
    ended = [task(1, generation, State.STOPPED) for generation in range(1, 8)]
    changes, _ = decide(world(service(), *ended, task(1, 8)), "web", NOW, Retention(tasks=count))
    assert [one.id for one in changes] == [f"web.1.{generation}" for generation in range(1, 8 - count)]


@pytest.mark.parametrize("condition", [RestartOn.ANY, RestartOn.NONE])
@pytest.mark.parametrize("release", [1, 2])
def test_a_slot_is_not_given_up_for_what_only_stood_by(condition: RestartOn, release: int) -> None:
    """It failed to take over from one that filled the slot for long afterwards, until its node was lost."""
    web = service(release=release, restart=RestartPolicy(condition=condition, attempts_max=3))
    lost = task(1, state=State.LOST, finished_at=NOW)
    stood_by = failed(2, release=release, relieves="web.1.1", attempt=3, finished_at=NOW - 50)
    changes, _ = decide(world(web, lost, stood_by), "web", NOW)
    (task_made,) = [change.after for change in changes if isinstance(change.after, Task)]
    assert (task_made.id, task_made.attempt, task_made.message) == ("web.1.3", 0, f"replaces web.1.1: {lost.reason}")


def waiting(before: Mode, after: Mode, replicas: int = 1, **spec: Any) -> list[Object]:
    """A service whose second release waits for a service that is not there, and the first, which was done."""
    former = Release(service="web", number=1, spec=service(mode=before, replicas=3).spec, phase=ReleasePhase.DONE)
    return [service(release=2, mode=after, replicas=replicas, depends=(Dependency(service="db"),), **spec), former]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([*waiting(Mode.GLOBAL, Mode.GLOBAL, placement=PlacementRules(constraints=("node.labels.zone==a",))), task(1, pinned="n1"), task(2, on="n2", pinned="n2")], [], id="on other nodes"),
        pytest.param([*waiting(Mode.GLOBAL, Mode.GLOBAL, placement=PlacementRules(constraints=("node.labels.zone==a",))), task(1, pinned="n1"), task(2, state=State.LOST, on="n2", pinned="n2")], ["+web.2.2"], id="on other nodes: a slot goes on with its release"),
        pytest.param([*waiting(Mode.REPLICATED, Mode.GLOBAL), task(1), task(2, on="n2"), task(3)], [], id="on every node instead of some"),
        pytest.param([*waiting(Mode.REPLICATED, Mode.GLOBAL), task(1), task(2, on="n2"), task(3, state=State.LOST)], ["+web.3.2"], id="on every node: a slot goes on as it was"),
        pytest.param([*waiting(Mode.GLOBAL, Mode.REPLICATED), task(1, pinned="n1"), task(2, on="n2", pinned="n2")], [], id="on some nodes instead of every"),
        pytest.param([*waiting(Mode.REPLICATED, Mode.GLOBAL), *(task(slot) for slot in range(1, 6))], [], id="on every node: those too that it was scaled to"),
        pytest.param([*waiting(Mode.REPLICATED, Mode.GLOBAL), task(1), task(1, 2, State.FAILED, release=3, relieves="web.1.1"), task(2), task(3, state=State.FAILED, release=3), task(3, 2)], [], id="on every node: whatever was tried meanwhile"),
        pytest.param([*waiting(Mode.REPLICATED, Mode.JOB), task(1), task(2), task(3)], [], id="a job instead"),
        pytest.param([*waiting(Mode.REPLICATED, Mode.REPLICATED), task(1), task(2)], ["web.2.1 wanted removed"], id="but how many there are is the newest wish"),
        pytest.param([*waiting(Mode.REPLICATED, Mode.GLOBAL), task(1), task(4, on="n1", release=2, pinned="n1")], ["web.1.1 wanted removed"], id="not once the release has begun"),
    ],
)  # fmt: skip
def test_what_runs_is_not_taken_down_by_a_release_that_waits(records: list[Object], expected: list[str]) -> None:
    changes, _ = decide(world(node("n1", zone="a"), node("n2"), *records), "web", NOW)
    assert said(changes) == expected


def test_who_took_a_slot_over_and_failed_is_judged_although_the_former_ended_later() -> None:
    web = service(release=2)
    records = [task(1, 1, State.STOPPED, finished_at=NOW), failed(2, release=2, attempt=2, finished_at=NOW - 1)]
    changes, at = decide(world(web, *records), "web", NOW)
    assert changes == []
    assert at is not None


def test_a_slot_is_one_nodes_wherever_its_tasks_were_sent_while_the_service_was_not_global() -> None:
    """Else the two nodes would share it, and one of them be without a task for as long as its records are kept."""
    agent = service(release=3, mode=Mode.GLOBAL)
    records: list[Object] = [
        node("n1"),
        node("n2"),
        node("n3"),
        task(1, 1, State.STOPPED, pinned="n1", wanted=Wanted.STOPPED),
        task(1, 2, State.STOPPED, release=2, wanted=Wanted.STOPPED, moves_to="n3"),
        task(1, 3, State.LOST, on="n3", release=2, pinned="n3"),
        task(1, 5, on="n3", release=3, pinned="n3"),
        task(2, 2, on="n2", release=3, pinned="n2"),
    ]
    changes, _ = decide(world(agent, *records), "web", NOW)
    assert said(changes) == ["+web.3.1"]
    assert [change.after.pinned for change in changes if isinstance(change.after, Task)] == ["n1"]
