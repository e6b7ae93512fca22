"""What a node container is given of this machine, read off from what the kernel says of it."""

import asyncio
import io
import tarfile
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from longshore.main.dind import CAPABILITIES, Machine, capabilities, engines_in_containers, free_range, routes, skeleton
from longshore.model.errors import Invalid, Refused

# As the kernel writes it, but for the spaces that it pads lines with.
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t00809D0A\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("bounds", "missing"),
    [
        ("000001ffffffffff", set()),
        ("000001fffeffffff", {"SYS_RESOURCE"}),
        ("0000003ffffffffe", {"CHOWN"}),
        ("0000000000000000", set(CAPABILITIES)),
    ],
)
def test_a_node_gets_what_the_machine_may_give(bounds: str, missing: set[str]) -> None:
    assert set(CAPABILITIES) - set(capabilities(f"Name:\tx\nCapBnd:\t{bounds}\nCapAmb:\t0\n")) == missing


def test_routes_are_read_without_the_default_one() -> None:
    assert routes(ROUTES) == [IPv4Network("10.157.128.0/20"), IPv4Network("192.0.2.0/24")]


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        ([], "10.201.0.0/16"),
        (["10.157.128.0/20"], "10.201.0.0/16"),
        (["10.201.7.0/24", "10.202.0.0/15"], "10.204.0.0/16"),
        (["10.0.0.0/8", "172.17.0.0/16"], "172.24.0.0/16"),
    ],
)
def test_containers_in_nodes_get_addresses_that_nobody_uses(taken: list[str], free: str) -> None:
    assert free_range([IPv4Network(one) for one in taken]) == IPv4Network(free)


def test_a_machine_that_uses_all_private_addresses_is_refused() -> None:
    with pytest.raises(Refused, match="no range of addresses"):
        free_range([IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12")])


def test_the_image_is_empty_folders_and_the_links_of_the_machine() -> None:
    machine = Machine(links={"bin": "usr/bin"}, visible=("/usr",), capabilities=(), flags=(), routes=())
    assert skeleton(machine) == skeleton(machine)
    with tarfile.open(fileobj=io.BytesIO(skeleton(machine))) as tar:
        assert not any(one.isfile() for one in tar)
        assert {one.name: one.linkname for one in tar if one.issym()} == {"bin": "usr/bin", "var/run": "/run"}


def test_another_machines_engine_is_refused(tmp_path: Path) -> None:
    async def begin() -> None:
        async with engines_in_containers("tcp://127.0.0.1:2375", tmp_path, ["n1"]):
            pass

    with pytest.raises(Invalid, match="this machine's own engine"):
        asyncio.run(begin())
    assert not any(tmp_path.iterdir())
