"""One rule for all names: what can be seen stays, what hides, turns or moves other text does not."""

import unicodedata

import pytest
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
    "Bengali ya": "র\u200d্য",
    "combining accent": "e\u0301",
    "Hebrew with points": "שָׁלוֹם",
    "Han with a variant": "葛\U000e0100",
    "Khmer with a break": "ខ្ញុំ\u200bទៅ",
    "Mongolian with a variant": "ᠠ᠋ᠨ",
    "Arabic sign before a number": "\u0601١",
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
    assert "visible character" in (name_fault("\u2800") or "")
