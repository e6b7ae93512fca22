"""The guard: kills a node's single-writer containers when their lease ends, whatever else is dead or frozen by then.

A process of its own, because a worker that was killed or stands still cannot stop anything. It knows one file, which
the worker writes at each renewal, and must not know why; it imports nothing of ours and little of Python, so that it
stays small: `python -I -S guard.py FOLDER`. It kills by the kernel, since an engine may be frozen too: every process
whose cgroup bears the container's id. The engine is asked only about what the kernel does not show: containers that
were never started, which it removes lest a start that is still on its way begins them, or processes out of reach.
"""

import fcntl
import os
import select
import signal
import socket
import sys
import time

LEASE = "guard.lease"
LOCK = "guard.lock"
LOG = "guard.log"
FORMAT = "longshore lease 1"
POLL_S = 0.1
ANSWER_S = 5.0
KILL_S = 1.0
GONE_S = 60.0
"""An engine at whose address nobody has listened for so long does not start anything any more."""
LOCK_S = 1.0
"""For this long a lock that is held may be somebody's who only looks whether it is."""
_ID = frozenset("0123456789abcdef")
_ID_MIN = 32


def written(boot: str, renewed_at: float, lease_s: float, engine: str, containers: "dict[str, float]") -> str:
    """The file's text."""
    ends = [f"{id} {at!r}" for id, at in containers.items()]
    return "\n".join([FORMAT, boot, f"{renewed_at!r} {lease_s!r}", engine, *ends, ""])


def parsed(text: str) -> "tuple[str, float, float, str, dict[str, float]] | None":
    """What the file's text says: boot id, when the lease was renewed and for how long, the engine, and when each
    container must be dead. None if it is of another version, or torn by a power cut."""
    lines = text.splitlines()
    if len(lines) < 4 or lines[0] != FORMAT:
        return None
    try:
        renewed_at, lease_s = (float(one) for one in lines[2].split(" "))
        ends = {id: float(at) for id, at in (line.split(" ") for line in lines[4:])}
    except ValueError:
        return None
    return lines[1], renewed_at, lease_s, lines[3], ends


def boot_id() -> str:
    """Another one after each start of the machine."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123  (pathlib is large)
        return file.read().strip()


def now() -> float:
    """It goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main(folder: str) -> int:
    """Guard `folder`'s lease. Returns in the starter once this guard, or another one, stands."""
    os.chdir(folder)
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _locked(lock):
        return 0
    if os.fork():
        return 0  # the child holds the lock on
    os.setsid()
    for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    guard = _Guard()
    while True:
        guard.watch()
        # Who finds the lock held takes it that the lease is read: so it is read once more after it was let go.
        fcntl.flock(lock, fcntl.LOCK_UN)
        if not guard.left() or not _locked(lock):
            return 0


def _locked(lock: int) -> bool:
    end = now() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if now() > end:
                return False
            time.sleep(0.02)
        else:
            return True


class _Guard:
    """One guard's life."""

    def __init__(self) -> None:
        self._dead: dict[str, None] = {}
        """Containers that do not run and never will."""
        self._told: dict[str, None] = {}
        self._engine = ""

    def watch(self) -> None:
        """Until nothing is guarded any more, or all of it is dead."""
        while left := self.left():
            due = self._due(left)
            if due:
                self._end(due)
            time.sleep(max(min(POLL_S, *(at - now() for at in left.values())), 0.01) if not due else POLL_S)

    def left(self) -> "dict[str, float]":
        """What is guarded now, and when each must be dead."""
        try:
            with open(LEASE) as file:  # noqa: PTH123
                found = parsed(file.read())
        except FileNotFoundError:
            return {}
        if found is None or found[0] != boot_id():
            return {}
        self._engine = found[3]
        # What is no container's id would be found in the cgroups of others.
        ids = [id for id in found[4] if len(id) >= _ID_MIN and _ID.issuperset(id) and id not in self._dead]
        return {id: found[4][id] for id in ids}

    def _due(self, left: "dict[str, float]") -> "dict[str, float]":
        return {id: at for id, at in left.items() if at <= now()}

    def _end(self, due: "dict[str, float]") -> None:
        """Kill what can be killed, and learn what need not be."""
        for id, at in due.items():
            if id not in self._told:
                self._told[id] = None
                _say(f"the lease of {id} ended {now() - at:.2f} s ago")
        self._kill(due)
        for id, at in due.items():
            if id not in self._dead:
                ended = self._ended_by_engine(id)
                gone = ended is None and now() > at + GONE_S and not processes([id])
                if ended or gone:
                    self._dead[id] = None

    def _kill(self, due: "dict[str, float]") -> None:
        for id in kill([id for id in due if id not in self._dead]):
            _say(f"killed {id}")
            self._dead[id] = None

    def _ended_by_engine(self, id: str) -> "bool | None":
        """Whether the engine says that this container does not run and never will; None if there is no engine. One that
        runs out of the kernel's reach is killed, one that was never started is removed."""
        status, body = self._ask("GET", f"/containers/{id}/json")
        if status < 0:
            return None
        if status == 404:
            return True
        state = body.partition(b'"State":{')[2][:200]
        if status != 200 or not state:
            return False
        if b'"Status":"created"' in state:
            _say(f"removes {id}, which was never started")
            status, _ = self._ask("DELETE", f"/containers/{id}?force=1&v=1")
            return status in (204, 404)
        if b'"Running":true' in state:
            _say(f"has the engine kill {id}")
            self._ask("POST", f"/containers/{id}/kill")
            return False
        return True

    def _ask(self, method: str, path: str) -> "tuple[int, bytes]":
        """Status and body; zero if there is no answer, less if there is nobody. While it is waited for, what is due is
        killed: a start that was on its way may come before the answer, and the lease of others may end."""
        end = now() + ANSWER_S
        answer = b""
        try:
            connection = _connected(self._engine)
        except TimeoutError:
            return 0, b""
        except OSError:
            return -1, b""
        try:
            with connection:
                connection.sendall(f"{method} {path} HTTP/1.0\r\nHost: engine\r\nContent-Length: 0\r\n\r\n".encode())
                while now() < end:
                    if not select.select([connection], [], [], POLL_S)[0]:
                        self._kill(self._due(self.left()))
                        continue
                    part = connection.recv(65536)
                    if not part:
                        break
                    answer += part
        except OSError:
            return 0, b""
        head, _, body = answer.partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        return (int(words[1]), body) if len(words) > 2 and words[1].isdigit() else (0, b"")


# -- by the kernel


def kill(ids: "list[str]") -> "list[str]":
    """Kill all processes of these containers, until none is left; which of them had any, and have none now. One that
    does not die, as it waits for a disk, or is out of reach, keeps its container from being told of."""
    had: dict[str, None] = {}
    end = now() + KILL_S
    while found := processes(ids):
        had.update(dict.fromkeys(id for _, id in found))
        reached = [pid for pid, id in found if _killed(pid, id)]
        if not reached or now() > end:
            break
    alive = {id for _, id in found}
    return [id for id in had if id not in alive]


def processes(ids: "list[str]") -> "list[tuple[int, str]]":
    """Those that are alive, with the container that each belongs to."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            groups = _proc(name, "cgroup")
            id = next((one for one in ids if one in groups), "")
            if id and not _is_zombie(name):
                found.append((int(name), id))
    return found


def _killed(pid: int, id: str) -> bool:
    """Whether it got the signal: it may have ended, and its number be another's, or it may be out of reach."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if id not in _proc(str(pid), "cgroup"):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], POLL_S)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_zombie(pid: str) -> bool:
    return _proc(pid, "stat").rpartition(")")[2].strip()[:1] in ("Z", "X", "")


def _proc(pid: str, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


# -- by the engine


def _connected(engine: str) -> socket.socket:
    scheme, _, rest = engine.partition("://")
    if scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ANSWER_S)
        connection.connect(rest)
        return connection
    host, _, port = rest.rstrip("/").rpartition(":")
    return socket.create_connection((host, int(port)), ANSWER_S)


def _say(words: str) -> None:
    """One line into its own log: whoever started it may be gone."""
    line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} guard: {words}\n"
    try:
        with open(LOG, "a") as file:  # noqa: PTH123
            file.write(line)
    except OSError:
        return  # a full disk must not keep it from killing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
