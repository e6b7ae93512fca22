"""What a worker's observation changes in a task's record."""

import pytest

from longshore.decide.reports import MESSAGE_MAX, heard
from longshore.model.lifecycle import State
from longshore.model.messages import Observation
from longshore.model.objects import Task
from longshore.model.reasons import Reason
from tests.situations import NOW, service, task, world


def seen(state: State, *, created_at: float = 100.0, **fields: object) -> Observation:
    return Observation(task="web.1.1", created_at=created_at, state=state, reason=Reason.STARTED, **fields)  # type: ignore[arg-type]


def after(record: Task, observation: Observation, node: str = "n1") -> Task | None:
    change = heard(world(service(), record), node, observation, NOW)
    return None if change is None else change.after  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("record", "observation", "node"),
    [
        pytest.param(task(1), seen(State.STARTING), "n1", id="late: the task is further"),
        pytest.param(task(1), seen(State.FAILED), "n2", id="of a task on another node"),
        pytest.param(task(1), seen(State.FAILED, created_at=99.0), "n1", id="of an earlier task of the same id"),
        pytest.param(task(2), seen(State.FAILED), "n1", id="of a task that is not known"),
        pytest.param(task(1, state=State.LOST), seen(State.RUNNING), "n1", id="of a task that was lost"),
        pytest.param(task(1, state=State.FAILED), seen(State.RUNNING, container_id="c"), "n1", id="of a task that ended"),
        pytest.param(task(1), seen(State.LOST), "n1", id="a worker cannot lose a task"),
        pytest.param(task(1, reason=Reason.STARTED), seen(State.RUNNING, ready=True, container_id="c-web.1.1"), "n1", id="the same again"),
    ],
)  # fmt: skip
def test_no_news(record: Task, observation: Observation, node: str) -> None:
    assert after(record, observation, node) is None


def test_it_comes_to_run() -> None:
    record = after(task(1, state=State.STARTING), seen(State.RUNNING, ready=True, container_id="c9"))
    assert record is not None
    assert (record.state, record.ready, record.container_id, record.started_at) == (State.RUNNING, True, "c9", NOW)


def test_it_ends() -> None:
    record = after(task(1), seen(State.FAILED, ready=True, container_id="c9", exit_code=3))
    assert record is not None
    assert (record.state, record.ready, record.exit_code, record.finished_at) == (State.FAILED, False, 3, NOW)


def test_readiness_changes_without_a_move() -> None:
    record = after(task(1, ready=False), seen(State.RUNNING, ready=True, container_id="c-web.1.1"))
    assert record is not None
    assert record.ready
    assert (record.started_at, record.ready_changed_at) == (NOW - 100, NOW)
    said_again = after(record, seen(State.RUNNING, ready=True, container_id="c-web.1.1", message="200"))
    assert said_again is not None
    assert said_again.ready_changed_at == NOW


def test_an_ended_task_loses_its_container_and_nothing_else() -> None:
    before = task(1, state=State.FAILED, reason=Reason.OOM_KILLED)
    record = after(before, seen(State.FAILED))
    assert record is not None
    assert (record.container_id, record.reason, record.finished_at) == ("", Reason.OOM_KILLED, before.finished_at)


def test_long_words_are_cut() -> None:
    record = after(task(1), seen(State.FAILED, message="x" * 9999))
    assert record is not None
    assert len(record.message) == MESSAGE_MAX
