"""GET /admin/v1/trace: where a message is, for operators. On the admin port only, and never with a user's token.

docs/OPERATIONS.md, *Where is a message?*, has the parameters. Every use is logged.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from tidings import ids
from tidings.broker.base import Broker
from tidings.errors import StoreUnavailable
from tidings.logging import logger
from tidings.runtime.admin_calls import Access, AdminAnswer, AdminRequest, OperatorTokens
from tidings.store.base import ColdRows, Store
from tidings.topics import TopicSizes
from tidings.tracing.lines import Trace
from tidings.tracing.log_view import log_view
from tidings.tracing.subjects import InvalidSubject, Subject, subject_of
from tidings.tracing.tracer import Tracer

PATH = "/admin/v1/trace"
# The tables and the log have bounds of their own for each question. An operator waits for the sum of a few of them.
_WITHIN_S = 30.0
_PARAMETERS = ("message_id", "session", "seq", "sender", "client_msg_id", "recipient")
_MOST_QUERY = 2_048

_log = logger("tidings.operators")


class TraceCall:
    """Answers one trace at a time, so that operators take little from the gateway's clients."""

    def __init__(
        self, tokens: OperatorTokens, store: Store, broker: Broker, epoch: int, sizes: TopicSizes, cold: ColdRows
    ) -> None:
        """Each trace has connections of its own to the log, so that it cannot hold up the gateway's."""
        self._tokens = tokens
        self._store = store
        self._broker = broker
        self._epoch = epoch
        self._sizes = sizes
        self._cold = cold
        self._is_busy = False

    async def __call__(self, request: AdminRequest) -> AdminAnswer:
        """The trace as JSON. 404 without a configured token, 401 for a missing or wrong one, 400 for a bad question."""
        access = await self._tokens.access(request.authorization)
        if access is Access.OFF:
            return AdminAnswer(404, b"not found\n", "text/plain; charset=utf-8")
        if access is Access.DENIED:
            _log.warning("operator call refused", path=PATH, peer=request.peer)
            return AdminAnswer.json(401, {"problem": "unauthorized"}, ("www-authenticate", "Bearer"))
        if request.method != "GET":
            return AdminAnswer.json(405, {"problem": "only GET"}, ("allow", "GET"))
        return await self._asked(request)

    async def _asked(self, request: AdminRequest) -> AdminAnswer:
        try:
            given = _given(request.query)
            subject = subject_of(**{name: text for name, text in given.items() if name != "recipient"})
        except InvalidSubject as error:
            _log.info("operator call", path=PATH, peer=request.peer, subject="", outcome="invalid")
            return AdminAnswer.json(400, {"problem": str(error)})
        answer, outcome = await self._traced(subject, given.get("recipient", ""))
        _log.info("operator call", path=PATH, peer=request.peer, subject=str(subject), outcome=outcome)
        return answer

    async def _traced(self, subject: Subject, recipient: str) -> tuple[AdminAnswer, str]:
        if self._is_busy:
            problem = {"problem": "another trace runs at this gateway; repeat the call, or ask another gateway"}
            return AdminAnswer.json(429, problem, ("retry-after", "1")), "busy"
        self._is_busy = True
        try:
            async with asyncio.timeout(_WITHIN_S):
                found = await self._trace(subject, recipient)
        except StoreUnavailable as error:
            return AdminAnswer.json(503, {"problem": f"Cassandra does not answer: {error}"}), "unavailable"
        except TimeoutError:
            return AdminAnswer.json(503, {"problem": f"no answer within {_WITHIN_S:g} s"}), "unavailable"
        finally:
            self._is_busy = False
        return AdminAnswer.json(200, found.fields()), str(found.outcome)

    async def _trace(self, subject: Subject, recipient: str) -> Trace:
        async with log_view(self._broker, self._epoch, self._sizes) as log:
            return await Tracer(self._store, log, self._cold).trace(subject, recipient)


def _given(query: str) -> Mapping[str, str]:
    """The parameters of a query. Raises InvalidSubject."""
    if len(query) > _MOST_QUERY:
        raise InvalidSubject(f"the query is longer than {_MOST_QUERY} characters")
    given: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _PARAMETERS:
            raise InvalidSubject(f"there is no such parameter; there are {', '.join(_PARAMETERS)}")
        if name in given or not text:
            raise InvalidSubject(f"{name} is empty or given twice")
        given[name] = text
    if "recipient" in given and not ids.is_logged_user_id(given["recipient"]):
        raise InvalidSubject(f"recipient is not a user id: {ids.USER_ID_TEXT}")
    return given
