"""Outgoing messages: tries, repeats, pacing, and the statuses that the sender sees.

Pure: every call takes `now_ms` and returns effects. Rules: PROTOCOL, *Status* and *Retry*.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from tidings_client import backoff
from tidings_client.drafts import Draft
from tidings_client.effects import Effect, IdChanged, KeepAs, SendFrame, Status, StatusChanged
from tidings_client.frames import Limits, Send, SendError, encoded_bytes
from tidings_client.identity import is_off, may_change
from tidings_client.pacing import Pace
from tidings_client.receipts import Receipts

TRY_MS = 5_000  # PROTOCOL: a try has failed after 5 s without an answer
MAX_IN_FLIGHT = 256  # half of a persister's round; more only fills the server's queues
FAILED_REMEMBERED = 1_000  # failed messages that may still be stored; the oldest are evicted


@dataclass(slots=True)
class _Pending:
    draft: Draft
    order: int
    attempt: int
    repeats: int = 0
    changes: int = 0


@dataclass(slots=True)
class Outgoing:
    """Every own message that is not stored yet. It is in exactly one of four places:

    `_ready`: sent as soon as the connection and the pace allow, in the order of composing. `_waiting`: until a repeat
    is due. `_in_flight`: until an answer. `_kept_as`: until the outbox has stored its new id.
    `make_id` returns an id for a time; without it ids never change."""

    make_id: Callable[[int], str] | None = None
    receipts: Receipts = field(default_factory=Receipts)
    _limits: Limits = field(default_factory=Limits)
    _pace: Pace = field(default_factory=Pace)
    _user_id: str = ""
    _connected: bool = False
    _composed: int = 0
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _ready: list[tuple[int, str]] = field(default_factory=list)
    _waiting: list[tuple[int, int, str]] = field(default_factory=list)
    _in_flight: dict[str, int] = field(default_factory=dict)
    _kept_as: set[str] = field(default_factory=set)
    _failed: OrderedDict[str, Draft] = field(default_factory=OrderedDict)
    _server_offset_ms: int = 0
    _suspects: set[str] = field(default_factory=set)  # one of these is too large, so each is tried alone

    def submit(self, now_ms: int, draft: Draft) -> Iterator[Effect]:
        """Accept a message. It fails at once if it is above the server's limit (before the first `welcome`: above
        PROTOCOL's). Raises ValueError if a message with its id is pending."""
        if draft.client_msg_id in self._pending:
            raise ValueError(f"client_msg_id {draft.client_msg_id} is already being sent")
        self._composed += 1
        self._failed.pop(draft.client_msg_id, None)
        pending = self._pending[draft.client_msg_id] = _Pending(draft, self._composed, draft.attempt)
        yield StatusChanged(draft.client_msg_id, Status.SENDING)
        if self._is_too_large(draft.frame(draft.attempt)):
            yield self._give_up_too_large(pending)
            return
        # The message was composed before this connection was open, and the outbox stored it only now.
        todo = self._before_first_try(now_ms, pending) if self._connected else ()
        if todo:
            yield from todo
            return
        heapq.heappush(self._ready, (pending.order, draft.client_msg_id))
        yield from self._pump(now_ms)

    def refuse(self, draft: Draft, fault: str) -> Iterator[Effect]:
        """Fail a message that no frame can carry."""
        yield StatusChanged(draft.client_msg_id, Status.SENDING)
        yield StatusChanged(draft.client_msg_id, Status.FAILED, code="invalid_body", reason=fault)

    def recall(self, drafts: Iterable[Draft]) -> None:
        """Add messages that failed in an earlier process. They may still be stored."""
        for draft in drafts:
            self._remember_failed(draft)

    def server_time(self, now_ms: int, server_ms: int) -> None:
        """Set the server's clock at `now_ms`. The server compares the time inside an id with it."""
        self._server_offset_ms = server_ms - now_ms

    def ready(self, now_ms: int, user_id: str, limits: Limits) -> Iterator[Effect]:
        """The connection is signed in. Messages without an answer go first, in the order of composing. A message that
        was composed without the server's time gets a new id, if the server would refuse its own."""
        self._connected, self._user_id = True, user_id
        self._limits = limits
        self._pace.set(now_ms, limits.messages_per_s, limits.burst)
        ready, self._ready = sorted(self._ready), []
        for order, client_msg_id in ready:
            if (pending := self._pending.get(client_msg_id)) is None:
                continue
            if todo := self._before_first_try(now_ms, pending):
                yield from todo
            else:
                self._ready.append((order, client_msg_id))  # sorted, and so a heap
        yield from self._pump(now_ms)

    def kept(self, now_ms: int, client_msg_id: str) -> Iterator[Effect]:
        """The answer to `KeepAs`: the message may be tried under its new id."""
        self._kept_as.discard(client_msg_id)
        if (pending := self._pending.get(client_msg_id)) is not None:
            heapq.heappush(self._ready, (pending.order, client_msg_id))
        yield from self._pump(now_ms)

    def lost(self, *, too_big: bool = False) -> Iterator[Effect]:
        """The connection ended, so every unanswered try has failed and is repeated on the next one. `too_big` (1009):
        the server or a proxy accepts less than announced, so a message that was alone in flight fails."""
        self._connected = False
        in_flight, self._in_flight = self._in_flight, {}
        if too_big and len(in_flight) > 1:
            self._suspects.update(in_flight)
        for client_msg_id in in_flight:
            pending = self._pending[client_msg_id]
            if too_big and len(in_flight) == 1:
                yield self._give_up(pending, "too_large", "the connection was closed because of its size (1009)")
            elif self._may_repeat(pending):
                heapq.heappush(self._ready, (pending.order, client_msg_id))
            else:
                yield self._give_up(pending, "timeout", "the connection ended before an answer to the last try")

    def tick(self, now_ms: int, jitter: float) -> Iterator[Effect]:
        for client_msg_id in [i for i, until_ms in self._in_flight.items() if until_ms <= now_ms]:
            yield from self._try_failed(now_ms, client_msg_id, jitter, "timeout", "no answer to the last try")
        while self._waiting and self._waiting[0][0] <= now_ms:
            _, order, client_msg_id = heapq.heappop(self._waiting)
            if client_msg_id in self._pending:
                heapq.heappush(self._ready, (order, client_msg_id))
        yield from self._pump(now_ms)

    def next_tick_ms(self, now_ms: int) -> int | None:
        """When to call `tick` next; None if only another call can change anything."""
        times = [self._waiting[0][0]] if self._waiting else []
        if self._in_flight:
            times.append(next(iter(self._in_flight.values())))  # all tries have one timeout, so the first ends first
        if self._has_turn():
            times.append(self._pace.next_ms(now_ms))
        return min(times, default=None)

    def stored(self, now_ms: int, client_msg_id: str, session_id: str, seq: int, message_id: str) -> Iterator[Effect]:
        """An ack, or the message itself, has arrived. Both prove that a quorum has stored the message."""
        if session_id != self._session_of(client_msg_id):
            return
        self._pending.pop(client_msg_id, None)
        self._in_flight.pop(client_msg_id, None)
        self._failed.pop(client_msg_id, None)
        self._suspects.discard(client_msg_id)
        yield StatusChanged(client_msg_id, Status.SENT, session_id, seq, message_id)
        yield from self.receipts.watch(client_msg_id, session_id, seq, message_id)
        yield from self._pump(now_ms)

    def refused(self, now_ms: int, error: SendError, jitter: float) -> Iterator[Effect]:
        """A `send_error`: this try stored nothing, or its outcome is unknown."""
        pending = self._pending.get(error.client_msg_id)
        if pending is None or error.session_id not in (None, pending.draft.session_of(self._user_id)):
            return
        if error.retryable:
            if error.client_msg_id in self._in_flight:  # otherwise this answers a try that has timed out
                yield from self._try_failed(
                    now_ms, error.client_msg_id, jitter, error.code, error.message, error.retry_after_ms or 0
                )
        elif (make_id := self.make_id) is not None and self._may_change(pending, error.code):
            yield from self._change_id(now_ms, pending, make_id)
        else:
            yield self._give_up(pending, error.code, error.message)
        yield from self._pump(now_ms)

    def _may_change(self, pending: _Pending, code: str) -> bool:
        return may_change(pending.draft, code, pending.attempt - pending.draft.attempt, pending.changes)

    def _before_first_try(self, now_ms: int, pending: _Pending) -> tuple[Effect, ...]:
        is_first = pending.draft.is_untried or pending.attempt == 1
        if self.make_id is not None and is_first and is_off(pending.draft, now_ms + self._server_offset_ms):
            return self._change_id(now_ms, pending, self.make_id)
        return (self._keep_as(pending, pending.draft.client_msg_id),) if pending.draft.is_untried else ()

    def _change_id(self, now_ms: int, pending: _Pending, make_id: Callable[[int], str]) -> tuple[Effect, ...]:
        pending.changes += 1
        was, client_msg_id = pending.draft.client_msg_id, make_id(now_ms + self._server_offset_ms)
        return self._keep_as(pending, client_msg_id), IdChanged(was, client_msg_id)

    def _keep_as(self, pending: _Pending, client_msg_id: str) -> KeepAs:
        """Wait in `_kept_as` for the outbox, because a restart must find the message under an id that was tried."""
        was = pending.draft.client_msg_id
        del self._pending[was]
        self._in_flight.pop(was, None)
        self._suspects.discard(was)
        draft = replace(pending.draft, client_msg_id=client_msg_id, attempt=1, is_untried=False)
        self._pending[client_msg_id] = _Pending(draft, pending.order, draft.attempt, changes=pending.changes)
        self._kept_as.add(client_msg_id)
        return KeepAs(was, draft)

    def _session_of(self, client_msg_id: str) -> str | None:
        """The session of the pending or failed message with this id; None if there is none. The same id may name
        another message in another session (PROTOCOL: unique per session and sender)."""
        if (pending := self._pending.get(client_msg_id)) is not None:
            return pending.draft.session_of(self._user_id)
        failed = self._failed.get(client_msg_id)
        return None if failed is None else failed.session_of(self._user_id)

    def _try_failed(
        self, now_ms: int, client_msg_id: str, jitter: float, code: str, reason: str, at_least_ms: int = 0
    ) -> Iterator[Effect]:
        del self._in_flight[client_msg_id]
        pending = self._pending[client_msg_id]
        wait_ms = max(at_least_ms, backoff.delay_ms(pending.repeats, jitter))
        if self._may_repeat(pending):
            heapq.heappush(self._waiting, (now_ms + wait_ms, pending.order, client_msg_id))
        else:
            yield self._give_up(pending, code, reason)

    def _may_repeat(self, pending: _Pending) -> bool:
        pending.repeats += 1
        return pending.repeats <= self._limits.max_retries

    def _give_up(self, pending: _Pending, code: str, reason: str) -> StatusChanged:
        client_msg_id = pending.draft.client_msg_id
        del self._pending[client_msg_id]
        self._in_flight.pop(client_msg_id, None)
        self._suspects.discard(client_msg_id)
        self._remember_failed(pending.draft)
        return StatusChanged(client_msg_id, Status.FAILED, code=code, reason=reason)

    def _remember_failed(self, draft: Draft) -> None:
        self._failed[draft.client_msg_id] = draft
        if len(self._failed) > FAILED_REMEMBERED:
            self._failed.popitem(last=False)

    def _pump(self, now_ms: int) -> Iterator[Effect]:
        while self._has_turn():
            pending = self._pending.get(self._ready[0][1])
            if pending is not None and not self._pace.take(now_ms):
                return
            heapq.heappop(self._ready)
            if pending is not None:  # None: stored or refused while it waited
                yield self._try(now_ms, pending)

    def _has_turn(self) -> bool:
        """False while the outbox stores new ids, so that no message overtakes another."""
        at_once = 1 if self._suspects else MAX_IN_FLIGHT
        return self._connected and bool(self._ready) and not self._kept_as and len(self._in_flight) < at_once

    def _try(self, now_ms: int, pending: _Pending) -> SendFrame | StatusChanged:
        frame = pending.draft.frame(pending.attempt)
        if self._is_too_large(frame):  # this server may allow less than the previous one
            return self._give_up_too_large(pending)
        self._in_flight[frame.client_msg_id] = now_ms + TRY_MS
        pending.attempt += 1
        return SendFrame(frame)

    def _is_too_large(self, frame: Send) -> bool:
        """True if the server would close the connection (1009), which also fails every other try in flight."""
        return encoded_bytes(frame) > self._limits.frame_bytes

    def _give_up_too_large(self, pending: _Pending) -> StatusChanged:
        limit = self._limits.frame_bytes
        return self._give_up(pending, "too_large", f"a message may have at most {limit} bytes as a frame")
