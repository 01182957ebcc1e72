"""Write docs/FIELD-CASES.md: each case from the field, what is right, and the tests that hold it; --check only looks.

The tests are found by their mark `field_case`, so a test can be renamed or moved without touching the page.
"""

import sys
from collections.abc import Mapping

from scripts.marks import marked_tests
from scripts.pages import ROOT, write_or_check

PAGE = ROOT / "docs" / "FIELD-CASES.md"
MARK = "field_case"

# Number, input, and what must come back. The numbers are those of the reports and have gaps.
CASES: Mapping[str, tuple[str, str]] = {
    "1": ("an id of dots only; an encoded slash in a path", "refused; no request reaches another call"),
    "2": ("a device clock six minutes ahead, then set right", "every message ends as *sent*"),
    "3": ("a cursor above the tail of the inbox or the head of a group", "an answer says so; all is shown once"),
    "4": ("`PUT …/read`, then at once a GET through any gateway", "the GET shows at least what the PUT answered"),
    "5": ("alice, bob, alice write; bob polls his unread count", "1 at every moment"),
    "6": ("a `read` or `ack` above the head, then a new message", "the new message is neither read nor delivered"),
    "7": ("a device that starts at `live`", "earlier messages become delivered once a device holds them"),
    "8": ("names without a visible character", "`invalid_frame`; emoji and joined scripts stay as they are"),
    "9": ("a name or type with a mark of direction", "`invalid_frame`"),
    "10": ("previews of emoji, lines, controls and marks of direction", "one line of whole characters, made harmless"),
    "11": ("a batch with one entry that is no valid message", "that entry fails, the others are stored"),
    "12": ("a frame that is too large between other sends", "`too_large` for it, the others are stored"),
    "13": ("`1e19`, then `10000000000000000000` with the same id", "`duplicate`"),
    "21": ("a list of sessions that moves while a client follows `next`", "the client misses no session"),
    "22": ("a member that joins at 11 and says `read 5`", "no reader of what was sent before the joining"),
    "24": ("`muted_until` in seconds", "refused"),
    "25": ("a user reads messages of a blocked user", "the blocked user gets no sign of it"),
    "26": ("`tidings receipts --help`", "whole help texts"),
    "27": ("two processes with one cursor or outbox file", "safe, or refused by a text that names the file"),
    "28": ("SIGTERM to a gateway with many connections", "no client is offline for longer than 2 s"),
    "29": ("more sockets than the file limit allows", "503 with a text; the admin port and the servers stay reachable"),
    "30": ("a keep-alive connection idle for longer than five seconds", "it stays open; the SDK repeats a GET once"),
    "31": ("the socket's path without an upgrade, or with a body", "426, or 400, at once"),
    "32": ("lists of origins in every spelling", "REST and WebSocket decide alike; what cannot match stops the start"),
    "33": ("tokens of eight seconds; numbers of 400 digits in a token", "the SDK continues; 401"),
    "34": ("an SDK whose clock is two hours off", "one call of the token provider per life of a token"),
    "36": ("waiting for `retry_after_ms`; errors read by a page; a BOM", "accepted; readable; accepted"),
    "37": ("an application that restarts with pending messages", "the SDK lists them"),
    "38": ("Kafka is away for minutes", "readiness says so; the number of log lines is limited"),
    "39": ("one user puts and deletes 100,000 blocks", "other users notice nothing"),
    "40": ("a broker whose clock is off", "clients are judged by the clock they receive; the skew shows"),
    "42": ("the metrics of a fresh start", "every series is there as 0"),
    "43": ("settings that can never work", "a text that names the variable; every start ends or says why it waits"),
    "43b": ("SIGTERM to a service that waits for Kafka or Cassandra", "it ends within seconds"),
    "44": ("text of other users on a terminal", "made harmless and short"),
}

HEAD = """# Cases from the field

Each case began as a public bug report of some messenger. A case stands for its kind, so its tests try siblings too.
`python -m scripts.field_cases` writes this page from the marks `field_case` on the tests.

| case | input | right | tests |
|---|---|---|---|
"""


def page() -> str:
    """The page as the tests are now. Raises KeyError for a mark whose number is no case."""
    rows = {number: f"| {number} | {given} | {right} | " for number, (given, right) in CASES.items()}
    for number, tests in marked_tests(MARK).items():
        rows[number] += " · ".join(f"`{test.name}`" for test in tests)
    return HEAD + "".join(f"{row} |\n" for row in rows.values())


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page, "scripts.field_cases", __doc__))
