"""Write the columns of tests and the table of planted bugs in docs/SEMANTICS.md; --check only looks.

The tests are found by their marks `promise`, `hazard` and `bad_input`. With numbers, the command prints the tests of
these rows instead, so that pytest can run them: `pytest $(python -m scripts.semantics G3 H10)`.
"""

import re
import sys
from collections import Counter
from collections.abc import Sequence

from scripts.marks import TESTS, MarkedTest, marked_tests
from scripts.pages import ROOT, filled, table, write_or_check
from scripts.planted.bug import Bug
from scripts.planted.tables import BUGS

PAGE = ROOT / "docs" / "SEMANTICS.md"
# The mark of a row's tests, by the letter that the row's number begins with.
MARKS = {"G": "promise", "H": "hazard", "B": "bad_input"}


def tests_of_rows() -> dict[str, list[MarkedTest]]:
    """The tests of each promise, hazard and bad input. Raises ValueError for a mark with the number of another kind."""
    found: dict[str, list[MarkedTest]] = {}
    for letter, mark in MARKS.items():
        tests = marked_tests(mark)
        foreign = [number for number in tests if not number.startswith(letter)]
        if foreign:
            raise ValueError(f"the mark {mark} takes numbers such as {letter}1, not {foreign}")
        found |= tests
    return found


def rows(text: str) -> list[str]:
    """The numbers of the page's promises, hazards and bad inputs, in its order."""
    return re.findall(rf"^\| ([{''.join(MARKS)}]\d+) \|", text, re.MULTILINE)


def page(text: str) -> str:
    """The page with its last columns and its table of planted bugs as the sources are now."""
    tests = tests_of_rows()

    def with_tests(row: re.Match[str]) -> str:
        return f"{row[1]} {_modules(tests.get(row[2], ()))} |"

    text = re.sub(rf"^(\| ([{''.join(MARKS)}]\d+) \|.*\|) [^|]*\|$", with_tests, text, flags=re.MULTILINE)
    return filled(text, {"planted": planted_table})


def planted_table() -> str:
    """Every bug that can be planted: its hazards, and the seed and the assertion, or the tests, that notice it."""
    return table(("planted bug", "hazard", "seed", "noticed by"), [_planted_row(one) for one in BUGS])


def _planted_row(one: Bug) -> Sequence[str]:
    hazards = ", ".join(one.hazards) or "–"
    if one.noticed is None:
        return one.name, hazards, "–", _modules([_named(test) for test in one.tests])
    return one.name, hazards, str(one.noticed.seed), one.noticed.assertion


def _named(test: str) -> MarkedTest:
    file, name = test.split("::")
    return MarkedTest(ROOT / file, name)


def _modules(tests: Sequence[MarkedTest]) -> str:
    """The files of the tests as a reader looks for them, each with its number of tests where it has several."""
    counts = Counter(_module(test) for test in tests)
    return " · ".join(f"`{module}`" + (f" ({count})" if count > 1 else "") for module, count in counts.items())


def _module(test: MarkedTest) -> str:
    """`persister/sequence` for tests/unit/persister/test_sequence.py; another tier than unit is named."""
    path = test.file.relative_to(TESTS)
    return str(path.with_name(path.stem.removeprefix("test_"))).removeprefix("unit/")


def main() -> int:
    numbers = [argument for argument in sys.argv[1:] if argument[:1] in MARKS]
    if not numbers:
        return write_or_check(PAGE, lambda: page(PAGE.read_text()), "scripts.semantics", __doc__)
    tests = tests_of_rows()
    for one in dict.fromkeys(test for number in numbers for test in tests.get(number, ())):
        print(f"{one.file.relative_to(ROOT)}::{one.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
