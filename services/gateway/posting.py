"""The one way by which a message is published, from a WebSocket or from REST: rates, blocks, log."""

from collections.abc import Callable
from dataclasses import dataclass

from services.gateway.blocks import Blocks
from services.gateway.commands import Draft
from services.gateway.publishing import Publisher
from services.gateway.rates import RateLimits
from services.gateway.send_times import SendTimes
from tidings import ids, metrics
from tidings.clock import Clock
from tidings.errors import Refused, StoreUnavailable
from tidings.store.base import KeyBucket, Store


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends, and where the answer goes."""

    user_id: str
    connection_id: str
    ref: str | None


class Posting:
    """Checks what needs memory or tables, then publishes."""

    def __init__(
        self,
        publisher: Publisher,
        rates: RateLimits,
        blocks: Blocks,
        store: Store,
        times: SendTimes,
        clock: Clock,
    ) -> None:
        """All parts are shared by the whole gateway."""
        self._times = times
        self._publisher = publisher
        self._rates = rates
        self._blocks = blocks
        self._store = store
        self._clock = clock

    async def post(self, caller: Caller, draft: Draft, on_unknown: Callable[[], None]) -> None:
        """Publish; raises Refused when nothing was published. `on_unknown` when the log does not confirm."""
        try:
            self._rates.take(caller.user_id, 1, self._clock.monotonic_ms())
            await self._check_block(caller.user_id, draft)
            self._publisher.command(caller.user_id, draft, caller.connection_id, caller.ref, on_unknown)
            self._times.published(caller.connection_id, draft.client_msg_id, self._clock.monotonic_ms())
        except Refused:
            metrics.COMMANDS.labels("refused").inc()
            raise

    async def _check_block(self, user_id: str, draft: Draft) -> None:
        others = [other for other in ids.direct_users(draft.session_id) if other != user_id]
        try:
            for other in others:
                if await self._blocks.blocks(other, user_id) and not await self._is_stored(user_id, draft):
                    raise Refused("user_blocked", "this user does not take messages from you")
        except StoreUnavailable:
            raise Refused("unavailable", "the tables do not answer; nothing was stored, try again") from None

    async def _is_stored(self, user_id: str, draft: Draft) -> bool:
        """A repeat of a stored message is acked, whatever rights have changed since (PROTOCOL, Ids)."""
        made_ms = ids.uuid7_time_ms(draft.client_msg_id)
        month = 0 if made_ms is None else ids.month_of(made_ms)
        wanted = {KeyBucket(draft.session_id, month, 0): [(user_id, draft.client_msg_id)]}
        return bool(await self._store.keys(wanted))
