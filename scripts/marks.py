"""Which tests carry a mark such as `field_case("3")` or `promise("G1")`, read from the source of the tests.

Pages name tests by their marks, so a test can be renamed or moved without touching a page.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.pages import ROOT

TESTS = ROOT / "tests"


@dataclass(frozen=True, slots=True)
class MarkedTest:
    """One test function, with its file."""

    file: Path
    name: str


def marked_tests(mark: str) -> dict[str, list[MarkedTest]]:
    """The tests that carry the mark, by each number it is given, in the order of files and lines."""
    found: dict[str, list[MarkedTest]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        for name, numbers in numbers_of_tests(file.read_text(), mark):
            for number in numbers:
                found.setdefault(number, []).append(MarkedTest(file, name))
    return found


def numbers_of_tests(source: str, mark: str) -> Iterator[tuple[str, list[str]]]:
    """Each test of a file with its numbers, those of its module and class among them."""
    yield from _tests_below(ast.parse(source).body, mark, [])


def _tests_below(body: Sequence[ast.stmt], mark: str, outer: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    shared = [*outer, *(number for one in body for number in _numbers(_assigned(one), mark))]
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _tests_below(node.body, mark, [*shared, *_numbers(node.decorator_list, mark)])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            yield node.name, list(dict.fromkeys([*shared, *_numbers(node.decorator_list, mark)]))


def _assigned(node: ast.stmt) -> Sequence[ast.expr]:
    """The marks that `pytestmark` gives to every test of the module or class."""
    match node:
        case (
            ast.Assign(targets=[ast.Name(id="pytestmark")], value=value)
            | ast.AnnAssign(target=ast.Name(id="pytestmark"), value=ast.expr() as value)
        ):
            return value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    return ()


def _numbers(expressions: Iterable[ast.expr], mark: str) -> list[str]:
    calls = [one for one in expressions if isinstance(one, ast.Call) and _is_mark(one.func, mark)]
    return [str(arg.value) for call in calls for arg in call.args if isinstance(arg, ast.Constant)]


def _is_mark(called: ast.expr, mark: str) -> bool:
    return isinstance(called, ast.Attribute) and called.attr == mark
