"""The entry of a node: a HAProxy that this worker starts, watches and tells what to serve.

Knows a folder and a program; not whose session brought the news. Like containers, HAProxy goes on when the worker ends
and is found again by the next one, so that an upgrade loses no request. Each look compares what is wanted with what the
process itself says that it has, so it does not matter which life of the worker told it, or what was lost in between.
Only another set of ports takes a reload; before one, each port is tried, as HAProxy would stop serving the others for
a moment when it finds one taken.
"""

import asyncio
import errno
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog
from msgspec.structs import replace

from longshore.agent import haproxy
from longshore.agent.haproxy import Shown
from longshore.model.errors import Refused, Unavailable
from longshore.model.messages import Entries, Listener

log = structlog.get_logger("longshore.entry")

PROGRAM = "haproxy"
NOT_INSTALLED = "an entry needs HAProxy, which is not installed on this machine: apt-get install haproxy"
CONFIG, PID, LOG = "entry.cfg", "entry.pid", "entry.log"
LOG_BYTES_MAX = 1024 * 1024
ANSWER_S = 5.0
TRY_AGAIN_S = 5.0
"""At most, between two looks at a port that another program holds."""
DECLINED_FIRST_S, DECLINED_MAX_S = 30.0, 3600.0
"""Before HAProxy is told again to listen where it could not: each time it stops the others for some two seconds."""
LEFTOVERS_S = 1.0
LOST_S = 2.0
"""What a server whose node is gone has to finish what it was asked: a manager that cannot hear it may be the only one.
Nobody else would end these connections."""
BACK_OFF_FIRST_S = 0.2
BACK_OFF_MAX_S = 10.0
_COMMANDS_AT_ONCE = 50
"""In one line of the runtime API, which has 16 KiB."""


def check_installed() -> str:
    """Where HAProxy is. Raises Refused with what to do if it is nowhere."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise Refused(NOT_INSTALLED)
    return program


class _Declined(msgspec.Struct, frozen=True):
    """A place where HAProxy could not listen, in its own words, and until when it is not asked to again."""

    words: str
    wait_s: float
    until: float


class Entry:
    """One node's entry."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wanted: dict[int, Listener] | None = None
        """None until a manager said it."""
        self._changed = asyncio.Event()
        self._pid = 0
        self._pidfd = -1
        self._written = ""
        self._refused: dict[int, str] = {}
        """Ports that are not served, and why."""
        self._declined: dict[tuple[str, int], _Declined] = {}
        """Where HAProxy could not listen although this worker could."""
        self._marked = 0
        """Characters of HAProxy's log that were there before it was last told to take a configuration."""
        self._lost: dict[str, float] = {}
        """Servers that nobody hears any more, and since when."""
        self._port_wait_s = BACK_OFF_FIRST_S
        self._back_off_s = BACK_OFF_FIRST_S

    def tell(self, message: Entries) -> None:
        """What the manager wants this node to serve."""
        wanted = {} if message.full or self._wanted is None else dict(self._wanted)
        for port in message.removed:
            wanted.pop(port, None)
        for one in message.put:
            wanted[one.port] = one
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled. HAProxy stays."""
        self._find()
        try:
            while True:
                self._changed.clear()
                again_s = await self._look()
                with suppress(TimeoutError):
                    async with asyncio.timeout(again_s):
                        await self._changed.wait()
        finally:
            self._forget()

    async def _look(self) -> float | None:
        """Bring HAProxy nearer to what is wanted; when to look again at the latest."""
        try:
            if self._wanted is None:
                return await self._go_on()
            if not self._wanted:
                self.stop()
                return None
            again_s = await self._serve([_with_addresses(one) for _, one in sorted(self._wanted.items())])
        except (Unavailable, Refused, OSError) as failure:
            words = failure.message if isinstance(failure, Unavailable | Refused) else str(failure)
            log.error(  # noqa: TRY400  (a sentence for whoever runs the machine; where it was raised says nothing)
                "the entry does not serve", reason=words, retry_s=self._back_off_s
            )
            wait_s = self._back_off_s
            self._back_off_s = min(self._back_off_s * 2, BACK_OFF_MAX_S)
            return wait_s
        self._back_off_s = BACK_OFF_FIRST_S
        return again_s

    async def _go_on(self) -> float | None:
        """No manager has spoken yet: serve on what was served last."""
        if not self._alive and (self._folder / CONFIG).exists():
            await self._start("")
        return None

    async def _serve(self, wanted: Sequence[Listener]) -> float | None:
        shown = await self._shown() if self._alive else Shown("")
        places = {(one.ip, one.port) for one in wanted}
        self._declined = {place: one for place, one in self._declined.items() if place in places}
        usable = [one for one in wanted if self._can_listen(one, shown)]
        if not usable:
            self.stop()
        elif not self._alive:
            self._write(usable)
            await self._start(haproxy.shape(usable))
        elif shown.shape != haproxy.shape(usable):
            self._write(usable)
            self._marked = len(self._log())
            os.kill(self._pid, signal.SIGUSR2)
            await self._comes_to(haproxy.shape(usable))
            log.info("entry reloaded", ports=[one.port for one in usable])
            shown = await self._shown()
        left = await self._change_servers(usable, shown) if usable and shown.shape else False
        # At first soon: a HAProxy that was killed leaves its ports a moment later.
        self._port_wait_s = min(self._port_wait_s * 2, TRY_AGAIN_S) if self._refused else BACK_OFF_FIRST_S
        return min([self._port_wait_s] * bool(self._refused) + [LEFTOVERS_S] * left, default=None)

    async def _change_servers(self, usable: Sequence[Listener], shown: Shown) -> bool:
        """Change what is behind the ports, and keep the file in step. Whether something is left to do."""
        lines = list(haproxy.commands(usable, shown, self._overdue(haproxy.lost(usable, shown))))
        for first in range(0, len(lines), _COMMANDS_AT_ONCE):
            await self._ask("; ".join(lines[first : first + _COMMANDS_AT_ONCE]))
        self._write(usable)
        return bool(lines) and (
            haproxy.has_leftovers(usable, after := await self._shown()) or any(haproxy.commands(usable, after))
        )

    def _overdue(self, lost: set[str]) -> set[str]:
        """Those of the lost that were waited for long enough."""
        now = asyncio.get_running_loop().time()
        self._lost = {name: self._lost.get(name, now) for name in lost}
        return {name for name, since in self._lost.items() if since + LOST_S <= now}

    # -- ports

    def _can_listen(self, one: Listener, shown: Shown) -> bool:
        declined = self._declined.get((one.ip, one.port))
        if declined is not None and declined.until > asyncio.get_running_loop().time():
            problem = f"HAProxy {declined.words}"
        elif one.port in [port for _, port in shown.bound]:
            problem = ""  # also at another address: then it is HAProxy's own to move
        else:
            problem = _problem(one)
        if problem and self._refused.get(one.port) != problem:
            log.error("an entry's port cannot be had", port=one.port, service=one.service, reason=problem)
        if problem:
            self._refused[one.port] = problem
        else:
            self._refused.pop(one.port, None)
        return not problem

    # -- the process

    @property
    def _alive(self) -> bool:
        return self._pidfd >= 0

    @property
    def pid(self) -> int:
        """Of HAProxy's master process; zero if there is none."""
        return self._pid

    def _find(self) -> None:
        """Take over the process of an earlier life, if it is there and ours."""
        with suppress(OSError, ValueError):
            pid = int((self._folder / PID).read_text())
            ours = Path(f"/proc/{pid}/cwd").resolve() == self._folder.resolve()
            if ours and Path(f"/proc/{pid}/comm").read_text().strip() == PROGRAM:
                self._watch(pid)
                log.info("entry found running", pid=pid)

    async def _start(self, shape: str) -> None:
        program = check_installed()
        (self._folder / LOG).write_bytes(b"")
        self._marked = 0
        self._watch(self._spawn(program))
        await self._comes_to(shape)
        log.info("entry started", pid=self._pid)

    def _spawn(self, program: str) -> int:
        # Not by way of a Popen, which takes a child that outlives it for a mistake. In a session of its own, so that no
        # signal meant for the worker reaches it.
        noise = os.O_WRONLY | os.O_APPEND  # so that it can be cut short
        return os.posix_spawn(
            program,
            [PROGRAM, "-W", "-db", "-C", str(self._folder.resolve()), "-f", CONFIG, "-p", PID],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self._folder / LOG), noise, 0),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )

    def _watch(self, pid: int) -> None:
        self._pid, self._pidfd = pid, os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def _ended(self) -> None:
        log.error("HAProxy ended", pid=self._pid, said=self._said())
        pid, pidfd = self._pid, self._pidfd
        self._pid, self._pidfd = 0, -1
        _reap(pid, pidfd)
        self._changed.set()

    def _forget(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._pid, self._pidfd = 0, -1

    def stop(self) -> None:
        """Have it finish what it has and end; nothing is kept to start it from."""
        if not self._alive:
            self._find()
        if self._alive:
            os.kill(self._pid, signal.SIGUSR1)
            log.info("entry stopped", pid=self._pid)
            loop, pid, pidfd = asyncio.get_running_loop(), self._pid, self._pidfd
            loop.remove_reader(pidfd)
            loop.add_reader(pidfd, _reap, pid, pidfd)  # it may take as long as its longest request
            self._pid, self._pidfd = 0, -1
        self._written = ""
        for name in (CONFIG, PID):
            (self._folder / name).unlink(missing_ok=True)

    async def _comes_to(self, shape: str) -> None:
        """Wait until the process that answers is one of this shape (empty: any)."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                while self._alive:
                    with suppress(Unavailable):
                        answered = haproxy.read_shape(await self._ask("show info"))
                        if answered == shape or (answered and not shape):
                            return
                    await asyncio.sleep(0.01)
        # Without these the others are served: the next look leaves them out.
        for place, words in haproxy.read_declined(self._log()[self._marked :]).items():
            before = self._declined.get(place)
            wait_s = DECLINED_FIRST_S if before is None else min(before.wait_s * 2, DECLINED_MAX_S)
            self._declined[place] = _Declined(words, wait_s, asyncio.get_running_loop().time() + wait_s)
        raise Unavailable(f"HAProxy did not take its configuration: {self._said()}")

    def _said(self) -> str:
        """The last words of its log that tell a trouble."""
        return " ".join([line for line in self._log().splitlines() if "[ALERT]" in line][-3:])

    def _log(self) -> str:
        try:
            return (self._folder / LOG).read_bytes().decode("latin-1")  # a character a byte
        except FileNotFoundError:
            return ""

    # -- the runtime API

    async def _shown(self) -> Shown:
        info, stat, state = [await self._ask(f"show {what}") for what in ("info", "stat -1 1 -1", "servers state")]
        try:
            return Shown(haproxy.read_shape(info), haproxy.read_bound(stat), haproxy.read_servers(state))
        except (KeyError, ValueError) as error:
            raise Unavailable("HAProxy's answer broke off") from error

    async def _ask(self, line: str) -> str:
        # By way of an open directory, as the folder's own path may be too long for a socket.
        directory = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{directory}/{haproxy.SOCKET}")
                try:
                    writer.write(f"{line}\n".encode())
                    return (await reader.read()).decode(errors="replace")
                finally:
                    writer.close()
        except TimeoutError:
            raise Unavailable("HAProxy does not answer on its socket") from None
        except OSError as error:
            raise Unavailable(f"no way to HAProxy's socket: {error.strerror or error}") from error
        finally:
            os.close(directory)

    # -- the file

    def _write(self, listeners: Sequence[Listener]) -> None:
        """Replace the configuration. Not forced to disk: after a power cut HAProxy is started by a worker, which writes
        it first."""
        text = haproxy.render(listeners)
        if text == self._written:
            return
        part = self._folder / f"{CONFIG}.part"
        part.write_text(text)
        part.replace(self._folder / CONFIG)
        self._written = text
        noise = self._folder / LOG
        if noise.exists() and noise.stat().st_size > LOG_BYTES_MAX:
            os.truncate(noise, 0)


def _reap(pid: int, pidfd: int) -> None:
    """Have done with a process that ended."""
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)
    with suppress(ChildProcessError):  # an earlier life's child
        os.waitpid(pid, os.WNOHANG)


def _problem(one: Listener) -> str:
    """Why nobody could listen there now; empty if one could."""
    family = socket.AF_INET6 if ":" in one.ip else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((one.ip, one.port))
            probe.listen(1)
        except PermissionError:
            return "this user may not listen there: give the worker CAP_NET_BIND_SERVICE, or listen at 1024 or more"
        except OSError as error:
            taken = ": another program of this machine has it" * (error.errno == errno.EADDRINUSE)
            return f"{error.strerror}{taken}"
    return ""


def _with_addresses(one: Listener) -> Listener:
    """Without servers that HAProxy cannot be told of."""
    servers = tuple(server for server in one.servers if haproxy.is_address(server.address))
    if len(servers) < len(one.servers):
        log.error("a node's address is no IP address, so its tasks are not served", service=one.service)
    return replace(one, servers=servers)
