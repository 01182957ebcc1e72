"""What gateways may publish: block lists, and the time inside ids. Shares no code with the product.

A gateway checks a command and publishes it at once, so what is certain at that moment must hold for the record. A block
is certain 5 s after its call was answered (PROTOCOL, *Blocks*); within these 5 s either may happen.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from tests.simulation.virtual_time import NOON_MS
from tidings import ids
from tidings.broker.base import Record
from tidings.codec import decode_command
from tidings.topics import MESSAGES_INBOUND, RECEIPTS_INBOUND
from tidings.wire.inbound_pb2 import Command
from tidings.wire.receipts_pb2 import Receipt

HOLDS_S = 5.0
MOST_AHEAD_MS = 5 * 60_000
MOST_BEHIND_MS = 90 * 24 * 3_600_000
# From the check of an id to its publishing: reads of block lists, also in a gateway that is stopped meanwhile.
_SLOWEST_CHECK_MS = 60_000
Pair = tuple[str, str]


def wall_ms() -> int:
    """A right clock."""
    return NOON_MS + int(asyncio.get_running_loop().time() * 1000)


def may_be_ahead(client_msg_id: str, asked_ms: int) -> bool:
    """Whether a gateway that got the id at `asked_ms` or later may refuse it with `clock_skew`."""
    made_ms = ids.uuid7_time_ms(client_msg_id)
    return made_ms is not None and made_ms > asked_ms + MOST_AHEAD_MS


def may_be_too_old(client_msg_id: str, answered_ms: int) -> bool:
    """Whether a gateway that answered at `answered_ms` or earlier may refuse it with `too_old`."""
    made_ms = ids.uuid7_time_ms(client_msg_id)
    return made_ms is not None and made_ms < answered_ms - MOST_BEHIND_MS


class Admission:
    """Every call that changed a block list, and every record that gateways published."""

    def __init__(self, read: Callable[[str, int, int], list[Record]], partitions: int) -> None:
        """`read`: the records of a topic and a partition from an offset on."""
        self.breaches: list[str] = []
        # Values of commands that no gateway may have published, unless their messages were stored before.
        self.refusable: set[bytes] = set()
        # Of each (user, blocked user) what the list may say from a time on.
        self._said: dict[Pair, list[tuple[float, frozenset[bool]]]] = defaultdict(lambda: [(0.0, frozenset({False}))])
        self._unanswered: dict[Pair, frozenset[bool]] = defaultdict(frozenset)
        self._read = read
        self._offsets = dict.fromkeys(range(partitions), 0)
        self._claimed: dict[Pair, tuple[int, int]] = {}
        self._shown: dict[Pair, tuple[int, int]] = {}

    # -- block lists ---------------------------------------------------------------------------------

    def begins(self, user_id: str, other_id: str, blocks: bool) -> None:
        """A call begins that blocks the other user, or unblocks."""
        said = self._said[user_id, other_id]
        said.append((_now_s(), said[-1][1] | {blocks}))

    def confirmed(self, user_id: str, other_id: str, blocks: bool) -> None:
        """It was answered. Until then, and after any other answer, both may hold."""
        self._said[user_id, other_id].append((_now_s(), frozenset({blocks})))

    def unanswered(self, user_id: str, other_id: str, blocks: bool) -> None:
        """No answer came. The gateway may get the call later, as when it stands still, and also after a later call."""
        self._unanswered[user_id, other_id] |= {blocks}

    def must_block(self, user_id: str, other_id: str, since_s: float | None = None) -> bool:
        """Whether a gateway must have the block that got a call at `since_s` (now) or later."""
        return self._possible(user_id, other_id, since_s) == {True}

    def may_block(self, user_id: str, other_id: str, since_s: float | None = None) -> bool:
        """Whether a gateway may still have, or have already, the block."""
        return True in self._possible(user_id, other_id, since_s)

    def _possible(self, user_id: str, other_id: str, since_s: float | None) -> frozenset[bool]:
        since_s = (_now_s() if since_s is None else since_s) - HOLDS_S
        possible = self._unanswered[user_id, other_id]
        for from_s, states in reversed(self._said[user_id, other_id]):
            possible |= states
            if from_s <= since_s:
                break
        return possible

    # -- what gateways publish -----------------------------------------------------------------------

    def published(self, topic: str, value: bytes, *, was_stopped: bool) -> None:
        """A gateway publishes a record. `was_stopped`: it was until just now, so its reads may be old."""
        if topic == MESSAGES_INBOUND:
            command = decode_command(value)
            self._check_id(command)
            if not was_stopped:
                self._check_blocks(command, value)
        elif topic == RECEIPTS_INBOUND and not was_stopped:
            said = Receipt.FromString(value)
            peer = peer_of(said.session_id, said.user_id)
            if peer and not said.is_hidden_from_peer and self.must_block(said.user_id, peer):
                self.breaches.append(f"blocks: {said} is published for {peer}, a blocked user")

    def _check_id(self, command: Command) -> None:
        made_ms, now_ms = ids.uuid7_time_ms(command.client_msg_id), wall_ms()
        if made_ms is None:
            return
        ahead_ms = made_ms - now_ms
        if not -MOST_BEHIND_MS - _SLOWEST_CHECK_MS <= ahead_ms <= MOST_AHEAD_MS:
            self.breaches.append(f"ids: {command.client_msg_id} is published, although it is {ahead_ms} ms ahead")

    def _check_blocks(self, command: Command, value: bytes) -> None:
        peer = peer_of(command.session_id, command.sender_id)
        if peer and self.must_block(peer, command.sender_id):
            self.refusable.add(value)
        added, made = command.add_members, command.create_group
        blocking_ids = {*added.blocking_ids, *made.blocking_ids}
        for user_id in {*added.user_ids, *made.member_ids} - {command.sender_id}:
            is_left_out = user_id in blocking_ids
            if is_left_out and not self.may_block(user_id, command.sender_id):
                self.breaches.append(
                    f"blocks: {command.sender_id} cannot add {user_id}, which does not block the adder"
                )
            if not is_left_out and self.must_block(user_id, command.sender_id):
                self.breaches.append(f"blocks: {command.sender_id} adds {user_id}, which blocks the adder")

    # -- receipts ------------------------------------------------------------------------------------

    def shown(self, session_id: str, user_id: str) -> tuple[int, int]:
        """The most that the peer may have got of (delivered, read): all up to the last receipt that was not hidden."""
        for number in self._offsets:
            for record in self._read(RECEIPTS_INBOUND, number, self._offsets[number]):
                self._offsets[number] = record.offset + 1
                said = Receipt.FromString(record.value or b"")
                place = (said.session_id, said.user_id)
                before = self._claimed.get(place, (0, 0))
                now = (max(before[0], said.delivered_seq, said.read_seq), max(before[1], said.read_seq))
                self._claimed[place] = now
                if not said.is_hidden_from_peer:
                    self._shown[place] = now
        return self._shown.get((session_id, user_id), (0, 0))


def peer_of(session_id: str, user_id: str) -> str:
    """The other user of a direct session; empty for groups and notes."""
    return next((one for one in ids.direct_users(session_id) if one != user_id), "")


def _now_s() -> float:
    return asyncio.get_running_loop().time()
