"""The lines of a trace."""

import orjson

from tidings.topics import MESSAGES_INBOUND, PUSH
from tidings.tracing.lines import Outcome, ended, first_few, kept_by, log_fact, progress, stored_fact, unknown


def test_retention_of_topics_is_shown_in_days_or_minutes() -> None:
    assert (kept_by(MESSAGES_INBOUND), kept_by(PUSH)) == ("7 days", "10 minutes")


def test_long_lists_are_cut() -> None:
    assert first_few(["b", "a"], 2) == "a, b"
    assert first_few(["c", "b", "a"], 2) == "a, b and 1 more"


def test_a_trace_is_json_with_the_source_of_each_line() -> None:
    lines = stored_fact("stored", "hot"), log_fact("received", "x", PUSH, at_ms=5), progress("expand", "y")
    found = orjson.loads(orjson.dumps(ended(Outcome.STORED, *lines, unknown("pushed", "why")).fields()))
    assert found["outcome"] == "stored"
    assert [(line["source"], line["kept"]) for line in found["lines"]] == [
        ("tables", ""),
        ("topics", "10 minutes"),
        ("topics", "until the next commit"),
        ("unknown", ""),
    ]
