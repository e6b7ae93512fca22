"""Which secrets open the door, and that nothing but their hash is kept."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from longshore.control.tokens import Standing, examine, mint, verify
from longshore.model.objects import Role, Token
from tests.situations import NOW, world

JOIN, SECRET = mint(Role.JOIN, now=NOW, uses=1, lifetime_s=60.0)
OTHER, _ = mint(Role.ADMIN, now=NOW)


@pytest.mark.parametrize(
    ("token", "secret", "at", "standing"),
    [
        pytest.param(JOIN, SECRET, NOW, Standing.VALID, id="valid"),
        pytest.param(JOIN, SECRET, NOW + 59.9, Standing.VALID, id="valid to the end"),
        pytest.param(JOIN, SECRET, NOW + 60.0, Standing.EXPIRED, id="expired"),
        pytest.param(replace(JOIN, expires_at=None), SECRET, NOW + 1e9, Standing.VALID, id="valid for ever"),
        pytest.param(replace(JOIN, uses_left=0), SECRET, NOW, Standing.SPENT, id="used up"),
        pytest.param(replace(JOIN, uses_left=None), SECRET, NOW, Standing.VALID, id="any number of uses"),
        pytest.param(JOIN, SECRET[:-1], NOW, Standing.UNKNOWN, id="a character short"),
        pytest.param(JOIN, SECRET + "A", NOW, Standing.UNKNOWN, id="a character long"),
        pytest.param(JOIN, SECRET.upper(), NOW, Standing.UNKNOWN, id="in capitals"),
        pytest.param(JOIN, "", NOW, Standing.UNKNOWN, id="empty"),
        pytest.param(JOIN, JOIN.sha256, NOW, Standing.UNKNOWN, id="its hash"),
        pytest.param(JOIN, JOIN.id, NOW, Standing.UNKNOWN, id="its id"),
        pytest.param(JOIN, "x" * 1_000_000, NOW, Standing.UNKNOWN, id="endless"),
        pytest.param(OTHER, SECRET, NOW, Standing.UNKNOWN, id="revoked"),
    ],
)
def test_standing(token: Token, secret: str, at: float, standing: Standing) -> None:
    situation = world(token, replace(OTHER, id="other"))
    assert examine(situation, secret, at)[1] is standing
    found = verify(situation, secret, at)
    assert (found is not None) == (standing is Standing.VALID)
    assert found is None or found.id == token.id


@pytest.mark.parametrize(("role", "prefix"), [(Role.ADMIN, "lsa_"), (Role.JOIN, "lsj_"), (Role.NODE, "lsn_")], ids=str)
def test_a_secret_says_what_it_is_for_and_is_nowhere_in_its_record(role: Role, prefix: str) -> None:
    token, secret = mint(role, now=NOW, node="n1" if role is Role.NODE else "")
    assert secret.startswith(prefix)
    assert len(secret) == len(prefix) + 43
    assert secret.encode() not in msgspec.json.encode(token)
    assert secret[4:].encode() not in msgspec.json.encode(token)
    assert verify(world(token), secret, NOW) == replace(token, revision=1)


def test_no_two_secrets_are_alike() -> None:
    assert len({mint(Role.JOIN, now=NOW)[1] for _ in range(100)}) == 100


def test_a_nodes_next_token_takes_the_place_of_its_last() -> None:
    first, old = mint(Role.NODE, now=NOW, node="n1")
    second, new = mint(Role.NODE, now=NOW, node="n1")
    assert first.id == second.id == "node-n1"
    assert verify(world(second), old, NOW) is None
    assert verify(world(second), new, NOW) is not None


def test_only_join_tokens_are_counted() -> None:
    assert mint(Role.ADMIN, now=NOW, uses=1)[0].uses_left is None
    assert mint(Role.JOIN, now=NOW, uses=3)[0].uses_left == 3


@given(st.text(st.characters(), max_size=300))
def test_whatever_is_said_at_the_door_is_not_valid(secret: str) -> None:
    assert verify(world(JOIN), secret, NOW) is None
