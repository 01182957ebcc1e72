"""Byte ranges of a download by RFC 9110, section 14. Pure."""

import re
from dataclasses import dataclass
from typing import Literal

# The digits of 2^63. A longer number is beyond every file, and Python refuses to read one of 4,300 digits.
_MOST_DIGITS = 19
_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RangeAnswer:
    """What to send: `length` bytes from `start`. `content_range` is the header's value for 206 and 416."""

    status: Literal[200, 206, 416]
    start: int
    length: int
    content_range: str | None = None


def answer_range(range_header: str | None, if_range: str | None, etag: str, size: int) -> RangeAnswer:
    """Decide on the headers `Range` and `If-Range` of a GET. `etag`: strong, with its quotation marks.

    A malformed Range and one of several ranges are answered as a whole, which RFC 9110 allows. Several ranges would
    let a small request ask for the same bytes many times. So is a range whose `If-Range` is another tag, a weak tag
    or a date, because the file may have changed.
    """
    whole = RangeAnswer(200, 0, size)
    if range_header is None or (if_range is not None and if_range.strip() != etag):
        return whole
    match = _ONE_RANGE.fullmatch(range_header.strip())
    if match is None or match[1] + match[2] == "":
        return whole
    if match[1] == "":
        return _last_bytes(_number(match[2]), size)
    first, last = _number(match[1]), _number(match[2] or "9" * _MOST_DIGITS)
    if match[2] and _is_less(match[2], match[1]):
        return whole
    return _part(first, last, size)


def _last_bytes(count: int, size: int) -> RangeAnswer:
    if count == 0:
        return _unsatisfiable(size)
    # A suffix of an empty file is the empty file, for which Content-Range has no form.
    return _part(max(0, size - count), size - 1, size) if size else RangeAnswer(200, 0, 0)


def _part(first: int, last: int, size: int) -> RangeAnswer:
    if first >= size:
        return _unsatisfiable(size)
    last = min(last, size - 1)
    return RangeAnswer(206, first, last - first + 1, f"bytes {first}-{last}/{size}")


def _unsatisfiable(size: int) -> RangeAnswer:
    return RangeAnswer(416, 0, 0, f"bytes */{size}")


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _is_less(left: str, right: str) -> bool:
    """Whether one number of any length is less than another."""
    left, right = left.lstrip("0"), right.lstrip("0")
    return (len(left), left) < (len(right), right)
