"""A Compose file to an app: the one way in.

Knows which files belong to an app, where its variables come from and how it gets its name. Must not know how any key
is read. Whatever is wrong leaves as one `Invalid` that names every fault; nothing in the file is ignored in silence.
"""

import os.path
import re
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path

import msgspec

from longshore.compose import dotenv, table, tree
from longshore.compose.faults import Fault, Faults, quoted
from longshore.compose.files import read_text
from longshore.compose.mounts import named
from longshore.compose.order import check_order
from longshore.compose.page import Fields, Page, Value
from longshore.compose.services import service
from longshore.model.errors import Invalid
from longshore.model.spec import ServiceSpec

PROJECT_VARIABLE = "COMPOSE_PROJECT_NAME"

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PROJECT_HOW = "use small letters, digits, - and _, with a letter or digit first"


class ComposeApp(msgspec.Struct, frozen=True, kw_only=True):
    """What one Compose file asks for."""

    name: str
    services: dict[str, ServiceSpec]
    volumes: dict[str, str]
    """The file's volumes, each with its name in the engine."""


def load(path: Path, *, env: Mapping[str, str], project: str | None = None) -> ComposeApp:
    """The app that the file at `path` describes.

    `env` is the user's environment; `.env` beside the file fills in what it leaves unset. `project` names the app,
    whatever the file says. Raises Invalid, with one line for each fault.
    """
    faults = Faults(str(path))
    try:
        app = _app(path, env, project, faults)
    except Fault as fault:
        faults.note(fault)
        app = None
    faults.settle()
    assert app is not None
    return app


def _app(path: Path, env: Mapping[str, str], project: str | None, faults: Faults) -> ComposeApp:
    root = tree.parse(_required_text(path))
    # Made absolute without following links, so that a linked folder keeps the name that the user sees.
    folder = Path(os.path.normpath(Path.cwd() / path)).parent
    variables = _variables(path, env)
    page = Page(folder, variables, faults)
    top = Value(page, root).fields(table.TOP)
    top.read("version", Value.text, "")
    name = _name(top, project, variables, folder)
    page.variables = ChainMap({PROJECT_VARIABLE: name}, variables)
    volumes = top.read("volumes", lambda value: named(value, name), {})
    listed = top.get("services")
    services = listed.entries() if listed is not None else {}
    if not services:
        place = listed or top.place
        raise Fault("there is no service; list at least one under services", line=place.line)
    specs = dict[str, ServiceSpec]()
    for key, entry in services.items():
        spec = entry.attempt(lambda entry: service(entry, volumes, services), None)
        if spec is not None:
            specs[key] = spec
    check_order(services, specs)
    return ComposeApp(name=name, services=specs, volumes=volumes)


def _required_text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        raise Fault("there is no such file") from None
    except ValueError as error:
        raise Fault(str(error)) from error


def _variables(path: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The user's environment over `.env`."""
    file = path.with_name(".env")
    if not file.is_file():
        return dict(env)  # a folder of that name is mostly a Python environment
    try:
        text = read_text(file)
    except ValueError as error:
        raise Fault(str(error), file=str(file)) from error
    return {**dotenv.parse(text, env, str(file)), **env}


def _name(top: Fields, project: str | None, variables: Mapping[str, str], folder: Path) -> str:
    """The first of: what the caller says, `COMPOSE_PROJECT_NAME`, `name`, the folder; Compose's own order.

    It names the engine's volumes, so another order than Compose's would give an app empty ones.
    """
    if project is not None:
        return _checked(project, "project")
    written = top.get("name")
    if chosen := variables.get(PROJECT_VARIABLE):
        return _checked(chosen, PROJECT_VARIABLE)
    if written is not None:
        name = written.word()
        if not _PROJECT.fullmatch(name):
            raise written.fault(f"{quoted(name)} will not do as a name; {_PROJECT_HOW}")
        return name
    name = re.sub(r"[^-_a-z0-9]", "", folder.name.lower()).lstrip("_-")
    if not name:
        raise Fault(f"the folder {quoted(folder.name)} gives no name for the app; write name: at the top of the file")
    return name


def _checked(name: str, field: str) -> str:
    if not _PROJECT.fullmatch(name):
        raise Invalid(f"{field} {quoted(name)} will not do as a name; {_PROJECT_HOW}", field=field)
    return name
