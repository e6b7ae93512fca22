"""What a placement constraint means, and which nodes a global service covers."""

import pytest

from longshore.decide.placement.constraints import Constraint, eligible, parse
from longshore.model.errors import Invalid
from longshore.model.objects import Availability, NodeStatus
from tests.tables.build import (
    GIB,
    node,
    service,
)


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("node.name==n1", Constraint("node.name", "n1")),
        ("node.name != n1", Constraint("node.name", "n1", negated=True)),
        ("  node.labels.zone ==  a ", Constraint("node.labels.zone", "a")),
        ("node.labels.com.example/disk!=ssd", Constraint("node.labels.com.example/disk", "ssd", negated=True)),
        ("node.labels.a==b!=c", Constraint("node.labels.a", "b!=c")),
        ("node.labels.motto==two words", Constraint("node.labels.motto", "two words")),
    ],
)
def test_parse(text: str, constraint: Constraint) -> None:
    assert parse(text) == constraint
    assert parse(str(constraint)) == constraint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not of the form node.labels.KEY==VALUE"),
        ("node.name", "is not of the form"),
        ("node.name=n1", "is not of the form"),
        ("node.name===n1", "is not of the form"),
        ("node.name==", "is not of the form"),
        ("==n1", "is not of the form"),
        ("node name==n1", "is not of the form"),
        ("zone==a", "is about 'zone'; use node.name or node.labels.KEY"),
        ("node.labels.==a", "is about 'node.labels.'"),
        ("node.role==manager", "is about 'node.role'"),
    ],
)
def test_parse_refuses(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words.replace(".", r"\.")):
        parse(text)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("node.name==n1", True),
        ("node.name!=n1", False),
        ("node.name==N1", False),
        ("node.labels.zone==a", True),
        ("node.labels.zone!=a", False),
        ("node.labels.zone==b", False),
        ("node.labels.zone!=b", True),
        ("node.labels.disk==ssd", False),
        ("node.labels.disk!=ssd", True),
    ],
)
def test_constraint_holds(text: str, holds: bool) -> None:
    assert parse(text).holds(node("n1", zone="a")) is holds


@pytest.mark.parametrize(
    ("changes", "constraints", "expected"),
    [
        ({}, [], True),
        ({}, ["node.labels.zone==a", "node.name!=n2"], True),
        ({}, ["node.labels.zone==a", "node.name!=n1"], False),
        ({"availability": Availability.PAUSED}, [], False),
        ({"availability": Availability.DRAINED}, [], False),
        ({"status": NodeStatus.DOWN}, [], False),
        ({"memory": 0}, [], True),
    ],
)
def test_eligible(changes: dict[str, object], constraints: list[str], expected: bool) -> None:
    here = node("n1", zone="a", **changes)  # type: ignore[arg-type]  # rows of one table
    assert eligible(here, service(memory=GIB, constraints=constraints).spec) is expected
