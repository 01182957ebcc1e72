"""One rule for all names: what can be seen stays, what hides, turns or moves other text does not."""

import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.names import name_fault

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
GOOD = {
    "letters": "Team",
    "spaces around": " a b ",
    "family": "👨‍👩‍👧‍👦",
    "fire fighter with a skin tone": "👩🏽‍🚒",
    "rainbow flag": "🏳️‍🌈",
    "pirates": "🏴‍☠️",
    "flag of two letters": "🇩🇪",
    "England": ENGLAND,
    "keycaps": "1️⃣ #️⃣ *️⃣",
    "heart with its variant": "❤️",
    "letter as emoji": "ℹ️",
    "emoji of a newer Unicode than Python's": "\U0001fae9",
    "Persian with ZWNJ": "می\u200cخواهم",
    "Persian ordinal": "۵\u200cام",
    "Malayalam with ZWJ at its end": "അവന്\u200d",
    "Telugu with ZWNJ at its end": "జాక్\u200c",
    "Devanagari with ZWJ at its end": "क्\u200d",
    "Khmer with a break": "ខ្ញុំ\u200bទៅ",
    "Telugu with ZWNJ inside": "బ్యాక్\u200cఅప్",
    "Sinhala with ZWJ": "ශ්\u200dරී",
    "Devanagari with ZWNJ": "क्\u200cष",
    "Persian after a Latin acronym": "CD\u200cها",
    "Persian after a letter that does not join": "برادر\u200cها",
    "heart on fire": "❤️\u200d🔥",
    "Bengali ya": "র\u200d্য",
    "combining accent": "e\u0301",
    "Hebrew with points": "שָׁלוֹם",
    "Han with a variant": "葛\U000e0100",
    "mathematical variant": "∩\ufe00",
    "Mongolian with a variant": "ᠠ᠋ᠨ",
    "Arabic sign before a number": "\u0601١",
    "Arabic number sign before a number": "\u0600١",
    "Hangul": "한국",
    "symbol": "₿",
    "number": "①",
    "punctuation": "…",
}
BAD = {
    "nothing": "",
    "blanks": " \u00a0\u3000",
    "zero width space": "\u200b",
    "Braille blank": "\u2800",
    "Hangul filler": "\u3164",
    "other fillers": "\u115f\u1160\uffa0",
    "soft hyphen": "\u00ad",
    "variation selector": "\ufe0f",
    "noncharacter": "\uffff",
    "noncharacter of another plane": "a\U0010fffe",
    "only ZWJ": "\u200d",
    "only marks": "\u0301\u0302",
    "mark before a letter": "\u0301a",
    "mark on a blank": "a \u0301",
    "null notehead": "\U0001d159",
    "hieroglyph blank": "\U00013441",
    "object replacement": "\ufffc",
    "Khmer vowel that is not drawn": "\u17b4",
    "ALM": "a\u061cb",
    "LRM": "a\u200eb",
    "RLM": "a\u200fb",
    "override": "a\u202egnp.exe",
    "isolate": "a\u2066b\u2069",
    "deprecated format character": "a\u206ab",
    "language tag": "a\U000e0001",
    "annotation": "a\ufff9b\ufffac\ufffb",
    "line separator": "a\u2028b",
    "line feed": "a\nb",
    "NUL": "a\x00",
    "C1 control": "a\x9bb",
    "private use": "\ue000",
    "unassigned": "\u0378",
    "half surrogate": "\ud83d",
    "joiner at the end of a word": "admin\u200d",
    "joiner at the begin": "\u200cadmin",
    "two joiners": "م\u200c\u200cم",
    "grapheme joiner at the end": "admin\u034f",
    "variant of a Latin letter": "admin\ufe0f",
    "break inside a Latin word": "ad\u200bmin",
    "word joiner": "ad\u2060min",
    "soft hyphen in a word": "ad\u00admin",
    "hidden text in tags": "😀\U000e0068\U000e0069\U000e007f",
    "tag without an end": "\U0001f3f4\U000e0067\U000e0062",
    "byte order mark": "\ufeffa",
    "musical format": "a\U0001d173",
    "Braille blank at the end": "a\u2800",
    "Braille blank at the begin": "\u2800a",
    "Braille blank inside": "a\u2800b",
    "null notehead at the end": "a\U0001d159",
    "hieroglyph blanks inside": "a\U00013441\U00013442b",
    "Khitan filler": "a\U00016fe4",
    "grapheme joiner inside": "a\u034fb",
    "grapheme joiners inside": "a\u034f\u034fb",
    "Persian with ZWNJ at its end": "نامه\u200c",
    "Persian with ZWNJ at its begin": "\u200cنامه",
    "Persian with ZWJ at its end": "نامه\u200d",
    "Persian with ZWNJ before a blank": "نامه\u200c ما",
    "ZWNJ inside a Latin word": "ad\u200cmin",
    "ZWJ between emoji and letter": "😀\u200da",
    "variant of a digit": "1\ufe0f",
    "variant of punctuation": "a!\ufe00",
    "two variation selectors": "葛\U000e0100\U000e0101",
}
NOT_DRAWN = frozenset("\u2800\u3164\u115f\u1160\uffa0\U0001d159\U00013441\U00013442\ufffc")
TURNING = frozenset(["LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"])


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNPS" and character not in NOT_DRAWN


@pytest.mark.field_case("8")
@pytest.mark.parametrize("kind", GOOD)
def test_a_name_that_is_seen_is_taken(kind: str) -> None:
    assert name_fault(GOOD[kind]) is None


@pytest.mark.field_case("8", "9")
@pytest.mark.parametrize("kind", BAD)
def test_a_name_that_hides_or_turns_text_is_refused(kind: str) -> None:
    assert name_fault(BAD[kind])


def test_a_name_of_one_code_point_is_a_visible_one() -> None:
    """Every code point that Python's Unicode has assigned."""
    assigned = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cn", "Co")]
    wrong = [ascii(one) for one in assigned if (name_fault(one) is None) != _is_visible(one)]
    assert not wrong


def test_what_is_not_drawn_is_refused_in_plain_words() -> None:
    every = "".join(map(chr, range(0x110000)))
    hidden = [*regex.findall(r"\p{Default_Ignorable_Code_Point}", every), *"\u2800\U0001d159\U00013441\U00013442"]
    places = ("{}ab", "a{}b", "ab{}", "a{} b", "a {}b", "é{}1", "1{}.", "!{}")
    assert [ascii(one) for one in hidden for place in places if name_fault(place.format(one)) is None] == []


@given(st.text(st.characters(categories=["L"])), st.sampled_from("\u200c\u200d"), st.sampled_from(["", " ", "."]))
def test_a_joiner_at_the_edge_of_a_word_is_refused(word: str, joiner: str, after: str) -> None:
    assert name_fault(joiner + word)
    assert name_fault(word + joiner + after)
    assert name_fault(word + joiner + joiner + word)


@settings(max_examples=500)
@given(st.text(min_size=1))
def test_a_name_that_is_taken_holds_nothing_dangerous(name: str) -> None:
    if name_fault(name) is not None:
        return
    categories = {unicodedata.category(one) for one in name}
    assert not categories & {"Cc", "Cs", "Co", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(one) for one in name} & TURNING
    assert not frozenset("\u061c\u200e\u200f") & set(name)
    # Python's Unicode is older than ours: what it does not know yet counts as seen.
    assert any(_is_visible(one) or unicodedata.category(one) == "Cn" for one in name)


@settings(max_examples=300)
@given(st.sampled_from(list(GOOD.values())), st.sampled_from(list(GOOD.values())), st.characters(categories=["Cc"]))
def test_good_names_join_and_a_control_spoils_them(one: str, other: str, control: str) -> None:
    assert name_fault(f"{one} {other}") is None
    assert name_fault(one + control + other)


def test_a_fault_names_the_character_to_take_out() -> None:
    assert "U+202E (RIGHT-TO-LEFT OVERRIDE)" in (name_fault("a\u202eb") or "")
    assert "visible character" in (name_fault(" ") or "")
