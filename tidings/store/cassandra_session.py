"""The session interface that the store uses, and its implementation on cassandra-driver.

acsylla could be a second implementation, because the store itself does not import the driver.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Protocol

from cassandra import OperationTimedOut
from cassandra.cluster import ResponseFuture, Session
from cassandra.query import BatchStatement, BatchType, PreparedStatement

from tidings import metrics
from tidings.errors import ConfigurationError, StoreUnavailable
from tidings.store import statements
from tidings.store.cassandra_cluster import (
    PROGRAMMING_ERRORS,
    SERVER_ERRORS,
    connect,
    prepared_transaction,
    use_keyspace,
)
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.cassandra_encoding import RowEncoder
from tidings.store.rows import Row
from tidings.store.threads import in_daemon_thread

# One connection accepts 32,768. More than this in flight only makes each request slower (FIELD-NOTES).
_REQUESTS_IN_FLIGHT = 512


class CassandraSession(Protocol):
    """The operations of a driver.

    Time-outs and errors of servers or network raise StoreUnavailable, and the outcome is unknown.
    """

    async def start(self) -> None:
        """Connect in bounded time and prepare all statements. Raises StoreUnavailable, ConfigurationError."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...

    async def execute(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Execute one statement of statements.py. Returns all rows of all pages."""
        ...

    async def execute_batch(self, rows: Iterable[Row]) -> None:
        """Write rows in one unlogged batch."""
        ...

    def replica_set(self, row: Row) -> Hashable:
        """A value that is equal for rows whose partitions have the same replicas."""
        ...


class DriverSession:
    """Implements CassandraSession on cassandra-driver, whose callbacks run in its thread. Our thread never blocks."""

    def __init__(self, config: CassandraConfig) -> None:
        self._config = config
        self._in_flight = asyncio.Semaphore(_REQUESTS_IN_FLIGHT)
        self._answers: _Answers | None = None
        self._session: Session | None = None
        self._prepared: dict[str, PreparedStatement] = {}
        self._encoders: dict[type[Row], RowEncoder] = {}
        self._ring: object = None
        self._has_one_replica_set = False

    async def start(self) -> None:
        self._answers = _Answers(asyncio.get_running_loop())
        given_up = threading.Event()
        try:
            await in_daemon_thread(lambda: self._connect(given_up))
        finally:
            given_up.set()

    async def stop(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await in_daemon_thread(session.cluster.shutdown)

    async def execute(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        self._connected()  # raises before the start, when no statement is prepared
        return await self._request(self._prepared[statement].bind(values), statements.described(statement))

    async def execute_batch(self, rows: Iterable[Row]) -> None:
        batch = BatchStatement(BatchType.UNLOGGED)
        # Not batch.add(), which binds each row and computes its routing key: ten times the cost of encoding the row.
        entries = batch._statements_and_parameters
        table = ""
        for row in rows:
            table = table or row.table
            encoder = self._encoders[type(row)]
            values = encoder.encode(row)
            if not entries:
                batch.routing_key, batch.keyspace = encoder.routing_key(values), self._config.keyspace
            entries.append((True, encoder.query_id, values))
        await self._request(batch, (table, "write"))

    def replica_set(self, row: Row) -> Hashable:
        metadata = self._connected().cluster.metadata
        if metadata.token_map is not self._ring:
            self._ring = metadata.token_map
            self._has_one_replica_set = self._all_share_replicas()
        if self._has_one_replica_set:
            return None
        encoder = self._encoders[type(row)]
        return frozenset(metadata.get_replicas(self._config.keyspace, encoder.routing_key(encoder.encode(row))))

    def _connected(self) -> Session:
        if self._session is None:
            raise StoreUnavailable("not started, or stopped")
        return self._session

    def _connect(self, given_up: threading.Event) -> None:
        session = connect(self._config, given_up=given_up)
        try:
            use_keyspace(session, self._config.keyspace)
            self._prepared = {text: session.prepare(text) for text in _prepared_texts()}
            self._prepared |= {text: prepared_transaction(session, text) for text in statements.TRANSACTIONS}
            inserts = {kind: session.prepare(statements.insert(kind)) for kind in statements.ROW_CLASSES}
            self._encoders = {kind: RowEncoder(kind, prepared) for kind, prepared in inserts.items()}
        except PROGRAMMING_ERRORS as error:
            session.cluster.shutdown()
            raise ConfigurationError(f"the tables do not fit this version: run `tidings init` ({error})") from error
        except SERVER_ERRORS as error:
            session.cluster.shutdown()
            raise _unavailable(error) from error
        except BaseException:
            session.cluster.shutdown()
            raise
        if given_up.is_set():
            session.cluster.shutdown()
        else:
            self._session = session

    def _all_share_replicas(self) -> bool:
        """Whether there is a single node, or every node holds all data."""
        ring = self._connected().cluster.metadata.token_map
        if ring is None:
            return False
        sets = {frozenset(ring.get_replicas(self._config.keyspace, token)) for token in ring.ring}
        return len(sets) == 1

    async def _request(self, statement: Any, place: tuple[str, str]) -> list[tuple[Any, ...]]:
        """`place`: the table and the operation, for the metric. It includes the wait for a request of others."""
        session, answers = self._connected(), self._answers
        assert answers is not None
        began_s = time.monotonic()
        async with self._in_flight:
            answer = answers.expect()
            _Request(session.execute_async(statement), answer, answers.put)
            try:
                return await answer
            except StoreUnavailable as error:
                timed_out = isinstance(error.__cause__, OperationTimedOut)
                metrics.STORE_ERRORS.labels("timed_out" if timed_out else "refused").inc()
                raise
            finally:
                metrics.STORE_SECONDS.labels(*place).observe(time.monotonic() - began_s)
                # An error and this frame refer to each other. A batch is too large to wait for the garbage collector.
                del answer, statement


def _prepared_texts() -> tuple[str, ...]:
    checks = (statements.SCHEMA_VERSIONS, statements.DEPLOYMENT, statements.SERVER_SETTING)
    return (*statements.READS, *statements.ARCHIVE, *statements.AUDIT, *checks)


_Rows = list[tuple[Any, ...]]
_Outcome = _Rows | BaseException


class _Request:
    """One statement in flight. It fetches the further pages in the driver's thread."""

    __slots__ = ("_answer", "_pending", "_put", "_rows")

    def __init__(
        self,
        pending: ResponseFuture,
        answer: "asyncio.Future[_Rows]",
        put: Callable[["asyncio.Future[_Rows]", _Outcome], None],
    ) -> None:
        self._pending = pending
        self._answer = answer
        self._put = put
        self._rows: _Rows = []
        # In this order, because add_callback may run at once with a page that has arrived, and may end the request.
        pending.add_errback(self._on_error)
        pending.add_callback(self._on_page)

    def _on_page(self, rows: _Rows | None) -> None:
        self._rows += rows or ()
        if self._pending.has_more_pages:
            self._pending.start_fetching_next_page()
        else:
            self._end(self._rows)

    def _on_error(self, error: BaseException) -> None:
        self._end(error)

    def _end(self, outcome: _Outcome) -> None:
        # The driver's future, its timer and these callbacks refer to each other. Without the references the rows of a
        # batch are freed without the garbage collector (ADR 21).
        self._pending.clear_callbacks()
        self._pending._timer = None
        self._put(self._answer, outcome)


class _Answers:
    """Passes answers from the driver's thread to the event loop, with one callback for all answers at hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[asyncio.Future[_Rows], _Outcome]] = deque()
        self._is_scheduled = False

    def expect(self) -> "asyncio.Future[_Rows]":
        """The future of one answer."""
        return self._loop.create_future()

    def put(self, answer: "asyncio.Future[_Rows]", outcome: _Outcome) -> None:
        """Add an answer, from any thread. `_drain` clears the flag before it reads, so no answer is left behind."""
        self._arrived.append((answer, outcome))
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._is_scheduled = False
        while self._arrived:
            answer, outcome = self._arrived.popleft()
            if answer.done():
                continue
            if not isinstance(outcome, BaseException):
                answer.set_result(outcome)
            elif isinstance(outcome, PROGRAMMING_ERRORS):
                answer.set_exception(outcome)
            else:
                answer.set_exception(_unavailable(outcome))


def _unavailable(cause: BaseException) -> StoreUnavailable:
    error = StoreUnavailable(f"{type(cause).__name__}: {cause}")
    error.__cause__ = cause
    return error
