"""Whether and when an ended task's slot is filled again."""

import pytest

from longshore.decide.restart import again, attempt_after
from longshore.model.lifecycle import State
from longshore.model.objects import Task
from longshore.model.reasons import Reason
from longshore.model.spec import Mode, Port, RestartOn, RestartPolicy, ServiceSpec

END = 1000.0


def ended(state: State, *, ran_s: float | None = 1.0, attempt: int = 0, reason: Reason = Reason.EXITED) -> Task:
    """A task that ended at END after running for `ran_s` (None: it never ran)."""
    return Task(
        id="web.1.1",
        service="web",
        slot=1,
        generation=1,
        release=1,
        state=state,
        attempt=attempt,
        reason=reason,
        started_at=None if ran_s is None else END - ran_s,
        finished_at=END,
    )


def spec(mode: Mode = Mode.REPLICATED, *, fixed_port: bool = False, **policy: object) -> ServiceSpec:
    ports = (Port(container=80, host=80 if fixed_port else None),)
    return ServiceSpec(image="x", mode=mode, ports=ports, restart=RestartPolicy(**policy))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "service", "expected"),
    [
        pytest.param(ended(State.STOPPED), spec(), END, id="stopped by us: at once"),
        pytest.param(ended(State.LOST), spec(), END, id="lost with its node: at once"),
        pytest.param(ended(State.LOST), spec(delay_s=30.0), END, id="lost: the delay is for tasks that end themselves"),
        pytest.param(ended(State.LOST), spec(condition=RestartOn.NONE), END, id="lost: no fault of its own"),
        pytest.param(ended(State.FAILED), spec(), END, id="first failure: at once"),
        pytest.param(ended(State.FAILED), spec(delay_s=5.0), END + 5, id="first failure: after the delay"),
        pytest.param(ended(State.FAILED, attempt=1), spec(), END + 1, id="second in a row: 1 s"),
        pytest.param(ended(State.FAILED, attempt=2), spec(), END + 2, id="third in a row: 2 s"),
        pytest.param(ended(State.FAILED, attempt=4), spec(), END + 8, id="fifth in a row: 8 s"),
        pytest.param(ended(State.FAILED, attempt=90), spec(), END + 60, id="never longer than the bound"),
        pytest.param(ended(State.FAILED, attempt=90), spec(delay_max_s=7.0), END + 7, id="a bound of one's own"),
        pytest.param(ended(State.FAILED, attempt=2), spec(delay_s=9.0), END + 9, id="never sooner than the delay"),
        pytest.param(ended(State.FAILED, ran_s=10.0, attempt=9), spec(), END, id="a stable run counts from zero again"),
        pytest.param(ended(State.REJECTED, ran_s=None, attempt=1), spec(), END + 1, id="refused counts as failed"),
        pytest.param(ended(State.FAILED), spec(condition=RestartOn.NONE), None, id="none: never"),
        pytest.param(ended(State.FINISHED), spec(condition=RestartOn.ON_FAILURE), None, id="on-failure: 0 is success"),
        pytest.param(ended(State.FINISHED), spec(condition=RestartOn.ANY), END, id="any: success is an end as well"),
        pytest.param(ended(State.FINISHED), spec(), END, id="a replicated service restarts on any end"),
        pytest.param(ended(State.FINISHED), spec(Mode.JOB), None, id="a job that finished is done"),
        pytest.param(ended(State.FAILED), spec(Mode.JOB), END, id="a job that failed tries again"),
        pytest.param(ended(State.FINISHED), spec(Mode.JOB, condition=RestartOn.ANY), None, id="a job never repeats"),
        pytest.param(ended(State.FAILED, attempt=2), spec(attempts_max=3), END + 2, id="the last attempt"),
        pytest.param(ended(State.FAILED, attempt=3), spec(attempts_max=3), None, id="attempts spent"),
        pytest.param(ended(State.FAILED, attempt=0), spec(attempts_max=0), None, id="no attempts at all"),
    ],
)
def test_again(task: Task, service: ServiceSpec, expected: float | None) -> None:
    assert again(task, service) == expected


@pytest.mark.parametrize(
    ("task", "service", "expected"),
    [
        pytest.param(ended(State.FAILED, attempt=2), spec(), 3, id="one more"),
        pytest.param(ended(State.STOPPED, attempt=2), spec(), 2, id="stopped: neither better nor worse"),
        pytest.param(ended(State.FAILED, ran_s=11.0, attempt=7), spec(), 1, id="after a stable run: the first"),
        pytest.param(
            ended(State.REJECTED, ran_s=None, attempt=1, reason=Reason.PORT_TAKEN), spec(), 1, id="another port next"
        ),
        pytest.param(
            ended(State.REJECTED, ran_s=None, attempt=1, reason=Reason.PORT_TAKEN),
            spec(fixed_port=True),
            2,
            id="the same port again",
        ),
    ],
)
def test_attempt_after(task: Task, service: ServiceSpec, expected: int) -> None:
    assert attempt_after(task, service) == expected
