"""A device that receives: the SDK's core with a clock, and a server's inbox and group logs behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tidings_client import frames
from tidings_client.core import Core
from tidings_client.effects import (
    Complaint,
    Connect,
    Cursor,
    Deliver,
    Effect,
    FetchHistory,
    LinkChanged,
    PersistCursor,
    SendFrame,
)
from tidings_client.frames import Deployment, InboxItem, Live, Message, Position, Push, SyncPage

ME = "bob"
SESSION = "d:alice:bob"
GROUP = "g:x"


def message(session_id: str, seq: int, sender_id: str = "alice", **rest: object) -> Message:
    body = {"text": f"{session_id} {seq}"} if not rest else dict(rest)
    return Message(
        message_id=f"{session_id}-{seq}",
        session_id=session_id,
        seq=seq,
        sender_id=sender_id,
        client_msg_id=f"c-{seq}",
        at=1,
        kind="system" if rest else "text",
        body=body,
    )


def numbered(count: int, session_id: str = SESSION, first: int = 1) -> list[Message]:
    return [message(session_id, seq) for seq in range(first, first + count)]


@dataclass
class Device:
    """Syncs and reads of history are answered only when a test says so."""

    inbox: list[Message] = field(default_factory=list)
    cursor: Cursor | None = None
    from_live: bool = False
    now_ms: int = 1_000_000
    expired: int = 0
    log: dict[str, list[Message]] = field(default_factory=dict)
    deployment: Deployment | None = None

    def __post_init__(self) -> None:
        self.core = Core("phone", lambda: 0.0)
        self.shown: list[Message] = []
        self.tickets: list[int] = []
        self.syncs: list[frames.Sync] = []
        self.sync_times: list[int] = []
        self.acks: list[frames.Ack] = []
        self.histories: list[FetchHistory] = []
        self.complaints: list[str] = []
        self.connecting = False
        self.take(self.core.start(self.cursor, from_live=self.from_live))

    def take(self, todo: list[Effect]) -> None:
        for effect in todo:
            match effect:
                case Deliver(ticket=ticket, message=shown):
                    self.shown.append(shown)
                    self.tickets.append(ticket)
                case SendFrame(frame=frames.Sync() as sync):
                    self.syncs.append(sync)
                    self.sync_times.append(self.now_ms)
                case SendFrame(frame=frames.Ack() as ack):
                    self.acks.append(ack)
                case PersistCursor(cursor=cursor):
                    self.cursor = cursor
                case FetchHistory():
                    self.histories.append(effect)
                case Connect():
                    self.connecting = True
                case LinkChanged():
                    self.syncs = []
                case Complaint(code=code):
                    self.complaints.append(code)

    def open(self) -> None:
        self.take(self.core.open(self.now_ms))

    def connect(self, *, live: bool = True) -> None:
        self.connecting = False
        self.take(self.core.connected(self.now_ms, "token", None))
        welcome = frames.Welcome(
            user_id=ME, device_id="phone", connection_id="1", server_time=5, deployment=self.deployment
        )
        self.give(welcome)
        if live:
            self.live()

    def begin(self, *, live: bool = True) -> None:
        self.open()
        self.connect(live=live)

    def restart(self) -> None:
        """Nothing is kept but the cursor that was persisted."""
        self.__post_init__()
        self.begin()

    @property
    def heads(self) -> tuple[Position, ...]:
        return tuple(Position(session_id, len(log)) for session_id, log in self.log.items())

    def live(self) -> None:
        self.give(Live(inbox_seq=len(self.inbox), heads=self.heads))

    def heartbeat(self) -> None:
        self.give(frames.Heartbeat(inbox_seq=len(self.inbox)))

    def give(self, frame: frames.ServerFrame) -> None:
        self.take(self.core.received(self.now_ms, frame))

    def push(self, *inbox_seqs: int) -> None:
        for inbox_seq in inbox_seqs:
            self.give(Push(inbox_seq=inbox_seq, message=self.inbox[inbox_seq - 1]))

    def push_from_log(self, one: Message) -> None:
        self.give(Push(message=one))

    def arrive(self, *new: Message) -> None:
        """Appended to the inbox and pushed at once."""
        for one in new:
            self.inbox.append(one)
            self.push(len(self.inbox))

    def answer(self) -> None:
        """The oldest sync that waits for an answer."""
        sync, tail = self.syncs.pop(0), len(self.inbox)
        if sync.after > tail:
            self.give(SyncPage(after=sync.after, next=tail, tail=tail, ahead=True))
            return
        first = max(sync.after, self.expired)
        last = min(tail, first + sync.limit)
        items = tuple(InboxItem(inbox_seq=n, message=self.inbox[n - 1]) for n in range(first + 1, last + 1))
        after = items[-1].inbox_seq if items else first
        is_truncated = sync.after < self.expired
        self.give(
            SyncPage(after=sync.after, items=items, next=after, tail=tail, more=after < tail, truncated=is_truncated)
        )

    def answer_all(self) -> None:
        while self.syncs:
            self.answer()

    def sync(self) -> None:
        """The sync that is due now is sent and answered."""
        self.advance(0)
        self.answer()

    def answer_history(self) -> None:
        fetch = self.histories.pop(0)
        log = self.log[fetch.session_id]
        if (fetch.after_seq or 0) > len(log):
            self.take(self.core.history_ahead(self.now_ms, fetch.session_id))
            return
        page = log[fetch.after_seq or 0 :][:3]
        more = bool(page) and page[-1].seq < len(log)
        self.history(page, more=more, session_id=fetch.session_id)

    def history(self, page: list[Message], *, more: bool = False, session_id: str = GROUP, purged_seq: int = 0) -> None:
        self.take(self.core.history(self.now_ms, session_id, page, more, purged_seq))

    def history_failed(self, *, gone: bool = False, session_id: str = GROUP) -> None:
        self.take(self.core.history_failed(self.now_ms, session_id, gone=gone))

    def advance(self, ms: int) -> None:
        """Time passes, tick by tick; where the connection was lost, it comes back."""
        until = self.now_ms + ms
        while (at := self.core.next_tick_ms(self.now_ms)) is not None and at <= until:
            self.now_ms = max(self.now_ms, at)
            self.take(self.core.tick(self.now_ms))
            if self.connecting:
                self.connect()
        self.now_ms = until

    def lose_connection(self, for_ms: int = 0) -> None:
        self.take(self.core.closed(self.now_ms, 1006, ""))
        if for_ms:
            self.advance(for_ms)

    def reconnect(self, deployment: Deployment | None, inbox: list[Message]) -> None:
        """The server went away and came back with other tables."""
        self.lose_connection()
        self.deployment, self.inbox = deployment, inbox
        self.advance(2_000)
        self.settle_down()

    def handle(self, count: int) -> None:
        done, self.tickets = self.tickets[:count], self.tickets[count:]
        for ticket in done:
            self.take(self.core.handled(self.now_ms, ticket))

    def mark_read(self, session_id: str, seq: int) -> None:
        self.take(self.core.mark_read(self.now_ms, session_id, seq))

    def settle_down(self) -> None:
        """Everything that is asked is answered, until nothing is asked any more: 30 s at least, which is how long
        history is left alone after many failures."""
        for _ in range(3 * len(self.inbox) + sum(head.seq for head in self.heads) + 30):
            self.heartbeat()
            self.advance(1_100)
            self.answer_all()
            while self.histories:
                self.answer_history()
            self.handle(len(self.tickets))
        self.advance(1_000)

    @property
    def positions(self) -> list[tuple[str, int]]:
        return [(shown.session_id, shown.seq) for shown in self.shown]

    @property
    def seqs(self) -> list[int]:
        return [shown.seq for shown in self.shown]

    @property
    def words(self) -> list[str]:
        return [shown.client_msg_id for shown in self.shown]

    @property
    def delivered(self) -> dict[str, int]:
        """What this device has last said of each session."""
        return {place.session_id: place.seq for ack in self.acks for place in ack.delivered}


def opened(inbox: Iterable[Message] = (), cursor: Cursor | None = None, *, live: bool = True, **rest: Any) -> Device:
    """A device of an application that reads, with a connection that is ready."""
    device = Device(list(inbox), cursor, **rest)
    device.begin(live=live)
    return device
