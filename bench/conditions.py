"""Under which conditions a run was made. A figure without them cannot be compared with any other."""

import os
import platform
import time
from pathlib import Path

import msgspec
import psutil

import longshore


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The machine, the versions, and what else went on."""

    at: str
    cores: int
    processor: str
    memory_gb: float
    kernel: str
    python: str
    longshore: str
    engine: str
    load_before: float
    """Average over the last minute, before anything was started."""
    busy_before: float
    """Share of all cores that others used during one second, before anything was started."""
    load_after: float | None = None
    took_s: float | None = None

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.at}, Longshore {self.longshore}, Python {self.python}",
            f"{self.cores} cores ({self.processor}), {self.memory_gb:.0f} GB, Linux {self.kernel}",
            self.engine,
            f"load average {self.load_before:.2f} before and {self.load_after or 0:.2f} after, the run's own included",
            f"{self.busy_before:.0%} of all cores were busy before; the run took {self.took_s or 0:.0f} s",
        ]


def observed(engine: str) -> Conditions:
    """As they are now; takes a second."""
    return Conditions(
        at=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        cores=os.cpu_count() or 1,
        processor=_processor(),
        memory_gb=psutil.virtual_memory().total / 2**30,
        kernel=platform.release(),
        python=platform.python_version(),
        longshore=longshore.__version__,
        engine=engine,
        load_before=os.getloadavg()[0],
        busy_before=psutil.cpu_percent(1.0) / 100,
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
