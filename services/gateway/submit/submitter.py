"""Checks rate limits and block lists of a command, from a WebSocket or REST, and publishes it."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from services.gateway.protocol.commands import Draft, command_of
from services.gateway.protocol.media_urls import described
from services.gateway.protocol.rate_limits import RateLimits
from services.gateway.reads.build import Reads
from services.gateway.submit.latency import AckLatency
from services.gateway.submit.publisher import Publisher
from tidings import ids, metrics
from tidings.clock import Clock
from tidings.errors import Refused, StoreUnavailable
from tidings.store.base import KeyBucket, Store
from tidings.wire.inbound_pb2 import Command

# A process may be stopped for hours between the check of an upload and the command. The sweep of uploads waits an hour.
UPLOADS_CHECKED_FOR_MS = 60_000


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender, and the connection that gets the answer."""

    user_id: str
    connection_id: str
    ref: str | None


class Submitter:
    """Makes the checks that need memory or tables, then publishes."""

    def __init__(
        self,
        publisher: Publisher,
        rates: RateLimits,
        reads: Reads,
        store: Store,
        times: AckLatency,
        clock: Clock,
    ) -> None:
        """All parts are shared by the whole gateway."""
        self._times = times
        self._publisher = publisher
        self._rates = rates
        self._blocks = reads.block_lists
        self._media = reads.media
        self._store = store
        self._clock = clock

    async def post(self, caller: Caller, draft: Draft, on_unknown: Callable[[], None]) -> None:
        """Publish a message. Raises Refused if nothing was published. `on_unknown`: Kafka does not confirm it."""
        await self.command(caller, command_of(caller.user_id, draft), 1, on_unknown)

    async def command(self, caller: Caller, command: Command, weight: int, on_unknown: Callable[[], None]) -> None:
        """Publish any command, which counts as `weight` messages of its sender. Otherwise as `post`."""
        try:
            self._rates.take(caller.user_id, weight, self._clock.monotonic_ms())
            await self._look_at_tables(command)
            self._publisher.command(command, caller.connection_id, caller.ref, on_unknown)
            self._times.published(caller.connection_id, command.client_msg_id, self._clock.monotonic_ms())
        except Refused:
            metrics.COMMANDS.labels("refused").inc()
            raise

    def wait_ms(self, user_id: str, messages: int) -> int:
        """The wait until so many more messages are accepted, after the waits of earlier refused calls."""
        return self._rates.wait_ms(user_id, messages, self._clock.monotonic_ms())

    async def _look_at_tables(self, command: Command) -> None:
        try:
            await self._check_block(command)
            await self._check_uploads(command)
            if command.HasField("add_members"):
                added = command.add_members
                added.blocking_ids.extend(await self._blocking(command.sender_id, added.user_ids))
            elif command.HasField("create_group"):
                made = command.create_group
                made.blocking_ids.extend(await self._blocking(command.sender_id, made.member_ids))
        except StoreUnavailable:
            raise Refused("unavailable", "storage is temporarily unavailable; nothing was stored, retry") from None

    async def _check_block(self, command: Command) -> None:
        user_id = command.sender_id
        for other in ids.direct_users(command.session_id):
            if other == user_id or not await self._blocks.blocks(other, user_id):
                continue
            if not await self._is_stored(command):
                raise Refused("user_blocked", "this user does not accept messages from you")

    async def _check_uploads(self, command: Command) -> None:
        """Check the uploads of a body, and add their facts to it. The digest stays that of the client's body, so that
        a repeat of the same body is a repeat."""
        if not command.post.media_ids:
            return
        begun_ms = self._clock.monotonic_ms()
        try:
            uploads = await self._media.owned(command.sender_id, command.post.media_ids)
        except Refused:
            if not await self._is_stored(command):
                raise
            # It is a repeat, which stores nothing. If it ever were none, it must not refer to what is not the sender's.
            del command.post.media_ids[:]
        else:
            command.post.body = described(command.post, uploads)
        if self._clock.monotonic_ms() - begun_ms > UPLOADS_CHECKED_FOR_MS:
            raise Refused("unavailable", "the gateway was stopped for a while; nothing was stored, retry")

    async def _blocking(self, user_id: str, others: Collection[str]) -> list[str]:
        """The other users that block the user. Their lists are read concurrently, so that few batches are needed."""
        others = [other for other in others if other != user_id]
        answers = await asyncio.gather(*(self._blocks.blocks(other, user_id) for other in others))
        return [other for other, is_blocking in zip(others, answers, strict=True) if is_blocking]

    async def _is_stored(self, command: Command) -> bool:
        """Whether the message is stored. A repeat is acked, even if its sender is blocked or its upload removed by now
        (PROTOCOL, Ids)."""
        bucket = KeyBucket.of(command.session_id, command.client_msg_id)
        return bool(await self._store.keys({bucket: [(command.sender_id, command.client_msg_id)]}))
