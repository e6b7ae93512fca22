"""Whether rules about places may be wished, and whether a node may be said to have this: the part of admission that
knows constraints, affinity, spread, tolerations, taints and named resources.

Knows one spec or one node's own table; whether a label, a service or a resource is anywhere in the cluster is found
out later and is no fault of the wish.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from longshore.decide import grammar
from longshore.decide.bounds import check_count, check_number, match, shown
from longshore.decide.placement import constraints
from longshore.decide.placement.scoring.policies import policy_named
from longshore.model.errors import Invalid
from longshore.model.objects import Node
from longshore.model.placing import (
    Affinity,
    PlacementRules,
    Preference,
    Spread,
    Supply,
    Taint,
    Toleration,
    TolerationOperator,
)
from longshore.model.views import NodePatch

WEIGHT = (1, 100)
COUNT_MAX = 1_000_000
_PLATFORM = re.compile(r"[a-z0-9]{1,20}/[a-z0-9_-]{1,20}")
_RESOURCE = re.compile(r"[a-z](?:[a-z0-9_.-]*[a-z0-9])?")
_RESERVED = frozenset({"cpu", "memory", "disk", "pids"})
_DEVICE = re.compile(r"[A-Za-z0-9/](?:[A-Za-z0-9._:/@+-]*[A-Za-z0-9])?")


def admit_rules(rules: PlacementRules, field: str) -> PlacementRules:
    """The rules with every spelling made explicit. Raises Invalid for what cannot be meant."""
    if rules.per_node_max is not None:
        check_number(rules.per_node_max, (1, grammar.REPLICAS_MAX), f"{field}.per_node_max")
    return replace(
        rules,
        constraints=_constraints(rules.constraints, f"{field}.constraints"),
        prefers=_prefers(rules.prefers, f"{field}.prefers"),
        platform=_platform(rules.platform, f"{field}.platform"),
        tolerations=_tolerations(rules.tolerations, f"{field}.tolerations"),
        affinity=_affinities(rules.affinity, f"{field}.affinity"),
        anti_affinity=_affinities(rules.anti_affinity, f"{field}.anti_affinity"),
        spread=_spread(rules.spread, f"{field}.spread"),
        policy=_said_of(f"{field}.policy", lambda text: policy_named(text).name, rules.policy) if rules.policy else "",
    )


def check_named(named: Mapping[str, int], field: str) -> None:
    """What a task asks for of named resources."""
    check_count(named, field, "resources")
    for name, count in named.items():
        _resource(name, field)
        check_number(count, (1, COUNT_MAX), f"{field}[{name}]")


def check_shares(shares: Mapping[str, float], named: Mapping[str, int], field: str) -> None:
    """What a task asks for of single devices."""
    check_count(shares, field, "resources")
    for name, share in shares.items():
        _resource(name, field)
        check_number(share, (0.001, 0.999), f"{field}[{name}]")
        if name in named:
            raise Invalid(f"{name} is asked for whole, too; keep one of them", field=f"{field}[{name}]")


def admit_taints(taints: Sequence[Taint], *, field: str) -> tuple[Taint, ...]:
    """A node's taints, each key and effect once."""
    check_count(taints, field, "taints")
    found: dict[tuple[str, str], Taint] = {}
    for place, taint in enumerate(taints):
        _label(taint.key, taint.value, f"{field}[{place}]")
        if (taint.key, taint.effect) in found:
            raise Invalid(
                f"{shown(taint.key)} has the effect {taint.effect} twice; keep one", field=f"{field}[{place}].key"
            )
        found[taint.key, taint.effect] = taint
    return tuple(found[key] for key in sorted(found))


def admit_resources(resources: Mapping[str, Supply], *, field: str) -> dict[str, Supply]:
    """What a node is said to have."""
    check_count(resources, field, "resources")
    for name, supply in resources.items():
        _resource(name, field)
        path = f"{field}[{name}]"
        if isinstance(supply, int):
            check_number(supply, (0, COUNT_MAX), path)
            continue
        check_count(supply, path, "devices")
        for device in supply:
            match(_DEVICE, device, path, "a device is named by letters, digits and '._:/@+-'")
        if len(set(supply)) < len(supply):
            raise Invalid("a device is named twice; name each once", field=path)
    return dict(sorted(resources.items()))


def patched_taints(node: Node, patch: NodePatch) -> tuple[Taint, ...]:
    """The taints of a node once a user's patch is applied. Raises Invalid for one to remove that is not there."""
    admit_taints(patch.taints, field="taints")
    kept = {(one.key, one.effect): one for one in node.taints}
    for place, text in enumerate(patch.untaint):
        gone = [key for key, one in kept.items() if text in (one.key, f"{one.key}:{one.effect}")]
        if not gone:
            raise Invalid(f"node {node.name} has no taint {shown(text)}", field=f"untaint[{place}]")
        for key in gone:
            del kept[key]
    kept |= {(one.key, one.effect): one for one in patch.taints}
    return admit_taints(tuple(kept.values()), field="taints")


def patched_resources(node: Node, patch: NodePatch) -> dict[str, Supply]:
    """The resources of a node once a user's patch is applied."""
    merged = {**node.resources, **(patch.resources or {})}
    return admit_resources({name: one for name, one in merged.items() if one is not None}, field="resources")


def _resource(name: str, field: str) -> None:
    rule = "a resource's name is 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter"
    match(_RESOURCE, name, field, rule, longest=grammar.LABEL_MAX)
    if name in _RESERVED:
        raise Invalid(f"{name} is no named resource, it has a field of its own; set that", field=f"{field}[{name}]")


def _said_of(field: str, read: Callable[[str], object], text: str) -> str:
    """What `read` makes of a text, in words again; its refusal is that of `field`."""
    try:
        return str(read(text))
    except Invalid as fault:
        raise Invalid(fault.message, field=field) from fault


def _constraints(texts: tuple[str, ...], field: str) -> tuple[str, ...]:
    check_count(texts, field, "constraints")
    return tuple(
        dict.fromkeys(_said_of(f"{field}[{place}]", constraints.parse, text) for place, text in enumerate(texts))
    )


def _prefers(prefers: tuple[Preference, ...], field: str) -> tuple[Preference, ...]:
    check_count(prefers, field, "preferences")
    admitted = []
    for place, one in enumerate(prefers):
        check_number(one.weight, WEIGHT, f"{field}[{place}].weight")
        text = _said_of(f"{field}[{place}].constraint", constraints.parse, one.constraint)
        admitted.append(replace(one, constraint=text))
    return tuple(admitted)


def _platform(platform: str, field: str) -> str:
    if not platform:
        return ""
    if not _PLATFORM.fullmatch(platform):
        raise Invalid(
            f"{shown(platform)} is no platform; write OS/ARCHITECTURE, such as linux/amd64, and no variant, which no "
            "engine tells of its machine",
            field=field,
        )
    os, _, arch = platform.partition("/")
    return f"{os}/{constraints.ARCHITECTURES.get(arch, arch)}"


def _tolerations(tolerations: tuple[Toleration, ...], field: str) -> tuple[Toleration, ...]:
    check_count(tolerations, field, "tolerations")
    for place, one in enumerate(tolerations):
        path = f"{field}[{place}]"
        exists = one.operator is TolerationOperator.EXISTS
        if not one.key and not exists:
            raise Invalid("without a key it is every taint, and then the operator is Exists", field=f"{path}.key")
        if exists and one.value:
            raise Invalid("Exists asks for no value; leave it out, or use Equal", field=f"{path}.value")
        if one.key:
            _label(one.key, one.value, path)
    return tuple(dict.fromkeys(tolerations))


def _label(key: str, value: str, path: str) -> None:
    rule = "a taint's key is 1 to 63 of A-Z, a-z, 0-9, '.', '_', '/' and '-', with a letter or digit at both ends"
    match(grammar.LABEL_KEY, key, f"{path}.key", rule, longest=grammar.LABEL_MAX)
    rule = "a taint's value is up to 63 of A-Z, a-z, 0-9 and '._:/@+-', with a letter or digit at both ends"
    match(grammar.LABEL_VALUE, value, f"{path}.value", rule, longest=grammar.LABEL_MAX)


def _affinities(affinities: tuple[Affinity, ...], field: str) -> tuple[Affinity, ...]:
    check_count(affinities, field, "services")
    admitted = []
    for place, one in enumerate(affinities):
        path = f"{field}[{place}]"
        selector = _selector(one, path)
        _said_of(f"{path}.over", constraints.check_over, one.over)
        if one.weight is not None:
            check_number(one.weight, WEIGHT, f"{path}.weight")
        admitted.append(replace(one, selector=selector))
    return tuple(dict.fromkeys(admitted))


def _selector(one: Affinity, path: str) -> tuple[str, ...]:
    """How it chooses tasks by their labels, or nothing where it names their service."""
    if bool(one.service) is bool(one.selector):
        raise Invalid("say whom it means: a service by its name, or a selector of labels; not both", field=path)
    if one.service:
        rule = "a service's name is 1 to 40 of a-z, 0-9 and '-', with '-' only inside"
        match(grammar.SERVICE_NAME, one.service, f"{path}.service", rule, longest=grammar.NAME_MAX)
    check_count(one.selector, f"{path}.selector", "labels")
    texts = enumerate(one.selector)
    said = (_said_of(f"{path}.selector[{at}]", constraints.parse_selector, text) for at, text in texts)
    return tuple(dict.fromkeys(said))


def _spread(spread: tuple[Spread, ...], field: str) -> tuple[Spread, ...]:
    check_count(spread, field, "labels")
    for place, one in enumerate(spread):
        path = f"{field}[{place}]"
        _said_of(f"{path}.over", constraints.check_over, one.over)
        check_number(one.weight, WEIGHT, f"{path}.weight")
        if one.skew_max is not None:
            check_number(one.skew_max, (1, grammar.REPLICAS_MAX), f"{path}.skew_max")
    return tuple(dict.fromkeys(spread))
