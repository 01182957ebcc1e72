"""Messages and statuses as a terminal shows them, and the one way to print them."""

import json
import sys
from collections.abc import Callable
from datetime import datetime

from tidings.one_line import isolated, one_line, shortened
from tidings_client import Message, Status

TICKS = {
    Status.SENDING: "…",
    Status.SENT: "✓",
    Status.DELIVERED: "✓✓",
    Status.READ: "✓✓ read",
    Status.FAILED: "✗ failed",
}
# The part of another user's text that is shown: about 25 rows of a terminal. A message may have 8,000 line ends.
MOST = 2_000
LINE_ENDS = 20
LINE_END = " ⏎ "
# A message, its place in the session, and the notes about what is left out of each.
_MOST_SAID = 2 * MOST + 200
_LAST_MS = 253_402_128_000_000  # 9999-12-30, so that no time zone leaves the calendar


def visible(text: str, most: int = MOST) -> str:
    """One line without control characters, because a terminal would act on those in an untrusted text.

    A longer text ends with the number of characters that are left out.
    """
    line = one_line(text, LINE_END, "\N{REPLACEMENT CHARACTER}")
    if len(line) <= LINE_ENDS:  # a shortcut for most lines: too short for so many line ends
        return line
    lines = line.split(LINE_END, LINE_ENDS)
    short = shortened(LINE_END.join(lines[:LINE_ENDS]), most)
    left_out = len(line) - len(short)
    # A single missing line end is not worth a note.
    return f"{short} … ({left_out} more characters)" if left_out > len(LINE_END) else line


def say(text: str, *, is_aside: bool = False) -> None:
    """Print one visible line at once. An aside goes to standard error, so that a pipe holds only the answer."""
    line = isolated(visible(text, _MOST_SAID))
    print(line, file=sys.stderr if is_aside else sys.stdout, flush=True)


def content(message: Message) -> str:
    """The content of a message: its text, or its kind and body."""
    if message.kind == "text":
        return visible(message.text)
    return visible(f"[{message.kind}] {json.dumps(message.body, ensure_ascii=False)}")


def clock(at_ms: int, now: datetime | None = None) -> str:
    """Local time of day, with the date if it is another day than that of `now`."""
    at = _moment(at_ms)
    is_today = at.date() == (now or datetime.now()).astimezone().date()
    return at.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def day_and_time(at_ms: int) -> str:
    """Local date and time with its offset, as `history --at` takes it.

    A mute without end may have a year that no calendar has, so the time is capped.
    """
    return _moment(at_ms).isoformat(" ", "seconds")


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(min(max(at_ms, 0), _LAST_MS) / 1000).astimezone()


def line(message: Message, moment: Callable[[int], str] = clock) -> str:
    """A message with its session, seq, sender and time, for `tail` and `history`."""
    place = visible(f"{message.session_id} #{message.seq} {message.sender_id}")
    return f"{moment(message.at)} {place}: {content(message)}"
