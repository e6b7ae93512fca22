"""Namespaces of this machine's kernel: held, entered, connected, and gone with the program that holds them.

Knows processes, /proc and cgroups; not what a machine or an engine is. All that is held dies with this program, and
also with a kill -9 of it, so nothing has to be cleaned up but groups of cgroups.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
GROUP = "longshore-machines-"
"""And the id of the process that made it."""
RUN_S = 60.0

# The first process of a machine does nothing but be there: what it ignores the end of, the kernel clears away.
HOLD = "echo ready; trap '' CHLD; exec sleep infinity"


def run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"


def hold(*own: str, boot: str = "", words: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """A process that holds namespaces for as long as this program lives."""
    begin = ("setpriv", "--pdeathsig", "KILL", "--", "unshare", *own, "--", "sh", "-ec", boot + HOLD, "sh", *words)
    holder = subprocess.Popen(begin, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stderr is not None
    with holder.stdout, holder.stderr:
        assert holder.stdout.readline() == b"ready\n", holder.stderr.read().decode(errors="replace")
    return holder


def end(holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()


def child(pid: int) -> int:
    """The one that `pid` waits for."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _waiters() -> Iterator[tuple[int, int]]:
    """Processes of ours that wait for one inside a machine, and that one. nsenter stops itself when that is stopped."""
    for task in Path("/proc/self/task").iterdir():
        for pid in map(int, (task / "children").read_text().split()):
            with suppress(OSError, IndexError):  # it ended, or its child did
                yield pid, child(pid)


def _stopped(pid: int) -> bool:
    with suppress(OSError):  # it ended meanwhile
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def waiters_sleep() -> bool:
    """Whether everybody has noticed who waits for one that is stopped."""
    return all(_stopped(waiter) for waiter, waited in _waiters() if _stopped(waited))


def wake_waiters() -> None:
    for waiter, waited in _waiters():
        if _stopped(waiter) and not _stopped(waited):
            os.kill(waiter, signal.SIGCONT)


def in_network(pid: int) -> tuple[str, ...]:
    """What has a command run in the network that a process has."""
    return ("nsenter", f"--net=/proc/{pid}/ns/net", "--")


def free_network() -> IPv4Network:
    """One of 10.x.0.0/16 that this machine has no way to but the default one."""
    taken = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        _, target, _, _, _, _, _, mask, *_ = line.split()
        numbers = [int.from_bytes(bytes.fromhex(one), "little") for one in (target, mask)]
        if numbers[1]:
            taken.append(IPv4Network((numbers[0] & numbers[1], numbers[1].bit_count())))
    for step in range(100):
        found = IPv4Network(f"10.{20 + (os.getpid() + step) % 100}.0.0/16")
        if not any(found.overlaps(one) for one in taken):
            return found
    raise AssertionError("every network of 10.20.0.0 to 10.119.0.0 is taken")


def sweep() -> None:
    """Remove the cgroups of runs that were killed."""
    for path in [*CGROUPS.glob(f"*/{GROUP}*"), *CGROUPS.glob(f"{GROUP}*")]:
        pid = path.name.removeprefix(GROUP)
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            remove_groups(path.name)


def remove_groups(name: str) -> bool:
    """Remove a group in every hierarchy with all that is below it; whether nothing of it is left."""
    found = [*CGROUPS.glob(f"*/{name}"), *CGROUPS.glob(name)]
    for top in found:
        for place, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):  # something in it still ends
                Path(place).rmdir()
    return not any(one.exists() for one in found)
