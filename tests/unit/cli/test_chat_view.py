"""The chat screen's content: order, statuses, and what is not shown twice."""

from hypothesis import given
from hypothesis import strategies as st

from cli.chat_view import MAX_SHOWN, ChatView
from tidings_client import Message, Status, StatusChanged

SESSION = "d:alice:bob"


def _message(seq: int, sender: str = "alice", text: str = "hi", session: str = SESSION) -> Message:
    return Message(
        message_id=str(seq),
        session_id=session,
        seq=seq,
        sender_id=sender,
        client_msg_id=f"{sender}-{seq}",
        at=seq,
        kind="text",
        body={"text": text},
    )


def _ticks(view: ChatView) -> list[str]:
    return [line.ticks for line in view.lines()]


def test_a_message_of_ours_goes_from_sending_to_read() -> None:
    view = ChatView("alice", SESSION)
    view.compose("alice-1", "hi", 1, Status.SENDING)
    seen = [_ticks(view)]
    view.change(StatusChanged("alice-1", Status.SENT, SESSION, 1, "1"))
    seen.append(_ticks(view))
    view.add([_message(1)])
    for status in (Status.DELIVERED, Status.READ):
        view.change(StatusChanged("alice-1", status, SESSION, 1, "1"))
        seen.append(_ticks(view))
    assert seen == [["…"], ["✓"], ["✓✓"], ["✓✓ read"]]


def test_a_failed_message_stays_and_says_why() -> None:
    view = ChatView("alice", SESSION)
    view.compose("alice-1", "hi", 1, Status.SENDING)
    view.change(StatusChanged("alice-1", Status.FAILED, code="user_blocked", reason="bob blocks you"))
    assert _ticks(view) == ["✗ failed bob blocks you"]


def test_a_failed_message_that_turns_up_after_all_is_sent() -> None:
    view = ChatView("alice", SESSION)
    view.compose("alice-1", "hi", 1, Status.FAILED)
    view.add([_message(1)])
    assert _ticks(view) == ["✓"]


def test_older_messages_get_statuses_of_the_peers_watermarks() -> None:
    view = ChatView("alice", SESSION)
    view.add(_message(seq) for seq in (1, 2, 3))
    view.peer_has(delivered_seq=2, read_seq=1)
    view.peer_has(delivered_seq=1, read_seq=0)
    assert _ticks(view) == ["✓✓ read", "✓✓", "✓"]


def test_peer_messages_have_no_ticks_and_other_sessions_no_line() -> None:
    view = ChatView("alice", SESSION)
    view.add([_message(1, sender="bob"), _message(2, session="d:alice:carol")])
    assert [(line.sender, line.ticks) for line in view.lines()] == [("bob", "")]


def test_only_the_newest_messages_are_kept() -> None:
    view = ChatView("alice", SESSION)
    view.add(_message(seq) for seq in range(1, MAX_SHOWN + 11))
    assert len(list(view.lines())) == MAX_SHOWN
    assert view.last_seq == MAX_SHOWN + 10


@given(st.lists(st.integers(1, 20), max_size=60))
def test_each_message_is_shown_once_by_seq_in_any_arrival_order(seqs: list[int]) -> None:
    view = ChatView("alice", SESSION)
    for seq in seqs:
        view.compose(f"alice-{seq}", str(seq), seq, Status.SENDING)
        view.add([_message(seq, text=str(seq))])
    assert [line.text for line in view.lines()] == [str(seq) for seq in sorted(set(seqs))]


def test_a_message_that_gets_another_id_stays_one_line() -> None:
    view = ChatView("alice", "d:alice:bob")
    view.compose("old", "hello", 1, Status.SENDING)
    view.change_id("old", "new")
    view.change(StatusChanged("new", Status.SENT, "d:alice:bob", 1, "1"))
    assert [(line.text, line.ticks) for line in view.lines()] == [("hello", "✓")]
