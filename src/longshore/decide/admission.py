"""What may be wished at all: the one policy for every door (API, Compose, foreign APIs, scale, restart).

Takes a decoded spec and returns it normalised, or raises Invalid that names the field and says what to do. Whatever an
engine would refuse on every node, every time, is refused here, once, while the user is still looking. Must not know
the world: whether an image exists or a port is free is found out later and is no fault of the wish.

What it does not do: it is no wall between a user and the nodes. Whoever may create services can run any image with any
capability; the list of bind sources stops accidents and the shortest ways to root, and a symbolic link on a node can
lead around it.
"""

import ipaddress
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from longshore.decide.placement import constraints
from longshore.model.errors import Invalid
from longshore.model.spec import HealthCheck, Limits, Mode, Mount, MountKind, Port, Protocol, RestartOn, ServiceSpec

MIB = 1024 * 1024
DAY_S = 86_400.0
REPLICAS_MAX = 100_000
ENCODED_BYTES_MAX = 256 * 1024
TEXT_BYTES_MAX = 64 * 1024
"""Of one string. The kernel takes at most 128 KiB for one argument or variable."""
ENV_MAX = 1000
ITEMS_MAX = 128
"""Of any other list or table of a spec."""
MEMORY_LIMIT_MIN = 6 * MIB
"""The engine's own minimum."""
CPU_LIMIT_MIN = 0.01
"""The kernel's own minimum: one millisecond in each period of a hundred."""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "replicas": (0, REPLICAS_MAX),
    "stop_grace_s": (0, DAY_S),
    "resources.cpu": (0, 100_000),
    "resources.memory": (0, 2**50),
    "limits.cpu": (0, 100_000),
    "limits.memory": (0, 2**50),
    "limits.pids": (0, 4_194_304),
    "log.size_bytes": (4096, 2**40),
    "log.files": (1, 1000),
    "health.interval_s": (0.001, DAY_S),
    "health.timeout_s": (0.001, DAY_S),
    "health.retries": (1, 1000),
    "health.start_period_s": (0, DAY_S),
    "restart.delay_s": (0, DAY_S),
    "restart.delay_max_s": (0, DAY_S),
    "restart.window_s": (0, 30 * DAY_S),
    "restart.attempts_max": (0, 1_000_000),
}
"""Every number that stands alone, with the least and the most it may be. Lists check their own."""

SOURCES_REFUSED = frozenset({"/", "/run"})
"""Directories of a node that hold the engine's socket; so does any path that ends in `docker.sock`."""
TREES_REFUSED = ("/proc", "/sys", "/dev")
"""Kernel interfaces, with everything below: `/proc/1/root` is the node's whole file system."""

CAPABILITIES = frozenset(
    ["ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM"]
)
SIGNALS = frozenset(
    ["HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS", "UNUSED"]
)
SIGNAL_NUMBER_MAX = 64

_COMPONENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,128})?"
)
"""The reference grammar of distribution/reference, which every engine and registry shares."""
_IMAGE_NAME_MAX = 255
_IMAGE_MAX = 600

_SERVICE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_APP_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NODE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]*[A-Za-z0-9])?)?")
_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HOSTNAME = re.compile(rf"{_COMPONENT}(?:\.{_COMPONENT})*")
_USER = re.compile(r"[^\s:]+(?::[^\s:]+)?")
_RT_SIGNAL = re.compile(r"RT(?:MIN(?:\+(?:[1-9]|1[0-5]))?|MAX(?:-(?:[1-9]|1[0-4]))?)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TEXT_FIELDS = frozenset({"command", "entrypoint", "env", "labels", "health"})
"""Where a string may have lines and tabs: scripts, keys and certificates are passed that way."""


def admit(spec: ServiceSpec, *, field: str = "spec") -> ServiceSpec:
    """`spec` with every default and every spelling made explicit. Raises Invalid for what cannot be meant.

    Admitting what was admitted changes nothing.
    """
    _check_texts(spec, field)
    _check_bounds(spec, field)
    _check_limits(spec, field)
    _check_image(spec.image, f"{field}.image")
    _check_labels(spec.labels, f"{field}.labels")
    _check_env(spec.env, f"{field}.env")
    _check_constraints(spec.placement.constraints, f"{field}.placement.constraints")
    if spec.health is not None:
        _check_health(spec.health, f"{field}.health")
    if spec.user:
        _match(_USER, spec.user, f"{field}.user", "a user is a name or number, with a group after a colon if wanted")
    if spec.hostname:
        _check_hostname(spec.hostname, f"{field}.hostname")
    condition = RestartOn.ON_FAILURE if spec.mode is Mode.JOB else RestartOn.ANY
    return replace(
        spec,
        # A global service has one task per node; a stray number would only show up as a difference later.
        replicas=1 if spec.mode is Mode.GLOBAL else spec.replicas,
        working_dir=_container_path(spec.working_dir, f"{field}.working_dir") if spec.working_dir else "",
        stop_signal=_signal(spec.stop_signal, f"{field}.stop_signal") if spec.stop_signal else "",
        ports=_ports(spec.ports, f"{field}.ports"),
        mounts=_mounts(spec.mounts, f"{field}.mounts"),
        cap_add=_capabilities(spec.cap_add, f"{field}.cap_add", against=()),
        cap_drop=_capabilities(spec.cap_drop, f"{field}.cap_drop", against=spec.cap_add),
        restart=replace(spec.restart, condition=spec.restart.condition or condition),
    )


# -- names


def admit_name(name: str, *, field: str) -> str:
    """A service's name: a part of task ids and of container names, so short and without dots."""
    return _match(
        _SERVICE_NAME, name, field, "a service's name is 1 to 40 of a-z, 0-9 and '-', with '-' only inside", longest=40
    )


def admit_app_name(name: str, *, field: str) -> str:
    """An app's name, by the grammar of Compose project names."""
    return _match(
        _APP_NAME, name, field, "an app's name is 1 to 63 of a-z, 0-9, '-' and '_', beginning with a-z or 0-9", longest=63
    )


def admit_node_name(name: str, *, field: str) -> str:
    rule = "a node's name is 1 to 63 of A-Z, a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends"
    return _match(_NODE_NAME, name, field, rule, longest=63)


def admit_node_labels(labels: Mapping[str, str], *, field: str) -> dict[str, str]:
    """A node's labels: what constraints can name, nothing else."""
    _bounded(labels, field, "labels")
    for key, value in labels.items():
        _match(
            _LABEL_KEY, key, field, "a label's key is 1 to 63 of A-Z, a-z, 0-9, '.', '_', '/' and '-', with a letter or "
            "digit at both ends", longest=63,
        )
        _match(
            _LABEL_VALUE, value, f"{field}[{key}]", "a label's value is up to 63 of A-Z, a-z, 0-9 and '._:/@+-', with a "
            "letter or digit at both ends", longest=63,
        )
    return dict(labels)


def check_replicas(replicas: int, *, field: str) -> int:
    _check_number(replicas, BOUNDS["replicas"], field)
    return replicas


# -- what holds for all


def _check_texts(spec: ServiceSpec, field: str) -> None:
    """No string carries what an engine, a terminal or a file could take for something else; none is endless."""
    for name in spec.__struct_fields__:
        control = _CONTROL_IN_TEXT if name in _TEXT_FIELDS else _CONTROL
        for path, text in _strings(msgspec.to_builtins(getattr(spec, name)), f"{field}.{name}"):
            if _SURROGATE.search(text):
                raise Invalid("the text is not valid Unicode", field=path)
            if found := control.search(text):
                raise Invalid(f"the text has the control character {found[0]!r}; remove it", field=path)
            if len(text.encode()) > TEXT_BYTES_MAX:
                raise Invalid(f"the text is over {TEXT_BYTES_MAX // 1024} KiB; mount it as a file instead", field=path)
    if len(msgspec.json.encode(spec)) > ENCODED_BYTES_MAX:
        raise Invalid(f"all of it together is over {ENCODED_BYTES_MAX // 1024} KiB; make it smaller", field=field)


def _strings(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Every string in `value` with its path; a key of a table goes by the path of the table."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield path, key
            yield from _strings(one, f"{path}[{_shown(key)}]")
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from _strings(one, f"{path}[{place}]")


def _check_bounds(spec: ServiceSpec, field: str) -> None:
    for path, bounds in BOUNDS.items():
        if (path == "replicas" and spec.mode is Mode.GLOBAL) or (path.startswith("health.") and spec.health is None):
            continue
        value = attrgetter(path)(spec)
        if value is not None:
            _check_number(value, bounds, f"{field}.{path}")


def _check_number(value: float, bounds: tuple[float, float], field: str) -> None:
    least, most = bounds
    # Written so that NaN, which compares as false with everything, is refused too.
    if not least <= value <= most:
        raise Invalid(f"the number must be from {least:g} to {most:.15g}", field=field)


def _check_limits(spec: ServiceSpec, field: str) -> None:
    limits, resources = spec.limits, spec.resources
    if 0 < limits.memory < MEMORY_LIMIT_MIN:
        raise Invalid("an engine takes no memory limit under 6 MiB; raise it, or 0 for none", field=f"{field}.limits.memory")
    if 0 < limits.cpu < CPU_LIMIT_MIN:
        raise Invalid("a kernel takes no cpu limit under 0.01; raise it, or 0 for none", field=f"{field}.limits.cpu")
    for name in Limits.__struct_fields__:
        limit, reserved = getattr(limits, name), getattr(resources, name, 0)
        if limit and limit < reserved:
            raise Invalid(
                f"the limit {limit} is less than the {reserved} set aside in resources.{name}; raise the limit or set "
                "less aside",
                field=f"{field}.limits.{name}",
            )


# -- field by field


def _check_image(image: str, field: str) -> None:
    found = _IMAGE.fullmatch(image) if len(image) <= _IMAGE_MAX else None
    if found is None:
        name = image.split("@")[0].rpartition("/")[2]
        hint = " (names are lower case)" if name.partition(":")[0] != name.partition(":")[0].lower() else ""
        raise Invalid(
            f"{_shown(image)} is no image reference{hint}; write it as [registry/]name[:tag][@digest]", field=field
        )
    if len(found["name"]) > _IMAGE_NAME_MAX:
        raise Invalid(f"the image's name is over {_IMAGE_NAME_MAX} characters", field=field)


def _check_labels(labels: Mapping[str, str], field: str) -> None:
    _bounded(labels, field, "labels")
    for key in labels:
        if not key or _CONTROL.search(key):
            raise Invalid("a label has a key of at least one character, on one line", field=field)
        if key.startswith("longshore."):
            raise Invalid(f"{_shown(key)}: labels that begin with 'longshore.' are Longshore's own; rename it", field=field)


def _check_env(env: Mapping[str, str], field: str) -> None:
    if len(env) > ENV_MAX:
        raise Invalid(f"{len(env)} variables are more than {ENV_MAX}; put them into a file", field=field)
    for key in env:
        if not key or "=" in key or _CONTROL.search(key):
            raise Invalid(f"{_shown(key)} cannot name a variable; use at least one character, and no '='", field=field)


def _check_constraints(texts: tuple[str, ...], field: str) -> None:
    _bounded(texts, field, "constraints")
    for place, text in enumerate(texts):
        try:
            constraints.parse(text)
        except Invalid as fault:
            raise Invalid(fault.message, field=f"{field}[{place}]") from fault


def _check_health(health: HealthCheck, field: str) -> None:
    match health.test:
        case ("NONE",) | ("CMD-SHELL", _):
            return
        case ("CMD", program, *_) if program:
            return
    raise Invalid(
        'a test is ["CMD", "program", "argument", ...], ["CMD-SHELL", "one line of shell"] or ["NONE"]',
        field=f"{field}.test",
    )


def _check_hostname(name: str, field: str) -> None:
    parts_fit = all(len(part) <= 63 for part in name.split("."))
    # The kernel takes 64 bytes, whatever RFC 1123 allows for a whole name.
    if len(name) > 64 or not parts_fit or not _HOSTNAME.fullmatch(name):
        raise Invalid(
            f"{_shown(name)} is no hostname; use letters, digits and '-', in parts of up to 63 between dots, 64 in all",
            field=field,
        )


def _signal(name: str, field: str) -> str:
    """`term`, `TERM` and `SIGTERM` are all SIGTERM; a number stays one."""
    if re.fullmatch(r"[0-9]{1,3}", name) and 1 <= int(name) <= SIGNAL_NUMBER_MAX:
        return str(int(name))
    plain = name.upper().removeprefix("SIG")
    if plain in SIGNALS or _RT_SIGNAL.fullmatch(plain):
        return f"SIG{plain}"
    raise Invalid(f"{_shown(name)} is no signal; use a name such as SIGTERM or a number from 1 to 64", field=field)


def _ports(ports: tuple[Port, ...], field: str) -> tuple[Port, ...]:
    _bounded(ports, field, "ports")
    taken: set[tuple[int, Protocol]] = set()
    admitted = []
    for place, port in enumerate(ports):
        path = f"{field}[{place}]"
        _check_number(port.container, (1, 65_535), f"{path}.container")
        if port.host is not None:
            _check_number(port.host, (1, 65_535), f"{path}.host")
            if (port.host, port.protocol) in taken:
                raise Invalid(f"{port.host}/{port.protocol} is published twice; choose another", field=f"{path}.host")
            taken.add((port.host, port.protocol))
        try:
            ip = ipaddress.ip_address(port.ip)
        except ValueError:
            raise Invalid(f"{_shown(port.ip)} is no IP address", field=f"{path}.ip") from None
        if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id:
            raise Invalid("an address with a zone means something else on each node; leave the zone out", field=f"{path}.ip")
        admitted.append(replace(port, ip=str(ip)))
    return tuple(admitted)


def _mounts(mounts: tuple[Mount, ...], field: str) -> tuple[Mount, ...]:
    _bounded(mounts, field, "mounts")
    targets: set[str] = set()
    admitted = []
    for place, mount in enumerate(mounts):
        path = f"{field}[{place}]"
        target = _container_path(mount.target, f"{path}.target")
        if target == "/":
            raise Invalid("a mount cannot cover the container's root; name a directory in it", field=f"{path}.target")
        if target in targets:
            raise Invalid(f"{_shown(target)} is mounted twice; keep one of them", field=f"{path}.target")
        targets.add(target)
        _check_number(mount.size_bytes, (0, 2**50), f"{path}.size_bytes")
        if mount.size_bytes and mount.kind is not MountKind.TMPFS:
            raise Invalid(f"only a tmpfs has a size, not a {mount.kind}; leave it out", field=f"{path}.size_bytes")
        admitted.append(replace(mount, target=target, source=_source(mount, f"{path}.source")))
    return tuple(admitted)


def _source(mount: Mount, field: str) -> str:
    if mount.kind is MountKind.TMPFS:
        if mount.source:
            raise Invalid("a tmpfs comes from nowhere; leave the source out", field=field)
        return ""
    if mount.kind is MountKind.VOLUME:
        # Without a name it is an anonymous volume, which goes when its container does.
        if mount.source:
            rule = "a volume's name is 2 to 255 of A-Z, a-z, 0-9, '_', '.' and '-', beginning with a letter or digit"
            _match(_VOLUME_NAME, mount.source, field, rule, longest=255)
        return mount.source
    source = _absolute(mount.source, field)
    # /var/run is a link to /run on every distribution that an engine supports.
    real = source.removeprefix("/var") if source == "/var/run" or source.startswith("/var/run/") else source
    if real in SOURCES_REFUSED or real.endswith("/docker.sock") or any(_within(real, tree) for tree in TREES_REFUSED):
        raise Invalid(
            f"{_shown(source)} on a node is as good as root there and may not be mounted; mount the directory that you "
            "need, or use a volume or tmpfs",
            field=field,
        )
    return source


def _capabilities(names: tuple[str, ...], field: str, *, against: tuple[str, ...]) -> tuple[str, ...]:
    """`cap_net_admin` and `NET_ADMIN` are one; what is given twice counts once."""
    _bounded(names, field, "capabilities")
    opposite = {_capability(name) for name in against}
    admitted: dict[str, None] = {}
    for place, name in enumerate(names):
        capability = _capability(name)
        if capability not in CAPABILITIES:
            raise Invalid(f"{_shown(name)} is no Linux capability; use one such as NET_ADMIN, or ALL", field=f"{field}[{place}]")
        if capability in opposite:
            raise Invalid(f"{capability} is both added and dropped; keep one of them", field=f"{field}[{place}]")
        admitted[capability] = None
    return tuple(admitted)


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


# -- paths and grammars


def _container_path(path: str, field: str) -> str:
    return _absolute(path, field)


def _absolute(path: str, field: str) -> str:
    """`path` without doubled or trailing slashes. `..` is refused, not resolved: behind a link it goes elsewhere."""
    if not path.startswith("/") or ".." in path.split("/") or len(path.encode()) > 4095:
        raise Invalid(f"{_shown(path)} must be an absolute path without '..'", field=field)
    # posixpath keeps a double slash at the start, which would pass for a path other than the one meant.
    return posixpath.normpath("/" + path.lstrip("/"))


def _within(path: str, tree: str) -> bool:
    return path == tree or path.startswith(f"{tree}/")


def _match(grammar: re.Pattern[str], text: str, field: str, rule: str, *, longest: int = 256) -> str:
    if len(text) > longest or not grammar.fullmatch(text):
        raise Invalid(f"{_shown(text)} will not do: {rule}", field=field)
    return text


def _bounded(many: Iterable[object], field: str, what: str) -> None:
    count = len(list(many))
    if count > ITEMS_MAX:
        raise Invalid(f"{count} {what} are more than {ITEMS_MAX}; leave some out", field=field)


def _shown(text: str) -> str:
    """`text` as a message may carry it: escaped and short."""
    return ascii(text if len(text) <= 80 else f"{text[:77]}...")
