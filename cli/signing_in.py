"""A signed-in client of the SDK, or one line with the reason why signing in failed."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from cli.patience import GaveUp
from cli.screen_text import say
from tidings_client import ApiError, Client, Cursor, CursorStore, TokenProvider, Unreachable, development_tokens
from tidings_client.group_calls import GroupCalls
from tidings_client.ids import MessageIds
from tidings_client.media import MediaCalls
from tidings_client.rest import Rest, http_url_of
from tidings_client.server_time import ServerTime
from tidings_client.tokens import Tokens, user_in

NOTED_MS = 60_000  # a difference that a person may notice; the server accepts 5 minutes
UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))
CONNECT_S = 20.0  # PROTOCOL allows 5 s for `hello` and 10 s for `live`


@dataclass(frozen=True, slots=True)
class Account:
    """A user at a gateway. If the token is empty, the gateway is asked for one."""

    url: str
    user: str
    token: str = ""


class LivePlace:
    """A cursor store in memory, which reports when the device's place in its inbox is fixed.

    Messages that were stored before that are history. Later messages are delivered.
    """

    def __init__(self) -> None:
        self._is_fixed = asyncio.Event()

    async def load(self) -> Cursor | None:
        """Always None, so that the device counts as new."""
        return None

    async def save(self, cursor: Cursor) -> None:
        self._is_fixed.set()

    async def fixed(self) -> None:
        """Wait until the place is fixed. Raises GaveUp if the gateway does not send `live`."""
        try:
            await asyncio.wait_for(self._is_fixed.wait(), CONNECT_S)
        except TimeoutError:
            raise GaveUp(
                f"signed in, but nothing is delivered within {CONNECT_S:g} s: is fanout running? See `make status`"
            ) from None


@contextlib.asynccontextmanager
async def signed_in(account: Account, device: str, cursors: CursorStore, *, from_live: bool) -> AsyncIterator[Client]:
    """A connected client while the block runs. Raises GaveUp, or the SDK's Stopped if the token is refused."""
    url = http_url_of(account.url)
    ask = development_tokens(url, account.user)
    if not account.token:
        await _check_tokens(ask, url)
    client = Client(url, account.token or ask, device_id=device, cursors=cursors, from_live=from_live)
    async with client:
        await _connected(client, url)
        _note_clock_difference(client.device_ahead_ms)
        if client.user_id != account.user:
            raise _speaks_for(client.user_id, account)
        yield client


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls that need only REST and no connection."""

    sessions: Rest
    groups: GroupCalls
    media: MediaCalls


@contextlib.asynccontextmanager
async def asking(account: Account) -> AsyncIterator[Calls]:
    """The calls of a user while the block runs. They raise the SDK's ApiError and Unreachable. Raises GaveUp."""
    url = http_url_of(account.url)
    ask = development_tokens(url, account.user)
    if not account.token:
        await _check_tokens(ask, url)
    elif (named := user_in(account.token)) not in (None, account.user):
        raise _speaks_for(str(named), account)
    message_ids = MessageIds(secrets.randbits)
    server_time = ServerTime()

    def make_id() -> str:
        return message_ids.make(server_time.now_ms())

    async def own_id() -> str:
        return account.user

    rest = Rest(url, Tokens(account.token or ask, server_time), server_time=server_time)
    try:
        yield Calls(rest, GroupCalls(rest, make_id, own_id), MediaCalls(rest, make_id))
    finally:
        await rest.close()
        _note_clock_difference(server_time.device_ahead_ms)


def _note_clock_difference(ahead_ms: int | None) -> None:
    """Print a note, because the user sees times of this clock next to the server's. Nothing else depends on it."""
    if ahead_ms is not None and abs(ahead_ms) >= NOTED_MS:
        say(f"note: {clock_difference(ahead_ms)}", is_aside=True)


def clock_difference(ahead_ms: int) -> str:
    """The difference in words, in the largest unit of which there are at least two."""
    seconds = abs(ahead_ms) / 1_000
    unit, name = next(((size, name) for size, name in UNITS if round(seconds / size) >= 2), UNITS[-1])
    where = "ahead of" if ahead_ms > 0 else "behind"
    return f"your clock is {round(seconds / unit)} {name} {where} the server's"


async def _connected(client: Client, url: str) -> None:
    try:
        await asyncio.wait_for(client.connected(), CONNECT_S)
    except TimeoutError:
        raise GaveUp(f"no WebSocket to {url} within {CONNECT_S:g} s; see the gateway's log") from None


def _speaks_for(user_id: str, account: Account) -> GaveUp:
    return GaveUp(f"the token speaks for {user_id}, not for {account.user}: change --as or --token")


async def _check_tokens(ask: TokenProvider, url: str) -> None:
    """Ask for a token once and raise GaveUp if that fails, because the client itself would retry without end."""
    try:
        await ask()
    except Unreachable as error:
        raise GaveUp(
            f"no answer from {url}: is Tidings running there? `make run` starts it, --url names another gateway"
        ) from error
    except ApiError as error:
        raise GaveUp(
            f"{url} gives no token ({error}): outside development mode give one with --token or TIDINGS_TOKEN"
        ) from error
