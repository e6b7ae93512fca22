"""What is written as a map or as a list of `KEY=VALUE`: environment, labels, and the files of `env_file`.

Knows both spellings and which source wins. Must not know the grammar of env files (`dotenv`) nor what a name may look
like (admission). A key that a list gives twice is refused: one of the two was meant, and nobody can tell which.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from longshore.compose import dotenv, table
from longshore.compose.faults import Fault, quoted
from longshore.compose.files import read_text
from longshore.compose.page import Fields, Stated, Value, agreed

T = TypeVar("T")


def environment(fields: Fields) -> dict[str, str]:
    """The files in their order, then `environment` over them."""
    found: dict[str, str] = {}
    for variables in fields.read("env_file", _env_files, []):
        found |= variables
    for key, stated in fields.read("environment", _inheriting, {}).items():
        if stated.value is None:
            found.pop(key, None)
        else:
            found[key] = stated.value
    return found


def labels(fields: Fields, deployed: Mapping[str, Stated[str]]) -> dict[str, str]:
    """The service's, and those of its `deploy`, which are the same thing here: a task's container carries both."""
    found = fields.read("labels", label_pairs, {})
    return {key: agreed(found.get(key), deployed.get(key), "") for key in dict.fromkeys((*found, *deployed))}


def label_pairs(value: Value) -> dict[str, Stated[str]]:
    return _pairs(value, lambda _place, _key: "")


def _inheriting(value: Value) -> dict[str, Stated[str | None]]:
    return _pairs(value, _inherited)


def _inherited(place: Value, key: str) -> str | None:
    """The user's own value, for a variable that the file only names."""
    text = place.page.variables.get(key)
    if text is not None:
        place.check_characters(text)
    return text


def _pairs(value: Value, bare: Callable[[Value, str], T]) -> dict[str, Stated[str | T]]:
    """Each key with its text, or with what `bare` makes of a key that has none."""
    found: dict[str, Stated[str | T]] = {}
    if value.is_mapping:
        for key, entry in value.entries().items():
            try:
                found[key] = Stated(bare(entry, key) if entry.is_null else entry.spelled(), entry)
            except Fault as fault:
                value.page.faults.note(fault)
        return found
    if not value.is_list and not value.is_null:
        raise value.fault("must be a mapping, or a list of KEY=VALUE")
    for item in value.items():
        pair = item.attempt(lambda item: _pair(item, bare), None)
        if pair is None:
            continue
        key, text = pair
        if key in found:
            item.note(f"{quoted(key)} is given twice; keep one")
        found[key] = Stated(text, item)
    return found


def _pair(item: Value, bare: Callable[[Value, str], T]) -> tuple[str, str | T]:
    if not item.is_scalar:
        raise item.fault("must be KEY=VALUE; a list takes no mappings, so quote it if it has a colon")
    key, delimiter, text = item.word().partition("=")
    if not key:
        raise item.fault("must be KEY=VALUE; the key is missing")
    if delimiter:
        return key, text
    return key, bare(item, key)


# -- files


def _env_files(value: Value) -> list[dict[str, str]]:
    if value.is_list:
        return value.each(_env_file)
    return [] if value.is_null else [_env_file(value)]


def _env_file(value: Value) -> dict[str, str]:
    if not value.is_mapping:
        return _parsed(value, required=True)
    fields = value.fields(table.ENV_FILE)
    path = fields.get("path")
    if path is None:
        raise value.fault("has no path; name the file under path")
    return _parsed(path, required=fields.read("required", Value.flag, True))


def _parsed(place: Value, *, required: bool) -> dict[str, str]:
    page = place.page
    file = page.folder / place.word()
    try:
        text = read_text(file)
    except FileNotFoundError:
        if not required:
            return {}
        raise place.fault(f"there is no file {quoted(str(file))}; make it, or write required: false") from None
    except ValueError as error:
        raise place.fault(f"{quoted(str(file))} {error}") from error
    found = dotenv.parse(text, page.variables, str(file))
    for entry in found.values():
        place.check_characters(entry)
    return found
