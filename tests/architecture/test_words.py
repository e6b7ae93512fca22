"""Closed lists are closed: every failure has its status and its exit code, every reason a use."""

import re

from longshore.api.wire import STATUS_OF, status_of
from longshore.cli.exits import EXIT_OF, exit_of
from longshore.client.connection import FAILURE_OF
from longshore.decide.placement.scoring.scores import POLICIES
from longshore.engine.docker_http import Declined
from longshore.main.commands import SCHEDULERS
from longshore.model import errors
from longshore.model.errors import Denied, Failure
from longshore.model.reasons import Reason
from longshore.simulate import world
from tests.architecture.sources import source

EXPECTED = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Failure)} - {Failure}


def test_every_failure_has_a_status() -> None:
    assert STATUS_OF.keys() == EXPECTED, "api.wire.STATUS_OF lists exactly the family of model.errors"
    assert {status_of(kind("")) for kind in EXPECTED - {Denied}} <= FAILURE_OF.keys(), "the client reads each back"
    assert {status_of(Denied("", known=known)) for known in (True, False)} <= FAILURE_OF.keys()


def test_every_failure_has_an_exit_code() -> None:
    assert EXIT_OF.keys() == EXPECTED, "cli.exits.EXIT_OF lists exactly the family of model.errors"
    assert all(exit_of(kind("")) for kind in EXPECTED), "no failure ends as if it were none"


def test_an_adapter_s_own_failure_is_one_of_the_family() -> None:
    kinds = _kinds(Failure)
    assert Declined in kinds, "there is one to look at"
    strangers = [kind for kind in kinds if not EXPECTED & set(kind.__mro__)]
    assert not strangers, "derive these from a member of the family, so that they have its status and exit code"


def _kinds(kind: type[Failure]) -> set[type[Failure]]:
    return {one for child in kind.__subclasses__() for one in (child, *_kinds(child))}


def test_every_reason_is_given_by_something() -> None:
    given = set(re.findall(r"\bReason\.([A-Z_]+)\b", source()))
    unused = {reason.name for reason in Reason} - given
    assert unused == set(), "nothing gives these reasons: give them, or take them out of model/reasons.py"


def test_the_policies_are_the_same_everywhere() -> None:
    assert set(SCHEDULERS) == set(POLICIES), "main.commands offers exactly the policies that there are"
    assert set(world.POLICIES) == set(POLICIES), "the worlds try exactly the policies that there are"
