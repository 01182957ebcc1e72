"""Ranges: one satisfiable range is a part, everything unclear is the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.media.ranges import RangeAnswer, answer_range

ETAG = '"abc"'
WHOLE = RangeAnswer(200, 0, 1000)
OUT = RangeAnswer(416, 0, 0, "bytes */1000")


def part(first: int, last: int, size: int = 1000) -> RangeAnswer:
    return RangeAnswer(206, first, last - first + 1, f"bytes {first}-{last}/{size}")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, WHOLE),
        ("bytes=0-499", part(0, 499)),
        ("bytes=500-999", part(500, 999)),
        ("bytes=500-", part(500, 999)),
        ("bytes=0-0", part(0, 0)),
        ("bytes=999-5000", part(999, 999)),
        ("bytes=-1", part(999, 999)),
        ("bytes=-5000", part(0, 999)),
        ("BYTES= 1-2 ", part(1, 2)),
        ("bytes=0007-0000000000000000000000000000008", part(7, 8)),
        ("bytes=5-" + "9" * 5000, part(5, 999)),
        ("bytes=-" + "9" * 5000, part(0, 999)),
        ("bytes=1000-", OUT),
        ("bytes=1000-2000", OUT),
        ("bytes=-0", OUT),
        ("bytes=" + "9" * 5000 + "-", OUT),
        ("bytes=" + "9" * 5000 + "-" + "9" * 5001, OUT),
        ("bytes=" + "9" * 5001 + "-" + "9" * 5000, WHOLE),
        ("bytes=5-4", WHOLE),
        ("bytes=0-1,5-6", WHOLE),
        ("bytes=0-1,", WHOLE),
        ("bytes=" + "0-," * 2000, WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes", WHOLE),
        ("", WHOLE),
        ("items=0-1", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=+1-2", WHOLE),
        ("bytes=0x1-2", WHOLE),
        ("bytes=-1-2", WHOLE),
        ("bytes=١-٢", WHOLE),
        ("bytes=0-1\r\nX: y", WHOLE),
    ],
)
def test_range_is_a_part_or_whole_or_outside(header: str | None, expected: RangeAnswer) -> None:
    assert answer_range(header, None, ETAG, 1000) == expected


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (ETAG, 206),
        ('"other"', 200),
        ("W/" + ETAG, 200),
        ("abc", 200),
        ("", 200),
        ("Mon, 30 Nov 2026 00:00:00 GMT", 200),
    ],
)
def test_if_range_needs_the_same_strong_tag(if_range: str, status: int) -> None:
    assert answer_range("bytes=0-1", if_range, ETAG, 1000).status == status


def test_if_range_of_another_tag_is_never_outside() -> None:
    assert answer_range("bytes=1000-", '"other"', ETAG, 1000) == WHOLE


@pytest.mark.parametrize(("header", "status"), [("bytes=0-", 416), ("bytes=-0", 416), ("bytes=-1", 200), (None, 200)])
def test_empty_file_has_no_part(header: str | None, status: int) -> None:
    answer = answer_range(header, None, ETAG, 0)
    assert (answer.status, answer.start, answer.length) == (status, 0, 0)


@given(st.integers(0, 50), st.integers(0, 60), st.none() | st.integers(0, 60))
def test_part_holds_the_bytes_of_the_range(size: int, first: int, last: int | None) -> None:
    answer = answer_range(f"bytes={first}-{'' if last is None else last}", None, ETAG, size)
    data = bytes(range(size))
    if last is not None and last < first:
        assert answer == RangeAnswer(200, 0, size)
    elif first >= size:
        assert answer == RangeAnswer(416, 0, 0, f"bytes */{size}")
    else:
        wanted = data[first:] if last is None else data[first : last + 1]
        assert answer.status == 206
        assert data[answer.start : answer.start + answer.length] == wanted
        assert answer.content_range == f"bytes {first}-{first + len(wanted) - 1}/{size}"


@given(st.text() | st.text("bytes=0123456789-, \t"), st.none() | st.text(), st.integers(0, 2**40))
def test_any_header_stays_inside_the_file(header: str, if_range: str | None, size: int) -> None:
    answer = answer_range(header, if_range, ETAG, size)
    assert 0 <= answer.start <= answer.start + answer.length <= size
    assert (answer.content_range is None) == (answer.status == 200)
