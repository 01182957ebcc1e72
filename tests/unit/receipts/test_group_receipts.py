"""Counts for authors: how many other current members hold and have read what they wrote."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.receipts.group_receipts import (
    SEQS_PUBLISHED,
    GroupReceipts,
    GroupReceiptsCache,
    PendingCounts,
    changed_seqs,
)
from tidings.wire.common_pb2 import KIND_SYSTEM, MODE_READ, MODE_UNSPECIFIED, MODE_WRITE, Message, Mode
from tidings.wire.persisted_pb2 import Persisted


def changed(
    seq: int,
    joined: str = "",
    left: str = "",
    session_id: str = "g:1",
    *,
    dissolves: bool = False,
    mode_to: Mode = MODE_UNSPECIFIED,
) -> Persisted:
    """A membership message; users are parted by blanks."""
    message = Message(session_id=session_id, seq=seq, kind=KIND_SYSTEM)
    return Persisted(
        message=message, joined_ids=joined.split(), left_ids=left.split(), dissolves=dissolves, mode_to=mode_to
    )


USERS = ("alice", "bob", "carl", "dora")
MARKS = st.lists(st.tuples(st.sampled_from(USERS), st.integers(0, 12), st.integers(0, 12)), max_size=20)


def receipts_of(user_ids: Iterable[str], mode: int = MODE_WRITE, as_of_seq: int | None = None) -> GroupReceipts:
    """All of them in it from the first message on."""
    return GroupReceipts(dict.fromkeys(user_ids, 1), mode, as_of_seq)


@pytest.mark.field_case("22")
@given(
    members=st.dictionaries(st.sampled_from(USERS), st.integers(1, 12)),
    said=MARKS,
    author=st.sampled_from(USERS),
    seq=st.integers(1, 12),
)
def test_a_count_is_of_other_members_since_before_the_message(
    members: dict[str, int], said: list[tuple[str, int, int]], author: str, seq: int
) -> None:
    receipts = GroupReceipts(members)
    for user_id, delivered, read in said:
        receipts.raise_to(user_id, delivered, read)
    counts = receipts.counts({seq: author})
    if author not in members:
        assert not counts
        return
    others = {user_id for user_id, joined_seq in members.items() if joined_seq <= seq} - {author}
    reads = {user_id for user_id, _, read in said if read >= seq} & others
    holds = {user_id for user_id, delivered, read in said if max(delivered, read) >= seq} & others
    [count] = counts[author]
    assert (count.seq, count.delivered, count.read) == (seq, len(holds), len(reads))


def test_author_gets_counts_of_own_messages_only() -> None:
    receipts = receipts_of(USERS)
    receipts.raise_to("dora", 3, 2)
    counts = receipts.counts({1: "alice", 2: "bob", 3: "alice"})
    assert {author: [count.seq for count in sent] for author, sent in counts.items()} == {"alice": [1, 3], "bob": [2]}


def test_a_late_lower_watermark_lowers_no_count() -> None:
    receipts = receipts_of(USERS)
    receipts.raise_to("bob", 5, 5)
    receipts.raise_to("bob", 2, 1)
    assert receipts.watermarks["bob"] == (5, 5)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ((0, 0), (2, 0), {1, 2}),
        ((5, 2), (5, 4), {3, 4}),
        ((5, 2), (7, 3), {3, 6, 7}),
        ((0, 0), (1_000, 0), set(range(1_001 - SEQS_PUBLISHED, 1_001))),
    ],
)
def test_what_changed_lies_between_the_old_and_the_new_watermark(
    before: tuple[int, int], after: tuple[int, int], changed: set[int]
) -> None:
    assert changed_seqs(before, after) == changed


def test_counts_are_due_once_half_a_second_after_a_first_change() -> None:
    pending = PendingCounts(0.5)
    pending.add("g:1", 3, {7}, now_s=10.0)
    pending.add("g:1", 3, {5, 9}, now_s=10.4)
    assert pending.next_due_s() == 10.5
    assert pending.due(10.4) == {}
    assert pending.due(10.5) == {"g:1": (3, [5, 7, 9])}
    assert pending.due(20.0) == {}
    assert pending.next_due_s() is None


def test_counts_are_of_the_newest_seqs_only() -> None:
    pending = PendingCounts(0.5)
    pending.add("g:1", 3, range(1, 200), now_s=0)
    assert pending.due(1)["g:1"] == (3, list(range(200 - SEQS_PUBLISHED, 200)))


def test_cache_is_bounded_and_the_least_used_group_goes_first() -> None:
    cache = GroupReceiptsCache(most_members=7)
    cache.put("g:1", receipts_of(("a", "b")))
    cache.put("g:2", receipts_of(("a", "b")))
    assert cache.get("g:1")
    cache.put("g:3", receipts_of(("a", "b")))
    assert [cache.get(name) is not None for name in ("g:1", "g:2", "g:3")] == [True, False, True]
    cache.drop("g:1")
    cache.put("g:4", receipts_of(("a", "b", "c")))
    assert cache.get("g:3")


def test_growing_group_evicts_another_and_empty_ones_count() -> None:
    cache = GroupReceiptsCache(most_members=6)
    cache.put("g:1", receipts_of((), as_of_seq=1))
    cache.put("g:2", receipts_of(("a", "b"), as_of_seq=1))
    cache.follow(changed(2, joined="c d", session_id="g:2"))
    assert [cache.get(name) is not None for name in ("g:1", "g:2")] == [True, True]
    cache.follow(changed(3, joined="e", session_id="g:2"))
    assert [cache.get(name) is not None for name in ("g:1", "g:2")] == [False, True]
    cache.follow(changed(4, left="a b c", session_id="g:2"))
    cache.put("g:1", receipts_of(("a", "b"), as_of_seq=1))
    assert cache.get("g:2")


def test_group_of_an_unknown_seq_is_forgotten_at_the_next_change() -> None:
    cache = GroupReceiptsCache()
    cache.put("g:1", receipts_of(("a", "b")))
    cache.follow(changed(2, left="b"))
    assert cache.get("g:1") is None


# A user joins where they are not in, and leaves where they are; None: the group is dissolved.
CHANGES = st.lists(st.sampled_from(USERS), max_size=16).flatmap(
    lambda users: st.tuples(st.just(users), st.sampled_from([[], [None]]))
)


@given(changes=CHANGES, loaded=st.integers(0, 17), repeated=st.integers(0, 17))
def test_group_follows_the_log_from_any_read_and_any_repeat(
    changes: tuple[list[str], list[None]], loaded: int, repeated: int
) -> None:
    members: set[str] = set()
    log, states = [], [frozenset(members)]
    for seq, user_id in enumerate([*changes[0], *changes[1]], start=1):
        if user_id is None:
            members.clear()
            log.append(changed(seq, dissolves=True))
        elif user_id in members:
            members.remove(user_id)
            log.append(changed(seq, left=user_id))
        else:
            members.add(user_id)
            log.append(changed(seq, joined=user_id))
        states.append(frozenset(members))
    loaded = min(loaded, len(log))
    receipts = receipts_of(states[loaded], as_of_seq=loaded)
    for persisted in [*log, *log[repeated:]]:
        assert receipts.follow(persisted)
    assert receipts.watermarks.keys() == members
    assert receipts.unloaded.keys() <= members


def test_member_added_again_counts_nothing_until_read_again() -> None:
    receipts = receipts_of(USERS, as_of_seq=1)
    asked = dict(receipts.unloaded)
    receipts.raise_to("bob", 5, 5)
    receipts.follow(changed(2, left="bob"))
    receipts.follow(changed(3, joined="bob"))
    receipts.mark_loaded(asked)
    assert receipts.unloaded == {"bob": 3}
    assert receipts.counts({5: "alice"})["alice"][0].read == 0
    receipts.raise_to("bob", 4, 4)
    receipts.mark_loaded(dict(receipts.unloaded))
    assert not receipts.unloaded
    counts = receipts.counts(dict.fromkeys((2, 3, 4, 5), "alice"))["alice"]
    assert [count.read for count in counts] == [0, 1, 1, 0]


def test_the_mode_follows_the_log() -> None:
    receipts = receipts_of(USERS, MODE_WRITE, as_of_seq=1)
    receipts.follow(changed(2, joined="ed", mode_to=MODE_READ))
    receipts.follow(changed(3, left="ed"))
    assert receipts.mode == MODE_READ
