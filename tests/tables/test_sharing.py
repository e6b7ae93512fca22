"""Mappings that share what did not change say the same as plain dictionaries, in the same order, and stay as they
were."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.model.objects import Task, task_id
from longshore.model.sharing import LAID_OVER_MIN, SLOTS_A_PART, Shared, Slots

KEYS = st.sampled_from([f"k{number}" for number in range(3 * LAID_OVER_MIN)])
EDITS = st.lists(st.tuples(KEYS, st.booleans()), max_size=2 * LAID_OVER_MIN)
SLOT = st.integers(1, 3 * SLOTS_A_PART)
PLACES = st.lists(st.tuples(SLOT, st.integers(1, 3), st.booleans()), max_size=40)


def there(known: Iterable[str], edits: list[tuple[str, bool]]) -> dict[str, bool]:
    """Edits as a store makes them: each key once, and only what is there is deleted."""
    return {key: puts for key, puts in edits if puts or key in known}


@given(st.lists(EDITS, max_size=8), st.booleans())
def test_a_shared_mapping_is_a_dictionary(steps: list[list[tuple[str, bool]]], read: bool) -> None:
    shared: Shared[int] = Shared()
    plain: dict[str, int] = {}
    versions = [(shared, dict(plain))]
    for number, step in enumerate(steps):
        edits = there(plain, step)
        shared = shared.edited({key: number if puts else None for key, puts in edits.items()})
        for key, puts in edits.items():
            if puts:
                plain[key] = number
            else:
                del plain[key]
        if read:
            assert list(shared.items()) == list(plain.items())
        versions.append((shared, dict(plain)))
    for version, then in versions:
        for key in (f"k{number}" for number in range(3 * LAID_OVER_MIN)):
            assert (version.get(key), key in version) == (then.get(key), key in then)
        assert bool(version) is bool(then)
        assert (list(version), list(version.values()), len(version)) == (list(then), list(then.values()), len(then))


@given(EDITS, EDITS)
def test_what_differs_is_found(first: list[tuple[str, bool]], second: list[tuple[str, bool]]) -> None:
    base: Shared[object] = Shared({f"k{number}": object() for number in range(0, 3 * LAID_OVER_MIN, 2)})
    before = base.edited({key: object() if puts else None for key, puts in there(base, first).items()})
    after = before.edited({key: object() if puts else None for key, puts in there(before, second).items()})
    named = {key for key in {*before, *after} if before.get(key) is not after.get(key)}
    assert set(after.differing(before)) == set(before.differing(after)) == named
    assert after.differing(after) == []


def test_a_key_that_comes_again_is_last() -> None:
    base: Shared[int] = Shared({"a": 1, "b": 2})
    assert list(base.edited({"a": None}).edited({"a": 3}).items()) == [("b", 2), ("a", 3)]


def test_what_is_not_there() -> None:
    shared = Shared({"a": 1}).edited({"a": None})
    with pytest.raises(KeyError):
        shared["a"]
    assert shared.get("a", 5) == 5


def made(slot: int, generation: int, release: int = 1) -> Task:
    return Task(id=task_id("web", slot, generation), service="web", slot=slot, generation=generation, release=release)


@given(st.lists(PLACES, max_size=6))
def test_slots_are_a_dictionary_in_order_of_slot(steps: list[list[tuple[int, int, bool]]]) -> None:
    slots, plain = Slots(), dict[str, Task]()
    versions = [(slots, dict(plain))]
    for number, step in enumerate(steps):
        tasks = {task_id("web", slot, generation): (slot, generation, puts) for slot, generation, puts in step}
        edits = {
            id: made(slot, generation, number) if puts else None
            for id, (slot, generation, puts) in tasks.items()
            if puts or id in plain
        }
        slots = slots.edited(edits)
        for id, task in edits.items():
            if task is None:
                del plain[id]
            else:
                plain[id] = task
        versions.append((slots, dict(plain)))
    for version, then in versions:
        ordered = sorted(then.values(), key=lambda task: (task.slot, task.generation))
        assert list(version.values()) == ordered
        assert list(version.items()) == [(task.id, task) for task in ordered]
        assert (list(version), len(version)) == ([task.id for task in ordered], len(then))
        assert all(version.get(id) is task and version[id] is task for id, task in then.items())
        for slot in {task.slot for task in ordered}:
            assert version.of_slot(slot) == [task for task in ordered if task.slot == slot]


@pytest.mark.parametrize("id", ["", "web", "web.", "web.x.1", "web.1", "...", "web.99.1", "web." + "9" * 5000 + ".1"])
def test_what_is_no_task_is_not_found(id: str) -> None:
    slots = Slots().edited({"web.1.1": made(1, 1)})
    assert slots.get(id) is None
    assert id not in slots


def test_only_the_touched_part_is_another() -> None:
    before = Slots().edited({task_id("web", slot, 1): made(slot, 1) for slot in range(1, 4 * SLOTS_A_PART)})
    after = before.edited({"web.1.1": made(1, 1, 2)})
    same = [one is other for one, other in zip(before.parts, after.parts, strict=True)]
    assert same == [False, True, True, True]


def test_what_was_derived_is_worked_out_once() -> None:
    asked: list[int] = []

    def count(tasks: Iterable[Task]) -> int:
        asked.append(1)
        return len(list(tasks))

    (part,) = Slots().edited({"web.1.1": made(1, 1)}).parts
    assert (part.derive(count), part.derive(count), len(asked)) == (1, 1, 1)
