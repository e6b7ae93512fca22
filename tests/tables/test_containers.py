"""What a worker does next with one task's containers, and what it says of them."""

import pytest
from msgspec import structs

from longshore.decide.containers import Progress, next_step, observe
from longshore.model.containers import (
    Assigned,
    Container,
    Create,
    Health,
    Prepare,
    Remove,
    Start,
    Status,
    Stop,
    fingerprint,
)
from longshore.model.lifecycle import State, Wanted
from longshore.model.reasons import Reason
from longshore.model.spec import HealthCheck
from tests.situations import service, task

CHECKED = HealthCheck(test=("CMD", "true"))


def assigned(state: State = State.PLACED, wanted: Wanted = Wanted.RUNNING, **spec: object) -> Assigned:
    return Assigned(task=task(1, state=state, wanted=wanted), spec=structs.replace(service().spec, **spec))


def seen(status: Status = Status.RUNNING, of: Assigned | None = None, **fields: object) -> Container:
    return Container(
        id="c1",
        task="web.1.1",
        fingerprint=fingerprint(of or assigned()),
        status=status,
        **fields,  # type: ignore[arg-type]
    )


READY = Progress(State.PREPARING, Reason.PULLING, prepared=True)
STARTED = Progress(State.RUNNING, Reason.STARTED)
REJECTED = Progress(State.REJECTED, Reason.IMAGE_MISSING, "no such image")
STALE = structs.replace(seen(), fingerprint="another")


@pytest.mark.parametrize(
    ("task", "containers", "progress", "expected"),
    [
        pytest.param(assigned(), [], None, Prepare, id="nothing there: the image first"),
        pytest.param(assigned(), [], READY, Create, id="then the container"),
        pytest.param(assigned(), [seen(Status.CREATED)], None, Start, id="then its start; also after a crash in between"),
        pytest.param(assigned(), [seen()], None, None, id="runs: adopt it"),
        pytest.param(assigned(), [seen(Status.EXITED)], None, None, id="exited: kept for its logs, never revived"),
        pytest.param(assigned(State.RUNNING), [], None, None, id="gone: never made again"),
        pytest.param(assigned(), [], STARTED, None, id="gone, by this worker's own knowledge"),
        pytest.param(assigned(), [], REJECTED, None, id="refused: not tried again"),
        pytest.param(assigned(), [seen(Status.CREATED)], REJECTED, None, id="start refused: not tried again"),
        pytest.param(assigned(wanted=Wanted.STOPPED), [seen()], None, Stop, id="to be stopped"),
        pytest.param(assigned(wanted=Wanted.STOPPED), [seen(Status.EXITED)], None, None, id="stopped is kept"),
        pytest.param(assigned(wanted=Wanted.STOPPED), [], None, None, id="to be stopped before it began: nothing is begun"),
        pytest.param(assigned(wanted=Wanted.STOPPED), [seen(Status.CREATED)], None, Remove, id="to be stopped before its start: a start on its way finds nothing"),
        pytest.param(assigned(State.STOPPED, Wanted.STOPPED), [seen()], None, Stop, id="ended, and runs again: stopped"),
        pytest.param(assigned(), [seen()], REJECTED, Stop, id="ended by this worker's own knowledge, and runs again"),
        pytest.param(assigned(wanted=Wanted.REMOVED), [seen()], None, Stop, id="to be removed: gently first"),
        pytest.param(assigned(wanted=Wanted.REMOVED), [seen(Status.EXITED)], None, Remove, id="then removed"),
        pytest.param(assigned(State.FAILED, Wanted.REMOVED), [seen(Status.EXITED)], None, Remove, id="history is removed when told"),
        pytest.param(assigned(State.FAILED), [seen(Status.EXITED)], None, None, id="history is kept"),
        pytest.param(assigned(State.LOST), [seen()], None, Stop, id="lost while away: given up"),
        pytest.param(None, [seen()], None, Stop, id="not ours any more: stopped"),
        pytest.param(None, [seen(Status.EXITED)], None, Remove, id="and removed"),
        pytest.param(assigned(), [STALE], None, Stop, id="an earlier task of the same id is never adopted"),
    ],
)  # fmt: skip
def test_next_step(
    task: Assigned | None, containers: list[Container], progress: Progress | None, expected: type | None
) -> None:
    step = next_step(task, containers, progress, cluster="c", node="n1")
    assert (type(step) if step is not None else None) is expected


@pytest.mark.parametrize(
    ("task", "containers", "progress", "expected"),
    [
        pytest.param(assigned(), [], None, (State.ACCEPTED, Reason.ACCEPTED, False), id="taken on"),
        pytest.param(assigned(), [], READY, (State.PREPARING, Reason.PULLING, False), id="getting the image"),
        pytest.param(assigned(), [seen(Status.CREATED)], None, (State.STARTING, Reason.STARTING, False), id="made"),
        pytest.param(assigned(), [seen()], None, (State.RUNNING, Reason.STARTED, True), id="runs; without a check it is ready"),
        pytest.param(assigned(health=HealthCheck(test=("NONE",))), [seen(of=assigned(health=HealthCheck(test=("NONE",))))], None, (State.RUNNING, Reason.STARTED, True), id="a check that is off"),
        pytest.param(assigned(health=CHECKED), [seen(of=assigned(health=CHECKED), health=Health.STARTING)], None, (State.RUNNING, Reason.STARTED, False), id="not ready before its check passes"),
        pytest.param(assigned(health=CHECKED), [seen(of=assigned(health=CHECKED), health=Health.HEALTHY)], None, (State.RUNNING, Reason.HEALTHY, True), id="its check passes"),
        pytest.param(assigned(health=CHECKED), [seen(of=assigned(health=CHECKED), health=Health.UNHEALTHY)], None, (State.RUNNING, Reason.UNHEALTHY, False), id="its check fails"),
        pytest.param(assigned(), [seen(Status.EXITED, exit_code=0)], None, (State.FINISHED, Reason.FINISHED, False), id="finished"),
        pytest.param(assigned(), [seen(Status.EXITED, exit_code=3)], None, (State.FAILED, Reason.EXITED, False), id="failed"),
        pytest.param(assigned(), [seen(Status.EXITED, exit_code=137, oom_killed=True)], None, (State.FAILED, Reason.OOM_KILLED, False), id="out of memory"),
        pytest.param(assigned(State.RUNNING), [], None, (State.FAILED, Reason.CONTAINER_GONE, False), id="gone"),
        pytest.param(assigned(), [], REJECTED, (State.REJECTED, Reason.IMAGE_MISSING, False), id="refused"),
        pytest.param(assigned(wanted=Wanted.STOPPED), [seen(Status.EXITED, exit_code=143)], None, (State.STOPPED, Reason.STOPPED, False), id="stopped as wanted"),
        pytest.param(assigned(wanted=Wanted.STOPPED), [], None, (State.STOPPED, Reason.STOPPED, False), id="stopped before it began"),
        pytest.param(assigned(wanted=Wanted.STOPPED), [seen(Status.CREATED)], None, (State.STARTING, Reason.STARTING, False), id="not stopped as long as a start may be on its way"),
        pytest.param(assigned(State.STARTING, Wanted.REMOVED), [], None, (State.STOPPED, Reason.STOPPED, False), id="removed"),
        pytest.param(assigned(State.FAILED, Wanted.REMOVED), [], None, (State.FAILED, Reason.CONTAINER_REMOVED, False), id="history removed"),
        pytest.param(assigned(State.FAILED), [], None, None, id="history that somebody removed is no news"),
        pytest.param(assigned(State.LOST), [seen()], None, None, id="what is lost is not ours to speak of"),
    ],
)  # fmt: skip
def test_observe(
    task: Assigned,
    containers: list[Container],
    progress: Progress | None,
    expected: tuple[State, Reason, bool] | None,
) -> None:
    said = observe(task, containers, progress)
    assert (None if said is None else (said.state, said.reason, said.ready)) == expected


def test_a_container_is_known_by_the_moment_of_its_tasks_creation() -> None:
    first = assigned()
    again = structs.replace(first, task=structs.replace(first.task, created_at=first.task.created_at + 1))
    assert fingerprint(first) != fingerprint(again)


def test_a_worker_that_knows_more_fields_of_a_spec_finds_the_same_containers_its_own() -> None:
    assert fingerprint(assigned()) == fingerprint(assigned(command=("sh",)))
