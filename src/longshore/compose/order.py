"""`depends_on`: which services of the file start before others.

Knows its short and its long form. What a set of services may not wait for is `model.ordering`'s; here it gets its line.
Must not know what waiting means.
"""

from collections.abc import Collection, Mapping
from functools import partial

from longshore.compose import table
from longshore.compose.faults import quoted
from longshore.compose.page import Fields, Value
from longshore.model.ordering import flaws
from longshore.model.spec import Condition, Dependency, ServiceSpec

KEY = "depends_on"

_CONDITIONS = {
    "service_started": Condition.STARTED,
    "service_healthy": Condition.READY,
    "service_completed_successfully": Condition.COMPLETED,
}


def dependencies(service: Fields, names: Collection[str]) -> tuple[Dependency, ...]:
    """What a service waits for, of the services that there are."""
    return tuple(service.read(KEY, lambda value: _listed(value, names), []))


def check_order(services: Mapping[str, Value], specs: Mapping[str, ServiceSpec]) -> None:
    """Note what no cluster could keep: circles, and jobs that are none. Those whose spec is at fault are left out."""
    if len(specs) < len(services):
        return
    for flaw in flaws(specs):
        value = services[flaw.service].entries()[KEY]
        named = specs[flaw.service].depends[flaw.place].service
        place = value.entries().get(named, value) if value.is_mapping else _item(value, named)
        place.note(flaw.message)


def _item(value: Value, named: str) -> Value:
    return next((item for item in value.items() if item.word() == named), value)


def _listed(value: Value, names: Collection[str]) -> list[Dependency]:
    if value.is_mapping:
        entries = value.entries().items()
        return [one for name, entry in entries for one in entry.attempt(partial(_long, name=name, names=names), ())]
    short = value.each(lambda item: _short(item, names))
    seen = [one.service for one in short]
    for name in sorted({name for name in seen if seen.count(name) > 1}):
        value.note(f"names {name} twice; keep one of them")
    return short


def _short(item: Value, names: Collection[str]) -> Dependency:
    name = item.word()
    _must_be(item, name, names)
    return Dependency(service=name)


def _long(entry: Value, *, name: str, names: Collection[str]) -> tuple[Dependency, ...]:
    """None of a service that the file need not have, and has not."""
    fields = entry.fields(table.DEPENDENCY)
    restart = fields.get("restart")
    if restart is not None and restart.flag():
        restart.note("true is not supported: what runs is not restarted for what it depends on; remove it")
    required = fields.read("required", Value.flag, True)
    condition = fields.read("condition", lambda value: value.one_of(_CONDITIONS), Condition.STARTED)
    if not required and name not in names:
        return ()
    _must_be(entry, name, names)
    return (Dependency(service=name, condition=condition),)


def _must_be(place: Value, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise place.fault(f"there is no service {quoted(name)} in this file; name one of it")
