"""The watermarks of a group's members, and the receipt counts of its messages. Pure.

Counts are hints (PROTOCOL): if a group is evicted here, a client has to read
`…/receipts`, and no watermark is lost. The receipts of a group are read from the tables
once. Then the membership messages of `messages.persisted` keep them current. So the cost
of a member that joins or leaves does not depend on the size of the group (docs/adr/0017).
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from tidings.store.rows import MODE_WRITE
from tidings.wire.deliveries_pb2 import SeqCount
from tidings.wire.persisted_pb2 import Persisted

# A member with its two watermarks takes about 250 bytes: 25 MB.
MEMBERS_IN_MEMORY = 100_000
# Counts are published for the newest messages. For older ones a client reads the list of receipts.
SEQS_PUBLISHED = 50


class GroupReceipts:
    """The members of one group after the message `as_of_seq`, and their watermarks.

    `watermarks`: (delivered_seq, read_seq) by member, 0 where nothing is stored.
    `as_of_seq` None: the members at an unknown seq. `unloaded`: the members whose
    stored watermarks are not read yet, with the seq at which they joined; a member
    that joins again has stored watermarks. A member counts for messages from the
    seq of joining on.
    """

    __slots__ = ("_delivered", "_joined", "_read", "as_of_seq", "mode", "unloaded", "watermarks")

    def __init__(self, joined: Mapping[str, int], mode: int = MODE_WRITE, as_of_seq: int | None = None) -> None:
        """`joined`: joined_seq by member. All members are unloaded, because no watermark is read yet."""
        self.watermarks = dict.fromkeys(joined, (0, 0))
        self.mode = mode
        self.as_of_seq = as_of_seq
        self.unloaded = dict.fromkeys(self.watermarks, 0)
        self._joined = dict(joined)
        # The number of members by watermark, so that the counts of 50 messages need no pass over all members.
        self._delivered = _Spans()
        self._read = _Spans()

    def raise_to(self, user_id: str, delivered_seq: int, read_seq: int) -> None:
        """Raise a member's watermarks to the maxima (reading implies delivery). Non-members are ignored."""
        if user_id in self.watermarks:
            delivered, read = self.watermarks[user_id]
            after = max(delivered, delivered_seq, read_seq), max(read, read_seq)
            self._move(user_id, after)
            self.watermarks[user_id] = after

    def mark_loaded(self, asked: Mapping[str, int]) -> None:
        """The watermarks of these members are read. A user that left and joined again since stays unloaded."""
        self.unloaded = {name: seq for name, seq in self.unloaded.items() if asked.get(name) != seq}

    def follow(self, persisted: Persisted) -> bool:
        """Apply a message that changes the members or the mode. A repeat changes nothing.

        False if `as_of_seq` is unknown, because the members may or may not contain the change already.
        """
        if self.as_of_seq is None:
            return False
        seq = persisted.message.seq
        if seq > self.as_of_seq:
            self.as_of_seq = seq
            self.mode = persisted.mode_to or self.mode
            for user_id in list(self.watermarks) if persisted.dissolves else persisted.left_ids:
                self._leave(user_id)
            for user_id in persisted.joined_ids:
                self._join(user_id, seq)
        return True

    def counts(self, authors: Mapping[int, str]) -> dict[str, list[SeqCount]]:
        """The receipt counts by author. Authors that are no longer members are left out.

        `authors`: the author by seq. A count says how many other members hold and have read that seq.
        """
        delivered, read = self._delivered.over(authors), self._read.over(authors)
        counts: dict[str, list[SeqCount]] = {}
        for seq, author in sorted(authors.items()):
            if author in self.watermarks:
                joined = self._joined[author]
                own_delivered, own_read = (joined <= seq <= watermark for watermark in self.watermarks[author])
                count = SeqCount(seq=seq, delivered=delivered[seq] - own_delivered, read=read[seq] - own_read)
                counts.setdefault(author, []).append(count)
        return counts

    def _join(self, user_id: str, seq: int) -> None:
        if user_id not in self.watermarks:
            self.watermarks[user_id] = (0, 0)
            self._joined[user_id] = seq
            self.unloaded[user_id] = seq

    def _leave(self, user_id: str) -> None:
        if user_id in self.watermarks:
            self._move(user_id, (0, 0))
            del self.watermarks[user_id], self._joined[user_id]
            self.unloaded.pop(user_id, None)

    def _move(self, user_id: str, after: tuple[int, int]) -> None:
        joined, before = self._joined[user_id], self.watermarks[user_id]
        for spans, low, high in zip((self._delivered, self._read), before, after, strict=True):
            if low != high:
                spans.add(joined, low, -1)
                spans.add(joined, high, 1)


class _Spans:
    """The number of members that have each message. A member has the seqs from joining up to the watermark."""

    __slots__ = ("_begins", "_ends")

    def __init__(self) -> None:
        self._begins = _Tally()
        self._ends = _Tally()

    def add(self, first_seq: int, last_seq: int, members: int) -> None:
        """Add members (negative: remove them) that have these seqs. Does nothing if the last is below the first."""
        if first_seq <= last_seq:
            self._begins.add(first_seq, members)
            self._ends.add(last_seq, members)

    def over(self, seqs: Collection[int]) -> dict[int, int]:
        """The number of members by seq: those with a watermark at or above it, less those that joined above it."""
        ends, begins = self._ends.at_or_above(seqs), self._begins.at_or_above([seq + 1 for seq in seqs])
        return {seq: ends[seq] - begins[seq + 1] for seq in seqs}


class _Tally:
    """The number of members at each seq."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: dict[int, int] = {}

    def add(self, seq: int, members: int) -> None:
        """Add members at this seq (negative: remove them)."""
        left = self._members.get(seq, 0) + members
        if left:
            self._members[seq] = left
        else:
            self._members.pop(seq, None)

    def at_or_above(self, seqs: Collection[int]) -> dict[int, int]:
        """The number of members at or above each of the seqs."""
        lowest = min(seqs, default=0)
        left, members = sorted(at for at in self._members if at >= lowest), 0
        found = {}
        for seq in sorted(seqs, reverse=True):
            while left and left[-1] >= seq:
                members += self._members[left.pop()]
            found[seq] = members
        return found


class GroupReceiptsCache:
    """Groups in memory. The least recently used is evicted first. The bound is in members, not in groups."""

    __slots__ = ("_cache", "_members", "_most_members")

    def __init__(self, most_members: int = MEMBERS_IN_MEMORY) -> None:
        """`most_members`: the bound for all groups together. One group is always kept."""
        # No LRUCache: sizes change while a group is cached, and a group above the bound is kept too.
        self._cache: OrderedDict[str, GroupReceipts] = OrderedDict()
        self._members = 0
        self._most_members = most_members

    def get(self, session_id: str) -> GroupReceipts | None:
        """The receipts of a group, if they are in memory."""
        receipts = self._cache.get(session_id)
        if receipts is not None:
            self._cache.move_to_end(session_id)
        return receipts

    def put(self, session_id: str, receipts: GroupReceipts) -> None:
        """Keep the receipts of a group that were read from the tables."""
        self.drop(session_id)
        self._cache[session_id] = receipts
        self._members += _size(receipts)
        self._shrink()

    def follow(self, persisted: Persisted) -> None:
        """Apply a change to a group in memory. Drop the group if the change cannot be applied."""
        session_id = persisted.message.session_id
        receipts = self._cache.get(session_id)
        if receipts is not None:
            before = _size(receipts)
            if receipts.follow(persisted):
                self._members += _size(receipts) - before
                self._shrink()
            else:
                self.drop(session_id)

    def drop(self, session_id: str) -> None:
        """Remove a group from memory, so that it is read again from the tables."""
        receipts = self._cache.pop(session_id, None)
        if receipts is not None:
            self._members -= _size(receipts)

    def clear(self) -> None:
        """Remove all groups."""
        self._cache.clear()
        self._members = 0

    def _shrink(self) -> None:
        while self._members > self._most_members and len(self._cache) > 1:
            self.drop(next(iter(self._cache)))


def _size(receipts: GroupReceipts) -> int:
    """The size in members, plus 1, because a dissolved group takes memory too."""
    return len(receipts.watermarks) + 1


class PendingCounts:
    """Seqs whose counts changed, by session, until they are due `quiet_s` after the first change."""

    __slots__ = ("_quiet_s", "_sessions")

    def __init__(self, quiet_s: float) -> None:
        """`quiet_s`: the counts of a session are published at most once in this time."""
        self._quiet_s = quiet_s
        self._sessions: dict[str, tuple[float, int, set[int]]] = {}

    def add(self, session_id: str, source_partition: int, seqs: Iterable[int], now_s: float) -> None:
        """These counts changed; `source_partition`: the source partition of the session."""
        _, _, changed = self._sessions.setdefault(session_id, (now_s + self._quiet_s, source_partition, set()))
        changed.update(seqs)

    def due(self, now_s: float) -> dict[str, tuple[int, list[int]]]:
        """Remove and return the sessions that are due: (source_partition, the newest SEQS_PUBLISHED of the seqs)."""
        names = [name for name, (due_s, _, _) in self._sessions.items() if due_s <= now_s]
        taken = {name: self._sessions.pop(name) for name in names}
        return {
            name: (source_partition, sorted(seqs)[-SEQS_PUBLISHED:])
            for name, (_, source_partition, seqs) in taken.items()
        }

    def next_due_s(self) -> float | None:
        """The time at which the next session is due, or None."""
        return min((due_s for due_s, _, _ in self._sessions.values()), default=None)

    def clear(self) -> None:
        """Drop all, because another process owns the partitions now."""
        self._sessions.clear()


def changed_seqs(before: tuple[int, int], after: tuple[int, int]) -> set[int]:
    """The newest seqs whose counts changed, from a member's (delivered_seq, read_seq) before and after."""
    pairs = zip(before, after, strict=True)
    return {seq for low, high in pairs for seq in range(max(low, high - SEQS_PUBLISHED) + 1, high + 1)}
