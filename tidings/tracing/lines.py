"""What a trace says: lines, each with the source of its fact. Pure."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from tidings.topics import TopicSizes, declared

_UNITS = ((86_400_000, "days"), (60_000, "minutes"))
# The TTL of the tables `message_keys` and `inbox` (docs/ARCHITECTURE.md, Expiry).
TTL = "100 days"
# Of the offset and marks of a group: each commit replaces the one before it.
NEWEST_COMMIT = "until the next commit"


class Source(StrEnum):
    """Where the fact of a line comes from."""

    TABLES = "tables"
    TOPICS = "topics"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """The result of the whole trace.

    `waiting`: the command is in the log and not decided. `unknown`: what is left cannot answer the question.
    """

    STORED = "stored"
    WAITING = "waiting"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Line:
    """One fact about one stage. `at_ms`: when it happened, None if that is not recorded.

    `place`: where it is, empty without a place. `kept`: how long the source keeps the fact, empty for no end.
    The text of a line of unknown source says why.
    """

    stage: str
    text: str
    source: Source
    place: str = ""
    at_ms: int | None = None
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """All lines about one message, in the order of the stages."""

    outcome: Outcome
    lines: tuple[Line, ...]

    def fields(self) -> dict[str, object]:
        """The trace for JSON."""
        return {"outcome": str(self.outcome), "lines": [asdict(line) for line in self.lines]}


def stored_fact(stage: str, text: str, *, place: str = "", at_ms: int | None = None, kept: str = "") -> Line:
    """A line whose fact comes from the tables."""
    return Line(stage, text, Source.TABLES, place, at_ms, kept)


def log_fact(stage: str, text: str, topic: str, *, place: str = "", at_ms: int | None = None) -> Line:
    """A line whose fact comes from a record of a topic."""
    return Line(stage, text, Source.TOPICS, place, at_ms, kept_by(topic))


def progress(stage: str, text: str) -> Line:
    """A line whose fact comes from the offset or the marks that a group has committed."""
    return Line(stage, text, Source.TOPICS, kept=NEWEST_COMMIT)


def unknown(stage: str, why: str, *, place: str = "") -> Line:
    """A line about a fact that cannot be found out, with the reason."""
    return Line(stage, why, Source.UNKNOWN, place)


def ended(outcome: Outcome, *lines: Line) -> Trace:
    """A trace that ends before its message is found."""
    return Trace(outcome, lines)


def kept_by(topic: str) -> str:
    """How long a topic keeps its records, as text. Raises StopIteration for a topic that is not declared."""
    settings = next(one.settings for one in declared(TopicSizes()) if one.name == topic)
    kept_ms = int(settings["retention.ms"])
    size, unit = next((size, unit) for size, unit in _UNITS if kept_ms >= size)
    return f"{kept_ms // size} {unit}"


def first_few(users: Iterable[str], most: int) -> str:
    """The first users in order, and the number of the others."""
    ordered = sorted(users)
    rest = len(ordered) - most
    return ", ".join(ordered[:most]) + (f" and {rest} more" if rest > 0 else "")
