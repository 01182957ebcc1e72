"""Receipts out of order, repeated and from several devices, while members come and go: what is sent, shown and stored.

Nothing here trusts the services. What each device is sent and the tables hold is compared with the claims.
Unread, receipts and counts are compared with a recount of the raw rows.
"""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from deploy.local.stack import Stack
from tests.e2e.listening import Listener, listening
from tests.e2e.raw import call, rest_of, text
from tests.e2e.recount import Account, account_of
from tests.e2e.tables import tables_of
from tests.waiting import becomes
from tidings.ids import direct_session, direct_users
from tidings.store.base import Store
from tidings.store.rows import ReceiptRow
from tidings.wire.common_pb2 import KIND_SYSTEM

# G8: all connected devices agree within 5 s of quiet.
AGREE_S = 5.0
NAMES = ("anna", "bert", "cleo", "dora")
CLAIMS = 120
CLAIMS_A_MESSAGE = 20
# As a client may say it by mistake; it counts as the head.
BEYOND = 50
_POLL_S = 0.05

Place = tuple[str, str]


@dataclass
class Person:
    """A user with a phone and a laptop, each at a gateway of its own, and REST at both."""

    user_id: str
    devices: Sequence[Listener]
    rest: Sequence[httpx2.AsyncClient]


@dataclass
class Talk:
    """Sessions, their members, how far each has come, and of each watermark (delivered, read) what was claimed."""

    people: dict[str, Person]
    chance: random.Random
    members: dict[str, set[str]] = field(default_factory=dict)
    heads: dict[str, int] = field(default_factory=dict)
    said: dict[Place, tuple[int, int]] = field(default_factory=dict)

    async def say(self, user_id: str, session_id: str) -> None:
        """One message from either device."""
        answer = await self.chance.choice(self.people[user_id].devices).asks(type="send", **text(session_id=session_id))
        assert answer["type"] == "send_ack", answer
        self.heads[session_id] = max(answer["seq"], self.heads.get(session_id, 0))

    async def command(self, user_id: str, method: str, path: str, **body: Any) -> dict[str, Any]:
        """One call about a group."""
        answer = await call(self.people[user_id].rest[0], method, f"/v1/groups{path}", **body)
        self.heads[answer["session_id"]] = answer["seq"]
        return answer

    async def claim(self, user_id: str, session_id: str, seq: int) -> None:
        """Say by one of the ways that it is read, or delivered, up to there; sometimes twice."""
        person, counts, place = self.people[user_id], min(seq, self.heads[session_id]), (session_id, user_id)
        way = self.chance.choice(("read", "put", "ack"))
        delivered, read = self.said.get(place, (0, 0))
        self.said[place] = max(delivered, counts), read if way == "ack" else max(read, counts)
        if way == "put":
            shown = await self.chance.choice(person.rest).put(f"/v1/sessions/{session_id}/read", json={"seq": seq})
            assert counts <= shown.json()["read_seq"] <= self.heads[session_id], shown.text
            return
        frame: dict[str, Any] = {"type": "read", "session_id": session_id, "seq": seq}
        if way == "ack":
            frame = {"type": "ack", "delivered": [{"session_id": session_id, "seq": seq}]}
        await self.chance.choice(person.devices).socket.send(*[frame] * self.chance.choice((1, 1, 2)))

    async def storm(self) -> None:
        """All users claim at once, any seq up to the head, while a few write."""
        places = [(name, user_id) for name, members in self.members.items() for user_id in sorted(members)]
        doing = []
        for number in range(CLAIMS):
            session_id, user_id = self.chance.choice(places)
            if number % CLAIMS_A_MESSAGE == 0:
                doing.append(self.say(user_id, session_id))
            doing.append(self.claim(user_id, session_id, self.chance.randint(1, self.heads[session_id])))
        await asyncio.gather(*doing)

    async def chat(self, messages: int) -> None:
        """So many messages of every member of every session."""
        for _ in range(messages):
            for session_id, members in self.members.items():
                for user_id in sorted(members):
                    await self.say(user_id, session_id)


@asynccontextmanager
async def talking(stack: Stack, chance: random.Random) -> AsyncIterator[tuple[Talk, str]]:
    """Four people with eight devices, a group of them all, and direct sessions of the first with two others."""
    run = uuid.uuid4().hex[:6]
    async with AsyncExitStack() as exits:
        people = []
        for user_id in (f"{run}-{name}" for name in NAMES):
            places = [(0, "phone"), (1, "laptop")]
            devices = [await exits.enter_async_context(listening(stack, user_id, name, at)) for at, name in places]
            rest = [await exits.enter_async_context(rest_of(stack, user_id, at)) for at, _ in places]
            people.append(Person(user_id, devices, rest))
        talk = Talk({person.user_id: person for person in people}, chance)
        users = list(talk.people)
        made = await talk.command(users[0], "POST", "", name="talk", members=users)
        talk.members[made["session_id"]] = set(users)
        talk.members |= {direct_session(users[0], other): {users[0], other} for other in users[1:3]}
        yield talk, made["session_id"]


@pytest.mark.promise("G8", "G9")
async def test_watermarks_never_go_back_and_unread_equals_a_recount(stack: Stack, figures: list[str]) -> None:
    took: list[float] = []
    async with tables_of(stack) as store, talking(stack, random.Random(8)) as (talk, group):
        anna, bert, _, dora = talk.people
        await talk.chat(3)
        await talk.storm()
        took.append(await agreed(talk, store))
        await recounted(talk, store, group)

        for session_id in talk.members:
            for user_id in (anna, bert):
                if user_id in talk.members[session_id]:
                    await talk.claim(user_id, session_id, talk.heads[session_id] + BEYOND)
        took.append(await agreed(talk, store))

        await talk.command(anna, "PATCH", f"/{group}", name="renamed")
        left = await talk.command(dora, "DELETE", f"/{group}/members/{dora}")
        talk.members[group].remove(dora)
        await talk.chat(2)
        await talk.storm()
        took.append(await agreed(talk, store))
        await recounted(talk, store, group, counted_from=left["seq"])

        added = await talk.command(bert, "POST", f"/{group}/members", user_ids=[dora])
        talk.members[group].add(dora)
        await recounted(talk, store, group, counted_from=added["seq"])
        await talk.command(anna, "PUT", f"/{group}/members/{bert}", role="admin")
        await talk.chat(2)
        await talk.storm()
        took.append(await agreed(talk, store))
        await recounted(talk, store, group, counted_from=added["seq"])
        figures.append(f"watermarks of 8 devices: all agree {max(took):.1f} s after {CLAIMS} claims at once")


# -- watermarks ------------------------------------------------------------------------------------


async def agreed(talk: Talk, store: Store) -> float:
    """The tables and all devices hold what was said within 5 s of quiet, how long it took; no device was sent less
    than before, or more than there is."""
    group = next(name for name in talk.members if not direct_users(name))
    places = [(name, user_id) for name in talk.members for user_id in direct_users(name) or talk.people]

    async def differences() -> list[str]:
        stored = await store.receipts(places)
        differing = []
        for place in places:
            said, row = talk.said.get(place, (0, 0)), stored.get(place, ReceiptRow(*place))
            if (row.delivered_seq, row.read_seq) != said:
                differing.append(f"{place}: said {said}, stored {row}")
            sent = [(device, [(0, 0), *_watermarks(device, place)][-1]) for device in _devices_of(talk, place)]
            differing += [
                f"{place}: said {said}, sent {last} to {device.user_id}" for device, last in sent if last != said
            ]
        return differing

    took_s = await becomes(differences, list[str](), within_s=AGREE_S, every_s=_POLL_S)
    for place in places:
        for device in _devices_of(talk, place):
            sent = _watermarks(device, place)
            columns = [list(column) for column in zip(*sent, strict=True)]
            assert columns == [sorted(column) for column in columns], f"{device.user_id} was sent {sent} of {place}"
            assert all(read <= delivered <= talk.heads[place[0]] for delivered, read in sent), sent
    foreign = {
        frame["user_id"]
        for person in talk.people.values()
        for device in person.devices
        for frame in device.frames_with(type="receipt", session_id=group)
        if frame["user_id"] != person.user_id
    }
    assert foreign == set(), "in a group a watermark is sent to its own user alone"
    return took_s


def _devices_of(talk: Talk, place: Place) -> list[Listener]:
    """All devices of the user, and of the peer in a direct session."""
    return [device for user_id in direct_users(place[0]) or place[1:] for device in talk.people[user_id].devices]


def _watermarks(device: Listener, place: Place) -> list[tuple[int, int]]:
    frames = device.frames_with(type="receipt", session_id=place[0], user_id=place[1])
    return [(frame["delivered_seq"], frame["read_seq"]) for frame in frames]


# -- what is counted from them ---------------------------------------------------------------------


async def recounted(talk: Talk, store: Store, group: str, counted_from: int = 1) -> None:
    """Lists, receipts and counts are what the raw rows make; counts of messages from `counted_from` on, since a
    change of members alone sends no new ones."""
    accounts = {name: await account_of(store, name) for name in talk.members}
    assert accounts[group].joined.keys() == talk.members[group]

    async def differences() -> list[str]:
        lists = [line for user_id in talk.people for line in await _listed(talk, user_id, accounts)]
        counts = _counted(talk, accounts[group], counted_from)
        return lists + counts

    await becomes(differences, list[str](), within_s=AGREE_S, every_s=_POLL_S)
    for account in accounts.values():
        await _receipts_are_right(talk, account)


async def _listed(talk: Talk, user_id: str, accounts: dict[str, Account]) -> list[str]:
    """What differs in the list of sessions at either gateway."""
    wanted: dict[str, dict[str, Any]] = {}
    for name, account in accounts.items():
        if user_id in account.joined:
            marks = {"read_seq": account.read(user_id), "delivered_seq": account.delivered(user_id)}
            wanted[name] = {**marks, "unread": account.unread(user_id), "head": account.head_seq}
            for peer in set(direct_users(name)) - {user_id}:
                marks = {"delivered_seq": account.delivered(peer), "read_seq": account.read(peer)}
                wanted[name]["peer"] = {"user_id": peer, **marks}
    differing = []
    for rest in talk.people[user_id].rest:
        listed = (await rest.get("/v1/sessions")).json()["sessions"]
        shown: dict[str, dict[str, Any]] = {one["session_id"]: one | {"head": one["head"]["seq"]} for one in listed}
        found = {name: {field: one.get(field) for field in wanted.get(name, ())} for name, one in shown.items()}
        if found != wanted:
            differing.append(f"{user_id} is shown {found}, should be {wanted}")
    return differing


def _counted(talk: Talk, account: Account, counted_from: int) -> list[str]:
    """What differs in the counts that authors were sent last."""
    differing = []
    for person in talk.people.values():
        for device in person.devices:
            sent = {
                count["seq"]: (count["delivered"], count["read"])
                for frame in device.frames_with(type="group_receipt", session_id=account.session_id)
                for count in frame["counts"]
            }
            mine = [row for row in account.messages if row.sender_id == person.user_id and row.seq >= counted_from]
            for row in mine:
                delivered, read, _ = account.receipts(row)
                wanted = (len(delivered), len(read))
                if row.kind != KIND_SYSTEM and sent.get(row.seq, (0, 0)) != wanted:
                    differing.append(f"{person.user_id} is sent {sent.get(row.seq)} of {row.seq}, should be {wanted}")
    return differing


async def _receipts_are_right(talk: Talk, account: Account) -> None:
    """Of every message, as the answer to its author or to the owner of the group has it."""
    for row in account.messages:
        asking = row.sender_id if row.sender_id in account.joined else next(iter(talk.people))
        if row.seq < account.joined[asking]:
            asking = next(iter(talk.people))
        path = f"/v1/sessions/{account.session_id}/messages/{row.seq}/receipts"
        shown = (await talk.people[asking].rest[row.seq % 2].get(path, params={"limit": 200})).json()
        read = [one["user_id"] for one in shown["read"]]
        assert (shown["delivered"], read, shown["members"]) == account.receipts(row), f"{path} as {asking}"
