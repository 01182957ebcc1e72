"""REST: sessions, history, read marks, receipts."""

from fastapi import Request
from starlette.responses import Response

from services.gateway.protocol.limits import MAX_PAGE
from services.gateway.protocol.requests import ReadRequest, or_none, read
from services.gateway.reads.membership import MOST_READS, Membership, Memberships, changes_too_often
from services.gateway.reads.receipts import ReceiptReads
from services.gateway.reads.session_list import SessionLists
from services.gateway.reads.sessions import HistoryRange, SessionReads
from services.gateway.rest.authenticator import Authenticator
from services.gateway.rest.models import HistoryQuery, ReadMark, ReceiptsQuery, SessionsQuery
from services.gateway.rest.wire import answer, json_object, path_number, query_of
from services.gateway.submit.read_marks import ReadMarks
from tidings import ids
from tidings.errors import Refused


class SessionCalls:
    """Each method is one call of PROTOCOL's REST table."""

    def __init__(
        self,
        authenticator: Authenticator,
        memberships: Memberships,
        sessions: SessionReads,
        lists: SessionLists,
        receipts: ReceiptReads,
        read_marks: ReadMarks,
    ) -> None:
        """All parts are shared by the whole gateway."""
        self._authenticator = authenticator
        self._memberships = memberships
        self._sessions = sessions
        self._lists = lists
        self._receipts = receipts
        self._read_marks = read_marks

    async def list_sessions(self, request: Request) -> Response:
        """The caller's sessions, newest activity first. `before` is the `next` of the previous page."""
        user_id = self._authenticator.user(request)
        asked = query_of(request, SessionsQuery)
        return answer(await self._lists.page(user_id, min(asked.limit, MAX_PAGE), or_none(asked.before)))

    async def get_session(self, request: Request, session_id: str) -> Response:
        """One session of the caller."""
        member = await self._member(request, session_id)
        return answer(await self._sessions.session(member.user_id, session_id))

    async def read_history(self, request: Request, session_id: str) -> Response:
        """Messages of a session, ascending. Without a bound, the newest ones. `at`: the first ones from a time on."""
        await self._member(request, session_id)
        query = query_of(request, HistoryQuery)
        asked = HistoryRange(
            before_seq=or_none(query.before_seq),
            after_seq=or_none(query.after_seq),
            limit=min(query.limit, MAX_PAGE),
            at=or_none(query.at),
        )
        head = await self._sessions.head(session_id)
        # Checked again, because a member removed before this head was read must not see messages up to it (G10).
        member = await self._member(request, session_id)
        return answer(await self._sessions.page(member, asked, head))

    async def mark_read(self, request: Request, session_id: str) -> Response:
        """Move the caller's read mark. A seq beyond the head counts as the head, and the mark never goes back.

        The answer is sent when the mark is stored, so no later call shows less.
        """
        user_id = (await self._member(request, session_id)).user_id
        seq = read(ReadRequest, await json_object(request)).seq
        read_seq = min(seq, await self._sessions.head_seq(session_id))
        # Checked again, because a member removed before this head was read must not get it (G10).
        await self._member(request, session_id)
        try:
            stored = await self._read_marks.move(session_id, user_id, read_seq)
        except Refused as refused:
            if refused.code == "timeout":
                # Receipts drops the mark of a member that was removed meanwhile, which explains the timeout.
                await self._member(request, session_id)
            raise
        delivered_seq = max(stored.read_seq, stored.delivered_seq)
        return answer(ReadMark(session_id, stored.read_seq, delivered_seq))

    async def message_receipts(self, request: Request, session_id: str, seq: str) -> Response:
        """The members that have received or read a message. For its author, and admins of the group."""
        member = await self._member(request, session_id)
        query = query_of(request, ReceiptsQuery)
        number = path_number(ReadRequest, "seq", seq).seq
        above, page_limit = or_none(query.after) or "", min(query.limit, MAX_PAGE)
        for _ in range(MOST_READS):
            page = await self._receipts.of_message(member, number, above, page_limit)
            # Checked again, because a caller that was removed before the page was read must not see later receipts. A
            # caller that was added again has lost the earlier rights and messages (G10).
            before, member = member, await self._member(request, session_id)
            if (member.joined_seq, member.role) == (before.joined_seq, before.role):
                return answer(page)
        raise changes_too_often()

    async def _member(self, request: Request, session_id: str) -> Membership:
        """The caller's membership in a session. Raises Refused for a malformed id, or a non-member."""
        user_id = self._authenticator.user(request)
        if not ids.is_session_id(session_id):
            raise Refused("invalid_frame", "session_id is d:<a>:<b> with a <= b in byte order, or g:<id>")
        return await self._memberships.check(user_id, session_id)
