"""The servers of `longshore cube`: the manager and the worker of this program, with the flags and defaults of Cube.

Knows what differs: ports, the policy, a worker to dial from the start, and a worker's name that is made up once. What
does not differ is our rule for doors: without a token they open to this machine alone, so both listen on loopback.
"""

from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from longshore.cli.cube import MANAGER_PORT, WORKER_PORT, cube
from longshore.cli.group import Settings, pass_settings
from longshore.main import flags
from longshore.main.commands import manager_settings, own_folder, serve_manager, serve_worker, worker_settings

_WORKER = f"localhost:{WORKER_PORT}"


@cube.command(
    "manager",
    examples=(
        "longshore cube manager",
        "longshore cube manager -p 5555 -w localhost:5556,localhost:5557 -s roundrobin -d persistent",
    ),
)
@flags.listen_at(MANAGER_PORT, variables="MANAGER")
@flags.workers("--workers", _WORKER)
@flags.scheduler("epvm")
@flags.store_type
@flags.serving
@flags.logging
@pass_settings
def manager(settings: Settings, /, log_level: str, log_format: str | None, **said: Any) -> None:
    """Keep what is wished, and decide, for workers that it dials.

    Workers on this machine that keep their files in the same folder (--data) know the manager's token for them.
    """
    serve_manager(manager_settings(settings, **said), log_level, log_format)


@cube.command("worker", examples=("longshore cube worker", "longshore cube worker -n worker-1 -p 5557 --data w1"))
@flags.listen_at(WORKER_PORT, variables="WORKER", help="Where to be dialled.")
@click.option("-n", "--name", default="", help="Name of the node.  [default: worker-UUID, and the same again later]")
@click.option("--engine", default="", metavar="URL", help="[default: $DOCKER_HOST, else /var/run/docker.sock]")
@flags.store_type
@click.option("--no-auth", is_flag=True, help="Ask nobody for a token at -H and -p; on a loopback address only.")
@flags.logging
@pass_settings
def worker(settings: Settings, /, name: str, log_level: str, log_format: str | None, **said: Any) -> None:
    """Run containers on this machine for a manager that dials it."""
    wish = worker_settings(settings, name=name or _remembered_name(own_folder(settings)), **said)
    serve_worker(wish, log_level, log_format)


def _remembered_name(where: Path) -> str:
    """The name that the worker of this folder has; of a new one, a name nobody has."""
    from longshore.main import folder

    if folder.read(where / "worker.json"):
        return folder.identity(where, "").node
    return f"worker-{uuid4()}"
