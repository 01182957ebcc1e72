"""Tokens as strangers may sign them: whatever a claim holds, the answer is a refusal and never an error."""

import base64
import contextlib
import json

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jwt.algorithms import HMACAlgorithm

from services.gateway.tokens import Tokens, secret_key
from tidings.errors import Refused

GOOD_SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
WALL_MS = 1_764_000_000_000


def claims(**changes: object) -> dict[str, object]:
    return {"sub": "alice", "aud": "tidings", "iat": WALL_MS // 1000, "exp": WALL_MS // 1000 + 60, **changes}


_NUMBERS = (
    st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats()
    | st.sampled_from([10**399, -(10**399), 1e308, 2**63, 2**1023, 2**1024, float("nan"), float("inf"), -1, 0])
)
_ANYTHING = _NUMBERS | st.booleans() | st.none() | st.text(max_size=20) | st.lists(_NUMBERS, max_size=3)


@pytest.mark.field_case("33")
@given(claim=st.sampled_from(["exp", "iat", "nbf", "sub", "aud", "jti"]), value=_ANYTHING)
@example(claim="exp", value=10**399)
@example(claim="nbf", value=float("inf"))
@example(claim="iat", value=10**399)
def test_no_claim_raises_anything_but_a_refusal(claim: str, value: object) -> None:
    tokens = Tokens([secret_key(GOOD_SECRET)], "tidings")
    signed = jwt.api_jws.encode(json.dumps(claims(**{claim: value})).encode(), GOOD_SECRET, algorithm="HS256")
    with contextlib.suppress(Refused):
        assert 0 < tokens.verify(signed, WALL_MS).valid_for_ms < 2**53


@pytest.mark.field_case("33")
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1", [], {}, None])
def test_a_time_that_is_no_number_is_unauthorized(claim: str, value: object) -> None:
    tokens = Tokens([secret_key(GOOD_SECRET)], "tidings")
    signed = jwt.api_jws.encode(json.dumps(claims(**{claim: value})).encode(), GOOD_SECRET, algorithm="HS256")
    with pytest.raises(Refused) as refused:
        tokens.verify(signed, WALL_MS)
    assert refused.value.code == "unauthorized"


@pytest.mark.field_case("33")
def test_a_token_that_begins_soon_is_taken_at_once() -> None:
    tokens = Tokens([secret_key(GOOD_SECRET)], "tidings")
    soon = jwt.encode(claims(nbf=WALL_MS // 1000 + 30, iat=WALL_MS // 1000 + 30), GOOD_SECRET)
    assert tokens.verify(soon, WALL_MS).user_id == "alice"
    with pytest.raises(Refused, match="not valid yet"):
        tokens.verify(jwt.encode(claims(nbf=WALL_MS // 1000 + 31), GOOD_SECRET), WALL_MS)


@pytest.mark.field_case("33")
@pytest.mark.parametrize("part", [0, 1])
def test_a_token_nested_too_deep_is_unauthorized(part: int) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 5_000).decode().rstrip("=")
    parts = jwt.encode(claims(), GOOD_SECRET, algorithm="HS256").split(".")
    parts[part] = deep
    if part == 1:
        key = HMACAlgorithm(HMACAlgorithm.SHA256)
        signature = key.sign(".".join(parts[:2]).encode(), GOOD_SECRET.encode())
        parts[2] = base64.urlsafe_b64encode(signature).decode().rstrip("=")
    with pytest.raises(Refused) as refused:
        Tokens([secret_key(GOOD_SECRET)], "tidings").verify(".".join(parts), WALL_MS)
    assert refused.value.code == "unauthorized"
