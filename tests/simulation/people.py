"""Users and their devices: the SDK's own client on each, and an application that handles what it is given."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.simulation.oracle import Oracle, Session
from tests.simulation.ports import Servers
from tests.simulation.watcher import Watcher
from tidings import ids
from tidings_client import client as sdk
from tidings_client.cursors import MemoryCursorStore
from tidings_client.effects import Link
from tidings_client.errors import ApiError, Stopped, Unreachable
from tidings_client.group_calls import Role
from tidings_client.outbox import MemoryOutbox
from tidings_client.rest import path_of

USERS = ("ada", "bob", "cyd", "dan", "eve", "fay")
DEVICES = tuple((user_id, device_id) for user_id in USERS for device_id in ("phone", "laptop")[: 1 + (user_id < "d")])
DIRECT = ("d:ada:bob", "d:bob:cyd", "d:cyd:cyd", "d:ada:eve")
# Refusals that a user has to expect; each must be one of the log's answers (promises.py).
EXPECTED = frozenset(
    {
        *("conflict", "forbidden", "muted", "not_member", "group_full", "session_not_found", "message_not_found"),
        *("invalid_body", "clock_skew", "unavailable", "timeout", "rate_limited", "already_member"),
    }
)
_GROUPS = 2


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as the application got it."""

    session_id: str
    seq: int
    message_id: int


class Device:
    """One device. It may be restarted; its cursor and its outbox are kept."""

    def __init__(self, servers: Servers, watcher: Watcher, user_id: str, device_id: str) -> None:
        self.user_id, self.device_id = user_id, device_id
        self._watcher = watcher
        self.shown: dict[str, list[Shown]] = defaultdict(list)
        # What was taken and not settled when the application ended: it comes again. What was settled above the cursor,
        # which waits for a group's history, may come again, too (docs/LIMITS.md).
        self.to_come_again: set[tuple[str, int]] = set()
        self._may_come_again: set[tuple[str, int]] = set()
        self.said: dict[str, int] = {}
        self._servers = servers
        self._cursors, self._outbox = MemoryCursorStore(), MemoryOutbox()
        self._application: asyncio.Task[None] | None = None
        self._taken: Shown | None = None

    async def start(self) -> None:
        """A new process of the application."""
        self.client = sdk.Client(
            f"http://{self.user_id}.{self.device_id}",
            self.user_id,
            device_id=self.device_id,
            cursors=self._cursors,
            outbox=self._outbox,
        )
        await self.client.__aenter__()
        self._application = asyncio.create_task(self._handle())

    async def end(self) -> None:
        """The application leaves."""
        if self._application is None:
            return
        self._application.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._application
        await self.client.close()
        self.said.clear()
        taken = self._taken
        for shown in (one for of_session in self.shown.values() for one in of_session):
            place = (shown.session_id, shown.seq)
            # Of a group all may come again: its log may be read from the joining, or be closed by then.
            if ids.is_group_session(shown.session_id) or self._is_above_cursor(*place):
                self._may_come_again.add(place)
        if taken is not None and not ids.is_group_session(taken.session_id):
            self.to_come_again.add((taken.session_id, taken.seq))

    def _is_above_cursor(self, session_id: str, seq: int) -> bool:
        cursor = self._cursors.cursor
        if cursor is None:
            return True
        inbox_seq = self._watcher.inbox_seqs.get((self.user_id, session_id, seq))
        return seq > cursor.groups.get(session_id, 0) if inbox_seq is None else inbox_seq > cursor.inbox_seq

    @property
    def is_busy(self) -> bool:
        """It is not connected, or has messages that are not stored yet."""
        return self.client.link is not Link.READY or self.client._own.under_way > 0

    def read(self, session_id: str, seq: int) -> None:
        """The user has read up to here."""
        self.said[session_id] = max(seq, self.said.get(session_id, 0))
        self.client.mark_read(session_id, seq)

    async def _handle(self) -> None:
        """Show each message; now and then take some time, or say that it is read."""
        chance = self._servers.chance
        with contextlib.suppress(Stopped):
            async for message in self.client.messages():
                self._taken = shown = Shown(message.session_id, message.seq, int(message.message_id))
                place = (shown.session_id, shown.seq)
                if place in self.to_come_again | self._may_come_again:
                    self.to_come_again.discard(place)
                    self._may_come_again.discard(place)
                else:
                    self.shown[shown.session_id].append(shown)
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.random())
                if chance.random() < 0.15:
                    self.read(shown.session_id, max(1, shown.seq - chance.choice((0, 0, 1, 3))))
                self._taken = None  # asking for the next message settles this one


class People:
    """What users do: mostly what they may, sometimes what they may not. It is drawn from what the oracle has read."""

    def __init__(self, servers: Servers, oracle: Oracle, watcher: Watcher) -> None:
        """Nobody is there yet."""
        self._servers, self._oracle, self._chance = servers, oracle, servers.chance
        self.devices = [Device(servers, watcher, user_id, device_id) for user_id, device_id in DEVICES]
        self.groups: list[str] = []
        self.unexpected: list[str] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._sent: list[tuple[str, str, str]] = []
        self._number = 0

    async def come(self) -> None:
        """Everybody starts every device."""
        for device in self.devices:
            await device.start()

    async def go(self) -> None:
        """The end of the run."""
        for call in self._calls:
            call.cancel()
        for device in self.devices:
            await device.end()

    @property
    def calls_under_way(self) -> int:
        """Calls without an answer."""
        return len(self._calls)

    # -- messages ------------------------------------------------------------------------------------

    def say(self) -> None:
        """A text in some session; now and then one that was sent before, through any device of its sender."""
        if self._sent and self._chance.random() < 0.08:
            return self._say_again()
        user_id = self._chance.choice(USERS)
        session_id = self._session_of(user_id)
        head = self._oracle.session(session_id).seq
        reply_to = self._chance.choice((0, 0, 0, 0, 1, head))
        self._number += 1
        address: dict[str, Any] = {"session_id": session_id} | ({"reply_to": reply_to} if reply_to else {})
        if self._chance.random() < 0.3:
            address["client_msg_id"] = f"own-{self._number}"
            self._sent.append((user_id, session_id, address["client_msg_id"]))
        self._do(self._send(self.device_of(user_id), f"text {self._number}", address))
        return None

    def _say_again(self) -> None:
        """The same id: mostly with another text, which is a conflict, if the first one is stored."""
        user_id, session_id, client_msg_id = self._chance.choice(self._sent)
        address = {"session_id": session_id, "client_msg_id": client_msg_id}
        self._do(self._send(self.device_of(user_id), f"again {client_msg_id}", address))

    async def _send(self, device: Device, text: str, address: dict[str, Any]) -> None:
        with contextlib.suppress(ValueError, Stopped):  # ValueError: the id is being sent already
            await device.client.send(text, **address)

    def say_to(self, session_id: str, user_id: str) -> None:
        """A text of this user."""
        self._number += 1
        self._do(self._send(self.device_of(user_id), f"text {self._number}", {"session_id": session_id}))

    def device_of(self, user_id: str) -> Device:
        """One of the user's."""
        return self._chance.choice([one for one in self.devices if one.user_id == user_id])

    def _session_of(self, user_id: str) -> str:
        known = [*DIRECT, *self.groups]
        mine = [name for name in known if user_id in self._people_of(name)]
        groups = [name for name in mine if ids.is_group_session(name)]
        if groups and self._chance.random() < 0.7:
            return self._chance.choice(groups)
        return self._chance.choice(mine if mine and self._chance.random() < 0.95 else known)

    def _people_of(self, session_id: str) -> tuple[str, ...]:
        return ids.direct_users(session_id) or tuple(self._oracle.session(session_id).members)

    # -- groups --------------------------------------------------------------------------------------

    def administer(self) -> None:
        """A group is made, or something changes in one."""
        alive = [name for name in self.groups if self._oracle.session(name).members]
        wants_group = len(alive) < _GROUPS and len(self.groups) < 2 * _GROUPS
        if not self.groups or (wants_group and self._chance.random() < 0.5):
            self._do(self._create(self._chance.choice(USERS)))
            return
        session = self._oracle.session(self._chance.choice(self.groups))
        actor = self._chance.choice(USERS)
        able = sorted(name for name, member in session.members.items() if member.role != "member")
        if able and self._chance.random() < 0.85:
            actor = self._chance.choice(able)
        change = self._chance.choices(
            (self._add, self._remove, self._leave, self._role, self._mute, self._transfer, self._settings), _WEIGHTS
        )[0]
        self._do(change(session, actor))

    async def _create(self, user_id: str) -> None:
        others = self._chance.sample(USERS, k=self._chance.randint(1, 5))
        self._number += 1
        made = await self.device_of(user_id).client.groups.create(f"group {self._number}", others)
        self.groups.append(made.session_id)

    async def _add(self, session: Session, actor: str) -> None:
        users = {self._other(session, is_member=False) for _ in range(self._chance.choice((1, 1, 2, 3)))}
        await self.device_of(actor).client.groups.add(session.session_id, sorted(users))

    async def _remove(self, session: Session, actor: str) -> None:
        await self.device_of(actor).client.groups.remove(session.session_id, self._other(session, is_member=True))

    async def _leave(self, session: Session, _actor: str) -> None:
        await self.device_of(self._other(session, is_member=True)).client.groups.leave(session.session_id)

    async def _role(self, session: Session, actor: str) -> None:
        role: Role = self._chance.choice(("admin", "member"))
        user_id = self._other(session, is_member=True)
        await self.device_of(actor).client.groups.set_role(session.session_id, user_id, role)

    async def _mute(self, session: Session, actor: str) -> None:
        until_ms = self._chance.choice((0, self._servers.clock.wall_ms() + 10_000))
        user_id = self._other(session, is_member=True)
        await self.device_of(actor).client.groups.mute(session.session_id, user_id, until_ms)

    async def _transfer(self, session: Session, actor: str) -> None:
        user_id = self._other(session, is_member=True)
        await self.device_of(session.owner or actor).client.groups.transfer(session.session_id, user_id)

    async def _settings(self, session: Session, actor: str) -> None:
        choice = self._chance.choice
        changes: list[dict[str, Any]] = [
            {"who_can_send": choice(("all", "admins"))},
            {"who_can_add": choice(("all", "admins"))},
            {"share_history": True},
        ]
        settings = self._chance.choices(changes, (4, 4, 1))[0]
        await self.device_of(actor).client.groups.change_settings(session.session_id, settings)  # type: ignore[arg-type]

    def _other(self, session: Session, *, is_member: bool) -> str:
        some = [user for user in USERS if (user in session.members) == is_member]
        return self._chance.choice(some if some and self._chance.random() < 0.9 else USERS)

    # -- reading -------------------------------------------------------------------------------------

    def read_something(self) -> None:
        """A list, a session, a part of a history, the readers of a message, or a read mark by REST."""
        device = self._chance.choice(self.devices)
        session_id = self._session_of(device.user_id)
        head = max(1, self._oracle.session(session_id).seq)
        seq = self._chance.randint(1, head)
        calls = (
            lambda: device.client.sessions(limit=self._chance.choice((2, 50))),
            lambda: device.client.session(session_id),
            lambda: device.client.history(session_id, after_seq=seq - 1, limit=self._chance.choice((2, 50))),
            lambda: device.client.history(session_id, limit=3),
            lambda: device.client.receipts(session_id, seq),
            lambda: self._put_read(device, session_id, seq),
        )
        call = self._chance.choices(calls, (4, 4, 2, 1, 1, 3))[0]
        self._do(call())

    async def _put_read(self, device: Device, session_id: str, seq: int) -> None:
        """As an application does it that has no SDK, and then looks."""
        path = path_of("sessions", session_id, "read")
        headers = {"Authorization": f"Bearer {device.user_id}"}
        await device.client._rest._request("PUT", path, {"json": {"seq": seq}, "headers": headers})
        await device.client.session(session_id)

    def _do(self, call: Coroutine[Any, Any, Any]) -> None:
        """Beside everything else; a refusal that no user has to expect is noted."""

        async def done() -> None:
            try:
                await call
            except ApiError as error:
                if error.code not in EXPECTED:
                    self.unexpected.append(f"{error.code}: {error}")
            except (Unreachable, Stopped, httpx2.TransportError):
                pass  # no answer, or the device was restarted meanwhile

        task = asyncio.create_task(done())
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)


_WEIGHTS = (34, 24, 10, 8, 7, 5, 7)
