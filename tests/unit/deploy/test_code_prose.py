"""Docstrings, comments, log texts, error texts and the names of tests are plain English, in short sentences.

CONTRIBUTING.md has the rules, and prose.py has what is banned.
Run `python -m tests.unit.deploy.test_code_prose` to list what is above 25 words.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.unit.deploy.prose import MOST_WORDS, banned_in

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("services", "tidings", "sdk", "cli", "deploy", "benchmarks", "scripts", "tests")
GENERATED = ROOT / "tidings" / "wire"
PLANTED = ROOT / "scripts" / "planted"
TESTS = ROOT / "tests"
# Their strings hold what is banned. Their docstrings and comments are read.
CHECKERS = [Path(__file__).with_name(name) for name in ("prose.py", "test_code_prose.py", "test_docs_prose.py")]
WANTED_WORDS = 25
MOST_NAME_CHARACTERS = 60


_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|BEGIN)\b")
_PRAGMA = re.compile(r"^(noqa|type: ignore|fmt:)[^ ]*( [A-Z]+\d+,?)*( - )?|type: ignore\[[^]]*\]|fmt: skip")
_CODE_SPAN = re.compile(r"`[^`]*`")
_SENTENCE_END = re.compile(r"(?<=[.!?])[)\"'*]*\s+(?=[^a-z\s])")
_WORD = re.compile(r"[^\W_][\w'’.,/-]*")
# A line of a list, a table or a tree begins a block of its own.
_OWN_LINE = re.compile(r"^\s*([-*├└│|]|\d+\.\s|\w+ {2,}\S)")
_CODE_LINE = re.compile(r"^(async )?(with|for|try|finally|await|sent|stack|python)\b.*[():]$|^\s{4,}\S")


@dataclass(frozen=True, slots=True)
class Prose:
    """A docstring, a block of comments, a string with several words, or a name as words."""

    place: str
    text: str


def files() -> list[Path]:
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if GENERATED not in path.parents and "build" not in path.parts)


@cache
def all_prose() -> list[Prose]:
    """The prose of all files."""
    return [prose for path in files() for prose in prose_of(path)]


def prose_of(path: Path) -> Iterator[Prose]:
    """All prose of one file."""
    source, name = path.read_text(), str(path.relative_to(ROOT))
    tree = ast.parse(source)
    docstrings = dict(_docstrings(tree))
    for line, text in docstrings.items():
        yield Prose(f"{name}:{line}", text)
    for line, text in _comments(source):
        yield Prose(f"{name}:{line}", text)
    for line, text in _strings(tree, is_planted=PLANTED in path.parents) if path not in CHECKERS else ():
        if line not in docstrings:
            yield Prose(f"{name}:{line}", text)
    if TESTS in path.parents:
        yield Prose(name, _as_words(path.stem))
        yield from (Prose(f"{name}:{line}", _as_words(text)) for line, text in _names(tree))


def _docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names of functions and classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name


def _as_words(name: str) -> str:
    return name.strip("_").replace("_", " ")


def banned(prose: Prose) -> list[tuple[str, str]]:
    return list(banned_in(_CODE_SPAN.sub("x", prose.text)))


def long_test_names(tree: ast.AST) -> list[str]:
    return [name for _, name in _names(tree) if name.startswith("test_") and len(name) > MOST_NAME_CHARACTERS]


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Comments, with those on adjacent lines joined."""
    begin, last, block = 0, -2, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, text = token.start[0], _PRAGMA.sub("", token.string.lstrip("# ")).lstrip("# ")
        is_alone = not token.line[: token.start[1]].strip()
        if block and is_alone and line == last + 1:
            block.append(text)
        else:
            if block:
                yield begin, "\n".join(block)
            begin, block = line, [text]
        last = line if is_alone else -2
    if block:
        yield begin, "\n".join(block)


def _strings(tree: ast.AST, *, is_planted: bool) -> Iterator[tuple[int, str]]:
    """Strings with several words: log texts, error texts, help. Of planted bugs only the names, as edits are code."""
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    if is_planted:
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
        named = [node.args[0] for node in calls if isinstance(node.func, ast.Name) and node.func.id in ("bug", "Bug")]
        nodes: Iterator[ast.AST] = iter(named)
    else:
        nodes = ast.walk(tree)
    for node in nodes:
        text = ""
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
            text = "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            text = node.value
        if text.count(" ") >= 2 and not _STATEMENT.match(text) and "<" not in text[:1]:
            yield getattr(node, "lineno", 0), text


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text. Blank lines, lists and columns separate blocks; blocks of code are left out."""
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if block and (not line.strip() or _OWN_LINE.match(line)):
            yield from _SENTENCE_END.split(" ".join(block))
            block = []
        if line.strip() and not _CODE_LINE.match(line):
            block.append(line.strip())


def words(sentence: str) -> int:
    """The number of words. A code span counts as one."""
    return len(_WORD.findall(_CODE_SPAN.sub("x", sentence)))


def test_prose_has_no_banned_words() -> None:
    found = [
        f"{prose.place}: {hit!r} in {' '.join(prose.text.split())[:100]!r}; instead: {instead}"
        for prose in all_prose()
        for hit, instead in banned(prose)
    ]
    assert not found, "\n".join(found)


def test_prose_has_no_long_sentences() -> None:
    found = [
        f"{prose.place}: {count} words: {sentence[:100]!r}"
        for prose in all_prose()
        for sentence in sentences(prose.text)
        if (count := words(sentence)) > MOST_WORDS
    ]
    assert not found, "\n".join(found)


def test_names_of_tests_have_at_most_60_characters() -> None:
    found = [f"{path}: {name}" for path in files() for name in long_test_names(ast.parse(path.read_text()))]
    assert not found, "\n".join(found)


def test_name_of_61_characters_is_found() -> None:
    assert long_test_names(ast.parse(f"def test_{'x' * 55}() -> None: ...")) == []
    assert long_test_names(ast.parse(f"async def test_{'x' * 56}() -> None: ...")) == [f"test_{'x' * 56}"]


def test_banned_words_in_the_name_of_a_test_are_found() -> None:
    (name,) = _names(ast.parse("async def test_nobody_asks() -> None: ..."))
    assert [hit for hit, _ in banned_in(_as_words(name[1]))] == ["nobody"]


def test_log_lines_name_the_action() -> None:
    assert [str(path) for path in files() if path not in CHECKERS and "way_on" in path.read_text()] == []


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('"""Whoever asks is told."""\n', "Whoever"),
        ("x = 1  # nobody reads it\n", "nobody"),
        ("# of a first line\n# everybody reads it\n", "everybody"),
        ('raise ValueError("the producer is thrown away")\n', "thrown away"),
        ('log.warning(f"a consumer joins {x} anew")\n', "anew"),
    ],
)
def test_banned_words_are_found_in_every_kind_of_prose(source: str, text: str) -> None:
    found = [hits[0] for prose in _prose(source) if (hits := [hit for hit, _ in banned_in(prose)])]
    assert found == [text]


def test_sentences_are_counted_across_lines() -> None:
    text = "One two three\nfour five. Six `a b c` seven.\n\n- eight nine\n- ten"
    assert [words(sentence) for sentence in sentences(text)] == [5, 3, 2, 1]


def _prose(source: str) -> list[str]:
    tree = ast.parse(source)
    docstrings = dict(_docstrings(tree))
    strings = [text for line, text in _strings(tree, is_planted=False) if line not in docstrings]
    return [*docstrings.values(), *(text for _, text in _comments(source)), *strings]


def main() -> None:
    """Print what is above WANTED_WORDS, and the number of sentences and banned words in each folder."""
    for folder in sys.argv[1:] or FOLDERS:
        total = long = found = 0
        for path in files():
            if not str(path.relative_to(ROOT)).startswith(folder):
                continue
            for prose in prose_of(path):
                found += len(banned(prose))
                for sentence in sentences(prose.text):
                    total += 1
                    if words(sentence) > WANTED_WORDS:
                        long += 1
                        sys.stdout.write(f"{prose.place}: {words(sentence)}: {sentence}\n")
        sys.stdout.write(f"{folder}: {total} sentences, {long} above {WANTED_WORDS} words, {found} banned\n")


if __name__ == "__main__":
    main()
