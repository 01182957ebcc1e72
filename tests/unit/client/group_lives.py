"""A group over its whole life at the server, and a device of one of its members."""

from dataclasses import dataclass, field

from tests.unit.client.devices import GROUP, ME, Device, message
from tidings_client import frames
from tidings_client.frames import Message, Position

READ, WRITE = "read", "write"


@dataclass
class Log:
    """The group at the server: its log, the user's inbox, and what its users may read."""

    messages: list[Message] = field(default_factory=list)
    inbox: list[Message] = field(default_factory=list)
    spans: list[tuple[int, int | None]] = field(default_factory=list)
    write_diffused: set[int] = field(default_factory=set)
    read_diffused: set[int] = field(default_factory=set)
    mode: str = WRITE

    @property
    def is_member(self) -> bool:
        return bool(self.spans) and self.spans[-1][1] is None

    def say(self) -> None:
        self.append()

    def append(self, *, to_inbox: bool = False, **body: object) -> None:
        seq = len(self.messages) + 1
        entry = message(GROUP, seq, "alice", **body)
        self.messages.append(entry)
        if to_inbox or (self.is_member and self.mode == WRITE):
            self.inbox.append(entry)
            self.write_diffused.add(seq)
        if self.mode == READ and "mode_to" not in body:
            self.read_diffused.add(seq)

    def join(self) -> None:
        if not self.is_member:
            self.spans.append((len(self.messages) + 1, None))
            self.append(to_inbox=True, event="members_added", user_ids=[ME], mode=self.mode)

    def leave(self) -> None:
        if self.is_member:
            self.append(to_inbox=True, event="member_removed", user_id=ME)
            self.spans[-1] = (self.spans[-1][0], len(self.messages))

    def name(self) -> None:
        self.append(to_inbox=self.is_member, event="member_changed", user_id=ME, muted_until=1)

    def switch(self) -> None:
        before, self.mode = self.mode, READ if self.mode == WRITE else WRITE
        self.append(to_inbox=self.is_member, event="members_added", user_ids=["zoe"], mode=self.mode,
                    mode_from=before, mode_to=self.mode)  # fmt: skip

    def is_mine(self, seq: int) -> bool:
        return any(first <= seq <= (last or seq) for first, last in self.spans)

    def must_be_shown(self) -> set[int]:
        """What the inbox has, and all of a membership that still holds: its log can be read."""
        current = self.spans[-1][0] if self.is_member else len(self.messages) + 1
        return self.write_diffused | set(range(current, len(self.messages) + 1))


@dataclass
class Member(Device):
    """A device of the user, and the server's side of what it does."""

    group: Log = field(default_factory=Log)
    seen: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox = self.group.inbox
        super().__post_init__()

    @property
    def heads(self) -> tuple[Position, ...]:
        is_read = self.group.is_member and self.group.mode == READ
        return (Position(GROUP, len(self.group.messages)),) if is_read else ()

    def heartbeat(self) -> None:
        self.give(frames.Heartbeat(inbox_seq=len(self.inbox), heads=self.heads))

    def push_seq(self, seq: int, number: int) -> None:
        """By a way that this message went; what names the user in a read group goes both."""
        if not self.group.is_mine(seq) or seq > len(self.group.messages):
            return
        entry = self.group.messages[seq - 1]
        if seq in self.group.read_diffused and (number % 2 or seq not in self.group.write_diffused):
            self.push_from_log(entry)
        else:
            self.push(1 + self.inbox.index(entry))

    def answer_history(self) -> None:
        fetch, messages = self.histories.pop(0), self.group.messages
        if not self.group.is_member:
            self.history_failed(gone=True)
            return
        first = max(self.group.spans[-1][0], 1 + (fetch.after_seq or 0))
        page = messages[first - 1 :][:3]
        self.history(page, more=bool(page) and page[-1].seq < len(messages))

    def fail_history(self) -> None:
        self.histories.pop(0)
        self.history_failed()

    def restart(self) -> None:
        """Of what was shown only that counts which was handled."""
        self.seen += self.seqs[: len(self.seqs) - len(self.tickets)]
        super().restart()

    def do(self, *names: str) -> None:
        for name in names:
            self.step(name)

    def step(self, name: str, number: int = 0) -> None:
        match name:
            case "push":
                self.push_seq(1 + number // 2, number)
            case "newest":
                self.push_seq(len(self.group.messages), number)
            case "advance" | "handle":
                getattr(self, name)(number)
            case "lose":
                self.lose_connection(1_000)
            case "live" | "restart" | "heartbeat":
                getattr(self, name)()
            case "say" | "join" | "leave" | "name" | "switch":
                getattr(self.group, name)()
            case "sync" if self.syncs:
                self.answer()
            case "history" if self.histories:
                self.answer_history()
            case "fail" if self.histories:
                self.fail_history()


def member(group: Log | None = None, **rest: int) -> Member:
    made = Member(group=group or Log(), **rest)  # type: ignore[arg-type]
    made.begin()
    return made


def settled(*steps: str) -> Member:
    made = member()
    made.do(*steps)
    made.settle_down()
    return made
