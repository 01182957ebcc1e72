"""Text of others on one line of a list or a terminal: nothing in it moves, hides or reorders what stands beside it.

Pure. The gateway makes previews with it, the command line everything that it prints.
"""

import re

import regex

# No writing needs more marks on one letter (Tibetan stacks 8); more than that covers the lines above and below.
MAX_MARKS = 16
# What `beginning` looks at; a text that begins with so many blanks has no beginning.
_LOOKED_AT = 400

# Plain `re` looks at a character in 5 ns, a set of properties in 100: the set is spelled out once, from the
# properties, of the planes that have such characters.
_PLANES = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x10000), *range(0xE0000, 0xE0080))))
_TURNING = "".join(regex.findall(r"\p{Bidi_Control}", _PLANES))
_OUTDATED = "".join(regex.findall(r"(?V1)[\p{Deprecated}&&\p{Cf}]", _PLANES))
_UNSAFE = re.compile(rf"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufff9-\ufffb{_TURNING}{_OUTDATED}]")
_LINE_ENDS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
# What is drawn as nothing, or as a blank: in a row they would fill a line with what nobody sees.
_IGNORABLE = "".join(
    regex.findall(r"\p{Default_Ignorable_Code_Point}", _PLANES + "".join(map(chr, range(0xE0080, 0xE1000))))
)
_BLANKS = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\u2800\U0001d159\U00013441\U00013442"
# The flag of a part of a country is spelled in such characters; otherwise two of them in a row are enough for all
# writing, as a variation selector and a joiner in an emoji.
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
_UNSEEN = re.compile(rf"{_FLAG}|[ {_BLANKS}{_IGNORABLE}]{{3,}}")
_NO_BLANK = re.compile(rf"[^ {_BLANKS}]+")
_MARK = regex.compile(r"\p{M}")
_MANY_MARKS = regex.compile(rf"(\p{{M}}{{{MAX_MARKS}}})\p{{M}}++")
_CLUSTER = regex.compile(r"\X")
_BETWEEN_PLAIN = regex.compile(r"(?<=\p{GCB=Other})\p{GCB=Other}")  # two that join nothing: always a boundary
# Two blanks part columns, so no run goes beyond them.
_RTL = r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}]"
_RIGHT_TO_LEFT = regex.compile(rf"{_RTL}(?:(?:(?!  )[^\p{{Bidi_Class=L}}\p{{Bidi_Control}}])*{_RTL})*+\p{{M}}*+")
_ZWJ = "\u200d"


def one_line(text: str, line_end: str = " ", instead: str = "") -> str:
    """Without line ends (`line_end` for each run of them), and `instead` of each control and mark of direction.

    Marks of direction go, instead of being closed: a terminal may not know the ones that would close them.
    """
    if not text.isprintable():
        text = _LINE_ENDS.sub(line_end, text).replace("\t", " ")
        text = _UNSAFE.sub(instead, text)
    if not text.isascii():
        text = _UNSEEN.sub(_few, text)
    return text if _MARK.search(text) is None else _MANY_MARKS.sub(r"\1", text)


def _few(found: re.Match[str]) -> str:
    """Instead of a run of what is not seen: a blank if it has one, else its first two; spaces alone are left."""
    run = found[0]
    if run[0] == "\U0001f3f4" or not run.strip(" "):
        return run
    return run[:2] if _NO_BLANK.fullmatch(run) else " "


def isolated(line: str) -> str:
    """Each run of letters that are written from right to left, so that it cannot reorder what stands beside it.

    A run ends with its last such letter: the number or bracket behind a name in Hebrew stays where it was put.
    """
    return line if line.isascii() else _RIGHT_TO_LEFT.sub("\u2068\\g<0>\u2069", line)


def shortened(line: str, most: int) -> str:
    """At most so many code points, cut between grapheme clusters, so that no emoji and no letter is halved."""
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
    """Of one cluster above all bounds: whole emoji of a chain of them, or a letter with as many marks as fit."""
    return line.rpartition(_ZWJ)[0] or line


def beginning(text: str, most: int) -> str:
    """The first `most` code points as one line, whole clusters only."""
    text = text.lstrip()
    head = text[: most + 1]
    if head.isascii() and head.isprintable():
        return head[:most]
    line = one_line(text[:_LOOKED_AT])
    # The last cluster of what was looked at may go on behind it.
    return shortened(line, min(most, len(line) - 1)) if len(text) > _LOOKED_AT else shortened(line, most)
