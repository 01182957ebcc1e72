"""Checks names, such as those of groups and files, by Unicode properties. Pure.

The properties come from the library `regex`, whose Unicode version is newer than Python's.
"""

import unicodedata

import regex

# Unicode classifies these as symbols and letters, but they are invisible, and no property states it: BRAILLE PATTERN
# BLANK, MUSICAL SYMBOL NULL NOTEHEAD, EGYPTIAN HIEROGLYPH FULL BLANK and HALF BLANK.
_BLANK = r"\u2800\U0001D159\U00013441\U00013442"

# Characters without a shape of their own that are valid in these places, each with an example:
_IN_PLACE = regex.compile(
    r"(?V1)"
    # a joiner between two emoji: a family
    r"(?<=\p{Extended_Pictographic}[\uFE0E\uFE0F\p{Emoji_Modifier}]?)\u200D(?=\p{Extended_Pictographic})"
    # a joiner inside a word: Persian
    r"|(?<=[\p{L}\p{M}\p{N}])[\p{Join_Control}\u034F](?=[\p{L}\p{M}\p{N}])"
    # a joiner at the end of a word: Malayalam and Telugu, after a virama; Arabic, after a letter that would join
    r"|(?<=[\p{Indic_Syllabic_Category=Virama}\p{Joining_Type=Dual_Joining}])\p{Join_Control}"
    # a variant of an emoji, of a symbol, of a letter in a script without capitals: keycaps, Han, Mongolian
    r"|(?<=[\p{Lo}\p{N}\p{P}\p{S}\p{Emoji}])\p{Variation_Selector}"
    # the flag of a part of a country: England
    r"|(?<=\U0001F3F4)[\U000E0030-\U000E0039\U000E0061-\U000E007A]{3,6}\U000E007F"
    # a place to break a line in scripts that write no spaces: Khmer, Thai
    r"|(?<=\p{Line_Break=Complex_Context})\u200B(?=\p{Line_Break=Complex_Context})"
)
# Controls, surrogates, private use, unassigned (also noncharacters), line ends, invisible characters; marks of
# direction, format characters except the visible ones of Arabic numbers, the object replacement character.
_REFUSED = regex.compile(
    r"(?V1)[\p{Cc}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\uFFFC"
    r"[\p{Cf}--\p{Prepended_Concatenation_Mark}]]"
)
_LONE_MARK = regex.compile(r"(?<![^\p{Z}])\p{M}")
_VISIBLE = regex.compile(rf"(?V1)[[\p{{L}}\p{{N}}\p{{P}}\p{{S}}]--[{_BLANK}]]")


def name_fault(text: str) -> str | None:
    """What to change in a name; None if it is valid. Takes 0.1 µs for ASCII and about 10 µs otherwise."""
    if text.isascii() and text.isprintable() and not text.isspace() and text:
        return None
    shown = _IN_PLACE.sub("", text)
    if (refused := _REFUSED.search(shown)) is not None:
        return f"take {_named(refused[0])} out: it is not drawn, or it changes how what stands beside it is drawn"
    if (mark := _LONE_MARK.search(shown)) is not None:
        return f"put a letter before {_named(mark[0])}, which combines with it"
    if _VISIBLE.search(shown) is None:
        return "give it at least one visible character: a letter, number, punctuation, symbol or emoji"
    return None


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")
