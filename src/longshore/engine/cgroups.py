"""What containers use, by the kernel's own accounts.

Knows cgroups, both versions; must not know an engine's API. An engine's statistics call takes a second for a figure
that is a file here. Every function reads files and blocks for as long as the kernel takes: call them in a thread.
"""

from pathlib import Path, PurePosixPath

import msgspec

WELL_KNOWN = ("docker/{id}", "system.slice/docker-{id}.scope", "machine.slice/libpod-{id}.scope")
"""Where engines put a container unless told otherwise, below a hierarchy's root."""


class Account(msgspec.Struct, frozen=True):
    """Where one container's figures are."""

    cpu: Path
    memory: Path
    unified: bool
    """Whether they are of version 2."""


class Cgroups:
    """The hierarchies of this machine. `root` stands in for `/` in tests; `inside` is the id of the container that the
    engine itself runs in, if it does: its cgroups begin below that one's."""

    def __init__(self, root: Path = Path("/"), *, inside: str = "") -> None:
        self._root = root
        self._inside = inside
        self._places = (
            tuple(f"{place.format(id=inside)}/docker/{{id}}" for place in WELL_KNOWN) if inside else WELL_KNOWN
        )
        self._hierarchies = _hierarchies(root)

    def well_known(self, id: str) -> Account | None:
        """The container's account if it is where engines usually put it."""
        places = (place.format(id=id) for place in self._places)
        return next((found for place in places if (found := self._account(place, place))), None)

    def of_process(self, pid: int, id: str) -> Account | None:
        """The account that a container's first process is booked on. None if there is none, or if the process is
        another by now: its cgroups do not bear the container's id."""
        if self._inside:
            return self.well_known(id)  # a number from the other side means nothing, or somebody else, here
        places = {}
        try:
            text = self._path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return None
        for line in text.splitlines():
            _, controllers, place = line.split(":", 2)
            if id in place:
                places.update(dict.fromkeys(controllers.split(","), place))
        unified = places.get("", "")
        return self._account(places.get("cpuacct", unified), places.get("memory", unified))

    def _account(self, cpu: str, memory: str) -> Account | None:
        """Where both are, if they are; the memory's hierarchy tells the version."""
        roots = self._hierarchies
        unified = "memory" not in roots
        base_cpu, base_memory = roots.get("" if unified else "cpuacct"), roots.get("" if unified else "memory")
        if base_cpu is None or base_memory is None or not cpu or not memory:
            return None
        account = Account(base_cpu / cpu.lstrip("/"), base_memory / memory.lstrip("/"), unified)
        return account if account.cpu.is_dir() and account.memory.is_dir() else None

    def _path(self, absolute: str) -> Path:
        return self._root / absolute.lstrip("/")


def used(account: Account) -> tuple[float, int]:
    """(cpu seconds so far, bytes of memory now) without the file cache that the kernel would give up at once, as it is
    no sign of need. Zero once the container is gone."""
    try:
        if account.unified:
            cpu_s = _table(account.cpu / "cpu.stat").get("usage_usec", 0) / 1e6
            memory = _number(account.memory / "memory.current")
            idle_cache = _table(account.memory / "memory.stat").get("inactive_file", 0)
        else:
            cpu_s = _number(account.cpu / "cpuacct.usage") / 1e9
            memory = _number(account.memory / "memory.usage_in_bytes")
            idle_cache = _table(account.memory / "memory.stat").get("total_inactive_file", 0)
    except OSError:
        return 0.0, 0
    return cpu_s, max(memory - idle_cache, 0)


def _hierarchies(root: Path) -> dict[str, Path]:
    """Where each controller's hierarchy is mounted; version 2 under the empty name, as in /proc/PID/cgroup."""
    found: dict[str, Path] = {}
    try:
        mounts = (root / "proc/mounts").read_text()
    except OSError:
        return found
    for line in mounts.splitlines():
        _, place, kind, options, *_ = line.split(" ")
        path = root / PurePosixPath(place).relative_to("/")
        if kind == "cgroup":
            found.update(dict.fromkeys(set(options.split(",")) & {"cpuacct", "memory"}, path))
        elif kind == "cgroup2":
            found.setdefault("", path)
    return found


def _number(path: Path) -> int:
    return int(path.read_text())


def _table(path: Path) -> dict[str, int]:
    """A file of lines such as `usage_usec 1234`."""
    rows = (line.split(" ") for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2}
