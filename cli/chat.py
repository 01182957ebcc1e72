"""`tidings chat`."""

import asyncio
import sys
from typing import Annotated

import typer

from cli.arguments import DEFAULT_URL, AsUser, Session, Token, Url, user_id
from cli.signing_in import Account
from tidings.errors import ConfigurationError
from tidings_client import direct_session


def chat(
    user: AsUser,
    peer: Annotated[str, typer.Option("--with", help="The user to talk to.", callback=user_id)] = "echo",
    session: Session = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Talk to a user, or in a group, in this terminal: … sending, ✓ sent, ✓✓ delivered, ✓✓ read.

    Messages that are shown count as read. Enter sends, PageUp and PageDown scroll, Ctrl-C leaves.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigurationError("`tidings chat` needs a terminal; scripts use `tidings send` and `tidings tail`")
    from cli.conversation import converse  # here, because it loads the terminal library, which no other verb needs

    asyncio.run(converse(Account(url, user, token), session or direct_session(user, peer)))
