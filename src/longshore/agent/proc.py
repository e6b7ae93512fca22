"""The kernel's own figures of this machine, file by file, under the names that goprocinfo gives them.

Knows /proc/meminfo, /proc/stat, /proc/loadavg and one statfs. Clients of the ancestors' workers read these names, so
they are a format, misspellings and all, and not ours to improve. Reading takes well under a millisecond.
"""

import os
import re
from pathlib import Path

import msgspec

_MEMORY = {
    "mem_total": "MemTotal",
    "mem_free": "MemFree",
    "mem_available": "MemAvailable",
    "buffers": "Buffers",
    "cached": "Cached",
    "swap_cached": "SwapCached",
    "active": "Active",
    "inactive": "Inactive",
    "active_anon": "Active(anon)",
    "inactive_anon": "Inactive(anon)",
    "active_file": "Active(file)",
    "inactive_file": "Inactive(file)",
    "unevictable": "Unevictable",
    "mlocked": "Mlocked",
    "swap_total": "SwapTotal",
    "swap_free": "SwapFree",
    "dirty": "Dirty",
    "write_back": "Writeback",
    "anon_pages": "AnonPages",
    "mapped": "Mapped",
    "shmem": "Shmem",
    "slab": "Slab",
    "s_reclaimable": "SReclaimable",
    "s_unclaim": "SUnreclaim",
    "kernel_stack": "KernelStack",
    "page_tables": "PageTables",
    "nfs_unstable": "NFS_Unstable",
    "bounce": "Bounce",
    "writeback_tmp": "WritebackTmp",
    "commit_limit": "CommitLimit",
    "committed_as": "Committed_AS",
    "vmalloc_total": "VmallocTotal",
    "vmalloc_used": "VmallocUsed",
    "vmalloc_chunk": "VmallocChunk",
    "hardware_corrupted": "HardwareCorrupted",
    "anon_huge_pages": "AnonHugePages",
    "huge_pages_total": "HugePages_Total",
    "huge_pages_free": "HugePages_Free",
    "huge_pages_rsvd": "HugePages_Rsvd",
    "huge_pages_surp": "HugePages_Surp",
    "hugepagesize": "Hugepagesize",
    "direct_map_4k": "DirectMap4k",
    "direct_map_2M": "DirectMap2M",
    "direct_map_1G": "DirectMap1G",
}
"""goprocinfo's name to the kernel's. What a kernel does not tell is zero."""

_CPU = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")


class CpuTicks(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of /proc/stat, in ticks since the machine began."""

    id: str = "cpu"
    user: int = 0
    nice: int = 0
    system: int = 0
    idle: int = 0
    iowait: int = 0
    irq: int = 0
    softirq: int = 0
    steal: int = 0
    guest: int = 0
    guest_nice: int = 0


class DiskBytes(msgspec.Struct, frozen=True):
    """statfs of `/`. Free is what root could use."""

    all: int
    used: int
    free: int
    free_inodes: int = msgspec.field(name="freeInodes")


class Load(msgspec.Struct, frozen=True):
    last1min: float
    last5min: float
    last15min: float
    process_running: int
    process_total: int
    last_pid: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All of them at one moment."""

    memory: dict[str, int]
    """Kibibytes; pages for the four counts of huge pages."""
    disk: DiskBytes
    cpu: CpuTicks
    load: Load


def read(root: Path = Path("/")) -> Figures:
    """The figures now. `root` stands in for `/` in tests."""
    proc = root / "proc"
    disk = os.statvfs(root)
    free = disk.f_bfree * disk.f_frsize
    total = disk.f_blocks * disk.f_frsize
    return Figures(
        memory=_memory((proc / "meminfo").read_text()),
        disk=DiskBytes(total, total - free, free, disk.f_ffree),
        cpu=_cpu((proc / "stat").read_text()),
        load=_load((proc / "loadavg").read_text()),
    )


def _memory(text: str) -> dict[str, int]:
    told = {name: int(value) for name, value in re.findall(r"^(\S+):\s+(\d+)", text, re.MULTILINE)}
    return {ours: told.get(theirs, 0) for ours, theirs in _MEMORY.items()}


def _cpu(text: str) -> CpuTicks:
    first = text.split("\n", 1)[0].split()
    return CpuTicks(id=first[0], **dict(zip(_CPU, map(int, first[1:]), strict=False)))


def _load(text: str) -> Load:
    one, five, fifteen, processes, last = text.split()
    running, _, total = processes.partition("/")
    return Load(float(one), float(five), float(fifteen), int(running), int(total), int(last))
