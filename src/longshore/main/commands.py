"""The commands that serve: manager, worker, dev, restore, simulate. They import their parts only when they run."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from longshore.cli.exits import EXIT_OF
from longshore.client import default_data_dir
from longshore.model.errors import Failure, Invalid

SCHEDULERS = ("spread", "binpack", "epvm", "first-fit", "round-robin")

_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="LONGSHORE_DATA",
    help="Folder for state and tokens.  [default: /var/lib/longshore as root, else ~/.local/share/longshore]",
)
_log = (
    click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"),
    click.option("--log-format", type=click.Choice(["json", "console"]), help="[default: console on a terminal]"),
)


def add_server_commands(root: click.Group) -> None:
    """Give the command line the commands that need the whole program."""
    for command in (manager, worker, dev, restore, simulate):
        root.add_command(command)


def _logged(command: Any) -> Any:  # noqa: ANN401  (a decorator of click's own decorators)
    for option in reversed(_log):
        command = option(command)
    return command


@click.command(epilog="Example: longshore manager -H 10.0.0.1 --data /var/lib/longshore")
@click.option("-H", "--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("-p", "--port", default=7440, show_default=True, type=click.IntRange(0, 65535))
@_data
@click.option("--store", default="", help="memory, or sqlite:///PATH.  [default: longshore.db in the data folder]")
@click.option("--scheduler", type=click.Choice(SCHEDULERS), default="spread", show_default=True)
@click.option(
    "--worker", "-w", "workers", multiple=True, metavar="HOST:PORT", help="A worker to dial; may be repeated."
)
@click.option("--worker-token", type=click.Path(path_type=Path, dir_okay=False), help="[default: DATA/worker.token]")
@click.option("--heartbeat-timeout", default=5.0, show_default=True, type=click.FloatRange(0.5), help="Seconds.")
@click.option("--no-auth", is_flag=True, help="Ask nobody for a token; on a loopback address only.")
@_logged
def manager(
    host: str,
    port: int,
    data: Path | None,
    store: str,
    scheduler: str,
    workers: tuple[str, ...],
    worker_token: Path | None,
    heartbeat_timeout: float,
    no_auth: bool,
    log_level: str,
    log_format: str | None,
) -> None:
    """Keep what is wished, and decide."""
    from longshore.main.manager import ManagerSettings, RunningManager, running_manager

    settings = ManagerSettings(
        folder=data or default_data_dir(),
        host=host,
        port=port,
        store=store,
        scheduler=scheduler,
        workers=workers,
        worker_token=worker_token,
        auth=not no_auth,
        heartbeat_timeout_s=heartbeat_timeout,
    )

    async def serve() -> None:
        async with running_manager(settings) as running:
            _announce(running)
            await asyncio.Event().wait()

    def _announce(running: RunningManager) -> None:
        click.echo(f"manager on {running.url}; token in {settings.folder / 'admin.token'}", err=True)

    _serve(serve(), log_level, log_format)


@click.command(epilog="Example: longshore worker -n rack1 --join http://10.0.0.1:7440 --token join.token")
@click.option("-n", "--name", default=None, help="Name of the node.  [default: the host's name]")
@click.option("-H", "--host", default="127.0.0.1", show_default=True, help="Address to be dialled at, without --join.")
@click.option("-p", "--port", default=7441, show_default=True, type=click.IntRange(0, 65535))
@click.option("--join", default="", metavar="URL", help="The manager to dial.")
@click.option("--token", type=click.Path(path_type=Path, dir_okay=False), help="File with the token for --join.")
@click.option("--engine", default="", metavar="URL", help="[default: $DOCKER_HOST, else /var/run/docker.sock]")
@click.option("--address", default="", help="Where published ports answer.  [default: the address towards the manager]")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the node, taken when it joins.")
@_data
@_logged
def worker(
    name: str | None,
    host: str,
    port: int,
    join: str,
    token: Path | None,
    engine: str,
    address: str,
    labels: tuple[str, ...],
    data: Path | None,
    log_level: str,
    log_format: str | None,
) -> None:
    """Run containers on this machine for a manager."""
    from longshore.main.worker import WorkerSettings, run_worker

    settings = WorkerSettings(
        name=name or socket.gethostname().split(".")[0],
        folder=data or default_data_dir() / "worker",
        engine=engine,
        join=join,
        token=token,
        host=host,
        port=port,
        address=address,
        labels=dict(_pair(label) for label in labels),
    )
    _serve(run_worker(settings), log_level, log_format)


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
    return key, value


@click.command(epilog="Example: longshore dev --nodes 3")
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(1, 100), help="Workers, n1, n2 and so on.")
@click.option("-H", "--host", default="127.0.0.1", show_default=True)
@click.option("-p", "--port", default=7440, show_default=True, type=click.IntRange(0, 65535))
@_data
@click.option("--store", default="", help="memory, or sqlite:///PATH.  [default: longshore.db in the data folder]")
@click.option("--engine", default="", metavar="URL", help="An engine's URL, or fake for a simulated one.")
@click.option("--scheduler", type=click.Choice(SCHEDULERS), default="spread", show_default=True)
@click.option("--heartbeat-timeout", default=5.0, show_default=True, type=click.FloatRange(0.5), help="Seconds.")
@click.option("--no-auth", is_flag=True, help="Ask nobody for a token; on a loopback address only.")
@_logged
def dev(
    nodes: int,
    host: str,
    port: int,
    data: Path | None,
    store: str,
    engine: str,
    scheduler: str,
    heartbeat_timeout: float,
    no_auth: bool,
    log_level: str,
    log_format: str | None,
) -> None:
    """A manager and its workers in one program, on this machine's engine."""
    from longshore.main.dev import run_dev
    from longshore.main.manager import ManagerSettings, RunningManager

    settings = ManagerSettings(
        folder=data or default_data_dir(),
        host=host,
        port=port,
        store=store,
        scheduler=scheduler,
        auth=not no_auth,
        heartbeat_timeout_s=heartbeat_timeout,
    )

    def started(running: RunningManager) -> None:
        where = f" --data {settings.folder}" if data is not None else ""
        click.echo(f"cluster of {nodes} on {running.url}; try: longshore{where} nodes", err=True)

    _serve(run_dev(settings, nodes=nodes, engine=engine, started=started), log_level, log_format)


@click.command(epilog="Example: longshore restore monday.backup --data /var/lib/longshore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_data
def restore(file: Path, data: Path | None) -> None:
    """Put a backup in the place of a stopped manager's store. What was there is kept beside it."""
    from longshore.main import folder
    from longshore.main.manager import STORE_FILE
    from longshore.store.sqlite import restore as put_back

    def run() -> None:
        where = folder.prepare(data or default_data_dir())
        aside = put_back(file, where / STORE_FILE, at=time.time())
        click.echo(f"restored {where / STORE_FILE}" + (f"; the former one is {aside}" if aside else ""))

    _ends(run)


@click.command(epilog="Example: longshore simulate --seed 7 --nodes 5")
@click.option("--seed", default=0, show_default=True, help="The world's seed; the same seed is the same story.")
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(1, 1000))
@click.option("--worlds", default=1, show_default=True, type=click.IntRange(1), help="How many seeds, from --seed on.")
@click.option("--steps", default=60, show_default=True, type=click.IntRange(1), help="Faults and wishes in each world.")
@click.option("--json", "as_json", is_flag=True, help="Print what came out as JSON.")
def simulate(seed: int, nodes: int, worlds: int, steps: int, as_json: bool) -> None:
    """Run whole clusters in virtual time, with faults, and tell what happened."""
    from longshore.simulate.telling import tell

    sys.exit(tell(seed=seed, nodes=nodes, worlds=worlds, steps=steps, as_json=as_json, echo=click.echo))


def _serve(main: Coroutine[Any, Any, None], log_level: str, log_format: str | None) -> None:
    """Run a server until SIGINT or SIGTERM."""
    from longshore.main import sight

    sight.speak(level=log_level, form=log_format)
    _ends(lambda: asyncio.run(_until_signalled(main)))


async def _until_signalled(main: Coroutine[Any, Any, None]) -> None:
    serving = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    asked = False

    def stop() -> None:
        nonlocal asked
        asked = True
        serving.cancel()

    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop)
    try:
        await serving
    except asyncio.CancelledError:
        if not asked:
            raise


def _ends(run: Any) -> None:  # noqa: ANN401
    """Call `run`; an expected failure becomes a sentence and an exit code, a bug its traceback."""
    try:
        run()
    except* Failure as failures:
        failure = _first(failures)
        where = f"{failure.field}: " if isinstance(failure, Invalid) and failure.field else ""
        click.echo(f"longshore: {where}{failure.message}", err=True)
        sys.exit(EXIT_OF[type(failure)])


def _first(failures: BaseExceptionGroup[Failure]) -> Failure:
    one: BaseException = failures
    while isinstance(one, BaseExceptionGroup):
        one = one.exceptions[0]
    assert isinstance(one, Failure)
    return one
