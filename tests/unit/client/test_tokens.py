"""One call of the provider for each token's life, whatever the device's clock says, for all callers."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.gateways import Gateway
from tidings_client import ApiError, Unreachable, tokens
from tidings_client.server_time import ServerTime
from tidings_client.tokens import Tokens, life_of, user_in

SERVER_MS = 1_764_000_000_000
HOUR_MS = 3_600_000


def jwt(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.x"


class Device:
    """A device whose wall clock is off, a server's clock, and a provider that signs by the latter."""

    def __init__(self, off_ms: int = 0, life_s: int = 600, with_iat: bool = True) -> None:
        self.passed_ms = 1_000
        self.off_ms = off_ms
        self.life_s = life_s
        self.with_iat = with_iat
        self.asked = 0
        self.time = ServerTime(lambda: self.passed_ms, lambda: self.server_ms + self.off_ms)
        self.tokens = Tokens(self.provide, self.time, lambda: self.passed_ms)

    @property
    def server_ms(self) -> int:
        return SERVER_MS + self.passed_ms

    async def provide(self) -> str:
        self.asked += 1
        now_s = self.server_ms // 1_000
        iat = {"iat": now_s} if self.with_iat else {}
        return jwt({"sub": "alice", "exp": now_s + self.life_s, "n": self.asked} | iat)


@pytest.mark.field_case("34")
@pytest.mark.parametrize("off_ms", [0, 2 * HOUR_MS, -2 * HOUR_MS, 400 * 24 * HOUR_MS])
@pytest.mark.parametrize("life_s", [8, 60, 600, 86_400])
async def test_a_provider_is_called_once_for_each_life(off_ms: int, life_s: int) -> None:
    device = Device(off_ms, life_s)
    steps = 50
    for _ in range(3 * steps):
        await device.tokens.get()
        assert (device.tokens.remaining_ms or 0) > 0
        device.passed_ms += life_s * 1_000 // steps
    assert 3 <= device.asked <= 4


@pytest.mark.field_case("34")
async def test_ten_callers_at_once_share_a_slow_provider() -> None:
    device, opened = Device(), asyncio.Event()

    async def slow() -> str:
        token = await device.provide()
        await opened.wait()
        return token

    source = Tokens(slow, device.time)
    callers = [asyncio.create_task(source.get()) for _ in range(10)]
    await asyncio.sleep(0)
    callers.pop().cancel()
    await asyncio.sleep(0)
    opened.set()
    assert len(set(await asyncio.gather(*callers))) == 1
    assert device.asked == 1


async def test_refusals_of_one_token_lead_to_one_call() -> None:
    device = Device()
    refused = await device.tokens.get()
    others = await asyncio.gather(*(device.tokens.get(instead_of=refused) for _ in range(10)))
    assert set(others) == {await device.tokens.get(instead_of=refused)}
    assert device.asked == 2


async def test_a_token_without_iat_counts_by_the_server() -> None:
    device = Device(off_ms=2 * HOUR_MS, with_iat=False)
    await device.tokens.get()
    assert device.tokens.remaining_ms is None
    device.time.learn(device.server_ms)
    other = Tokens(device.provide, device.time, lambda: device.passed_ms)
    await other.get()
    assert other.remaining_ms == 600_000


async def test_a_provider_that_repeats_itself_is_left_alone() -> None:
    device = Device(life_s=40)
    token = await device.provide()

    async def cached() -> str:
        device.asked += 1
        return token

    device.asked = 0
    source = Tokens(cached, device.time, lambda: device.passed_ms)
    for _ in range(40):
        await source.get()
        device.passed_ms += 1_000
    assert device.asked == 3


@pytest.mark.field_case("34")
async def test_a_provider_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "PROVIDER_S", 0.01)

    async def hangs() -> str:
        await asyncio.Event().wait()
        return ""

    source = Tokens(hangs)
    answers = await asyncio.gather(*(source.get() for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unreachable] * 3
    await source.close()


async def test_a_provider_that_fails_is_asked_again() -> None:
    device = Device()
    answers: list[Callable[[], Awaitable[str]]] = [broken, device.provide]
    source = Tokens(lambda: answers.pop(0)())
    failed = await asyncio.gather(source.get(), source.get(), return_exceptions=True)
    assert [type(error) for error in failed] == [ConnectionError] * 2
    assert await source.get()


async def broken() -> str:
    raise ConnectionError("no network")


def giving(answer: Any) -> Callable[[], Awaitable[str]]:
    """A provider of one answer, which may be no text."""

    async def provide() -> str:
        return answer  # type: ignore[no-any-return]

    return provide


@pytest.mark.parametrize("text", ["", " ", "<html> </html>", "a\nb", "tök.en", "a\x00b"])
async def test_a_text_that_is_no_token_may_be_another_next_time(text: str) -> None:
    with pytest.raises(Unreachable, match="not a token"):
        await Tokens(giving(text)).get()


@pytest.mark.parametrize("answer", [None, b"a.b.c", 7, {"token": "x"}])
async def test_a_provider_that_returns_no_text_is_a_mistake(answer: object) -> None:
    with pytest.raises(TypeError, match="token provider returned"):
        await Tokens(giving(answer)).get()


async def test_a_token_read_from_a_file_may_end_in_a_line() -> None:
    assert await Tokens(giving("a.b.c\n")).get() == "a.b.c"


NUMBERS = st.integers(-(10**400), 10**400) | st.floats() | st.none() | st.booleans() | st.text(max_size=5)


@given(claims=st.fixed_dictionaries({}, optional={"exp": NUMBERS, "iat": NUMBERS}), server=st.none() | st.integers(0))
def test_lifetime_of_any_token_is_a_number(claims: dict[str, object], server: int | None) -> None:
    life_ms = life_of(jwt(claims), server, SERVER_MS)
    assert life_ms is None or life_ms >= 0


@given(st.text(max_size=60) | st.text(max_size=30).map(lambda text: f"a.{text}.b"))
def test_any_text_is_read_as_a_token(text: str) -> None:
    assert life_of(text, None, SERVER_MS) is None
    assert user_in(text) is None


def only(good: Callable[[], str]) -> Callable[[httpx2.Request], httpx2.Response]:
    """A server that refuses all tokens but one."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.headers["Authorization"] != f"Bearer {good()}":
            return httpx2.Response(401, json={"code": "token_expired"})
        return httpx2.Response(200, json={"sessions": []})

    return answer


@pytest.mark.field_case("34")
async def test_fifty_calls_with_a_clock_ahead_ask_once() -> None:
    device = Device(off_ms=2 * HOUR_MS)
    current = await device.tokens.get()
    gateway = Gateway(only(lambda: current), tokens=device.tokens, time=device.time)
    for _ in range(50):
        await gateway.rest.sessions()
    assert device.asked == 1


async def test_ten_refused_calls_at_once_renew_together() -> None:
    device = Device()
    refused = await device.tokens.get()
    newest = ""

    async def provide() -> str:
        nonlocal newest
        newest = await device.provide()
        return newest

    source = Tokens(provide)
    assert await source.get() != refused
    first, newest = newest, "revoked"
    gateway = Gateway(only(lambda: newest), tokens=source)
    await asyncio.gather(*(gateway.rest.sessions() for _ in range(10)))
    assert first != newest
    assert device.asked == 3


async def test_a_fixed_token_that_is_refused_is_an_error() -> None:
    gateway = Gateway(401)
    with pytest.raises(ApiError, match="401 token_expired"):
        await gateway.rest.sessions()
    assert len(gateway.asked) == 1


async def test_a_providers_network_error_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="no network"):
        await Gateway(401, tokens=Tokens(broken)).rest.sessions()
