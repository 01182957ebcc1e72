"""A device that sends: the SDK's core of alice with a clock, and what it did."""

from __future__ import annotations

from typing import Any, TypeVar

from tidings_client import frames
from tidings_client.core import Core
from tidings_client.drafts import Draft
from tidings_client.effects import Connect, Effect, SendFrame, Status, StatusChanged
from tidings_client.frames import Limits

SESSION = "d:alice:bob"
GROUP = "g:x"
SENDING, SENT, FAILED = Status.SENDING, Status.SENT, Status.FAILED
THROUGH = [SENDING, SENT, Status.DELIVERED, Status.READ]
Kind = TypeVar("Kind", bound=Effect)


class Author:
    def __init__(self, *, renewable: bool = True, limits: Limits | None = None) -> None:
        self.core = Core("phone", lambda: 0.0, renewable_token=renewable)
        self.limits = limits or Limits()
        self.now_ms = 1_000_000
        self.sends: list[tuple[int, str, int]] = []
        self.frames: list[frames.ClientFrame] = []
        self.statuses: dict[str, list[Status]] = {}
        self.codes: list[str | None] = []
        self.effects: list[Effect] = []
        self.dials: list[int] = []
        self.take(self.core.start(None))

    def take(self, todo: list[Effect]) -> None:
        self.effects += todo
        for effect in todo:
            match effect:
                case SendFrame(frame=frames.Send(client_msg_id=client_msg_id, attempt=attempt)):
                    self.sends.append((self.now_ms, client_msg_id, attempt))
                case SendFrame(frame=frame):
                    self.frames.append(frame)
                case StatusChanged(client_msg_id=client_msg_id, status=status, code=code):
                    self.statuses.setdefault(client_msg_id, []).append(status)
                    self.codes.append(code)
                case Connect():
                    self.dials.append(self.now_ms)

    def did(self, kind: type[Kind]) -> list[Kind]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def connect(self, expires_in_ms: int | None = None) -> None:
        self.take(self.core.connected(self.now_ms, "token", expires_in_ms))
        self.welcome()

    def welcome(self) -> None:
        place: dict[str, Any] = {"user_id": "alice", "device_id": "phone", "connection_id": "1"}
        self.give(frames.Welcome(**place, server_time=9_000_000, limits=self.limits))

    def give(self, frame: frames.ServerFrame) -> None:
        self.take(self.core.received(self.now_ms, frame))

    def submit(self, draft: Draft) -> None:
        self.take(self.core.submit(self.now_ms, draft))

    def send(self, *client_msg_ids: str) -> None:
        for client_msg_id in client_msg_ids:
            self.submit(Draft(client_msg_id, "text", {"text": "x"}, to="bob"))

    def send_to_group(self, client_msg_id: str) -> None:
        self.submit(Draft(client_msg_id, "text", {"text": "x"}, session_id=GROUP))

    def ack(self, client_msg_id: str, seq: int, session_id: str = SESSION) -> None:
        place: dict[str, Any] = {"client_msg_id": client_msg_id, "session_id": session_id}
        self.give(frames.SendAck(**place, message_id=f"m{seq}", seq=seq, at=1))

    def refuse(self, client_msg_id: str, code: str, *, retryable: bool = False, after_ms: int | None = None) -> None:
        refusal: dict[str, Any] = {"code": code, "message": "", "retryable": retryable, "retry_after_ms": after_ms}
        self.give(frames.SendError(client_msg_id=client_msg_id, **refusal))

    def receipt(self, delivered_seq: int, read_seq: int, user_id: str = "bob") -> None:
        self.give(frames.Receipt(session_id=SESSION, user_id=user_id, delivered_seq=delivered_seq, read_seq=read_seq))

    def mark_read(self, session_id: str, seq: int) -> None:
        self.take(self.core.mark_read(self.now_ms, session_id, seq))

    def own_marks(self, session_id: str, delivered_seq: int) -> None:
        self.take(self.core.own_marks(self.now_ms, session_id, delivered_seq, 1))

    def close(self, code: int | None = 1006) -> None:
        self.take(self.core.closed(self.now_ms, code, ""))

    def advance(self, ms: int, *, heartbeats: bool = True) -> None:
        until = self.now_ms + ms
        while (at := self.core.next_tick_ms(self.now_ms)) is not None and at <= until:
            self.now_ms = max(self.now_ms, at)
            if heartbeats and self.core.link == "ready":
                self.give(frames.Heartbeat(inbox_seq=0))
            self.take(self.core.tick(self.now_ms))
        self.now_ms = until

    def sent_after(self, start_ms: int) -> list[int]:
        return [at - start_ms for at, _, _ in self.sends]

    @property
    def sent_names(self) -> list[str]:
        return [name for _, name, _ in self.sends]


def online(**rest: Any) -> Author:
    """With a connection that is ready."""
    author = Author(**rest)
    author.connect()
    return author


def stored_message(client_msg_id: str, seq: int, session_id: str = SESSION) -> frames.Message:
    """Alice's own, as the server has it."""
    place: dict[str, Any] = {"client_msg_id": client_msg_id, "session_id": session_id, "message_id": f"m{seq}"}
    return frames.Message(**place, seq=seq, sender_id="alice", at=1, kind="text", body={"text": "x"})
