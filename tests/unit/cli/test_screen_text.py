"""What users wrote is shown, never obeyed."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tidings.cli.screen_text import content, line, visible
from tidings_client import Message


def _message(kind: str, body: dict[str, object]) -> Message:
    return Message(
        message_id="1", session_id="d:a:b", seq=3, sender_id="a", client_msg_id="x", at=0, kind=kind, body=body
    )


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    assert not {unicodedata.category(character) for character in visible(text)} & {"Cc", "Cs", "Zl", "Zp"}


def test_line_breaks_are_shown_as_a_sign_and_other_scripts_as_they_are() -> None:
    assert visible("one\r\ntwo\nthree") == "one ⏎ two ⏎ three"
    assert visible("你好 👩‍👩‍👧 éß") == "你好 👩‍👩‍👧 éß"
    assert visible("\x1b[2J\u202egnp") == "\ufffd[2J\ufffdgnp"


def test_a_message_without_text_shows_its_kind_and_body() -> None:
    assert content(_message("custom", {"a": "\x1b"})) == '[custom] {"a": "\\u001b"}'


def test_a_line_of_tail_names_session_seq_and_sender() -> None:
    assert line(_message("text", {"text": "hi"})).endswith(" d:a:b #3 a: hi")
