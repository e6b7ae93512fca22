"""How an assignment is cut into messages, and put together again."""

import msgspec
import pytest
from msgspec.structs import replace

from longshore.model import parts
from longshore.model.containers import Assigned
from longshore.model.messages import Assignment, AssignmentPart
from longshore.model.parts import PART_BYTES_MAX, Gathering, cut
from longshore.model.spec import ServiceSpec
from tests.situations import task

TASK_BYTES = 2048
"""About what a task takes beside its spec."""


def held(slot: int, spec_bytes: int) -> Assigned:
    return Assigned(task=task(slot), spec=ServiceSpec(image="x", env={"TEXT": "x" * spec_bytes}))


def whole(*spec_bytes: int) -> Assignment:
    put = tuple(held(slot, size) for slot, size in enumerate(spec_bytes, 1))
    return Assignment(revision=7, full=True, put=put, removed=("web.9.1",))


K = 1024


@pytest.mark.parametrize(
    ("assignment", "tasks"),
    [
        pytest.param(whole(), [0], id="none"),
        pytest.param(whole(10, 10, 10), [3], id="small"),
        pytest.param(whole(*[256 * K] * 7), [3, 3, 1], id="large specs"),
        pytest.param(whole(2000 * K, 10, 2000 * K, 2000 * K), [1, 1, 1, 1], id="each too large by itself"),
        pytest.param(whole(*[10 * K] * 1000), None, id="many"),
    ],
)
def test_it_is_cut_and_put_together(assignment: Assignment, tasks: list[int] | None) -> None:
    messages = cut(assignment)
    assert [len(one.put) for one in messages] == tasks or tasks is None
    assert all(len(msgspec.json.encode(one)) < PART_BYTES_MAX + TASK_BYTES for one in messages if len(one.put) > 1)
    *before, last = messages
    assert all(isinstance(one, AssignmentPart) for one in before)
    gathering = Gathering()
    assert [gathering.take(one) for one in before] == [None] * len(before)
    assert gathering.take(last) == assignment
    later = replace(assignment, full=False, put=())
    assert gathering.take(later) == later, "nothing is left of it"


def test_a_spec_as_large_as_may_be_is_one_of_several_in_a_part() -> None:
    """So that parts are few, and each is far from what a connection takes."""
    assert parts.PART_BYTES_MAX >= 4 * 256 * K - 4 * TASK_BYTES
