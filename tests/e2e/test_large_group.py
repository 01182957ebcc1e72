"""Twenty thousand members, added in forty calls: the group works, and no service needs much memory for it."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import pid_of
from deploy.local.stack import Stack, split
from tests.e2e.group_people import Member, gaps, members
from tests.e2e.raw import history_of
from tests.e2e.recount import Account, account_of
from tests.e2e.tables import inbox_of, tables_of
from tests.waiting import becomes, until
from tidings.store import inbox_tails
from tidings.store.base import Store

CALLS = 40
CALL = 500
# Each with a burst of two calls, then one in 5 s: the others wait for the stated time.
ADDERS = 10
# Connected: the adders, and some of the members added first and last.
CONNECTED_OF_A_CALL = 5
WRITERS = 6
MESSAGES_OF_A_WRITER = 8
RESIDENT_MIB_MAX = 250
_TAILS_AT_ONCE = 1_000
_SERVICES = ("gateway", "persister", "fanout", "receipts")


@dataclass
class Crowd:
    """The group, and its connected members. `founders` add the others, the first one owns it."""

    founders: list[Member]
    first: list[Member]
    last: list[Member]
    calls: list[list[str]]
    session_id: str = ""
    joined: dict[str, int] = field(default_factory=dict)
    acked: dict[str, int] = field(default_factory=dict)

    @property
    def connected(self) -> list[Member]:
        """The members with a phone."""
        return [*self.founders, *self.first, *self.last]

    @property
    def owner(self) -> Member:
        """May do everything."""
        return self.founders[0]

    @property
    def path(self) -> str:
        """Of the group's calls."""
        return f"/v1/groups/{self.session_id}"

    async def found(self) -> None:
        """The adders alone."""
        founders = [one.user_id for one in self.founders]
        created = await self.owner.call("POST", "/v1/groups", name="crowd", members=founders)
        self.session_id = created["session_id"]
        self.joined |= dict.fromkeys(founders, created["seq"])

    async def grow(self) -> None:
        """The first call, those between by ten members at once, and the last."""
        await self._add(self.owner, self.calls[0])
        waiting = self.calls[1:-1]

        async def work(adder: Member) -> None:
            while waiting:
                await self._add(adder, waiting.pop())

        await asyncio.gather(*map(work, self.founders))
        await self._add(self.owner, self.calls[-1])

    async def _add(self, adder: Member, user_ids: Sequence[str]) -> None:
        added = await adder.call("POST", f"{self.path}/members", user_ids=list(user_ids))
        assert (added["added"], added["left_out"]) == (list(user_ids), [])
        self.joined |= dict.fromkeys(user_ids, added["seq"])

    async def write(self, writers: Sequence[Member], messages: int) -> None:
        """So many messages of each, side by side, until all are acked."""
        wanted = len(self.acked) + len(writers) * messages
        for number in range(messages):
            for writer in writers:
                await writer.phone.client.send(f"number {number}", session_id=self.session_id)
        await until(lambda: len(self.acked) == wanted, "every message is acked")
        assert [reason for one in self.connected for reason in one.phone.failed] == []

    async def all_have(self, head_seq: int, removed: Member | None = None, removed_seq: int = 0) -> None:
        """Each connected member sees its membership and nothing else; most of it comes by itself."""
        wanted = {
            one.user_id: set(range(self.joined[one.user_id], (removed_seq if one is removed else head_seq) + 1))
            for one in self.connected
        }
        views = {one.user_id: one for one in self.connected}
        await until(
            lambda: all(one.view(self.session_id) >= wanted[name] for name, one in views.items()), "all is seen"
        )
        for name, one in views.items():
            have = one.view(self.session_id)
            assert have == wanted[name], one.account(gaps(wanted[name], have))
            spoken = wanted[name].intersection(self.acked.values())
            assert len(one.pushed(self.session_id) & spoken) > len(spoken) / 2, one.account("few pushes")


@asynccontextmanager
async def crowd(stack: Stack) -> AsyncIterator[Crowd]:
    """Every user with a phone is connected, half of them to each gateway; there is no group yet."""
    run, acked = uuid.uuid4().hex[:6], dict[str, int]()
    calls = [[f"{run}-{call:02d}-{number:03d}" for number in range(CALL)] for call in range(CALLS)]
    names = [f"{run}-founder-{number}" for number in range(ADDERS)]
    names += [user_id for call in (0, -1) for user_id in calls[call][:CONNECTED_OF_A_CALL]]
    first, last = ADDERS, ADDERS + CONNECTED_OF_A_CALL
    async with members(stack, names, acked) as people:
        group = Crowd(people[:first], people[first:last], people[last:], calls, acked=acked)
        await group.found()
        yield group


@pytest.mark.promise("G6")
async def test_a_group_of_twenty_thousand_works_in_little_memory(stack: Stack, figures: list[str]) -> None:
    forget_peaks(stack)
    async with tables_of(stack) as store, crowd(stack) as group:
        began = time.monotonic()
        await group.grow()
        grown_s = time.monotonic() - began
        await group.write([*group.founders[-2:], *group.first[:2], *group.last[:2]], MESSAGES_OF_A_WRITER)
        head_seq = max(group.acked.values())
        await group.all_have(head_seq)
        await members_are_shown(group)
        await history_begins_at_the_joining(group, head_seq)
        await watermarks_and_unread_are_right(group, store)
        head_seq = await a_removed_one_gets_nothing_more(group, head_seq)
        await inboxes_hold_what_names_their_users(group, store)
        peaks = peaks_mib(stack)
        assert {name: peak for name, peak in peaks.items() if peak >= RESIDENT_MIB_MAX} == {}
        highest = {kind: max(peak for name, peak in peaks.items() if split(name)[0] == kind) for kind in _SERVICES}
        shown = ", ".join(f"{kind} {peak}" for kind, peak in highest.items())
        figures.append(f"a group of 20,000: added in {grown_s:.0f} s, {head_seq} messages, peaks in MiB: {shown}")


async def members_are_shown(group: Crowd) -> None:
    """Mode, size, and every member once in the pages; a member that is added again is left out."""
    again = await group.owner.call("POST", f"{group.path}/members", user_ids=group.calls[7][:2])
    left_out = [{"user_id": user_id, "code": "already_member"} for user_id in group.calls[7][:2]]
    assert again == {"session_id": group.session_id, "added": [], "left_out": left_out}
    shown = (await group.last[0].http.get(group.path)).json()
    assert (shown["mode"], shown["member_count"]) == ("read", ADDERS + CALLS * CALL)
    listed = [one for page in await pages(group.last[0], f"{group.path}/members") for one in page["members"]]
    assert [one["user_id"] for one in listed] == sorted(group.joined)
    assert {one["user_id"]: one["joined_seq"] for one in listed} == group.joined
    assert {one["user_id"] for one in listed if one["role"] != "member"} == {group.owner.user_id}


async def pages(reader: Member, path: str) -> list[dict[str, Any]]:
    """All pages of a list, 500 a page where that is allowed."""
    found: list[dict[str, Any]] = []
    params: dict[str, str | int] = {"limit": 500}
    while not found or "next" in found[-1]:
        answer = await reader.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        found.append(answer.json())
        params["after"] = found[-1].get("next", "")
    return found


async def history_begins_at_the_joining(group: Crowd, head_seq: int) -> None:
    """Of each kind of member, all of it and nothing before."""
    path = f"/v1/sessions/{group.session_id}/messages"
    for one in (group.owner, group.first[-1], group.last[-1]):
        joined = group.joined[one.user_id]
        log = await history_of(one.http, group.session_id)
        assert [message["seq"] for message in log] == list(range(joined, head_seq + 1))
        before = (await one.http.get(path, params={"before_seq": joined, "limit": 200})).json()
        assert (before["messages"], before["has_more"]) == ([], False)


async def watermarks_and_unread_are_right(group: Crowd, store: Store) -> None:
    """Some read, by WebSocket and by REST; unread, the list and the receipts are what a recount says."""
    author, readers = group.last[0], [group.founders[1], group.first[3], group.last[3], group.last[4]]
    seq = max(seq for seq in group.acked.values())
    read = {one.user_id: seq - number for number, one in enumerate(readers)}
    for number, one in enumerate(readers):
        if number % 2:
            await one.call("PUT", f"/v1/sessions/{group.session_id}/read", seq=read[one.user_id])
        else:
            one.phone.client.mark_read(group.session_id, read[one.user_id])
    account = await _account_with(store, group.session_id, read)
    for one in group.connected:
        [listed] = (await one.http.get("/v1/sessions")).json()["sessions"]
        shown = {name: listed[name] for name in ("session_id", "mode", "joined_seq", "read_seq", "unread")}
        assert shown == {
            "session_id": group.session_id,
            "mode": "read",
            "joined_seq": group.joined[one.user_id],
            "read_seq": read.get(one.user_id, 0),
            "unread": account.unread(one.user_id),
        }, one.user_id
        assert listed["head"]["seq"] == account.head_seq
    mine = max(row.seq for row in account.messages if row.sender_id == author.user_id)
    found = await pages(author, f"/v1/sessions/{group.session_id}/messages/{mine}/receipts")
    _, by, members = account.receipts(account.messages[mine - 1])
    assert by == sorted(user_id for user_id in read if read[user_id] >= mine)
    assert [one["user_id"] for page in found for one in page["read"]] == by
    assert {page["members"] for page in found} == {members} == {ADDERS + CALLS * CALL - 1}


async def _account_with(store: Store, session_id: str, read: dict[str, int]) -> Account:
    """The rows once they hold these watermarks. AssertionError if they never do."""

    async def stored() -> dict[str, int]:
        rows = await store.receipts([(session_id, user_id) for user_id in read])
        return {row.user_id: row.read_seq for row in rows.values()}

    await becomes(stored, read)
    return await account_of(store, session_id)


async def a_removed_one_gets_nothing_more(group: Crowd, head_seq: int) -> int:
    """One of the members added last leaves, and the group continues. The new head."""
    gone = group.last[1]
    removed = await group.owner.call("DELETE", f"{group.path}/members/{gone.user_id}")
    assert removed["seq"] == head_seq + 1
    await group.write([group.founders[-1], group.last[0]], 3)
    head_seq = max(group.acked.values())
    await group.all_have(head_seq, gone, removed["seq"])
    for path in (group.path, f"/v1/sessions/{group.session_id}", f"/v1/sessions/{group.session_id}/messages"):
        answer = await gone.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
    assert (await gone.http.get("/v1/sessions")).json()["sessions"] == []
    assert (await group.owner.http.get(group.path)).json()["member_count"] == ADDERS + CALLS * CALL - 1
    await group.all_have(head_seq, gone, removed["seq"])
    return head_seq


async def inboxes_hold_what_names_their_users(group: Crowd, store: Store) -> None:
    """Joining, the switch for earlier members, a removal; of the messages not one."""
    switch_seq = group.joined[group.first[0].user_id]
    log = {row.client_msg_id: row.seq for row in (await account_of(store, group.session_id)).messages}
    assert {name: log.get(name) for name in group.acked} == group.acked
    gone = group.last[1]
    removed_seq = max(seq for seq in log.values() if seq not in group.acked.values())
    for one in group.connected:
        wanted = sorted({group.joined[one.user_id], *([switch_seq] if one in group.founders else [])})
        wanted += [removed_seq] if one is gone else []
        found = await inbox_of(store, one.user_id, group.session_id, len(wanted))
        assert found == wanted, f"{one.user_id}: {gaps(wanted, found)}"
    # The other members are in this session alone, so the tail is how much is in the inbox: the joining.
    passive = [user_id for call in group.calls for user_id in call[CONNECTED_OF_A_CALL:]]
    tails: dict[str, int] = {}
    for start in range(0, len(passive), _TAILS_AT_ONCE):
        tails |= await inbox_tails.inbox_tails(store, passive[start : start + _TAILS_AT_ONCE])
    assert {user_id: tails.get(user_id) for user_id in passive if tails.get(user_id) != 1} == {}


# -- memory ----------------------------------------------------------------------------------------


def _pids(stack: Stack) -> dict[str, int]:
    return {name: pid_of(stack, name) for name in stack.counts.names() if split(name)[0] in _SERVICES}


def forget_peaks(stack: Stack) -> None:
    """What earlier tests needed is not this one's: from here on VmHWM counts from zero (proc(5), clear_refs)."""
    for pid in _pids(stack).values():
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def peaks_mib(stack: Stack) -> dict[str, int]:
    """The most resident memory of each service's process since `forget_peaks`."""
    statuses = {name: Path(f"/proc/{pid}/status").read_text() for name, pid in _pids(stack).items()}
    return {name: int(status.partition("VmHWM:")[2].split()[0]) // 1024 for name, status in statuses.items()}
