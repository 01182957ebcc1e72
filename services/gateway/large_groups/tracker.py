"""Tracks which connected users are members of which read-diffusion groups. Pure. docs/LARGE-GROUPS.md explains it.

Facts come from two sources in any order: from the tables, read after a connection's `live`, and from pushes. Each fact
has a seq from which it holds, so the fact with the highest seq wins. The tracker has a membership view per group and
user.

A lost push may have been a removal (G10). So the tracker keeps the contiguous range of each group's pushes. After a
gap a message is delivered only when the tables have been read again (hazards H15 and H35).
"""

from collections.abc import Iterable, Mapping, Sequence

from services.gateway.reads.membership import is_member
from tidings.store.rows import MODE_READ, GroupRow, MemberRow
from tidings.wire.push_pb2 import PushedMessage

# Groups with a contiguous range. The members of an evicted group are verified by the tables again.
_MAX_RANGES = 20_000
# Views of one user, some 500 bytes each. Above the limit all views of the user are dropped and the tables are read
# again. A limit is needed because other users can add a user to any number of groups.
MAX_TRACKED_GROUPS = 5_000


class _MembershipView:
    """The newest membership of one user in one group, and the group's mode, each with the seq that states it.

    Tables and inboxes can report a removal before the group's own pushes up to it have come. So the view keeps the
    end of the membership: messages inside it belong to the user, however late they come.
    """

    __slots__ = (
        "confirmed_head",
        "is_read",
        "joined_seq",
        "left_seq",
        "member_seq",
        "mode_seq",
        "tracked_from",
        "verified_seq",
    )

    def __init__(self, tracked_from: int) -> None:
        """Group pushes below `tracked_from` came before the view existed."""
        self.tracked_from = tracked_from
        # The end of the membership: 0 while it lasts, -1 before the first fact.
        self.joined_seq, self.left_seq = 0, -1
        self.is_read = False
        self.member_seq = self.mode_seq = -1
        # Up to here no fact about the user can be missing, whatever pushes were lost.
        self.verified_seq = -1
        # The head at which the tables last confirmed the membership. It states nothing about pushes.
        self.confirmed_head = -1

    @property
    def is_member_now(self) -> bool:
        return self.left_seq == 0

    @property
    def is_reader(self) -> bool:
        """A member, of a group in read diffusion."""
        return self.is_member_now and self.is_read

    def may_receive(self, seq: int, contiguous_from: int) -> bool:
        """Whether the user receives the message of this seq; the pushes from `contiguous_from` up to it have come."""
        is_theirs = self.joined_seq <= seq and (self.is_member_now or seq <= self.left_seq)
        return is_theirs and (self.is_read or seq < self.mode_seq) and not self.may_have_missed(contiguous_from)

    def may_have_missed(self, contiguous_from: int) -> bool:
        """Whether a fact about the user may lie between the verified seq and the contiguous range."""
        return self.verified_seq < max(contiguous_from, self.tracked_from) - 1

    def verify_up_to(self, seq: int) -> None:
        self.verified_seq = max(seq, self.verified_seq)

    # Facts come late and in any order. An old fact never ends or begins the newest membership. It may show that the
    # membership began later than the view states, which is the safe side.

    def joined(self, seq: int, joined_seq: int) -> None:
        """A member at this seq, since `joined_seq`."""
        if seq >= self.member_seq:
            self.member_seq, self.joined_seq, self.left_seq = seq, joined_seq, 0
        else:
            self.joined_seq = max(joined_seq, self.joined_seq)

    def left(self, seq: int) -> None:
        """A member up to this seq; without a known joining, the user gets nothing before it."""
        if seq > self.member_seq or (seq == self.member_seq and self.is_member_now):
            self.joined_seq = self.joined_seq if self.is_member_now else seq
            self.member_seq = self.left_seq = seq
        elif seq < self.member_seq and self.joined_seq <= seq:
            self.joined_seq = self.member_seq

    def ended(self, seq: int, contiguous_from: int) -> None:
        """The group ended at this seq. Where a removal may be missing, only the verified part counts."""
        if self.is_member_now:
            self.left_seq = self.verified_seq if self.may_have_missed(contiguous_from) else seq
            self.member_seq = seq

    def mode(self, seq: int, is_read: bool) -> None:
        if seq >= self.mode_seq:
            self.mode_seq, self.is_read = seq, is_read


class _ContiguousRange:
    """The seqs of a group, `first` to `last`, whose pushes came without a gap."""

    __slots__ = ("first", "last")

    def __init__(self, seq: int) -> None:
        self.first = self.last = seq


class GroupTracker:
    """Memory is bounded by the connected users: for each, MAX_TRACKED_GROUPS or the groups that the user is in."""

    __slots__ = ("_generations", "_groups", "_next_generation", "_ranges", "_sessions_of", "_unverified")

    def __init__(self) -> None:
        """No user is connected."""
        self._groups: dict[str, dict[str, _MembershipView]] = {}
        self._sessions_of: dict[str, set[str]] = {}
        self._generations: dict[str, int] = {}
        self._next_generation = 1
        # No FIFOCache: it would move a group whose range begins again, and takes twice the memory of a dict.
        self._ranges: dict[str, _ContiguousRange] = {}
        self._unverified: set[str] = set()

    def add_user(self, user_id: str) -> None:
        """The first connection of a user has signed in: from now on pushes about the user are applied."""
        if user_id not in self._generations:
            self._generations[user_id] = self._next_generation
            self._next_generation += 1

    def remove_user(self, user_id: str) -> None:
        """The user's last connection here has closed."""
        if self._generations.pop(user_id, None) is None:
            return
        self._unverified.discard(user_id)
        for session_id in self._sessions_of.pop(user_id, ()):
            views = self._groups[session_id]
            del views[user_id]
            if not views:
                del self._groups[session_id]

    def invalidate(self) -> None:
        """Pushes may have been lost, removals among them: drop all views, so that the tables are read again."""
        for user_id in list(self._generations):
            self.remove_user(user_id)
            self.add_user(user_id)

    def generation(self, user_id: str) -> int:
        """The user's connection generation, 0 without a connection. Results of reads for an older one are ignored."""
        return self._generations.get(user_id, 0)

    def tracked_sessions(self, user_id: str) -> Sequence[str]:
        """Every group with a view of the user. A load has to read these as well."""
        return tuple(self._sessions_of.get(user_id, ()))

    def read_sessions_of(self, user_id: str) -> Sequence[str]:
        """The read-diffusion groups of which the user is a member."""
        return [name for name in self._sessions_of.get(user_id, ()) if self._is_reader(name, user_id)]

    def is_verified_member(self, user_id: str, session_id: str, seq: int) -> bool:
        """Whether the user is a member and was one at this seq, so that no removal up to it can be missing."""
        view, range_ = self._view_if_kept(session_id, user_id), self._ranges.get(session_id)
        if view is None or not view.is_member_now or seq < view.joined_seq:
            return False
        is_contiguous = range_ is not None and seq <= range_.last and not view.may_have_missed(range_.first)
        return is_contiguous or seq <= view.verified_seq or seq == view.confirmed_head

    def confirm_membership(self, user_id: str, session_id: str, head: int) -> None:
        """The tables, read after this head, state that the user was a member at it, which stays true.

        The view itself does not change: pushes on their way may belong to an earlier membership.
        """
        view = self._view_if_kept(session_id, user_id)
        if view is not None:
            view.confirmed_head = head

    def is_delivered_ignored(self, user_id: str, session_id: str, delivered_seq: int) -> bool:
        """Whether the receipts service ignores this `delivered`: it names a push of a read-diffusion group (ADR 15)."""
        view, range_ = self._view_if_kept(session_id, user_id), self._ranges.get(session_id)
        if view is None or range_ is None or not range_.first <= delivered_seq <= range_.last:
            return False
        return view.is_reader and view.may_receive(delivered_seq, range_.first)

    def expect(self, user_id: str, session_id: str) -> bool:
        """The user's inbox says that this group is read from its log. True if no push has said so: it was lost.

        Then the tables have to be read for this group, which is among `tracked_sessions` from now on.
        """
        tracked_sessions = self._sessions_of.get(user_id, ())
        if user_id not in self._generations or session_id in tracked_sessions:
            return False
        if len(tracked_sessions) >= MAX_TRACKED_GROUPS:
            return False  # the name may be of a group that the user has left: no view is dropped for it
        self._view(session_id, user_id)
        return True

    def take_unverified(self) -> Sequence[str]:
        """Users whose tables have to be read again, because a push of one of their groups is missing. Each once."""
        unverified, self._unverified = tuple(self._unverified), set()
        return unverified

    def begin_load(self, generation: int, user_id: str, session_ids: Iterable[str]) -> None:
        """A read of these groups begins: from now on their pushes are applied to the user's views."""
        if generation and self._generations.get(user_id) == generation:
            for session_id in session_ids:
                self._view(session_id, user_id)

    def apply_versions(
        self, generation: int, versions: Iterable[tuple[GroupRow, MemberRow]], heads: Mapping[str, int]
    ) -> None:
        """Apply the newest versions of one user, read from the tables: each group's before the member's.

        `heads`: the head of each group, read before its versions.
        """
        for group, member in versions:
            user_id, session_id = member.user_id, group.session_id
            if not generation or self._generations.get(user_id) != generation:
                return
            view = self._view(session_id, user_id)
            view.verify_up_to(heads.get(session_id, -1))
            view.joined(member.left_seq or member.as_of_seq, member.joined_seq)
            if not is_member(group, member):
                view.left(member.left_seq or group.as_of_seq)
            view.mode(group.as_of_seq, group.mode == MODE_READ)

    def apply_push(self, pushed: PushedMessage) -> Sequence[str]:
        """Apply the facts of a push. Returns the connected members that receive it, or none if it names its users.

        A user that joins or leaves by the message receives it.
        """
        message = pushed.message
        contiguous_from = message.seq if pushed.user_ids else self._extend_range(message.session_id, message.seq)
        if pushed.joined_ids:
            self._apply_joined(pushed)
        receivers: list[str] = []
        if not pushed.user_ids and pushed.mode == MODE_READ:
            views = self._groups.get(message.session_id, {})
            receivers = [user_id for user_id, view in views.items() if view.may_receive(message.seq, contiguous_from)]
            if len(receivers) < len(views):
                self._mark_unverified(views, contiguous_from)
        if pushed.mode_to:
            self._apply_mode(pushed)
        if pushed.left_ids or pushed.dissolves:
            self._apply_left(pushed, contiguous_from)
        if pushed.user_ids and (pushed.joined_ids or pushed.mode_to):
            self._mark_named_unverified(pushed)
        return receivers

    def _extend_range(self, session_id: str, seq: int) -> int:
        """Add a group push; return the first seq of the contiguous range."""
        range_ = self._ranges.get(session_id)
        if range_ is None or seq > range_.last + 1:
            range_ = self._ranges[session_id] = _ContiguousRange(seq)
            if len(self._ranges) > _MAX_RANGES:
                del self._ranges[next(iter(self._ranges))]
        range_.last = max(range_.last, seq)
        return range_.first

    def _mark_unverified(self, views: Mapping[str, _MembershipView], contiguous_from: int) -> None:
        self._unverified.update(
            user_id for user_id, view in views.items() if view.is_reader and view.may_have_missed(contiguous_from)
        )

    def _mark_named_unverified(self, pushed: PushedMessage) -> None:
        """The fact came through the users' inboxes: later group pushes may have come before it."""
        session_id = pushed.message.session_id
        range_, views = self._ranges.get(session_id), self._groups.get(session_id, {})
        if range_ is not None:
            self._mark_unverified(
                {user_id: views[user_id] for user_id in pushed.user_ids if user_id in views}, range_.first
            )

    def _apply_joined(self, pushed: PushedMessage) -> None:
        session_id, seq = pushed.message.session_id, pushed.message.seq
        for user_id in pushed.joined_ids:
            if user_id in self._generations:
                view = self._view_for_push(session_id, user_id)
                view.verify_up_to(seq)
                view.joined(seq, seq)
                view.mode(seq, (pushed.mode_to or pushed.mode) == MODE_READ)

    def _apply_mode(self, pushed: PushedMessage) -> None:
        """A switch to write diffusion holds for all members at once.

        A switch to read diffusion holds only for the users that the push names. The removal of other users in write
        diffusion may still be on its way. The switch comes through inboxes, naming their users, and as a group push,
        naming all members.
        """
        session_id, seq = pushed.message.session_id, pushed.message.seq
        if pushed.mode_to != MODE_READ:
            for view in self._groups.get(session_id, {}).values():
                view.mode(seq, False)
            return
        for user_id in pushed.user_ids or pushed.member_ids:
            if user_id in self._generations:
                view = self._view_for_push(session_id, user_id)
                view.verify_up_to(seq)
                # The joining is this seq: an earlier membership may have ended and begun again unseen.
                view.joined(seq, seq)
                view.mode(seq, True)

    def _apply_left(self, pushed: PushedMessage, contiguous_from: int) -> None:
        session_id, seq = pushed.message.session_id, pushed.message.seq
        for user_id in (*pushed.left_ids, *(pushed.user_ids if pushed.dissolves else ())):
            if user_id in self._generations:
                self._view_for_push(session_id, user_id).left(seq)
        if pushed.dissolves and not pushed.user_ids:
            for view in self._groups.get(session_id, {}).values():
                view.ended(seq, contiguous_from)

    def _is_reader(self, session_id: str, user_id: str) -> bool:
        return self._groups[session_id][user_id].is_reader

    def _view_if_kept(self, session_id: str, user_id: str) -> _MembershipView | None:
        return self._groups.get(session_id, {}).get(user_id)

    def _view_for_push(self, session_id: str, user_id: str) -> _MembershipView:
        """The view of a connected user, within MAX_TRACKED_GROUPS."""
        tracked_sessions = self._sessions_of.get(user_id, ())
        if len(tracked_sessions) >= MAX_TRACKED_GROUPS and session_id not in tracked_sessions:
            self.remove_user(user_id)
            self.add_user(user_id)
            self._unverified.add(user_id)
        return self._view(session_id, user_id)

    def _view(self, session_id: str, user_id: str) -> _MembershipView:
        views = self._groups.setdefault(session_id, {})
        view = views.get(user_id)
        if view is None:
            range_ = self._ranges.get(session_id)
            view = views[user_id] = _MembershipView(range_.last + 1 if range_ else 0)
            self._sessions_of.setdefault(user_id, set()).add(session_id)
        return view
