"""Bounds for log lines, because some libraries log thousands of lines a second while a server is unreachable.

Lines are of one kind if logger, level and text are equal except for numbers, and if their exceptions have the same
type and place. Errors of different partitions are different kinds.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import TypeVar

Key = TypeVar("Key")

# A kind may log this many lines at once, and then one every two seconds.
BURST_LINES = 5
LINES_PER_S = 0.5
# For all kinds of one logger together, because texts with names or addresses are always new kinds.
LOGGER_BURST_LINES = 100
LOGGER_LINES_PER_S = 10.0
# The most kinds in memory. When there are more, all are dropped, and each may log its burst again.
_KINDS_MOST = 2_000
_KIND_CHARACTERS = 120
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d+")
# In a traceback as text: the place of the error, and the last line that is not indented, which begins with the type.
_PLACE = re.compile(r'^ +File "([^"\n]*)", line (\d+)', re.MULTILINE)
_TYPE = re.compile(r"^([^\s:]+)(?::|$)", re.MULTILINE)


@dataclass(slots=True)
class _Bucket:
    """The lines that a kind may still log, and the number of suppressed lines."""

    lines: float
    at_s: float
    suppressed: int = 0

    def take(self, now_s: float, per_s: float, burst: float) -> bool:
        self.lines = min(burst, self.lines + (now_s - self.at_s) * per_s)
        self.at_s = now_s
        if self.lines < 1:
            self.suppressed += 1
            return False
        self.lines -= 1
        return True


class LineLimiter(logging.Filter):
    """Drops lines above the bounds. The next line of the kind that passes states how many were dropped.

    May be called from any thread.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._kinds: dict[tuple[object, ...], _Bucket] = {}
        self._loggers: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line may be logged."""
        with self._lock:
            now_s = self._now_s()
            kind = _bucket(self._kinds, _kind(record), BURST_LINES, now_s)
            if not kind.take(now_s, LINES_PER_S, BURST_LINES):
                return False
            of_logger = _bucket(self._loggers, record.name, LOGGER_BURST_LINES, now_s)
            if not of_logger.take(now_s, LOGGER_LINES_PER_S, LOGGER_BURST_LINES):
                kind.suppressed += 1
                return False
            suppressed, kind.suppressed = kind.suppressed, 0
        if suppressed:
            _add_suppressed(record, suppressed)
        return True


def _bucket(buckets: MutableMapping[Key, _Bucket], key: Key, burst: int, now_s: float) -> _Bucket:
    if key not in buckets and len(buckets) >= _KINDS_MOST:
        buckets.clear()
    return buckets.setdefault(key, _Bucket(burst, now_s))


def _kind(record: logging.LogRecord) -> tuple[object, ...]:
    said: object = record.msg
    partition = None
    if isinstance(said, dict):  # structlog's
        # Each stopped partition is a kind of its own. Repeated rounds of all partitions are one kind.
        partition = said.get("partition") if record.levelno >= logging.ERROR else None
        said = said.get("event")
    return record.name, record.levelno, _NUMBERS.sub("#", str(said)[:_KIND_CHARACTERS]), partition, _raised(record)


def _raised(record: logging.LogRecord) -> tuple[str, ...] | None:
    """Type and place of a line's exception, so that lines of one bug do not hide the first traceback of another."""
    text = record.msg.get("exception") if isinstance(record.msg, dict) else None
    if isinstance(text, str):  # structlog has formatted it
        last_place = max(_PLACE.finditer(text), key=lambda found: found.start(), default=None)
        after = text[last_place.end() :] if last_place else text
        found = _TYPE.search(after)
        return (found[1] if found else "", *(last_place.groups() if last_place else ()))
    if not isinstance(record.exc_info, tuple) or record.exc_info[0] is None:
        return None
    kind, _, frame = record.exc_info
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = (frame.tb_frame.f_code.co_filename, str(frame.tb_lineno)) if frame is not None else ()
    return (kind.__qualname__, *place)


def _add_suppressed(record: logging.LogRecord, suppressed: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = {**record.msg, "suppressed": suppressed}
    else:
        record.msg = f"{record.getMessage()} (and {suppressed} lines like it since the last)"
        record.args = None
