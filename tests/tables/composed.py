"""Writes a Compose file and loads it, for the tables of the loader.

In a text that shall be refused, a comment `#! path: message` stands on each line that is to blame and says how the
message starts; so a table shows at once what is wrong and where.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from longshore.compose import ComposeApp, load
from longshore.model.errors import Invalid
from longshore.model.spec import ServiceSpec

MARK = re.compile(r"#! (.+)$")


def app_of(folder: Path, text: str, env: Mapping[str, str] | None = None, project: str | None = "p") -> ComposeApp:
    file = folder / "compose.yaml"
    file.write_text(text)
    return load(file, env=env or {}, project=project)


def spec_of(folder: Path, keys: str, env: Mapping[str, str] | None = None) -> ServiceSpec:
    """The spec of a service with the image `i` and these keys; volumes `data` and `outside` are there to be used."""
    text = service(keys) + "volumes: {data: , outside: {external: true, name: theirs}}\n"
    return app_of(folder, text, env).services["web"]


def service(keys: str) -> str:
    lines = "".join(f"    {line}\n" if line else "\n" for line in keys.splitlines())
    return f"services:\n  web:\n    image: i\n{lines}"


def refusal(folder: Path, text: str, env: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the refusal, without the folder's name."""
    with pytest.raises(Invalid) as caught:
        app_of(folder, text, env)
    return caught.value.message.replace(f"{folder}/", "").split("\n")


def marked(text: str, file: str) -> list[str]:
    """How each line of the refusal shall start."""
    marks = [(number, MARK.search(line)) for number, line in enumerate(text.split("\n"), 1)]
    return [f"{file}:{number}: {re.sub(r'^[.]', 'services.web.', mark[1])}" for number, mark in marks if mark]


def assert_refused(folder: Path, text: str, env: Mapping[str, str] | None = None) -> None:
    """That every marked line is refused as it says, and no other."""
    expected = marked(text, "compose.yaml")
    lines = refusal(folder, text, env)
    shown = [line[: len(start)] for line, start in zip(lines, expected, strict=False)] + lines[len(expected) :]
    assert shown == expected, "\n".join(lines)
