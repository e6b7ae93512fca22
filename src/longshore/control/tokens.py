"""Secrets that open the API: made here, told once, kept only as a hash.

Knows what makes a token valid; not which role opens what (that is the door's), nor how a secret travels. A secret has
256 random bits, so a plain SHA-256 of it is enough: there is nothing to guess that a slow hash would protect.
"""

import hashlib
import secrets
from enum import StrEnum

from longshore.model.objects import Role, Token
from longshore.model.snapshot import Snapshot

_PREFIX_OF = {Role.ADMIN: "lsa_", Role.JOIN: "lsj_", Role.NODE: "lsn_"}
"""So that a person, or a scanner of leaked secrets, sees what one is."""
_SECRET_BYTES = 32
_SECRET_MAX = 256
"""Characters; whatever is longer was not made here and is not worth hashing."""


class Standing(StrEnum):
    """What is true of a secret. For logs only: outside, all that are not valid sound the same."""

    VALID = "valid"
    UNKNOWN = "unknown or revoked"
    EXPIRED = "expired"
    SPENT = "used up"


def mint(
    role: Role, *, now: float, node: str = "", uses: int | None = None, lifetime_s: float | None = None
) -> tuple[Token, str]:
    """A new token's record, and its secret, which is nowhere else.

    A node has one token: the record of its next one has the same id and takes the place of the last.
    """
    secret = _PREFIX_OF[role] + secrets.token_urlsafe(_SECRET_BYTES)
    digest = _digest(secret)
    token = Token(
        id=f"node-{node}" if role is Role.NODE else digest[:12],
        role=role,
        sha256=digest,
        node=node,
        uses_left=uses if role is Role.JOIN else None,
        created_at=now,
        expires_at=None if lifetime_s is None else now + lifetime_s,
    )
    return token, secret


def verify(world: Snapshot, secret: str, now: float) -> Token | None:
    """The token that `secret` is valid for."""
    token, standing = examine(world, secret, now)
    return token if standing is Standing.VALID else None


def examine(world: Snapshot, secret: str, now: float) -> tuple[Token | None, Standing]:
    """The token that `secret` belongs to, if any, and how it stands."""
    found = None
    if len(secret) <= _SECRET_MAX:
        # How long a look-up takes says something of hashes at most, and nobody can make a secret for a hash.
        found = world.token_of(_digest(secret))
    if found is None:
        return None, Standing.UNKNOWN
    if found.expires_at is not None and now >= found.expires_at:
        return found, Standing.EXPIRED
    if found.uses_left is not None and found.uses_left <= 0:
        return found, Standing.SPENT
    return found, Standing.VALID


def _digest(secret: str) -> str:
    # A secret comes from outside and may hold anything; what cannot be encoded is simply not a secret of ours.
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
