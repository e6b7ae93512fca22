"""A service in counts, one word and the first trouble."""

from typing import Any

import pytest

from longshore.decide.status import app_phase, removing, status_of
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Availability, NodeStatus, Object, Service, Task
from longshore.model.reasons import Reason
from longshore.model.spec import Mode, PlacementRules, RestartOn, RestartPolicy
from longshore.model.views import Phase, ServiceStatus
from tests.situations import NOW, node, releases, service, task, world

WEB = service(replicas=2)
WEB2 = service(replicas=2, release=2)
JOB = service(mode=Mode.JOB, replicas=2)
AGENT = service(mode=Mode.GLOBAL)
NEVER = RestartPolicy(condition=RestartOn.NONE)
ONCE = service(replicas=2, restart=NEVER)

DONE = State.FINISHED


def crashed(slot: int, generation: int = 1, state: State = State.FAILED, **fields: Any) -> Task:
    return task(slot, generation, state, reason=Reason.EXITED, message="code 1", **fields)


def on(name: str, slot: int, **fields: Any) -> Task:
    return task(slot, on=name, pinned=name, **fields)


def homeless(slot: int, message: str = "0 of 1 node: not enough memory (n1)") -> Task:
    return task(slot, state=State.NEW, reason=Reason.NO_NODE, message=message)


def stopping(slot: int, generation: int = 1, **fields: Any) -> Task:
    return task(slot, generation, wanted=Wanted.STOPPED, **fields)


def status(records: list[Object]) -> ServiceStatus:
    found = next(one for one in records if isinstance(one, Service))
    return status_of(world(*records), found)


def counts(of: ServiceStatus) -> str:
    """The counts that are not zero."""
    names = ("wanted", "running", "ready", "updated", "finished", "failed", "pending")
    told = [f"{name} {getattr(of, name)}" for name in names if getattr(of, name)]
    return ", ".join(told + ["settled"] * of.settled)


@pytest.mark.parametrize(
    ("records", "phase", "expected", "message"),
    [
        pytest.param([WEB], Phase.STARTING, "wanted 2", "", id="nothing yet"),
        pytest.param(
            [WEB, task(1, state=State.NEW), task(2, state=State.PLACED)],
            Phase.STARTING,
            "wanted 2, pending 1",
            "",
            id="on their way",
        ),
        pytest.param(
            [WEB, task(1), task(2, ready=False)],
            Phase.STARTING,
            "wanted 2, running 2, ready 1, updated 1",
            "",
            id="one has not passed its check yet",
        ),
        pytest.param(
            [WEB, task(1), task(2)],
            Phase.RUNNING,
            "wanted 2, running 2, ready 2, updated 2, settled",
            "",
            id="as wished",
        ),
        pytest.param(
            [WEB, task(1, moves_to="n2"), task(2)],
            Phase.STARTING,
            "wanted 2, running 2, ready 2, updated 2",
            "",
            id="one is still to move",
        ),
        pytest.param([service(replicas=0)], Phase.RUNNING, "settled", "", id="none wished"),
        pytest.param([service(replicas=0), stopping(1)], Phase.STARTING, "", "", id="none wished, and one still stops"),
        pytest.param(
            [WEB, task(1), task(2), task(3)],
            Phase.STARTING,
            "wanted 2, running 3, ready 3, updated 3",
            "",
            id="one too many",
        ),
        pytest.param(
            [WEB, task(1), task(3)],
            Phase.STARTING,
            "wanted 2, running 2, ready 2, updated 2",
            "",
            id="the right number in the wrong slots",
        ),
        pytest.param(
            [WEB, task(1), task(2), stopping(3)],
            Phase.STARTING,
            "wanted 2, running 2, ready 2, updated 2",
            "",
            id="the last one still stops",
        ),
        pytest.param(
            [WEB2, task(1, 2, release=2), task(2)],
            Phase.STARTING,
            "wanted 2, running 2, ready 2, updated 1",
            "",
            id="half updated",
        ),
        pytest.param(
            [WEB, task(1), crashed(2)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1",
            "web.2.1: exited: code 1",
            id="one failed",
        ),
        pytest.param(
            [WEB, task(1), crashed(2), task(2, 2, State.STARTING)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1",
            "web.2.1: exited: code 1",
            id="one failed and starts again",
        ),
        pytest.param(
            [WEB, task(1), crashed(2), task(2, 2)],
            Phase.RUNNING,
            "wanted 2, running 2, ready 2, updated 2, settled",
            "",
            id="one failed and runs again",
        ),
        pytest.param(
            [WEB, task(1), crashed(2, attempt=1, started_at=NOW - 1)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1",
            "web.2.1: exited: code 1",
            id="twice in a row is no crash loop",
        ),
        pytest.param(
            [service(replicas=2, restart=RestartPolicy(delay_s=9.0)), task(1), crashed(2, attempt=4, started_at=NOW)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1",
            "crash loop: 5 in a row, next at 1970-01-01 02:46:49 UTC; web.2.1: exited: code 1",
            id="crash loop",
        ),
        pytest.param(
            [service(replicas=1, restart=RestartPolicy(attempts_max=2)), crashed(1, attempt=2, started_at=NOW)],
            Phase.FAILED,
            "wanted 1, failed 1",
            "crash loop: 3 in a row, given up; web.1.1: exited: code 1",
            id="crash loop that was given up",
        ),
        pytest.param(
            [WEB, crashed(1), crashed(2, finished_at=NOW + 1)],
            Phase.DEGRADED,
            "wanted 2",
            "web.2.1: exited: code 1",
            id="of two that failed the newer is told",
        ),
        pytest.param(
            [WEB, task(1), task(2, state=DONE, reason=Reason.FINISHED)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1",
            "web.2.1: finished",
            id="one came to an end that it was not meant to have",
        ),
        pytest.param(
            [WEB, task(1), task(2, state=State.STOPPED)],
            Phase.STARTING,
            "wanted 2, running 1, ready 1, updated 1",
            "",
            id="one was stopped: no trouble",
        ),
        pytest.param(
            [WEB, task(1), task(2, state=State.LOST, reason=Reason.NODE_LOST)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1",
            "web.2.1: node lost",
            id="one was lost",
        ),
        pytest.param(
            [WEB2, task(1, release=2), crashed(2), task(2, 2, State.STARTING, release=2)],
            Phase.STARTING,
            "wanted 2, running 1, ready 1, updated 1",
            "",
            id="what became of an older release is no trouble",
        ),
        pytest.param(
            [WEB, task(1), homeless(2)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1, pending 1",
            "web.2.1: no node fits: 0 of 1 node: not enough memory (n1)",
            id="one has no node",
        ),
        pytest.param(
            [WEB, crashed(1), homeless(2)],
            Phase.DEGRADED,
            "wanted 2, pending 1",
            "web.1.1: exited: code 1",
            id="a failure is told before a lack of room",
        ),
        pytest.param(
            [WEB, task(1), task(2, ready=False, reason=Reason.UNHEALTHY, message="HTTP 500")],
            Phase.DEGRADED,
            "wanted 2, running 2, ready 1, updated 1",
            "web.2.1: check fails: HTTP 500",
            id="one fails its check",
        ),
        pytest.param(
            [ONCE, task(1), crashed(2)],
            Phase.FAILED,
            "wanted 2, running 1, ready 1, updated 1, failed 1",
            "web.2.1: exited: code 1",
            id="one given up",
        ),
        pytest.param(
            [ONCE, crashed(1), task(2, state=State.REJECTED, reason=Reason.IMAGE_MISSING, finished_at=NOW - 9)],
            Phase.FAILED,
            "wanted 2, failed 2",
            "web.1.1: exited: code 1",
            id="both given up",
        ),
        pytest.param(
            [ONCE, task(1), task(2, state=State.LOST)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1",
            "web.2.1: created",
            id="lost is never given up",
        ),
        pytest.param(
            [ONCE, task(1), crashed(2), stopping(2, 2)],
            Phase.DEGRADED,
            "wanted 2, running 1, ready 1, updated 1",
            "web.2.1: exited: code 1",
            id="not given up while a task is on its way out",
        ),
        pytest.param(
            [service(replicas=2, release=2, restart=NEVER), task(1, release=2), crashed(2)],
            Phase.STARTING,
            "wanted 2, running 1, ready 1, updated 1",
            "",
            id="a new release starts a slot that was given up afresh",
        ),
        pytest.param(
            [service(replicas=1, restart=NEVER), task(1), crashed(2)],
            Phase.RUNNING,
            "wanted 1, running 1, ready 1, updated 1, settled",
            "",
            id="a slot beyond the wish is not missed",
        ),
        pytest.param([JOB], Phase.STARTING, "wanted 2", "", id="job: nothing yet"),
        pytest.param(
            [JOB, task(1), task(2)], Phase.RUNNING, "wanted 2, running 2, ready 2, updated 2", "", id="job: under way"
        ),
        pytest.param(
            [JOB, task(1, state=DONE), task(2)],
            Phase.RUNNING,
            "wanted 2, running 1, ready 1, updated 1, finished 1",
            "",
            id="job: half done",
        ),
        pytest.param(
            [JOB, task(1, state=DONE), task(2, state=DONE)],
            Phase.COMPLETE,
            "wanted 2, finished 2, settled",
            "",
            id="job: done",
        ),
        pytest.param(
            [service(mode=Mode.JOB, replicas=2, release=2), task(1, state=DONE), task(2, state=DONE, release=2)],
            Phase.STARTING,
            "wanted 2, finished 1",
            "",
            id="job: what finished in an older release is not done",
        ),
        pytest.param(
            [JOB, task(1, state=DONE), crashed(2)],
            Phase.DEGRADED,
            "wanted 2, finished 1",
            "web.2.1: exited: code 1",
            id="job: one failed and will be tried again",
        ),
        pytest.param(
            [service(mode=Mode.JOB, replicas=2, restart=NEVER), task(1, state=DONE), crashed(2)],
            Phase.FAILED,
            "wanted 2, finished 1, failed 1",
            "web.2.1: exited: code 1",
            id="job: one given up",
        ),
        pytest.param([AGENT], Phase.RUNNING, "settled", "no node is eligible", id="global: no nodes"),
        pytest.param([AGENT, node("a"), node("b")], Phase.STARTING, "wanted 2", "", id="global: nothing yet"),
        pytest.param(
            [AGENT, node("a"), node("b"), on("a", 1), on("b", 2)],
            Phase.RUNNING,
            "wanted 2, running 2, ready 2, updated 2, settled",
            "",
            id="global: one on each",
        ),
        pytest.param(
            [AGENT, node("a"), node("b", status=NodeStatus.DOWN), on("a", 1), on("b", 2, state=State.LOST)],
            Phase.RUNNING,
            "wanted 1, running 1, ready 1, updated 1, settled",
            "",
            id="global: a node that is down does not count",
        ),
        pytest.param(
            [
                AGENT,
                node("a", availability=Availability.PAUSED),
                node("b", availability=Availability.PAUSED),
                on("a", 1),
            ],
            Phase.RUNNING,
            "wanted 1, running 1, ready 1, updated 1, settled",
            "",
            id="global: a paused node keeps its task and wants no other",
        ),
        pytest.param(
            [AGENT, node("a", availability=Availability.DRAINED), on("a", 1)],
            Phase.STARTING,
            "running 1, ready 1, updated 1",
            "",
            id="global: a drained node's task has to go",
        ),
        pytest.param(
            [
                service(mode=Mode.GLOBAL, placement=PlacementRules(constraints=("node.labels.disk==ssd",))),
                node("a", disk="ssd"),
                node("b"),
                on("a", 4),
            ],
            Phase.RUNNING,
            "wanted 1, running 1, ready 1, updated 1, settled",
            "",
            id="global: only where its constraints hold",
        ),
        pytest.param(
            [service(mode=Mode.GLOBAL, restart=NEVER), node("a"), node("b"), on("a", 1), crashed(2, pinned="b")],
            Phase.FAILED,
            "wanted 2, running 1, ready 1, updated 1, failed 1",
            "web.2.1: exited: code 1",
            id="global: given up on one node",
        ),
    ],
)
def test_status(records: list[Object], phase: Phase, expected: str, message: str) -> None:
    found = status(records)
    assert (found.phase, counts(found), found.message) == (phase, expected, message)


@pytest.mark.parametrize(
    ("records", "expected", "message"),
    [
        pytest.param([WEB, task(1)], None, "", id="not removed"),
        pytest.param([], None, "", id="never was"),
        pytest.param(releases(WEB), None, "", id="only releases are left"),
        pytest.param(
            [*releases(WEB), task(1), stopping(2, ready=False), task(3, state=State.FAILED)],
            "running 2, ready 1",
            "2 tasks to stop, 1 containers to remove",
            id="tasks are left",
        ),
    ],
)
def test_removing(records: list[Object], expected: str | None, message: str) -> None:
    found = removing(world(*records), "web")
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found.phase, counts(found), found.message) == (Phase.REMOVING, expected, message)


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        pytest.param([Phase.RUNNING, Phase.RUNNING], Phase.RUNNING, id="all run"),
        pytest.param([Phase.RUNNING, Phase.COMPLETE], Phase.RUNNING, id="one ran to its end"),
        pytest.param([Phase.COMPLETE], Phase.COMPLETE, id="all ran to their end"),
        pytest.param([Phase.RUNNING, Phase.STARTING, Phase.COMPLETE], Phase.STARTING, id="one starts"),
        pytest.param([Phase.STARTING, Phase.DEGRADED], Phase.DEGRADED, id="one is in trouble"),
        pytest.param([Phase.DEGRADED, Phase.FAILED, Phase.RUNNING], Phase.FAILED, id="one was given up"),
        pytest.param([], Phase.COMPLETE, id="nothing wished"),
    ],
)
def test_app_phase(phases: list[Phase], expected: Phase) -> None:
    assert app_phase(phases) is expected
