"""The commands that serve: manager, worker, dev, restore, simulate. They import their parts only when they run."""

import asyncio
import os
import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.parameters import RESOURCE, TAINT
from longshore.cli.tables import show_json
from longshore.client import chosen_data_dir
from longshore.main import flags
from longshore.main.flags import SCHEDULERS as SCHEDULERS
from longshore.main.serving import serve
from longshore.main.sight import announce

if TYPE_CHECKING:
    from longshore.main.manager import ManagerSettings
    from longshore.main.worker import WorkerSettings
    from longshore.model.placing import Supply


_FILE = click.Path(path_type=Path, dir_okay=False)


@command(
    "manager",
    "longshore manager",
    "longshore manager -H 10.0.0.1 -w 10.0.0.2:7441 --scheduler binpack",
    "longshore manager -p 8080 -st persisted -sct epvm -w worker1:80 -w worker2:80",
)
@flags.listen_at(7440, variables="MANAGER")
@flags.keeping
@flags.scheduler("spread")
@flags.serving
@flags.retention
@flags.workers("--worker")
@click.option("--worker-token", type=click.Path(path_type=Path, dir_okay=False), help="[default: DATA/worker.token]")
@flags.logging
@pass_settings
def manager(settings: Settings, /, log_level: str, log_format: str | None, **said: Any) -> None:
    """Keep what is wished, and decide.

    Its data folder (--data) gets longshore.db, admin.token and manager.json; the command line finds them there.
    """
    serve_manager(manager_settings(settings, **said), log_level, log_format)


def serve_manager(wish: "ManagerSettings", log_level: str, log_format: str | None) -> None:
    """Until it is told to stop."""
    from longshore.main.manager import running_manager

    async def run() -> None:
        async with running_manager(wish) as running:
            announce(f"manager on {running.url}; token in {wish.folder / 'admin.token'}")
            await asyncio.Event().wait()

    serve(run(), log_level, log_format)


def manager_settings(
    settings: Settings,
    *,
    no_auth: bool,
    no_compat: bool,
    heartbeat_timeout: float,
    store_type: str | None,
    store: str = "",
    **rest: Any,
) -> "ManagerSettings":
    from longshore.main.manager import ManagerSettings
    from longshore.model.retention import Retention

    kept = {field: rest.pop(flag) for flag, field in flags.KEPT.items() if flag in rest}
    return ManagerSettings(
        folder=own_folder(settings),
        auth=not no_auth,
        compat=not no_compat,
        heartbeat_timeout_s=heartbeat_timeout,
        kept=Retention(**kept),
        store=flags.store_of(store, store_type),
        **rest,
    )


def own_folder(settings: Settings) -> Path:
    """Where a server of this line keeps its files."""
    return chosen_data_dir(settings.data, os.environ)


@command(
    "worker",
    "longshore worker --join http://10.0.0.1:7440 --token join.token",
    "longshore worker -n rack1 -H 10.0.0.2 --label zone=a",
    "longshore worker -n worker1 -p 80 -st persisted",
)
@click.option("-n", "--name", default=None, help="Name of the node.  [default: the host's name]")
@flags.listen_at(7441, variables="WORKER", help="Where to be dialled, without --join.")
@click.option("--join", default="", metavar="URL", help="The manager to dial.")
@click.option("--token", type=click.Path(path_type=Path, dir_okay=False), help="File with the token for --join.")
@click.option("--engine", default="", metavar="URL", help="[default: $DOCKER_HOST, else /var/run/docker.sock]")
@click.option("--address", default="", help="Where published ports answer.  [default: the address towards the manager]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Of the node, taken when it joins.")
@click.option("--taint", "taints", multiple=True, type=TAINT, metavar="KEY[=VALUE]:EFFECT", help="As for --label.")
@click.option("--resource", "resources", multiple=True, type=RESOURCE, metavar="NAME=N|ID,...", help="As for --label.")
@click.option("--entry", is_flag=True, help="Join as an entry, with the label entry=true; needs HAProxy.")
@flags.store_type
@click.option("--no-auth", is_flag=True, help="Ask nobody for a token at -H and -p; on a loopback address only.")
@flags.logging
@pass_settings
def worker(
    settings: Settings,
    /,
    name: str | None,
    log_level: str,
    log_format: str | None,
    **said: Any,
) -> None:
    """Run containers on this machine for a manager.

    With --join it dials the manager. Without, it waits at -H and -p for a manager that was started with --worker; both
    then need the same worker.token.
    """
    wish = worker_settings(settings, name=name or socket.gethostname().split(".")[0], **said)
    serve_worker(wish, log_level, log_format)


def serve_worker(wish: "WorkerSettings", log_level: str, log_format: str | None) -> None:
    """Until it is told to stop."""
    from longshore.main.worker import run_worker

    serve(run_worker(wish), log_level, log_format)


def worker_settings(
    settings: Settings,
    *,
    store_type: str | None,
    no_auth: bool,
    labels: tuple[str, ...] = (),
    resources: tuple[tuple[str, "Supply | None"], ...] = (),
    **rest: Any,
) -> "WorkerSettings":
    from longshore.main.worker import WorkerSettings

    return WorkerSettings(
        folder=own_folder(settings),
        labels=dict(_pair(label) for label in labels),
        resources={name: supply for name, supply in resources if supply is not None},
        store=flags.store_of("", store_type),
        auth=not no_auth,
        **rest,
    )


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
    return key, value


@command("dev", "longshore dev", "longshore dev --nodes 3", "longshore dev --nodes 5 --engine fake --store memory")
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1, 100), help="Workers: n1, n2 and so on.")
@click.option("--engine", default="", metavar="URL", help="An engine's URL, fake, or dind: containers with one each.")
@click.option("--entry", is_flag=True, help="Have n1 join as an entry; needs HAProxy.")
@flags.listen_at(7440, variables="MANAGER")
@flags.keeping
@flags.scheduler("spread")
@flags.serving
@flags.logging
@pass_settings
def dev(
    settings: Settings,
    /,
    nodes: int,
    engine: str,
    entry: bool,
    log_level: str,
    log_format: str | None,
    **said: Any,
) -> None:
    """A manager and its workers in one program, on this machine's engine.

    When it stops, containers keep running; the next start takes them over. `longshore down` removes them. Nodes that
    are containers themselves (--engine dind) go when it stops, with all that is in them.
    """
    from longshore.main.dev import run_dev
    from longshore.main.manager import RunningManager

    wish = manager_settings(settings, **said)

    def started(running: RunningManager) -> None:
        where = f" --data {settings.data}" if settings.data else ""
        announce(f"cluster of {nodes} on {running.url}; try: longshore{where} nodes")

    serve(run_dev(wish, nodes=nodes, engine=engine, entry=entry, started=started), log_level, log_format)


@command("restore", "longshore restore monday.backup --data /var/lib/longshore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_settings
def restore(settings: Settings, file: Path) -> None:
    """Put a backup in the place of a stopped manager's store.

    What was there is kept beside it.
    """
    from longshore.main.manager import STORE_FILE
    from longshore.store.copies import restore as put_back

    target = own_folder(settings) / STORE_FILE
    aside = put_back(file, target, at=time.time())
    if settings.as_json:
        show_json({"file": str(target), "former": str(aside) if aside else None})
    else:
        click.echo(f"restored {target}" + (f"; the former one is {aside}" if aside else ""))


@command(
    "simulate",
    "longshore simulate --seed 7 --nodes 5",
    "longshore simulate --worlds 10000 --mixed --jobs 4",
    "longshore simulate --seed 7 --shrink short.json",
    "longshore simulate --script short.json",
    "longshore simulate --nodes 10000 --tasks 300000",
)
@click.option("--seed", default=0, show_default=True, help="The same seed is the same story.")
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(1, 100_000))
@click.option(
    "--tasks", type=click.IntRange(1, 10_000_000), help="No faults: a large cluster comes to run so many tasks."
)
@flags.scheduler("spread")
@click.option("--worlds", default=1, show_default=True, type=click.IntRange(1), help="How many seeds, from --seed on.")
@click.option("--steps", default=60, show_default=True, type=click.IntRange(1), help="Faults and wishes in each world.")
@click.option("--mixed", is_flag=True, help="Worlds of 1 to 6 nodes and 20 to 120 steps, by their seeds.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 256), help="Worlds side by side.")
@click.option(
    "--shrink", type=_FILE, help="Make the world of --seed as short as still breaks, and keep it in this file."
)
@click.option("--script", type=_FILE, help="Play the world of this file.")
@pass_settings
def simulate(
    settings: Settings,
    /,
    shrink: Path | None,
    script: Path | None,
    seed: int,
    nodes: int,
    tasks: int | None,
    scheduler: str,
    steps: int,
    worlds: int,
    mixed: bool,
    jobs: int,
) -> None:
    """Run whole clusters in virtual time, with faults, and tell what happened.

    With --tasks there are no faults but many nodes, and it tells how long each part of their day took.
    Exits with 1 if a world broke a rule that must always hold, or did not come to rest as wished.
    """
    from longshore.simulate import telling
    from longshore.simulate.many import mixed as size_of

    if tasks is not None:
        sys.exit(
            telling.tell_fleet(
                seed=seed,
                nodes=nodes,
                tasks=tasks,
                policy=scheduler,
                as_json=settings.as_json,
                echo=click.echo,
                aside=partial(click.echo, err=True),
            )
        )
    if script is not None:
        sys.exit(telling.tell_script(script, click.echo))
    if shrink is not None:
        size = size_of(seed) if mixed else None
        nodes, steps = (size.nodes, size.steps) if size is not None else (nodes, steps)
        sys.exit(telling.tell_short(seed=seed, nodes=nodes, steps=steps, file=shrink, echo=click.echo))
    sys.exit(
        telling.tell(
            seed=seed,
            nodes=nodes,
            worlds=worlds,
            steps=steps,
            as_json=settings.as_json,
            echo=click.echo,
            sizes_vary=mixed,
            jobs=jobs,
        )
    )
