"""Puts untrusted text on one line of a list or a terminal, so that it cannot move, hide or reorder other text.

Pure. The gateway makes previews with it, and the command line everything that it prints.
"""

import re

import regex

# No script needs more marks on one letter (Tibetan stacks 8). More marks would cover the lines above and below.
MAX_MARKS = 16
# The characters that `beginning` reads. A text that begins with so many blanks has no beginning.
_LOOKED_AT = 400

# Plain `re` checks a character in 5 ns, a set of properties takes 100 ns. So the set is expanded once from the
# properties, for the planes that have such characters.
_PLANES = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x10000), *range(0xE0000, 0xE0080))))
_TURNING = "".join(regex.findall(r"\p{Bidi_Control}", _PLANES))
_OUTDATED = "".join(regex.findall(r"(?V1)[\p{Deprecated}&&\p{Cf}]", _PLANES))
_UNSAFE = re.compile(rf"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufff9-\ufffb{_TURNING}{_OUTDATED}]")
_LINE_ENDS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
# Characters that are invisible or drawn as a blank. Many in a row would fill a line with invisible text.
_IGNORABLE = "".join(
    regex.findall(r"\p{Default_Ignorable_Code_Point}", _PLANES + "".join(map(chr, range(0xE0080, 0xE1000))))
)
_BLANKS = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2800\U0001d159\U00013441\U00013442"
# The flag of a part of a country consists of such characters. All other text needs at most two of them in a row, such
# as a variation selector and a joiner in an emoji.
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
_UNSEEN = re.compile(rf"{_FLAG}|[ {_BLANKS}{_IGNORABLE}]{{3,}}")
_NO_BLANK = re.compile(rf"[^ {_BLANKS}]+")
_MARK = regex.compile(r"\p{M}")
_MANY_MARKS = regex.compile(rf"(\p{{M}}{{{MAX_MARKS}}})\p{{M}}++")
_CLUSTER = regex.compile(r"\X")
_BETWEEN_PLAIN = regex.compile(r"(?<=\p{GCB=Other})\p{GCB=Other}")  # two characters that never join: a boundary
# Two blanks separate columns, so no run goes beyond them.
_RTL = r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}]"
_RIGHT_TO_LEFT = regex.compile(rf"{_RTL}(?:(?:(?!  )[^\p{{Bidi_Class=L}}\p{{Bidi_Control}}])*{_RTL})*+\p{{M}}*+")
_ZWJ = "\u200d"


def one_line(text: str, line_end: str = " ", instead: str = "") -> str:
    """The text with `line_end` for each run of line ends, and `instead` for each control and mark of direction.

    Marks of direction are removed and not closed, because a terminal may not support the characters that close them.
    """
    if not text.isprintable():
        text = _LINE_ENDS.sub(line_end, text).replace("\t", " ")
        text = _UNSAFE.sub(instead, text)
    if not text.isascii():
        text = _UNSEEN.sub(_few, text)
    return text if _MARK.search(text) is None else _MANY_MARKS.sub(r"\1", text)


def _few(found: re.Match[str]) -> str:
    """The replacement of an invisible run: a blank if it has one, else its first two. Plain spaces are kept."""
    run = found[0]
    if run[0] == "\U0001f3f4" or not run.strip(" "):
        return run
    return run[:2] if _NO_BLANK.fullmatch(run) else " "


def isolated(line: str) -> str:
    """Isolate each run of right-to-left letters, so that it cannot reorder the text around it.

    A run ends with its last such letter, so that a number or bracket after a Hebrew name stays in its place.
    """
    return line if line.isascii() else _RIGHT_TO_LEFT.sub("\u2068\\g<0>\u2069", line)


def shortened(line: str, most: int) -> str:
    """The line cut to at most `most` code points, between grapheme clusters, so that no emoji or letter is split."""
    if len(line) <= most:
        return line
    if _BETWEEN_PLAIN.match(line, most):
        return line[:most]
    end = 0
    for cluster in _CLUSTER.finditer(line):
        if cluster.end() > most:
            break
        end = cluster.end()
    return line[:end] if end else _part_of_cluster(line[:most])


def _part_of_cluster(line: str) -> str:
    """A cut of a single cluster that is too long: whole emoji of a chain, or a letter with as many marks as fit."""
    return line.rpartition(_ZWJ)[0] or line


def beginning(text: str, most: int) -> str:
    """The first `most` code points as one line, whole clusters only."""
    text = text.lstrip()
    head = text[: most + 1]
    if head.isascii() and head.isprintable():
        return head[:most]
    line = one_line(text[:_LOOKED_AT])
    # The last cluster may continue after the characters that were read.
    return shortened(line, min(most, len(line) - 1)) if len(text) > _LOOKED_AT else shortened(line, most)
