"""One line of a list or a terminal, whatever the text holds."""

import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.one_line import MAX_MARKS, beginning, one_line, shortened

FAMILY = "👨‍👩‍👧‍👦"
MOST = 100
pieces = st.sampled_from(
    [FAMILY, "e\u0301", "🇩🇪", "1️⃣", "字", "a", " ", "\n", "\u202e", "\u2066", "\x1b[2J", "\x00", "क्षि", "한", "\u200d"]
)
texts = st.text() | st.lists(pieces, max_size=200).map("".join)


def _clusters(text: str) -> list[str]:
    return regex.findall(r"\X", text)


@pytest.mark.field_case("10")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a" * 99 + FAMILY, "a" * 99),
        (FAMILY * 30, FAMILY * 14),
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u2066b", "ab"),
        ("one\ntwo\r\n\r\nthree", "one two three"),
        ("a\x00\x1b[2Jb", "a[2Jb"),
        ("\n\n  first", "first"),
        ("tab\tstop", "tab stop"),
        ("a" + "\u0301" * 1_000, "a" + "\u0301" * (MAX_MARKS - 1)),
        ("a\u2028b\u0085c", "a b c"),
        ("שלום", "שלום"),
        ("a" * 101, "a" * 100),
        ("字" * 101, "字" * 100),
        ("\n" * 8_000, ""),
        ("a" * 99 + "e\u0301", "a" * 99),
        ("🇩🇪" * 60, "🇩🇪" * 50),
        ("a" + "\u200b" * 300 + "b", "a\u200b\u200bb"),
        ("a" + "\u200b\u2060\ufe0f\u3164" * 60 + "b", "a\u200b\u2060b"),
        ("a" + "\u200b " * 100 + "b", "a b"),
        ("a" + "\u3000\u2800" * 100 + "b", "a b"),
        ("\u200b" * 300, "\u200b\u200b"),
        ("❤️\u200d🔥", "❤️\u200d🔥"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f!",) * 2,
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_the_beginning_of_a_text_is_one_whole_line(text: str, line: str) -> None:
    assert beginning(text, MOST) == line


@settings(max_examples=500)
@given(texts)
def test_a_beginning_never_halves_a_cluster(text: str) -> None:
    line = beginning(text, MOST)
    assert len(line) <= MOST
    assert not {unicodedata.category(one) for one in line} & {"Cc", "Cs", "Zl", "Zp"}
    assert not regex.search(r"\p{Bidi_Control}", line)
    whole = _clusters(one_line(text.lstrip()))
    assert _clusters(line) == whole[: len(_clusters(line))]


@given(texts, st.integers(1, 60))
def test_shortening_keeps_the_clusters_of_the_line(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(short) <= most
    assert text.startswith(short)
    if text and len(_clusters(text)[0]) <= most:
        assert short
        assert _clusters(short) == _clusters(text)[: len(_clusters(short))]


def test_a_chain_of_emoji_above_the_bound_ends_with_a_whole_one() -> None:
    chain = "\u200d".join("👨" * 200)
    assert beginning(chain, MOST) == "\u200d".join("👨" * 50)
    assert shortened(chain, 4) == "👨\u200d👨"


def test_a_text_read_in_part_ends_with_a_whole_cluster() -> None:
    text = "\x00" * 330 + "字" * 69 + FAMILY
    assert beginning(text, MOST) == "字" * 69
