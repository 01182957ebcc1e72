"""Gateways and the devices at them. A device follows PROTOCOL's client rules, and writes down what it shows."""

from collections import deque
from dataclasses import dataclass, field

import orjson

from services.gateway.large_groups.heads import GroupHeads
from services.gateway.large_groups.tracker import GroupTracker
from services.gateway.reads.inbox import InboxReads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.sessions import SessionReads
from tests.simulation.world import SIZES, World
from tidings import ids
from tidings.errors import Refused, StoreUnavailable
from tidings.store import history
from tidings.store.rows import MODE_READ, MessageRow
from tidings.topics import GATEWAYS, MESSAGES_INBOUND, PRESENCE, PUSH, RECEIPTS_INBOUND
from tidings.wire.common_pb2 import KIND_SYSTEM, Message
from tidings.wire.deliveries_pb2 import Watermark
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.inbound_pb2 import Command
from tidings.wire.presence_pb2 import Presence, PresenceKey
from tidings.wire.push_pb2 import Push, PushedMessage
from tidings.wire.receipts_pb2 import Receipt

_CACHE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A message as a client gets it, whichever way."""

    session_id: str
    seq: int
    message_id: int
    event: dict[str, object]


@dataclass(slots=True)
class View:
    """What a device knows of one session."""

    last: int = 0
    seqs: set[int] = field(default_factory=set)
    is_read_mode: bool = False
    is_member: bool = False


Frame = tuple[str, object]


@dataclass
class Device:
    """One device of a user."""

    world: World
    user_id: str
    device_id: str
    gateway: "Gateway | None" = None
    connection_id: str = ""
    cursor: int = 0
    needs_sync: bool = False
    is_live: bool = False
    # What read pushes have brought to its connections, whether or not it was shown.
    sent: set[tuple[str, int]] = field(default_factory=set)
    frames: deque[Frame] = field(default_factory=deque)
    views: dict[str, View] = field(default_factory=dict)
    # What the user has seen, in the order of seeing.
    shown: dict[str, list[Seen]] = field(default_factory=dict)
    unanswered: dict[tuple[str, str], Command] = field(default_factory=dict)
    watermarks: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _held: dict[int, Seen] = field(default_factory=dict)
    _connections: int = 0

    # -- the connection ----------------------------------------------------------------------------

    def connect(self, gateway: "Gateway") -> None:
        """Sign in there; a connection that was left behind elsewhere may not have noticed."""
        self._connections += 1
        self.connection_id = f"{self.user_id}-{self.device_id}-{self._connections}"
        self.gateway = gateway
        self.frames.clear()
        self._held.clear()
        self.is_live = False
        gateway.accept(self)

    def disconnect(self) -> None:
        """What was on its way is lost."""
        if self.gateway is not None:
            self.gateway.left(self)
        self.gateway = None
        self.frames.clear()

    def send(self, command: Command) -> None:
        """Through the gateway in hand; without an answer it will be repeated."""
        self.unanswered[command.session_id, command.client_msg_id] = command
        self._gateway.publish(self, command)

    def retry(self, key: tuple[str, str]) -> None:
        """The same id, the same content."""
        self._gateway.publish(self, self.unanswered[key])

    @property
    def _gateway(self) -> "Gateway":
        assert self.gateway is not None
        return self.gateway

    # -- receiving ---------------------------------------------------------------------------------

    async def handle(self, most: int) -> None:
        """Up to so many frames that have arrived."""
        for _ in range(min(most, len(self.frames))):
            kind, content = self.frames.popleft()
            match kind:
                case "message":
                    await self._message(content)  # type: ignore[arg-type]
                case "live" | "heartbeat":
                    await self._heads(content)  # type: ignore[arg-type]
                case "answer":
                    self.unanswered.pop(content, None)  # type: ignore[call-overload]
                case "watermark":
                    self._watermark(content)  # type: ignore[arg-type]

    async def _message(self, content: tuple[int | None, Seen]) -> None:
        inbox_seq, seen = content
        if inbox_seq is None:
            return await self._read_push(seen)
        if inbox_seq > self.cursor + 1:
            self._held[inbox_seq] = seen
            self.needs_sync = True
        elif inbox_seq == self.cursor + 1:
            await self._inbox_item(inbox_seq, seen)
            await self._take_held()
        return None

    async def _take_held(self) -> None:
        while self.cursor + 1 in self._held:
            await self._inbox_item(self.cursor + 1, self._held.pop(self.cursor + 1))

    async def _heads(self, content: tuple[int, dict[str, int]]) -> None:
        tail, heads = content
        if tail > self.cursor:
            self.needs_sync = True
        for session_id, seq in sorted(heads.items()):
            view = self.views.get(session_id)
            if view is not None and view.is_read_mode and view.is_member and seq > view.last:
                await self._fill(session_id, seq)

    async def sync(self, limit: int) -> None:
        """Read the inbox from the cursor to its tail, which may lie below what was pushed and is not confirmed."""
        self.needs_sync = False
        while True:
            confirmed = self.world.confirmed.inbox_tail(self.user_id)
            page = await self._gateway.inbox.page(self.user_id, self.cursor, limit)
            assert page.tail >= confirmed, f"Freshness: {self.user_id} is told {page.tail}, {confirmed} is confirmed"
            assert page.is_ahead == (self.cursor > page.tail), f"{self.user_id} at {self.cursor} is told {page}"
            if page.is_ahead:  # it will be written; a client never steps back
                break
            assert not page.truncated, f"G7: {self.user_id} is told that {self.cursor + 1} has expired"
            for inbox_seq, encoded in page.items:
                assert inbox_seq == self.cursor + 1, f"G7: {self.user_id} resumes at {self.cursor}, gets {inbox_seq}"
                await self._inbox_item(inbox_seq, _of_json(orjson.loads(encoded)))
            if page.next >= page.tail:
                break
        self._held = {number: seen for number, seen in self._held.items() if number > self.cursor}
        await self._take_held()

    async def _inbox_item(self, inbox_seq: int, seen: Seen) -> None:
        self.cursor = inbox_seq
        view = self.views.setdefault(seen.session_id, View())
        if view.is_read_mode and view.is_member and seen.seq > view.last + 1:
            await self._fill(seen.session_id, seen.seq - 1)
        self._show(seen)

    async def _read_push(self, seen: Seen) -> None:
        view = self.views.get(seen.session_id)
        if view is None or not (view.is_read_mode and view.is_member):
            self.needs_sync = True
        elif seen.seq == view.last + 1:
            self._show(seen)
        elif seen.seq > view.last:
            await self._fill(seen.session_id, seen.seq)

    async def _fill(self, session_id: str, last_seq: int) -> None:
        """History from the last seq shown on, up to this one."""
        for row in await self.history(session_id, self.views[session_id].last + 1, last_seq):
            self._show(_of_row(row))

    async def history(self, session_id: str, first_seq: int, last_seq: int) -> list[MessageRow]:
        """As the gateway answers it: what the user may read of it, without a hole (G3); nothing to a stranger."""
        try:
            membership = await self._gateway.memberships.check(self.user_id, session_id)
        except Refused:
            return []
        head = (await history.heads(self.world.read_store, [session_id]))[session_id].seq
        first_seq, last_seq = max(first_seq, membership.first_seq), min(last_seq, head)
        if last_seq < first_seq:
            return []
        rows = await self._gateway.messages.range(session_id, first_seq, last_seq, head)
        seqs = [row.seq for row in rows]
        assert seqs == list(range(first_seq, first_seq + len(seqs))), f"G3: {session_id} is read with a hole: {seqs}"
        return rows

    def _show(self, seen: Seen) -> None:
        """Every message counts once by (session_id, seq); what comes late says nothing of how things stand."""
        view = self.views.setdefault(seen.session_id, View())
        if seen.seq in view.seqs:
            return
        view.seqs.add(seen.seq)
        self.shown.setdefault(seen.session_id, []).append(seen)
        if seen.seq < view.last:
            return
        view.last = seen.seq
        event = seen.event
        match event.get("event"):
            case "group_created" | "members_added":
                users = event.get("members") or event.get("user_ids")
                if self.user_id in users:  # type: ignore[operator]
                    view.is_member, view.is_read_mode = True, event.get("mode") == "read"
            case "member_removed":
                view.is_member = view.is_member and event["user_id"] != self.user_id
            case "group_dissolved":
                view.is_member = False
        if "mode_to" in event:
            view.is_read_mode = event["mode_to"] == "read"

    def _watermark(self, told: Watermark) -> None:
        """G8 as a client sees it: maxima; read is delivered too, and nothing passes the head."""
        assert told.read_seq <= told.delivered_seq, f"G8: read above delivered: {told}"
        place = (told.session_id, told.user_id)
        before = self.watermarks.get(place, (0, 0))
        self.watermarks[place] = (max(before[0], told.delivered_seq), max(before[1], told.read_seq))

    # -- saying ------------------------------------------------------------------------------------

    async def say(self, session_id: str, delivered_seq: int, read_seq: int) -> bool:
        """Tell how far one is; the gateway asks whether one may. Whether it was passed on."""
        try:
            await self._gateway.memberships.check(self.user_id, session_id)
        except Refused:
            return False
        receipt = Receipt(session_id=session_id, user_id=self.user_id, delivered_seq=delivered_seq, read_seq=read_seq)
        partition = ids.partition_of(session_id, SIZES.session_partitions)
        self.world.append(RECEIPTS_INBOUND, partition, receipt.SerializeToString())
        return True


class Gateway:
    """One ordinal: its connections, its position on `push`, what it knows of read groups."""

    def __init__(self, world: World, ordinal: int) -> None:
        self.world, self.ordinal = world, ordinal
        self.epoch = -1
        self.connections: dict[str, Device] = {}
        # (user, session, seq) of every head that anybody was told, in all its lives.
        self.told_heads: set[tuple[str, str, int]] = set()
        self._offset = 0

    def start(self) -> None:
        """First the position, then the start record, then connections (H13). Nothing is kept of a life before."""
        store = self.world.read_store
        self._tracker = GroupTracker()
        self.messages = MessageReads(store, self.world.clock, _CACHE_BYTES)
        self.inbox = InboxReads(store, self.messages, pages_at_once=8)
        self.memberships = Memberships(store)
        sessions = SessionReads(store, self.messages, self.memberships)
        self._heads_of_groups = GroupHeads(self._tracker, sessions, self.memberships)
        self._offset = self.world.end(PUSH, self.ordinal)
        event = GatewayEvent(gateway=self.ordinal, state=GatewayEvent.STATE_STARTED)
        self.epoch = self.world.append(GATEWAYS, 0, event.SerializeToString(), str(self.ordinal).encode())

    def crash(self) -> None:
        """Everybody is thrown out, nobody says goodbye; it starts again."""
        for device in self.connections.values():
            device.gateway = None
            device.frames.clear()
        self.connections.clear()
        self.start()

    def accept(self, device: Device) -> None:
        """A connection; `live` will follow."""
        self.connections[device.connection_id] = device
        self._tracker.add_user(device.user_id)
        self._announce(device, Presence.STATE_HERE)

    def left(self, device: Device) -> None:
        """Its end."""
        del self.connections[device.connection_id]
        if not self._of_users([device.user_id]):
            self._tracker.remove_user(device.user_id)
        self._announce(device, Presence.STATE_GONE)

    def _announce(self, device: Device, state: Presence.State) -> None:
        key = PresenceKey(user_id=device.user_id, device_id=device.device_id, gateway=self.ordinal)
        value = Presence(gateway_epoch=self.epoch, connection_id=device.connection_id, state=state)
        partition = ids.partition_of(device.user_id, SIZES.user_partitions)
        self.world.append(PRESENCE, partition, value.SerializeToString(), key.SerializeToString())

    def publish(self, device: Device, command: Command) -> None:
        """Append a command with its origin; now and then twice (H6)."""
        command.origin.gateway, command.origin.gateway_epoch = self.ordinal, self.epoch
        command.origin.connection_id = device.connection_id
        partition = ids.partition_of(command.session_id, SIZES.session_partitions)
        for _ in range(2 if self.world.chance.random() < self.world.trouble else 1):
            self.world.append(MESSAGES_INBOUND, partition, command.SerializeToString())

    # -- what it is told ---------------------------------------------------------------------------

    async def read(self, most: int) -> None:
        """Route up to so many push records."""
        for record in self.world.read(PUSH, self.ordinal, self._offset, most):
            self._offset = record.offset + 1
            push = Push.FromString(record.value or b"")
            if push.gateway_epoch == self.epoch:
                await self._route(push)

    async def _route(self, push: Push) -> None:
        match push.WhichOneof("content"):
            case "send_ack":
                self._answer(push.send_ack.origin.connection_id, push.send_ack)
            case "send_error":
                self._answer(push.send_error.origin.connection_id, push.send_error)
            case "message":
                self._push(push.message)
                for user_id in sorted(self._tracker.take_unverified()):
                    await self._learn(user_id)
            case "live":
                await self._live(push.live.connection_id, push.live.inbox_seq)
            case "watermark":
                for device in self._of_users(push.watermark.recipient_ids):
                    device.frames.append(("watermark", push.watermark))
            case "resync":
                self._tracker.invalidate()
                for device in self.connections.values():
                    device.is_live = False
                    self._announce(device, Presence.STATE_HERE)
            case "replaced":
                # A copy of the device that moved elsewhere: here a device has one connection at most.
                pass

    def _answer(self, connection_id: str, answer: object) -> None:
        device = self.connections.get(connection_id)
        if device is not None:
            device.frames.append(("answer", (answer.session_id, answer.client_msg_id)))  # type: ignore[attr-defined]

    def _of_users(self, user_ids: object) -> list[Device]:
        wanted = set(user_ids)  # type: ignore[call-overload]
        return [device for device in self.connections.values() if device.user_id in wanted]

    def _push(self, pushed: PushedMessage) -> None:
        seen = _of_record(pushed.message)
        members = self._tracker.apply_push(pushed)
        if not pushed.user_ids:
            for device in self._of_users(members):
                device.sent.add((seen.session_id, seen.seq))
                device.frames.append(("message", (None, seen)))
        for user_id, inbox_seq in zip(pushed.user_ids, pushed.inbox_seqs, strict=True):
            for device in self._of_users([user_id]):
                device.frames.append(("message", (inbox_seq, seen)))

    async def _live(self, connection_id: str, inbox_seq: int) -> None:
        """As services/gateway/connections/live.py does it."""
        device = self.connections.get(connection_id)
        if device is None:
            return
        await self._learn(device.user_id)
        device.is_live = True
        device.frames.append(("live", (inbox_seq, await self._heads(device.user_id))))

    async def _learn(self, user_id: str) -> None:
        groups = self._tracker
        visit = groups.generation(user_id)
        rows = await self.world.read_store.user_sessions(user_id)
        listed = {row.session_id for row in rows if row.left_seq == 0 and row.mode == MODE_READ}
        asked = sorted(name for name in listed.union(groups.tracked_sessions(user_id)) if ids.is_group_session(name))
        groups.begin_load(visit, user_id, asked)
        heads = {name: row.seq for name, row in (await history.heads(self.world.read_store, asked)).items()}
        groups.apply_versions(visit, (await self.memberships.versions(user_id, asked)).values(), heads)

    async def _heads(self, user_id: str) -> dict[str, int]:
        """The heads of the user's read groups, each of which the user must be allowed to know (G10)."""
        told, unread = await self._heads_of_groups.of_users([user_id])
        if unread:
            raise StoreUnavailable("a head cannot be read")
        heads = told[user_id]
        self.told_heads.update((user_id, session_id, seq) for session_id, seq in heads.items())
        return heads

    async def heartbeat(self, device: Device) -> None:
        """The inbox tail and the heads of read groups, from the tables. Until `live` has come it is asked for again."""
        if not device.is_live:
            self._announce(device, Presence.STATE_HERE)
        tails = await history.inbox_tails(self.world.read_store, [device.user_id])
        heads = await self._heads(device.user_id)
        if device.gateway is self:
            device.frames.append(("heartbeat", (tails[device.user_id], heads)))


def _of_row(row: MessageRow) -> Seen:
    event = orjson.loads(row.body) if row.kind == KIND_SYSTEM else {}
    return Seen(row.session_id, row.seq, row.message_id, event)


def _of_record(message: Message) -> Seen:
    event = orjson.loads(message.body) if message.kind == KIND_SYSTEM else {}
    return Seen(message.session_id, message.seq, message.message_id, event)


def _of_json(message: dict[str, object]) -> Seen:
    event = message["body"] if message["kind"] == "system" else {}
    number = int(str(message["message_id"]))
    return Seen(str(message["session_id"]), int(str(message["seq"])), number, event)  # type: ignore[arg-type]
