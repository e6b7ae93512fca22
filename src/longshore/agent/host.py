"""Figures of the machine for heartbeats: what is in use now, from psutil and the containers' cgroups.

Never the engine's own statistics, which block for most of a second. Readings of files take well under a millisecond,
so they are taken on the event loop.
"""

from contextlib import suppress
from pathlib import Path

import psutil

from longshore.model.errors import Unavailable
from longshore.model.objects import NodeStats
from longshore.ports import Clock, Engine


def pids_of_machine(folder: Path = Path("/proc/sys/kernel")) -> int:
    """How many processes and threads the kernel has room for; zero if it does not say."""
    found = []
    for name in ("pid_max", "threads-max"):
        with suppress(OSError, ValueError):
            found.append(int((folder / name).read_text()))
    return min(found, default=0)


class _Rate:
    """Turns seconds of CPU that only grow into cores in use since the last look."""

    def __init__(self, cpu_s: float, now: float) -> None:
        self._cpu_s = cpu_s
        self._at = now

    def cores(self, cpu_s: float, now: float) -> float:
        elapsed_s = now - self._at
        # A container that went takes its seconds along, so a sum may fall.
        used_s = max(0.0, cpu_s - self._cpu_s)
        self._cpu_s, self._at = cpu_s, now
        return used_s / elapsed_s if elapsed_s > 0 else 0.0


class Host:
    """Takes a reading a heartbeat; rates are over the time since this node's last one. (psutil's own `cpu_percent`
    has one last reading for the whole program, which may be several nodes'.)"""

    def __init__(self, engine: Engine, clock: Clock, disk_path: str = "/") -> None:
        self._engine = engine
        self._clock = clock
        self._disk_path = disk_path
        now = clock.monotonic()
        self._machine = _Rate(_busy_s(), now)
        self._tasks = _Rate(0.0, now)

    async def read(self, container_ids: tuple[str, ...]) -> NodeStats:
        """What is in use now; `container_ids` are this node's own containers."""
        try:
            tasks_cpu_s, tasks_memory = await self._engine.usage(container_ids)
        except Unavailable:
            tasks_cpu_s, tasks_memory = 0.0, 0  # the heartbeat says itself that the engine does not answer
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(self._disk_path)
        now = self._clock.monotonic()
        return NodeStats(
            cpu_used=self._machine.cores(_busy_s(), now),
            load_1m=psutil.getloadavg()[0],
            memory_used=memory.total - memory.available,
            memory_free=memory.available,
            disk_used=disk.used,
            disk_free=disk.free,
            containers=len(container_ids),
            tasks_cpu=self._tasks.cores(tasks_cpu_s, now),
            tasks_memory=tasks_memory,
        )


def _busy_s() -> float:
    """Seconds of CPU that the machine has spent on anything, over all cores."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
