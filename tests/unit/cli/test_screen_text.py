"""What users wrote is shown, never obeyed."""

import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

import cli
from cli.groups import described as described_member
from cli.screen_text import LINE_ENDS, MOST, clock, content, day_and_time, line, say, visible
from cli.sessions import described
from tidings_client import Member, Message, Session
from tidings_client.rest import Head


def _message(kind: str, body: dict[str, object]) -> Message:
    return Message(
        message_id="1", session_id="d:a:b", seq=3, sender_id="a", client_msg_id="x", at=0, kind=kind, body=body
    )


@given(st.text())
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    shown = visible(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not regex.search(r"\p{Bidi_Control}", shown)
    assert len(shown) <= 3 * len(text)


def test_line_breaks_are_a_sign_and_other_scripts_stay() -> None:
    assert visible("one\r\ntwo\nthree") == "one ⏎ two ⏎ three"
    assert visible("你好 👩‍👩‍👧 éß") == "你好 👩‍👩‍👧 éß"
    assert visible("\x1b[2J\u202egnp") == "\ufffd[2J\ufffdgnp"


def test_a_message_without_text_shows_its_kind_and_body() -> None:
    assert content(_message("custom", {"a": "\x1b"})) == '[custom] {"a": "\\u001b"}'


def test_a_line_of_tail_names_session_seq_and_sender() -> None:
    assert line(_message("text", {"text": "hi"})).endswith(" d:a:b #3 a: hi")


@pytest.mark.field_case("44")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200fb", "a\ufffdb"),
        ("a\u061cb\u200e\u2066", "a\ufffdb\ufffd\ufffd"),
        ("\n" * 8_000, " ⏎ "),
        ("a" + "\r\n \n" * 2_000 + "b", "a ⏎ b"),
        ("a\x9b2Jb\x07", "a\ufffd2Jb\ufffd"),
        ("a" + "\u0301" * 7_999, "a" + "\u0301" * 16),
        ("a\u2028b\x0bc", "a ⏎ b ⏎ c"),
    ],
)
def test_a_text_that_a_terminal_would_obey_is_harmless(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert content(_message("text", {"text": text})) == shown


@pytest.mark.field_case("44")
@pytest.mark.parametrize("text", ["a\n" * 4_000, "x" * 8_000, "\x00" * 8_000, "字\n\n" * 2_600, "\u3164a" * 4_000])
def test_one_message_prints_a_bounded_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(line(_message("text", {"text": text})))
    printed = capsys.readouterr().out
    assert len(printed) < MOST + 100
    assert printed.count("⏎") < LINE_ENDS
    assert regex.search(r" … \(\d{4,5} more characters\)\n$", printed)
    say("ab " * 600)
    assert "more" not in capsys.readouterr().out


@pytest.mark.field_case("10", "44")
def test_text_from_right_to_left_is_isolated(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a name in Hebrew takes the number behind it to its left side."""
    head = Head(seq=7, sender_id="", preview="שלום 5 עולם 9")
    say(described(Session(session_id="g:1", session_kind="group", mode="write", name="קבוצה", head=head)))
    said = capsys.readouterr().out.strip()
    assert said == "g:1 \u2068קבוצה\u2069 (write)  #7 : \u2068שלום 5 עולם\u2069 9"
    say(described(Session(session_id="g:1", name="مرحبا", head=head)))
    assert "\u2068مرحبا\u2069  #7 : \u2068" in capsys.readouterr().out
    say("nothing of it: äöü 你好")
    assert capsys.readouterr().out == "nothing of it: äöü 你好\n"


@pytest.mark.field_case("44")
def test_what_others_named_is_printed_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Ids, too: a server may be wrong, or belong to another user."""
    bad = "x\u202e\x1b[2J\ny"
    head = Head(seq=1, at=-5, sender_id=bad, preview=bad)
    say(described(Session(session_id=bad, name=bad, session_kind="group", mode=bad, head=head)))
    say(described_member(Member(user_id=bad, role=bad, muted_until=2**62)))
    say(line(_message("file", {"name": bad})), is_aside=True)
    said = capsys.readouterr()
    printed = (said.out + said.err).splitlines()
    assert len(printed) == 3
    assert not regex.search(r"[\p{Cc}\p{Bidi_Control}]", "".join(printed))


def test_a_verb_prints_by_say_where_others_wrote() -> None:
    """`where`, `token` and `say` itself print what is made here."""
    files = Path(cli.__file__).parent.glob("*.py")
    printing = {file.stem for file in files if regex.search(r"\bprint\(", file.read_text())}
    assert printing == {"screen_text", "tokens", "where"}


@pytest.mark.parametrize("at_ms", [-(2**63), -1, 2**63])
def test_a_time_that_no_calendar_has_is_shown(at_ms: int) -> None:
    assert clock(at_ms)
    assert day_and_time(at_ms)


def test_a_time_of_another_day_has_its_date() -> None:
    now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert clock(ms(now), now) == f"{now.astimezone():%H:%M:%S}"
    old = now - timedelta(days=2)
    assert clock(ms(old), now) == f"{old.astimezone():%Y-%m-%d %H:%M:%S}"


def test_a_date_and_time_names_its_zone() -> None:
    at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    shown = day_and_time(ms(at))
    assert datetime.fromisoformat(shown).utcoffset() is not None
    assert datetime.fromisoformat(shown) == at


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
