"""Figures of the machine for heartbeats: what is in use now, from psutil and the containers' cgroups.

Never the engine's own statistics, which block for most of a second. Readings of files take well under a millisecond,
so they are taken on the event loop.
"""

import psutil

from longshore.model.errors import Unavailable
from longshore.model.objects import NodeStats
from longshore.ports import Clock, Engine


class Host:
    """Takes a reading a heartbeat; rates are over the time since the last one."""

    def __init__(self, engine: Engine, clock: Clock, disk_path: str = "/") -> None:
        self._engine = engine
        self._clock = clock
        self._disk_path = disk_path
        self._last_at = clock.monotonic()
        self._last_tasks_cpu_s = 0.0
        psutil.cpu_percent()  # the first call only sets psutil's own starting point

    async def read(self, container_ids: tuple[str, ...]) -> NodeStats:
        """What is in use now; `container_ids` are this node's own containers."""
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(self._disk_path)
        now = self._clock.monotonic()
        tasks_cpu, tasks_memory = await self._tasks(container_ids, now)
        return NodeStats(
            cpu_used=psutil.cpu_percent() / 100 * (psutil.cpu_count() or 1),
            load_1m=psutil.getloadavg()[0],
            memory_used=memory.total - memory.available,
            memory_free=memory.available,
            disk_used=disk.used,
            disk_free=disk.free,
            containers=len(container_ids),
            tasks_cpu=tasks_cpu,
            tasks_memory=tasks_memory,
        )

    async def _tasks(self, container_ids: tuple[str, ...], now: float) -> tuple[float, int]:
        try:
            cpu_s, memory = await self._engine.usage(container_ids)
        except Unavailable:
            return 0.0, 0  # the heartbeat says itself that the engine does not answer
        elapsed_s = now - self._last_at
        # A container that went takes its seconds along, so the sum may fall.
        cores = max(0.0, cpu_s - self._last_tasks_cpu_s) / elapsed_s if elapsed_s > 0 else 0.0
        self._last_at, self._last_tasks_cpu_s = now, cpu_s
        return cores, memory
