"""Members of a group as clients: phones that stay connected, REST for what is asked, and what each has to have seen."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson

from deploy.local.stack import Stack
from tests.e2e.phone import Phone, connected
from tests.e2e.raw import call, rest_of
from tidings.store.rows import MessageRow
from tidings.wire.common_pb2 import KIND_SYSTEM


@dataclass
class Member:
    """One user with one phone, and REST for what is asked."""

    phone: Phone
    http: httpx2.AsyncClient

    @property
    def user_id(self) -> str:
        """Whose phone it is."""
        return self.phone.user_id

    def view(self, session_id: str) -> set[int]:
        """Every seq of the session that this client was handed."""
        return set(self.phone.shown[session_id])

    def pushed(self, session_id: str) -> set[int]:
        """Those of them that came by themselves."""
        return self.view(session_id) & self.phone.pushed[session_id]

    def account(self, of: str) -> str:
        """What is wrong, and how the phone stands."""
        phone = self.phone
        return f"{self.user_id}: {of}; ready {phone.is_ready}, cursor {phone.cursor}, {phone.complaints[-3:]}"

    async def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """A call of the log, repeated until it is answered. Raises for a refusal."""
        return await call(self.http, method, path, **body)


@asynccontextmanager
async def members(stack: Stack, user_ids: Sequence[str], acked: dict[str, int]) -> AsyncIterator[list[Member]]:
    """Users with connected phones, alternately at each gateway. `acked` gets the seq of each message of theirs."""

    def on_acked(client_msg_id: str, seq: int) -> None:
        assert acked.setdefault(client_msg_id, seq) == seq

    async with AsyncExitStack() as exits:
        people = []
        for number, user_id in enumerate(user_ids):
            ordinal = number % stack.counts.gateways
            http = await exits.enter_async_context(rest_of(stack, user_id, ordinal))
            people.append(Member(Phone(stack, user_id, ordinal=ordinal), http))
            people[-1].phone.on_acked = on_acked
        await exits.enter_async_context(connected([one.phone for one in people]))
        yield people


@dataclass
class Log:
    """A group's log as the tables hold it: the members at each seq, and which way each message went."""

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
