"""Every frame and every answer of a run, at the moment at which it reaches its device.

What is wrong at that moment already is noted in `breaches`: the devices continue, as real ones would. What needs the
whole log to be judged is collected for promises.py. Nothing here shares code with the product but names of fields.
"""

import asyncio
import json
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.admission import Admission, may_be_ahead, may_be_too_old, peer_of, wall_ms
from tests.simulation.ports import Confirmed
from tidings.wire.push_pb2 import SendAck


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, and what was certain before it began: watermarks that were answered, and seqs that were acked."""

    user_id: str
    method: str
    path: str
    client_msg_id: str
    floors: dict[tuple[str, str], int]
    acked: dict[str, int]
    dissolved: frozenset[str]
    at_s: float
    at_ms: int


@dataclass(frozen=True, slots=True)
class Try:
    """A message is sent, at this time. `is_stored`: an earlier try was, for certain."""

    at_s: float
    at_ms: int
    is_stored: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """One session in an answer."""

    user_id: str
    session_id: str
    head_seq: int
    read_seq: int
    joined_seq: int
    unread: int


@dataclass
class Watcher:
    """`confirmed`: what the servers have confirmed so far. `admission`: all blocks."""

    confirmed: Confirmed
    admission: Admission
    breaches: list[str] = field(default_factory=list)
    # (user, session, seq, message id): every message that a frame or an answer carried.
    messages: set[tuple[str, str, int, int]] = field(default_factory=set)
    # (user, session, seq) -> its place in the user's inbox, as far as a frame has named it.
    inbox_seqs: dict[tuple[str, str, int], int] = field(default_factory=dict)
    # (user, session, seq): what read pushes carried; and every head, in frames and in answers.
    read_pushed: set[tuple[str, str, int]] = field(default_factory=set)
    heads: set[tuple[str, str, int]] = field(default_factory=set)
    unread: list[Unread] = field(default_factory=list)
    # (session, sender, client_msg_id) -> seqs that were answered.
    seqs: dict[tuple[str, str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    frame_count: int = 0
    answer_count: int = 0
    _acked: dict[str, int] = field(default_factory=dict)
    _floors: dict[str, dict[tuple[str, str], int]] = field(default_factory=lambda: defaultdict(dict))
    _receipts: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)
    _syncs: dict[str, deque[tuple[int, int]]] = field(default_factory=lambda: defaultdict(deque))
    _dissolved: frozenset[str] = frozenset()
    # (connection, client_msg_id) -> its first try there.
    _tries: dict[tuple[str, str], Try] = field(default_factory=dict)

    # -- frames --------------------------------------------------------------------------------------

    def sends(self, connection: str, user_id: str, text: str) -> None:
        """A device sends frames."""
        for line in text.splitlines():
            frame = json.loads(line)
            if frame["type"] == "sync":
                self._syncs[connection].append((frame["after"], self.confirmed.inbox_tail(user_id)))
            elif frame["type"] == "send":
                place = (frame["session_id"], user_id, frame["client_msg_id"])
                tried = Try(asyncio.get_running_loop().time(), wall_ms(), self.confirmed.has_key(*place))
                self._tries.setdefault((connection, frame["client_msg_id"]), tried)

    def receives(self, connection: str, user_id: str, text: str) -> None:
        """Frames arrive at a device."""
        for line in text.splitlines():
            frame = json.loads(line)
            self.frame_count += 1
            match frame["type"]:
                case "message":
                    self._message(user_id, frame["message"], frame["inbox_seq"])
                    if frame["inbox_seq"] is None:
                        message = frame["message"]
                        self.read_pushed.add((user_id, message["session_id"], message["seq"]))
                case "sync_page":
                    self._page(connection, user_id, frame)
                case "live" | "heartbeat":
                    for head in frame.get("heads") or ():
                        self.heads.add((user_id, head["session_id"], head["seq"]))
                case "send_ack":
                    self._ack(user_id, frame["session_id"], frame["client_msg_id"], frame["seq"])
                case "send_error":
                    self._refused(connection, user_id, frame)
                case "receipt":
                    self._receipt(connection, user_id, frame)

    def _message(self, user_id: str, message: dict[str, Any], inbox_seq: int | None = None) -> None:
        place = (message["session_id"], message["seq"])
        if inbox_seq is not None:
            self.inbox_seqs[user_id, *place] = inbox_seq
        self.messages.add((user_id, *place, int(message["message_id"])))

    def _page(self, connection: str, user_id: str, page: dict[str, Any]) -> None:
        after, confirmed = self._syncs[connection].popleft()
        while after != page["after"]:  # the tables did not answer an earlier one, which got an error
            after, confirmed = self._syncs[connection].popleft()
        self._must(page["tail"] >= confirmed, f"Freshness: {user_id} is shown {page['tail']}, {confirmed} is confirmed")
        self._must(not page["truncated"], f"G7: {user_id} is shown that {after + 1} has expired")
        numbers = [item["inbox_seq"] for item in page.get("items") or ()]
        self._must(numbers == list(range(after + 1, after + 1 + len(numbers))), f"G7: after {after} come {numbers}")
        for item in page.get("items") or ():
            self._message(user_id, item["message"], item["inbox_seq"])

    def _receipt(self, connection: str, user_id: str, frame: dict[str, Any]) -> None:
        now = (frame["delivered_seq"], frame["read_seq"])
        place = (connection, frame["session_id"], frame["user_id"])
        before = self._receipts.get(place, (0, 0))
        self._must(now[0] >= before[0] and now[1] >= before[1], f"G8: {place} is sent {now} after {before}")
        self._must(now[1] <= now[0], f"G8: {place} is sent {now}: read above delivered")
        self._receipts[place] = now
        if peer_of(frame["session_id"], user_id) == frame["user_id"]:
            most = self.admission.shown(frame["session_id"], frame["user_id"])
            self._must(now[0] <= most[0] and now[1] <= most[1], f"blocks: {place} is sent {now}, the most is {most}")
        if frame["user_id"] == user_id:
            self._rise(user_id, frame["session_id"], {"delivered_seq": now[0], "read_seq": now[1]})

    def _refused(self, connection: str, user_id: str, frame: dict[str, Any]) -> None:
        tried = self._tries.get((connection, frame["client_msg_id"]))
        self._must(tried is not None, f"{connection} is refused what it did not send: {frame}")
        if tried is None:
            return
        if frame["code"] == "user_blocked":
            peer = peer_of(frame["session_id"], user_id)
            is_right = bool(peer) and self.admission.may_block(peer, user_id, tried.at_s)
            self._must(is_right, f"blocks: {user_id} is refused by {peer}: {frame}")
            self._must(not tried.is_stored, f"G2: {user_id} is refused a message that is stored: {frame}")
        self._clock_refusal(frame["code"], frame["client_msg_id"], tried.at_ms)

    def _clock_refusal(self, code: str, client_msg_id: str, asked_ms: int) -> None:
        if code == "clock_skew":
            self._must(may_be_ahead(client_msg_id, asked_ms), f"ids: {client_msg_id} is refused as ahead")
        if code == "too_old":
            self._must(may_be_too_old(client_msg_id, wall_ms()), f"ids: {client_msg_id} is refused as old")

    def _ack(self, user_id: str, session_id: str, client_msg_id: str, seq: int) -> None:
        ack = SendAck(session_id=session_id, client_msg_id=client_msg_id, seq=seq)
        try:
            self.confirmed.check_ack(ack)
        except AssertionError as error:
            self.breaches.append(str(error))
        self.seqs[session_id, user_id, client_msg_id].add(seq)
        self._acked[session_id] = max(seq, self._acked.get(session_id, 0))

    # -- calls ---------------------------------------------------------------------------------------

    def asks(self, user_id: str, method: str, path: str, client_msg_id: str = "") -> Asked:
        """A call is on its way."""
        floors, acked = dict(self._floors[user_id]), dict(self._acked)
        at_s = asyncio.get_running_loop().time()
        return Asked(user_id, method, path, client_msg_id, floors, acked, self._dissolved, at_s, wall_ms())

    def answered(self, asked: Asked, status: int, content: bytes) -> None:
        """Its answer has arrived."""
        self.answer_count += 1
        self._must(status < 500 or status in (503, 504), f"{asked.method} {asked.path}: {status} {content!r}")
        if not content:
            return
        answer = json.loads(content)
        if status >= 300:
            self._clock_refusal(answer["code"], asked.client_msg_id, asked.at_ms)
            return
        self._dissolution(asked, answer)
        if asked.method != "GET" and "seq" in answer:
            self._ack(asked.user_id, answer["session_id"], asked.client_msg_id, answer["seq"])
        if "sessions" in answer:
            names = [session["session_id"] for session in answer["sessions"]]
            self._must(len(names) == len(set(names)), f"{asked.user_id}: a page of sessions names one twice: {names}")
        for session in answer.get("sessions", [answer] if "unread" in answer else []):
            self._session(asked, session)
        if "messages" in answer and asked.path.endswith("/messages"):
            self._history(asked, answer)
        if asked.path.endswith("/receipts"):
            self._readers(asked, answer)
        if asked.path.endswith("/read"):
            self._watermarks(asked, answer["session_id"], answer)

    def _dissolution(self, asked: Asked, answer: dict[str, Any]) -> None:
        """Once a group is dissolved, every call about it is refused, and no list names it."""
        words = asked.path.split("/")
        if asked.method == "DELETE" and words[2] == "groups" and len(words) == 4:
            self._dissolved |= {answer["session_id"]}
        elif asked.method == "GET" or words[-1] == "read":
            named = {*words[3:4], *(one["session_id"] for one in answer.get("sessions", ()))}
            self._must(not named & asked.dissolved, f"{asked.user_id} gets {asked.path} of a dissolved group")

    def _session(self, asked: Asked, session: dict[str, Any]) -> None:
        user_id, session_id = asked.user_id, session["session_id"]
        head = session.get("head") or {"seq": 0}
        acked = asked.acked.get(session_id, 0)
        self._must(head["seq"] >= acked, f"Freshness: {user_id} sees {session_id} at {head['seq']}, {acked} is acked")
        self._watermarks(asked, session_id, session)
        self._must(session["delivered_seq"] <= head["seq"], f"G8: {session_id} of {user_id} passes its head: {session}")
        other = peer_of(session_id, user_id)
        if other and self.admission.must_block(other, user_id, asked.at_s):
            self._must(len(session["peer"]) == 1, f"blocks: {user_id} is shown {session['peer']}")
        peer = {f"peer_{name}": seq for name, seq in (session.get("peer") or {}).items() if name.endswith("_seq")}
        self._watermarks(asked, session_id, peer)
        if head["seq"]:
            self.heads.add((user_id, session_id, head["seq"]))
            self.unread.append(
                Unread(
                    user_id,
                    session_id,
                    head["seq"],
                    session["read_seq"],
                    session.get("joined_seq") or 0,
                    session["unread"],
                )
            )

    def _readers(self, asked: Asked, answer: dict[str, Any]) -> None:
        other = peer_of(asked.path.split("/")[3], asked.user_id)
        if other and self.admission.must_block(other, asked.user_id, asked.at_s):
            shown = [*answer["delivered"], *answer["read"]]
            self._must(not shown, f"blocks: {asked.user_id} is shown {shown} by {asked.path}")

    def _watermarks(self, asked: Asked, session_id: str, answer: dict[str, Any]) -> None:
        """No lower than any answer that had come before the call began, through whichever gateway (G8, G9)."""
        values = {name: answer[name] for name in _WATERMARKS if name in answer}
        for name, seq in values.items():
            floor = asked.floors.get((session_id, name), 0)
            text = f"G8: {asked.method} {asked.path} of {asked.user_id}: {session_id} {name} {seq} after {floor}"
            self._must(seq >= floor, text)
        self._rise(asked.user_id, session_id, values)

    def _rise(self, user_id: str, session_id: str, values: dict[str, int]) -> None:
        floors = self._floors[user_id]
        for name, seq in values.items():
            floors[session_id, name] = max(seq, floors.get((session_id, name), 0))

    def _history(self, asked: Asked, page: dict[str, Any]) -> None:
        seqs = [message["seq"] for message in page["messages"]]
        expected = list(range(seqs[0], seqs[0] + len(seqs))) if seqs else []
        self._must(seqs == expected, f"G3: {asked.path} is read with a hole: {seqs}")
        for message in page["messages"]:
            self._message(asked.user_id, message)
        if seqs:
            session_id = page["messages"][0]["session_id"]
            acked = asked.acked.get(session_id, 0)
            self._must(page["head_seq"] >= acked, f"Freshness: {asked.path} ends at {page['head_seq']}, {acked} acked")

    def _must(self, holds: bool, breach: str) -> None:
        if not holds:
            self.breaches.append(breach)


_WATERMARKS = ("delivered_seq", "read_seq", "peer_delivered_seq", "peer_read_seq")
