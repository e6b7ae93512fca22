"""What a worker does next with one task's containers, and what it says of them."""

import pytest
from msgspec import structs

from longshore.decide.containers import UNKNOWN, Progress, judge, next_step, observe, to_probe
from longshore.model.containers import (
    Assigned,
    Checks,
    Container,
    Create,
    Health,
    Prepare,
    Remove,
    Start,
    Status,
    Stop,
    Verdict,
    fingerprint,
    order_for,
    target_of,
)
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import PublishedPort
from longshore.model.reasons import Reason
from longshore.model.spec import HealthCheck, HttpProbe, Probe, Protocol, TcpProbe
from tests.situations import service, task

CHECKED = HealthCheck(test=("CMD", "true"))
ASKED = Probe(http=HttpProbe(port=80))
PASSES, FAILS = Verdict(passes=True), Verdict(passes=False, output="GET /: 500 Internal Server Error")
DEAD, ALIVE, READINESS, UNREADY = Checks(FAILS), Checks(PASSES), Checks(readiness=PASSES), Checks(readiness=FAILS)


def assigned(state: State = State.PLACED, wanted: Wanted = Wanted.RUNNING, **spec: object) -> Assigned:
    return Assigned(task=task(1, state=state, wanted=wanted), spec=structs.replace(service().spec, **spec))


def seen(status: Status = Status.RUNNING, of: Assigned | None = None, **fields: object) -> Container:
    return Container(
        id="c1",
        task="web.1.1",
        fingerprint=fingerprint((of or assigned()).task),
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
        pytest.param(assigned(), [seen(Status.EXITED, exit_code=0, oom_killed=True)], None, (State.FINISHED, Reason.FINISHED, False), id="a child was out of memory, and it did without"),
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
    assert fingerprint(first.task) != fingerprint(again.task)


def test_a_worker_that_knows_more_fields_of_a_spec_finds_the_same_containers_its_own() -> None:
    orders = [order_for(one, cluster="c1", node="n1") for one in (assigned(), assigned(command=("sh",)))]
    assert orders[0].spec != orders[1].spec
    assert orders[0].fingerprint == orders[1].fingerprint


# -- the worker's own probes


@pytest.mark.parametrize(
    ("task", "containers", "progress", "checks", "expected"),
    [
        pytest.param(assigned(liveness=ASKED), [seen()], STARTED, UNKNOWN, None, id="nothing is known yet: it goes on"),
        pytest.param(assigned(liveness=ASKED), [seen()], STARTED, ALIVE, None, id="alive"),
        pytest.param(assigned(liveness=ASKED), [seen()], STARTED, DEAD, Stop, id="not alive: stopped"),
        pytest.param(assigned(liveness=ASKED), [seen(Status.EXITED)], STARTED, DEAD, None, id="then kept for its logs, never revived"),
        pytest.param(assigned(readiness=ASKED), [seen()], STARTED, UNREADY, None, id="not ready: left alone"),
        pytest.param(assigned(wanted=Wanted.REMOVED, liveness=ASKED), [seen(Status.EXITED)], STARTED, DEAD, Remove, id="to be removed: the wish is stronger"),
    ],
)  # fmt: skip
def test_next_step_of_what_is_probed(
    task: Assigned, containers: list[Container], progress: Progress | None, checks: Checks, expected: type | None
) -> None:
    step = next_step(task, containers, progress, checks, cluster="c", node="n1")
    assert (type(step) if step is not None else None) is expected


def told_ready(readiness: Probe) -> Assigned:
    """A task that the manager was told is ready, as a worker gets it that comes back."""
    one = assigned(State.RUNNING, readiness=readiness)
    return structs.replace(one, task=structs.replace(one.task, ready=True))


HEALTHY, SICK = seen(health=Health.HEALTHY), seen(health=Health.UNHEALTHY, health_output="no")


@pytest.mark.parametrize(
    ("task", "container", "checks", "expected"),
    [
        pytest.param(assigned(liveness=ASKED), seen(), UNKNOWN, (State.RUNNING, Reason.STARTED, True, ""), id="liveness alone: ready at once"),
        pytest.param(assigned(liveness=ASKED), seen(), ALIVE, (State.RUNNING, Reason.STARTED, True, ""), id="that it is alive is no news"),
        pytest.param(assigned(liveness=ASKED), seen(), DEAD, (State.RUNNING, Reason.UNHEALTHY, False, FAILS.output), id="not alive: out of rotation while it is stopped"),
        pytest.param(assigned(liveness=ASKED), seen(Status.EXITED, exit_code=0), DEAD, (State.FAILED, Reason.UNHEALTHY, False, FAILS.output), id="then failed, whatever its exit code"),
        pytest.param(assigned(liveness=ASKED), seen(Status.EXITED, exit_code=137, oom_killed=True), DEAD, (State.FAILED, Reason.OOM_KILLED, False, "the machine ran out of memory"), id="out of memory is why it did not answer"),
        pytest.param(assigned(liveness=ASKED), seen(Status.EXITED, exit_code=137), UNKNOWN, (State.FAILED, Reason.EXITED, False, "exit code 137"), id="stopped, and the worker has forgotten why"),
        pytest.param(assigned(wanted=Wanted.STOPPED, liveness=ASKED), seen(Status.EXITED, exit_code=137), DEAD, (State.STOPPED, Reason.STOPPED, False, ""), id="to be stopped anyway"),
        pytest.param(assigned(readiness=ASKED), seen(), UNKNOWN, (State.RUNNING, Reason.STARTED, False, "its check has not passed yet"), id="readiness: not ready before it has passed"),
        pytest.param(assigned(readiness=ASKED), seen(), READINESS, (State.RUNNING, Reason.HEALTHY, True, ""), id="it passes"),
        pytest.param(assigned(readiness=ASKED), seen(), UNREADY, (State.RUNNING, Reason.UNHEALTHY, False, FAILS.output), id="it fails"),
        pytest.param(assigned(readiness=ASKED), seen(Status.EXITED, exit_code=0), UNREADY, (State.FINISHED, Reason.FINISHED, False, ""), id="it failed, and the task came to its own end"),
        pytest.param(told_ready(readiness=ASKED), seen(), UNKNOWN, (State.RUNNING, Reason.HEALTHY, True, ""), id="a worker that comes back goes by what it had told"),
        pytest.param(told_ready(readiness=ASKED), seen(), UNREADY, (State.RUNNING, Reason.UNHEALTHY, False, FAILS.output), id="until it knows better"),
        pytest.param(assigned(health=CHECKED, readiness=ASKED), HEALTHY, UNKNOWN, (State.RUNNING, Reason.STARTED, False, "its check has not passed yet"), id="the engine's check alone is not enough"),
        pytest.param(assigned(health=CHECKED, readiness=ASKED), seen(health=Health.STARTING), READINESS, (State.RUNNING, Reason.STARTED, False, "its check has not passed yet"), id="nor is readiness alone"),
        pytest.param(assigned(health=CHECKED, readiness=ASKED), HEALTHY, READINESS, (State.RUNNING, Reason.HEALTHY, True, ""), id="both are"),
        pytest.param(assigned(health=CHECKED, readiness=ASKED), SICK, READINESS, (State.RUNNING, Reason.UNHEALTHY, False, "no"), id="the engine's check fails"),
        pytest.param(assigned(health=CHECKED, liveness=ASKED), seen(health=Health.STARTING), ALIVE, (State.RUNNING, Reason.STARTED, False, "its check has not passed yet"), id="liveness is no substitute for the engine's check"),
    ],
)  # fmt: skip
def test_observe_what_is_probed(
    task: Assigned, container: Container, checks: Checks, expected: tuple[State, Reason, bool, str]
) -> None:
    said = observe(task, [container], STARTED, checks)
    assert said is not None
    assert (said.state, said.reason, said.ready, said.message) == expected


@pytest.mark.parametrize(
    ("task", "containers", "progress", "asked"),
    [
        pytest.param(assigned(), [seen()], STARTED, True, id="it runs"),
        pytest.param(assigned(), [], None, False, id="there is none"),
        pytest.param(assigned(), [seen(Status.CREATED)], None, False, id="not yet"),
        pytest.param(assigned(), [seen(Status.EXITED)], None, False, id="not any more"),
        pytest.param(assigned(), [STALE], None, False, id="another task's"),
        pytest.param(assigned(wanted=Wanted.STOPPED), [seen()], STARTED, False, id="it is to stop"),
        pytest.param(assigned(State.LOST), [seen()], None, False, id="it is given up"),
        pytest.param(assigned(), [seen()], REJECTED, False, id="its end was told"),
    ],
)
def test_to_probe(task: Assigned, containers: list[Container], progress: Progress | None, asked: bool) -> None:
    assert to_probe(task, containers, progress) == (containers[0] if asked else None)


def verdicts(results: str, **probe: object) -> str:
    """`+` and `-` for answers and failures, `s` for a failure while it starts -> the verdict after each, `?` if none."""
    verdict, said = Verdict(), ""
    asked = Probe(tcp=TcpProbe(port=1), **probe)  # type: ignore[arg-type]
    for number, result in enumerate(results):
        verdict = judge(verdict, asked, None if result == "+" else f"failure {number}", starting=result == "s")
        said += {None: "?", True: "+", False: "-"}[verdict.passes]
    return said


@pytest.mark.parametrize(
    ("results", "probe", "expected"),
    [
        pytest.param("+", {}, "+", id="one answer is enough"),
        pytest.param("---", {}, "??-", id="three failures are"),
        pytest.param("+--+---", {}, "++++++-", id="in a row"),
        pytest.param("+---+", {}, "+++-+", id="and back"),
        pytest.param("-", {"retries": 1}, "-", id="at the first failure"),
        pytest.param("sssssss--", {}, "?????????", id="failures while it starts do not count"),
        pytest.param("sss---", {}, "?????-", id="and those after it do"),
        pytest.param("+sss", {"retries": 1}, "++++", id="nor after an answer"),
        pytest.param("++-++", {"successes": 2}, "?++++", id="two answers"),
        pytest.param("+s+-++", {"successes": 2}, "?????+", id="in a row, too"),
        pytest.param("---+-++", {"successes": 2}, "??----+", id="to come back"),
    ],
)
def test_judge(results: str, probe: dict[str, object], expected: str) -> None:
    assert verdicts(results, **probe) == expected


def test_a_verdict_keeps_what_made_it_turn() -> None:
    verdict = Verdict()
    for words in ("a", "b", "c", "d"):
        verdict = judge(verdict, Probe(tcp=TcpProbe(port=1), retries=3), words, starting=False)
    assert verdict.output == "c"
    assert judge(verdict, ASKED, None, starting=False).output == ""


def test_a_probe_knows_the_host_port_of_its_own_port_only() -> None:
    ports = (
        PublishedPort(container=80, host=1, protocol=Protocol.UDP),
        PublishedPort(container=81, host=2),
        PublishedPort(container=80, host=3),
    )
    one = assigned()
    one = structs.replace(one, task=structs.replace(one.task, ports=ports))
    assert target_of(one, seen(), ASKED).published == ports[2]
    assert target_of(one, seen(), Probe(tcp=TcpProbe(port=82))).published is None


# -- single writers

OVER = Progress(State.STOPPED, Reason.FENCED, "no word from the manager for 5 s")
WRITER = assigned(State.RUNNING, single_writer=True)
LOST = assigned(State.LOST, single_writer=True, stop_grace_s=7.0)


@pytest.mark.parametrize(
    ("task", "containers", "progress", "step", "state"),
    [
        pytest.param(WRITER, [seen()], OVER, Stop("c1", 10.0), State.RUNNING, id="over: it is stopped, and has not ended before it has"),
        pytest.param(WRITER, [seen(Status.EXITED, exit_code=137)], OVER, None, State.STOPPED, id="however it ended, it was stopped"),
        pytest.param(assigned(single_writer=True), [seen(Status.CREATED)], OVER, Remove("c1"), State.STARTING, id="a start may be on its way: it is removed first"),
        pytest.param(WRITER, [], OVER, None, State.STOPPED, id="then it has ended"),
        pytest.param(LOST, [seen()], None, Stop("c1", 0.0), None, id="lost: another may write by now, so at once"),
        pytest.param(assigned(State.LOST, stop_grace_s=7.0), [seen()], None, Stop("c1", 7.0), None, id="others in peace"),
    ],
)  # fmt: skip
def test_a_single_writer(
    task: Assigned, containers: list[Container], progress: Progress | None, step: object, state: State | None
) -> None:
    assert next_step(task, containers, progress, cluster="c", node="n1") == step
    said = observe(task, containers, progress)
    assert (said.state if said is not None else None) is state
    if said is not None and state is State.STOPPED:
        assert (said.reason, said.message) == (Reason.FENCED, OVER.message)
