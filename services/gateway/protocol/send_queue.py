"""The queued frames of one connection, and its unacknowledged deliveries. Pure and bounded."""

from dataclasses import dataclass

from services.gateway.protocol.frames import encode_delivery

# PROTOCOL: an unacknowledged delivery is repeated after 5, 15 and 35 s, and the connection is closed after 45 s.
REPEAT_AFTER_MS = (5_000, 15_000, 35_000)
CLOSE_AFTER_MS = 45_000
_DUE_AFTER_MS = (*REPEAT_AFTER_MS, CLOSE_AFTER_MS)
NEVER_MS = 2**62


class Full(Exception):
    """A bound is reached. The client is too slow and has to resume by cursor."""


@dataclass(frozen=True, slots=True)
class SendQueueLimits:
    """Bounds per connection. Receivers share the bytes of a message, but the bytes count for each."""

    deliveries: int = 2_000
    buffered_bytes: int = 2 * 1024 * 1024
    # PROTOCOL: a message of the server has at most 256 KiB.
    message_bytes: int = 256 * 1024


class _Delivery:
    __slots__ = ("at_ms", "inbox_seq", "message_json", "repeats")

    def __init__(self, inbox_seq: int, message_json: bytes, at_ms: int) -> None:
        self.inbox_seq = inbox_seq
        self.message_json = message_json
        self.at_ms = at_ms
        self.repeats = 0

    def due_ms(self) -> int:
        return self.at_ms + _DUE_AFTER_MS[self.repeats]


class SendQueue:
    """Frames in the order of adding. Deliveries are kept until an ack covers them."""

    __slots__ = ("_acked", "_frame_bytes", "_frames", "_limits", "_unacked", "_unacked_bytes")

    def __init__(self, limits: SendQueueLimits) -> None:
        """Nothing is queued yet."""
        self._limits = limits
        self._frames: list[bytes] = []
        self._frame_bytes = 0
        self._unacked: list[_Delivery] = []
        self._unacked_bytes = 0
        self._acked = 0

    def __bool__(self) -> bool:
        """True while frames are queued."""
        return bool(self._frames)

    @property
    def unacknowledged(self) -> int:
        """Deliveries that no ack covers."""
        return len(self._unacked)

    @property
    def buffered_bytes(self) -> int:
        """The bytes of queued frames and of deliveries that no ack covers."""
        return self._frame_bytes + self._unacked_bytes

    def add(self, frame: bytes) -> None:
        """Queue a frame. Raises Full."""
        if self.buffered_bytes + len(frame) > self._limits.buffered_bytes and self._frames:
            raise Full
        self._append(frame)

    def deliver(self, inbox_seq: int, message_json: bytes, now_ms: int) -> None:
        """Queue a delivery, and keep it until an ack covers it. Raises Full."""
        if inbox_seq > self._acked:
            is_over = self._unacked_bytes + len(message_json) > self._limits.buffered_bytes
            if len(self._unacked) >= self._limits.deliveries or (is_over and self._unacked):
                raise Full
            self._unacked.append(_Delivery(inbox_seq, message_json, now_ms))
            self._unacked_bytes += len(message_json)
        self.add(encode_delivery(inbox_seq, message_json))

    def take(self) -> str:
        """The next message for the socket: frames joined by line ends, up to 256 KiB. Empty if no frame is queued."""
        if len(self._frames) == 1:
            self._frame_bytes = 0
            return self._frames.pop().decode()
        count, size = 0, 0
        for frame in self._frames:
            if count and size + len(frame) + 1 > self._limits.message_bytes:
                break
            count, size = count + 1, size + len(frame) + 1
        taken = self._frames[:count]
        del self._frames[:count]
        self._frame_bytes -= sum(map(len, taken))
        return b"\n".join(taken).decode()

    def clear(self) -> None:
        """Drop everything, before a close."""
        self._frames.clear()
        self._unacked.clear()
        self._frame_bytes = self._unacked_bytes = 0

    def acknowledge(self, inbox_seq: int) -> None:
        """Drop the deliveries up to `inbox_seq`, so that they are not repeated."""
        self._acked = max(self._acked, inbox_seq)
        count = 0
        while count < len(self._unacked) and self._unacked[count].inbox_seq <= self._acked:
            self._unacked_bytes -= len(self._unacked[count].message_json)
            count += 1
        del self._unacked[:count]

    def restart(self, now_ms: int) -> None:
        """Restart the timers of all deliveries, after a sync."""
        for delivery in self._unacked:
            delivery.at_ms = now_ms
            delivery.repeats = 0

    def due_ms(self) -> int:
        """When to call `repeat` next."""
        return min((delivery.due_ms() for delivery in self._unacked), default=NEVER_MS)

    def repeat(self, now_ms: int) -> bool:
        """Repeat the deliveries that are due. False if a delivery has waited too long.

        While frames wait for the socket nothing is queued, because the first copy of
        a delivery may still be among them. A delivery above the bound of bytes is
        repeated at its next due time.
        """
        is_blocked = bool(self._frames)
        for delivery in self._unacked:
            if delivery.due_ms() > now_ms:
                continue
            if delivery.repeats == len(REPEAT_AFTER_MS):
                return False
            delivery.repeats += 1
            size = self._frame_bytes + len(delivery.message_json)
            if not is_blocked and (size <= self._limits.buffered_bytes or not self._frames):
                self._append(encode_delivery(delivery.inbox_seq, delivery.message_json))
        return True

    def _append(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._frame_bytes += len(frame)
