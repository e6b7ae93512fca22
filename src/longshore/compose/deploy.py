"""`deploy`, and the older keys of a service that say the same: how many, where, with what, and again or not.

Knows which pairs of keys overlap. Where both are given they must agree: the specification's own order of precedence
would let one of them be ignored. Must not know whether the numbers make sense together (admission).
"""

import re
from fractions import Fraction

import msgspec

from longshore.compose import places, table
from longshore.compose.faults import quoted
from longshore.compose.page import Fields, Stated, Value, agreed
from longshore.compose.pairs import label_pairs
from longshore.compose.placing import named_resources, placement
from longshore.compose.quantities import cores, duration_s, size_bytes
from longshore.model.spec import (
    Limits,
    Mode,
    OnFailure,
    PlacementRules,
    Resources,
    RestartOn,
    RestartPolicy,
    UpdateOrder,
    UpdateRules,
)

_MODES = {"replicated": Mode.REPLICATED, "global": Mode.GLOBAL, "replicated-job": Mode.JOB}
_MODES_REFUSED = {"global-job": "jobs are replicated only; use replicated-job"}
_CONDITIONS = {condition.value: condition for condition in RestartOn}
_RESTARTS = {
    "no": RestartPolicy(condition=RestartOn.NONE),
    "always": RestartPolicy(condition=RestartOn.ANY),
    "unless-stopped": RestartPolicy(condition=RestartOn.ANY),
}
_ORDERS = {order.value: order for order in UpdateOrder}
_ON_FAILURE = {action.value: action for action in OnFailure}


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What of a spec these keys settle."""

    mode: Mode
    replicas: int
    resources: Resources
    limits: Limits
    placement: PlacementRules
    restart: RestartPolicy
    update: UpdateRules
    labels: dict[str, Stated[str]]
    """Only those under `deploy`."""


def deployment(service: Fields) -> Deployment:
    """Read from the service's own keys and from its `deploy`."""
    # A missing mapping reads as an empty one, so there is one way through.
    deploy = _level(service, "deploy", table.DEPLOY)
    resources = _level(deploy, "resources", table.RESOURCES)
    limits = _level(resources, "limits", table.LIMITS)
    reserved = _level(resources, "reservations", table.RESERVATIONS)
    mode = deploy.read("mode", lambda value: value.one_of(_MODES, _MODES_REFUSED), Mode.REPLICATED)
    memory = agreed(service.stated("mem_limit", _size), limits.stated("memory", _size), 0)
    cpu = agreed(service.stated("cpus", _cores), limits.stated("cpus", _cores), 0.0)
    pids = agreed(service.stated("pids_limit", _pids), limits.stated("pids", _pids), Limits().pids)
    set_aside = agreed(service.stated("mem_reservation", _size), reserved.stated("memory", _size), 0)
    replicas = _replicas(service, deploy, mode)
    return Deployment(
        mode=mode,
        replicas=replicas,
        resources=Resources(
            cpu=reserved.read("cpus", _cores, 0.0),
            memory=set_aside,
            pids=reserved.read("pids", _pids, 0),
            named=named_resources(reserved),
        ),
        limits=Limits(cpu=cpu, memory=memory, pids=pids),
        placement=msgspec.structs.replace(
            placement(_level(deploy, "placement", places.PLACEMENT)), platform=service.read("platform", Value.word, "")
        ),
        restart=_restart(service, deploy),
        update=_update(_level(deploy, "update_config", table.UPDATE_CONFIG), mode, replicas),
        labels=deploy.read("labels", label_pairs, {}),
    )


def _level(parent: Fields, key: str, level: table.Level) -> Fields:
    missing = Fields(parent.place, level, {})
    return parent.read(key, lambda value: value.fields(level), missing)


def _replicas(service: Fields, deploy: Fields, mode: Mode) -> int:
    scale = service.stated("scale", Value.integer)
    replicas = deploy.stated("replicas", Value.integer)
    for stated in (scale, replicas):
        if stated is not None and mode is Mode.GLOBAL:
            stated.place.note("a global service has one task on each node; remove this, or the mode")
    return agreed(scale, replicas, 1)


# -- resources


def _size(value: Value) -> int:
    return value.of(size_bytes)


def _cores(value: Value) -> float:
    return value.of(cores)


def _pids(value: Value) -> int:
    """Both `-1` and `0` are no limit, which the spec writes as zero."""
    return max(0, value.integer(-1, 2**22))


# -- rollouts


def _update(fields: Fields, mode: Mode, replicas: int) -> UpdateRules:
    default = UpdateRules()
    ratio = fields.stated("max_failure_ratio", _ratio)
    if ratio is not None and ratio.value and mode is Mode.GLOBAL:
        ratio.place.note(
            "a global service has as many tasks as there are nodes, so no part of them is a number; remove"
        )
    return UpdateRules(
        order=fields.read("order", lambda value: value.one_of(_ORDERS), None),
        parallelism=fields.read("parallelism", Value.integer, default.parallelism),
        delay_s=fields.read("delay", lambda value: value.of(duration_s), default.delay_s),
        monitor_s=fields.read("monitor", lambda value: value.of(duration_s), default.monitor_s),
        failures_max=int(ratio.value * replicas) if ratio is not None else 0,
        on_failure=fields.read("failure_action", lambda value: value.one_of(_ON_FAILURE), default.on_failure),
    )


def _ratio(value: Value) -> Fraction:
    ratio = value.of(cores)
    if ratio > 1:
        raise value.fault("must be from 0 to 1")
    return Fraction(str(ratio))  # as it was written, so that 0.29 of 100 is 29


# -- restarts


def _restart(service: Fields, deploy: Fields) -> RestartPolicy:
    short = service.stated("restart", _restart_word)
    long = deploy.stated("restart_policy", _restart_policy)
    if short is None or long is None:
        only = short or long
        return RestartPolicy() if only is None else only.value
    ours, theirs = short.value, long.value
    # Each may leave open what the other says; where both say something, it must be the same.
    conditions = {policy.condition for policy in (ours, theirs)} - {None}
    attempts = {policy.attempts_max for policy in (ours, theirs)} - {None}
    if len(conditions) > 1 or len(attempts) > 1:
        long.place.note(f"says otherwise than {short.place.path} on line {short.place.line}; keep one of them")
    return msgspec.structs.replace(
        theirs,
        condition=theirs.condition or ours.condition,
        attempts_max=ours.attempts_max if theirs.attempts_max is None else theirs.attempts_max,
    )


def _restart_word(value: Value) -> RestartPolicy:
    word, colon, count = value.word().partition(":")
    if word == "on-failure":
        most = value.parsed(count, _attempts) if colon else None
        return RestartPolicy(condition=RestartOn.ON_FAILURE, attempts_max=most)
    if colon or word not in _RESTARTS:
        raise value.fault(f"must be no, always, unless-stopped or on-failure[:N], not {quoted(value.word())}")
    return _RESTARTS[word]


def _attempts(text: str) -> int | None:
    """Zero is no limit, as in every engine."""
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise ValueError("must be on-failure:N with a whole number")
    return int(text) or None


def _restart_policy(value: Value) -> RestartPolicy:
    fields = value.fields(table.RESTART_POLICY)
    default = RestartPolicy()
    return RestartPolicy(
        condition=fields.read("condition", lambda value: value.one_of(_CONDITIONS), None),
        delay_s=fields.read("delay", lambda value: value.of(duration_s), default.delay_s),
        attempts_max=fields.read("max_attempts", lambda value: value.integer() or None, None),
        window_s=fields.read("window", _window, default.window_s),
    )


def _window(value: Value) -> float:
    window_s = value.of(duration_s)
    if not window_s:
        # Swarm reads it as "count for ever"; here a run of no length would count as stable, and attempts never would.
        raise value.fault("must be longer than 0s")
    return window_s
