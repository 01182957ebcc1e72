"""Follows the logs of read-diffusion groups by seq, and fills gaps from history.

Rules: PROTOCOL, *Read-diffusion groups*. The inbox also carries some messages of such a group: those that name the
user, and mode switches. They are merged into the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tidings_client import backoff
from tidings_client.effects import Effect, FetchHistory
from tidings_client.frames import Message
from tidings_client.membership import joins, reads_log_after

PATIENCE_MS = 200  # pushes that arrive out of order usually close the gap sooner
AGAIN_MS = 1_000  # after an answer that did not reach the head
UNKNOWN_MS = 10_000  # for a head whose mode switch or joining has not come through the inbox yet
MAX_HELD = 500  # messages per group; others are fetched again with history
CERTAIN = 2  # doubts: a head below `last`, and an answer of history that confirms it
GAPS_ACCEPTED = 10  # answers in a row without the next seq; then the inbox has lost the leaving and joining


@dataclass(frozen=True, slots=True)
class Shown:
    """The next message of a group; `ticket` if it came through the inbox."""

    message: Message
    ticket: int | None


@dataclass(frozen=True, slots=True)
class Released:
    """A held message of a log that is no longer followed. From here on it is handled like one of the inbox."""

    message: Message
    ticket: int | None


@dataclass(frozen=True, slots=True)
class Gap:
    """History does not have the next seq, because the user left and joined again. The inbox has both messages."""


Found = Shown | Released | Gap


@dataclass(slots=True)
class _Log:
    last: int | None  # None: from the seq of joining, which is not fetched yet
    head: int = 0
    verified: int = 0  # the newest head at which the server stated that the group is in read mode and has the user
    due_ms: int | None = None
    not_before_ms: int = 0
    failures: int = 0
    fetching: bool = False
    gaps: int = 0
    doubts: int = 0  # 1: the server sent a head below `last`; more: history confirmed it
    held: dict[int, Shown] = field(default_factory=dict)

    @property
    def behind(self) -> bool:
        return self.last is None or self.last < self.head or self.doubts > 0

    def want(self, at_ms: int) -> None:
        if not self.behind:
            self.due_ms = None
        elif not self.fetching:
            at_ms = max(at_ms, self.not_before_ms)
            self.due_ms = at_ms if self.due_ms is None else min(self.due_ms, at_ms)

    def answered(self) -> None:
        self.fetching, self.due_ms, self.not_before_ms, self.failures = False, None, 0, 0

    def failed(self, now_ms: int, jitter: float) -> None:
        """Do not read history again before the backoff has passed, even if pushes or heads arrive meanwhile."""
        self.fetching = False
        self.not_before_ms = now_ms + backoff.delay_ms(self.failures, jitter)
        self.failures += 1
        self.want(self.not_before_ms)


@dataclass(slots=True)
class _Unknown:
    due_ms: int
    verified: int


@dataclass(slots=True)
class Groups:
    """`patience_ms`: how long a head waits until the inbox names its group. Then the log is read from the seq of
    joining. `_heads` outlives a log, because the next mode switch begins another one."""

    user_id: str = ""
    patience_ms: int = UNKNOWN_MS
    _logs: dict[str, _Log] = field(default_factory=dict)
    _heads: dict[str, int] = field(default_factory=dict)
    _unknown: dict[str, _Unknown] = field(default_factory=dict)

    def ready(self, user_id: str) -> None:
        """Forget backoffs on a new connection, because it may lead to another gateway."""
        self.user_id = user_id
        for log in self._logs.values():
            log.not_before_ms = log.failures = 0

    def follows(self, session_id: str) -> bool:
        return session_id in self._logs

    def follow(self, session_id: str, last: int | None, now_ms: int | None = None) -> None:
        """Read the session from its log after `last`; None: from the seq of joining."""
        log = self._logs[session_id] = _Log(last, head=max(last or 0, self._heads.get(session_id, 0)))
        self._unknown.pop(session_id, None)
        if now_ms is not None:
            log.want(now_ms)

    def raise_head(self, session_id: str, seq: int) -> None:
        """The log reaches at least to `seq`."""
        self._heads[session_id] = max(seq, self._heads.get(session_id, 0))

    def head(self, now_ms: int, session_id: str, seq: int, *, live: bool = False) -> None:
        """The server states that the user is in this group, that it is in read mode, and that its head is `seq`.

        `live` lists all groups. If its head is below the last shown seq, history decides, because heads may be stale.
        """
        self.raise_head(session_id, seq)
        log = self._logs.get(session_id)
        if log is None:
            unknown = self._unknown.setdefault(session_id, _Unknown(now_ms + self.patience_ms, seq))
            unknown.verified = max(unknown.verified, seq)
            return
        if live and log.last is not None and seq < log.last:
            log.doubts = max(log.doubts, 1)
        log.head, log.verified = max(log.head, seq), max(log.verified, seq)
        log.want(now_ms)

    def offer(self, now_ms: int, message: Message, ticket: int | None) -> Iterator[Found]:
        """Take a message of a followed group, from a push or the inbox. Yields the messages that are next in order."""
        log = self._logs[message.session_id]
        if ticket is not None and joins(message, self.user_id):
            log.fetching = False  # an earlier fetch may be refused, because it began before the joining
            yield from _jump(log, message.seq)
        self._hold(log, message, ticket)
        yield from self._drain(message.session_id, log)
        if self._logs.get(message.session_id) is log:
            log.want(now_ms + PATIENCE_MS)

    def history(
        self, now_ms: int, session_id: str, messages: Iterable[Message], has_more: bool, purged_seq: int = 0
    ) -> Iterator[Found]:
        """The answer to a `FetchHistory`. Messages up to `purged_seq` are gone, so the log continues above it."""
        log = self._logs.get(session_id)
        if log is None:
            return
        page = tuple(messages)
        log.answered()
        log.doubts = 0
        if purged_seq:
            yield from _jump(log, purged_seq + 1)
        if page and self._is_gap(log, page[0].seq):
            log.want(now_ms + AGAIN_MS)
            yield Gap()
            return
        if page:
            yield from _jump(log, page[0].seq)
        for message in page:
            if self._logs.get(session_id) is not log:  # after a mode switch or leaving, the inbox has the next messages
                return
            log.held.setdefault(message.seq, Shown(message, None))
            yield from self._drain(session_id, log)
        log.want(now_ms if has_more and page else now_ms + AGAIN_MS)

    def ahead(self, now_ms: int, session_id: str) -> bool:
        """History ends below the last shown seq. True at the second such answer, which proves another life."""
        log = self._logs.get(session_id)
        if log is None or log.last is None:
            return False
        log.answered()
        log.doubts += 1
        log.not_before_ms = now_ms + AGAIN_MS
        log.want(now_ms)
        return log.doubts > CERTAIN

    def history_failed(self, now_ms: int, session_id: str, gone: bool, jitter: float) -> Iterator[Found]:
        """A fetch failed. `gone`: this user can no longer read the session. Otherwise it is retried with backoff."""
        log = self._logs.get(session_id)
        if log is None or not log.fetching:  # the log was dropped or replaced meanwhile
            return
        if gone:
            self._forget(session_id, log)
            yield from _release(log.held, self.user_id, only_tickets=False)
        else:
            log.failed(now_ms, jitter)

    @property
    def fetching(self) -> int:
        """The number of history pages being fetched."""
        return sum(log.fetching for log in self._logs.values())

    def tick(self, now_ms: int, most: int) -> Iterator[Effect]:
        """Fetch at most `most` pages of history, those that are due longest first.

        Called only while the inbox has no gap, because its mode switches and memberships go before the logs."""
        for session_id, unknown in list(self._unknown.items()):
            if unknown.due_ms <= now_ms:
                self.follow(session_id, None, now_ms)
                self._logs[session_id].verified = unknown.verified
        due = [(log.due_ms, session_id) for session_id, log in self._logs.items() if log.due_ms is not None]
        for due_ms, session_id in sorted(due)[:most]:
            log = self._logs[session_id]
            if due_ms <= now_ms and not log.fetching:
                log.due_ms, log.fetching = None, True
                yield FetchHistory(session_id, log.last)

    def next_tick_ms(self) -> int | None:
        due = [log.due_ms for log in self._logs.values() if log.due_ms is not None]
        return min([*due, *(unknown.due_ms for unknown in self._unknown.values())], default=None)

    def _hold(self, log: _Log, message: Message, ticket: int | None) -> None:
        log.head = max(log.head, message.seq)
        is_held = message.seq in log.held
        if ticket is not None or (not is_held and len(log.held) < MAX_HELD):
            log.held[message.seq] = Shown(message, ticket)

    @staticmethod
    def _is_gap(log: _Log, first_seq: int) -> bool:
        log.gaps = log.gaps + 1 if log.last is not None and first_seq > log.last + 1 else 0
        return 0 < log.gaps < GAPS_ACCEPTED

    def _drain(self, session_id: str, log: _Log) -> Iterator[Found]:
        if log.last is None:
            return
        for seq in [seq for seq in log.held if seq <= log.last]:
            yield log.held.pop(seq)  # a repeat; `Receiving` drops it by (session_id, seq)
        while (shown := log.held.pop(log.last + 1, None)) is not None:
            log.last += 1
            # Below a verified head, an end was followed by another joining, which the inbox may have lost.
            ends = reads_log_after(shown.message, self.user_id) is False and log.last >= log.verified
            if ends:  # before the message is shown, so that the cursor no longer has an entry for this log
                self._forget(session_id, log)
            yield shown
            if ends:
                yield from _release(log.held, self.user_id, only_tickets=True)
                return

    def _forget(self, session_id: str, log: _Log) -> None:
        self._logs.pop(session_id, None)
        self._unknown.pop(session_id, None)
        self.raise_head(session_id, log.head)


def _jump(log: _Log, first_seq: int) -> Iterator[Found]:
    """Skip to `first_seq`, where the user joined again, or where messages are left, because those before it are not
    readable. Held messages from before it are shown first."""
    if log.last is None or log.last < first_seq - 1:
        log.last = first_seq - 1
        for seq in sorted(seq for seq in log.held if seq < first_seq):
            yield log.held.pop(seq)


def _release(held: dict[int, Shown], user_id: str, *, only_tickets: bool) -> Iterator[Released]:
    """Release the held messages of a log that is no longer followed, because the inbox alone gives the order now.
    Without `only_tickets`, pushed messages of the closed membership are released too, up to its end."""
    for seq in sorted(held):
        entry = held.pop(seq)
        if entry.ticket is not None or not only_tickets:
            yield Released(entry.message, entry.ticket)
        only_tickets = only_tickets or reads_log_after(entry.message, user_id) is not None
