"""The root of the command line: commands by name, options that every command takes, and the one place where a failure
becomes words and an exit code.

Knows click and where each command lives. Must not import a command's module before that command is called, nor the
client: `longshore ps` is typed all day, and help or a completion should not wait for a cluster's code at all.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
import msgspec

from longshore import __version__
from longshore.cli.exits import INTERRUPTED, exit_of, problem_of
from longshore.model.errors import Failure, Invalid

if TYPE_CHECKING:
    from longshore.client import Client

PLACES = {
    "up": "longshore.cli.apps:up",
    "down": "longshore.cli.apps:down",
    "run": "longshore.cli.running:run",
    "ls": "longshore.cli.services:ls",
    "ps": "longshore.cli.tasks:ps",
    "logs": "longshore.cli.logs:logs",
    "why": "longshore.cli.reasons:why",
    "events": "longshore.cli.events:events",
    "scale": "longshore.cli.services:scale",
    "restart": "longshore.cli.services:restart",
    "rollout": "longshore.cli.rollouts:rollout",
    "rollback": "longshore.cli.rollouts:rollback",
    "rebalance": "longshore.cli.balance:rebalance",
    "rm": "longshore.cli.services:rm",
    "inspect": "longshore.cli.records:inspect",
    "endpoints": "longshore.cli.endpoints:endpoints",
    "nodes": "longshore.cli.nodes:nodes",
    "node": "longshore.cli.nodes:node",
    "volume": "longshore.cli.volumes:volume",
    "token": "longshore.cli.tokens:token",
    "backup": "longshore.cli.backup:backup",
    "completion": "longshore.cli.completion:completion",
    "client": "longshore.cli.prompt:client",
    "cube": "longshore.cli.cube:cube",
}
"""Every command of this package, in the order in which help shows them: `module:name`."""


class Settings:
    """What the options of every command say, wherever on the line they stood."""

    def __init__(self) -> None:
        self.url: str | None = None
        self.token_file: str | None = None
        self.data: str | None = None
        self.as_json = False

    def client(self) -> "Client":
        """The client of the cluster that is meant. Raises Invalid or Denied if none can be made."""
        from longshore.client import Client, Target

        return Client.at(Target.find(self.url, self.token_file, self.data, os.environ))


class _SharedOption(click.Option):
    """An option that every command takes."""


def _keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Note an option in the settings; one that was left out here may have been given further left."""
    settings = ctx.ensure_object(Settings)
    if value and option.name is not None:
        setattr(settings, option.name, value)


def _shared_options() -> list[click.Parameter]:
    def option(*names: str, help: str, **more: Any) -> click.Parameter:
        return _SharedOption(names, help=help, expose_value=False, callback=_keep, **more)

    return [
        option("--url", metavar="URL", help="Manager to ask. [LONGSHORE_URL, or the data folder's own]"),
        option("--token-file", metavar="FILE", help="Token to show. [LONGSHORE_TOKEN, LONGSHORE_TOKEN_FILE]"),
        option("--data", metavar="DIR", help="A manager's data folder. [LONGSHORE_DATA]"),
        option("--json", "as_json", is_flag=True, help="Answer in JSON; errors too."),
    ]


class _Sharing(click.Command):
    """A command or group with the shared options, shown apart from its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                (shared if isinstance(param, _SharedOption) else own).append(record)
        with formatter.section("Options"):
            formatter.write_dl(own)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        with formatter.section("Options of every command"):
            formatter.write_dl(shared)


class Command(_Sharing):
    """A command with examples in its help."""

    def __init__(self, name: str | None, *, examples: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.examples = tuple(examples)
        self.params += _shared_options()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples are lines to copy, so they are not wrapped."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class CommandGroup(_Sharing, click.Group):
    """Commands about one noun."""

    command_class = Command

    def __init__(self, name: str | None = None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.params += _shared_options()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


class LazyGroup(CommandGroup):
    """The root: imports a command's module when it is asked for."""

    def __init__(self, name: str | None = None, *, places: dict[str, str] | None = None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self._places = dict(places or {})

    def add_lazy(self, name: str, place: str) -> None:
        """Add the command that `place` (`module:name`) will turn out to be."""
        self._places[name] = place

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys([*self._places, *self.commands]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._places and cmd_name not in self.commands:
            module, _, attribute = self._places[cmd_name].partition(":")
            self.add_command(getattr(import_module(module), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """As click has it, but that every failure ends with its own exit code."""
        name = prog_name or "longshore"
        if not standalone_mode:
            return super().main(args, name, complete_var, standalone_mode=False, **extra)
        given = sys.argv[1:] if args is None else list(args)
        sys.exit(self._run(given, name, complete_var, extra))

    def _run(self, given: list[str], name: str, complete_var: str | None, extra: dict[str, Any]) -> int:
        """The exit code. What the line asks for may be wrong before its options are read, so --json is looked up."""
        as_json = "--json" in given
        try:
            code = super().main(given, name, complete_var, standalone_mode=False, **extra)
        except click.Abort:
            return INTERRUPTED
        except click.ClickException as error:
            return _tell_usage(error, as_json)
        except BrokenPipeError:
            # Whoever read has gone; Python would complain once more when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except Failure as failure:
            return tell_failure(failure, as_json)
        return code if isinstance(code, int) else 0


def tell_failure(failure: Failure, as_json: bool) -> int:
    """Say on stderr what failed; returns the exit code."""
    if as_json:
        click.echo(msgspec.json.encode(problem_of(failure)), err=True)
    else:
        click.echo(f"{click.style('Error:', fg='red')} {failure.message}", err=True)
    return exit_of(failure)


def _tell_usage(error: click.ClickException, as_json: bool) -> int:
    if as_json and not isinstance(error, click.exceptions.NoArgsIsHelpError):
        return tell_failure(Invalid(error.format_message()), as_json)
    error.show()
    return error.exit_code


def command(name: str, *examples: str, **attributes: Any) -> Callable[[Callable[..., None]], Command]:
    """Make a command of a function; `examples` are whole lines for its help."""
    return click.command(name, cls=Command, examples=examples, **attributes)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


@click.group("longshore", cls=LazyGroup, places=PLACES)
@click.version_option(__version__, prog_name="longshore", message="%(prog)s %(version)s")
def root() -> None:
    """Run containers on a set of machines.

    `longshore dev` starts a cluster on this machine; `longshore up` runs a Compose file on it.
    """
