"""One service of the file to a ServiceSpec.

Knows the keys of a service that stand for themselves; ports, mounts, environment and `deploy` have their own modules.
Must not fill in or judge what the user wrote beyond its spelling: defaults are the spec's, policy is admission's.
"""

import shlex
from collections.abc import Collection, Mapping

from longshore.compose import table
from longshore.compose.deploy import deployment
from longshore.compose.extension import extended
from longshore.compose.faults import quoted
from longshore.compose.mounts import mounts
from longshore.compose.order import dependencies
from longshore.compose.page import Fields, Value
from longshore.compose.pairs import environment, labels
from longshore.compose.publish import ports
from longshore.compose.quantities import duration_s, size_bytes
from longshore.model.spec import HealthCheck, LogRotation, Pull, ServiceSpec

DEFAULT = ServiceSpec(image="-")
DEFAULT_HEALTH = HealthCheck(test=("NONE",))

_PULLS = {"always": Pull.ALWAYS, "missing": Pull.MISSING, "if_not_present": Pull.MISSING, "never": Pull.NEVER}
_PULLS_REFUSED = {"build": table.NO_BUILD} | dict.fromkeys(("daily", "weekly", "refresh"), "use always")
_SECURITY = {
    "no-new-privileges": True,
    "no-new-privileges:true": True,
    "no-new-privileges=true": True,
    "no-new-privileges:false": False,
    "no-new-privileges=false": False,
}


def service(value: Value, volumes: Mapping[str, str], names: Collection[str]) -> ServiceSpec:
    """`names` are those of all services in the file."""
    fields = value.fields(table.SERVICE)
    if fields.get("image") is None:
        value.note("has no image; name the one to run under image")
    deployed = deployment(fields)
    spec = ServiceSpec(
        image=fields.read("image", Value.word, DEFAULT.image),
        mode=deployed.mode,
        replicas=deployed.replicas,
        pull=fields.read("pull_policy", lambda value: value.one_of(_PULLS, _PULLS_REFUSED), DEFAULT.pull),
        command=_command(fields),
        entrypoint=fields.read("entrypoint", _words, DEFAULT.entrypoint),
        env=environment(fields),
        user=fields.read("user", Value.word, DEFAULT.user),
        working_dir=fields.read("working_dir", Value.word, DEFAULT.working_dir),
        hostname=fields.read("hostname", Value.word, DEFAULT.hostname),
        labels=labels(fields, deployed.labels),
        stop_signal=fields.read("stop_signal", Value.word, DEFAULT.stop_signal),
        stop_grace_s=fields.read("stop_grace_period", _duration, DEFAULT.stop_grace_s),
        resources=deployed.resources,
        limits=deployed.limits,
        ports=fields.read("ports", ports, DEFAULT.ports),
        mounts=mounts(fields, volumes),
        read_only=fields.read("read_only", Value.flag, DEFAULT.read_only),
        cap_add=fields.read("cap_add", _texts, DEFAULT.cap_add),
        cap_drop=fields.read("cap_drop", _texts, DEFAULT.cap_drop),
        no_new_privileges=fields.read("security_opt", _security, DEFAULT.no_new_privileges),
        log=fields.read("logging", _logging, DEFAULT.log),
        health=fields.read("healthcheck", _healthcheck, DEFAULT.health),
        restart=deployed.restart,
        update=deployed.update,
        placement=deployed.placement,
        depends=dependencies(fields, names),
    )
    return extended(spec, fields)


def _duration(value: Value) -> float:
    return value.of(duration_s)


def _texts(value: Value) -> tuple[str, ...]:
    return tuple(value.each(Value.word))


def _command(fields: Fields) -> tuple[str, ...] | None:
    command = fields.stated("command", _words)
    if command is None:
        return None
    entrypoint = fields.get("entrypoint")
    if command.value == () and (entrypoint is None or entrypoint.is_null):
        # Compose's own documentation says that it clears the image's, and no engine does.
        command.place.note("an empty command leaves the image's own; remove it, or set entrypoint, which drops that")
    return command.value


def _words(value: Value) -> tuple[str, ...] | None:
    """A list as it is, or a text split into words. Nothing at all leaves what the image says."""
    if value.is_null:
        return None
    if value.is_list:
        return tuple(value.each(Value.text))
    text = value.text()
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise value.fault(f"cannot be split into words: {str(error).lower()}; write it as a list") from error


def _security(value: Value) -> bool:
    wanted = None
    for item in value.items():
        text = item.word()
        if text not in _SECURITY:
            raise item.fault(f"{quoted(text)} is not supported: only no-new-privileges is")
        if wanted is not None:
            raise item.fault("no-new-privileges is set twice; keep one of them")
        wanted = _SECURITY[text]
    return DEFAULT.no_new_privileges if wanted is None else wanted


# -- health


def _healthcheck(value: Value) -> HealthCheck | None:
    if value.is_null:
        return None
    fields = value.fields(table.HEALTHCHECK)
    disabled = fields.read("disable", Value.flag, False)
    test = fields.get("test")
    if disabled and test is not None:
        raise test.fault("is disabled by the same healthcheck; keep one of them")
    if test is None and not disabled:
        raise value.fault("has no test; the image's own cannot be adjusted, so repeat it here")
    return HealthCheck(
        test=DEFAULT_HEALTH.test if test is None else test.attempt(_test, DEFAULT_HEALTH.test),
        interval_s=fields.read("interval", _duration, DEFAULT_HEALTH.interval_s),
        timeout_s=fields.read("timeout", _duration, DEFAULT_HEALTH.timeout_s),
        retries=fields.read("retries", Value.integer, DEFAULT_HEALTH.retries),
        start_period_s=fields.read("start_period", _duration, DEFAULT_HEALTH.start_period_s),
    )


def _test(value: Value) -> tuple[str, ...]:
    if not value.is_list:
        return ("CMD-SHELL", value.word())
    words = tuple(value.each(Value.text))
    match words:
        case ("NONE",) | ("CMD-SHELL", _) | ("CMD", _, *_):
            return words
        case ("NONE" | "CMD-SHELL" | "CMD" as kind, *rest):
            wanted = {"NONE": "nothing", "CMD-SHELL": "one text", "CMD": "the program and its arguments"}[kind]
            raise value.fault(f"after {kind} comes {wanted}, not {len(rest)} items")
    raise value.fault("a list starts with CMD, CMD-SHELL or NONE; write a text to run it in the container's shell")


# -- logs


def _logging(value: Value) -> LogRotation:
    fields = value.fields(table.LOGGING)
    driver = fields.get("driver")
    if driver is not None and (name := driver.word()) != "json-file":
        raise driver.fault(f"the driver {quoted(name)} is not supported: the cluster reads logs from json-file only")
    return fields.read("options", _rotation, DEFAULT.log)


def _rotation(value: Value) -> LogRotation:
    fields = value.fields(table.LOGGING_OPTIONS)
    return LogRotation(
        size_bytes=fields.read("max-size", lambda value: value.of(size_bytes), DEFAULT.log.size_bytes),
        files=fields.read("max-file", lambda value: value.integer(1), DEFAULT.log.files),
    )
