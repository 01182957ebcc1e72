"""What receipts caches of messages: heads and authors."""

from services.receipts.heads import Heads
from tidings.wire.common_pb2 import KIND_SYSTEM, KIND_TEXT, Message


def test_authors_of_the_newest_countable_messages_are_kept() -> None:
    heads = Heads()
    for seq in range(1, 101):
        kind = KIND_SYSTEM if seq == 100 else KIND_TEXT
        heads.see(Message(session_id="g:1", seq=seq, count=seq, sender_id="alice", kind=kind))
        heads.see(Message(session_id="d:alice:bob", seq=seq, count=seq, sender_id="alice", kind=KIND_TEXT))
    assert heads.authors("g:1", [3, 98, 99, 100]) == {98: "alice", 99: "alice"}
    assert heads.authors("d:alice:bob", [99]) == {}


def test_head_is_the_highest_seq_and_repeats_do_not_lower_it() -> None:
    heads = Heads()
    for seq in (1, 2, 3, 2):
        heads.see(Message(session_id="d:a:b", seq=seq, count=seq))
    assert heads.head("d:a:b") == 3
    assert heads.count_at("d:a:b", 2) == 2
    assert heads.count_at("d:a:b", 4) is None
    assert heads.head("d:unknown:x") == 0


def test_heads_evict_the_session_written_longest_ago() -> None:
    heads = Heads(most_sessions=2, most_groups=2)
    for seq, name in enumerate(("g:1", "g:2", "g:1", "g:3"), start=1):
        heads.see(Message(session_id=name, seq=seq, count=seq, sender_id="alice", kind=KIND_TEXT))
        heads.authors("g:2", [heads.head("g:2")])  # a read keeps no session
    assert [heads.head(name) for name in ("g:1", "g:2", "g:3")] == [3, 0, 4]
    assert [len(heads.authors(name, range(9))) for name in ("g:1", "g:2", "g:3")] == [2, 0, 1]
