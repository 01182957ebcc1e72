"""`tidings token`: a token for development mode, signed here with the key with which the gateway checks it."""

import time
from pathlib import Path
from typing import Annotated

import jwt
import typer

from cli.arguments import user_id
from tidings.errors import ConfigurationError

MIN_KEY_BYTES = 32  # what the gateway demands (RFC 7518: a key as long as the hash)
MAX_TTL_S = 30 * 86_400  # the longest that a gateway gives out; a larger value is mostly milliseconds by mistake
KEY_FILE = Path(".run/dev-token.key")


def token(
    user: Annotated[str, typer.Argument(help="The user that the token names (sub).", callback=user_id)],
    ttl_s: Annotated[int, typer.Option("--ttl", help="Seconds until it ends.", min=1, max=MAX_TTL_S)] = 86_400,
    key_file: Annotated[
        Path, typer.Option("--key-file", envvar="TIDINGS_TOKEN_DEV_KEY_FILE", help="The key; the local stack makes it.")
    ] = KEY_FILE,
    audience: Annotated[
        str,
        typer.Option(
            "--audience", envvar="TIDINGS_TOKEN_AUDIENCE", help="The audience that the gateway demands (aud)."
        ),
    ] = "tidings",
) -> None:
    """Print a token for a user, for curl and for `--token`. Development mode only.

    In production the application's own identity provider signs tokens.
    """
    print(signed(read_key(key_file), audience, user, int(time.time()), ttl_s))


def read_key(file: Path) -> bytes:
    """The development key. The text of the ConfigurationError says how to get one."""
    try:
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(
            f"no development key in {file} ({error.strerror}): `make up` or `make run` makes it,"
            " TIDINGS_TOKEN_DEV_KEY_FILE or --key-file names another"
        ) from error
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(
            f"{file} holds {len(key)} bytes, a key has {MIN_KEY_BYTES} or more: remove it, `make up`"
        )
    return key


def signed(key: bytes, audience: str, user: str, now_s: int, ttl_s: int) -> str:
    """A token as in PROTOCOL, REST: sub, aud, iat and exp, HS256."""
    return jwt.encode({"sub": user, "aud": audience, "iat": now_s, "exp": now_s + ttl_s}, key, algorithm="HS256")
