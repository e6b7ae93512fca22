"""One sentence that names the right cause."""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide.placement.explain import explain
from longshore.decide.why import Sequel, sequel_of, told, why
from longshore.model.changes import Event
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Kind, NodeStatus, Object, Release, ReleasePhase, Role, Task, Token
from longshore.model.reasons import Reason
from longshore.model.spec import Mode, Resources, RestartOn, RestartPolicy
from longshore.model.views import EventView, NearMiss, Ranked, Verdict
from tests.situations import GIB, NOW, node, service, task, world

WEB = service(replicas=2)


def event(after: Task, reason: Reason, message: str = "", *, by: Owner = Owner.SERVICES, revision: int = 1) -> Event:
    return Event(
        revision=revision,
        position=0,
        at=NOW,
        kind=Kind.TASK,
        id=after.id,
        after=after,
        by=by,
        reason=reason,
        message=message,
    )


def stopped(reason: Reason, message: str = "", *, wanted: Wanted = Wanted.STOPPED) -> list[Event]:
    """The story of a task that was placed, then stopped for `reason`, then removed for another."""
    return [
        event(task(1, state=State.PLACED), Reason.PLACED, by=Owner.PLACEMENT),
        event(task(1, wanted=wanted), reason, message, revision=2),
        event(task(1, wanted=Wanted.REMOVED), Reason.HISTORY_FULL, revision=3),
    ]


def failed(reason: Reason, message: str = "", *, state: State = State.FAILED, **fields: Any) -> Task:
    return task(1, state=state, reason=reason, message=message, wanted=Wanted.RUNNING, **fields)


@pytest.mark.parametrize(
    ("subject", "story", "sequel", "expected"),
    [
        pytest.param(task(1, state=State.PLACED), [], None, "is placed on n1, which has not taken it yet", id="placed"),
        pytest.param(task(1, state=State.ACCEPTED), [], None, "is taken by n1 and about to start", id="accepted"),
        pytest.param(
            task(1, state=State.PREPARING, reason=Reason.PULLING, message="web:1"),
            [],
            None,
            "waits on n1 for its image: web:1",
            id="pulling",
        ),
        pytest.param(
            task(1, state=State.STARTING, attempt=3),
            [],
            None,
            "is starting on n1, after 3 in its slot that failed in a row",
            id="starting in a crash loop",
        ),
        pytest.param(task(1), [], None, "runs on n1 and is ready", id="running"),
        pytest.param(task(1, moves_to="n2"), [], None, "runs on n1 and is ready, and is to move to n2", id="to move"),
        pytest.param(
            task(1, reason=Reason.NODE_AWAITED, message="node n1 is down"),
            [],
            None,
            "may still run on n1, and a single writer is not replaced before it has ended: node n1 is down",
            id="a single writer on a node that is down",
        ),
        pytest.param(
            failed(Reason.FENCED, "no word from the manager for 5 s", state=State.STOPPED),
            [],
            None,
            "was stopped on n1 by its worker, as a single writer that has lost its manager: "
            "no word from the manager for 5 s",
            id="stopped by its worker",
        ),
        pytest.param(task(1, ready=False), [], None, "runs on n1, but has not passed its check yet", id="not ready"),
        pytest.param(
            task(1, ready=False, reason=Reason.UNHEALTHY, message="HTTP 500"),
            [],
            None,
            "runs on n1, but its check fails: HTTP 500",
            id="unhealthy",
        ),
        pytest.param(
            task(1, wanted=Wanted.STOPPED),
            stopped(Reason.OUTDATED, "release 1 gives way to 2"),
            None,
            "is being stopped on n1: an older release (release 1 gives way to 2)",
            id="being replaced",
        ),
        pytest.param(
            task(1, state=State.STOPPED, wanted=Wanted.REMOVED, reason=Reason.STOPPED),
            stopped(Reason.SCALED_DOWN),
            Sequel(never="web was scaled to 0"),
            "was stopped on n1: more tasks than wanted; nothing takes its place: web was scaled to 0",
            id="scaled down",
        ),
        pytest.param(
            task(1, state=State.STOPPED, wanted=Wanted.REMOVED, reason=Reason.STOPPED),
            [],
            None,
            "was stopped on n1: stopped as wanted",
            id="the log of it is compacted",
        ),
        pytest.param(
            task(1, state=State.STOPPED, wanted=Wanted.STOPPED),
            stopped(Reason.NODE_DRAINED, "node n1 is drained"),
            Sequel(task="web.1.2"),
            "was stopped on n1: node drained (node n1 is drained); web.1.2 took its place",
            id="drained",
        ),
        pytest.param(
            failed(Reason.OOM_KILLED, exit_code=137),
            [],
            Sequel(at=NOW),
            "was killed on n1 because it ran out of memory; the next follows at once",
            id="out of memory",
        ),
        pytest.param(
            failed(Reason.EXITED, exit_code=3),
            [],
            Sequel(at=NOW + 4),
            "exited on n1 with code 3; the next follows at 1970-01-01 02:46:44 UTC at the earliest",
            id="exit code",
        ),
        pytest.param(
            failed(Reason.EXITED, exit_code=3, attempt=4),
            [],
            Sequel(at=NOW + 8),
            "exited on n1 with code 3; crash loop: it is number 5 in a row to end; the next follows at 1970-01-01 02:46:48 UTC"
            " at the earliest",
            id="crash loop",
        ),
        pytest.param(
            failed(Reason.EXITED, exit_code=3, attempt=4),
            [],
            Sequel(never="restarts in a row: 4 of 4 are spent (restart.attempts_max)"),
            "exited on n1 with code 3; crash loop: it is number 5 in a row to end; nothing takes its place: restarts in"
            " a row: 4 of 4 are spent (restart.attempts_max)",
            id="given up",
        ),
        pytest.param(
            failed(Reason.IMAGE_MISSING, "manifest for web:1 not found", state=State.REJECTED),
            [],
            None,
            "has no image on n1: manifest for web:1 not found",
            id="image missing",
        ),
        pytest.param(
            failed(Reason.PORT_TAKEN, "0.0.0.0:80"),
            [],
            Sequel(task="web.1.2"),
            "found its host port taken by another program on n1: 0.0.0.0:80; web.1.2 took its place",
            id="port taken",
        ),
        pytest.param(
            failed(Reason.UNHEALTHY, "HTTP 500"),
            [],
            None,
            "was given up because its check failed on n1: HTTP 500",
            id="check failed",
        ),
        pytest.param(
            failed(Reason.START_REFUSED, "no such file: /run", state=State.REJECTED),
            [],
            None,
            "ended on n1: engine refused to start it: no such file: /run",
            id="refused",
        ),
        pytest.param(
            failed(Reason.NODE_LOST, "node n1 has not been heard of", state=State.LOST),
            [],
            Sequel(at=NOW),
            "was lost with its node: node n1 has not been heard of; the next follows at once",
            id="node lost",
        ),
        pytest.param(
            task(1, state=State.FINISHED, exit_code=0, attempt=1),
            [],
            Sequel(never="its part of the job is done"),
            "finished on n1 with code 0; nothing takes its place: its part of the job is done",
            id="finished",
        ),
    ],
)  # fmt: skip
def test_summary(subject: Task, story: Sequence[Event], sequel: Sequel | None, expected: str) -> None:
    answer = why(subject, story, None, sequel)
    assert answer.summary == f"web.1.1 {expected}."
    assert (answer.task, answer.state, answer.wanted) == ("web.1.1", subject.state, subject.wanted)
    assert len(answer.story) == len(story)


HUNGRY = service(resources=Resources(memory=16 * GIB))


@pytest.mark.parametrize(
    ("records", "expected", "filters"),
    [
        pytest.param([WEB], "waits for a node: no nodes have joined yet", [], id="no nodes"),
        pytest.param(
            [HUNGRY, node("n1"), node("n2", status=NodeStatus.DOWN)],
            "waits for a node: 0 of 2 nodes: not enough memory (n1), node is down (n2)",
            ["not enough memory", "node is down"],
            id="each node by what refuses it",
        ),
    ],
)
def test_waiting(records: list[Object], expected: str, filters: list[str]) -> None:
    waits = task(1, state=State.NEW)
    answer = why(waits, [], explain(world(*records, waits), waits, NOW, "spread"))
    assert answer.summary == f"web.1.1 {expected}."
    assert [verdict.filter for verdict in answer.refusals] == filters
    assert answer.scores == {}


def test_waiting_for_the_next_look() -> None:
    waits = task(1, state=State.NEW)
    answer = why(waits, [], explain(world(WEB, node("n1"), node("n2"), waits), waits, NOW, "spread"))
    assert answer.summary.startswith("web.1.1 waits to be placed: 2 of 2 nodes fit")
    assert answer.scores.keys() == {"n1", "n2"}
    assert answer.refusals == ()


def test_waiting_without_an_explanation_tells_what_placement_wrote() -> None:
    waits = task(1, state=State.NEW, reason=Reason.NO_NODE, message="0 of 1 node: node is down (n1)")
    assert why(waits, []).summary == "web.1.1 waits for a node: 0 of 1 node: node is down (n1)."


END = task(1, state=State.FAILED, reason=Reason.EXITED)
NEVER = RestartPolicy(condition=RestartOn.NONE)


@pytest.mark.parametrize(
    ("records", "subject", "expected"),
    [
        pytest.param([WEB], task(1), None, id="it lives"),
        pytest.param([WEB, task(1, 2), task(1, 3), task(2, 9)], END, Sequel(task="web.1.2"), id="replaced already"),
        pytest.param([], END, Sequel(never="service web was removed"), id="removed"),
        pytest.param([WEB], END, Sequel(at=NOW), id="first failure"),
        pytest.param([WEB], replace(END, attempt=1, started_at=NOW - 1), Sequel(at=NOW + 1), id="crash loop"),
        pytest.param([service(restart=NEVER)], END, Sequel(never="restart.condition is none"), id="never again"),
        pytest.param(
            [WEB, task(1)],
            replace(END, id="web.1.2", generation=2, release=2),
            Sequel(never="web.1.1 fills its slot"),
            id="taken back",
        ),
        pytest.param(
            [service(release=2), Release(service="web", number=2, spec=WEB.spec, phase=ReleasePhase.PAUSED), task(1)],
            replace(END, id="web.1.2", generation=2, release=2),
            Sequel(never="web.1.1 fills its slot"),
            id="its release is paused",
        ),
        pytest.param(
            [service(release=2), Release(service="web", number=2, spec=WEB.spec), task(1)],
            replace(END, id="web.1.2", generation=2, release=2),
            Sequel(at=NOW),
            id="beside the one it was to relieve",
        ),
        pytest.param([service(release=2, restart=NEVER)], END, Sequel(at=NOW), id="a new release starts afresh"),
        pytest.param(
            [service(restart=RestartPolicy(attempts_max=1))],
            replace(END, attempt=1, started_at=NOW - 1),
            Sequel(never="restarts in a row: 1 of 1 are spent (restart.attempts_max)"),
            id="attempts spent",
        ),
        pytest.param([service(replicas=0)], END, Sequel(never="web was scaled to 0"), id="scaled down"),
        pytest.param(
            [service(mode=Mode.JOB)],
            replace(END, state=State.FINISHED),
            Sequel(never="its part of the job is done"),
            id="job done",
        ),
        pytest.param(
            [service(mode=Mode.GLOBAL), node("n1", availability=Availability.DRAINED)],
            replace(END, pinned="n1"),
            Sequel(never="web has no task on n1 now"),
            id="its node is drained",
        ),
        pytest.param(
            [service(mode=Mode.GLOBAL), node("n1")], replace(END, pinned="n1"), Sequel(at=NOW), id="its node is there"
        ),
    ],
)
def test_sequel(records: list[Object], subject: Task, expected: Sequel | None) -> None:
    assert sequel_of(world(*records, subject), subject) == expected


@pytest.mark.parametrize(
    ("kind", "id", "after", "expected"),
    [
        pytest.param(Kind.TASK, "web.1.1", task(1), ("web", "n1", "running"), id="task"),
        pytest.param(Kind.TASK, "web.1.1", None, ("web", "", "removed"), id="task that is gone"),
        pytest.param(Kind.SERVICE, "web", WEB, ("web", "", ""), id="service"),
        pytest.param(Kind.SERVICE, "web", None, ("web", "", ""), id="service that is gone"),
        pytest.param(
            Kind.RELEASE, "web@2", Release(service="web", number=2, spec=WEB.spec), ("web", "", ""), id="release"
        ),
        pytest.param(Kind.NODE, "n1", node("n1"), ("", "n1", "ready"), id="node"),
        pytest.param(Kind.NODE, "n1", None, ("", "n1", "removed"), id="node that is gone"),
        pytest.param(Kind.TOKEN, "t", Token(id="t", role=Role.ADMIN, sha256="x"), ("", "", ""), id="token"),
    ],
)
def test_told(kind: Kind, id: str, after: Object | None, expected: tuple[str, str, str]) -> None:
    view = told(
        Event(
            revision=7,
            position=2,
            at=NOW,
            kind=kind,
            id=id,
            after=after,
            by=Owner.USER,
            reason=Reason.CREATED,
            message="m",
        )
    )
    service_name, node_name, state = expected
    assert view == EventView(
        id="7.2",
        at=NOW,
        kind=kind,
        name=id,
        by=Owner.USER,
        reason=Reason.CREATED,
        message="m",
        service=service_name,
        node=node_name,
        state=state,
    )


def test_refusals_come_from_the_explanation() -> None:
    verdict = Verdict(filter="not enough cpu", nodes=("n1",))

    class Told:
        refusals = (verdict,)
        scores: dict[str, float] = {"n2": 1.0}  # noqa: RUF012
        sentence = "1 of 2 nodes fit"
        advice = ""
        nearest: tuple[NearMiss, ...] = ()
        top: tuple[Ranked, ...] = (Ranked(node="n2", points=0, score=1.0),)

    answer = why(task(1, state=State.NEW), [], Told())
    assert (answer.refusals, answer.scores) == ((verdict,), {"n2": 1.0})
    assert answer.top == Told.top
    assert answer.summary == "web.1.1 waits to be placed: 1 of 2 nodes fit."
