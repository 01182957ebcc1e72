"""The logs of read-diffusion groups: each is followed by seq, and gaps are filled from history.

Rules: PROTOCOL, *Read-diffusion groups*. What comes by the inbox for such a group (the messages that
name the user, a switch of mode) is put in its place in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tidings_client import backoff
from tidings_client.effects import Effect, FetchHistory
from tidings_client.frames import Message
from tidings_client.membership import joins, reads_log_after

PATIENCE_MS = 200  # a push that overtook another one usually waits less
AGAIN_MS = 1_000  # when an answer did not have what the head promises
UNKNOWN_MS = 10_000  # a head whose group the inbox does not name yet; its switch or joining is on the way
MAX_HELD = 500  # messages per group; what does not fit comes again with history
CERTAIN = 2  # doubts: the head that was told, and an answer of history
HOLES_BELIEVED = 10  # answers in a row without the next seq: the inbox no longer has the leaving and joining


@dataclass(frozen=True, slots=True)
class Shown:
    """The next message of a group; `ticket` if it came by the inbox."""

    message: Message
    ticket: int | None


@dataclass(frozen=True, slots=True)
class Released:
    """The log is no longer followed; this message goes the way of the inbox from here."""

    message: Message
    ticket: int | None


@dataclass(frozen=True, slots=True)
class Hole:
    """History does not have the next seq: the user has left and joined again, and the inbox knows when."""


Found = Shown | Released | Hole


@dataclass(slots=True)
class _Log:
    last: int | None  # None: from the seq of joining, which only the server knows
    head: int = 0
    told: int = 0  # the server said at this head that the group is in read mode, and the user in it
    due_ms: int | None = None
    not_before_ms: int = 0
    failures: int = 0
    fetching: bool = False
    holes: int = 0
    doubts: int = 0  # 1: a head below `last` was told; more: history said so, too
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
        """Whatever is heard of the group meanwhile, history is left alone for as long as the schedule says."""
        self.fetching = False
        self.not_before_ms = now_ms + backoff.delay_ms(self.failures, jitter)
        self.failures += 1
        self.want(self.not_before_ms)


@dataclass(slots=True)
class _Unknown:
    due_ms: int
    told: int


@dataclass(slots=True)
class Groups:
    """`patience_ms`: how long a head waits for the inbox to name its group; then the log is read from the
    seq of joining. `_heads` outlives a log, for the one that the next switch begins."""

    user_id: str = ""
    patience_ms: int = UNKNOWN_MS
    _logs: dict[str, _Log] = field(default_factory=dict)
    _heads: dict[str, int] = field(default_factory=dict)
    _unknown: dict[str, _Unknown] = field(default_factory=dict)

    def ready(self, user_id: str) -> None:
        """A new connection, perhaps to another gateway: what failed at the last one holds nothing up here."""
        self.user_id = user_id
        for log in self._logs.values():
            log.not_before_ms = log.failures = 0

    def follows(self, session_id: str) -> bool:
        return session_id in self._logs

    def follow(self, session_id: str, last: int | None, now_ms: int | None = None) -> None:
        """From `last` on the session is read from its log; None: from the seq of joining."""
        log = self._logs[session_id] = _Log(last, head=max(last or 0, self._heads.get(session_id, 0)))
        self._unknown.pop(session_id, None)
        if now_ms is not None:
            log.want(now_ms)

    def know(self, session_id: str, seq: int) -> None:
        """The log reaches to `seq` at least."""
        self._heads[session_id] = max(seq, self._heads.get(session_id, 0))

    def head(self, now_ms: int, session_id: str, seq: int, *, live: bool = False) -> None:
        """The server says that this is a group of the user in read mode, and that its log reaches to `seq`.

        `live`: it says so of all groups. Below what was shown, history is asked: the head was read a moment ago.
        """
        self.know(session_id, seq)
        log = self._logs.get(session_id)
        if log is None:
            unknown = self._unknown.setdefault(session_id, _Unknown(now_ms + self.patience_ms, seq))
            unknown.told = max(unknown.told, seq)
            return
        if live and log.last is not None and seq < log.last:
            log.doubts = max(log.doubts, 1)
        log.head, log.told = max(log.head, seq), max(log.told, seq)
        log.want(now_ms)

    def offer(self, now_ms: int, message: Message, ticket: int | None) -> Iterator[Found]:
        """A message of a followed group, by push or inbox: whatever is next in order now."""
        log = self._logs[message.session_id]
        if ticket is not None and joins(message, self.user_id):
            log.fetching = False  # what was asked before may be answered as to a stranger
            yield from _jump(log, message.seq)
        self._hold(log, message, ticket)
        yield from self._drain(message.session_id, log)
        if self._logs.get(message.session_id) is log:
            log.want(now_ms + PATIENCE_MS)

    def history(self, now_ms: int, session_id: str, messages: Iterable[Message], has_more: bool) -> Iterator[Found]:
        """The answer to a `FetchHistory`."""
        log = self._logs.get(session_id)
        if log is None:
            return
        page = tuple(messages)
        log.answered()
        log.doubts = 0
        if page and self._is_hole(log, page[0].seq):
            log.want(now_ms + AGAIN_MS)
            yield Hole()
            return
        if page:
            yield from _jump(log, page[0].seq)
        for message in page:
            if self._logs.get(session_id) is not log:  # a switch or a leaving: the inbox has what comes after it
                return
            log.held.setdefault(message.seq, Shown(message, None))
            yield from self._drain(session_id, log)
        log.want(now_ms if has_more and page else now_ms + AGAIN_MS)

    def ahead(self, now_ms: int, session_id: str) -> bool:
        """History ends below what was shown. True once it has said so twice: the log is of another life."""
        log = self._logs.get(session_id)
        if log is None or log.last is None:
            return False
        log.answered()
        log.doubts += 1
        log.not_before_ms = now_ms + AGAIN_MS
        log.want(now_ms)
        return log.doubts > CERTAIN

    def history_failed(self, now_ms: int, session_id: str, gone: bool, jitter: float) -> Iterator[Found]:
        """`gone`: the session is closed to this user; otherwise it is worth another try, later at each failure."""
        log = self._logs.get(session_id)
        if log is None or not log.fetching:  # forgotten meanwhile, and begun anew
            return
        if gone:
            self._forget(session_id, log)
            yield from _release(log.held, self.user_id, only_tickets=False)
        else:
            log.failed(now_ms, jitter)

    @property
    def fetching(self) -> int:
        """Pages of history that are under way."""
        return sum(log.fetching for log in self._logs.values())

    def tick(self, now_ms: int, most: int) -> Iterator[Effect]:
        """Only while the inbox is level: what it says of switches and memberships comes before the logs.

        At most so many pages are asked for, those that are due longest first."""
        for session_id, unknown in list(self._unknown.items()):
            if unknown.due_ms <= now_ms:
                self.follow(session_id, None, now_ms)
                self._logs[session_id].told = unknown.told
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
        known = log.held.get(message.seq)
        if ticket is not None or (known is None and len(log.held) < MAX_HELD):
            log.held[message.seq] = Shown(message, ticket)

    @staticmethod
    def _is_hole(log: _Log, first_seq: int) -> bool:
        log.holes = log.holes + 1 if log.last is not None and first_seq > log.last + 1 else 0
        return 0 < log.holes < HOLES_BELIEVED

    def _drain(self, session_id: str, log: _Log) -> Iterator[Found]:
        if log.last is None:
            return
        for seq in [seq for seq in log.held if seq <= log.last]:
            yield log.held.pop(seq)  # a repeat; whoever shows it drops it by (session_id, seq)
        while (shown := log.held.pop(log.last + 1, None)) is not None:
            log.last += 1
            # An end below a head that was told has been followed by another beginning, which the inbox may have lost.
            ends = reads_log_after(shown.message, self.user_id) is False and log.last >= log.told
            if ends:  # before it is shown: what the cursor keeps of it is that the log is no longer followed
                self._forget(session_id, log)
            yield shown
            if ends:
                yield from _release(log.held, self.user_id, only_tickets=True)
                return

    def _forget(self, session_id: str, log: _Log) -> None:
        self._logs.pop(session_id, None)
        self._unknown.pop(session_id, None)
        self.know(session_id, log.head)


def _jump(log: _Log, first_seq: int) -> Iterator[Found]:
    """Between leaving and joining again at `first_seq` there is nothing for this user to read; what came of the
    membership before is shown."""
    if log.last is None or log.last < first_seq - 1:
        log.last = first_seq - 1
        for seq in sorted(seq for seq in log.held if seq < first_seq):
            yield log.held.pop(seq)


def _release(held: dict[int, Shown], user_id: str, *, only_tickets: bool) -> Iterator[Released]:
    """What waited for a log that is no longer followed. The inbox alone gives the order now, but for what was
    pushed of a membership whose log is closed (not `only_tickets`), up to its end."""
    for seq in sorted(held):
        entry = held.pop(seq)
        if entry.ticket is not None or not only_tickets:
            yield Released(entry.message, entry.ticket)
        only_tickets = only_tickets or reads_log_after(entry.message, user_id) is not None
