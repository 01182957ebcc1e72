"""Checks names, such as those of groups and files, by Unicode properties. Pure.

The properties come from the library `regex`, whose Unicode version is newer than Python's.
"""

import unicodedata

import regex

# Unicode classifies these as symbols, letters and a mark, but they are invisible, and no property states it. They are
# BRAILLE PATTERN BLANK, MUSICAL SYMBOL NULL NOTEHEAD, EGYPTIAN HIEROGLYPH FULL BLANK and HALF BLANK, and KHITAN SMALL
# SCRIPT FILLER.
_BLANK = r"\u2800\U0001D159\U00013441\U00013442\U00016FE4"
# A letter whose shape depends on adjacent letters, as in Arabic, Syriac and Mongolian.
_JOINING = r"[\p{Joining_Type=Dual_Joining}\p{Joining_Type=Right_Joining}\p{Joining_Type=Left_Joining}]"
# A letter of a script with viramas: a consonant or an independent vowel.
_INDIC = r"[\p{L}--\p{Indic_Syllabic_Category=Other}]"
_VIRAMA = r"\p{Indic_Syllabic_Category=Virama}"
_SHIFTER = r"\p{Indic_Syllabic_Category=Register_Shifter}"

# Characters without a shape of their own that are valid in these places, each with an example:
_IN_PLACE = regex.compile(
    # checked first, because the places take longer
    r"(?V1)(?=\p{Default_Ignorable_Code_Point})(?:"
    # a joiner between two emoji: a family
    r"(?<=\p{Extended_Pictographic}[\uFE0F\p{Emoji_Modifier}]?)\u200D(?=\p{Extended_Pictographic})"
    # a joiner inside a word, next to a letter that joins: Persian, also behind a number or a Latin acronym
    rf"|(?<={_JOINING}\p{{M}}*)\p{{Join_Control}}(?=[\p{{L}}\p{{N}}])"
    rf"|(?<=[\p{{L}}\p{{M}}\p{{N}}])\p{{Join_Control}}(?={_JOINING})"
    # a joiner after a virama, as in domain names (RFC 5892, A.1 and A.2): Sinhala, Malayalam's chillu, and Telugu
    # (keyboards end words with it). A joiner before a virama inside a word: Bengali
    rf"|(?<={_INDIC}\p{{M}}*{_VIRAMA})\p{{Join_Control}}(?!\p{{M}})"
    rf"|(?<={_INDIC}\p{{M}}*)\u200D(?={_VIRAMA}{_INDIC})"
    # a non-joiner next to a sign that moves with the vowel: Khmer
    rf"|(?<={_INDIC}\p{{M}}*)\u200C(?={_SHIFTER})|(?<={_INDIC}\p{{M}}*{_SHIFTER})\u200C(?=\p{{M}})"
    # a variant of an emoji, as text or picture; a digit varies in a keycap only
    r"|(?<=[0-9#*])\uFE0F(?=\u20E3)|(?<=[\p{Emoji}--[0-9#*\p{Emoji_Modifier}\p{Regional_Indicator}]])[\uFE0E\uFE0F]"
    # a variant of an ideograph, of a mathematical symbol, of wide punctuation
    r"|(?<=\p{Unified_Ideograph})[\uFE00-\uFE02\U000E0100-\U000E01EF]"
    r"|(?<=[[\p{Sm}--\p{ASCII}][\p{P}&&\p{East_Asian_Width=W}][\p{P}&&\p{East_Asian_Width=F}]])[\uFE00\uFE01]"
    # a variant of a letter: Mongolian; Myanmar, Phags-pa, Manichaean, hieroglyphs
    r"|(?<=[\p{Script=Mongolian}&&\p{L}])[\u180B-\u180D\u180F]"
    r"|(?<=[[\p{Script=Myanmar}\p{Script=Phags_Pa}\p{Script=Manichaean}\p{Script=Egyptian_Hieroglyphs}]&&\p{L}])"
    r"[\uFE00-\uFE06]"
    # a place to break a line in scripts that write no spaces, which their keyboards insert: Khmer, Thai
    r"|(?<=\p{Line_Break=Complex_Context})\u200B(?=\p{Line_Break=Complex_Context})"
    # the flag of a part of a country: England
    r"|(?<=\U0001F3F4)[\U000E0030-\U000E0039\U000E0061-\U000E007A]{3,6}\U000E007F"
    r")"
)
# Controls, surrogates, private use, unassigned (also noncharacters), line ends, invisible characters. Also marks of
# direction, format characters except the visible ones of Arabic numbers, and the object replacement character.
_REFUSED = regex.compile(
    r"(?V1)[\p{Cc}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\uFFFC"
    rf"{_BLANK}"
    r"[\p{Cf}--\p{Prepended_Concatenation_Mark}]]"
)
_LONE_MARK = regex.compile(r"(?<![^\p{Z}])\p{M}")
_VISIBLE = regex.compile(r"[\p{L}\p{N}\p{P}\p{S}]")


def name_fault(text: str) -> str | None:
    """What to change in a name; None if it is valid. Takes 0.1 µs for ASCII and below 0.1 ms otherwise."""
    if text.isascii() and text.isprintable() and not text.isspace() and text:
        return None
    shown = _IN_PLACE.sub("", text)
    if (refused := _REFUSED.search(shown)) is not None:
        return f"remove {_named(refused[0])}: it is invisible, or it changes how the text next to it is drawn"
    if (mark := _LONE_MARK.search(shown)) is not None:
        return f"put a letter before {_named(mark[0])}, which combines with it"
    if _VISIBLE.search(shown) is None:
        return "give it at least one visible character: a letter, number, punctuation, symbol or emoji"
    return None


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")
