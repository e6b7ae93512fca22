"""Why a service stands as it does, row by row: the sentences, and the task to look at."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from longshore.decide.why_service import of_service
from longshore.model.lifecycle import State
from longshore.model.objects import Object, Release, ReleasePhase, Service
from longshore.model.reasons import Reason
from longshore.model.spec import Mode
from tests.situations import node, service, task, world

WEB = service(release=2, replicas=2)
DONE = Release(service="web", number=1, spec=WEB.spec, phase=ReleasePhase.DONE)
ROLLING = replace(DONE, number=2, phase=ReleasePhase.ROLLING)
CRASHED = task(2, 4, State.FAILED, release=2, reason=Reason.EXITED, message="exit code 7", exit_code=7)
SERVING = (task(1, release=2), task(2, release=2))

TAKEN_BACK = (
    replace(WEB, release=1),
    replace(DONE, rolls_back=2),
    replace(ROLLING, phase=ReleasePhase.FAILED, message="a task of it failed"),
    task(1),
    task(2),
)


@pytest.mark.parametrize(
    ("records", "summary", "of"),
    [
        pytest.param(
            [WEB, replace(ROLLING, phase=ReleasePhase.DONE), *SERVING],
            "web is as wished, 2 of 2 ready.",
            "web.1.1",
            id="well",
        ),
        pytest.param(
            [WEB, ROLLING, *SERVING],
            "web is as wished, 2 of 2 ready. Release 2 is being rolled out.",
            "web.1.1",
            id="not proved yet",
        ),
        pytest.param(
            [WEB, ROLLING, task(1, release=2), CRASHED],
            "web is degraded, 1 of 2 ready. Release 2 is being rolled out.",
            "web.2.4",
            id="a task in trouble",
        ),
        pytest.param(
            [WEB, replace(ROLLING, phase=ReleasePhase.PAUSED, message="paused by a user"), *SERVING],
            "web is as wished, 2 of 2 ready. Release 2 is paused: paused by a user. `longshore rollout resume web` goes on "
            "with it, `longshore rollback web` goes back.",
            "web.1.1",
            id="paused",
        ),
        pytest.param(
            [
                *TAKEN_BACK,
                CRASHED,
            ],
            "web is as wished, 2 of 2 ready. Release 2 failed and was taken back to release 1: a task of it failed.",
            "web.1.1",
            id="taken back",
        ),
        pytest.param(
            [
                *TAKEN_BACK,
                replace(CRASHED, id="web.1.4", slot=1),
            ],
            "web is as wished, 2 of 2 ready. Release 2 failed and was taken back to release 1: a task of it failed.",
            "web.1.1",
            id="taken back where the first task is",
        ),
        pytest.param([service(replicas=0), DONE], "web is as wished, 0 of 0 ready.", "", id="nothing is wished"),
        pytest.param(
            [service(mode=Mode.JOB), DONE, task(state=State.FINISHED)],
            "web is complete.",
            "web.1.1",
            id="a job that is done",
        ),
    ],
)
def test_what_a_user_has_to_know_first(records: Sequence[Object], summary: str, of: str) -> None:
    here = world(node("n1"), *records)
    (subject,) = [one for one in records if isinstance(one, Service)]
    said, chosen = of_service(here, subject)
    assert said == summary
    assert (chosen.id if chosen is not None else "") == of
