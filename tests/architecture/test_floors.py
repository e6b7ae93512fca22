"""The floors of the house: imports only go down, and what decides touches nothing but its arguments."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.architecture.sources import ROOT, listed, modules

IMPURE = re.compile(r"\b(open|print|input|eval|exec)\(|datetime\.(now|utcnow|today)|date\.today|np\.random")
"""What reaches the world without an import that a contract could forbid."""

HEAVY = {"aiohttp", "asyncio", "numpy", "prometheus_client", "psutil", "rich", "structlog", "yaml"}
"""What no short command may load: a person waits for it."""


def test_the_contracts_of_the_floors_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}\nThe contracts are in pyproject.toml."


def test_every_module_of_decide_is_under_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (held,) = [set(one["modules"]) for one in contracts if one["type"] == "independence"]
    folder = ROOT / "src/longshore/decide"
    there = {f"longshore.decide.{path.stem}" for path in folder.iterdir() if not path.name.startswith("__")}
    assert there == held, "pyproject.toml lists the modules that must not know one another: bring it up to date"


def test_no_decision_waits() -> None:
    found = [
        f"{one.path}:{node.lineno}"
        for folder in ("model", "decide")
        for one in modules(f"src/longshore/{folder}")
        for node in ast.walk(one.tree)
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith)
    ]
    assert not found, f"decide purely: no async and no await here, let a controller do it{listed(found)}"


def test_no_decision_looks_at_the_world() -> None:
    found = [
        f"{one.path}:{number}: {line.strip()}"
        for folder in ("model", "decide")
        for one in modules(f"src/longshore/{folder}")
        for number, line in enumerate(one.text.splitlines(), 1)
        if IMPURE.search(line)
    ]
    assert not found, f"time, chance and files are arguments: pass them in{listed(found)}"


def test_a_command_starts_light() -> None:
    look = "import longshore.main, longshore.cli.tasks, longshore.client, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert HEAVY & set(run.stdout.split()) == set(), "longshore ps loads these: import them where they are used"
