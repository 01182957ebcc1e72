"""REST: block lists."""

from dataclasses import dataclass

from fastapi import Request
from starlette.responses import Response

from services.gateway.reads.block_lists import BlockLists
from services.gateway.rest.authenticator import Authenticator
from services.gateway.rest.models import BlockList
from services.gateway.rest.wire import answer
from tidings import ids
from tidings.errors import Refused


@dataclass(frozen=True, slots=True)
class BlockCalls:
    """Each method is one call of PROTOCOL's REST table."""

    authenticator: Authenticator
    blocks: BlockLists

    async def block(self, request: Request, user_id: str) -> Response:
        """Block direct messages of a user. Takes effect at every gateway within 5 s."""
        caller = self.authenticator.user(request)
        await self.blocks.add(caller, _other_user(caller, user_id))
        return Response(status_code=204)

    async def unblock(self, request: Request, user_id: str) -> Response:
        """Unblock a user."""
        caller = self.authenticator.user(request)
        await self.blocks.remove(caller, _other_user(caller, user_id))
        return Response(status_code=204)

    async def list_blocks(self, request: Request) -> Response:
        """The users that the caller blocks."""
        return answer(BlockList(list(await self.blocks.listed(self.authenticator.user(request)))))


def _other_user(caller: str, user_id: str) -> str:
    if not ids.is_user_id(user_id):
        raise Refused("invalid_frame", f"user_id is {ids.USER_ID_TEXT}")
    if user_id == caller:
        raise Refused("invalid_frame", "a user cannot block themselves; name another user")
    return user_id
