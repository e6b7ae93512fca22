"""What may be wished at all: the one policy for every door (API, Compose, foreign APIs, scale, restart).

Takes a decoded spec and returns it normalised, or raises Invalid that names the field and says what to do. Whatever an
engine would refuse on every node, every time, is refused here, once, while the user is still looking. Must not know
the world: whether an image exists or a port is free is found out later and is no fault of the wish.

What it is not: a wall between a user and the nodes. Whoever may create services can run any image with any capability;
the list of bind sources stops accidents and the shortest ways to root, and a symbolic link on a node leads around it.
"""

import ipaddress
import posixpath
import re
from collections.abc import Iterator, Mapping
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from longshore.decide import fence, grammar
from longshore.decide.bounds import check_count, check_number, match, shown
from longshore.decide.ingress import listen_of
from longshore.decide.placing import admit_rules, check_named, check_shares
from longshore.decide.probing import admit_liveness, admit_probe
from longshore.model.errors import Invalid
from longshore.model.spec import (
    Dependency,
    HealthCheck,
    Limits,
    Mode,
    Mount,
    MountKind,
    Port,
    Protocol,
    RestartOn,
    ServiceSpec,
)


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
    if spec.health is not None:
        _check_health(spec.health, f"{field}.health")
    if spec.user:
        match(
            grammar.USER, spec.user, f"{field}.user", "a user is a name or number, with a group after a colon if wanted"
        )
    if spec.hostname:
        _check_hostname(spec.hostname, f"{field}.hostname")
    fence.check(spec, field)
    check_named(spec.resources.named, f"{field}.resources.named")
    check_shares(spec.resources.shares, spec.resources.named, f"{field}.resources.shares")
    condition = RestartOn.ON_FAILURE if spec.mode is Mode.JOB else RestartOn.ANY
    return replace(
        spec,
        # A global service has one task per node; a stray number would only show up as a difference later.
        replicas=1 if spec.mode is Mode.GLOBAL else spec.replicas,
        working_dir=_absolute(spec.working_dir, f"{field}.working_dir") if spec.working_dir else "",
        stop_signal=_signal(spec.stop_signal, f"{field}.stop_signal") if spec.stop_signal else "",
        ports=_ports(spec.ports, f"{field}.ports"),
        mounts=_mounts(spec.mounts, f"{field}.mounts"),
        liveness=admit_liveness(spec.liveness, f"{field}.liveness") if spec.liveness is not None else None,
        readiness=admit_probe(spec.readiness, f"{field}.readiness") if spec.readiness is not None else None,
        cap_add=_capabilities(spec.cap_add, f"{field}.cap_add", against=()),
        cap_drop=_capabilities(spec.cap_drop, f"{field}.cap_drop", against=spec.cap_add),
        restart=replace(spec.restart, condition=spec.restart.condition or condition),
        placement=admit_rules(spec.placement, f"{field}.placement"),
        depends=_depends(spec.depends, f"{field}.depends"),
    )


# -- names


def admit_name(name: str, *, field: str) -> str:
    """A service's name: a part of task ids and of container names, so short and without dots."""
    return match(
        grammar.SERVICE_NAME,
        name,
        field,
        "a service's name is 1 to 40 of a-z, 0-9 and '-', with '-' only inside",
        longest=grammar.NAME_MAX,
    )


def admit_app_name(name: str, *, field: str) -> str:
    """An app's name, by the grammar of Compose project names."""
    return match(
        grammar.APP_NAME,
        name,
        field,
        "an app's name is 1 to 63 of a-z, 0-9, '-' and '_', beginning with a-z or 0-9",
        longest=grammar.LABEL_MAX,
    )


def admit_node_name(name: str, *, field: str) -> str:
    rule = "a node's name is 1 to 63 of A-Z, a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends"
    return match(grammar.NODE_NAME, name, field, rule, longest=grammar.LABEL_MAX)


def admit_dial(text: str, *, field: str) -> str:
    """`host:port` of a worker to dial: no path, no user name, nothing else that an address may carry."""
    rule = "a worker to dial is HOST:PORT, such as 10.0.0.2:7441 or [fd00::2]:7441"
    return match(grammar.DIAL, text, field, rule)


def admit_address(text: str, *, field: str) -> str:
    """Where the ports of a node answer; what entries are told of, and people shown."""
    rule = "a node's address is a name or an IP address without a zone; say which with --address"
    return match(grammar.ADDRESS, text, field, rule)


def admit_node_labels(labels: Mapping[str, str], *, field: str) -> dict[str, str]:
    """A node's labels: what constraints can name, nothing else."""
    check_count(labels, field, "labels")
    for key, value in labels.items():
        match(
            grammar.LABEL_KEY,
            key,
            field,
            "a label's key is 1 to 63 of A-Z, a-z, 0-9, '.', '_', '/' and '-', with a letter or digit at both ends",
            longest=grammar.LABEL_MAX,
        )
        match(
            grammar.LABEL_VALUE,
            value,
            f"{field}[{key}]",
            "a label's value is up to 63 of A-Z, a-z, 0-9 and '._:/@+-', with a letter or digit at both ends",
            longest=grammar.LABEL_MAX,
        )
    return dict(labels)


def check_replicas(replicas: int, *, field: str) -> int:
    check_number(replicas, grammar.BOUNDS["replicas"], field)
    return replicas


# -- what holds for all


def _check_texts(spec: ServiceSpec, field: str) -> None:
    """No string carries what an engine, a terminal or a file could take for something else; none is endless."""
    for name in spec.__struct_fields__:
        control = grammar.CONTROL_IN_TEXT if name in grammar.TEXT_FIELDS else grammar.CONTROL
        for path, text in _strings(getattr(spec, name), f"{field}.{name}"):
            if grammar.SURROGATE.search(text):
                raise Invalid("the text is not valid Unicode", field=path)
            if found := control.search(text):
                raise Invalid(f"the text has the control character {found[0]!r}; remove it", field=path)
            if len(text.encode()) > grammar.TEXT_BYTES_MAX:
                raise Invalid(
                    f"the text is over {grammar.TEXT_BYTES_MAX // 1024} KiB; mount it as a file instead", field=path
                )
    if len(msgspec.json.encode(spec)) > grammar.ENCODED_BYTES_MAX:
        raise Invalid(
            f"all of it together is over {grammar.ENCODED_BYTES_MAX // 1024} KiB; make it smaller", field=field
        )


def _strings(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Every string in `value` with its path; a key of a table goes by the path of the table."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _strings(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield path, key
            yield from _strings(one, f"{path}[{shown(key)[1:-1]}]")
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield from _strings(one, f"{path}[{place}]")


def _check_bounds(spec: ServiceSpec, field: str) -> None:
    for path, bounds in grammar.BOUNDS.items():
        whole = path.partition(".")[0]
        if (path == "replicas" and spec.mode is Mode.GLOBAL) or getattr(spec, whole) is None:
            continue
        value = attrgetter(path)(spec)
        if value is not None:
            check_number(value, bounds, f"{field}.{path}")


def _check_limits(spec: ServiceSpec, field: str) -> None:
    limits, resources = spec.limits, spec.resources
    if 0 < limits.memory < grammar.MEMORY_LIMIT_MIN:
        raise Invalid(
            "an engine takes no memory limit under 6 MiB; raise it, or 0 for none", field=f"{field}.limits.memory"
        )
    if 0 < limits.cpu < grammar.CPU_LIMIT_MIN:
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
    found = grammar.IMAGE.fullmatch(image) if len(image) <= grammar.IMAGE_MAX else None
    if found is None:
        name = image.split("@")[0].rpartition("/")[2]
        hint = " (names are lower case)" if name.partition(":")[0] != name.partition(":")[0].lower() else ""
        raise Invalid(
            f"{shown(image)} is no image reference{hint}; write it as [registry/]name[:tag][@digest]", field=field
        )
    if len(found["name"]) > grammar.IMAGE_NAME_MAX:
        raise Invalid(f"the image's name is over {grammar.IMAGE_NAME_MAX} characters", field=field)


def _check_labels(labels: Mapping[str, str], field: str) -> None:
    check_count(labels, field, "labels")
    for key in labels:
        if not key or grammar.CONTROL.search(key):
            raise Invalid("a label has a key of at least one character, on one line", field=field)
        if key.startswith("longshore."):
            raise Invalid(
                f"{shown(key)}: labels that begin with 'longshore.' are Longshore's own; rename it", field=field
            )


def _check_env(env: Mapping[str, str], field: str) -> None:
    if len(env) > grammar.ENV_MAX:
        raise Invalid(f"{len(env)} variables are more than {grammar.ENV_MAX}; put them into a file", field=field)
    for key in env:
        if not key or "=" in key or grammar.CONTROL.search(key):
            raise Invalid(f"{shown(key)} cannot name a variable; use at least one character, and no '='", field=field)


def _depends(depends: tuple[Dependency, ...], field: str) -> tuple[Dependency, ...]:
    check_count(depends, field, "dependencies")
    named: set[str] = set()
    for place, one in enumerate(depends):
        admit_name(one.service, field=f"{field}[{place}].service")
        if one.service in named:
            raise Invalid(f"{one.service} is named twice; keep one of them", field=f"{field}[{place}].service")
        named.add(one.service)
    return depends


def _check_health(health: HealthCheck, field: str) -> None:
    match health.test:
        case ("NONE",):
            return
        case ("CMD-SHELL", program) | ("CMD", program, *_) if program:
            return
    raise Invalid(
        'a test is ["CMD", "program", "argument", ...], ["CMD-SHELL", "one line of shell"] or ["NONE"]',
        field=f"{field}.test",
    )


def _check_hostname(name: str, field: str) -> None:
    parts_fit = all(len(part) <= grammar.LABEL_MAX for part in name.split("."))
    if len(name) > grammar.HOSTNAME_MAX or not parts_fit or not grammar.HOSTNAME.fullmatch(name):
        raise Invalid(
            f"{shown(name)} is no hostname; use letters, digits and '-', in parts of up to 63 between dots, 64 in all",
            field=field,
        )


def _signal(name: str, field: str) -> str:
    """`term`, `TERM` and `SIGTERM` are all SIGTERM; a number stays one."""
    if re.fullmatch(r"[0-9]{1,3}", name) and 1 <= int(name) <= grammar.SIGNAL_NUMBER_MAX:
        return str(int(name))
    plain = name.upper().removeprefix("SIG")
    if grammar.SIGNAL.fullmatch(plain):
        return f"SIG{plain}"
    raise Invalid(f"{shown(name)} is no signal; use a name such as SIGTERM or a number from 1 to 64", field=field)


def _ports(ports: tuple[Port, ...], field: str) -> tuple[Port, ...]:
    check_count(ports, field, "ports")
    taken: set[tuple[int, Protocol]] = set()
    admitted = []
    for place, port in enumerate(ports):
        path = f"{field}[{place}]"
        check_number(port.container, (1, grammar.PORT_MAX), f"{path}.container")
        if port.host is not None:
            check_number(port.host, (1, grammar.PORT_MAX), f"{path}.host")
            if (port.host, port.protocol) in taken:
                raise Invalid(f"{port.host}/{port.protocol} is published twice; choose another", field=f"{path}.host")
            taken.add((port.host, port.protocol))
        try:
            ip = ipaddress.ip_address(port.ip)
        except ValueError:
            raise Invalid(f"{shown(port.ip)} is no IP address", field=f"{path}.ip") from None
        if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id:
            raise Invalid(
                "an address with a zone means something else on each node; leave the zone out", field=f"{path}.ip"
            )
        listen = listen_of(port, path)
        if listen is not None:
            if (listen, Protocol.TCP) in taken:
                raise Invalid(f"{listen}/tcp is published twice; choose another", field=f"{path}.listen")
            taken.add((listen, Protocol.TCP))
        admitted.append(replace(port, ip=str(ip), listen=listen))
    return tuple(admitted)


def _mounts(mounts: tuple[Mount, ...], field: str) -> tuple[Mount, ...]:
    check_count(mounts, field, "mounts")
    targets: set[str] = set()
    admitted = []
    for place, mount in enumerate(mounts):
        path = f"{field}[{place}]"
        target = _absolute(mount.target, f"{path}.target")
        if target == "/":
            raise Invalid("a mount cannot cover the container's root; name a directory in it", field=f"{path}.target")
        if target in targets:
            raise Invalid(f"{shown(target)} is mounted twice; keep one of them", field=f"{path}.target")
        targets.add(target)
        check_number(mount.size_bytes, (0, grammar.BYTES_MAX), f"{path}.size_bytes")
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
            match(grammar.VOLUME_NAME, mount.source, field, rule, longest=grammar.VOLUME_NAME_MAX)
        return mount.source
    source = _absolute(mount.source, field)
    # /var/run is a link to /run on every distribution that an engine supports.
    real = source.removeprefix("/var") if source == "/var/run" or source.startswith("/var/run/") else source
    if (
        real in grammar.SOURCES_REFUSED
        or f"{real}/".startswith(grammar.TREES_REFUSED)
        or real.endswith(grammar.SOCKETS_REFUSED)
    ):
        raise Invalid(
            f"{shown(source)} on a node is as good as root there and may not be mounted; mount the directory that you "
            "need, or use a volume or tmpfs",
            field=field,
        )
    return source


def _capabilities(names: tuple[str, ...], field: str, *, against: tuple[str, ...]) -> tuple[str, ...]:
    """`cap_net_admin` and `NET_ADMIN` are one; what is given twice counts once."""
    check_count(names, field, "capabilities")
    opposite = {name.upper().removeprefix("CAP_") for name in against}
    admitted: dict[str, None] = {}
    for place, name in enumerate(names):
        capability = name.upper().removeprefix("CAP_")
        if not grammar.CAPABILITY.fullmatch(capability):
            raise Invalid(
                f"{shown(name)} is no Linux capability; use one such as NET_ADMIN, or ALL", field=f"{field}[{place}]"
            )
        if capability in opposite:
            raise Invalid(f"{capability} is both added and dropped; keep one of them", field=f"{field}[{place}]")
        admitted[capability] = None
    return tuple(admitted)


# -- paths and grammars


def _absolute(path: str, field: str) -> str:
    """`path` without doubled or trailing slashes. `..` is refused, not resolved: behind a link it goes elsewhere."""
    if not path.startswith("/") or ".." in path.split("/") or len(path.encode()) > grammar.PATH_MAX:
        raise Invalid(f"{shown(path)} must be an absolute path without '..'", field=field)
    # posixpath keeps a double slash at the start, which would pass for a path other than the one meant.
    return posixpath.normpath("/" + path.lstrip("/"))
