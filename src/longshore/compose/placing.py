"""Where tasks may go: `deploy.placement`, `platform`, and the `placement` of a service's `x-longshore`.

Knows how Compose spells constraints and preferences, and our own keys for what it has no word for. Must not judge what
was written beyond its spelling: whether labels and services are anywhere is found out later, the rest is admission's.
"""

import re

from msgspec.structs import replace

from longshore.compose import places
from longshore.compose.faults import quoted
from longshore.compose.page import Fields, Value
from longshore.model.placing import (
    Affinity,
    PlacementRules,
    Preference,
    Spread,
    TaintEffect,
    Toleration,
    TolerationOperator,
)

# None of them may look twice at the same stretch of a hostile text: it is stripped first, and nothing is lazy.
_KEY = r"(?P<key>[^\s=!<>(),]+)"
_COMPARED = re.compile(rf"{_KEY}\s*(?P<operator>==|!=|>=|<=|>|<)\s*(?P<rest>[^\s=].*)", re.DOTALL)
_LISTED = re.compile(rf"{_KEY}(?P<operator>\s+(?:in|notin)\s*)(?P<rest>\([^()]*\))")
_PRESENT = re.compile(rf"(?P<operator>!?)\s*{_KEY}(?P<rest>)")
_KEYS = {"node.hostname": "node.name"}
_KEYS_REFUSED = {
    "node.id": "name the node: node.hostname",
    "node.role": "managers are no nodes; label the nodes that you mean",
    "node.ip": "name the node, or label it",
}
_KNOWN = frozenset({"node.name", "node.platform.os", "node.platform.arch"})
_LABELS = ("node.labels.", "engine.labels.")
_EFFECTS = {effect.value: effect for effect in TaintEffect}
_OPERATORS = {operator.value: operator for operator in TolerationOperator}


def placement(fields: Fields) -> PlacementRules:
    """What `deploy.placement` says."""
    most = fields.read("max_replicas_per_node", Value.integer, 0)
    return PlacementRules(
        constraints=tuple(fields.read("constraints", lambda value: value.each(_constraint), [])),
        spread=tuple(fields.read("preferences", lambda value: value.each(_preference), [])),
        # Zero is no limit, as in Swarm.
        per_node_max=most or None,
    )


def extended(rules: PlacementRules, value: Value) -> PlacementRules:
    """`rules` with what our own keys add."""
    fields = value.fields(places.PLACEMENT_OWN)
    return replace(
        rules,
        prefers=tuple(fields.read("prefers", lambda value: value.each(_prefers), [])),
        tolerations=tuple(fields.read("tolerations", lambda value: value.each(_toleration), [])),
        affinity=tuple(fields.read("affinity", lambda value: value.each(_affinity), [])),
        anti_affinity=tuple(fields.read("anti_affinity", lambda value: value.each(_affinity), [])),
        spread=(*rules.spread, *fields.read("spread", lambda value: value.each(_spread), [])),
        policy=fields.read("policy", Value.word, ""),
    )


def _constraint(item: Value) -> str:
    text = item.word()
    said = text.strip()
    match = _LISTED.fullmatch(said) or _COMPARED.fullmatch(said) or _PRESENT.fullmatch(said)
    key = match["key"] if match is not None else ""
    alone = match is not None and not match["rest"]
    if match is None or (alone and not key.startswith(_LABELS)):
        raise item.fault(f"{quoted(text)} is no constraint; write node.labels.KEY==VALUE or node.hostname!=NAME")
    if key in _KEYS_REFUSED:
        raise item.fault(f"{key} is not supported: {_KEYS_REFUSED[key]}")
    labels = any(key.startswith(prefix) and key != prefix for prefix in _LABELS)
    if _KEYS.get(key, key) not in _KNOWN and not labels:
        raise item.fault(f"nothing is known of {quoted(key)}; write node.labels.KEY or node.hostname")
    known = _KEYS.get(key, key)
    return f"{match['operator']}{known}" if alone else f"{known}{match['operator']}{match['rest']}"


def _preference(item: Value) -> Spread:
    spread = item.fields(places.PREFERENCE).get("spread")
    if spread is None:
        raise item.fault("has no spread; name the label to spread over: node.labels.KEY")
    return Spread(over=spread.word())


def _prefers(item: Value) -> Preference:
    fields = item.fields(places.PREFERS)
    text = fields.get("constraint")
    if text is None:
        raise item.fault("has no constraint; write one, such as node.labels.disk==ssd")
    return Preference(constraint=_constraint(text), weight=_weight(fields) or 1)


def _toleration(item: Value) -> Toleration:
    fields = item.fields(places.TOLERATION)
    return Toleration(
        key=fields.read("key", Value.word, ""),
        operator=fields.read("operator", lambda value: value.one_of(_OPERATORS), TolerationOperator.EQUAL),
        value=fields.read("value", Value.spelled, ""),
        effect=fields.read("effect", lambda value: value.one_of(_EFFECTS), None),
    )


def _affinity(item: Value) -> Affinity:
    fields = item.fields(places.AFFINITY)
    service, selector = fields.get("service"), fields.get("selector")
    if (service is None) is (selector is None):
        raise item.fault("needs a service or a selector: a name, which may be this one's, or labels to choose by")
    return Affinity(
        service=service.word() if service is not None else "",
        selector=tuple(selector.each(Value.text)) if selector is not None else (),
        over=fields.read("over", _over, "node.name"),
        weight=_weight(fields),
    )


def _spread(item: Value) -> Spread:
    fields = item.fields(places.SPREAD)
    over = fields.get("over")
    if over is None:
        raise item.fault("has no over; name the label to spread over: node.labels.KEY")
    skew_max = fields.read("skew_max", lambda value: value.integer(1), None)
    return Spread(over=_over(over), skew_max=skew_max, weight=_weight(fields) or 1)


def _over(value: Value) -> str:
    word = value.word()
    return _KEYS.get(word, word)


def _weight(fields: Fields) -> int | None:
    return fields.read("weight", lambda value: value.integer(1, 100), None)


def named_resources(reserved: Fields) -> dict[str, int]:
    """`devices` and `generic_resources` of the reservations: how many of what."""
    found: dict[str, int] = {}
    asked = [*reserved.read("devices", _devices, []), *reserved.read("generic_resources", _generic, [])]
    for name, count, place in asked:
        if name in found:
            place.note(f"asks for {name} a second time; add them up")
        found[name] = count
    return found


def _devices(value: Value) -> list[tuple[str, int, Value]]:
    return [(name, count, item) for item in value.items() for name, count in [_device(item)]]


def _device(item: Value) -> tuple[str, int]:
    fields = item.fields(places.DEVICE)
    kinds = [one.word() for one in capabilities.items()] if (capabilities := fields.get("capabilities")) else []
    if len(kinds) != 1:
        raise item.fault("needs one capability, which is the resource that nodes have, such as capabilities: [gpu]")
    count = fields.get("count")
    if count is not None and count.is_scalar and count.spelled() == "all":
        raise count.fault("all is not supported: say how many; a node's devices are shared out one by one")
    return kinds[0], 1 if count is None else count.integer(1)


def _generic(value: Value) -> list[tuple[str, int, Value]]:
    found = []
    for item in value.items():
        spec = item.fields(places.GENERIC).get("discrete_resource_spec")
        if spec is None:
            raise item.fault("has no discrete_resource_spec with kind and value")
        fields = spec.fields(places.GENERIC_SPEC)
        kind, count = fields.get("kind"), fields.get("value")
        if kind is None or count is None:
            raise spec.fault("needs a kind and a value")
        found.append((kind.word().lower(), count.integer(1), item))
    return found
