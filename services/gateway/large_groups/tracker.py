"""Which connected users are members of which read-diffusion groups. Pure (DESIGN section 5; H15, H35).

What is known comes from two sides that overtake each other: the tables, read
after a connection's `live`, and pushes. Both say what holds from some seq on,
so of each fact the one with the highest seq wins. It is kept per user: after a
while in write diffusion only what names the user says that the user is still in.

A read push that was lost may have been the removal of somebody (G10). So it is
known up to which seq the pushes of a group have come without a gap, and nobody
is handed anything across one before the tables have been read again.
"""

from collections.abc import Iterable, Mapping, Sequence

from services.gateway.reads.membership import is_member
from tidings.store.rows import MODE_READ, GroupRow, MemberRow
from tidings.wire.push_pb2 import PushedMessage

# Groups whose pushes are followed; one that is forgotten is read from the tables again.
_RUNS = 20_000
# Groups of which something is kept for one user, some 500 bytes each: with more, those that pushes told of are
# forgotten, and the tables read again, which know those the user is in.
MAX_SEATS = 5_000


class _Seat:
    """What is known of one user in one group: the newest membership and the mode, each with the seq that says so.

    Tables and inboxes can tell of a removal before the pushes in line up to it have come, so the membership
    is kept with its end: what lies inside of it is the user's, however late it comes.
    """

    __slots__ = (
        "followed_from",
        "is_read",
        "joined_seq",
        "known_seq",
        "left_seq",
        "member_seq",
        "mode_seq",
        "vouched_seq",
    )

    def __init__(self, followed_from: int) -> None:
        """Pushes in line below `followed_from` came before anything of the user was kept."""
        self.followed_from = followed_from
        # The end of the membership: 0 while it lasts, -1 before anything is known.
        self.joined_seq, self.left_seq = 0, -1
        self.is_read = False
        self.member_seq = self.mode_seq = -1
        # Up to here nothing about the user can have been missed, whatever became of the pushes.
        self.known_seq = -1
        # The head at which the tables last said that the user was in. Of pushes it says nothing.
        self.vouched_seq = -1

    @property
    def is_in(self) -> bool:
        """A member now."""
        return self.left_seq == 0

    @property
    def is_reader(self) -> bool:
        """A member, of a group in read diffusion."""
        return self.is_in and self.is_read

    def has(self, seq: int, unbroken_from: int) -> bool:
        """Whether the user is handed a message of this seq, before which the pushes from `unbroken_from` on came."""
        is_theirs = self.joined_seq <= seq and (self.is_in or seq <= self.left_seq)
        return is_theirs and (self.is_read or seq < self.mode_seq) and not self.has_missed(unbroken_from)

    def has_missed(self, unbroken_from: int) -> bool:
        """Whether something about the user may have been said between what is known and what was followed."""
        return self.known_seq < max(unbroken_from, self.followed_from) - 1

    def know(self, seq: int) -> None:
        self.known_seq = max(seq, self.known_seq)

    # Facts come late and in any order. An old one never ends or begins the newest membership, but it may show that
    # this began later than was believed, which is always the safe side.

    def joined(self, seq: int, joined_seq: int) -> None:
        """A member at this seq, since `joined_seq`."""
        if seq >= self.member_seq:
            self.member_seq, self.joined_seq, self.left_seq = seq, joined_seq, 0
        else:
            self.joined_seq = max(joined_seq, self.joined_seq)

    def left(self, seq: int) -> None:
        """A member up to this seq; of one whose joining is not known nothing before it."""
        if seq > self.member_seq or (seq == self.member_seq and self.is_in):
            self.joined_seq = self.joined_seq if self.is_in else seq
            self.member_seq = self.left_seq = seq
        elif seq < self.member_seq and self.joined_seq <= seq:
            self.joined_seq = self.member_seq

    def ended(self, seq: int, unbroken_from: int) -> None:
        """The group ended at this seq. Who may have left before it is sure of what is known only."""
        if self.is_in:
            self.left_seq = self.known_seq if self.has_missed(unbroken_from) else seq
            self.member_seq = seq

    def mode(self, seq: int, is_read: bool) -> None:
        if seq >= self.mode_seq:
            self.mode_seq, self.is_read = seq, is_read


class _Run:
    """Seqs of a group whose read pushes came one after the other, both included."""

    __slots__ = ("first", "last")

    def __init__(self, seq: int) -> None:
        self.first = self.last = seq


class ReadGroups:
    """Bounded by the connected users, for each of them MAX_SEATS and the read-diffusion groups they are in."""

    __slots__ = ("_groups", "_next_visit", "_of_user", "_runs", "_unsure", "_visits")

    def __init__(self) -> None:
        """Nobody is connected."""
        self._groups: dict[str, dict[str, _Seat]] = {}
        self._of_user: dict[str, set[str]] = {}
        self._visits: dict[str, int] = {}
        self._next_visit = 1
        self._runs: dict[str, _Run] = {}
        self._unsure: set[str] = set()

    def enter(self, user_id: str) -> None:
        """A connection has signed in: from now on pushes about the user are kept, known group or not."""
        if user_id not in self._visits:
            self._visits[user_id] = self._next_visit
            self._next_visit += 1

    def leave(self, user_id: str) -> None:
        """The user's last connection here has closed."""
        if self._visits.pop(user_id, None) is None:
            return
        self._unsure.discard(user_id)
        for session_id in self._of_user.pop(user_id, ()):
            seats = self._groups[session_id]
            del seats[user_id]
            if not seats:
                del self._groups[session_id]

    def distrust(self) -> None:
        """Pushes may have been lost, a removal among them: what is known counts again only once it is read anew."""
        for user_id in list(self._visits):
            self.leave(user_id)
            self.enter(user_id)

    def visit(self, user_id: str) -> int:
        """A number for this stay of the user, 0 for one who is not connected: what is read for it is void after it."""
        return self._visits.get(user_id, 0)

    def known(self, user_id: str) -> Sequence[str]:
        """Every group of which something is known for the user: the tables are to be asked of these too."""
        return tuple(self._of_user.get(user_id, ()))

    def of_user(self, user_id: str) -> Sequence[str]:
        """The read-diffusion groups in which the user is now."""
        return [name for name in self._of_user.get(user_id, ()) if self._is_reader(name, user_id)]

    def is_surely_in(self, user_id: str, session_id: str, seq: int) -> bool:
        """Whether the user is a member and was one at this seq: no removal up to it was missed or is on its way."""
        seat, run = self._seat_if_kept(session_id, user_id), self._runs.get(session_id)
        if seat is None or not seat.is_in or seq < seat.joined_seq:
            return False
        is_in_line = run is not None and seq <= run.last and not seat.has_missed(run.first)
        return is_in_line or seq <= seat.known_seq or seq == seat.vouched_seq

    def vouch(self, user_id: str, session_id: str, head: int) -> None:
        """The tables, asked after this head, say that the user was a member at it, which stays true for ever.

        Not learned: pushes on their way may be of an earlier membership, and are handed over all the same.
        """
        seat = self._seat_if_kept(session_id, user_id)
        if seat is not None:
            seat.vouched_seq = head

    def is_kept_by_nobody(self, user_id: str, session_id: str, delivered_seq: int) -> bool:
        """Whether receipts would drop this `delivered`: it came in line, to one who is in read diffusion (ADR 15)."""
        seat, run = self._seat_if_kept(session_id, user_id), self._runs.get(session_id)
        if seat is None or run is None or not run.first <= delivered_seq <= run.last:
            return False
        return seat.is_reader and seat.has(delivered_seq, run.first)

    def take_unsure(self) -> Sequence[str]:
        """Users for whom the tables are to be read again, since a push of a group of theirs was missed. Told once."""
        unsure, self._unsure = tuple(self._unsure), set()
        return unsure

    def expect(self, visit: int, user_id: str, session_ids: Iterable[str]) -> None:
        """These groups are about to be read for the user: what is pushed from now on is kept for each."""
        if visit and self._visits.get(user_id) == visit:
            for session_id in session_ids:
                self._seat(session_id, user_id)

    def learn(self, visit: int, versions: Iterable[tuple[GroupRow, MemberRow]], heads: Mapping[str, int]) -> None:
        """Newest versions as read from the tables for one user, each group's before the member's.

        `heads`: how far each group had come before its versions were read.
        """
        for group, member in versions:
            user_id, session_id = member.user_id, group.session_id
            if not visit or self._visits.get(user_id) != visit:
                return
            seat = self._seat(session_id, user_id)
            seat.know(heads.get(session_id, -1))
            seat.joined(member.left_seq or member.as_of_seq, member.joined_seq)
            if not is_member(group, member):
                seat.left(member.left_seq or group.as_of_seq)
            seat.mode(group.as_of_seq, group.mode == MODE_READ)

    def pushed(self, pushed: PushedMessage) -> Sequence[str]:
        """Take in what a push says; the connected members that are to be handed it, none where it names its users.

        Who joins by the message is handed it, and so is who leaves by it.
        """
        message = pushed.message
        unbroken_from = message.seq if pushed.user_ids else self._follow(message.session_id, message.seq)
        if pushed.joined_ids:
            self._join(pushed)
        receivers: list[str] = []
        if not pushed.user_ids and pushed.mode == MODE_READ:
            seats = self._groups.get(message.session_id, {})
            receivers = [user_id for user_id, seat in seats.items() if seat.has(message.seq, unbroken_from)]
            if len(receivers) < len(seats):
                self._doubt(seats, unbroken_from)
        if pushed.mode_to:
            self._change_mode(pushed)
        if pushed.left_ids or pushed.dissolves:
            self._part(pushed, unbroken_from)
        if pushed.user_ids and (pushed.joined_ids or pushed.mode_to):
            self._doubt_named(pushed)
        return receivers

    def _follow(self, session_id: str, seq: int) -> int:
        """A push in line; from which seq on they have come without a gap."""
        run = self._runs.get(session_id)
        if run is None or seq > run.last + 1:
            run = self._runs[session_id] = _Run(seq)
            if len(self._runs) > _RUNS:
                del self._runs[next(iter(self._runs))]
        run.last = max(run.last, seq)
        return run.first

    def _doubt(self, seats: Mapping[str, _Seat], unbroken_from: int) -> None:
        self._unsure.update(
            user_id for user_id, seat in seats.items() if seat.is_reader and seat.has_missed(unbroken_from)
        )

    def _doubt_named(self, pushed: PushedMessage) -> None:
        """Their joining, or the change of mode, came by their inboxes: later pushes in line may have come before it."""
        session_id = pushed.message.session_id
        run, seats = self._runs.get(session_id), self._groups.get(session_id, {})
        if run is not None:
            self._doubt({user_id: seats[user_id] for user_id in pushed.user_ids if user_id in seats}, run.first)

    def _join(self, pushed: PushedMessage) -> None:
        session_id, seq = pushed.message.session_id, pushed.message.seq
        for user_id in pushed.joined_ids:
            if user_id in self._visits:
                seat = self._pushed_seat(session_id, user_id)
                seat.know(seq)
                seat.joined(seq, seq)
                seat.mode(seq, (pushed.mode_to or pushed.mode) == MODE_READ)

    def _change_mode(self, pushed: PushedMessage) -> None:
        """Only the way back to write is true of all at once.

        To read it is true of those whom it names: a removal in write diffusion may still be on its way to the others.
        It comes by the inboxes, naming their users, and in line, naming all members.
        """
        session_id, seq = pushed.message.session_id, pushed.message.seq
        if pushed.mode_to != MODE_READ:
            for seat in self._groups.get(session_id, {}).values():
                seat.mode(seq, False)
            return
        for user_id in pushed.user_ids or pushed.member_ids:
            if user_id in self._visits:
                seat = self._pushed_seat(session_id, user_id)
                seat.know(seq)
                # Not since when: what was believed may have ended and begun again unseen.
                seat.joined(seq, seq)
                seat.mode(seq, True)

    def _part(self, pushed: PushedMessage, unbroken_from: int) -> None:
        session_id, seq = pushed.message.session_id, pushed.message.seq
        for user_id in (*pushed.left_ids, *(pushed.user_ids if pushed.dissolves else ())):
            if user_id in self._visits:
                self._pushed_seat(session_id, user_id).left(seq)
        if pushed.dissolves and not pushed.user_ids:
            for seat in self._groups.get(session_id, {}).values():
                seat.ended(seq, unbroken_from)

    def _is_reader(self, session_id: str, user_id: str) -> bool:
        return self._groups[session_id][user_id].is_reader

    def _seat_if_kept(self, session_id: str, user_id: str) -> _Seat | None:
        return self._groups.get(session_id, {}).get(user_id)

    def _pushed_seat(self, session_id: str, user_id: str) -> _Seat:
        """Of a connected user; others decide how many groups they are put into."""
        known = self._of_user.get(user_id, ())
        if len(known) >= MAX_SEATS and session_id not in known:
            self.leave(user_id)
            self.enter(user_id)
            self._unsure.add(user_id)
        return self._seat(session_id, user_id)

    def _seat(self, session_id: str, user_id: str) -> _Seat:
        seats = self._groups.setdefault(session_id, {})
        seat = seats.get(user_id)
        if seat is None:
            run = self._runs.get(session_id)
            seat = seats[user_id] = _Seat(run.last + 1 if run else 0)
            self._of_user.setdefault(user_id, set()).add(session_id)
        return seat
