"""Nodes that are containers: each has an engine of its own inside, and all of them are gone when `dev` ends.

Knows what an engine in a container needs of this machine, and how to start several and be rid of them; how a container
is asked for is `engine.docker_nodes`'. No image is downloaded: a machine that runs an engine has its programs, so the
containers see the machine's own, read-only, around an image of nothing but empty folders.

Whatever is left of an earlier life is removed rather than taken over. Its containers were asked for by another version
of this program, perhaps, or with other programs of the machine; and what ran in them is wished in the store, so it
comes back by itself.
"""

import asyncio
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import msgspec

from longshore.engine.docker_nodes import NodeOrder, NodesEngine
from longshore.engine.supplied import SuppliedEngine
from longshore.main import folder
from longshore.main.sight import announce
from longshore.model.errors import Failure, Invalid, NotFound, Refused, Unavailable
from longshore.ports import Engine

ENGINE = "dind"
"""What the command line calls this instead of an engine's URL."""

READY_S = 60.0
LOOK_S = 0.05
LOG_LINES = 12
SOCKET_BYTES_MAX = 107

PROGRAMS = ("dockerd", "containerd", "containerd-shim-runc-v2", "runc", "iptables", "mount", "sh")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ROOTS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders beside /usr where programs and libraries are; on most machines these are links into it."""
SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl", "/etc/pki")
"""What programs need of /etc: which iptables, where libraries are, whom to trust."""
FOLDERS = {"dev": 0o755, "engine": 0o700, "etc": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755, "sys": 0o755}
FOLDERS |= {"tmp": 0o1777, "usr": 0o755, "var": 0o755}

_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ"
)
CAPABILITIES = tuple(_NAMES.split())
"""By their number in the kernel. Those that came later are left out, as not every engine knows their names."""

# The engine above mounts cgroups read-only. In version 2 a group with processes of its own cannot have groups with
# limits, so ours go into one beside the containers'. The shell stays: somebody has to wait for processes whose parents
# are gone, which is what the first process of a container is for.
BEGIN = """\
set -e
while read -r _ place kind _; do
  case $kind in cgroup | cgroup2) mount -o remount,bind,rw "$place" ;; esac
done < /proc/mounts
cd /sys/fs/cgroup
if [ -f cgroup.controllers ]; then
  mkdir -p node
  while read -r process; do echo "$process" > node/cgroup.procs || :; done < cgroup.procs
  for controller in $(cat cgroup.controllers); do echo "+$controller" > cgroup.subtree_control || :; done
fi
cd /
read -r mtu < /sys/class/net/eth0/mtu
trap 'kill -TERM $engine' TERM INT
dockerd --mtu="$mtu" "$@" &
engine=$!
wait $engine || wait $engine
"""

RANGES = [*(f"10.{octet}.0.0/16" for octet in range(201, 255)), *(f"172.{octet}.0.0/16" for octet in range(24, 32))]


class Berth(msgspec.Struct, frozen=True):
    """Where a node's worker has its containers."""

    engine: Engine
    address: str
    """Where their published ports answer."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine has that a node container needs. All of them see the same of it."""

    links: dict[str, str]
    """Folders of the root that are links, and where to."""
    visible: tuple[str, ...]
    capabilities: tuple[str, ...]
    flags: tuple[str, ...]
    """What its version of dockerd has to be told."""
    routes: tuple[IPv4Network, ...]


@asynccontextmanager
async def engines_in_containers(url: str, data: Path, names: Sequence[str]) -> AsyncIterator[Sequence[Berth]]:
    """One for each name, on the engine at `url`, until the block is left. Raises Invalid or Refused with a sentence if
    that cannot be had here."""
    if not url.startswith("unix://"):
        raise Invalid(_elsewhere(url))
    nodes = folder.prepare(data / "nodes")
    with folder.held(nodes):
        machine = await asyncio.to_thread(_this_machine)
        outer = NodesEngine(url)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(outer.close)
            facts, _ = await outer.describe()
            if facts.kernel != os.uname().release:  # a socket may lead into a virtual machine
                raise Invalid(_elsewhere(url))
            fleet = _Fleet(outer, machine, nodes)
            await fleet.remove()
            stack.push_async_callback(fleet.clear)
            yield await fleet.start(names, stack)


def _elsewhere(url: str) -> str:
    return (
        f"--engine {ENGINE} starts nodes as containers that see this machine's programs, so it needs this machine's "
        f"own engine, and the one at {url} is another's: make DOCKER_HOST unix:///path, or unset it"
    )


class _Fleet:
    """The node containers of one data folder."""

    def __init__(self, outer: NodesEngine, machine: Machine, nodes: Path) -> None:
        self._outer = outer
        self._machine = machine
        self._nodes = nodes.resolve()  # as the engine is told where they are
        self._owner = hashlib.sha256(os.fsencode(self._nodes)).hexdigest()[:8]

    async def start(self, names: Sequence[str], stack: AsyncExitStack) -> Sequence[Berth]:
        """All at once. Their engines are closed with `stack`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        announce(f"starting {len(names)} nodes as containers, each with an engine inside")
        image = await self._image()
        ranges = free_range([*self._machine.routes, *await self._outer.subnets()])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._start(name, image, ranges, stack), name=f"start {name}") for name in names]
        announce(f"their engines are ready after {loop.time() - began:.1f} s")
        return [task.result() for task in tasks]

    async def clear(self) -> None:
        """Remove them at the end, or say that they are still there."""
        try:
            await self.remove()
        except* Failure as failures:
            why = failures.exceptions[0]
            announce(f"node containers are left ({why}); the next start with this data folder removes them")

    async def remove(self) -> None:
        """Every container with our label, and every volume."""
        async with asyncio.TaskGroup() as group:
            for id in await self._outer.nodes(self._owner):
                group.create_task(self._outer.remove(id), name=f"remove {id}")
        await self._outer.remove_volumes(self._owner)

    async def _image(self) -> str:
        tar = skeleton(self._machine)
        name = f"longshore/node:{hashlib.sha256(tar).hexdigest()[:12]}"
        if await self._outer.image_id(name) is None:
            await self._outer.import_image(name, tar)
        return name

    async def _start(self, name: str, image: str, ranges: IPv4Network, stack: AsyncExitStack) -> Berth:
        place = folder.prepare(folder.prepare(self._nodes / name) / "engine")
        door = place / "docker.sock"
        if len(os.fsencode(door)) > SOCKET_BYTES_MAX:
            raise Invalid(f"{door} is too long for a socket; choose a shorter data folder with --data")
        door.unlink(missing_ok=True)  # an earlier life's
        order = NodeOrder(
            name=f"longshore-{self._owner}-{name}",
            hostname=name,
            owner=self._owner,
            image=image,
            command=["/bin/sh", "-c", BEGIN, "node", *_flags(self._machine, ranges)],
            capabilities=self._machine.capabilities,
            read_only=self._machine.visible,
            shared={str(place): "/engine"},
            volumes=["/var/lib/docker"],
            scratch=["/run", "/tmp"],  # noqa: S108  (the container's)
        )
        id = await self._outer.create_node(order)
        await self._outer.start(id)
        engine = SuppliedEngine(f"unix://{door}", inside=id, source=self._outer)
        stack.push_async_callback(engine.close)
        return Berth(engine, await self._ready(name, id, engine))

    async def _ready(self, name: str, id: str, engine: Engine) -> str:
        """Its address, once its engine answers."""
        give_up = asyncio.get_running_loop().time() + READY_S
        while True:
            try:
                await engine.ping()
            except Unavailable:
                seen = await self._outer.node(id)
                if not seen.running:
                    raise Refused(await self._epitaph(id, f"the engine of {name} ended")) from None
            else:
                return (await self._outer.node(id)).address
            if asyncio.get_running_loop().time() > give_up:
                raise Refused(await self._epitaph(id, f"the engine of {name} was not ready in {READY_S:g} s"))
            await asyncio.sleep(LOOK_S)

    async def _epitaph(self, id: str, what: str) -> str:
        try:
            said = [line.text async for line in self._outer.logs(id, follow=False, tail=None, since=None)]
        except (NotFound, Unavailable) as failure:
            said = [failure.message]
        lines = [line for line in said if " level=info " not in line] or said
        return "\n".join([f"{what}; the last that it said:", *lines[-LOG_LINES:]])


def _this_machine() -> Machine:
    """Raises Refused if it has not what an engine in a container needs."""
    visible = ["/usr"]
    links = {}
    for name in ROOTS:
        path = Path("/", name)
        if path.is_symlink():
            links[name] = str(path.readlink())
        elif path.is_dir():
            visible.append(str(path))
    found = {program: shutil.which(program, path=PATH) for program in PROGRAMS}
    missing = [program for program, path in found.items() if path is None]
    if missing:
        raise Refused(
            f"--engine {ENGINE} starts nodes as containers that run this machine's own engine, and this machine lacks "
            f"{', '.join(missing)}: install Docker Engine here, or use another --engine"
        )
    real = {str(Path(path).resolve()) for path in found.values() if path is not None}
    hidden = sorted(path for path in real if not path.startswith(tuple(f"{root}/" for root in visible)))
    if hidden:
        raise Refused(f"--engine {ENGINE} cannot use {', '.join(hidden)}: its nodes see {', '.join(visible)} alone")
    return Machine(
        links=links,
        visible=(*visible, *(path for path in SETTINGS if Path(path).exists())),
        capabilities=capabilities(Path("/proc/self/status").read_text()),
        flags=_version_flags(str(found["dockerd"])),
        routes=tuple(routes(Path("/proc/net/route").read_text())),
    )


def _version_flags(dockerd: str) -> tuple[str, ...]:
    """A dockerd of 20.10 lowers its own chance to be killed when memory is short, and ends where it may not; later
    versions have neither that nor the option against it."""
    try:
        said = subprocess.run([dockerd, "--help"], capture_output=True, text=True, check=False, timeout=READY_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"{dockerd} does not run: {error}") from error
    return ("--oom-score-adjust=0",) if "--oom-score-adjust" in said.stdout else ()


def _flags(machine: Machine, ranges: IPv4Network) -> list[str]:
    """What a node's dockerd is told. Nodes do not see one another's networks, so all may have the same."""
    bridge, pool = next(ranges.subnets(new_prefix=20)), list(ranges.subnets(prefixlen_diff=1))[1]
    return [
        "--host=unix:///engine/docker.sock",
        f"--group={os.getgid()}",  # so that who runs `dev` may speak to it
        f"--bip={bridge[1]}/{bridge.prefixlen}",
        f"--default-address-pool=base={pool},size=24",
        *machine.flags,
    ]


def capabilities(status: str) -> tuple[str, ...]:
    """Those that the kernel lets a process and its children have at all; `status` is /proc/self/status."""
    bounds = (line.partition(":")[2] for line in status.splitlines() if line.startswith("CapBnd:"))
    bits = int(next(bounds, "0"), 16)
    return tuple(name for number, name in enumerate(CAPABILITIES) if bits >> number & 1)


def routes(table: str) -> list[IPv4Network]:
    """Where the machine's packets go without its default route; `table` is /proc/net/route, in little-endian hex."""
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        target, mask = (IPv4Address(int.from_bytes(bytes.fromhex(words[column]), "little")) for column in (1, 7))
        if int(mask):
            found.append(IPv4Network(f"{target}/{mask}", strict=False))
    return found


def free_range(taken: Sequence[IPv4Network]) -> IPv4Network:
    """Addresses for containers inside nodes that neither the engine around them nor the machine's routes use."""
    for text in RANGES:
        candidate = IPv4Network(text)
        if not any(candidate.overlaps(one) for one in taken):
            return candidate
    raise Refused(f"--engine {ENGINE} finds no range of addresses free: {RANGES[0]} to {RANGES[-1]} are all in use")


def skeleton(machine: Machine) -> bytes:
    """A tar of empty folders and of the machine's own links; depends on nothing else, so that it is made once."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, mode in FOLDERS.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for name, target in [*sorted(machine.links.items()), ("var/run", "/run")]:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()
