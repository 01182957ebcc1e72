"""A client of the SDK that is signed in, or one line that says why not."""

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
from tidings_client.rest import Rest, http_url_of
from tidings_client.server_time import ServerTime
from tidings_client.tokens import Tokens, user_in

TOLD_MS = 60_000  # a difference that a person may notice; the server takes 5 minutes
UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))
CONNECT_S = 20.0  # PROTOCOL gives `hello` 5 s and `live` 10 s


@dataclass(frozen=True, slots=True)
class Account:
    """Where, and who. An empty token: ask the gateway for one."""

    url: str
    user: str
    token: str = ""


class LivePlace:
    """A cursor store that forgets with the process, and knows when the device's place in its inbox is fixed:
    what was stored before is history, what comes after is delivered."""

    def __init__(self) -> None:
        self._is_fixed = asyncio.Event()

    async def load(self) -> Cursor | None:
        """See CursorStore: always a new device."""
        return None

    async def save(self, cursor: Cursor) -> None:
        self._is_fixed.set()

    async def fixed(self) -> None:
        """Wait for it; GaveUp when the server does not say `live`."""
        try:
            await asyncio.wait_for(self._is_fixed.wait(), CONNECT_S)
        except TimeoutError:
            raise GaveUp(
                f"signed in, but nothing is delivered within {CONNECT_S:g} s: is fanout running? See `make status`"
            ) from None


@contextlib.asynccontextmanager
async def signed_in(account: Account, device: str, cursors: CursorStore, *, from_live: bool) -> AsyncIterator[Client]:
    """A connected client while the block runs. Raises GaveUp, or the SDK's Stopped when the token is refused."""
    url = http_url_of(account.url)
    ask = development_tokens(url, account.user)
    if not account.token:
        await _check_tokens(ask, url)
    client = Client(url, account.token or ask, device_id=device, cursors=cursors, from_live=from_live)
    async with client:
        await _connected(client, url)
        _tell_of_the_clock(client.device_ahead_ms)
        if client.user_id != account.user:
            raise _speaks_for(client.user_id, account)
        yield client


@dataclass(frozen=True, slots=True)
class Calls:
    """What is asked by REST alone, without a connection."""

    sessions: Rest
    groups: GroupCalls


@contextlib.asynccontextmanager
async def asking(account: Account) -> AsyncIterator[Calls]:
    """The calls of a user while the block runs; they raise the SDK's ApiError and Unreachable, this GaveUp."""
    url = http_url_of(account.url)
    ask = development_tokens(url, account.user)
    if not account.token:
        await _check_tokens(ask, url)
    elif (named := user_in(account.token)) not in (None, account.user):
        raise _speaks_for(str(named), account)
    message_ids = MessageIds(secrets.randbits)
    server_time = ServerTime()

    async def own_id() -> str:
        return account.user

    rest = Rest(url, Tokens(account.token or ask, server_time), server_time=server_time)
    try:
        yield Calls(rest, GroupCalls(rest, lambda: message_ids.make(server_time.now_ms()), own_id))
    finally:
        await rest.close()
        _tell_of_the_clock(server_time.device_ahead_ms)


def _tell_of_the_clock(ahead_ms: int | None) -> None:
    """Nothing depends on this device's clock, but a person sees its times beside the server's."""
    if ahead_ms is not None and abs(ahead_ms) >= TOLD_MS:
        say(f"note: {clock_difference(ahead_ms)}", is_aside=True)


def clock_difference(ahead_ms: int) -> str:
    """In words, in the largest unit of which there are two."""
    seconds = abs(ahead_ms) / 1_000
    unit, name = next(((size, name) for size, name in UNITS if round(seconds / size) >= 2), UNITS[-1])
    where = "ahead of" if ahead_ms > 0 else "behind"
    return f"your clock is {round(seconds / unit)} {name} {where} the server's"


async def _connected(client: Client, url: str) -> None:
    try:
        await asyncio.wait_for(client.connected(), CONNECT_S)
    except TimeoutError:
        raise GaveUp(f"no WebSocket to {url} within {CONNECT_S:g} s; the gateway's log says why") from None


def _speaks_for(user_id: str, account: Account) -> GaveUp:
    return GaveUp(f"the token speaks for {user_id}, not for {account.user}: change --as or --token")


async def _check_tokens(ask: TokenProvider, url: str) -> None:
    """The client would ask for ever; a person wants to know at once."""
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
