"""Host ports, row by row: fixed, chosen, shared by machine, and held by other programs."""

import pytest
from msgspec.structs import replace

from longshore.decide.placement.hostports import CHOSEN_FIRST, CHOSEN_LAST, PORT_RETRY_S
from longshore.decide.placement.place import decide
from longshore.decide.placement.scoring.scores import DEFAULT
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import NodeStatus, Object, Task
from longshore.model.reasons import Reason
from longshore.model.spec import Protocol
from tests.tables.build import (
    GIB,
    NOW,
    node,
    nodes,
    outcome,
    placed,
    port,
    published,
    service,
    task,
    waiting,
    world,
)

UDP = Protocol.UDP


# -- host ports


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param(
            [*nodes(2), service(ports=[port(80, 8080)]), *waiting(3)],
            {"web.1.1": "n1 8080/tcp", "web.2.1": "n2 8080/tcp"}
            | {"web.3.1": "0 of 2 nodes: host port 8080/tcp in use (n1, n2)"},
            id="a fixed port goes once to each machine",
        ),
        pytest.param(
            [
                node("n1", machine="m"),
                node("n2", machine="m"),
                node("n3"),
                service(ports=[port(80, 8080)]),
                *waiting(3),
            ],
            {"web.1.1": "n1 8080/tcp", "web.2.1": "n3 8080/tcp"}
            | {"web.3.1": "0 of 3 nodes: host port 8080/tcp in use (n1, n2, n3)"},
            id="nodes of one machine share its ports",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(53, 53), port(53, 53, UDP)]), task()],
            {"web.1.1": "n1 53/tcp 53/udp"},
            id="protocols have ports of their own",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(53, 53, UDP)]),
                service("api", ports=[port(53, 53)]),
                task("api", 1, on="n1", ports=published(53)),
                task(),
            ],
            {"web.1.1": "n1 53/udp"},
            id="a port of the other protocol is free",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80), port(81), port(53, protocol=UDP)]), *waiting(2)],
            {"web.1.1": "n1 30000/tcp 30001/tcp 30000/udp", "web.2.1": "n1 30002/tcp 30003/tcp 30001/udp"},
            id="chosen: the lowest free, by protocol",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80), port(81, 30000), port(82)]), task()],
            {"web.1.1": "n1 30001/tcp 30000/tcp 30002/tcp"},
            id="chosen: not what the same task names",
        ),
        pytest.param(
            [node("n1", machine="m"), node("n2", machine="m"), service(ports=[port(80)]), *waiting(2)],
            {"web.1.1": "n1 30000/tcp", "web.2.1": "n2 30001/tcp"},
            id="chosen: each once per machine",
        ),
        pytest.param(
            [*nodes(2), service(ports=[port(80)]), *waiting(2)],
            {"web.1.1": "n1 30000/tcp", "web.2.1": "n2 30000/tcp"},
            id="chosen: machines do not mind one another",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80)]),
                service("api", ports=[port(80, 30001)]),
                task("web", 8, on="n1", ports=published(30000)),
                task("web", 9, on="n1", ports=published(30003)),
                task("api", 1, created_at=1.0),
                *waiting(2),
            ],
            {"api.1.1": "n1 30001/tcp", "web.1.1": "n1 30002/tcp", "web.2.1": "n1 30004/tcp"},
            id="chosen: around what is given out",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80)]),
                task("web", 9, on="n1", wanted=Wanted.STOPPED, ports=published(30000)),
                task(),
            ],
            {"web.1.1": "n1 30001/tcp"},
            id="a task that is still stopping keeps its port",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80)]),
                task("web", 9, on="n1", state=State.LOST, ports=published(30000)),
                task(),
            ],
            {"web.1.1": "n1 30000/tcp"},
            id="a task that ended does not",
        ),
        pytest.param(
            [
                node("n1", machine="m"),
                node("n2", machine="m", status=NodeStatus.DOWN),
                service(ports=[port(80, 8080)]),
                task("web", 9, on="n2", ports=published(8080)),
                task(),
            ],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n1), node is down (n2)"},
            id="a port of a node that is down is still its machine's",
        ),
    ],
)
def test_ports(records: list[Object], expected: dict[str, str]) -> None:
    assert placed(*records) == expected


def test_a_machine_runs_out_of_ports_to_choose() -> None:
    each = 500
    wide = service(ports=[port(1000 + number) for number in range(each)])
    full = (CHOSEN_LAST - CHOSEN_FIRST + 1) // each
    shared = [node("n1", machine="m"), node("n2", machine="m")]
    changes, _ = decide(world(*shared, wide, *waiting(full + 1)), NOW, DEFAULT)
    *fit, last = [change.after for change in changes if isinstance(change.after, Task)]
    assert len({port.host for one in fit for port in one.ports}) == full * each
    assert last.message == "0 of 2 nodes: no host port free from 30000 to 32767 (n1, n2)"


def test_a_published_port_keeps_its_address_and_container_port() -> None:
    asked = replace(port(80), ip="127.0.0.1")
    (change,) = decide(world(node("n1"), service(ports=[asked]), task()), NOW, DEFAULT)[0]
    assert isinstance(change.after, Task)
    (given,) = change.after.ports
    assert (given.container, given.host, given.ip, given.protocol) == (80, 30000, "127.0.0.1", Protocol.TCP)


# -- ports that other programs hold


def refused(slot: int, *hosts: int, on: str = "n1", ago_s: float = 10.0) -> Task:
    """A task that found its port taken."""
    failed = task("web", slot, on=on, state=State.FAILED, reason=Reason.PORT_TAKEN, ports=published(*hosts))
    return replace(failed, finished_at=NOW - ago_s)


IN_USE = "0 of 1 node: host port 8080/tcp in use (n1)"


@pytest.mark.parametrize(
    ("records", "expected", "again"),
    [
        pytest.param(
            [*nodes(1), service(ports=[port(80)]), refused(9, 30000), task()],
            {"web.1.1": "n1 30001/tcp"},
            None,
            id="another port is chosen",
        ),
        pytest.param(
            [*nodes(2), service(ports=[port(80, 8080)]), refused(9, 8080), task()],
            {"web.1.1": "n2 8080/tcp"},
            None,
            id="a fixed port goes to another machine",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)]), refused(9, 8080), task()],
            {"web.1.1": IN_USE},
            NOW - 10 + PORT_RETRY_S,
            id="or waits, and says until when",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)]), refused(9, 8080), refused(8, 8080, ago_s=4.0), task()],
            {"web.1.1": IN_USE},
            NOW - 4 + PORT_RETRY_S,
            id="the last refusal counts",
        ),
        pytest.param(
            [
                *nodes(2),
                service(ports=[port(80, 8080)]),
                refused(9, 8080, ago_s=4.0),
                refused(8, 8080, on="n2", ago_s=9.0),
                task(),
            ],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n1, n2)"},
            NOW - 9 + PORT_RETRY_S,
            id="the first machine to come free wakes",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)]), refused(9, 8080, ago_s=PORT_RETRY_S), task()],
            {"web.1.1": "n1 8080/tcp"},
            None,
            id="after a while it is tried again",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)], memory=9 * GIB), refused(9, 8080), task()],
            {"web.1.1": "0 of 1 node: not enough memory (n1)"},
            None,
            id="no look for a node that lacks more than the port",
        ),
        pytest.param(
            [
                *nodes(1),
                service(ports=[port(80, 8081)]),
                refused(9, 8080),
                task("web", 8, on="n1", ports=published(8081)),
                task(),
            ],
            {"web.1.1": "0 of 1 node: host port 8081/tcp in use (n1)"},
            None,
            id="no look for another port",
        ),
        pytest.param(
            [
                *nodes(2),
                service(ports=[port(80, 8080)]),
                refused(9, 8080),
                task(pinned="n2"),
                task("web", 8, on="n2", ports=published(8080)),
            ],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n2), pinned to another node (n1)"},
            None,
            id="no look at a machine that the task may not go to",
        ),
        pytest.param(
            [*nodes(2), service(ports=[port(80, 8080)]), refused(9, 8080), task(pinned="n1")],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n1), pinned to another node (n2)"},
            NOW - 10 + PORT_RETRY_S,
            id="a look at the machine that it must go to",
        ),
        pytest.param(
            [
                node("n1", machine="m"),
                node("n2", machine="m"),
                service(ports=[port(80, 8080)]),
                refused(9, 8080),
                task(),
            ],
            {"web.1.1": "0 of 2 nodes: host port 8080/tcp in use (n1, n2)"},
            NOW - 10 + PORT_RETRY_S,
            id="refused on one node, refused on its machine",
        ),
        pytest.param(
            [*nodes(1), service(ports=[port(80, 8080)]), replace(refused(9, 8080), reason=Reason.EXITED), task()],
            {"web.1.1": "n1 8080/tcp"},
            None,
            id="a task that failed otherwise blocks nothing",
        ),
    ],
)
def test_port_taken(records: list[Object], expected: dict[str, str], again: float | None) -> None:
    changes, look = decide(world(*records), NOW, DEFAULT)
    assert outcome(changes) == expected
    assert look == again
