"""The closed lists, bounds and grammars of what may be wished; `admission` checks against them and words the refusals.

Tables only, so that what is allowed can be read in one place. Knows nobody's spec and no world.
"""

import re
from collections.abc import Mapping

from longshore.model.spec import PRIORITY_MAX

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
PORT_MAX = 65_535
PORTS_CHOSEN = (30_000, 32_767)
"""What placement gives to tasks; an entry that listened there would meet one of them sooner or later."""
BYTES_MAX = 2**50
PATH_MAX = 4095
SIGNAL_NUMBER_MAX = 64
NAME_MAX = 40
"""Of services; the other names have 63, a DNS label's length."""
LABEL_MAX = 63
IMAGE_MAX = 600
IMAGE_NAME_MAX = 255
VOLUME_NAME_MAX = 255
HOSTNAME_MAX = 64
"""The kernel's, whatever RFC 1123 allows for a whole name."""

BOUNDS: Mapping[str, tuple[float, float]] = {
    "replicas": (0, REPLICAS_MAX),
    "priority": (-PRIORITY_MAX, PRIORITY_MAX),
    "stop_grace_s": (0, DAY_S),
    "resources.cpu": (0, 100_000),
    "resources.memory": (0, BYTES_MAX),
    "resources.disk": (0, BYTES_MAX),
    "resources.pids": (0, 4_194_304),
    "limits.cpu": (0, 100_000),
    "limits.memory": (0, BYTES_MAX),
    "limits.pids": (0, 4_194_304),
    "log.size_bytes": (4096, 2**40),
    "log.files": (1, 1000),
    "health.interval_s": (0.001, DAY_S),
    "health.timeout_s": (0.001, DAY_S),
    "health.retries": (1, 1000),
    "health.start_period_s": (0, DAY_S),
    **{
        f"{probe}.{field}": bounds
        for probe in ("liveness", "readiness")
        for field, bounds in (
            ("interval_s", (0.1, DAY_S)),
            ("timeout_s", (0.01, DAY_S)),
            ("retries", (1, 1000)),
            ("successes", (1, 1000)),
            ("start_period_s", (0, DAY_S)),
        )
    },
    "update.parallelism": (0, REPLICAS_MAX),
    "update.delay_s": (0, DAY_S),
    "update.monitor_s": (0, DAY_S),
    "update.ready_s": (0, DAY_S),
    "update.failures_max": (0, REPLICAS_MAX),
    "update.drain_s": (0, DAY_S),
    "restart.delay_s": (0, DAY_S),
    "restart.delay_max_s": (0, DAY_S),
    "restart.window_s": (0, 30 * DAY_S),
    "restart.attempts_max": (0, 1_000_000),
}
"""Every number of a spec that stands alone, with the least and the most it may be."""

STATUS_CODES = (200, 599)
"""Of answers that are the last word: what begins with 1 only says that one is coming."""
HEADERS_REFUSED = frozenset({"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"})
"""They would change how a probe's request is read, not what it asks."""

SOURCES_REFUSED = frozenset({"/", "/run"})
"""Directories of a node that hold its engine's socket; /var/run is the same as /run."""
SOCKETS_REFUSED = ("/docker.sock", "/podman.sock", "/containerd.sock")
"""Whoever speaks to one of these, wherever it lies, is root on its machine."""
TREES_REFUSED = ("/proc/", "/sys/", "/dev/")
"""The kernel's interfaces, with everything below: `/proc/1/root` is the node's whole file system."""

CAPABILITY = re.compile(
    "ALL|AUDIT_CONTROL|AUDIT_READ|AUDIT_WRITE|BLOCK_SUSPEND|BPF|CHECKPOINT_RESTORE|CHOWN|DAC_OVERRIDE|DAC_READ_SEARCH|"
    "FOWNER|FSETID|IPC_LOCK|IPC_OWNER|KILL|LEASE|LINUX_IMMUTABLE|MAC_ADMIN|MAC_OVERRIDE|MKNOD|NET_ADMIN|"
    "NET_BIND_SERVICE|NET_BROADCAST|NET_RAW|PERFMON|SETFCAP|SETGID|SETPCAP|SETUID|SYSLOG|SYS_ADMIN|SYS_BOOT|SYS_CHROOT|"
    "SYS_MODULE|SYS_NICE|SYS_PACCT|SYS_PTRACE|SYS_RAWIO|SYS_RESOURCE|SYS_TIME|SYS_TTY_CONFIG|WAKE_ALARM"
)
SIGNAL = re.compile(
    "HUP|INT|QUIT|ILL|TRAP|ABRT|IOT|BUS|FPE|KILL|USR1|SEGV|USR2|PIPE|ALRM|TERM|STKFLT|CHLD|CLD|CONT|STOP|TSTP|TTIN|"
    r"TTOU|URG|XCPU|XFSZ|VTALRM|PROF|WINCH|IO|POLL|PWR|SYS|RTMIN(?:\+(?:[1-9]|1[0-5]))?|RTMAX(?:-(?:[1-9]|1[0-4]))?"
)

_COMPONENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?P<name>(?:{_REGISTRY}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}))?"
)
"""The reference grammar of distribution/reference, which engines and registries share, with the digests they know."""

SERVICE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
APP_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
NODE_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
DIAL = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
ADDRESS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)?")
"""Of a machine: a name, an IPv4 address, an IPv6 address without brackets or a zone; or none."""
LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._:/@+-]*[A-Za-z0-9])?)?")
VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
"""At least two characters, as engines have it."""
HOSTNAME = re.compile(rf"{_COMPONENT}(?:\.{_COMPONENT})*")
PROBE_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]|-]|%[0-9A-Fa-f]{2})*")
"""As it is sent: nothing in it is escaped, and nothing has to be."""
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
USER = re.compile(r"[^\s:]+(?::[^\s:]+)?")

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
TEXT_FIELDS = frozenset({"command", "entrypoint", "env", "labels", "health"})
"""Where a string may have lines and tabs: scripts, keys and certificates are passed that way."""
