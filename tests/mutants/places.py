"""Planted bugs of places: rules that placement forgets, and decisions that land after what they rested on has changed.

Like those of `planted`, for the rules that some worlds are given.
"""

from typing import Any

import pytest
from msgspec.structs import replace

from longshore.control import controllers
from longshore.decide import rollout
from longshore.decide.placement import filters, rules
from longshore.decide.placement.holdings import Holdings
from longshore.model.lifecycle import Owner
from longshore.model.objects import Kind, Task
from longshore.model.snapshot import Snapshot
from longshore.model.spec import WHOLE_MILLIS
from tests.mutants.planted import Mutant, planting, plenty

MUTANTS: list[Mutant] = []


mutant = planting(MUTANTS)


@mutant(caught_by=31)
def placement_forgets_constraints_that_are_no_equality(patch: pytest.MonkeyPatch) -> None:
    """Lists, numbers, and labels that are there or not."""
    real = filters._constraint

    def constraint(table: Any, ask: Any, constraint: Any) -> Any:
        return real(table, ask, constraint) if constraint.operator in ("==", "!=") else plenty(table, ask)

    patch.setattr(filters, "_constraint", constraint)


@mutant(caught_by=31)
def placement_forgets_platforms(patch: pytest.MonkeyPatch) -> None:
    """An image is sent to a processor that cannot run it."""
    patch.setattr(filters, "_platform", plenty)


@mutant(caught_by=30)
def placement_forgets_taints(patch: pytest.MonkeyPatch) -> None:
    """They keep nobody off."""
    patch.setattr(rules, "_untainted", plenty)


@mutant(caught_by=31)
def taints_drive_nobody_away(patch: pytest.MonkeyPatch) -> None:
    """What is there stays, whatever the effect."""
    patch.setattr(rollout, "gives_up", lambda node, spec: node.availability.gives_up)


@mutant(caught_by=30)
def named_resources_are_plenty(patch: pytest.MonkeyPatch) -> None:
    """More are given out than a node was said to have."""
    patch.setattr(filters, "_named", plenty)
    real = Holdings._parts_of

    def parts_of(self: Holdings, name: str, row: int) -> dict[str, int]:
        parts = real(self, name, row)
        return parts if WHOLE_MILLIS in parts.values() else dict.fromkeys(parts, WHOLE_MILLIS)

    patch.setattr(Holdings, "_parts_of", parts_of)


@mutant(caught_by=30)
def a_device_is_given_twice(patch: pytest.MonkeyPatch) -> None:
    """It is counted right, and always the first ones are taken."""
    real = Holdings.take

    def take(self: Holdings, row: int, extra: Any) -> dict[str, tuple[str, ...]]:
        supplies = self._nodes[row].resources
        return {name: supplies[name][: len(ids)] for name, ids in real(self, row, extra).items()}  # type: ignore[index]

    patch.setattr(Holdings, "take", take)


@mutant(caught_by=31)
def pids_are_plenty(patch: pytest.MonkeyPatch) -> None:
    """A node is given more processes than its kernel has room for."""
    patch.setattr(filters, "_pids", plenty)


@mutant(caught_by=30)
def any_number_goes_to_a_node(patch: pytest.MonkeyPatch) -> None:
    """More of a service than it wants there."""
    patch.setattr(rules, "_per_node", plenty)


@mutant(caught_by=31)
def nobody_has_to_be_near(patch: pytest.MonkeyPatch) -> None:
    """Required affinity refuses no node."""
    patch.setattr(rules, "_near", plenty)


@mutant(caught_by=31)
def nobody_has_to_be_apart(patch: pytest.MonkeyPatch) -> None:
    """Required anti-affinity refuses no node."""
    patch.setattr(rules, "_apart", plenty)


@mutant(caught_by=72)
def who_is_to_be_apart_binds_itself_alone(patch: pytest.MonkeyPatch) -> None:
    """The others come beside it later."""
    patch.setattr(rules, "_repelled", plenty)


@mutant(caught_by=30)
def required_evenness_is_no_more_than_a_wish(patch: pytest.MonkeyPatch) -> None:
    """One domain gets as many as fit."""
    patch.setattr(rules, "_even", plenty)


@mutant(caught_by=49)
def placement_does_not_notice_room_that_came_free(patch: pytest.MonkeyPatch) -> None:
    """A task that waits goes on waiting until something else wakes placement."""
    real = controllers._placement_keys

    def keys(event: Any, world: Snapshot) -> Any:
        ended = isinstance(event.after, Task) and not event.after.live
        return () if ended and event.kind is Kind.TASK else real(event, world)

    patch.setattr(controllers, "_placement_keys", keys)


@mutant(caught_by=32)
def a_place_rests_on_nothing(patch: pytest.MonkeyPatch) -> None:
    """A task is placed on a node that has gone down, was closed or lost a label since it was chosen."""
    real = Snapshot._check

    def check(self: Snapshot, changes: Any, befores: Any, guards: Any) -> None:
        kept = [replace(one, rests_on=None) if one.by is Owner.PLACEMENT else one for one in changes]
        real(self, kept, befores, guards)

    patch.setattr(Snapshot, "_check", check)
