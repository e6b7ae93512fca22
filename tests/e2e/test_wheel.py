"""The wheel alone, in an environment that has never seen the project: it installs, starts, and runs a world.

Needs a package index for the dependencies; where there is none the test says so and skips.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 240


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # Nothing of the checkout or of this environment may help.
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(one) for one in command], cwd=cwd, env=clean, capture_output=True, text=True, timeout=LIMIT_S
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("longshore-*.whl")
    venv.create(folder / "env", with_pip=True)
    done = run(folder / "env" / "bin" / "python", "-m", "pip", "-qq", "install", wheel, cwd=folder)
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("no package index can be reached, so the wheel's dependencies cannot be installed")
    assert done.returncode == 0, done.stderr
    return folder / "env" / "bin"


def test_it_tells_its_version(installed: Path, tmp_path: Path) -> None:
    told = run(installed / "longshore", "--version", cwd=tmp_path)
    assert (told.returncode, told.stdout.split()[0]) == (0, "longshore")


def test_it_runs_a_world(installed: Path, tmp_path: Path) -> None:
    told = run(installed / "longshore", "simulate", "--seed", "1", "--steps", "10", cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_command_loads(installed: Path, tmp_path: Path) -> None:
    for command in ("dev", "manager", "worker", "restore", "up", "ps"):
        told = run(installed / "longshore", command, "--help", cwd=tmp_path)
        assert told.returncode == 0, told.stderr


def test_it_carries_its_types_and_licence(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import longshore; print(longshore.__path__[0])", cwd=tmp_path)
    package = Path(where.stdout.strip())
    assert (package / "py.typed").exists()
    assert list(package.parent.glob("longshore-*.dist-info/licenses/LICENSE"))
