"""REST: sending messages, and reading the inbox."""

import asyncio
from collections.abc import Mapping

import orjson
from fastapi import Request
from msgspec import UNSET
from starlette.responses import Response

from services.gateway.protocol.batch_bodies import Broken, entries_of, entry_of
from services.gateway.protocol.bodies import BodyRules
from services.gateway.protocol.commands import checked_draft, command_of, usable_client_msg_id
from services.gateway.protocol.field_types import MAX_BATCH
from services.gateway.protocol.frames import Send
from services.gateway.protocol.limits import MAX_PAGE
from services.gateway.reads.inbox import InboxReads
from services.gateway.rest.authenticator import Authenticator
from services.gateway.rest.client_msg_ids import required_client_msg_id
from services.gateway.rest.models import BatchAnswer, InboxQuery, RefusedMessage, SentMessage
from services.gateway.rest.wire import BATCH_BYTES, answer, content_of, json_object, query_of
from services.gateway.submit.command_calls import CommandCalls
from services.gateway.submit.pending_calls import Ticket
from tidings.clock import Clock
from tidings.errors import Refused
from tidings.wire.push_pb2 import SendAck

Posted = tuple[object, Ticket | Refused]

_FIELDS = ("client_msg_id", "session_id", "to", "kind", "body", "reply_to", "mentions", "attempt")


class MessageCalls:
    """Each method is one call of PROTOCOL's REST table."""

    def __init__(
        self,
        authenticator: Authenticator,
        commands: CommandCalls,
        inbox: InboxReads,
        body_rules: BodyRules,
        deployment: Mapping[str, object],
        clock: Clock,
    ) -> None:
        """`deployment`: the life of the tables, as PROTOCOL shows it."""
        self._authenticator = authenticator
        self._commands = commands
        self._inbox = inbox
        self._body_rules = body_rules
        self._deployment = deployment
        self._clock = clock

    async def send_message(self, request: Request) -> Response:
        """Send one message and wait for its ack: 201, or 504 `timeout` after 5 s."""
        user_id = self._authenticator.user(request)
        body = dict(await json_object(request))
        body["client_msg_id"] = required_client_msg_id(body, request)
        ticket = await self._post(user_id, body)
        return answer(_acked(await self._commands.result(ticket)), 201)

    async def send_batch(self, request: Request) -> Response:
        """Send 1-100 messages in order. Each has its own result. The body may have 1 MiB."""
        user_id = self._authenticator.user(request)
        entries = entries_of(await content_of(request, BATCH_BYTES))
        if not 1 <= len(entries) <= MAX_BATCH:
            raise Refused("invalid_frame", f"messages is a list of 1-{MAX_BATCH} messages")
        posted = [await self._post_one(user_id, entry_of(entry)) for entry in entries]
        posted = self._waiting_alike(user_id, posted)
        results = await asyncio.gather(*(self._result(client_msg_id, ticket) for client_msg_id, ticket in posted))
        return answer(BatchAnswer(results))

    async def read_inbox(self, request: Request) -> Response:
        """A page of the inbox after a cursor: the fields of a `sync_page`, and the life of the tables."""
        user_id = self._authenticator.user(request)
        asked = query_of(request, InboxQuery)
        page = await self._inbox.page(user_id, asked.after, min(asked.limit, MAX_PAGE))
        return answer(orjson.dumps({**page.fields(), "deployment": self._deployment}))

    async def _post(self, user_id: str, body: Mapping[str, object]) -> Ticket:
        """Publish a message. Raises Refused if nothing was published."""
        send = Send(**{name: body.get(name) for name in _FIELDS})
        draft = checked_draft(user_id, send, self._body_rules, self._clock.wall_ms())
        return await self._commands.begin(command_of(user_id, draft), 1)

    async def _post_one(self, user_id: str, message: Mapping[str, object] | Broken) -> Posted:
        """The entry's client_msg_id, unchecked, and its ticket or refusal."""
        if isinstance(message, Broken):
            return message.client_msg_id, message.refused
        client_msg_id = message.get("client_msg_id")
        try:
            return client_msg_id, await self._post(user_id, message)
        except Refused as refused:
            return client_msg_id, refused

    def _waiting_alike(self, user_id: str, posted: list[Posted]) -> list[Posted]:
        """Give all rate-limited entries one wait, after which the whole batch is accepted if it is repeated."""
        limited = sum(isinstance(ticket, Refused) and ticket.code == "rate_limited" for _, ticket in posted)
        if not limited:
            return posted
        wait_ms = self._commands.wait_ms(user_id, len(posted) - limited)
        return [
            (client_msg_id, Refused(ticket.code, ticket.text, wait_ms))
            if isinstance(ticket, Refused) and ticket.code == "rate_limited"
            else (client_msg_id, ticket)
            for client_msg_id, ticket in posted
        ]

    async def _result(self, client_msg_id: object, ticket: Ticket | Refused) -> SentMessage | RefusedMessage:
        try:
            if isinstance(ticket, Refused):
                raise ticket
            return _acked(await self._commands.result(ticket))
        except Refused as refused:
            return _refused(client_msg_id, refused)


def _acked(ack: SendAck) -> SentMessage:
    return SentMessage(
        client_msg_id=ack.client_msg_id,
        message_id=str(ack.message_id),
        session_id=ack.session_id,
        seq=ack.seq,
        at=ack.at_ms,
        duplicate=ack.duplicate,
    )


def _refused(given: object, refused: Refused) -> RefusedMessage:
    return RefusedMessage(
        code=refused.code,
        message=refused.text,
        retryable=refused.is_retryable,
        client_msg_id=usable_client_msg_id(given) or UNSET,
        retry_after_ms=UNSET if refused.retry_after_ms is None else refused.retry_after_ms,
    )
