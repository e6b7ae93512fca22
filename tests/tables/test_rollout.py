"""Which task of an older release gives way next."""

import pytest

from longshore.decide.rollout import decide
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import Object
from longshore.model.spec import Mode
from tests.situations import NOW, said, service, task, world

WEB3 = service(release=2, replicas=3)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([WEB3, task(1, release=2), task(2, release=2), task(3, release=2)], [], id="all current"),
        pytest.param([WEB3, task(1), task(2), task(3)], ["web.1.1 wanted stopped"], id="one at a time, lowest slot first"),
        pytest.param([WEB3, task(1, wanted=Wanted.STOPPED), task(2), task(3)], [], id="waits while one is leaving"),
        pytest.param([WEB3, task(1, 2, release=2, ready=False), task(2), task(3)], [], id="waits until the new one is ready"),
        pytest.param([WEB3, task(1, 2, release=2), task(2), task(3)], ["web.2.1 wanted stopped"], id="then goes on"),
        pytest.param([WEB3, task(1, 2, State.FAILED, release=2), task(2), task(3)], [], id="a new release that fails stops it"),
        pytest.param([WEB3, task(1, ready=False), task(2), task(3)], ["web.1.1 wanted stopped"], id="what serves nobody goes at once"),
        pytest.param([service(release=2, replicas=2), task(1), task(2), task(3)], ["web.1.1 wanted stopped"], id="a surplus task holds nothing up"),
        pytest.param([service(mode=Mode.JOB, release=2, replicas=2), task(1), task(2)], ["web.1.1 wanted stopped", "web.2.1 wanted stopped"], id="a job's tasks all give way"),
        pytest.param([service(mode=Mode.GLOBAL, release=2), task(1), task(2)], ["web.1.1 wanted stopped"], id="global: one at a time too"),
        pytest.param([task(1)], [], id="a removed service has no rollout"),
    ],
)  # fmt: skip
def test_rollout(records: list[Object], expected: list[str]) -> None:
    changes, again = decide(world(*records), "web", NOW)
    assert (said(changes), again) == (expected, None)
