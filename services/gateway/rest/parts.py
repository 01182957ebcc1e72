"""What the REST calls share."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from services.gateway.protocol.bodies import BodyRules
from services.gateway.protocol.frames import is_given
from services.gateway.reads.block_lists import Blocks
from services.gateway.reads.groups import GroupReads
from services.gateway.reads.inbox import InboxReads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.receipts import ReceiptReads
from services.gateway.reads.session_list import SessionLists
from services.gateway.reads.sessions import SessionReads
from services.gateway.submit.pending_calls import Ticket, WaitingCalls
from services.gateway.submit.publisher import Publisher, unavailable
from services.gateway.submit.read_marks import ReadMarks
from services.gateway.submit.submitter import Caller, Posting
from services.gateway.tokens import Tokens
from tidings.clock import Clock
from tidings.errors import Refused
from tidings.wire.inbound_pb2 import Command

_QUOTED = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"')
_ESCAPED = re.compile(r'\\(["\\])')


@dataclass(frozen=True, slots=True)
class RestParts:
    """What the calls need. `signing` is the key of development mode, None outside of it.

    `deployment`: the life of the tables, as PROTOCOL shows it.
    """

    tokens: Tokens
    signing: bytes | None
    audience: str
    posting: Posting
    publisher: Publisher
    waiting: WaitingCalls
    blocks: Blocks
    inbox: InboxReads
    sessions: SessionReads
    lists: SessionLists
    memberships: Memberships
    groups: GroupReads
    receipts: ReceiptReads
    read_marks: ReadMarks
    group_key: bytes
    body_rules: BodyRules
    deployment: Mapping[str, object]
    clock: Clock

    def user(self, request: Request) -> str:
        """Who calls; raises Refused(`unauthorized`, `token_expired`)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("unauthorized", "send the header Authorization: Bearer <token>")
        return self.tokens.verify(token.strip(), self.clock.wall_ms()).user_id

    async def publish(self, command: Command, weight: int) -> Ticket:
        """Publish a command of its sender, whose answer `waiting` then has; raises Refused if nothing was published."""
        ticket = self.waiting.open(command.sender_id)
        caller = Caller(command.sender_id, ticket.name, None)
        try:
            await self.posting.command(
                caller, command, weight, lambda: self.waiting.refused(ticket.name, unavailable())
            )
        except BaseException:
            self.waiting.forget(ticket)
            raise
        return ticket


def client_msg_id_of(body: Mapping[str, object], request: Request) -> object:
    """From the body or the header `Idempotency-Key`, None for neither; Refused when both are given and differ."""
    given, header = body.get("client_msg_id"), _idempotency_key(request.headers.getlist("idempotency-key"))
    if not is_given(given):
        return header or None
    if header and header != given:
        raise Refused("invalid_frame", "client_msg_id and Idempotency-Key differ; give one of them")
    return given


def _idempotency_key(headers: Sequence[str]) -> str:
    """The key, bare or as a quoted string (RFC 9651, which the IETF's draft of the header asks for); empty for none."""
    if len(headers) > 1:
        raise Refused("invalid_frame", "Idempotency-Key is given more than once; give it once")
    text = headers[0].strip() if headers else ""
    if not text.startswith('"'):
        return text
    if not _QUOTED.fullmatch(text):
        raise Refused("invalid_frame", 'Idempotency-Key begins with a quote: write "<key>", with \\" and \\\\ inside')
    return _ESCAPED.sub(r"\1", text[1:-1])


def required_client_msg_id(body: Mapping[str, object], request: Request) -> object:
    """As client_msg_id_of; Refused for neither."""
    given = client_msg_id_of(body, request)
    if given is None:
        raise Refused("invalid_frame", "client_msg_id is missing; give it in the body or as Idempotency-Key")
    return given
