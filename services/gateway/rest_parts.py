"""What the REST calls share."""

from dataclasses import dataclass

from starlette.requests import Request

from services.gateway.blocks import Blocks
from services.gateway.bodies import BodyRules
from services.gateway.inbox_reads import InboxReads
from services.gateway.posting import Posting
from services.gateway.publishing import Publisher
from services.gateway.session_reads import SessionReads
from services.gateway.tokens import Tokens
from services.gateway.waiting import WaitingCalls
from tidings.clock import Clock
from tidings.errors import Refused


@dataclass(frozen=True, slots=True)
class RestParts:
    """What the calls need. `signing` is the key of development mode, None outside of it."""

    tokens: Tokens
    signing: bytes | None
    audience: str
    posting: Posting
    publisher: Publisher
    waiting: WaitingCalls
    blocks: Blocks
    inbox: InboxReads
    sessions: SessionReads
    body_rules: BodyRules
    clock: Clock

    def user(self, request: Request) -> str:
        """Who calls; raises Refused(`unauthorized`, `token_expired`)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("unauthorized", "send the header Authorization: Bearer <token>")
        return self.tokens.verify(token.strip(), self.clock.wall_ms()).user_id
