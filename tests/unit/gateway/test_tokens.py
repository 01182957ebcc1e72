"""Tokens: which are taken, and that any other, whatever a claim holds, is refused and never an error."""

import base64
import contextlib
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st
from jwt.algorithms import HMACAlgorithm

from services.gateway.tokens import Tokens, issue, public_keys, secret_key
from tidings.errors import Refused

GOOD_SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
WALL_MS = 1_764_000_000_000
TOKENS = Tokens([secret_key(GOOD_SECRET)], "tidings")


def claims(**changes: object) -> dict[str, object]:
    return {"sub": "alice", "aud": "tidings", "iat": WALL_MS // 1000, "exp": WALL_MS // 1000 + 60, **changes}


def refused_code(token: str, tokens: Tokens = TOKENS) -> str:
    with pytest.raises(Refused) as refused:
        tokens.verify(token, WALL_MS)
    return refused.value.code


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
    signed = jwt.api_jws.encode(json.dumps(claims(**{claim: value})).encode(), GOOD_SECRET, algorithm="HS256")
    with contextlib.suppress(Refused):
        assert 0 < TOKENS.verify(signed, WALL_MS).valid_for_ms < 2**53


@pytest.mark.field_case("33")
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1", [], {}, None])
def test_a_time_that_is_no_number_is_unauthorized(claim: str, value: object) -> None:
    signed = jwt.api_jws.encode(json.dumps(claims(**{claim: value})).encode(), GOOD_SECRET, algorithm="HS256")
    assert refused_code(signed) == "unauthorized"


@pytest.mark.field_case("33")
def test_a_token_that_begins_soon_is_taken_at_once() -> None:
    soon = jwt.encode(claims(nbf=WALL_MS // 1000 + 30, iat=WALL_MS // 1000 + 30), GOOD_SECRET)
    assert TOKENS.verify(soon, WALL_MS).user_id == "alice"
    with pytest.raises(Refused, match="not valid yet"):
        TOKENS.verify(jwt.encode(claims(nbf=WALL_MS // 1000 + 31), GOOD_SECRET), WALL_MS)


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
    assert refused_code(".".join(parts)) == "unauthorized"


@pytest.mark.bad_input("B1")
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_any_token_is_refused_with_a_code(token: str) -> None:
    assert refused_code(token) in ("unauthorized", "token_expired")


def pem_of(key: Any) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def test_tokens_of_every_public_key_in_the_file_are_taken() -> None:
    keys: dict[str, Any] = {
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "RS256": rsa.generate_private_key(65537, 2048),
    }
    tokens = Tokens(public_keys("\n".join(pem_of(key) for key in keys.values())), "tidings")
    for algorithm, key in keys.items():
        identity = tokens.verify(jwt.encode(claims(), key, algorithm=algorithm), WALL_MS)
        assert (identity.user_id, identity.valid_for_ms) == ("alice", 65_000)
    foreign = jwt.encode(claims(), ed25519.Ed25519PrivateKey.generate(), algorithm="EdDSA")
    with pytest.raises(Refused, match="no key of this deployment"):
        tokens.verify(foreign, WALL_MS)


def test_a_public_key_is_never_taken_for_a_secret() -> None:
    key = rsa.generate_private_key(65537, 2048)
    tokens = Tokens(public_keys(pem_of(key)), "tidings")
    for forged in (jwt.encode(claims(), "x" * 40), jwt.encode(claims(), "", algorithm="none")):
        assert refused_code(forged, tokens) == "unauthorized"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": WALL_MS // 1000 - 5}, "token_expired"),
        ({"exp": "soon"}, "unauthorized"),
        ({"exp": True}, "unauthorized"),
        ({"aud": "other"}, "unauthorized"),
        ({"sub": "a b"}, "unauthorized"),
        ({"nbf": 4_000_000_000}, "unauthorized"),
    ],
)
def test_claims_are_judged(changes: dict[str, object], code: str) -> None:
    assert refused_code(jwt.encode(claims(**changes), GOOD_SECRET)) == code


@pytest.mark.parametrize("missing", ["sub", "aud", "iat", "exp"])
def test_every_claim_is_required(missing: str) -> None:
    token = jwt.encode({name: value for name, value in claims().items() if name != missing}, GOOD_SECRET)
    assert refused_code(token) == "unauthorized"


def test_a_token_holds_5_s_beyond_its_exp() -> None:
    token = jwt.encode(claims(exp=WALL_MS // 1000), GOOD_SECRET)
    assert TOKENS.verify(token, WALL_MS + 4_999).valid_for_ms == 1
    with pytest.raises(Refused, match="token_expired"):
        TOKENS.verify(token, WALL_MS + 5_000)


@pytest.mark.field_case("1")
@pytest.mark.parametrize("dots", [".", "..", "..."])
def test_token_of_dots_is_unauthorized(dots: str) -> None:
    token, _ = issue(GOOD_SECRET.encode(), "tidings", dots, WALL_MS, 60)
    assert refused_code(token) == "unauthorized"
