"""One service from the command line alone, without a file."""

import re

import click

from longshore.cli.convergence import Goal
from longshore.cli.following import Ending, Waiting, finish
from longshore.cli.group import Command, Settings, pass_settings
from longshore.cli.parameters import MOUNT, PORT, SIZE, VARIABLE, waiting
from longshore.cli.tables import show_json
from longshore.model.errors import Conflict
from longshore.model.spec import Mode, Mount, PlacementRules, Port, Pull, Resources, ServiceSpec


class RunCommand(Command):
    """A command whose options end where the container's command begins."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `--` before COMMAND, so that its own options are left to it: `sh -c` is nothing of ours."""
        at = self._command_at(ctx, args)
        if at is not None:
            own = {name for param in self.get_params(ctx) for name in param.opts if name.startswith("--")}
            stray = next((word for word in args[at:] if word.split("=")[0] in own), None)
            if stray is not None:
                raise click.UsageError(
                    f"{stray} stands after the command and would go to the container; put it before the command, "
                    "or -- before the command if it is meant so.",
                    ctx,
                )
            args = [*args[:at], "--", *args[at:]]
        return super().parse_args(ctx, args)

    def _command_at(self, ctx: click.Context, args: list[str]) -> int | None:
        """Where COMMAND begins: at the second word that is neither an option nor an option's value."""
        takes_value = {
            name: not (param.is_flag or param.count)
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            for name in (*param.opts, *param.secondary_opts)
        }
        words, at = 0, 0
        while at < len(args):
            if args[at] == "--":
                return None
            if args[at].startswith("-") and len(args[at]) > 1:
                at += 2 if takes_value.get(args[at], False) else 1
                continue
            words += 1
            if words == 2:
                return at
            at += 1
        return None


@click.command(
    "run",
    cls=RunCommand,
    examples=(
        "longshore run nginx:1.27 --name web --replicas 3 --publish 8080:80 --wait",
        "longshore run --mode job --wait busybox sh -c 'echo done'",
        "longshore run postgres:17 --name db --cpu 0.5 --memory 256m --env PGDATA=/data --mount db:/data",
    ),
)
@click.argument("image")
@click.argument("words", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--name", metavar="NAME", help="Name of the service. [from the image]")
@click.option("--replicas", type=click.IntRange(0), default=1, metavar="N", help="Tasks to keep; of a job, to finish.")
@click.option("--mode", type=click.Choice([str(mode) for mode in Mode]), default="replicated", help="[replicated]")
@click.option(
    "-p", "--publish", type=PORT, multiple=True, metavar="[[IP:]HOST:]CONTAINER[/udp]", help="Reach a port on the node."
)
@click.option("-e", "--env", type=VARIABLE, multiple=True, metavar="KEY[=VALUE]", help="Set a variable, or pass it on.")
@click.option("--cpu", type=click.FloatRange(0), default=0.0, metavar="CORES", help="Cores to set aside for each task.")
@click.option("--memory", type=SIZE, default="0", metavar="SIZE", help="Memory to set aside for each task.")
@click.option(
    "--mount", type=MOUNT, multiple=True, metavar="SOURCE:TARGET[:ro]", help="Volume or path; also type=…,target=…."
)
@click.option("--constraint", multiple=True, metavar="RULE", help="Such as node.labels.zone==a. All must hold.")
@click.option("--single-writer", is_flag=True, help="Never run two of a slot, also where a node is cut off.")
@click.option("--priority", type=int, default=0, metavar="N", help="Where there is no room, a higher one displaces.")
@click.option("--pull", type=click.Choice([str(pull) for pull in Pull]), default="missing", help="[missing]")
@waiting(default=False)
@pass_settings
def run(
    settings: Settings,
    image: str,
    words: tuple[str, ...],
    name: str | None,
    replicas: int,
    mode: str,
    publish: tuple[Port, ...],
    env: tuple[tuple[str, str], ...],
    cpu: float,
    memory: int,
    mount: tuple[Mount, ...],
    constraint: tuple[str, ...],
    single_writer: bool,
    priority: int,
    pull: str,
    wait: bool,
    timeout_s: float,
    steady_s: float,
) -> None:
    """Run an image as a new service.

    Options stand before COMMAND; what follows belongs to the container. With --wait, exits with 0 once all tasks are
    ready, or a job has finished.
    """
    spec = ServiceSpec(
        image=image,
        command=words or None,
        mode=Mode(mode),
        replicas=replicas,
        ports=publish,
        env=dict(env),
        resources=Resources(cpu=cpu, memory=memory),
        mounts=mount,
        placement=PlacementRules(constraints=constraint),
        pull=Pull(pull),
        single_writer=single_writer,
        priority=priority,
    )
    name = name or name_of(image)
    with settings.client() as client:
        try:
            view = client.put_service(name, spec, if_absent=True)
        except Conflict as taken:
            if name not in {one.name for one in client.services()}:
                raise  # it is something of it that another has
            raise Conflict(
                f"there is a service {name} already; give another --name, or remove it with `longshore rm {name}`"
            ) from taken
        if not settings.as_json:
            click.echo(f"{view.name} is created")
        if wait:
            waiting_for = Waiting(timeout_s, steady_s)
            goal = Goal(settle=(view.name,), release=True)
            finish(client, goal, [], waiting_for, Ending(outcome=""), as_json=settings.as_json)
        elif settings.as_json:
            show_json(view)


def name_of(image: str) -> str:
    """`registry:5000/team/Web_App:1.2@sha256:…` -> `web-app`."""
    last = image.split("@")[0].rsplit("/", 1)[-1].split(":")[0]
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")
