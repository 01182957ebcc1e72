"""Write docs/FIELD-CASES.md: each case, the right result, and its tests. With --check, only compare.

The tests are found by their mark `field_case`, so a test can be renamed or moved without touching the page.
"""

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "FIELD-CASES.md"
TESTS = ROOT / "tests"
MARK = "field_case"

# Number, input, and the right result. The numbers are those of the reports and have gaps.
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
    "22": ("a member who joins at 11 and says `read 5`", "no reader of what was sent before the joining"),
    "24": ("`muted_until` in seconds", "refused"),
    "25": ("a user reads messages of a user that they block", "the blocked user gets no receipt"),
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
    "40": ("a broker whose clock is off", "ids are checked by the clock that clients get; a metric shows the skew"),
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


def marked(files: Iterable[Path]) -> dict[str, list[str]]:
    """The names of the tests of each case, in the order of files and lines."""
    found: dict[str, list[str]] = {}
    for file in files:
        for name, numbers in marks_of(file.read_text()):
            for number in numbers:
                found.setdefault(number, []).append(name)
    return found


def marks_of(source: str) -> Iterator[tuple[str, list[str]]]:
    """Each function with its cases, including those of its module and class (`pytestmark`, or a mark on the class)."""
    yield from _marks_below(ast.parse(source).body, [])


def _marks_below(body: Sequence[ast.stmt], outer: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    shared = [*outer, *(number for one in body for number in _numbers(_assigned(one)))]
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _marks_below(node.body, [*shared, *_numbers(node.decorator_list)])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield node.name, list(dict.fromkeys([*shared, *_numbers(node.decorator_list)]))


def _assigned(node: ast.stmt) -> Sequence[ast.expr]:
    """The marks that an assignment of `pytestmark` gives to its module or class."""
    match node:
        case (
            ast.Assign(targets=[ast.Name(id="pytestmark")], value=value)
            | ast.AnnAssign(target=ast.Name(id="pytestmark"), value=ast.expr() as value)
        ):
            return value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    return ()


def _numbers(expressions: Iterable[ast.expr]) -> list[str]:
    marks = [one for one in expressions if isinstance(one, ast.Call) and _is_mark(one.func)]
    return [str(arg.value) for mark in marks for arg in mark.args if isinstance(arg, ast.Constant)]


def _is_mark(called: ast.expr) -> bool:
    return isinstance(called, ast.Attribute) and called.attr == MARK


def page() -> str:
    """The page for the current tests. Raises KeyError for a mark with an unknown number."""
    tests = marked(sorted(TESTS.rglob("test_*.py")))
    rows = {number: f"| {number} | {given} | {right} | " for number, (given, right) in CASES.items()}
    for number, names in tests.items():
        rows[number] += " · ".join(f"`{name}`" for name in names)
    return HEAD + "".join(f"{row} |\n" for row in rows.values())


def main() -> int:
    """Write the page, or report that it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is stale")
    if not parser.parse_args().check:
        PAGE.write_text(page())
        return 0
    is_stale = page() != PAGE.read_text()
    if is_stale:
        print("docs/FIELD-CASES.md is stale: run `python -m scripts.field_cases`", file=sys.stderr)
    return int(is_stale)


if __name__ == "__main__":
    sys.exit(main())
