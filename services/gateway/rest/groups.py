"""REST: groups and their members. Changes are commands that go through Kafka to the persister."""

import os
from collections.abc import Sequence

import orjson
from fastapi import Request
from msgspec import UNSET
from starlette.responses import Response

from services.gateway.protocol import group_commands as commands
from services.gateway.protocol.commands import session_not_found
from services.gateway.protocol.requests import or_none
from services.gateway.reads import groups as group_reads
from services.gateway.reads.groups import MAX_MEMBERS_PAGE, GroupReads
from services.gateway.reads.membership import MOST_READS, Memberships, changes_too_often
from services.gateway.rest.authenticator import Authenticator
from services.gateway.rest.client_msg_ids import client_msg_id_of, required_client_msg_id
from services.gateway.rest.models import AddedMembers, CreatedGroup, GroupChange, LeftOut, MembersQuery
from services.gateway.rest.wire import answer, json_object, query_of
from services.gateway.submit.command_calls import CommandCalls
from tidings.clock import Clock
from tidings.store.rows import GroupRow
from tidings.wire.inbound_pb2 import Command
from tidings.wire.push_pb2 import SendAck


class GroupCalls:
    """Each method is one call of PROTOCOL's REST table."""

    def __init__(
        self,
        authenticator: Authenticator,
        commands: CommandCalls,
        memberships: Memberships,
        groups: GroupReads,
        group_key: bytes,
        clock: Clock,
    ) -> None:
        """`group_key`: the secret from which the ids of new groups are derived."""
        self._authenticator = authenticator
        self._commands = commands
        self._memberships = memberships
        self._groups = groups
        self._group_key = group_key
        self._clock = clock

    async def create_group(self, request: Request) -> Response:
        """Create a group with at most 500 named members. The caller owns it. A repeat with the same id creates no
        second group.

        `left_out` is present only if users that block the caller were left out.
        """
        user_id = self._authenticator.user(request)
        body = await json_object(request)
        given = required_client_msg_id(body, request)
        asker = commands.checked_asker(user_id, given, self._clock.wall_ms())
        ack = await self._decided(commands.creating(asker, self._group_key, body))
        return answer(CreatedGroup(ack.session_id, ack.seq, _left_out(ack) or UNSET), 201)

    async def get_group(self, request: Request, group_id: str) -> Response:
        """The name, owner, mode, size and settings of a group, for its members."""
        group, _ = await self._group_of(request, group_id)
        return answer(orjson.dumps(group_reads.described(group)))

    async def change_group(self, request: Request, group_id: str) -> Response:
        """Rename a group, or change its settings."""
        asker, body = await self._asked(request)
        return await self._answered(commands.changing(asker, commands.checked_group(group_id), body))

    async def dissolve_group(self, request: Request, group_id: str) -> Response:
        """Dissolve a group. Only its owner may do so."""
        asker, _ = await self._asked(request)
        return await self._answered(commands.dissolving(asker, commands.checked_group(group_id)))

    async def list_members(self, request: Request, group_id: str) -> Response:
        """The members by user_id. `after` is the `next` of the previous page."""
        group, _ = await self._group_of(request, group_id)
        query = query_of(request, MembersQuery)
        above, page_limit = or_none(query.after) or "", min(query.limit, MAX_MEMBERS_PAGE)
        for _ in range(MOST_READS):
            page = await self._groups.members(group, above, page_limit)
            # Checked again, because a caller that was removed before the page was read must not see later members. The
            # same holds for a caller that was removed and added again meanwhile (G10).
            before, (group, joined_seq) = group, await self._group_of(request, group_id)
            if joined_seq <= before.as_of_seq:
                return answer(page)
        raise changes_too_often()

    async def add_members(self, request: Request, group_id: str) -> Response:
        """Add up to 500 users. The answer lists the added users, and those left out with the reason."""
        asker, body = await self._asked(request)
        command = commands.adding(asker, commands.checked_group(group_id), body)
        ack = await self._decided(command)
        added = await self._added(command.add_members.user_ids, ack)
        return answer(AddedMembers(ack.session_id, list(added), _left_out(ack), ack.seq or UNSET))

    async def remove_member(self, request: Request, group_id: str, user_id: str) -> Response:
        """Remove a member, or leave the group."""
        asker, _ = await self._asked(request)
        return await self._answered(commands.removing(asker, commands.checked_group(group_id), user_id))

    async def change_member(self, request: Request, group_id: str, user_id: str) -> Response:
        """Change the role of a member, or mute a member until a time."""
        asker, body = await self._asked(request)
        return await self._answered(commands.changing_member(asker, commands.checked_group(group_id), user_id, body))

    async def transfer_group(self, request: Request, group_id: str) -> Response:
        """Change the owner of a group. The old owner becomes an admin."""
        asker, body = await self._asked(request)
        return await self._answered(commands.transferring(asker, commands.checked_group(group_id), body))

    async def _asked(self, request: Request) -> tuple[commands.Asker, commands.Body]:
        """The sender of the command, and the body, which may be empty."""
        user_id = self._authenticator.user(request)
        body = await json_object(request, may_be_empty=True)
        wall_ms = self._clock.wall_ms()
        given = client_msg_id_of(body, request) or commands.made_client_msg_id(wall_ms, os.urandom(10))
        return commands.checked_asker(user_id, given, wall_ms), body

    async def _group_of(self, request: Request, group_id: str) -> tuple[GroupRow, int]:
        """The group, and the seq at which the caller joined. Raises Refused for a non-member."""
        user_id = self._authenticator.user(request)
        membership = await self._memberships.check(user_id, commands.checked_group(group_id))
        if membership.group is None:
            raise session_not_found()
        return membership.group, membership.joined_seq

    async def _answered(self, command: Command) -> Response:
        ack = await self._decided(command)
        return answer(GroupChange(ack.session_id, ack.seq))

    async def _decided(self, command: Command) -> SendAck:
        """The persister's answer. Raises Refused, with `timeout` after 5 s."""
        return await self._commands.run(command, commands.weight(command))

    async def _added(self, asked: Sequence[str], ack: SendAck) -> Sequence[str]:
        """The users that became members. For a repeat they are read from the stored message."""
        if not ack.duplicate:
            left_out = {left.user_id for left in ack.left_out}
            return [user_id for user_id in asked if user_id not in left_out]
        return await self._groups.added_at(ack.session_id, ack.seq)


def _left_out(ack: SendAck) -> list[LeftOut]:
    return [LeftOut(left.user_id, left.code) for left in ack.left_out]
