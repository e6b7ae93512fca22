"""Containers that have an engine inside, on an engine that speaks Docker's API.

Knows what such a container needs of the engine that runs it, in that engine's JSON; must not know which programs are in
it, or why there are several. They are known again by one label, which the volumes that they write to bear too.
"""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from urllib.parse import quote

import msgspec

from longshore.engine import docker_json
from longshore.engine.docker import DockerEngine, must_have_worked
from longshore.engine.docker_http import Declined
from longshore.engine.docker_json import Created, Listed
from longshore.engine.limits import WORK_LIMIT_S
from longshore.model.errors import NotFound, Refused

LABEL_DEV = "longshore.dev"
"""On node containers and their volumes: whose they are."""

NETWORK = "bridge"
LOG_LIMITS = {"max-size": "10m", "max-file": "1"}


class NodeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A container that is to hold an engine."""

    name: str
    hostname: str
    owner: str
    """The label's value."""
    image: str
    command: Sequence[str]
    capabilities: Sequence[str]
    read_only: Sequence[str]
    """Paths of the machine that it sees in the same place."""
    shared: Mapping[str, str]
    """Folders of the machine that it writes to, and where it sees them."""
    volumes: Sequence[str]
    """Where it writes what is its own and goes with it. An engine's layers cannot lie on a container's."""
    scratch: Sequence[str]
    """What is in memory, and empty at each start."""


class NodeSeen(msgspec.Struct, frozen=True):
    """A node container as it is now."""

    running: bool
    address: str
    """On the engine's own bridge; empty while it does not run."""


class _Network(msgspec.Struct, frozen=True):
    address: str = msgspec.field(name="IPAddress", default="")


class _Networks(msgspec.Struct, frozen=True, rename="pascal"):
    networks: dict[str, _Network] = {}


class _State(msgspec.Struct, frozen=True, rename="pascal"):
    running: bool = False


class _Node(msgspec.Struct, frozen=True, rename="pascal"):
    state: _State
    network_settings: _Networks


class _Range(msgspec.Struct, frozen=True, rename="pascal"):
    subnet: str = ""


class _Ranges(msgspec.Struct, frozen=True, rename="pascal"):
    config: list[_Range] | None = None


class _Bridge(msgspec.Struct, frozen=True):
    ranges: _Ranges = msgspec.field(name="IPAM", default=_Ranges())


class _Volume(msgspec.Struct, frozen=True, rename="pascal"):
    name: str


class _Volumes(msgspec.Struct, frozen=True, rename="pascal"):
    volumes: list[_Volume] | None = None


class NodesEngine(DockerEngine):
    """An engine, and the node containers on it."""

    async def import_image(self, name: str, tar: bytes) -> None:
        """Make an image of the files in `tar`; `name` has a tag. Raises Refused with the engine's own words."""
        repository, _, tag = name.rpartition(":")
        query = {"fromSrc": "-", "repo": repository, "tag": tag}
        reply = await self._wire.call("POST", "/images/create", query, tar=tar, limit_s=WORK_LIMIT_S)
        must_have_worked(reply.body)

    async def create_node(self, order: NodeOrder) -> str:
        """Make the container and return its id. Raises Refused with the engine's own words."""
        body = node_body(order)
        try:
            reply = await self._wire.call(
                "POST", "/containers/create", {"name": order.name}, body, limit_s=WORK_LIMIT_S
            )
        except Declined as declined:
            raise Refused(declined.message) from declined
        return reply.read(Created).id

    async def node(self, id: str) -> NodeSeen:
        """Raises NotFound if somebody has removed it."""
        try:
            node = (await self._wire.call("GET", f"/containers/{quote(id)}/json")).read(_Node)
        except Declined as declined:
            if declined.status == 404:
                raise NotFound(declined.message) from declined
            raise
        network = node.network_settings.networks.get(NETWORK, _Network())
        return NodeSeen(node.state.running, network.address)

    async def nodes(self, owner: str) -> Sequence[str]:
        """Ids of the containers with this label, in any state."""
        query = {"all": "1", "filters": _owned(owner)}
        listed = (await self._wire.call("GET", "/containers/json", query)).read(list[Listed])
        return [one.id for one in listed]

    async def remove_volumes(self, owner: str) -> None:
        """Those that bear this label and are left over: a container that is removed takes its own along."""
        listed = (await self._wire.call("GET", "/volumes", {"filters": _owned(owner)})).read(_Volumes)
        for volume in listed.volumes or []:
            try:
                await self._wire.call("DELETE", f"/volumes/{quote(volume.name)}", limit_s=WORK_LIMIT_S)
            except Declined as declined:
                if declined.status != 404:
                    raise

    async def subnets(self) -> Sequence[IPv4Network]:
        """What the engine's networks have taken of IPv4."""
        bridges = (await self._wire.call("GET", "/networks")).read(list[_Bridge])
        ranges = [ip_network(one.subnet) for bridge in bridges for one in bridge.ranges.config or [] if one.subnet]
        return [one for one in ranges if isinstance(one, IPv4Network)]


def _owned(owner: str) -> str:
    return docker_json.filters(label=[f"{LABEL_DEV}={owner}"])


def node_body(order: NodeOrder) -> bytes:
    """The order as the engine takes it.

    Not `Privileged`, though it may as well be: that asks for every capability there is, and an engine that has not all
    of them itself cannot give them.
    """
    labels = {LABEL_DEV: order.owner}
    mounts: list[docker_json.Json] = [
        {"Type": "bind", "Source": path, "Target": path, "ReadOnly": True} for path in order.read_only
    ]
    mounts += [{"Type": "bind", "Source": here, "Target": there} for here, there in order.shared.items()]
    mounts += [
        {"Type": "volume", "Target": target, "VolumeOptions": {"Labels": labels}} for target in order.volumes
    ]  # without a name, so that they go with the container
    return msgspec.json.encode(
        {
            "Image": order.image,
            "Hostname": order.hostname,
            "Cmd": list(order.command),
            "Labels": labels,
            "HostConfig": {
                "NetworkMode": NETWORK,
                "RestartPolicy": {"Name": "no"},
                "LogConfig": {"Type": "json-file", "Config": LOG_LIMITS},
                "Mounts": mounts,
                "Tmpfs": dict.fromkeys(order.scratch, ""),
                "CapAdd": list(order.capabilities),
                "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"],
                "DeviceCgroupRules": ["a *:* rwm"],
                "MaskedPaths": [],
                "ReadonlyPaths": [],
            },
        }
    )
