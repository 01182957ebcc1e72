"""The kept orders of sessions: what moves them, what they forget, and that no turn of calls makes them trail."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from services.gateway.reads.session_order import KEPT_MS, SessionOrder, SessionOrders
from tests.builders import inbox_row
from tidings.store.rows import InboxRow

SESSIONS = ("a", "b", "c")


def row(inbox_seq: int, session_id: str, at: int) -> InboxRow:
    return inbox_row("bob", inbox_seq, session_id=session_id, at=at)


def ats_of(orders: SessionOrders, user_id: str = "bob", now_ms: int = 0) -> dict[str, int] | None:
    order = orders.get(user_id, now_ms)
    return order.known(SESSIONS) if order else None


def test_rows_of_the_inbox_move_their_sessions_and_never_back() -> None:
    order = SessionOrder(10, {"a": 50, "b": 60}, 0)
    assert order.follow(10, 13, [row(11, "a", 70), row(12, "c", 80), row(13, "b", 55)])
    assert (order.known(SESSIONS), order.tail) == ({"a": 70, "b": 60}, 13)
    assert order.follow(10, 11, [row(11, "a", 65)])
    assert (order.known(SESSIONS), order.tail) == ({"a": 70, "b": 60}, 13)


def test_an_order_does_not_follow_rows_with_a_missing_one() -> None:
    order = SessionOrder(10, {"a": 50}, 0)
    for rows in ([row(12, "a", 70)], [row(11, "a", 70)], []):
        assert not order.follow(10, 12, rows)
    assert (order.known(SESSIONS), order.tail) == ({"a": 50}, 10)


def test_new_session_is_learned_unless_the_order_has_moved_on() -> None:
    orders = SessionOrders()
    orders.keep("bob", 10, {"a": 50}, 0)
    order = orders.get("bob", 0)
    assert order is not None
    assert order.follow(10, 11, [row(11, "b", 90)])
    orders.settle("bob", 10, SESSIONS, {"a": 60, "b": 80})
    assert ats_of(orders) == {"a": 60}
    orders.settle("bob", 11, SESSIONS, {"b": 90})
    assert ats_of(orders) == {"a": 60, "b": 90}


def test_session_that_is_no_longer_listed_is_dropped() -> None:
    orders = SessionOrders()
    orders.keep("bob", 10, {"a": 50, "b": 60}, 0)
    orders.settle("bob", 10, ["b"], {})
    assert ats_of(orders) == {"b": 60}


def test_later_tail_of_two_whole_reads_is_kept() -> None:
    orders = SessionOrders()
    orders.keep("bob", 12, {"a": 50, "b": 60}, 0)
    orders.keep("bob", 11, {"a": 55, "b": 10, "c": 70}, 0)
    assert ats_of(orders) == {"a": 55, "b": 60}
    orders.keep("bob", 13, {"a": 20, "c": 70}, 0)
    assert ats_of(orders) == {"a": 55, "c": 70}


def test_sent_message_moves_a_known_session_and_makes_no_order() -> None:
    orders = SessionOrders()
    orders.move("bob", {"a": 10})
    assert ats_of(orders) is None
    orders.keep("bob", 10, {"a": 50}, 0)
    orders.move("bob", {"a": 70, "b": 80})
    orders.move("bob", {"a": 60})
    assert ats_of(orders) == {"a": 70}


def test_an_order_is_read_again_after_an_hour() -> None:
    orders = SessionOrders()
    orders.keep("bob", 10, {"a": 50}, 1_000)
    assert ats_of(orders, now_ms=1_000 + KEPT_MS - 1) == {"a": 50}
    assert ats_of(orders, now_ms=1_000 + KEPT_MS) is None


def test_kept_sessions_are_bounded_and_oldest_users_go_first() -> None:
    orders = SessionOrders(max_sessions=12)
    for user_id in ("bob", "carol"):
        orders.keep(user_id, 1, {"a": 1, "b": 1}, 0)
    assert ats_of(orders, "bob") == {"a": 1, "b": 1}
    orders.settle("carol", 1, SESSIONS, {"c": 1})
    assert [ats_of(orders, user_id) is None for user_id in ("bob", "carol")] == [False, False]
    orders.settle("carol", 1, "abcdef", {"d": 1, "e": 1})
    assert [ats_of(orders, user_id) is None for user_id in ("bob", "carol")] == [True, False]
    orders.keep("emil", 1, {str(number): 1 for number in range(10)}, 0)
    assert ats_of(orders, "emil") is None


# -- in any turns ----------------------------------------------------------------------------------


@dataclass
class World:
    """What the tables hold of bob, and calls of his that are under way."""

    orders: SessionOrders = field(default_factory=lambda: SessionOrders(max_sessions=10))
    heads: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SESSIONS, 0))
    inbox: list[InboxRow] = field(default_factory=list)
    listed: set[str] = field(default_factory=lambda: set(SESSIONS))
    calls: list[Iterator[None]] = field(default_factory=list)
    # An order that was kept, its tail and its places when it was looked at last.
    seen: tuple[SessionOrder, int, dict[str, int]] | None = None

    def say(self, session_id: str) -> None:
        """A message to bob, which is in his inbox at once."""
        at = 1 + max(self.heads.values())
        self.heads[session_id] = at
        self.inbox.append(row(len(self.inbox) + 1, session_id, at))

    def change(self, session_id: str) -> None:
        """He joins or leaves."""
        self.listed ^= {session_id}

    def other(self, _session_id: str) -> None:
        """Another user asks: bob's order is pushed out."""
        self.orders.keep("carol", 1, dict.fromkeys(SESSIONS, 1), 0)

    def call(self, _session_id: str) -> None:
        """He asks for his list: the turns that SessionLists takes, with everything else in between."""
        self.calls.append(self._call())

    def step(self, session_id: str) -> None:
        """One of his calls comes a step further."""
        if self.calls:
            number = SESSIONS.index(session_id) % len(self.calls)
            if next(self.calls[number], self) is self:
                del self.calls[number]

    def _call(self) -> Iterator[None]:
        order = self.orders.get("bob", 0)
        after = order.tail if order else 0
        listed = sorted(self.listed)
        yield
        tail = len(self.inbox)
        yield
        if order is not None and order.follow(after, tail, self.inbox[after:tail]):
            known, tail = order.known(listed), order.tail
            yield
            read = {name: self.heads[name] for name in listed if name not in known}
            yield
            self.orders.settle("bob", tail, listed, read)
            yield
            self.orders.move("bob", {name: self.heads[name] for name in listed[:1]})
        else:
            yield
            read = {name: self.heads[name] for name in listed}
            yield
            self.orders.keep("bob", tail, read, 0)

    def check(self, seed: int) -> None:
        """What is kept has everything up to its tail, and nothing else; and nothing in it goes back."""
        order = self.orders.get("bob", 0)
        if order is None:
            return
        known = order.known(SESSIONS)
        if self.seen is not None and self.seen[0] is order:
            _, tail, ats = self.seen
            assert order.tail >= tail, seed
            assert all(known[name] >= at for name, at in ats.items() if name in known), seed
        self.seen = (order, order.tail, known)
        for name, at in known.items():
            positions = [one.at for one in self.inbox[: order.tail] if one.session_id == name]
            assert max(positions, default=0) <= at <= self.heads[name], (seed, name)


STEPS = ("say", "change", "other", "call", *["step"] * 4)
WORLDS, STEPS_OF_A_WORLD = 2_000, 60


def test_order_holds_all_rows_up_to_its_tail_in_any_interleaving() -> None:
    for seed in range(WORLDS):
        chance, world = random.Random(seed), World()
        for _ in range(STEPS_OF_A_WORLD):
            getattr(world, chance.choice(STEPS))(chance.choice(SESSIONS))
            world.check(seed)
