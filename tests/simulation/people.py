"""The actions of users on their devices: texts, commands of groups, blocks and reads."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import httpx2

from tests.simulation.admission import Admission, peer_of
from tests.simulation.devices import Device
from tests.simulation.oracle import Oracle, Session
from tests.simulation.ports import Servers
from tests.simulation.watcher import Watcher
from tidings import ids
from tidings_client.errors import ApiError, Stopped, Unreachable
from tidings_client.group_calls import Role
from tidings_client.rest import Peer, path_of

USERS = ("ada", "bob", "cyd", "dan", "eve", "fay")
DEVICES = tuple((user_id, device_id) for user_id in USERS for device_id in ("phone", "laptop")[: 1 + (user_id < "d")])
DIRECT = ("d:ada:bob", "d:bob:cyd", "d:cyd:cyd", "d:ada:eve")
# Refusals that a user has to expect; each must be one of the log's answers (promises.py).
EXPECTED = frozenset(
    {
        *("conflict", "forbidden", "muted", "not_member", "group_full", "session_not_found", "message_not_found"),
        *("invalid_body", "unavailable", "timeout", "rate_limited", "already_member"),
    }
)
_GROUPS = 2


class People:
    """What users do: mostly what they may, sometimes what they may not. It is drawn from what the oracle has read."""

    def __init__(self, servers: Servers, oracle: Oracle, watcher: Watcher) -> None:
        """No user is there yet."""
        self._servers, self._oracle, self._chance = servers, oracle, servers.chance
        self.devices = [Device(servers, watcher, user_id, device_id) for user_id, device_id in DEVICES]
        self.groups: list[str] = []
        self.unexpected: list[str] = []
        self._calls: set[asyncio.Task[None]] = set()
        self._sent: list[tuple[str, str, str]] = []
        self._admission: Admission = servers.admission
        # (user, other user): calls under way, and blocks that were confirmed last.
        self._blocking: set[tuple[str, str]] = set()
        self._blocked: set[tuple[str, str]] = set()
        # (session, user) -> the peer as a last look has shown it.
        self.peers: dict[tuple[str, str], Peer] = {}
        self._number = 0

    async def come(self) -> None:
        """Every user starts every device."""
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
        device = self.device_of(user_id)
        if self._chance.random() < 0.3:
            is_timed = self._chance.random() < 0.5
            own = _uuid7(device.wall_ms(), self._number) if is_timed else f"own-{self._number}"
            address["client_msg_id"] = own
            self._sent.append((user_id, session_id, own))
        self._do(self._send(device, f"text {self._number}", address))
        return None

    def say_at_once(self, device: Device) -> None:
        """A text or a command of a device that has just been started, by its own clock."""
        session_id = self._session_of(device.user_id)
        self._number += 1
        if ids.is_group_session(session_id) and self._chance.random() < 0.5:
            self._do(device.client.groups.rename(session_id, f"group {self._number}"))
        else:
            self._do(self._send(device, f"text {self._number}", {"session_id": session_id}))

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
        if self._ended and self._chance.random() < 0.03:
            return self._chance.choice(self._ended)
        mine = [name for name in known if user_id in self._people_of(name)]
        groups = [name for name in mine if ids.is_group_session(name)]
        if groups and self._chance.random() < 0.7:
            return self._chance.choice(groups)
        return self._chance.choice(mine if mine and self._chance.random() < 0.95 else known)

    @property
    def _ended(self) -> list[str]:
        """Groups that are dissolved."""
        return [name for name in self.groups if (one := self._oracle.session(name)).messages and not one.members]

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
            (
                *(self._add, self._remove, self._leave, self._role, self._mute, self._transfer, self._settings),
                self._dissolve,
            ),
            _WEIGHTS,
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

    async def _dissolve(self, session: Session, actor: str) -> None:
        user_id = session.owner if session.owner and self._chance.random() < 0.8 else actor
        await self.device_of(user_id).client.groups.dissolve(session.session_id)

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

    # -- blocks --------------------------------------------------------------------------------------

    def block(self) -> None:
        """A user blocks another, or ends that; mostly one in a direct session with the user."""
        direct = [pair for name in DIRECT if len(set(pair := ids.direct_users(name))) == 2]
        others = direct if self._chance.random() < 0.8 else [USERS]
        user_id, other_id = self._chance.sample(self._chance.choice(others), k=2)
        blocks = not self._blocked or self._chance.random() < 0.6
        if not blocks:
            user_id, other_id = self._chance.choice(sorted(self._blocked))
        if (user_id, other_id) not in self._blocking:
            self._do(self._change_block(user_id, other_id, blocks))

    async def _change_block(self, user_id: str, other_id: str, blocks: bool) -> None:
        """As an application does it that has no SDK. One user's calls run at the same time, but not for one other."""
        pair = (user_id, other_id)
        self._blocking.add(pair)
        self._admission.begins(user_id, other_id, blocks)
        try:
            headers = {"headers": {"Authorization": f"Bearer {user_id}"}}
            rest = self.device_of(user_id).client._rest
            answer = await rest._request("PUT" if blocks else "DELETE", path_of("blocks", other_id), headers)
            if answer.is_success:
                self._admission.confirmed(user_id, other_id, blocks)
                (self._blocked.add if blocks else self._blocked.discard)(pair)
            elif answer.status_code != 503:
                self.unexpected.append(f"{user_id} cannot block {other_id}: {answer.text}")
        except BaseException:
            self._admission.unanswered(user_id, other_id, blocks)
            raise
        finally:
            self._blocking.discard(pair)

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

    def look_at_peers(self) -> None:
        """Every user of a direct session asks for the other's watermarks."""
        for session_id in DIRECT:
            for user_id in ids.direct_users(session_id):
                if self._oracle.session(session_id).messages and peer_of(session_id, user_id):
                    self._do(self._look_at_peer(session_id, user_id))

    async def _look_at_peer(self, session_id: str, user_id: str) -> None:
        session = await self.device_of(user_id).client.session(session_id)
        assert session.peer is not None
        self.peers[session_id, user_id] = session.peer

    async def _put_read(self, device: Device, session_id: str, seq: int) -> None:
        """As an application does it that has no SDK, and then looks."""
        path = path_of("sessions", session_id, "read")
        headers = {"Authorization": f"Bearer {device.user_id}"}
        await device.client._rest._request("PUT", path, {"json": {"seq": seq}, "headers": headers})
        await device.client.session(session_id)

    def _do(self, call: Coroutine[Any, Any, Any]) -> None:
        """At the same time as everything else; a refusal that no user has to expect is noted."""

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


def _uuid7(at_ms: int, number: int) -> str:
    time = f"{at_ms:012x}"
    return f"{time[:8]}-{time[8:]}-7000-8000-{number:012x}"


_WEIGHTS = (38, 20, 10, 8, 7, 5, 7, 4)
