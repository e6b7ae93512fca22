"""Where requests go, row by row: which tasks are endpoints, what entries are told, and what that is in HAProxy's words."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.agent import haproxy
from longshore.agent.haproxy import Shown
from longshore.decide import services
from longshore.decide.admission import admit
from longshore.decide.endpoints import endpoints, is_entry, listeners
from longshore.decide.grammar import PORTS_CHOSEN
from longshore.decide.placement import hostports
from longshore.decide.rollout import starts_first
from longshore.decide.wishes import apply_app, apply_service, roll_back
from longshore.model.errors import Conflict, Invalid
from longshore.model.lifecycle import State, Wanted
from longshore.model.messages import Listener, Server
from longshore.model.objects import Availability, NodeStatus, PublishedPort, ReleasePhase, Service, Task
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Ingress, Mode, Port, Protocol, ServiceSpec, UpdateRules, drain_s_of
from longshore.model.views import EndpointState, ServiceWish
from tests.situations import NOW, node, releases, service, task, world

HTTP = Port(container=8080, ingress=Ingress.HTTP, listen=80)
TCP = Port(container=5432, ingress=Ingress.TCP, listen=5432)
PLAIN = Port(container=8080)


def at(host: int, container: int = 8080) -> dict[str, Any]:
    return {"ports": (PublishedPort(container=container, host=host),)}


def web(*ports: Port, **fields: Any) -> Service:
    return service(ports=ports or (HTTP,), **fields)


# -- endpoints


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(task(**at(30000)), EndpointState.READY, id="ready"),
        pytest.param(task(ready=False, **at(30000)), None, id="not ready"),
        pytest.param(task(wanted=Wanted.LEAVING, **at(30000)), EndpointState.LEAVING, id="leaving"),
        pytest.param(task(wanted=Wanted.LEAVING, ready=False, **at(30000)), None, id="leaving and not ready"),
        pytest.param(task(wanted=Wanted.STOPPED, **at(30000)), None, id="to be stopped"),
        pytest.param(task(wanted=Wanted.REMOVED, **at(30000)), None, id="to be removed"),
        pytest.param(task(relieves="web.1.0", **at(30000)), None, id="standing by"),
        pytest.param(task(state=State.STARTING, **at(30000)), None, id="starting"),
        pytest.param(task(state=State.FAILED, **at(30000)), None, id="failed"),
        pytest.param(task(on="n2", **at(30000)), None, id="on a node that is down"),
    ],
)
def test_which_tasks_are_endpoints(one: Task, expected: EndpointState | None) -> None:
    found = endpoints(world(node("n1"), node("n2", status=NodeStatus.DOWN), web(), one), "web")
    assert [view.state for view in found.values()] == ([] if expected is None else [expected])


def test_an_endpoint_says_where_it_is() -> None:
    one = task(ports=(PublishedPort(container=8080, host=30000), PublishedPort(container=53, host=53, ip="10.0.0.9")))
    found = endpoints(world(node("n1"), web(HTTP, Port(container=53, host=53, ip="10.0.0.9")), one), "web")
    assert [(id, view.address, view.port, view.listen) for id, view in found.items()] == [
        ("web.1.1:8080/tcp", "127.0.0.1", 30000, 80),
        ("web.1.1:53/tcp", "10.0.0.9", 53, None),
    ]


def test_an_entry_is_a_node_with_the_label() -> None:
    assert is_entry(node("n1", entry="true"))
    assert not is_entry(node("n1", entry="false"))
    assert not is_entry(node("n1"))
    assert not is_entry(None)


# -- what entries are told


def told(world: Snapshot) -> dict[int, list[str]]:
    """By port: the service, then its servers; leaving ones in brackets."""
    return {
        port: [one.service, *(f"[{it.task}]" if it.leaving else it.task for it in one.servers)]
        for port, one in listeners(world).items()
    }


def test_listeners_hold_ready_tasks_and_those_that_leave() -> None:
    tasks = (task(1, **at(1)), task(2, ready=False, **at(2)), task(3, wanted=Wanted.LEAVING, **at(3)))
    assert told(world(node("n1"), web(replicas=3), *tasks)) == {80: ["web", "web.1.1", "[web.3.1]"]}


def test_entries_are_told_of_the_lost_as_such() -> None:
    gone = task(2, on="n2", state=State.LOST, ready=False, **at(2))
    here = world(node("n1"), node("n2", status=NodeStatus.DOWN), web(replicas=2), task(1, **at(1)), gone)
    assert [(one.task, one.port, one.lost) for one in listeners(here)[80].servers] == [
        ("web.1.1", 1, False),
        ("web.2.1", 2, True),
    ]


def test_a_port_is_listened_at_before_anything_is_ready() -> None:
    assert told(world(node("n1"), web(), service("api", ports=(PLAIN,)))) == {80: ["web"]}


def test_a_service_that_was_removed_is_not_served() -> None:
    assert told(world(node("n1"), *releases(web()), task(**at(1)))) == {}


def test_tasks_of_an_older_release_answer_under_its_ports() -> None:
    """Another port of the container, and another port of the entries: what runs goes on being served."""
    now = web(Port(container=9090, ingress=Ingress.HTTP, listen=81), release=2)
    older = web(release=1)
    records = [replace(releases(older)[0], number=1), releases(now)[1]]
    here = world(node("n1"), now, *records, task(1, **at(1)), task(2, release=2, **at(2, 9090)))
    assert told(here) == {80: ["web", "web.1.1"], 81: ["web", "web.2.1"]}


def test_a_port_of_two_services_is_the_older_ones() -> None:
    younger = replace(service("api", ports=(HTTP,)), created_at=2.0)
    assert told(world(node("n1"), younger, web())) == {80: ["web"]}


# -- what may be wished


@pytest.mark.parametrize(
    ("port", "field"),
    [
        (Port(container=80, host=80, ingress=Ingress.TCP), "spec.ports[0].host"),
        (Port(container=80, listen=80), "spec.ports[0].listen"),
        (Port(container=53, protocol=Protocol.UDP, ingress=Ingress.TCP), "spec.ports[0].ingress"),
        (Port(container=80, ingress=Ingress.TCP, listen=0), "spec.ports[0].listen"),
        (Port(container=80, ingress=Ingress.TCP, listen=65_536), "spec.ports[0].listen"),
        (Port(container=80, ingress=Ingress.TCP, listen=30_000), "spec.ports[0].listen"),
        (Port(container=32_767, ingress=Ingress.TCP), "spec.ports[0].listen"),
    ],
)
def test_what_cannot_be_meant_is_refused(port: Port, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        admit(ServiceSpec(image="web", ports=(port,)))
    assert refused.value.field == field


def test_the_entries_port_is_written_out() -> None:
    (port,) = admit(ServiceSpec(image="web", ports=(Port(container=80, ingress=Ingress.HTTP),))).ports
    assert (port.listen, port.host) == (80, None)
    with pytest.raises(Invalid, match="80/tcp is published twice"):
        admit(ServiceSpec(image="web", ports=(Port(container=1, host=80), replace(HTTP, listen=80))))


def test_ports_given_to_tasks_are_placements() -> None:
    assert (hostports.CHOSEN_FIRST, hostports.CHOSEN_LAST) == PORTS_CHOSEN


def test_an_ingress_port_is_no_reason_to_stop_first() -> None:
    spec = web().spec
    assert starts_first(spec)
    assert drain_s_of(spec) == 1.0
    assert drain_s_of(service(ports=(PLAIN,)).spec) == 0.0
    assert drain_s_of(replace(spec, update=UpdateRules(drain_s=0.0))) == 0.0


@pytest.mark.parametrize(
    ("ports", "words"),
    [
        ((HTTP,), "port 80 of the entries is service web's; have api listen at another"),
        ((Port(container=1, host=80),), "port 80 is the entries' for service web and a host port of api"),
        ((Port(container=1, host=80, protocol=Protocol.UDP),), ""),
        ((TCP,), ""),
    ],
)
def test_two_services_do_not_get_one_port(ports: tuple[Port, ...], words: str) -> None:
    here = world(node("n1"), web())
    spec = ServiceSpec(image="api", ports=ports)
    if words:
        with pytest.raises(Conflict, match=words):
            apply_service(here, "api", ServiceWish(spec=spec), NOW)
        with pytest.raises(Conflict, match=words):
            apply_app(here, "shop", {"api": spec}, NOW)
    else:
        assert apply_service(here, "api", ServiceWish(spec=spec), NOW)
        assert apply_app(here, "shop", {"api": spec}, NOW)


def test_services_of_one_app_do_not_get_one_port() -> None:
    spec = ServiceSpec(image="x", ports=(HTTP,))
    with pytest.raises(Conflict, match="port 80"):
        apply_app(world(node("n1")), "shop", {"a": spec, "b": spec}, NOW)


def test_an_app_may_hand_a_port_on() -> None:
    here = world(node("n1"), web(app="shop"))
    specs = {"web": ServiceSpec(image="web"), "api": ServiceSpec(image="api", ports=(HTTP,))}
    assert apply_app(here, "shop", specs, NOW)


def test_nobody_goes_back_to_a_port_that_another_has() -> None:
    before, now = web(release=1), web(PLAIN, release=2)
    done = replace(releases(before)[0], phase=ReleasePhase.DONE)
    here = world(node("n1"), now, done, releases(now)[1], service("api", ports=(HTTP,)))
    with pytest.raises(Conflict, match="service api's"):
        roll_back(here, "web", 1, NOW)


# -- scaling down


@pytest.mark.parametrize(
    ("one", "expected", "again"),
    [
        (task(2, **at(1)), Wanted.LEAVING, NOW + 1),
        (task(2, ready=False, **at(1)), Wanted.REMOVED, None),
        (task(2, wanted=Wanted.LEAVING, leaving_at=NOW - 0.5, **at(1)), None, NOW + 0.5),
        (task(2, wanted=Wanted.LEAVING, leaving_at=NOW - 1, **at(1)), Wanted.REMOVED, None),
    ],
)
def test_what_is_too_many_leaves_first(one: Task, expected: Wanted | None, again: float | None) -> None:
    changes, look = services.decide(world(node("n1"), web(replicas=1), task(1, **at(2)), one), "web", NOW)
    wanted = [change.after.wanted for change in changes if isinstance(change.after, Task)]
    assert wanted == ([] if expected is None else [expected])
    assert look == again


def test_a_service_without_ingress_stops_what_is_too_many_at_once() -> None:
    here = world(node("n1"), web(PLAIN, replicas=1), task(1, **at(1)), task(2, **at(2)))
    (change,), _ = services.decide(here, "web", NOW)
    assert isinstance(change.after, Task)
    assert change.after.wanted is Wanted.REMOVED


def test_a_global_service_gives_a_node_up_slowly() -> None:
    here = world(node("n1", availability=Availability.DRAINED), web(mode=Mode.GLOBAL), task(1, pinned="n1", **at(1)))
    (change,), _ = services.decide(here, "web", NOW)
    assert isinstance(change.after, Task)
    assert change.after.wanted is Wanted.LEAVING


# -- HAProxy's words


def server(slot: int, *, leaving: bool = False, address: str = "10.0.0.1") -> Server:
    return Server(task=f"web.{slot}.1", address=address, port=30000 + slot, leaving=leaving)


def listener(*servers: Server, port: int = 80, mode: Ingress = Ingress.HTTP, **fields: Any) -> Listener:
    return Listener(port=port, service="web", mode=mode, servers=servers, **fields)


ONE, TWO, GOING, LOST = (
    "web.1.1_10.0.0.1:30001",
    "web.2.1_10.0.0.1:30002",
    server(1, leaving=True),
    replace(server(1), lost=True),
)


@pytest.mark.parametrize(
    ("wanted", "there", "expected"),
    [
        pytest.param([server(1)], {ONE: 0}, [], id="as wanted"),
        pytest.param(
            [server(1)],
            {},
            [f"add server to_80/{ONE} 10.0.0.1:30001", f"set server to_80/{ONE} state ready"],
            id="new",
        ),
        pytest.param(
            [server(1, address="fd00::1")],
            {},
            [
                "add server to_80/web.1.1_fd00::1:30001 ipv6@[fd00::1]:30001",
                "set server to_80/web.1.1_fd00::1:30001 state ready",
            ],
            id="new, IPv6",
        ),
        pytest.param([server(1)], {ONE: 1}, [f"set server to_80/{ONE} state ready"], id="added and not enabled"),
        pytest.param([server(1)], {ONE: 8}, [f"set server to_80/{ONE} state ready"], id="comes back"),
        pytest.param([GOING], {ONE: 0}, [f"set server to_80/{ONE} state drain"], id="leaves"),
        pytest.param([GOING], {ONE: 8}, [], id="drains"),
        pytest.param([GOING], {}, [], id="leaves and was never there"),
        pytest.param([], {ONE: 8}, [f"set server to_80/{ONE} state maint", f"del server to_80/{ONE}"], id="gone"),
        pytest.param([], {ONE: 1}, [f"del server to_80/{ONE}"], id="gone and still in use a moment ago"),
        pytest.param([LOST], {ONE: 0}, [f"set server to_80/{ONE} state maint", f"del server to_80/{ONE}"], id="lost"),
        pytest.param([LOST], {}, [], id="lost and not there"),
        pytest.param(
            [GOING, server(2)],
            {ONE: 0},
            [
                f"add server to_80/{TWO} 10.0.0.1:30002",
                f"set server to_80/{TWO} state ready",
                f"set server to_80/{ONE} state drain",
            ],
            id="what comes before what goes",
        ),
    ],
)
def test_what_haproxy_is_told(wanted: list[Server], there: dict[str, int], expected: list[str]) -> None:
    assert list(haproxy.commands([listener(*wanted)], Shown("", servers={80: there}))) == expected


def test_nobody_waits_for_ever_for_a_machine_that_is_gone() -> None:
    there = Shown("", servers={80: {ONE: 1, TWO: 0}})
    assert haproxy.lost([listener(LOST, server(2))], there) == {ONE}
    assert haproxy.has_leftovers([listener(LOST, server(2))], there)
    assert list(haproxy.commands([listener(LOST, server(2))], there, {ONE})) == [
        f"shutdown sessions server to_80/{ONE}",
        f"del server to_80/{ONE}",
    ]


def test_the_configuration() -> None:
    gone = replace(server(3), lost=True)
    mixed = listener(server(1), GOING, server(2), gone, ip="::")
    text = haproxy.render([listener(port=5432, mode=Ingress.TCP), mixed])
    assert haproxy.name_of(gone) not in text
    assert text.index("at_80_::") < text.index("at_5432_0.0.0.0")
    assert "bind ipv6@[::]:80\n" in text
    assert f"server {TWO} 10.0.0.1:30002\n" in text
    assert text.count("option forwardfor") == 1
    assert text.count(f"server {ONE} ") == 1  # the one that stays; a leaving one is not written


def test_only_ports_make_another_shape() -> None:
    one = haproxy.shape([listener(server(1))])
    assert one == haproxy.shape([listener(server(2), server(3))])
    others = [listener(port=81), listener(mode=Ingress.TCP), listener(ip="127.0.0.1")]
    assert len({one, *(haproxy.shape([other]) for other in others)}) == 4


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed: apt-get install haproxy")
def test_haproxy_takes_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "entry.cfg"
    listeners = [
        listener(server(1), server(2, address="fd00::1")),
        listener(port=81, ip="::"),
        listener(server(3), port=82, mode=Ingress.TCP, ip="127.0.0.1"),
    ]
    path.write_text(haproxy.render(listeners))
    checked = subprocess.run(["haproxy", "-c", "-f", path], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr, checked.stderr


def test_what_haproxy_says_is_read() -> None:
    assert haproxy.read_shape("Name: HAProxy\ndescription: longshore-1\nPid: 3\n") == "longshore-1"
    assert haproxy.read_shape("Name: HAProxy\n") == ""
    stat = "# pxname,svname,status\nat_80_0.0.0.0,FRONTEND,OPEN\nat_81_::,FRONTEND,OPEN\n\n"
    assert haproxy.read_bound(stat) == {("0.0.0.0", 80), ("::", 81)}  # noqa: S104
    state = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n3 to_80 1 a 10.0.0.1 2 8\n\n"
    assert haproxy.read_servers(state) == {80: {"a": 8}}
    assert haproxy.read_servers("1\n") == {}
