"""Completion: what a shell needs to finish words of this command line."""

import click

from longshore.cli.group import Settings, command, pass_settings
from longshore.cli.tables import show_json


@command(
    "completion",
    'eval "$(longshore completion bash)"',
    "longshore completion zsh > ~/.zfunc/_longshore",
    "longshore completion fish > ~/.config/fish/completions/longshore.fish",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
@pass_settings
def completion(settings: Settings, ctx: click.Context, shell: str) -> None:
    """Print a completion script for your shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells that are offered"
    script = kind(ctx.find_root().command, {}, "longshore", "_LONGSHORE_COMPLETE").source()
    if settings.as_json:
        show_json({"shell": shell, "script": script})
    else:
        click.echo(script)
