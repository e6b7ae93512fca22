"""Whether and when an ended task's slot is filled again."""

from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide.restart import AVOID_S, again, attempt_after, avoided, loop_of
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
        pytest.param(
            ended(State.FAILED, attempt=2),
            spec(attempts_max=3, delay_max_s=0.5, delay_s=2.0),
            END + 2,
            id="the last attempt",
        ),
        pytest.param(ended(State.FAILED, attempt=3), spec(attempts_max=3), None, id="attempts spent"),
        pytest.param(ended(State.FAILED, attempt=0), spec(attempts_max=0), None, id="no attempts at all"),
    ],
)
def test_again(task: Task, service: ServiceSpec, expected: float | None) -> None:
    assert again(task, service) == expected


@pytest.mark.parametrize(
    ("attempt", "service", "expected"),
    [
        pytest.param(2, spec(), 2.0, id="third in a row: 2 s"),
        pytest.param(4, spec(), 8.0, id="fifth in a row: 8 s"),
        pytest.param(90, spec(), 60 / 1.1, id="never longer than the bound"),
        pytest.param(90, spec(delay_max_s=7.0), 7 / 1.1, id="a bound of one's own"),
    ],
)
def test_longer_waits_differ_from_task_to_task(attempt: int, service: ServiceSpec, expected: float) -> None:
    waits = {}
    for slot in range(200):
        crashed = replace(ended(State.FAILED, attempt=attempt), id=f"web.{slot}.3")
        at = again(crashed, service)
        assert at is not None
        assert at == again(crashed, service), "the same whenever it is asked"
        waits[slot] = at - END
    assert 0.9 * expected - 1e-6 <= min(waits.values()) < 0.93 * expected
    assert 1.07 * expected < max(waits.values()) <= 1.1 * expected + 1e-6
    assert len(set(waits.values())) > 190


@pytest.mark.parametrize(
    ("task", "service", "expected"),
    [
        pytest.param(ended(State.FAILED, attempt=2), spec(), 3, id="the third is one"),
        pytest.param(ended(State.FAILED, attempt=1), spec(), 0, id="the second is none"),
        pytest.param(ended(State.FAILED, ran_s=11.0, attempt=7), spec(), 0, id="not after a stable run"),
        pytest.param(ended(State.STOPPED, attempt=7), spec(), 0, id="not what we stopped"),
        pytest.param(ended(State.FINISHED, attempt=7), spec(), 8, id="who ends with 0 again and again"),
        pytest.param(ended(State.FINISHED, attempt=7), spec(Mode.JOB), 0, id="a job is meant to end"),
    ],
)
def test_a_crash_loop_is_known(task: Task, service: ServiceSpec, expected: int) -> None:
    assert loop_of(task, service) == expected


# -- nodes to keep away from

NEXT = Task(id="web.1.9", service="web", slot=1, generation=9, release=1)
UNTIL = END + AVOID_S
LATER = END + 60


def crashed(generation: int, on: str, **fields: Any) -> Task:
    facts: dict[str, Any] = {"generation": generation, "node": on, "id": f"web.1.{generation}"}
    return replace(ended(fields.pop("state", State.FAILED), ran_s=fields.pop("ran_s", 1.0)), **(facts | fields))


def serves(on: str, for_s: float, release: int = 1) -> Task:
    """A task of another slot."""
    facts = {"slot": 2, "generation": 1, "release": release, "started_at": LATER - for_s}
    return Task(id="web.2.1", service="web", node=on, state=State.RUNNING, ready=True, **facts)  # type: ignore[arg-type]


THREE = [crashed(6, "n1"), crashed(7, "n1"), crashed(8, "n1")]


@pytest.mark.parametrize(
    ("tasks", "now", "expected"),
    [
        pytest.param(THREE, LATER, {"n1": UNTIL}, id="three in a row on one node"),
        pytest.param(THREE[1:], LATER, {}, id="two are not three"),
        pytest.param([crashed(6, "n2"), *THREE[1:]], LATER, {}, id="not all on one node"),
        pytest.param([crashed(6, "n1", state=State.LOST), *THREE[1:]], LATER, {}, id="one was lost"),
        pytest.param([crashed(6, "n1", ran_s=20.0), *THREE[1:]], LATER, {}, id="one ran long"),
        pytest.param([crashed(6, "n1", release=2), *THREE[1:]], LATER, {}, id="one was of another release"),
        pytest.param([crashed(6, "n1", reason=Reason.PORT_TAKEN), *THREE[1:]], LATER, {}, id="another port next time"),
        pytest.param(THREE, UNTIL - 1, {"n1": UNTIL}, id="nearly ten minutes later"),
        pytest.param(THREE, UNTIL, {}, id="ten minutes later"),
        pytest.param([crashed(8, "n2", avoids={"n1": UNTIL})], LATER, {"n1": UNTIL}, id="what the last one avoided"),
        pytest.param(
            [crashed(6, "n2"), crashed(7, "n2"), crashed(8, "n2", avoids={"n1": UNTIL - 99})],
            LATER,
            {"n1": UNTIL - 99, "n2": UNTIL},
            id="and then another",
        ),
        pytest.param([*THREE, serves("n1", 30.0)], LATER, {}, id="another task of the release runs well there"),
        pytest.param([*THREE, serves("n1", 5.0)], LATER, {"n1": UNTIL}, id="it may be about to fail"),
        pytest.param(
            [*THREE, serves("n1", 30.0, release=2)], LATER, {"n1": UNTIL}, id="another release proves nothing"
        ),
        pytest.param([*THREE, serves("n2", 30.0)], LATER, {"n1": UNTIL}, id="another node proves nothing"),
    ],
)
def test_a_slot_keeps_away_from_where_it_failed(tasks: list[Task], now: float, expected: dict[str, float]) -> None:
    assert avoided(NEXT, [one for one in tasks if one.slot == 1], tasks, spec(), now) == expected
    assert avoided(NEXT, [one for one in tasks if one.slot == 1], tasks, spec(Mode.GLOBAL), now) == {}


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
