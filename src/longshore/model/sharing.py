"""Mappings that never change: the next version of one shares all that it does not change.

Two kinds. `Shared` keeps what a commit put over a larger mapping that many versions have in common, in the order of a
plain dictionary. `Slots` keeps the tasks of one service in parts of a few slots each, so that a commit copies only the
parts it touches, and whoever looks at a service again has to look at those alone: what was derived from a part is
remembered with it. Knows keys and positions; must not know what is decided by them.
"""

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import chain
from typing import Any, TypeVar, overload

from longshore.model.objects import Task

V = TypeVar("V")
T = TypeVar("T")
D = TypeVar("D")

LAID_OVER_MIN = 32
LAID_OVER_PART = 1 / 32
"""A version that differs from what is shared in more keys than this becomes what is shared: near the root of what a
thousand to a hundred thousand keys would have, where both sides cost the same."""
SLOTS_A_PART = 32


class Shared(Mapping[str, V]):
    """A dictionary that never changes, in order of insertion."""

    __slots__ = ("_base", "_derived", "_gone", "_over", "_whole")

    def __init__(self, whole: dict[str, V] | None = None) -> None:
        """`whole` is not to be changed from now on."""
        self._base: dict[str, V] = {} if whole is None else whole
        self._over: dict[str, V] = {}
        """What is put over the base."""
        self._gone: dict[str, None] = {}
        """Keys of the base that are deleted; one that came again is over it too, at its new place."""
        self._whole: dict[str, V] | None = self._base
        """All of it in one, if anybody asked for that."""
        self._derived: dict[Any, Any] | None = None

    def edited(self, edits: Mapping[str, V | None]) -> "Shared[V]":
        """The version with these values put, and those keys deleted that have None. They are there."""
        following: Shared[V] = Shared.__new__(Shared)
        following._base, following._whole, following._derived = self._base, None, None
        following._over, following._gone = over, gone = self._over.copy(), self._gone.copy()
        for key, value in edits.items():
            if value is not None:
                over[key] = value
            else:
                if key in self._base:
                    gone[key] = None
                over.pop(key, None)
        if len(over) + len(gone) > LAID_OVER_MIN + len(self._base) * LAID_OVER_PART:
            return Shared(following._all())
        return following

    def differing(self, before: "Shared[V]") -> list[str]:
        """Keys that have another value than in `before`, or are in one of the two alone. Costs what was changed between
        them, unless that was much."""
        if self is before:
            return []
        if self._base is not before._base:
            return _differing(self._all(), before._all())
        # Most of what is laid over the base is the same in both; what is not may be what the base has.
        keys = {**before._gone, **self._gone, **dict.fromkeys(_differing(self._over, before._over))}
        return [key for key in keys if self.get(key) is not before.get(key)]

    def derive(self, of: Callable[["Shared[V]"], T]) -> T:
        """What `of` says of this version, worked out once. `of` is a plain function of it and of nothing else."""
        if self._derived is None:
            self._derived = {}
        found: T | None = self._derived.get(of)
        if found is None:
            found = self._derived[of] = of(self)
        return found

    def _all(self) -> dict[str, V]:
        whole = self._whole
        if whole is None:
            whole = self._base.copy()
            for key in self._gone:
                del whole[key]
            whole.update(self._over)
            self._whole = whole
        return whole

    def __getitem__(self, key: str) -> V:
        if self._whole is not None:
            return self._whole[key]
        if key in self._over:
            return self._over[key]
        if key in self._gone:
            raise KeyError(key)
        return self._base[key]

    @overload
    def get(self, key: str, /) -> V | None: ...
    @overload
    def get(self, key: str, default: V | D, /) -> V | D: ...
    def get(self, key: str, default: object = None, /) -> object:
        if self._whole is not None:
            return self._whole.get(key, default)
        if key in self._over:
            return self._over[key]
        return default if key in self._gone else self._base.get(key, default)

    def __contains__(self, key: object) -> bool:
        if self._whole is not None:
            return key in self._whole
        return key in self._over or (key in self._base and key not in self._gone)

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return bool(self._over) or len(self._gone) < len(self._base)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def keys(self) -> KeysView[str]:
        return self._all().keys()

    def values(self) -> ValuesView[V]:
        return self._all().values()

    def items(self) -> ItemsView[str, V]:
        return self._all().items()


def _differing(mine: dict[str, V], theirs: dict[str, V]) -> list[str]:
    found = [key for key, value in mine.items() if theirs.get(key) is not value]
    found += [key for key in theirs if key not in mine]
    return found


class Part:
    """The tasks of a few neighbouring slots, by id, in order of slot and generation. Never changed."""

    __slots__ = ("_derived", "slots", "tasks")

    def __init__(self, slots: range, tasks: dict[str, Task]) -> None:
        self.slots = slots
        """That would be in it."""
        self.tasks = tasks
        self._derived: dict[Any, Any] = {}

    def derive(self, of: Callable[[Iterable[Task]], T]) -> T:
        """What `of` says of these tasks, worked out once. `of` is a plain function of them and of nothing else."""
        found: T | None = self._derived.get(of)
        if found is None:
            # Two threads may both work it out: it is the same.
            found = self._derived[of] = of(self.tasks.values())
        return found


class Slots(Mapping[str, Task]):
    """The tasks of one service by id, in order of slot and generation. Never changed."""

    __slots__ = ("_len", "_parts")

    def __init__(self) -> None:
        self._parts: dict[int, Part] = {}
        self._len = 0

    @property
    def parts(self) -> Iterable[Part]:
        """All of them, in order; neighbouring slots are in one. What is not touched is the same object in the next
        version."""
        return self._parts.values()

    def covering(self, slot_last: int) -> list[Part]:
        """The same, and empty ones for slots up to `slot_last` that have no tasks."""
        found = []
        for number in sorted({*self._parts, *range(slot_last // SLOTS_A_PART + 1)}):
            part = self._parts.get(number)
            found.append(part or Part(range(number * SLOTS_A_PART, (number + 1) * SLOTS_A_PART), {}))
        return found

    def of_slot(self, slot: int) -> list[Task]:
        """The tasks of one slot, the oldest first."""
        part = self._parts.get(slot // SLOTS_A_PART)
        return [] if part is None else [task for task in part.tasks.values() if task.slot == slot]

    def edited(self, edits: Mapping[str, Task | None]) -> "Slots":
        """The version with these tasks put, and those deleted that have None. They are there."""
        by_part: dict[int, dict[str, Task | None]] = {}
        for id, task in edits.items():
            by_part.setdefault(_part_of(id), {})[id] = task
        parts, count = self._parts.copy(), self._len
        for number, mine in by_part.items():
            before = parts.get(number)
            after = _edited(before.tasks if before is not None else {}, mine)
            count += len(after) - (len(before.tasks) if before is not None else 0)
            if after:
                parts[number] = Part(range(number * SLOTS_A_PART, (number + 1) * SLOTS_A_PART), after)
            else:
                del parts[number]
        following = Slots.__new__(Slots)
        following._parts = parts if parts.keys() <= self._parts.keys() else dict(sorted(parts.items()))
        following._len = count
        return following

    def __getitem__(self, id: str) -> Task:
        part = self._parts.get(_part_of(id))
        if part is None:
            raise KeyError(id)
        return part.tasks[id]

    @overload
    def get(self, id: str, /) -> Task | None: ...
    @overload
    def get(self, id: str, default: Task | D, /) -> Task | D: ...
    def get(self, id: str, default: object = None, /) -> object:
        part = self._parts.get(_part_of(id))
        return default if part is None else part.tasks.get(id, default)

    def __len__(self) -> int:
        return self._len

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(part.tasks for part in self._parts.values())

    def values(self) -> ValuesView[Task]:
        return _Values(self)

    def items(self) -> ItemsView[str, Task]:
        return _Items(self)


class _Values(ValuesView[Task]):
    _mapping: Slots

    def __iter__(self) -> Iterator[Task]:
        return chain.from_iterable(part.tasks.values() for part in self._mapping.parts)


class _Items(ItemsView[str, Task]):
    _mapping: Slots

    def __iter__(self) -> Iterator[tuple[str, Task]]:
        return chain.from_iterable(part.tasks.items() for part in self._mapping.parts)


def _part_of(id: str) -> int:
    """In which part a task is; for what nobody would call a task's id, any number that is always the same."""
    end = id.rfind(".")
    slot = id[id.rfind(".", 0, end) + 1 : end]
    return int(slot) // SLOTS_A_PART if slot.isdecimal() and len(slot) < 16 else 0


def _edited(tasks: dict[str, Task], edits: Mapping[str, Task | None]) -> dict[str, Task]:
    after, grows = tasks.copy(), False
    for id, task in edits.items():
        if task is None:
            del after[id]
        else:
            grows = grows or id not in after
            after[id] = task
    return dict(sorted(after.items(), key=_place)) if grows else after


def _place(item: tuple[str, Task]) -> tuple[int, int]:
    return item[1].slot, item[1].generation
