"""Tokens: JWTs with sub, aud, iat, exp. Time is an argument. Keys are read once at the start."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from services.gateway.protocol.identity import Identity
from tidings import ids
from tidings.errors import ConfigurationError, Refused

MIN_SECRET_BYTES = 32
LEEWAY_MS = 5_000
# An identity provider's clock may be ahead of ours, and its new tokens must be valid at once.
NOT_BEFORE_LEEWAY_MS = 30_000
# Times beyond it (in the year 36,812, and as far before 1970) are clamped, because they mean "never expires".
MAX_TIME_S = 2**40
MAX_TOKEN_BYTES = 8_192
_PEM_END = "-----END PUBLIC KEY-----"


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key and its algorithm."""

    algorithm: str
    key: Any


def secret_key(secret: str) -> VerifyingKey:
    """A key for HS256. Raises ConfigurationError for less than 32 bytes."""
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise ConfigurationError(f"the token secret has less than {MIN_SECRET_BYTES} bytes (TIDINGS_TOKEN_SECRET)")
    if len(set(secret)) < 8:
        raise ConfigurationError("the token secret is not random: fewer than 8 different characters")
    return VerifyingKey("HS256", secret.encode())


def public_keys(pem: str) -> Sequence[VerifyingKey]:
    """Every public key of a PEM file: Ed25519 (EdDSA), P-256 (ES256), RSA (RS256). Raises ConfigurationError."""
    blocks = [block.strip() + "\n" + _PEM_END for block in pem.split(_PEM_END) if block.strip()]
    if not blocks:
        raise ConfigurationError("the file of public keys holds no PEM block")
    return [_public_key(block) for block in blocks]


def _public_key(pem: str) -> VerifyingKey:
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise ConfigurationError(f"the file of public keys holds something else: {error}") from error
    match key:
        case Ed25519PublicKey():
            return VerifyingKey("EdDSA", key)
        case EllipticCurvePublicKey() if key.curve.name == "secp256r1":
            return VerifyingKey("ES256", key)
        case RSAPublicKey() if key.key_size >= 2048:
            return VerifyingKey("RS256", key)
        case _:
            raise ConfigurationError("a public key is none of Ed25519, P-256, RSA of 2048 bits or more")


class Tokens:
    """Verifies tokens with the keys of the deployment."""

    def __init__(self, keys: Sequence[VerifyingKey], audience: str) -> None:
        """The `keys` of a token's algorithm are tried in order."""
        self._keys = tuple(keys)
        self._audience = audience

    def verify(self, token: str, wall_ms: int) -> Identity:
        """The identity of a token. Raises Refused(`unauthorized`), or `token_expired` after exp and leeway. `iat` is
        not compared with the time."""
        claims = self._claims(token)
        user_id = claims.get("sub")
        if not isinstance(user_id, str) or not ids.is_user_id(user_id):
            raise Refused("unauthorized", f"the token's sub is not a user id: {ids.USER_ID_TEXT}")
        _time_ms(claims, "iat")
        if "nbf" in claims and _time_ms(claims, "nbf") > wall_ms + NOT_BEFORE_LEEWAY_MS:
            raise Refused("unauthorized", "the token is not valid yet (nbf); compare the clocks of its signer and here")
        valid_for_ms = _time_ms(claims, "exp") + LEEWAY_MS - wall_ms
        if valid_for_ms <= 0:
            raise Refused("token_expired", "the token is past its exp; get a new one")
        return Identity(user_id, valid_for_ms)

    def _claims(self, token: str) -> Mapping[str, Any]:
        if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise Refused("unauthorized", "a token is missing: a JWT signed for this deployment")
        for key in self._candidates(token):
            try:
                return self._decoded(token, key)
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidAudienceError:
                raise Refused("unauthorized", f"the token's aud is not {self._audience!r}") from None
            except jwt.MissingRequiredClaimError as error:
                raise Refused("unauthorized", f"the token lacks {error.claim}") from None
            except jwt.PyJWTError as error:
                raise Refused("unauthorized", f"the token is not valid: {error}") from None
        raise Refused("unauthorized", "no key of this deployment signed the token")

    def _candidates(self, token: str) -> Sequence[VerifyingKey]:
        try:
            algorithm = jwt.get_unverified_header(token).get("alg")
        except jwt.PyJWTError:
            raise Refused("unauthorized", "the token is not a JWT") from None
        return [key for key in self._keys if key.algorithm == algorithm]

    def _decoded(self, token: str, key: VerifyingKey) -> Mapping[str, Any]:
        # PyJWT compares times with its own clock, and raises other exceptions than its own for extreme numbers.
        times: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
        options: Any = {"require": ["exp", "iat", "sub", "aud"]} | times
        claims: Mapping[str, Any] = jwt.decode(
            token, key.key, algorithms=[key.algorithm], audience=self._audience, options=options
        )
        return claims


def _time_ms(claims: Mapping[str, Any], name: str) -> int:
    """A NumericDate (RFC 7519) in milliseconds, clamped to MAX_TIME_S. Raises Refused for anything else."""
    match claims.get(name):
        case bool():
            pass
        case float(seconds) if math.isfinite(seconds):
            return int(max(-MAX_TIME_S, min(seconds, MAX_TIME_S)) * 1000)
        case int(seconds):  # math.isfinite would raise for one of 400 digits, which fits no float
            return max(-MAX_TIME_S, min(seconds, MAX_TIME_S)) * 1000
    raise Refused("unauthorized", f"the token's {name} is not a number of seconds")


def issue(secret: bytes, audience: str, user_id: str, wall_ms: int, ttl_s: int) -> tuple[str, int]:
    """A token for development mode, and its expiry in ms."""
    now_s = wall_ms // 1000
    claims = {"sub": user_id, "aud": audience, "iat": now_s, "exp": now_s + ttl_s}
    return jwt.encode(claims, secret, algorithm="HS256"), (now_s + ttl_s) * 1000
