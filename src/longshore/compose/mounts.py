"""`volumes` and `tmpfs` of a service, and `volumes` of the file.

Knows both syntaxes, how paths of the file become absolute, and how a volume gets its name in the engine. Must not know
what is on any node, nor which sources are too dangerous to mount (admission).
"""

import posixpath
from collections.abc import Mapping

from longshore.compose import table
from longshore.compose.faults import Fault, quoted
from longshore.compose.page import Fields, Value
from longshore.compose.quantities import size_bytes
from longshore.model.spec import Mount, MountKind

_HOW = "write name:/path for a named volume, /path/on/node:/path for a bind mount, with :ro at the end for read-only"
_KINDS = {kind.value: kind for kind in MountKind}
_KINDS_REFUSED = {
    "image": "copy its files into your image",
    "npipe": "it is for Windows containers",
    "cluster": "use a named volume, or a bind mount of shared storage",
}
_OPTIONS_REFUSED = "only ro and rw are supported after the path"


# -- the file's volumes


def named(value: Value, project: str) -> dict[str, str]:
    """Every volume of the file with the name that the engine knows it by."""
    found: dict[str, str] = {}
    for key, entry in value.entries().items():
        try:
            found[key] = _engine_name(entry, key, project)
        except Fault as fault:
            entry.page.faults.note(fault)
            found[key] = key
    return found


def _engine_name(value: Value, key: str, project: str) -> str:
    fields = value.fields(table.VOLUME)
    external = fields.get("external")
    if external is not None and external.is_mapping:
        raise external.fault("must be true or false; write the name beside it, under name")
    outside = fields.read("external", Value.flag, False)
    driver = fields.get("driver")
    if driver is not None and (name := driver.word()) != "local":
        raise driver.fault(f"the driver {quoted(name)} is not supported: volumes are plain local ones")
    return fields.read("name", Value.word, key if outside else f"{project}_{key}")


# -- a service's mounts


def mounts(fields: Fields, volumes: Mapping[str, str]) -> tuple[Mount, ...]:
    found = fields.read("volumes", lambda value: value.each(lambda item: _mount(item, volumes)), [])
    return (*found, *fields.read("tmpfs", _tmpfs, []))


def _mount(item: Value, volumes: Mapping[str, str]) -> Mount:
    return _long(item, volumes) if item.is_mapping else _short(item, volumes)


def _short(item: Value, volumes: Mapping[str, str]) -> Mount:
    text = item.word()
    source, *rest = text.split(":")
    if not rest:
        raise item.fault(f"{quoted(text)} is a volume without a name, whose content is lost with each task; {_HOW}")
    if len(rest) > 2 or not source:
        raise item.fault(f"{quoted(text)} is no volume; {_HOW}")
    option = rest[1] if len(rest) == 2 else "rw"
    if option not in ("ro", "rw"):
        raise item.fault(f"the option {quoted(option)} is not supported: {_OPTIONS_REFUSED}")
    read_only = option == "ro"
    target = _target(item, rest[0])
    if source[0] in "./~":
        return Mount(kind=MountKind.BIND, source=_bound(item, source), target=target, read_only=read_only)
    return Mount(kind=MountKind.VOLUME, source=_declared(item, source, volumes), target=target, read_only=read_only)


def _long(item: Value, volumes: Mapping[str, str]) -> Mount:
    fields = item.fields(table.MOUNT)
    kind_place, target = fields.get("type"), fields.get("target")
    if kind_place is None:
        raise item.fault("has no type; write type: volume, bind or tmpfs")
    kind = kind_place.one_of(_KINDS, _KINDS_REFUSED)
    if target is None:
        raise item.fault("has no target; name the path in the container under target")
    for key in ("tmpfs", "bind", "volume"):
        options = fields.get(key)
        if options is not None and key != kind.value:
            raise options.fault(f"is for type: {key}, and this is {kind.value}; remove it")
    fields.read("bind", _bind_options, None)
    fields.read("volume", lambda value: value.fields(table.MOUNT_VOLUME), None)
    return Mount(
        kind=kind,
        source=_source(item, fields.get("source"), kind, volumes),
        target=_target(target, target.word()),
        read_only=fields.read("read_only", Value.flag, False),
        size_bytes=fields.read("tmpfs", _tmpfs_size, 0),
    )


def _source(item: Value, source: Value | None, kind: MountKind, volumes: Mapping[str, str]) -> str:
    if kind is MountKind.TMPFS:
        if source is not None:
            raise source.fault("a tmpfs comes from nowhere; remove it")
        return ""
    if source is None:
        raise item.fault("has no source; name a volume of the file, or the path on the node for type: bind")
    if kind is MountKind.BIND:
        return _bound(source, source.word())
    return _declared(source, source.word(), volumes)


def _bind_options(value: Value) -> None:
    create = value.fields(table.MOUNT_BIND).get("create_host_path")
    if create is not None and create.flag():
        raise create.fault("true is not supported: make the folder on the nodes beforehand")


def _tmpfs_size(value: Value) -> int:
    return value.fields(table.MOUNT_TMPFS).read("size", lambda value: value.of(size_bytes), 0)


# -- tmpfs of a service


def _tmpfs(value: Value) -> list[Mount]:
    if value.is_list:
        return value.each(_tmpfs_item)
    return [] if value.is_null else [_tmpfs_item(value)]


def _tmpfs_item(item: Value) -> Mount:
    target, colon, options = item.word().partition(":")
    given: dict[str, str] = {}
    for option in options.split(",") if colon else ():
        name, _, text = option.partition("=")
        if name != "size" and option not in ("ro", "rw"):
            raise item.fault(f"the option {quoted(option)} is not supported: only size, ro and rw are")
        key, value = (name, text) if name == "size" else ("access", option)
        if key in given:
            raise item.fault(f"the option {quoted(option)} says again what another one said; keep one of them")
        given[key] = value
    return Mount(
        kind=MountKind.TMPFS,
        target=_target(item, target),
        read_only=given.get("access") == "ro",
        size_bytes=item.parsed(given["size"], size_bytes) if "size" in given else 0,
    )


# -- paths and names


def _target(place: Value, text: str) -> str:
    if not text.startswith("/"):
        raise place.fault(f"{quoted(text)} is no path in the container; it starts with a slash")
    return text


def _bound(place: Value, text: str) -> str:
    """The path on the node. Relative ones start at the file's folder, so they only help where nodes share that path."""
    if text.startswith("~"):
        home = place.page.variables.get("HOME", "")
        if text[1:2] not in ("", "/") or not home.startswith("/"):
            raise place.fault(f"{quoted(text)}: whose home that is on a node is not known; write the whole path")
        text = home + text[1:]
    # Not resolved: links are the node's, and this machine's may differ.
    return posixpath.normpath(posixpath.join(place.page.folder.as_posix(), text))


def _declared(place: Value, name: str, volumes: Mapping[str, str]) -> str:
    if name not in volumes:
        raise place.fault(
            f"no volume {quoted(name)} is declared; add it under volumes at the top level, or start a path with ./"
        )
    return volumes[name]
