"""Closed lists are closed: every failure has its status and its exit code, every reason a use."""

import re

from longshore.api.wire import STATUS_OF, status_of
from longshore.cli.exits import EXIT_OF, exit_of
from longshore.client.connection import FAILURE_OF
from longshore.model import errors
from longshore.model.errors import Denied, Failure
from longshore.model.reasons import Reason
from tests.architecture.sources import source

EXPECTED = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Failure)} - {Failure}

UNUSED = {Reason.ADOPTED, Reason.ATTEMPTS_SPENT, Reason.ENGINE_SILENT}
"""Reasons that nothing gives yet. Give them, or take them out of the list of reasons."""


def test_every_failure_has_a_status() -> None:
    assert STATUS_OF.keys() == EXPECTED, "api.wire.STATUS_OF lists exactly the family of model.errors"
    assert {status_of(kind("")) for kind in EXPECTED - {Denied}} <= FAILURE_OF.keys(), "the client reads each back"
    assert {status_of(Denied("", known=known)) for known in (True, False)} <= FAILURE_OF.keys()


def test_every_failure_has_an_exit_code() -> None:
    assert EXIT_OF.keys() == EXPECTED, "cli.exits.EXIT_OF lists exactly the family of model.errors"
    assert all(exit_of(kind("")) for kind in EXPECTED), "no failure ends as if it were none"


def test_an_adapter_s_own_failure_counts_as_what_it_is_a_kind_of() -> None:
    strangers = _kinds(Failure) - EXPECTED
    assert all(exit_of(object.__new__(kind)) for kind in strangers), (
        "derive it from one of the family, not from Failure"
    )


def _kinds(kind: type[Failure]) -> set[type[Failure]]:
    return {one for child in kind.__subclasses__() for one in (child, *_kinds(child))}


def test_every_reason_is_given_by_something() -> None:
    given = set(re.findall(r"\bReason\.([A-Z_]+)\b", source()))
    unused = {reason for reason in Reason if reason.name not in given}
    assert unused - UNUSED == set(), "nothing gives these reasons: give them, or take them out of model/reasons.py"
    assert UNUSED & set(Reason) <= unused, "these reasons are given now: take them out of UNUSED"
