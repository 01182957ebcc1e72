"""Members of a group as clients: phones that stay connected, REST for what is asked, and what each has to have seen."""

import asyncio
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson

from deploy.local.stack import Stack
from tests.e2e.phone import Phone
from tests.unit.persister.builders import uuid7
from tidings.clock import SystemClock
from tidings.store.rows import MessageRow
from tidings.wire.common_pb2 import KIND_SYSTEM

PATIENCE_S = 60.0
_AGAIN_S = 0.5
_GAP_S = 0.3
# A call of the log that was not answered in time is repeated with the same id (PROTOCOL, Retry); one that was
# refused for its rate, after the time that the answer names.
_TRIES = 12
_RETRYABLE = (429, 503, 504)


@dataclass
class Member:
    """One user with one phone, and the log as REST has shown it."""

    phone: Phone
    http: httpx2.AsyncClient
    from_history: dict[str, set[int]] = field(default_factory=dict)

    @property
    def user_id(self) -> str:
        """Whose phone it is."""
        return self.phone.user_id

    def pushed(self, session_id: str) -> set[int]:
        """What the connection has shown."""
        device = self.phone.device
        return set(device.seen.get(session_id, ())) | device.read_pushed.get(session_id, set())

    def view(self, session_id: str) -> set[int]:
        """Every seq of the session that this client has, whichever way it came."""
        return self.pushed(session_id) | self.from_history.get(session_id, set())

    def account(self, of: str) -> str:
        """What is wrong, and how the phone stands."""
        device = self.phone.device
        return f"{self.user_id}: {of}; live {device.is_live}, cursor {device.cursor}, {device.errors[-3:]}"

    async def fill_gaps(self, session_id: str) -> None:
        """PROTOCOL, read-diffusion groups: a gap in pushes, or a head above them, is read from history. For ever."""
        while True:
            await asyncio.sleep(_GAP_S)
            have = self.view(session_id)
            newest = max([*have, self.phone.device.heads.get(session_id, 0)], default=0)
            missing = set(range(min(have, default=1), newest + 1)) - have
            device = self.phone.device
            if missing and (session_id in device.read_pushed or session_id in device.heads):
                with suppress(httpx2.HTTPError):
                    await self.read_history(session_id, min(missing) - 1)

    async def read_history(self, session_id: str, after_seq: int) -> None:
        """What a client reads where it has gaps; a stranger reads nothing."""
        while True:
            answer = await self.http.get(
                f"/v1/sessions/{session_id}/messages", params={"after_seq": after_seq, "limit": 200}
            )
            if answer.status_code == 404:
                return
            answer.raise_for_status()
            page = answer.json()
            seqs = [message["seq"] for message in page["messages"]]
            self.from_history.setdefault(session_id, set()).update(seqs)
            if not seqs or not page["has_more"]:
                return
            after_seq = seqs[-1]

    async def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """A call of the log, repeated until it is answered. Raises for a refusal."""
        return await call(self.http, method, path, **body)


async def call(http: httpx2.AsyncClient, method: str, path: str, **body: Any) -> dict[str, Any]:
    """A call of the log, repeated until it is answered. Raises for a refusal."""
    body.setdefault("client_msg_id", uuid7(SystemClock().wall_ms(), uuid.uuid4().int % 2**60))
    answer = await answered(http, method, path, body)
    assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
    result: dict[str, Any] = answer.json()
    return result


async def answered(http: httpx2.AsyncClient, method: str, path: str, body: object = None) -> httpx2.Response:
    """The answer to a call, which is repeated while its outcome is unknown or it came too soon."""
    for _ in range(_TRIES):
        try:
            answer = await http.request(method, path, json=body)
        except httpx2.TransportError:
            await asyncio.sleep(_AGAIN_S)
            continue
        if answer.status_code not in _RETRYABLE:
            break
        await asyncio.sleep(answer.json().get("retry_after_ms", _AGAIN_S * 1000) / 1000)
    return answer


def member(stack: Stack, key: str, user_id: str, http: httpx2.AsyncClient, ordinal: int = 0) -> Member:
    """A member whose phone prefers one of the gateways. Its phone is not connected yet."""
    ports = [stack.ports.gateway + number for number in range(stack.counts.gateways)]
    return Member(Phone(user_id, "phone", key, ports[ordinal:] + ports[:ordinal]), http)


@dataclass
class Log:
    """A group's log as the tables hold it: who was a member at which seqs, and which way each message went."""

    rows: Sequence[MessageRow]
    seqs: dict[str, set[int]] = field(default_factory=dict)
    inboxes: dict[str, set[int]] = field(default_factory=dict)
    switches: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        members: set[str] = set()
        mode = "write"
        for row in self.rows:
            body = orjson.loads(row.body) if row.kind == KIND_SYSTEM else {}
            members |= (joined := {*body.get("members", ()), *body.get("user_ids", ())})
            left = {body["user_id"]} if body.get("event") == "member_removed" else set()
            for user_id in members:
                self.seqs.setdefault(user_id, set()).add(row.seq)
            named = {body["user_id"]} if body.get("event") in ("member_changed", "owner_changed") else set()
            to_inboxes = members if mode == "write" or "mode_to" in body else joined | left | named
            for user_id in to_inboxes:
                self.inboxes.setdefault(user_id, set()).add(row.seq)
            members -= left
            if "mode_to" in body:
                mode = body["mode_to"]
                self.switches.append((row.seq, mode))
        self.members = members


def gaps(wanted: Collection[int], have: Collection[int]) -> str:
    """A short account of what is missing and what is too much."""
    missing, extra = sorted(set(wanted) - set(have)), sorted(set(have) - set(wanted))
    return f"missing {missing[:10]} of {len(missing)}, extra {extra[:10]} of {len(extra)}"
