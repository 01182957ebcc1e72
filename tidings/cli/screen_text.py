"""Messages and statuses as a terminal shows them. Pure."""

import json
import unicodedata
from datetime import datetime

from tidings_client import Message, Status

TICKS = {
    Status.SENDING: "…",
    Status.SENT: "✓",
    Status.DELIVERED: "✓✓",
    Status.READ: "✓✓ read",
    Status.FAILED: "✗ failed",
}
# Marks that turn the direction of what follows them, on other people's lines, too.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_LAST_MS = 253_402_128_000_000  # 9999-12-30, so that no time zone leaves the calendar


def visible(text: str) -> str:
    """One line without anything that a terminal would obey: what users write is not ours to trust."""
    one_line = text.replace("\r\n", "\n").replace("\n", " ⏎ ").replace("\t", " ")
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_dangerous(character) else character for character in one_line)


def _is_dangerous(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI


def content(message: Message) -> str:
    """What a message says: its text, or its kind and body."""
    if message.kind == "text":
        return visible(message.text)
    return visible(f"[{message.kind}] {json.dumps(message.body, ensure_ascii=False)}")


def clock(at_ms: int) -> str:
    """Local time of day."""
    return datetime.fromtimestamp(at_ms / 1000).astimezone().strftime("%H:%M:%S")


def day_and_time(at_ms: int) -> str:
    """Local date and time. Who is muted for ever may be so until a year that no calendar has."""
    return datetime.fromtimestamp(min(at_ms, _LAST_MS) / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def line(message: Message) -> str:
    """A message with everything about it, for `tail`."""
    return f"{clock(message.at)} {message.session_id} #{message.seq} {message.sender_id}: {content(message)}"
