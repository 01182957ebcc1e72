"""The life of the connection: reconnects, tokens, `goaway`, pings and the limits of a `welcome`."""

import pytest

from tests.unit.client.authors import SESSION, Author, online
from tidings_client import frames
from tidings_client.effects import CloseConnection, Connect, LimitMessages, LinkChanged, RenewToken
from tidings_client.frames import Limits


def test_reconnects_follow_the_backoff_and_a_welcome_resets_it() -> None:
    author = Author()
    pauses = []
    for _ in range(7):
        closed_at = author.now_ms
        author.close(None)
        author.advance(30_000)
        pauses.append(author.dials[-1] - closed_at)
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    author.connect()
    closed_at = author.now_ms
    author.close()
    author.advance(1_000)
    assert author.dials[-1] - closed_at == 1_000


def test_client_reconnects_after_two_periods_without_heartbeat() -> None:
    author = online()
    author.advance(39_999, heartbeats=False)
    assert author.core.link == "ready"
    author.advance(1, heartbeats=False)
    assert author.did(CloseConnection)
    author.advance(1_000)
    assert len(author.dials) == 2


def after_goaway(wait_ms: int) -> tuple[Author, int]:
    author = online()
    author.give(frames.GoAway(reason="restart", reconnect_after_ms=wait_ms))
    return author, author.now_ms


@pytest.mark.field_case("28")
@pytest.mark.parametrize("wait_ms", [0, 1, 500, 3_000, 15_000])
def test_goaway_keeps_the_connection_until_its_time(wait_ms: int) -> None:
    author, started = after_goaway(wait_ms)
    author.advance(max(0, wait_ms - 1))
    if wait_ms:
        author.send("a")
        assert (author.core.link, len(author.sends), len(author.dials)) == ("ready", 1, 1)
    author.advance(2)
    assert author.dials[1] - started == wait_ms


@pytest.mark.field_case("28")
@pytest.mark.parametrize(("wait_ms", "closed_ms", "dialled_ms"), [(15_000, 2_000, 3_000), (3_000, 2_700, 3_000)])
def test_a_close_before_a_goaways_time_reconnects_soon(wait_ms: int, closed_ms: int, dialled_ms: int) -> None:
    """After the first pause of the backoff, or at that time if it comes sooner."""
    author, started = after_goaway(wait_ms)
    author.advance(closed_ms)
    author.close(1001)
    author.advance(15_000)
    assert author.dials[1] - started == dialled_ms


def test_a_replaced_connection_stops_for_good() -> None:
    author = online()
    author.close(4409)
    author.advance(600_000)
    assert author.core.link == "stopped"
    assert len(author.dials) == 1
    assert author.effects[-1] == LinkChanged(author.core.link, 4409, "")


@pytest.mark.field_case("33")
def test_refused_tokens_end_the_client_after_30_s() -> None:
    author = online()
    author.close(4401)
    author.advance(1_000)
    assert author.effects[-1] == Connect(fresh_token=True)
    for wait_ms in (2_000, 4_000, 8_000, 15_999):
        author.close(4401)
        assert author.core.link == "offline"
        author.advance(wait_ms)
    author.advance(1)
    author.close(4401)
    assert author.core.link == "stopped"


@pytest.mark.field_case("33")
def test_a_token_that_begins_8_s_from_now_is_waited_for() -> None:
    author = online()
    author.close(4401)
    for wait_ms in (1_000, 2_000, 4_000):
        author.advance(wait_ms)
        author.close(4401)
    author.advance(8_000)
    author.connect()
    author.advance(60_000)
    author.close(4401)
    assert author.core.link == "offline"


def test_a_token_that_stays_as_it_is_stops_at_the_first_4401() -> None:
    author = online(renewable=False)
    author.close(4401)
    assert author.core.link == "stopped"


@pytest.mark.field_case("33")
@pytest.mark.parametrize(
    ("expires_in_ms", "renewed_ms"),
    [(0, 1_000), (8_000, 6_000)],
    ids=["a clock that is fast makes no loop", "a short token is renewed while it holds"],
)
def test_a_token_is_renewed_in_time_and_not_before(expires_in_ms: int, renewed_ms: int) -> None:
    author = Author()
    author.connect(expires_in_ms)
    author.advance(renewed_ms - 1)
    assert not author.did(RenewToken)
    author.advance(1)
    assert author.did(RenewToken)


def test_a_renewal_that_failed_is_tried_again() -> None:
    author = Author()
    author.connect(expires_in_ms=3_600_000)
    author.advance(3_540_000)
    author.effects.clear()
    author.take(author.core.token_failed(author.now_ms))
    author.advance(5_000)
    assert author.did(RenewToken) == [RenewToken()]


def test_token_is_renewed_a_minute_before_its_end() -> None:
    author = Author()
    author.connect(expires_in_ms=3_600_000)
    author.mark_read(SESSION, 1)
    author.advance(3_540_000)
    assert author.did(RenewToken)
    author.frames.clear()
    author.take(author.core.token(author.now_ms, "newer", None))
    author.welcome()
    assert author.frames == [frames.Hello(token="newer", device_id="phone")]


@pytest.mark.parametrize(("announced", "kept"), [(4_096, 4_096), (1 << 20, 65_536)])
def test_frames_are_joined_up_to_server_and_protocol_limits(announced: int, kept: int) -> None:
    assert LimitMessages(kept) in online(limits=Limits(frame_bytes=announced)).effects


def test_a_ping_is_answered() -> None:
    author = online()
    author.give(frames.ServerPing(id=7))
    assert author.frames[-1] == frames.Pong(id=7)
