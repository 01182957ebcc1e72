"""What the device learns of the server's time from `Date` headers, and calls that it makes before that."""

from email.utils import formatdate
from time import time as true_time

import httpx2
import pytest

from tests.unit.client.fake_server import DAY_MS, MINUTE_MS, an_id, refusal, true_ms
from tests.unit.client.gateways import Gateway
from tidings_client import ApiError
from tidings_client.ids import MessageIds
from tidings_client.server_time import ServerTime

OFFS = [6 * MINUTE_MS, -6 * MINUTE_MS, 3 * DAY_MS, -100 * DAY_MS]


def gateway_of(off_ms: int, *, with_date: bool = True) -> tuple[Gateway, ServerTime]:
    """Answers `POST /v1/groups` as a gateway does, with a `Date`."""
    device, ids = ServerTime(device_ms=lambda: true_ms() + off_ms), MessageIds(lambda bits: bits)

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"Date": formatdate(true_time(), usegmt=True)} if with_date else {}
        if code := refusal(request.headers["Idempotency-Key"]):
            return httpx2.Response(409, headers=headers, json={"code": code, "retryable": False})
        return httpx2.Response(201, headers=headers, json={"session_id": "g:1", "seq": 1})

    return Gateway(answer, time=device, make_id=lambda: ids.make(device.now_ms())), device


@pytest.mark.field_case("2")
@pytest.mark.parametrize("off_ms", OFFS)
async def test_a_first_call_by_a_wrong_clock_is_done(off_ms: int) -> None:
    gateway, device = gateway_of(off_ms)
    assert (await gateway.groups.create("team", ["bob"])).session_id == "g:1"
    assert len(gateway.keys) <= 2
    assert (await gateway.groups.create("other")).seq == 1
    assert len(gateway.keys) <= 3
    assert abs((device.device_ahead_ms or 0) - off_ms) < 5_000


async def test_a_first_call_without_a_date_is_refused_in_the_end() -> None:
    gateway, _ = gateway_of(DAY_MS, with_date=False)
    with pytest.raises(ApiError, match="clock_skew"):
        await gateway.groups.create("team")
    assert len(gateway.keys) == 3


async def test_a_command_under_a_given_id_goes_under_that_alone() -> None:
    gateway, _ = gateway_of(0)
    made = an_id(DAY_MS)
    with pytest.raises(ApiError, match="clock_skew"):
        await gateway.groups.create("team", client_msg_id=made)
    assert gateway.keys == [made]


@pytest.mark.parametrize("date", [None, "", "soon", "Mon, 99 Nov 2026 02:27:04 GMT", "Mon, 30 Nov 99999 02:27:04 GMT"])
def test_invalid_date_sets_no_server_time(date: str | None) -> None:
    device = ServerTime(device_ms=lambda: 7)
    device.learn_date(date)
    assert device.known_ms is None
    assert device.now_ms() == 7


def test_a_date_corrects_a_time_that_is_wrong_by_now() -> None:
    passed = 0
    device = ServerTime(lambda: passed, lambda: 0)
    device.learn(1_764_000_000_123)
    device.learn_date(formatdate(1_764_000_002, usegmt=True))
    assert device.known_ms == 1_764_000_000_123
    device.learn_date(formatdate(1_764_000_900, usegmt=True))
    assert device.known_ms == 1_764_000_900_000
    assert device.device_ahead_ms == -1_764_000_900_000
