"""Our words to the Engine API's JSON and back.

Knows the shapes that Docker's API takes and gives; must not know how they travel. Pure, so that what a spec becomes
can be read off in a test. Answers are decoded into just the fields that are used, as every version adds others.
"""

import math
import re
from collections.abc import Iterable, Iterator

import msgspec

from longshore.model.containers import (
    LABEL_CLUSTER,
    LABEL_NODE,
    LABEL_SERVICE,
    LABEL_SPEC,
    LABEL_TASK,
    Container,
    ContainerOrder,
    Health,
    Status,
)
from longshore.model.objects import Capacity, EngineFacts, PublishedPort
from longshore.model.placing import GPU
from longshore.model.spec import HealthCheck, Mount, MountKind, Protocol, ServiceSpec

Json = dict[str, object]

HOSTNAME_MAX = 63
RESERVATION_BYTES_MIN = 6 * 1024 * 1024
"""The engine refuses a smaller one, which would not be worth a failure: such a reservation is not passed on."""
SHARES_PER_CORE = 1024
SHARES_MIN = 2

EVENTS = ("create", "start", "die", "oom", "health_status", "destroy")
"""What changes something that we report. Exec events are left out: each run of a health check makes three."""

_STATUS = {
    "created": Status.CREATED,
    "running": Status.RUNNING,
    "paused": Status.RUNNING,  # its processes live and hold what they have
    "restarting": Status.RUNNING,  # by a policy that somebody gave it by hand; it will run again by itself
    "removing": Status.EXITED,
    "exited": Status.EXITED,
    "dead": Status.EXITED,  # could not be removed wholly; removing it again is what helps
}


class _Endpoint(msgspec.Struct, frozen=True):
    address: str = msgspec.field(name="IPAddress", default="")
    gateway: str = msgspec.field(name="Gateway", default="")


class _Binding(msgspec.Struct, frozen=True, rename="pascal"):
    host_ip: str = ""
    host_port: str = ""


class _ListedPort(msgspec.Struct, frozen=True, rename="pascal"):
    """A port in a list; one that is not published has no public port."""

    ip: str = msgspec.field(name="IP", default="")
    private_port: int = 0
    public_port: int = 0
    type: str = "tcp"


class _Networks(msgspec.Struct, frozen=True):
    networks: dict[str, _Endpoint] | None = msgspec.field(name="Networks", default=None)
    ports: dict[str, list[_Binding] | None] | None = msgspec.field(name="Ports", default=None)

    @property
    def endpoint(self) -> _Endpoint:
        """The first by name that has an address: ours have one network, and somebody may give them others."""
        every = sorted((self.networks or {}).items())
        return next((one for _, one in every if one.address), _Endpoint())


class Listed(msgspec.Struct, frozen=True, rename="pascal"):
    """A container in a list."""

    id: str
    state: str
    status: str = ""
    """For people: `Up 3 minutes (healthy)`."""
    labels: dict[str, str] | None = None
    network_settings: _Networks = _Networks()
    ports: list[_ListedPort] | None = None


class _Check(msgspec.Struct, frozen=True, rename="pascal"):
    exit_code: int = 0
    output: str = ""


class _Health(msgspec.Struct, frozen=True, rename="pascal"):
    status: str = ""
    log: list[_Check] | None = None


class _State(msgspec.Struct, frozen=True, rename="pascal"):
    status: str
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    health: _Health | None = None


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    labels: dict[str, str] | None = None


class Inspected(msgspec.Struct, frozen=True, rename="pascal"):
    """A container looked at closely."""

    id: str
    state: _State
    config: _Config = _Config()
    network_settings: _Networks = _Networks()
    exec_ids: tuple[str, ...] | None = msgspec.field(name="ExecIDs", default=None)
    """Programs that were started in it beside its own and have not ended."""

    @property
    def labels(self) -> dict[str, str]:
        return self.config.labels or {}


class Created(msgspec.Struct, frozen=True, rename="pascal"):
    id: str


class Executed(msgspec.Struct, frozen=True, rename="pascal"):
    """A program that was started in a container."""

    running: bool
    exit_code: int | None = None
    pid: int = 0
    """Zero until it was begun."""


class Progress(msgspec.Struct, frozen=True):
    """A line of a pull's answer."""

    error: str = ""


class _Actor(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="ID")


class Happened(msgspec.Struct, frozen=True):
    """A line of the stream of events."""

    action: str = msgspec.field(name="Action")
    actor: _Actor = msgspec.field(name="Actor")
    nanos: int = msgspec.field(name="timeNano")

    @property
    def since(self) -> str:
        """What to ask for to get this one and everything later."""
        return f"{self.nanos // 10**9}.{self.nanos % 10**9:09d}"


class Info(msgspec.Struct, frozen=True, rename="pascal"):
    id: str = msgspec.field(name="ID", default="")
    name: str = ""
    n_cpu: int = msgspec.field(name="NCPU", default=0)
    mem_total: int = 0
    docker_root_dir: str = ""
    operating_system: str = ""
    os_type: str = msgspec.field(name="OSType", default="")
    kernel_version: str = ""
    architecture: str = ""
    labels: list[str] | None = None


class About(msgspec.Struct, frozen=True, rename="pascal"):
    version: str = ""
    api_version: str = ""
    arch: str = ""


def facts(info: Info, about: About) -> EngineFacts:
    return EngineFacts(
        id=info.id,
        name=info.name,
        version=about.version,
        api_version=about.api_version,
        kernel=info.kernel_version,
        os=info.operating_system,
        platform=info.os_type,
        architecture=about.arch or info.architecture,  # as images name it (amd64) rather than the kernel (x86_64)
        labels=dict(label.split("=", 1) for label in info.labels or () if "=" in label),
    )


def capacity(info: Info, disk: int) -> Capacity:
    return Capacity(cpu=float(info.n_cpu), memory=info.mem_total, disk=disk)


def filters(**wanted: list[str]) -> str:
    return msgspec.json.encode(wanted).decode()


def label_filter(cluster: str, node: str) -> list[str]:
    return [f"{LABEL_CLUSTER}={cluster}", f"{LABEL_NODE}={node}"]


def seen_in_list(listed: Listed) -> Container | None:
    """What the list tells, if that is all there is to know; None if it takes a closer look."""
    status = _STATUS.get(listed.state, Status.EXITED)
    checked = re.search(r"\((healthy|unhealthy|health: starting)\)", listed.status)
    if status is not Status.RUNNING or (checked and checked[1] != "healthy"):
        return None
    labels = listed.labels or {}
    return Container(
        id=listed.id,
        task=labels.get(LABEL_TASK, ""),
        fingerprint=labels.get(LABEL_SPEC, ""),
        status=status,
        health=Health.HEALTHY if checked else Health.NONE,
        address=listed.network_settings.endpoint.address,
        gateway=listed.network_settings.endpoint.gateway,
        published=_published(
            (port.private_port, port.type, port.ip, port.public_port) for port in listed.ports or () if port.public_port
        ),
    )


def unknown(listed: Listed) -> Container:
    """One that is listed, and nothing more is to be had of it."""
    labels = listed.labels or {}
    task, mark = labels.get(LABEL_TASK, ""), labels.get(LABEL_SPEC, "")
    return Container(id=listed.id, task=task, fingerprint=mark, status=Status.UNKNOWN)


def just_made(id: str, order: ContainerOrder) -> Container:
    """What an engine need not be asked about."""
    return Container(id=id, task=order.task, fingerprint=order.fingerprint, status=Status.CREATED)


def seen_closely(inspected: Inspected) -> Container:
    state = inspected.state
    status = _STATUS.get(state.status, Status.EXITED)
    health, output = Health.NONE, ""
    network = inspected.network_settings.endpoint if status is Status.RUNNING else _Endpoint()
    if status is Status.RUNNING and state.health is not None:
        health = next((known for known in Health if known == state.health.status), Health.NONE)
        last = state.health.log[-1] if state.health.log else None
        if health is not Health.HEALTHY and last is not None and last.exit_code:
            output = last.output.strip()
    return Container(
        id=inspected.id,
        task=inspected.labels.get(LABEL_TASK, ""),
        fingerprint=inspected.labels.get(LABEL_SPEC, ""),
        status=status,
        health=health,
        health_output=output,
        exit_code=state.exit_code if status is Status.EXITED else None,
        oom_killed=state.oom_killed,
        error=state.error,
        address=network.address,
        gateway=network.gateway,
        published=_published(_bound(inspected.network_settings)) if status is Status.RUNNING else (),
    )


def _bound(settings: _Networks) -> Iterator[tuple[int, str, str, int]]:
    for text, bindings in (settings.ports or {}).items():
        number, _, protocol = text.partition("/")
        for binding in bindings or ():
            yield int(number), protocol, binding.host_ip, int(binding.host_port or 0)


def _published(ports: Iterable[tuple[int, str, str, int]]) -> tuple[PublishedPort, ...]:
    """Ports in order, each once: what listens on all addresses of both families is told as two."""
    found: dict[tuple[int, str, int], PublishedPort] = {}
    for container, protocol, ip, host in sorted(ports, key=lambda port: (port[0], port[1], ":" in port[2], port[3])):
        if protocol in tuple(Protocol) and host:
            port = PublishedPort(container=container, host=host, protocol=Protocol(protocol), ip=ip or "0.0.0.0")  # noqa: S104
            found.setdefault((container, protocol, host), port)
    return tuple(found.values())


def image_query(image: str) -> dict[str, str]:
    """What to pull. An image without a tag means the latest here, and every tag there is to the engine."""
    name = image.rpartition("/")[2]
    return {"fromImage": image if ":" in name or "@" in name else f"{image}:latest"}


def create_body(order: ContainerOrder, *, cores: int) -> bytes:
    """The order as the engine takes it. `cores` is what the machine has, zero if that is not known."""
    spec = order.spec
    body: Json = {
        "Image": spec.image,
        "Hostname": spec.hostname or _hostname(order.task),
        "Env": [f"{key}={value}" for key, value in _env(order).items()],
        "Labels": _labels(order),
        "StopTimeout": math.ceil(spec.stop_grace_s),
        "ExposedPorts": {f"{port.container}/{port.protocol}": {} for port in order.ports},
        "HostConfig": _host_config(order, cores),
    }
    # None leaves what the image says. An empty entrypoint clears it.
    body |= {"Cmd": spec.command} if spec.command is not None else {}
    body |= {"Entrypoint": spec.entrypoint} if spec.entrypoint is not None else {}
    body |= {"User": spec.user} if spec.user else {}
    body |= {"WorkingDir": spec.working_dir} if spec.working_dir else {}
    body |= {"StopSignal": spec.stop_signal} if spec.stop_signal else {}
    body |= {"Healthcheck": _healthcheck(spec.health)} if spec.health is not None else {}
    return msgspec.json.encode(body)


def _hostname(task: str) -> str:
    """The task's id as a host name. A long one loses some of the service's name; slot and generation stay."""
    service, *place = task.rsplit(".", 2)
    rest = "".join(f"-{part}" for part in place)
    return service.replace(".", "-")[: HOSTNAME_MAX - len(rest)] + rest


def _env(order: ContainerOrder) -> dict[str, str]:
    ours = {"LONGSHORE_SERVICE": order.service, "LONGSHORE_TASK": order.task, "LONGSHORE_NODE": order.node}
    given = {
        f"LONGSHORE_DEVICES_{re.sub('[^A-Z0-9]', '_', name.upper())}": ",".join(ids)
        for name, ids in order.devices.items()
    }
    return ours | given | order.spec.env


def _labels(order: ContainerOrder) -> dict[str, str]:
    """The user's, and ours over them: by ours a worker knows its containers again."""
    return order.spec.labels | {
        LABEL_CLUSTER: order.cluster,
        LABEL_NODE: order.node,
        LABEL_TASK: order.task,
        LABEL_SERVICE: order.service,
        LABEL_SPEC: order.fingerprint,
    }


def _host_config(order: ContainerOrder, cores: int) -> Json:
    spec = order.spec
    bindings: dict[str, list[Json]] = {}
    for port in order.ports:
        bindings.setdefault(f"{port.container}/{port.protocol}", []).append(
            {"HostIp": port.ip, "HostPort": str(port.host)}
        )
    return {
        "NetworkMode": "default",
        "PortBindings": bindings,
        "PublishAllPorts": spec.publish_exposed,
        "RestartPolicy": {"Name": "no"},  # a failed task is replaced by another one, so that its end is seen
        "Init": False,
        "Mounts": [_mount(mount) for mount in spec.mounts],
        "ReadonlyRootfs": spec.read_only,
        "CapAdd": spec.cap_add,
        "CapDrop": spec.cap_drop,
        "SecurityOpt": ["no-new-privileges"] if spec.no_new_privileges else [],
        "LogConfig": {"Type": "json-file", "Config": _log(spec)},
        **_devices(order.devices),
        **_resources(spec, cores),
    }


def _resources(spec: ServiceSpec, cores: int) -> Json:
    reserved, limits = spec.resources, spec.limits
    # Who reserved nothing gets what the others leave, rather than the engine's default, which is a core's worth.
    set_aside: Json = {"CpuShares": max(SHARES_MIN, round(reserved.cpu * SHARES_PER_CORE))}
    if reserved.memory >= RESERVATION_BYTES_MIN:
        set_aside["MemoryReservation"] = reserved.memory
    if limits.memory:
        # The same with swap as without, or the engine allows as much swap again.
        set_aside |= {"Memory": limits.memory, "MemorySwap": limits.memory}
    if limits.cpu and not 0 < cores <= limits.cpu:
        # The engine refuses more cores than there are; as a limit it says nothing there, so it is left out.
        set_aside["NanoCpus"] = round(limits.cpu * 10**9)
    if limits.pids:
        set_aside["PidsLimit"] = limits.pids
    return set_aside


def _devices(devices: dict[str, tuple[str, ...]]) -> Json:
    """The devices of a task, as the engine takes them: GPUs by their ids, files under /dev as they are. Of others the
    container learns from its environment alone."""
    paths = [path for ids in devices.values() for path in ids if path.startswith("/dev/")]
    gpus = [id for id in devices.get(GPU, ()) if not id.startswith("/dev/")]
    made: Json = {}
    if paths:
        made["Devices"] = [{"PathOnHost": one, "PathInContainer": one, "CgroupPermissions": "rwm"} for one in paths]
    if gpus:
        made["DeviceRequests"] = [{"DeviceIDs": gpus, "Capabilities": [["gpu"]]}]
    return made


def _mount(mount: Mount) -> Json:
    made: Json = {"Type": mount.kind.value, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.source:
        made["Source"] = mount.source
    if mount.kind is MountKind.TMPFS and mount.size_bytes:
        made["TmpfsOptions"] = {"SizeBytes": mount.size_bytes}
    return made


def _log(spec: ServiceSpec) -> dict[str, str]:
    if spec.log.size_bytes <= 0:
        return {}
    return {"max-size": str(spec.log.size_bytes), "max-file": str(max(spec.log.files, 1))}


def _healthcheck(check: HealthCheck) -> Json:
    return {
        "Test": check.test,
        "Interval": _nanos(check.interval_s),
        "Timeout": _nanos(check.timeout_s),
        "Retries": check.retries,
        "StartPeriod": _nanos(check.start_period_s),
    }


def _nanos(seconds: float) -> int:
    return round(seconds * 10**9)
