"""Tasks that clients of older orchestrators posted: which service runs them, and what their clients are shown."""

from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide import postings
from longshore.decide.admission import admit
from longshore.decide.postings import Phase, Shown, shown, spec_of
from longshore.model.changes import Change
from longshore.model.errors import Conflict, Invalid, NotFound
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Kind, Object, Posting, PublishedPort, Service, Task
from longshore.model.reasons import Reason
from longshore.model.retention import POSTINGS_KEPT
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Port, Protocol, RestartOn, RestartPolicy
from tests.situations import GIB, NOW, said, service, task, world

ID = "21b23589-5d2d-4731-b5c9-a97e9832d021"
OTHER = "bb1d59ef-9fc1-4e4b-a44d-db571eeed203"
ASKED = Posting(id=ID, name="Web 1", image="web:1")
KEPT = replace(ASKED, service="web-1", created_at=NOW - 100)
RUNS = Service(name="web-1", spec=admit(spec_of(ASKED)), created_at=1.0)
STOPPED = replace(KEPT, stopped_at=NOW - 50)
IDLE = replace(RUNS, spec=replace(RUNS.spec, replicas=0))


def post(asked: Posting, *records: Object) -> list[Change]:
    return postings.post(world(*records), asked, NOW)


def of(*records: Object) -> Shown:
    """How ID stands."""
    here = world(*records)
    return shown(here, here.postings[ID])


# -- posting


def test_a_task_becomes_a_service_of_one_replica_named_after_it() -> None:
    changes = post(ASKED)
    assert said(changes) == [f"+{ID}", "+web-1", "+web-1@1"]
    made = changes[1].after
    assert isinstance(made, Service)
    assert (made.spec.replicas, made.spec.image) == (1, "web:1")
    kept = changes[0].after
    assert isinstance(kept, Posting)
    assert (kept.service, kept.created_at, kept.name) == ("web-1", NOW, "Web 1")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([KEPT, RUNS], [], id="the same while it waits to be placed"),
        pytest.param([KEPT, RUNS, task(of="web-1")], [], id="the same while it runs"),
        pytest.param([STOPPED, IDLE], [f"{ID} changed", "web-1 changed"], id="after it was stopped: it runs again"),
        pytest.param(
            [STOPPED, IDLE, task(of="web-1", wanted=Wanted.REMOVED)],
            [f"{ID} changed", "web-1 changed"],
            id="while its container still stops",
        ),
        pytest.param(
            [KEPT, RUNS, task(of="web-1", state=State.FINISHED)],
            [f"{ID} changed", "web-1 changed", "+web-1@2"],
            id="after it finished: once more",
        ),
        pytest.param([KEPT], [f"{ID} changed", "+web-1", "+web-1@1"], id="after its service was removed elsewhere"),
    ],
)
def test_the_same_task_once_more(records: list[Object], expected: list[str]) -> None:
    assert said(post(ASKED, *records)) == expected


def test_another_task_under_an_id_that_runs_is_refused() -> None:
    with pytest.raises(Conflict, match="stop it first"):
        post(replace(ASKED, image="web:2"), KEPT, RUNS, task(of="web-1"))


def test_another_task_under_an_id_that_ended_takes_it_over() -> None:
    asked = replace(ASKED, name="api", image="api:1")
    assert said(post(asked, STOPPED, IDLE)) == ["-web-1", f"{ID} changed", "+api", "+api@1"]


def test_two_tasks_of_one_name_are_two_services() -> None:
    changes = post(replace(ASKED, id=OTHER), KEPT, RUNS)
    assert said(changes)[0] == f"+{OTHER}"
    made = changes[1].after
    assert isinstance(made, Service)
    assert made.name.startswith("web-1-")
    assert len(made.name) == len("web-1-") + 8


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([service("web-1")], id="a service of that name, from another door"),
        pytest.param([task(of="web-1")], id="a removed service of that name, whose tasks still go"),
    ],
)
def test_a_name_that_is_taken_is_left_alone(records: list[Object]) -> None:
    names = [one.after.name for one in post(ASKED, *records) if isinstance(one.after, Service)]
    assert len(names) == 1
    assert names[0] != "web-1"


def test_a_task_without_an_image_is_kept_and_runs_nothing() -> None:
    asked = Posting(id="task-3")
    (change,) = post(asked)
    assert change.after == replace(asked, created_at=NOW)
    (again,) = post(replace(asked, image="web:1", name="web"), replace(asked, created_at=1.0))[:1]
    assert isinstance(again.after, Posting)
    assert again.after.service == "web"


def test_what_nothing_could_run_is_refused() -> None:
    with pytest.raises(Invalid, match="image"):
        post(replace(ASKED, image="Not An Image"))


def test_the_longest_stopped_are_forgotten() -> None:
    here = Snapshot()
    old = [
        (Kind.POSTING, Posting(id=f"t{number}", stopped_at=float(number)))
        for number in range(POSTINGS_KEPT + 24)  # 1024: a count at which it is looked at
    ]
    here = Snapshot.restored(1, old, [one.id for _, one in old])
    changes = postings.post(here, ASKED, NOW)
    gone = [one.id for one in changes if one.after is None]
    assert gone == [f"t{number}" for number in range(24)]


def test_what_ended_by_itself_is_over_too() -> None:
    """All but the one that runs, the one that is tried again, and so many as are kept."""
    once = replace(RUNS, spec=replace(RUNS.spec, restart=RestartPolicy(condition=RestartOn.NONE)))
    records: list[tuple[Kind, str, Object]] = []
    for number in range(64):
        name = f"t{number}"
        state = State.RUNNING if number == 3 else State.FAILED
        made = replace(once if number != 5 else RUNS, name=name)
        ended = Task(
            id=f"{name}.1.1", service=name, slot=1, generation=1, release=1, state=state, finished_at=float(number)
        )
        posting = Posting(id=name, name=name, image="web:1", service=name)
        labelled = replace(made, spec=replace(made.spec, labels=spec_of(posting).labels))
        records += [(Kind.POSTING, name, posting), (Kind.SERVICE, name, labelled), (Kind.TASK, ended.id, ended)]
    here = Snapshot.restored(1, [(kind, one) for kind, _, one in records], [id for _, id, _ in records])
    changes = postings.post(here, ASKED, NOW, 58)
    assert [one.id for one in changes if one.after is None] == ["t0", "t0", "t1", "t1", "t2", "t2", "t4", "t4"]


# -- its spec


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", "web"),
        ("test-chapter-9.1", "test-chapter-9-1"),
        ("  My  Task! ", "my-task"),
        ("", "task"),
        ("ÄÖ", "task"),
        ("x" * 40, "x" * 40),
    ],
)
def test_names_of_services(name: str, expected: str) -> None:
    assert postings.service_name(name) == expected


def test_long_names_stay_apart() -> None:
    one, other = postings.service_name("x" * 50 + "a"), postings.service_name("x" * 50 + "b")
    assert one != other
    assert max(len(one), len(other)) <= 40


def spec(**fields: Any) -> Any:
    return admit(spec_of(replace(ASKED, **fields)))


def test_sizes_are_bytes_and_cpu_is_cores() -> None:
    made = spec(cpu=1.5, memory=64 * 1024 * 1024, disk=GIB)
    assert (made.resources.cpu, made.resources.memory, made.resources.disk) == (1.5, 64 * 1024 * 1024, GIB)
    assert (made.limits.cpu, made.limits.memory) == (1.5, 64 * 1024 * 1024)


def test_a_limit_that_no_engine_takes_is_the_least_one() -> None:
    made = spec(cpu=0.001, memory=1000)
    assert (made.limits.cpu, made.limits.memory, made.resources.memory) == (0.01, 6 * 1024 * 1024, 1000)


def test_ports_bound_as_asked_and_the_others_chosen() -> None:
    made = spec(exposed_ports=("80/tcp", "53/udp"), port_bindings={"80/tcp": "8080", "90/tcp": ""})
    assert made.ports == (
        Port(container=80, host=8080),
        Port(container=90),
        Port(container=53, protocol=Protocol.UDP),
    )


@pytest.mark.parametrize(
    ("policy", "condition", "attempts"),
    [
        ("", RestartOn.ON_FAILURE, 3),
        ("no", RestartOn.NONE, None),
        ("on-failure", RestartOn.ON_FAILURE, None),
        ("always", RestartOn.ANY, None),
        ("unless-stopped", RestartOn.ANY, None),
    ],
)
def test_restart_policies(policy: str, condition: RestartOn, attempts: int | None) -> None:
    made = spec(restart_policy=policy).restart
    assert (made.condition, made.attempts_max) == (condition, attempts)


def test_a_check_asks_the_first_port_and_takes_200_alone() -> None:
    made = spec(health_check="/health", exposed_ports=("53/udp", "81/tcp"), port_bindings={"80/tcp": "8080"})
    assert made.liveness.http.path == "/health"
    assert (made.liveness.http.port, made.liveness.http.accepts) == (80, (200,))
    assert spec(health_check="/health").liveness is None, "without a port there is nobody to ask"
    assert spec(exposed_ports=("80/tcp",)).liveness is None, "no path is no check"


# -- stopping


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([KEPT, RUNS, task(of="web-1")], [f"{ID} changed", "web-1 changed"], id="running"),
        pytest.param([KEPT, RUNS], [f"{ID} changed", "web-1 changed"], id="not placed yet"),
        pytest.param(
            [KEPT, RUNS, task(of="web-1", state=State.FAILED)], [f"{ID} changed", "web-1 changed"], id="failed"
        ),
        pytest.param([KEPT], [f"{ID} changed"], id="its service is gone already"),
        pytest.param([STOPPED, IDLE], [], id="stopped already"),
        pytest.param([Posting(id=ID)], [f"{ID} changed"], id="nothing to run"),
    ],
)
def test_stop_means_stop(records: list[Object], expected: list[str]) -> None:
    changes = postings.stop(world(*records), ID, NOW)
    assert said(changes) == expected
    scaled = [one.after.spec.replicas for one in changes if isinstance(one.after, Service)]
    assert set(scaled) <= {0}


def test_what_was_never_posted_cannot_be_stopped() -> None:
    with pytest.raises(NotFound):
        postings.stop(world(), ID, NOW)


# -- how it stands


@pytest.mark.parametrize(
    ("records", "phase"),
    [
        pytest.param([KEPT, RUNS], Phase.SCHEDULED, id="its service has no task yet"),
        pytest.param([KEPT, RUNS, task(of="web-1", state=State.NEW)], Phase.SCHEDULED, id="to be placed"),
        pytest.param(
            [KEPT, RUNS, task(of="web-1", state=State.NEW, reason=Reason.NO_NODE, message="0 of 1")],
            Phase.PENDING,
            id="no node fits",
        ),
        pytest.param([KEPT, RUNS, task(of="web-1", state=State.STARTING)], Phase.SCHEDULED, id="on its way"),
        pytest.param([KEPT, RUNS, task(of="web-1")], Phase.RUNNING, id="running"),
        pytest.param([KEPT, RUNS, task(of="web-1", state=State.FINISHED)], Phase.COMPLETED, id="finished"),
        pytest.param([KEPT, RUNS, task(of="web-1", state=State.FAILED)], Phase.FAILED, id="failed"),
        pytest.param([KEPT, RUNS, task(of="web-1", state=State.REJECTED)], Phase.FAILED, id="refused"),
        pytest.param(
            [KEPT, RUNS, task(of="web-1", state=State.FAILED), task(1, 2, of="web-1", state=State.NEW)],
            Phase.SCHEDULED,
            id="about to be started again",
        ),
        pytest.param([STOPPED, IDLE, task(of="web-1", wanted=Wanted.REMOVED)], Phase.RUNNING, id="still stopping"),
        pytest.param([STOPPED, IDLE], Phase.COMPLETED, id="stopped, and its task's record gone"),
        pytest.param([KEPT], Phase.COMPLETED, id="its service was removed at another door"),
        pytest.param([KEPT, IDLE], Phase.COMPLETED, id="its service was scaled to nothing at another door"),
        pytest.param([Posting(id=ID)], Phase.PENDING, id="no image"),
        pytest.param([Posting(id=ID, stopped_at=1.0)], Phase.COMPLETED, id="no image, and stopped"),
    ],
)
def test_states(records: list[Object], phase: Phase) -> None:
    assert of(*records).phase is phase


def test_a_pending_task_says_why() -> None:
    waiting = task(of="web-1", state=State.NEW, reason=Reason.NO_NODE, message="0 of 1 node: not enough memory (n1)")
    assert "not enough memory" in of(KEPT, RUNS, waiting).reason
    assert of(Posting(id=ID)).reason == Reason.NO_IMAGE


def test_restarts_are_the_containers_before_this_one() -> None:
    assert of(KEPT, RUNS).restarts == 0
    assert of(KEPT, RUNS, task(1, 3, of="web-1"), task(1, 2, of="web-1", state=State.FAILED)).restarts == 2


def test_a_stopped_task_is_remembered_as_it_was() -> None:
    ports = (PublishedPort(container=80, host=8080),)
    last = task(of="web-1", ports=ports)
    told = of(replace(STOPPED, last=last), IDLE)
    assert told.task == last
    assert told.finished_at == STOPPED.stopped_at
    ended = task(of="web-1", state=State.STOPPED, wanted=Wanted.REMOVED)
    assert of(replace(STOPPED, last=last), IDLE, ended).finished_at == NOW


def test_a_service_that_was_made_anew_for_another_is_not_its_own() -> None:
    """Its own was removed at another door, and its name was free for the next."""
    other = replace(KEPT, id=OTHER)
    anew = replace(RUNS, spec=admit(spec_of(other)))
    here: list[Object] = [KEPT, other, anew, task(of="web-1")]
    assert (of(*here).phase, of(*here).task) == (Phase.COMPLETED, None)
    assert said(postings.stop(world(*here), ID, NOW)) == [f"{ID} changed"]
    assert said(postings.stop(world(*here), OTHER, NOW)) == [f"{OTHER} changed", "web-1 changed"]
    made = post(ASKED, *here)[0].after
    assert isinstance(made, Posting)
    assert made.service.startswith("web-1-")
