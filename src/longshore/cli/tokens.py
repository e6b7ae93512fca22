"""Tokens: what opens the cluster to workers and to other people."""

import time

import click

from longshore.cli.group import CommandGroup, Settings, pass_settings
from longshore.cli.parameters import LIFETIME, USES
from longshore.cli.tables import note, show, show_json
from longshore.cli.units import age, counted, span
from longshore.model.objects import Role
from longshore.model.views import TokenView, TokenWish


@click.group("token", cls=CommandGroup)
def token() -> None:
    """Create, list and revoke tokens."""


@token.command(
    "create",
    examples=(
        "longshore token create",
        "longshore token create --uses any --lifetime 24h",
        "longshore token create --role admin --lifetime ever > admin.token",
    ),
)
@click.option("--role", type=click.Choice([str(Role.JOIN), str(Role.ADMIN)]), default="join", help="[join]")
@click.option("--uses", type=USES, default="1", metavar="N|any", help="Workers that may join with it. [1]")
@click.option("--lifetime", type=LIFETIME, default="1h", metavar="SPAN|ever", help="How long it is good for. [1h]")
@pass_settings
def create(settings: Settings, role: str, uses: int | None, lifetime: float | None) -> None:
    """Make a token and print its secret, which is shown only now.

    A join token lets workers in; an admin token may do everything. Only the secret goes to standard output.
    """
    wish = TokenWish(role=Role(role), uses=uses if role == Role.JOIN else None, lifetime_s=lifetime)
    with settings.client() as client:
        view = client.create_token(wish)
    if settings.as_json:
        show_json(view)
        return
    click.echo(view.secret)
    limits = ", ".join(text for text in (_uses(view), _lifetime(view, view.created_at)) if text)
    note(f"Token {view.id} ({view.role}): {limits}. This secret is not kept.")


@token.command("ls", examples=("longshore token ls", "longshore token ls --json"))
@pass_settings
def ls(settings: Settings) -> None:
    """List tokens, without their secrets."""
    with settings.client() as client:
        found = list(client.tokens())
    if settings.as_json:
        show_json(found)
    elif not found:
        note("No tokens.")
    else:
        now = time.time()
        rows = [
            (one.id, one.role, one.node, _uses(one), _lifetime(one, now), age(one.created_at, now)) for one in found
        ]
        show(("TOKEN", "ROLE", "NODE", "USES", "LIFETIME", "AGE"), rows)


@token.command("rm", examples=("longshore token rm 3f9a2c",))
@click.argument("ids", metavar="TOKEN...", nargs=-1, required=True)
@pass_settings
def rm(settings: Settings, ids: tuple[str, ...]) -> None:
    """Revoke tokens. A worker that has joined keeps the token it made for itself."""
    with settings.client() as client:
        for id in ids:
            client.remove_token(id)
            if not settings.as_json:
                click.echo(f"{id} is revoked")
    if settings.as_json:
        show_json({"removed": ids})


def _uses(one: TokenView) -> str:
    """How often it may still be used; only joining uses a token up."""
    if one.role is not Role.JOIN:
        return ""
    return "any number of uses" if one.uses_left is None else f"{counted(one.uses_left, 'use')} left"


def _lifetime(one: TokenView, now: float) -> str:
    if one.expires_at is None:
        return "for ever"
    return f"good for {span(one.expires_at - now)}" if one.expires_at > now else "expired"
