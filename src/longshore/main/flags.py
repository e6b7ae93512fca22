"""The flags of the servers, in all the spellings that people bring along, and what they come to.

Older orchestrators of the same descent spell the same wishes differently (`-st persisted`, `--dbType persistent`,
`--schedulerType`, `CUBE_MANAGER_PORT`); every one of these is one option here, so that a line from one of their pages
works. Must not know how a server is made.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from longshore.model.errors import Invalid

SCHEDULERS = ("spread", "binpack", "alignment", "epvm", "first-fit", "round-robin", "roundrobin", "greedy")
_ALIASES = {"default": "first-fit", "firstfit": "first-fit"}
"""Other names of policies."""

STORES = ("memory", "persisted", "persistent")

F = TypeVar("F", bound=Callable[..., None])


def options(*added: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator."""

    def decorate(function: F) -> F:
        for option in reversed(added):
            function = option(function)
        return function

    return decorate


class _Scheduler(click.Choice[str]):
    """A policy by any of its names."""

    def __init__(self) -> None:
        super().__init__(SCHEDULERS)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if "=" in value:
            return self._weights(value, param, ctx)
        return super().convert(_ALIASES.get(value, value), param, ctx)

    def _weights(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from longshore.decide.placement.scoring.policies import policy_named  # late: it needs NumPy

        try:
            return policy_named(value).name
        except Invalid as fault:
            self.fail(fault.message, param, ctx)


def _parted(ctx: click.Context, param: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    """Several values of one option: repeated, parted by commas, or both."""
    return tuple(one.strip() for word in words for one in word.split(",") if one.strip())


def listen_at(port: int, *, variables: str = "", help: str = "Address to listen on.") -> Callable[[F], F]:
    """Where a server listens. `variables` is the Cube program whose variables count: its own before those of all."""
    hosts = [f"CUBE_{variables}_HOST", "CUBE_HOST"] if variables else None
    ports = [f"CUBE_{variables}_PORT", "CUBE_PORT"] if variables else None
    shown = bool(variables)
    return options(
        click.option(
            "-H",
            "--host",
            default="127.0.0.1",
            show_default=True,
            envvar=hosts,
            show_envvar=shown,
            help=help,
        ),
        click.option(
            "-p",
            "--port",
            default=port,
            show_default=True,
            envvar=ports,
            show_envvar=shown,
            type=click.IntRange(0, 65535),
        ),
    )


def scheduler(default: str) -> Callable[[F], F]:
    return click.option(
        "-s",
        "-sct",
        "--scheduler",
        "--schedulerType",
        "scheduler",
        type=_Scheduler(),
        default=default,
        show_default=True,
        help="Policy by which nodes are chosen, or weights: spread=2,image=1; default and firstfit are first-fit.",
    )


def workers(name: str, default: str | None = None) -> Callable[[F], F]:
    return click.option(
        "-w",
        name,
        "workers",
        multiple=True,
        metavar="HOST:PORT",
        default=[default] if default else None,
        show_default=default or False,
        callback=_parted,
        help="A worker to dial; repeatable, or parted by commas.",
    )


store_type = click.option(
    "-st",
    "--storeType",
    "-d",
    "--dbType",
    "--dbtype",
    "store_type",
    type=click.Choice(STORES),
    help="memory, or one of the others for the data folder's own file.  [default: persistent]",
)

keeping = options(
    click.option("--store", default="", help="memory, or sqlite:///PATH.  [default: longshore.db in the data folder]"),
    store_type,
)

serving = options(
    click.option("--heartbeat-timeout", default=5.0, show_default=True, type=click.FloatRange(0.5), help="Seconds."),
    click.option("--no-auth", is_flag=True, help="Ask nobody for a token; on a loopback address only."),
    click.option("--no-compat", is_flag=True, help="Serve /v1 alone, without the routes of other orchestrators."),
)

_MANY = click.IntRange(1, 10_000_000)
KEPT = {"keep_tasks": "tasks", "keep_releases": "releases", "keep_postings": "postings", "keep_jobs": "jobs_s"}
"""The fields of `model.retention.Retention`, by their flags."""

retention = options(
    click.option("--keep-tasks", default=3, show_default=True, type=_MANY, help="Ended tasks of each slot, with logs."),
    click.option("--keep-releases", default=10, show_default=True, type=_MANY, help="Releases of each service."),
    click.option("--keep-postings", default=1000, show_default=True, type=_MANY, help="Posted tasks that are over."),
    click.option(
        "--keep-jobs", type=click.FloatRange(0.0), metavar="SECONDS", help="After they are done.  [default: for ever]"
    ),
    click.option(
        "--keep-events",
        default=100_000,
        show_default=True,
        type=click.IntRange(1000, 100_000_000),
        help="Of the log, in the store's file; in memory at most 10,000.",
    ),
)

logging = options(
    click.option(
        "--log-level",
        "--logLevel",
        "log_level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
    ),
    click.option("--log-format", type=click.Choice(["json", "console"]), help="[default: console on a terminal]"),
)


def store_of(store: str, store_type: str | None) -> str:
    """The one store that the two options name. Raises UsageError if both do."""
    if store and store_type:
        raise click.UsageError("--store and -st name the store twice; give one of them.")
    return "memory" if store_type == "memory" else store
