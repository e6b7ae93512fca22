"""When a command may say that it is done: row by row, what the watches tell and what follows from it."""

import pytest
from msgspec.structs import replace

from longshore.cli.convergence import SERVICES, TASKS_OF_APP, Convergence, Goal, Outcome, in_trouble, watch_of
from longshore.cli.references import newest, standing
from longshore.cli.trouble import with_log
from longshore.client import Broken, Gone, Item, Ready
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import ReleasePhase, Task
from longshore.model.spec import HealthCheck, Mode, ServiceSpec
from longshore.model.views import Phase, ServiceStatus, ServiceView
from tests.tables.talking import task

STEADY_S = 2.0
WEB = watch_of("web")


def view(
    name: str = "web",
    phase: Phase = Phase.STARTING,
    *,
    settled: bool = False,
    ready: int = 0,
    wanted: int = 1,
    release: int = 1,
    rollout: ReleasePhase = ReleasePhase.DONE,
    rolls_back: int = 0,
    **spec: object,
) -> ServiceView:
    status = ServiceStatus(
        phase=phase,
        wanted=wanted,
        running=ready,
        ready=ready,
        updated=ready,
        finished=0,
        failed=0,
        pending=0,
        settled=settled,
        rollout=rollout,
        rolls_back=rolls_back,
    )
    return ServiceView(
        name=name,
        app="",
        spec=ServiceSpec(image="x", **spec),  # type: ignore[arg-type]
        status=status,
        release=release,
        created_at=1.0,
        updated_at=1.0 if release == 1 else 2.0,
        revision=1,
    )


SETTLED = view(phase=Phase.RUNNING, settled=True, ready=1)
RUNNING = task("web.1.1", state=State.RUNNING, ready=True, node="n1", container_id="c")


def convergence(
    *known: Task, settle: tuple[str, ...] = ("web",), leave: tuple[str, ...] = (), release: bool = False
) -> Convergence:
    one = Convergence(Goal(settle=settle, leave=leave, release=release), known, steady_s=STEADY_S)
    if settle:
        one.expect(SERVICES)
    for name in (*settle, *leave):
        one.expect(watch_of(name))
    return one


def ready(one: Convergence, *sources: str) -> None:
    for source in sources or (SERVICES, WEB):
        one.take(source, Ready())


def test_nothing_is_decided_before_every_watch_has_told_everything() -> None:
    one = convergence(RUNNING)
    one.take(SERVICES, Item(SETTLED))
    one.take(WEB, Item(RUNNING))
    assert one.outcome(0.0) is None
    ready(one, SERVICES)
    assert one.outcome(0.0) is None
    ready(one, WEB)
    assert one.outcome(0.0) is Outcome.CONVERGED


def test_what_was_as_wished_before_is_so_at_once() -> None:
    one = convergence(RUNNING)
    one.take(SERVICES, Item(SETTLED))
    assert one.take(WEB, Item(RUNNING)) is None
    ready(one)
    assert one.outcome(0.0) is Outcome.CONVERGED


def test_what_newly_runs_must_keep_running() -> None:
    one = convergence()
    ready(one)
    one.take(SERVICES, Item(SETTLED))
    one.take(WEB, Item(RUNNING))
    assert one.outcome(10.0) is None
    assert one.outcome(11.9) is None
    assert one.outcome(12.0) is Outcome.CONVERGED


def test_what_dies_meanwhile_begins_again() -> None:
    one = convergence()
    ready(one)
    one.take(SERVICES, Item(SETTLED))
    one.take(WEB, Item(RUNNING))
    assert one.outcome(10.0) is None
    one.take(WEB, Item(replace(RUNNING, state=State.FAILED, ready=False)))
    one.take(SERVICES, Item(view(phase=Phase.DEGRADED)))
    assert one.outcome(13.0) is None
    one.take(SERVICES, Item(SETTLED))
    one.take(WEB, Item(replace(RUNNING, id="web.1.2", generation=2)))
    assert one.outcome(14.0) is None
    assert one.outcome(16.0) is Outcome.CONVERGED


def test_a_health_check_is_believed() -> None:
    one = convergence()
    ready(one)
    one.take(SERVICES, Item(replace(SETTLED, spec=ServiceSpec(image="x", health=HealthCheck(test=("CMD", "x"))))))
    one.take(WEB, Item(RUNNING))
    assert one.outcome(0.0) is Outcome.CONVERGED


def test_a_job_is_done_when_it_is_done() -> None:
    one = convergence()
    ready(one)
    job = view(phase=Phase.COMPLETE, settled=True, mode=Mode.JOB)
    one.take(SERVICES, Item(replace(job, status=replace(job.status, finished=1))))
    assert one.outcome(0.0) is None
    one.take(WEB, Item(task("web.1.1", state=State.FINISHED)))
    assert one.outcome(0.1) is Outcome.CONVERGED


def test_a_service_that_is_ahead_of_its_tasks_is_not_believed_at_once() -> None:
    one = convergence()
    ready(one)
    one.take(SERVICES, Item(SETTLED))
    assert one.outcome(0.0) is None
    assert one.outcome(STEADY_S) is Outcome.CONVERGED


def test_a_health_check_is_not_believed_before_its_task_is_told() -> None:
    one = convergence()
    ready(one)
    one.take(SERVICES, Item(replace(SETTLED, spec=ServiceSpec(image="x", health=HealthCheck(test=("CMD", "x"))))))
    assert one.outcome(0.0) is None
    one.take(WEB, Item(RUNNING))
    assert one.outcome(0.1) is Outcome.CONVERGED


def test_only_the_phase_failed_is_failure() -> None:
    one = convergence()
    ready(one)
    one.take(WEB, Item(task("web.1.3", state=State.FAILED, attempt=2)))
    one.take(SERVICES, Item(view(phase=Phase.DEGRADED)))
    assert one.outcome(0.0) is None
    one.take(SERVICES, Item(view(phase=Phase.FAILED)))
    assert one.outcome(0.0) is Outcome.FAILED


@pytest.mark.parametrize(
    ("release", "changed"),
    [(1, False), (2, True), (1, True)],
    ids=["the first one", "an update", "gone back to the first one"],
)
def test_a_release_is_waited_for_until_it_was_judged_if_there_is_one_to_come_back_to(
    release: int, changed: bool
) -> None:
    one = convergence(RUNNING, release=True)
    ready(one)
    serves = view(settled=True, ready=1, release=release, rollout=ReleasePhase.ROLLING)
    serves = replace(serves, updated_at=serves.created_at + changed)
    one.take(SERVICES, Item(serves))
    one.take(WEB, Item(RUNNING))
    assert one.outcome(60.0) is (None if changed else Outcome.CONVERGED)
    one.take(SERVICES, Item(replace(serves, status=replace(serves.status, rollout=ReleasePhase.DONE))))
    assert one.outcome(61.0) is Outcome.CONVERGED


def test_a_release_that_was_taken_back_is_followed_to_the_end_of_that() -> None:
    one = convergence(RUNNING, release=True)
    ready(one)
    one.take(SERVICES, Item(view(release=3, rollout=ReleasePhase.ROLLING)))
    one.take(WEB, Item(RUNNING))
    one.take(SERVICES, Item(view(release=2, rollout=ReleasePhase.ROLLING, rolls_back=3)))
    assert one.outcome(1.0) is None
    one.take(SERVICES, Item(view(settled=True, ready=1, release=2, rollout=ReleasePhase.DONE, rolls_back=3)))
    assert one.outcome(2.0) is Outcome.FAILED


@pytest.mark.parametrize(
    ("release", "rolls_back"), [(4, 0), (2, 4)], ids=["as wished by another", "where another's was taken back"]
)
def test_a_release_in_whose_place_another_came_is_failure(release: int, rolls_back: int) -> None:
    one, scaled = convergence(RUNNING, release=True), convergence(RUNNING)
    for each in (one, scaled):
        ready(each)
        each.take(SERVICES, Item(view(release=3, rollout=ReleasePhase.ROLLING)))
        each.take(WEB, Item(RUNNING))
        there = view(settled=True, ready=1, release=release, rollout=ReleasePhase.DONE, rolls_back=rolls_back)
        each.take(SERVICES, Item(there))
    assert one.outcome(1.0) is Outcome.FAILED
    assert [each.name for each in one.overtaken()] == ["web"]
    assert scaled.outcome(1.0) is Outcome.CONVERGED, "how many there are is of no release"


def test_a_service_that_somebody_removes_is_failure() -> None:
    one = convergence()
    ready(one)
    one.take(SERVICES, Gone("other"))
    one.take(SERVICES, Item(view()))
    assert one.outcome(0.0) is None
    one.take(SERVICES, Gone("web"))
    assert one.outcome(0.0) is Outcome.FAILED
    assert one.lost == {"web"}


def test_other_services_do_not_count() -> None:
    one = convergence(RUNNING)
    one.take(SERVICES, Item(view("other", Phase.FAILED)))
    one.take(SERVICES, Item(SETTLED))
    one.take(WEB, Item(RUNNING))
    ready(one)
    assert one.outcome(0.0) is Outcome.CONVERGED


def test_leaving_is_done_when_the_last_task_is_gone() -> None:
    one = convergence(RUNNING, settle=(), leave=("web",))
    one.take(WEB, Item(RUNNING))
    ready(one, WEB)
    assert one.outcome(0.0) is None
    told = one.take(WEB, Item(replace(RUNNING, wanted=Wanted.REMOVED)))
    assert told is not None
    assert not told.gone
    assert one.outcome(0.0) is None
    told = one.take(WEB, Gone("web.1.1"))
    assert told is not None
    assert told.gone
    assert one.outcome(0.0) is Outcome.CONVERGED


def test_an_apps_watch_is_not_believed_about_what_leaves_it() -> None:
    one = convergence(RUNNING, settle=("api",), leave=("web",))
    one.take(WEB, Item(RUNNING))
    one.take(TASKS_OF_APP, Gone("web.1.1"))
    assert "web.1.1" in one.tasks
    one.take(TASKS_OF_APP, Item(task("api.1.1")))
    assert "api.1.1" in one.tasks


def test_nothing_is_decided_while_a_watch_is_broken() -> None:
    one = convergence()
    ready(one)
    one.take(SERVICES, Item(SETTLED))
    one.take(WEB, Item(RUNNING))
    assert one.outcome(0.0) is None
    one.take(WEB, Broken())
    assert one.outcome(5.0) is None
    one.take(WEB, Ready())
    assert one.outcome(6.0) is None
    assert one.outcome(6.0 + STEADY_S) is Outcome.CONVERGED


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": State.FAILED, "ready": False}, True),
        ({"ready": False}, True),
        ({"wanted": Wanted.STOPPED}, True),
        ({"message": "again the same"}, False),
        ({"revision": 9}, False),
    ],
)
def test_a_line_is_a_change_of_state(change: dict[str, object], told: bool) -> None:
    one = convergence(RUNNING)
    assert (one.take(WEB, Item(replace(RUNNING, **change))) is not None) is told


def test_an_ended_task_is_told_once() -> None:
    one = convergence()
    ended = replace(RUNNING, state=State.FAILED, ready=False)
    assert one.take(WEB, Item(ended)) is not None
    assert one.take(WEB, Item(replace(ended, wanted=Wanted.REMOVED))) is None


@pytest.mark.parametrize(
    ("one", "trouble"),
    [
        (RUNNING, False),
        (replace(RUNNING, ready=False), True),
        (replace(RUNNING, attempt=2), True),
        (task("web.1.1"), True),
        (task("web.1.1", state=State.FAILED), True),
        (task("web.1.1", state=State.LOST), True),
        (task("web.1.1", state=State.FAILED, wanted=Wanted.REMOVED), False),
        (task("web.1.1", state=State.FINISHED), False),
        (task("web.1.1", state=State.STOPPED, wanted=Wanted.STOPPED), False),
        (replace(RUNNING, ready=False, wanted=Wanted.STOPPED), False),
    ],
)
def test_trouble(one: Task, trouble: bool) -> None:
    assert in_trouble(one) is trouble


def test_the_newest_are_by_slot() -> None:
    tasks = [task("web.10.1"), task("web.2.1", state=State.FAILED), task("web.2.2"), replace(RUNNING, attempt=0)]
    assert [one.id for one in newest(tasks)] == ["web.1.1", "web.2.2", "web.10.1"]


def test_the_log_is_of_the_newest_that_had_a_container() -> None:
    old = task("web.1.1", state=State.FAILED, container_id="a")
    newer = task("web.1.2", state=State.FAILED, container_id="b")
    waiting = task("web.1.3")
    other = task("web.2.9", container_id="c")
    assert with_log([old, newer, waiting, other], waiting) == newer
    assert with_log([waiting], waiting) is None


def test_who_stands_for_a_slot() -> None:
    tasks = [
        task("web.1.1", state=State.RUNNING),
        task("web.1.2", state=State.FAILED),
        task("web.2.1", state=State.RUNNING, wanted=Wanted.STOPPED),
        task("web.2.2", state=State.FAILED),
        task("web.3.1", state=State.RUNNING),
        task("web.3.2", state=State.STARTING, relieves="web.3.1"),
    ]
    assert [one.id for one in standing(tasks)] == ["web.1.1", "web.2.2", "web.3.1"]
