"""Several machines on this one: each with a network, processes, mounts and a Docker Engine of its own, on cables that
can be cut.

Knows Linux: namespaces, virtual cables, the packet filter, dockerd's flags. Must not know Longshore, nor what a test or
a benchmark wants of the machines; clusters on them are `tests/sites.py`. A machine is what its first process holds, and
that one dies with the program that made it, so nothing is left of a run that was killed but empty groups of cgroups,
which the next run removes. The switch has a namespace of its own, as the engine of the real machine sets a filter for
whatever is forwarded there.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote

from tests.clusters import eventually
from tests.dockerd import DEMO, DEMO_2, EngineApi
from tests.namespaces import (
    GROUP,
    child,
    end,
    free_network,
    hold,
    in_network,
    remove_groups,
    run,
    sweep,
    waiters_sleep,
    wake_waiters,
)

PROGRAMS = ("dockerd", "containerd", "runc", "ip", "iptables", "nsenter", "unshare", "setpriv")
DEADLINE_S = 60.0
PREFIX = 24
"""Of the network of the cables. Each engine has others of its own for its containers."""

Images = Mapping[str, bytes]
"""By their names, as an engine saves them."""

# /run is empty after each start, as on any machine, and /etc/docker would have all engines bear one id. Where nobody
# listens a question for a name is refused at once.
_BOOT = """
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /etc/docker
mount -t tmpfs tmpfs /etc/docker
printf 'nameserver %s\\n' "$2" > "$1/resolv.conf"
mount --bind "$1/resolv.conf" "$(readlink -f /etc/resolv.conf || echo /etc/resolv.conf)" 2>/dev/null || :
[ -z "$3" ] || mount -t tmpfs -o "size=$3" tmpfs "$1/engine"
hostname "$4"
"""
_OWN = ("--net", "--mount", "--uts", "--ipc", "--pid", "--mount-proc", "--fork", "--kill-child")


def why_not() -> str:
    """What keeps this machine from being several; empty if nothing does."""
    if os.geteuid() != 0:
        return "several machines on one need root"
    missing = [one for one in PROGRAMS if shutil.which(one) is None]
    return f"several machines on one need {', '.join(missing)}" if missing else ""


class Plug:
    """Where a namespace is on the switch: one end of its cable, and its address."""

    def __init__(self, switch: "Switch", name: str, address: str) -> None:
        self.name = name
        self.address = address
        self._switch = switch

    def connect(self, pid: int) -> None:
        """A new cable to the namespace that process `pid` holds. The same hardware address each time, as others go on
        using the one that they know."""
        switch, last = self._switch, int(self.address.rpartition(".")[2])
        with suppress(AssertionError):  # of an earlier life
            switch.run("ip", "link", "delete", self.name)
        far = ("name", "eth0", "address", f"02:00:00:00:00:{last:02x}", "netns", str(pid))
        switch.run("ip", "link", "add", self.name, "type", "veth", "peer", *far)
        switch.run("ip", "link", "set", self.name, "master", "switch", "up")
        inside = in_network(pid)
        for words in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{self.address}/{PREFIX}", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", switch.uplink),
        ):
            run(*inside, "ip", *words)

    def cut(self) -> None:
        """Pull the cable."""
        self._switch.run("ip", "link", "set", self.name, "down")

    def heal(self) -> None:
        self._switch.run("ip", "link", "set", self.name, "up")


class Switch:
    """What all cables lead to; this machine itself is on it with its first address."""

    def __init__(self) -> None:
        self.network = free_network()
        self.uplink = str(self.network[1])
        self._port = f"ls{os.getpid()}"
        self._holder = hold("--net")

    def start(self) -> None:
        self.run("ip", "link", "add", "switch", "type", "bridge", "forward_delay", "0")
        self.run("ip", "link", "set", "switch", "up")
        run("ip", "link", "add", self._port, "type", "veth", "peer", "name", "uplink", "netns", str(self._holder.pid))
        self.run("ip", "link", "set", "uplink", "master", "switch", "up")
        run("ip", "address", "add", f"{self.uplink}/{PREFIX}", "dev", self._port)
        run("ip", "link", "set", self._port, "up")

    def run(self, *words: str) -> None:
        run(*in_network(self._holder.pid), *words)

    def plug(self, name: str, place: int) -> Plug:
        return Plug(self, name, str(self.network[place]))

    def close(self) -> None:
        end(self._holder)
        with suppress(AssertionError):  # it went with its other end
            run("ip", "link", "delete", self._port)


class Desk:
    """A place on the switch without an engine, such as a manager's: a network and nothing else."""

    def __init__(self, switch: Switch, name: str, place: int) -> None:
        self.plug = switch.plug(name, place)
        self._holder = hold("--net")
        self.plug.connect(self._holder.pid)

    @property
    def address(self) -> str:
        return self.plug.address

    @property
    def within(self) -> tuple[str, ...]:
        """What has a command run there."""
        return in_network(self._holder.pid)

    def close(self) -> None:
        end(self._holder)


class Machine:
    """One of them. Whatever runs inside dies with it."""

    def __init__(self, switch: Switch, folder: Path, number: int, *, disk: str, images: Images) -> None:
        """`disk`: the size of a disk of its own, such as 64m, which can be filled; `images` is what the engine is given
        to load."""
        self.name = f"n{number}"
        self.plug = switch.plug(self.name, 10 + number)
        self.folder = folder
        self.engine = EngineApi(f"unix://{folder}/docker.sock")
        self._uplink = switch.uplink
        self._inner = switch.network[0] + 256 * number
        self._disk = disk
        self._images = images
        self._holder: subprocess.Popen[bytes] | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return self.plug.address

    @property
    def within(self) -> tuple[str, ...]:
        """What has a command run inside, which dies with whoever waits for it."""
        kept = ("--mount", "--uts", "--ipc", "--net", "--pid")
        return ("nsenter", "--target", str(self._first), *kept, "--", "setpriv", "--pdeathsig", "KILL", "--")

    @property
    def _first(self) -> int:
        assert self._holder is not None, f"{self.name} is off"
        return child(self._holder.pid)

    # -- on and off

    @property
    def on(self) -> bool:
        return self._holder is not None and self._holder.poll() is None

    def boot(self) -> None:
        """Turn it on, and do not wait for its engine. After a crash the disk is as it was, unless it is one of its
        own."""
        (self.folder / "engine").mkdir(parents=True, exist_ok=True)
        self._holder = hold(*_OWN, boot=_BOOT, words=(str(self.folder), self._uplink, self._disk, self.name))
        self.plug.connect(self._first)
        self.start_engine()

    def crash(self) -> None:
        """As if the power went: all of it ends at once, and nobody hears a last word."""
        assert self._holder is not None
        self.plug.cut()
        os.kill(self._first, signal.SIGKILL)
        self._holder.wait()
        if self._dockerd is not None:
            end(self._dockerd)

    def freeze(self) -> None:
        """Everything stops, and answers as a machine does that hangs: the kernel still takes connections."""
        run(*self.within, "sh", "-c", "kill -STOP -1")
        eventually(waiters_sleep, "who waits for what is frozen has noticed")

    def thaw(self) -> None:
        run(*self.within, "sh", "-c", "kill -CONT -1")
        wake_waiters()

    # -- the engine

    @property
    def engine_on(self) -> bool:
        return self._dockerd is not None and self._dockerd.poll() is None

    def start_engine(self) -> None:
        """Start it, for the first time or again."""
        flags = [
            f"--data-root={self.folder}/engine",
            f"--host={self.engine.url}",
            f"--bip={self._inner + 1}/24",
            f"--default-address-pool=base={self._inner + 128 * 256}/24,size=28",
            f"--cgroup-parent=/{GROUP}{os.getpid()}/{self.name}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--config-file={self.folder}/daemon.json",
            *_flags_of_old(),
        ]
        # Before 24 an engine's id is in a file outside its data; a machine that is started again is to have the same.
        settings = {"deprecated-key-path": f"{self.folder}/key.json"} if _flags_of_old() else {}
        (self.folder / "daemon.json").write_text(json.dumps(settings))
        # Numbers of processes that a killed engine wrote down would be taken for its own.
        stale = ("/run/docker.pid", "/run/docker/containerd/containerd.pid")
        run(*self.within, "rm", "-f", *stale)
        # Nothing here asks a registry, so a cluster of the engine's own must not either.
        environment = os.environ | {"DOCKER_SERVICE_PREFER_OFFLINE_IMAGE": "1"}
        with (self.folder / "dockerd.log").open("ab") as log:
            self._dockerd = subprocess.Popen(
                [*self.within, "dockerd", *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def answers(self) -> None:
        """Wait until its engine does, and has the images."""
        eventually(self._pings, f"the engine of {self.name} answers", DEADLINE_S)
        for name, image in self._images.items():
            if not self._has(name):
                self.engine.ask("POST", "/images/load", body=image)

    def _pings(self) -> bool:
        assert self._dockerd is not None
        ended = self._dockerd.poll()
        if ended is not None:
            raise OSError(f"the engine of {self.name} ended with {ended}:\n{self.tail()}")
        return self._answers()

    def _has(self, image: str) -> bool:
        with suppress(OSError):
            return bool(self.engine.ask("GET", f"/images/{quote(image)}/json"))
        return False

    def kill_engine(self) -> None:
        """kill -9. Its containers go on."""
        assert self._dockerd is not None
        self._dockerd.kill()
        self._dockerd.wait()
        eventually(lambda: not self._answers(), f"the engine of {self.name} is gone")

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.engine.ask("GET", "/_ping") == b"OK"
        return False

    def freeze_engine(self) -> None:
        """It takes connections and answers nobody."""
        assert self._dockerd is not None
        os.kill(child(self._dockerd.pid), signal.SIGSTOP)
        eventually(waiters_sleep, "who waits for what is frozen has noticed")

    def thaw_engine(self) -> None:
        assert self._dockerd is not None
        os.kill(child(self._dockerd.pid), signal.SIGCONT)
        wake_waiters()

    def tail(self) -> str:
        return "\n".join((self.folder / "dockerd.log").read_text(errors="replace").splitlines()[-20:])

    # -- packets and disks

    def lose(self, sender: str, percent: int = 100) -> None:
        """What comes from an address is lost on its way in, published ports included; what goes there is not."""
        chance = ("-m", "statistic", "--mode", "random", "--probability", f"{percent / 100:.2f}")
        rule = ("-s", sender, *(chance if percent < 100 else ()), "-j", "DROP")
        run(*self.within, "iptables", "-w", "-t", "raw", "-I", "PREROUTING", *rule)

    def lose_nothing(self) -> None:
        run(*self.within, "iptables", "-w", "-t", "raw", "-F", "PREROUTING")

    def fill_disk(self) -> None:
        """Fill the engine's disk to the last block."""
        assert self._disk, f"{self.name} has no disk of its own"
        script = 'dd if=/dev/zero of="$1" bs=64k 2>/dev/null || :'
        run(*self.within, "sh", "-c", script, "sh", f"{self.folder}/engine/ballast")

    def free_disk(self) -> None:
        run(*self.within, "rm", "-f", f"{self.folder}/engine/ballast")

    def close(self) -> None:
        """Be rid of it in whatever state it is."""
        if self.on:
            with suppress(AssertionError, OSError):
                self.thaw()
            with suppress(AssertionError, OSError):
                self.crash()
        shutil.rmtree(self.folder / "engine", ignore_errors=True)


class Machines:
    """A switch, and machines on it."""

    def __init__(self, folder: Path) -> None:
        sweep()
        self.folder = folder
        self.switch = Switch()
        self.machines: dict[str, Machine] = {}
        self.desks: list[Desk] = []

    def start(self, disks: Sequence[str], images: Images) -> None:
        """One machine for each of `disks`, side by side."""
        self.switch.start()
        for number, disk in enumerate(disks, 1):
            machine = Machine(self.switch, self.folder / f"n{number}", number, disk=disk, images=images)
            self.machines[machine.name] = machine
            machine.boot()
        for machine in self.machines.values():
            machine.answers()

    def add_desk(self) -> Desk:
        place = 2 + len(self.desks)
        self.desks.append(Desk(self.switch, f"desk{place}", place))
        return self.desks[-1]

    def close(self) -> None:
        for machine in self.machines.values():
            machine.close()
        for desk in self.desks:
            desk.close()
        self.switch.close()
        eventually(lambda: remove_groups(f"{GROUP}{os.getpid()}"), "the machines' cgroups are empty")


@contextmanager
def running(folder: Path, disks: Sequence[str], images: Images) -> Iterator[Machines]:
    """Machines that are on for as long as the block."""
    machines = Machines(folder)
    try:
        machines.start(disks, images)
        yield machines
    finally:
        machines.close()


def saved_images(source: EngineApi) -> Images:
    """The demo images, as an engine that has them gives them away."""
    return {name: source.ask("GET", f"/images/{quote(name)}/get") for name in (DEMO, DEMO_2)}


@cache
def _flags_of_old() -> tuple[str, ...]:
    """dockerd 20.10 lowers its own oom_score_adj, which ends it where that is not allowed; from 25 on the option is
    gone."""
    said = subprocess.run(["dockerd", "--help"], capture_output=True, text=True).stdout
    return ("--oom-score-adjust=0",) if "--oom-score-adjust" in said else ()
