"""The pages are written in plain English: no sentence above 30 words, no construction that STYLE bans.

Tables and code have no bound of words. Code, link targets and text in quotation marks may hold any words.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.deploy.prose import MOST_WORDS, banned_in

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"


class Block(NamedTuple):
    """A paragraph, a list item, a heading, or a row of a table, without code and link targets."""

    page: str
    line: int
    text: str
    is_table: bool


def pages() -> list[Path]:
    """Every page that has to be plain English. History is dated, and the field cases are generated."""
    top = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    parts = [ROOT / "benchmarks" / "README.md", ROOT / "sdk" / "python" / "README.md"]
    docs = [path for path in sorted(DOCS.rglob("*.md")) if DOCS / "history" not in path.parents]
    return [*top, *parts, *(path for path in docs if path.name != "FIELD-CASES.md")]


def blocks(page: str, markdown: str) -> Iterator[Block]:
    """The prose of a page, block by block."""
    held: list[str] = []
    first, is_code = 1, False
    for number, line in enumerate([*markdown.splitlines(), ""], 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        text = "" if is_code or line.lstrip().startswith(("```", "<!--")) else line.strip()
        is_row = text.startswith("|")
        begins = is_row or re.match(r"(?:[-*]|\d+\.|#+|>) ", text) is not None
        if held and (begins or not text):
            yield Block(page, first, _plain(" ".join(held)), is_table=False)
            held = []
        if is_row:
            cells = [cell.strip() for cell in text.strip("|").split(" | ")]
            yield from (Block(page, number, _plain(cell), is_table=True) for cell in cells if not _is_italic(cell))
        elif text:
            first = first if held else number
            held.append(text)


def _is_italic(cell: str) -> bool:
    """As the words that the glossary avoids."""
    return re.fullmatch(r"\*[^*]+\*", cell) is not None


def _plain(text: str) -> str:
    text = re.sub(r"(`+).+?\1", "Code", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"[\"“][^\"”]*[\"”]", "Quotation", text)
    return re.sub(r"^(?:(?:[-*]|\d+\.|#+|>) +)+", "", text.replace("**", "").replace("*", "").strip())


def sentences(block: Block) -> list[str]:
    """A sentence ends with a full stop, an exclamation or a question mark before a capital letter or a figure."""
    return re.split(r"(?<=[.!?…])[)\]]?\s+(?=[(\[]?[A-Z0-9])", block.text)


def words(sentence: str) -> int:
    return sum(any(sign.isalnum() for sign in word) for word in sentence.split())


def too_long(found: Iterable[Block]) -> list[str]:
    return [
        f"{block.page}:{block.line}: {words(one)} words, at most {MOST_WORDS}: {one[:70]}…"
        for block in found
        if not block.is_table
        for one in sentences(block)
        if words(one) > MOST_WORDS
    ]


def banned(found: Iterable[Block]) -> list[str]:
    return [
        f"{block.page}:{block.line}: {hit!r}; instead: {instead}"
        for block in found
        for hit, instead in banned_in(block.text)
    ]


def all_blocks() -> list[Block]:
    return [one for page in pages() for one in blocks(str(page.relative_to(ROOT)), page.read_text())]


def test_pages_have_no_sentence_above_30_words() -> None:
    found = too_long(all_blocks())
    assert not found, "\n".join(found)


def test_pages_hold_no_banned_construction() -> None:
    found = banned(all_blocks())
    assert not found, "\n".join(found)


def test_reader_of_pages_finds_prose_on_every_page() -> None:
    found = {block.page for block in all_blocks() if not block.is_table and words(block.text) > 5}
    assert found >= {str(page.relative_to(ROOT)) for page in pages()}


LONG = " ".join(["word"] * 31)


@pytest.mark.parametrize(
    "markdown",
    [
        f"{LONG}.",
        f"Short. {LONG}. Short.",
        f"- {LONG}",
        f"  1. {LONG}",
        "word " * 20 + "\n" + "word " * 11,
        f"`code` {LONG}",
        f"[{LONG}](target)",
    ],
)
def test_sentence_of_31_words_is_found(markdown: str) -> None:
    assert len(too_long(blocks("page", markdown))) == 1


@pytest.mark.parametrize(
    "markdown",
    [
        f"```\n{LONG}\n```",
        f"| {LONG} | {LONG} |",
        f"Short `{LONG}`.",
        f"<!-- {LONG} -->",
        "word " * 20 + "end. Second " + "word " * 20,
        "word " * 20 + "\n\n" + "word " * 20,
        "- " + "word " * 20 + "\n- " + "word " * 20,
    ],
)
def test_tables_code_and_short_sentences_are_not_found(markdown: str) -> None:
    assert too_long(blocks("page", markdown)) == []


@pytest.mark.parametrize(
    "text",
    [
        "Whoever asks is refused.",
        "| cell | Nobody reads it |",
        "A peer, of whom the gateway has nothing, is left out.",
        "The consumer joins anew.",
        "The producer is thrown away.",
        "The author is told of it.",
        "The round in hand is dropped.",
        "Who was removed gets nothing.",
        "The gateway knows its members.",
        "A member changes the own role.",
        "To a stranger the session looks missing.",
        "The round is repeated for ever.",
        "The other partitions go on.",
    ],
)
def test_banned_construction_is_found(text: str) -> None:
    assert len(banned(blocks("page", text))) == 1


def test_banned_words_in_code_are_not_found() -> None:
    assert banned(blocks("page", "Read `whoever` and [the page](nobody.md).")) == []
