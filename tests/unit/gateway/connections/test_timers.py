"""What the gateway does to connections by time."""

from collections.abc import Collection

import pytest

from services.gateway.connections.registry import SLICES
from tests.unit.gateway.connections.gateway_of_ann import settled, world
from tidings.errors import StoreUnavailable


async def test_unreadable_heads_leave_the_tail_in_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tails(user_ids: Collection[str]) -> dict[str, int]:
        return dict.fromkeys(user_ids, 9)

    async def no_heads(_user_ids: Collection[str]) -> dict[str, dict[str, int]]:
        raise StoreUnavailable("not now")

    async with world() as here:
        monkeypatch.setattr(here.gateway.reads.inbox, "tails", tails)
        monkeypatch.setattr(here.lives, "heads", no_heads)
        here.link.connection.beat_soon(here.gateway.clock.monotonic_ms())
        for number in range(SLICES):
            here.gateway.connections.ticker.tick(number)
        await here.gateway.connections.ticker.beat()
        await settled()
        assert [(one["inbox_seq"], one["heads"]) for one in here.gateway.sent_of("heartbeat")] == [(9, [])]
