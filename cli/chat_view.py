"""The lines of the chat screen for one session: messages in order, each with its status. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cli.screen_text import TICKS, clock, content, visible
from tidings_client import Message, Status, StatusChanged

MAX_SHOWN = 1_000
_RANK = {Status.SENDING: 0, Status.FAILED: 0, Status.SENT: 1, Status.DELIVERED: 2, Status.READ: 3}


@dataclass(slots=True)
class _Own:
    """An own message that is not stored yet, or the status of an own stored message."""

    text: str
    at_ms: int
    status: Status
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the screen. Only own messages have `ticks`."""

    time: str
    sender: str
    text: str
    is_own: bool
    ticks: str


class ChatView:
    """One session as its user sees it: stored messages by seq, and below them messages that are being sent."""

    def __init__(self, me: str, session_id: str) -> None:
        self.session_id = session_id
        self._me = me
        self._stored: dict[int, Message] = {}
        self._own: dict[str, _Own] = {}
        self._delivered_seq = 0
        self._read_seq = 0

    @property
    def last_seq(self) -> int:
        """The newest message shown; 0 if there is none."""
        return max(self._stored, default=0)

    def add(self, messages: Iterable[Message]) -> None:
        """Add stored messages from any source. Repeats and messages of other sessions are left out."""
        for message in messages:
            if message.session_id == self.session_id:
                self._stored[message.seq] = message
        for seq in sorted(self._stored)[:-MAX_SHOWN]:
            self._own.pop(self._stored.pop(seq).client_msg_id, None)

    def compose(self, client_msg_id: str, text: str, at_ms: int, status: Status) -> None:
        """Add an own message that was handed to the client."""
        self._own[client_msg_id] = _Own(text, at_ms, status)

    def change(self, event: StatusChanged) -> None:
        """Update the status of an own message. Messages of other sessions are ignored."""
        own = self._own.get(event.client_msg_id)
        if own is not None:
            own.status = event.status
            own.problem = event.reason or event.code or ""

    def change_id(self, was: str, client_msg_id: str) -> None:
        """Give an own message its new id."""
        self._own = {client_msg_id if name == was else name: own for name, own in self._own.items()}

    def peer_has(self, delivered_seq: int, read_seq: int) -> None:
        """Raise the peer's watermarks."""
        self._delivered_seq = max(self._delivered_seq, delivered_seq, read_seq)
        self._read_seq = max(self._read_seq, read_seq)

    def lines(self) -> Iterator[Line]:
        """All lines, oldest first."""
        there = set()
        for _, message in sorted(self._stored.items()):
            there.add(message.client_msg_id)
            yield self._stored_line(message)
        for client_msg_id, own in self._own.items():
            if client_msg_id not in there:
                ticks = f"{TICKS[own.status]} {visible(own.problem)}".rstrip()
                yield Line(clock(own.at_ms), self._me, visible(own.text), True, ticks)

    def _stored_line(self, message: Message) -> Line:
        is_own = message.sender_id == self._me
        ticks = TICKS[self._status(message)] if is_own else ""
        return Line(clock(message.at), visible(message.sender_id), content(message), is_own, ticks)

    def _status(self, message: Message) -> Status:
        """The status of a stored message: the later of its events and the watermarks, and at least `sent`."""
        by_mark = Status.SENT
        if message.seq <= self._delivered_seq:
            by_mark = Status.READ if message.seq <= self._read_seq else Status.DELIVERED
        own = self._own.get(message.client_msg_id)
        by_event = own.status if own is not None else Status.SENT
        return max(by_mark, by_event, key=lambda status: _RANK[status])
