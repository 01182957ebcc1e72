"""Routes push records to connections. An unreadable record is counted and dropped: a push is a hint (law 11)."""

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from services.gateway.connections.live import LiveAnswers
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.protocol import messages_json
from services.gateway.protocol.frames import encode, encode_delivery
from services.gateway.push.sent_watermarks import SentWatermarks
from services.gateway.reads.session_order import SessionOrders
from services.gateway.submit.latency import AckLatency
from services.gateway.submit.pending_calls import PendingCalls
from tidings import metrics
from tidings.clock import Clock
from tidings.errors import HTTP_STATUS, Refused
from tidings.wire.deliveries_pb2 import GroupCounts, Watermark
from tidings.wire.push_pb2 import Push, PushedMessage, Replaced, SendAck, SendError

_ROUTED = metrics.PUSH_RECORDS.labels("routed")
_FRAMES_OUT = {
    name: metrics.FRAMES.labels("out", name)
    for name in ("message", "send_ack", "send_error", "receipt", "group_receipt")
}


class PushRouter:
    """Passes each push record of this gateway's epoch to its connections."""

    def __init__(
        self,
        registry: ConnectionRegistry,
        waiting: PendingCalls,
        times: AckLatency,
        lives: LiveAnswers,
        orders: SessionOrders,
        gateway_epoch: int,
        clock: Clock,
    ) -> None:
        """`waiting`: REST messages that wait for their ack."""
        self._times = times
        self._registry = registry
        self._waiting = waiting
        self._lives = lives
        self._orders = orders
        self._gateway_epoch = gateway_epoch
        self._clock = clock
        self._sent = SentWatermarks()

    def take(self, value: bytes | None) -> None:
        """Route one record. Raises nothing for any content of a record."""
        try:
            push = Push.FromString(value or b"")
        except DecodeError:
            metrics.PUSH_RECORDS.labels("unreadable").inc()
            return
        if push.gateway_epoch != self._gateway_epoch:
            metrics.PUSH_RECORDS.labels("other_epoch").inc()
            return
        _ROUTED.inc()
        self._route(push)

    def _route(self, push: Push) -> None:
        match push.WhichOneof("content"):
            case "message":
                self._message(push.message)
            case "send_ack":
                self._send_ack(push.send_ack)
            case "send_error":
                self._send_error(push.send_error)
            case "live":
                self._lives.take(push.live)
            case "watermark":
                self._watermark(push.watermark)
            case "group_counts":
                self._group_counts(push.group_counts)
            case "resync":
                self._resync()
            case "replaced":
                self._replaced(push.replaced)

    def _message(self, pushed: PushedMessage) -> None:
        self._registry.known_heads.see(pushed.message.session_id, pushed.message.seq)
        members = self._registry.group_tracker.apply_push(pushed)
        if unsure := self._registry.group_tracker.take_unverified():
            self._lives.reload(unsure)
        message_json = messages_json.of_record(pushed.message)
        if message_json is None:
            metrics.PUSH_RECORDS.labels("unreadable").inc()
            return
        if not pushed.user_ids:
            if members:
                self._observe_delivery(pushed)
                self._send_to(members, "message", encode_delivery(None, message_json))
            return
        self._observe_delivery(pushed)
        now_ms, delivered = self._clock.monotonic_ms(), 0
        for user_id, inbox_seq in zip(pushed.user_ids, pushed.inbox_seqs, strict=False):
            for link in self._registry.of_user(user_id):
                link.connection.deliver(inbox_seq, message_json, now_ms)
                self._registry.settle(link)
                delivered += 1
        _FRAMES_OUT["message"].inc(delivered)

    def _observe_delivery(self, pushed: PushedMessage) -> None:
        metrics.DELIVERY_SECONDS.observe(max(0, self._clock.wall_ms() - pushed.message.at_ms) / 1000)

    def _send_ack(self, ack: SendAck) -> None:
        self._times.answered(ack.origin.connection_id, ack.client_msg_id, self._clock.monotonic_ms())
        self._registry.known_heads.see(ack.session_id, ack.seq)
        link = self._registry.get(ack.origin.connection_id)
        user_id = link.connection.user_id if link else self._waiting.user_of(ack.origin.connection_id)
        if user_id:
            # Fanout writes the inbox later, but the sender may list the sessions now.
            self._orders.move(user_id, {ack.session_id: ack.at_ms})
        if link is None:
            self._waiting.acked(ack.origin.connection_id, ack)
            return
        frame = encode(
            "send_ack",
            ack.origin.ref,
            client_msg_id=ack.client_msg_id,
            session_id=ack.session_id,
            message_id=str(ack.message_id),
            seq=ack.seq,
            at=ack.at_ms,
            duplicate=ack.duplicate,
        )
        link.connection.push(frame)
        _FRAMES_OUT["send_ack"].inc()
        self._registry.settle(link)

    def _send_error(self, error: SendError) -> None:
        code = error.refusal.code if error.refusal.code in HTTP_STATUS else "invalid_frame"
        refused = Refused(code, error.refusal.text)
        origin = error.origin
        self._times.answered(origin.connection_id, error.client_msg_id, self._clock.monotonic_ms())
        link = self._registry.get(origin.connection_id)
        if link is None:
            self._waiting.refused(origin.connection_id, refused)
            return
        link.connection.refused(error.client_msg_id, error.session_id or None, refused, origin.ref or None)
        _FRAMES_OUT["send_error"].inc()
        self._registry.settle(link)

    def _watermark(self, moved: Watermark) -> None:
        # No watermark passes the head.
        self._registry.known_heads.see(moved.session_id, max(moved.delivered_seq, moved.read_seq))
        # Most recipients get the record itself, which is encoded once for all.
        shared = b""
        for recipient_id in moved.recipient_ids:
            highest = self._sent.risen(recipient_id, moved)
            if highest is moved:
                shared = shared or _receipt_frame(moved)
            self._send_to((recipient_id,), "receipt", shared if highest is moved else _receipt_frame(highest))

    def _group_counts(self, moved: GroupCounts) -> None:
        counts = [{"seq": one.seq, "delivered": one.delivered, "read": one.read} for one in moved.counts]
        frame = encode("group_receipt", session_id=moved.session_id, counts=counts)
        self._send_to((moved.recipient_id,), "group_receipt", frame)

    def _send_to(self, user_ids: Iterable[str], kind: str, frame: bytes) -> None:
        """Send the same bytes to every connection of these users. For frames that need no ack and no repeat."""
        sent = 0
        for user_id in user_ids:
            for link in self._registry.of_user(user_id):
                link.connection.push(frame)
                self._registry.settle(link)
                sent += 1
        _FRAMES_OUT[kind].inc(sent)

    def _resync(self) -> None:
        """Pushes may have been lost: every connection announces presence, so that `live` is sent again."""
        metrics.RESYNCS.inc()
        self._registry.group_tracker.invalidate()
        now_ms = self._clock.monotonic_ms()
        for link in self._registry:
            link.connection.announce_again(now_ms)

    def _replaced(self, replaced: Replaced) -> None:
        link = self._registry.get(replaced.connection_id)
        if link is None:
            return
        connection = link.connection
        if (connection.user_id, connection.device_id) == (replaced.user_id, replaced.device_id):
            connection.replaced()
            self._registry.settle(link)


def _receipt_frame(moved: Watermark) -> bytes:
    return encode(
        "receipt",
        session_id=moved.session_id,
        user_id=moved.user_id,
        delivered_seq=moved.delivered_seq,
        read_seq=moved.read_seq,
        at=moved.at_ms or None,
    )
