"""The logs of read-diffusion groups: each is followed by seq, and gaps are filled from history.

Rules: PROTOCOL, *Read-diffusion groups*. What comes by the inbox for such a group (the messages that
name the user, a switch of mode) is put in its place in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tidings_client.effects import Effect, FetchHistory
from tidings_client.frames import Message

PATIENCE_MS = 200  # a push that overtook another one usually waits less
AGAIN_MS = 1_000
MAX_HELD = 500  # messages per group; what does not fit comes again with history


@dataclass(frozen=True, slots=True)
class Shown:
    """The next message of a group; `ticket` if it came by the inbox."""

    message: Message
    ticket: int | None


@dataclass(frozen=True, slots=True)
class Left:
    """These inbox tickets lead nowhere any more: the group is closed to this user."""

    tickets: tuple[int, ...]


@dataclass(slots=True)
class _Log:
    last: int | None  # None: from the seq of joining, which only the server knows
    head: int = 0
    due_ms: int | None = None
    fetching: bool = False
    held: dict[int, Shown] = field(default_factory=dict)

    @property
    def behind(self) -> bool:
        return self.last is None or self.last < self.head


@dataclass(slots=True)
class Groups:
    user_id: str = ""
    _logs: dict[str, _Log] = field(default_factory=dict)

    def follows(self, session_id: str) -> bool:
        return session_id in self._logs

    def follow(self, session_id: str, last: int | None) -> None:
        self._logs[session_id] = _Log(last, head=last or 0)

    def head(self, now_ms: int, session_id: str, seq: int) -> None:
        """The server says that the group's log reaches to `seq`."""
        if session_id not in self._logs:
            self.follow(session_id, None)
        log = self._logs[session_id]
        log.head = max(log.head, seq)
        self._want(log, now_ms)

    def offer(self, now_ms: int, message: Message, ticket: int | None) -> Iterator[Shown | Left]:
        """A message of a followed group, by push, history or inbox: whatever is next in order now."""
        log = self._logs[message.session_id]
        if _joins(message, self.user_id) and ticket is not None:
            yield from self._rejoin(log, message.seq)
        log.head = max(log.head, message.seq)
        if ticket is not None or len(log.held) < MAX_HELD:
            known = log.held.get(message.seq)
            if known is None or known.ticket is None:
                log.held[message.seq] = Shown(message, ticket)
        yield from self._drain(message.session_id, log)
        self._want(log, now_ms + PATIENCE_MS)

    def history(
        self, now_ms: int, session_id: str, messages: Iterable[Message], has_more: bool
    ) -> Iterator[Shown | Left]:
        """The answer to a `FetchHistory`."""
        log = self._logs.get(session_id)
        if log is None:
            return
        page = tuple(messages)
        log.fetching, log.due_ms = False, None
        if log.last is None and page:
            log.last = page[0].seq - 1
        for message in page:
            log.held.setdefault(message.seq, Shown(message, None))
            yield from self._drain(session_id, log)
        self._want(log, now_ms if has_more and page else now_ms + AGAIN_MS)

    def history_failed(self, now_ms: int, session_id: str, gone: bool) -> Iterator[Shown | Left]:
        """`gone`: the session is closed to this user; otherwise it is worth another try."""
        log = self._logs.get(session_id)
        if log is None:
            return
        log.fetching = False
        log.due_ms = now_ms + AGAIN_MS
        if gone:
            del self._logs[session_id]
            yield from _let_go(log.held.values())

    def tick(self, now_ms: int) -> Iterator[Effect]:
        for session_id, log in self._logs.items():
            if log.due_ms is not None and log.due_ms <= now_ms and not log.fetching:
                log.due_ms, log.fetching = None, True
                yield FetchHistory(session_id, log.last)

    def next_tick_ms(self) -> int | None:
        return min((log.due_ms for log in self._logs.values() if log.due_ms is not None), default=None)

    def _want(self, log: _Log, at_ms: int) -> None:
        if not log.behind:
            log.due_ms = None
        elif not log.fetching:
            log.due_ms = at_ms if log.due_ms is None else min(log.due_ms, at_ms)

    def _drain(self, session_id: str, log: _Log) -> Iterator[Shown | Left]:
        if log.last is None:
            return
        for seq in [seq for seq in log.held if seq <= log.last]:
            yield log.held.pop(seq)  # a repeat; whoever shows it drops it by (session_id, seq)
        while (shown := log.held.pop(log.last + 1, None)) is not None:
            log.last += 1
            leaves = _leaves(shown.message, self.user_id)
            if leaves:  # before it is shown: what the cursor keeps of it is that the log is no longer followed
                self._logs.pop(session_id, None)
            yield shown
            if leaves:
                yield from _release(log.held)
                return

    @staticmethod
    def _rejoin(log: _Log, joined_seq: int) -> Iterator[Shown | Left]:
        """Between leaving and joining again there is nothing for this user to read."""
        if log.last is None or log.last < joined_seq - 1:
            log.last = joined_seq - 1
            yield from _let_go([log.held.pop(seq) for seq in sorted(log.held) if seq < joined_seq])


def starts_log(message: Message, user_id: str) -> bool:
    """From this message on the session is read from its log."""
    if message.kind != "system":
        return False
    if message.body.get("mode_to"):
        return bool(message.body["mode_to"] == "read")
    return _joins(message, user_id) and message.body.get("mode") == "read"


def _joins(message: Message, user_id: str) -> bool:
    added = message.body.get("user_ids") or ()
    return message.kind == "system" and message.body.get("event") == "members_added" and user_id in added


def _leaves(message: Message, user_id: str) -> bool:
    if message.kind != "system":
        return False
    event = message.body.get("event")
    removed = event == "member_removed" and message.body.get("user_id") == user_id
    return removed or event == "group_dissolved" or message.body.get("mode_to") == "write"


def _release(held: dict[int, Shown]) -> Iterator[Shown]:
    """The group is in write mode or left: the inbox alone gives the order now."""
    for seq in sorted(held):
        entry = held.pop(seq)
        if entry.ticket is not None:
            yield entry


def _let_go(entries: Iterable[Shown]) -> Iterator[Left]:
    tickets = tuple(entry.ticket for entry in entries if entry.ticket is not None)
    if tickets:
        yield Left(tickets)
