"""What a placement constraint means, and which nodes a global service covers."""

import pytest
from msgspec.structs import replace

from longshore.decide.placement.constraints import Constraint, Operator, eligible, parse
from longshore.model.errors import Invalid
from longshore.model.objects import Availability, EngineFacts, NodeStatus
from tests.tables.build import (
    GIB,
    node,
    service,
)


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("node.name==n1", Constraint("node.name", Operator.IS, ("n1",))),
        ("node.name != n1", Constraint("node.name", Operator.IS_NOT, ("n1",))),
        ("  node.labels.zone ==  a ", Constraint("node.labels.zone", Operator.IS, ("a",))),
        (
            "node.labels.com.example/disk!=ssd",
            Constraint("node.labels.com.example/disk", Operator.IS_NOT, ("ssd",)),
        ),
        ("node.labels.a==b!=c", Constraint("node.labels.a", Operator.IS, ("b!=c",))),
        ("node.labels.motto==two words", Constraint("node.labels.motto", Operator.IS, ("two words",))),
        ("node.labels.zone in (a, b,a)", Constraint("node.labels.zone", Operator.IN, ("a", "b"))),
        ("node.name notin(n1)", Constraint("node.name", Operator.NOT_IN, ("n1",))),
        ("node.labels.disk", Constraint("node.labels.disk", Operator.EXISTS)),
        (" ! node.labels.disk", Constraint("node.labels.disk", Operator.MISSING)),
        ("node.labels.cores>8", Constraint("node.labels.cores", Operator.GREATER, ("8",))),
        ("node.labels.cores >= 8.5", Constraint("node.labels.cores", Operator.AT_LEAST, ("8.5",))),
        ("node.labels.cores<-1", Constraint("node.labels.cores", Operator.LESS, ("-1",))),
        ("engine.labels.cores <= 8", Constraint("engine.labels.cores", Operator.AT_MOST, ("8",))),
        ("node.platform.arch in (x86_64, amd64)", Constraint("node.platform.arch", Operator.IN, ("amd64",))),
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
        ("zone in (a)", "is about 'zone'"),
        ("!zone", "is not of the form"),
        ("node.labels.zone in (a,,b)", "lists nothing at one place"),
        ("node.labels.zone in ()", "lists nothing at one place"),
        ("node.labels.cores > many", "compares with 'many', which is no number"),
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
        ("node.labels.zone in (a, b)", True),
        ("node.labels.zone in (b, c)", False),
        ("node.labels.zone notin (b, c)", True),
        ("node.labels.zone notin (a, c)", False),
        ("node.labels.disk in (ssd)", False),
        ("node.labels.disk notin (ssd)", True),
        ("node.labels.zone", True),
        ("node.labels.disk", False),
        ("!node.labels.zone", False),
        ("!node.labels.disk", True),
        ("node.labels.cores>8", False),
        ("node.labels.cores>=8", True),
        ("node.labels.cores<8.5", True),
        ("node.labels.cores<=7", False),
        ("node.labels.zone>1", False),
        ("node.labels.disk<1", False),
        ("node.platform.os==linux", True),
        ("node.platform.arch==x86_64", True),
        ("node.platform.arch!=arm64", True),
        ("engine.labels.rack==r1", True),
        ("engine.labels.row", False),
    ],
)
def test_constraint_holds(text: str, holds: bool) -> None:
    engine = EngineFacts(platform="linux", architecture="amd64", labels={"rack": "r1"})
    assert parse(text).holds(replace(node("n1", zone="a", cores="8"), engine=engine)) is holds


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
