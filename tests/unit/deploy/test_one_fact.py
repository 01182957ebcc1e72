"""A fact is declared on one page: promises, laws, hazards, topics, tables and terms; and decisions have one form.

A fact is declared where a heading, a row of a table or an item of a list begins with its name. Other pages may cite it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidings.topics import TopicSizes, declared

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
DECISIONS = DOCS / "adr"
README_WORDS = 900
TITLE_WORDS = 10

SEMANTICS, ARCHITECTURE, GLOSSARY = "docs/SEMANTICS.md", "docs/ARCHITECTURE.md", "docs/GLOSSARY.md"


def pages() -> dict[str, str]:
    """The text of every page but history, by its path."""
    top = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    docs = [path for path in sorted(DOCS.rglob("*.md")) if DOCS / "history" not in path.parents]
    return {str(path.relative_to(ROOT)): path.read_text() for path in [*top, *docs]}


def topics_and_tables() -> set[str]:
    migrations = "".join(path.read_text() for path in (ROOT / "tidings/store/migrations").glob("*.cql"))
    tables = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", migrations))
    return tables | {topic.name for topic in declared(TopicSizes())}


def facts(text: str, stored: set[str]) -> Iterator[str]:
    """The names of the facts that a page declares. `stored`: the names of topics and tables."""
    head: str | None = None
    for line in text.splitlines():
        begin = _first_cell(line) if line.startswith("|") else _name_part(line)
        if not line.startswith("|"):
            head = None
        elif head is None:
            head = begin
            continue
        if begin is None:
            continue
        if found := re.match(r"\**([GH]\d+)\b", begin):
            yield found[1]
        elif found := re.match(r"\**[Ll]aw (\d+)\b(?! and| to|,)", begin):
            yield f"law {found[1]}"
        elif head == "law" and re.fullmatch(r"\d+", begin):
            yield f"law {begin}"
        elif head == "term" and re.search(r"\w", begin):
            yield f"term {begin}"
        elif re.match(r"\**`", begin):
            yield from (f"`{name}`" for name in re.findall(r"`([^`]+)`", begin) if name in stored)


def _first_cell(row: str) -> str:
    return row.strip("| ").split("|")[0].strip()


def _name_part(line: str) -> str | None:
    """What a heading or an item of a list begins with: the name alone, or the name before a colon or in bold."""
    if found := re.match(r"#+ (.+)", line):
        return found[1]
    if found := re.match(r"\s*(?:[-*]|\d+\.) (\*\*[^*]+\*\*|`[^`]+`:|[\w ]+:)", line):
        return found[1]
    return None


def declaring(stored: set[str]) -> dict[str, list[str]]:
    """The pages that declare each fact."""
    found: dict[str, list[str]] = {}
    for page, text in pages().items():
        for name in sorted(set(facts(text, stored))):
            found.setdefault(name, []).append(page)
    return found


def test_no_fact_is_declared_on_two_pages() -> None:
    twice = {name: where for name, where in declaring(topics_and_tables()).items() if len(where) > 1}
    assert twice == {}


def test_every_fact_is_declared_on_the_page_of_its_kind() -> None:
    stored = topics_and_tables()
    wanted = {f"G{number}" for number in range(1, 12)} | {f"H{number}" for number in range(1, 41)}
    wanted |= {f"law {number}" for number in range(1, 13)}
    places = {name: [SEMANTICS] for name in wanted} | {f"`{name}`": [ARCHITECTURE] for name in stored - {"blocks"}}
    found = declaring(stored)
    assert {name: found.get(name) for name in places} == places
    assert {page for name, where in found.items() if name.startswith("term ") for page in where} == {GLOSSARY}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("| | promise |\n|---|---|\n| G1 | an acked message is kept |", "G1"),
        ("### H12: a log that stood still", "H12"),
        ("### Law 5: a replay ignores later rows", "law 5"),
        ("| | law |\n|---|---|\n| law 5 | a replay ignores later rows |", "law 5"),
        ("| law | says |\n|---|---|\n| 5 | a replay ignores later rows |", "law 5"),
        ("- **G8**: watermarks never go back", "G8"),
        ("| table | key |\n|---|---|\n| `inbox` | a user |", "`inbox`"),
        ("- `inbox`: the rows of a user", "`inbox`"),
        ("| term | meaning |\n|---|---|\n| round | one pass |", "term round"),
    ],
)
def test_declared_fact_is_found(line: str, name: str) -> None:
    assert list(facts(f"# Page\n\n{line}\n", {"inbox"})) == [name]


@pytest.mark.parametrize(
    "line",
    [
        "Watermarks never go back (G8).",
        "- Watermarks never go back ([G8](docs/SEMANTICS.md#promises)).",
        "| case | input |\n|---|---|\n| 5 | a row of another table |",
        "Law 5 makes it invisible.",
        "- `inbox` is read by page.",
        "| call | does |\n|---|---|\n| `GET /v1/inbox` | a page |",
    ],
)
def test_cited_fact_is_not_declared(line: str) -> None:
    assert list(facts(f"# Page\n\n{line}\n", {"inbox"})) == []


def test_readme_has_at_most_900_words() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= README_WORDS


_TITLE, _STATUS = r"\A# \d+\. (.+)$", r"^- Status: (.+)$"


def decisions() -> list[Path]:
    return sorted(DECISIONS.glob("[0-9]*.md"))


def wrong_form(number: int, text: str) -> list[str]:
    """What a decision lacks of its form."""
    lines = [*text.splitlines(), "", "", ""]
    title = re.fullmatch(rf"# {number}\. (.+)", lines[0])
    status = re.fullmatch(r"- Status: (accepted|(?:superseded|amended) by [\d and,]+)", lines[3])
    wrong = {
        "title": title is None or len(title[1].split()) > TITLE_WORDS,
        "date": re.fullmatch(r"- Date: \d{4}-\d{2}-\d{2}", lines[2]) is None,
        "status": status is None,
        "sections": re.findall(r"^## (.+)$", text, re.MULTILINE) != ["Context", "Decision", "Consequences"],
        "amended in place": re.search(r"^(Later|No longer so):", text, re.MULTILINE) is not None,
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


def test_decisions_have_number_date_status_and_sections() -> None:
    wrong = {path.name: wrong_form(int(path.name[:4]), path.read_text()) for path in decisions()}
    assert {name: what for name, what in wrong.items() if what} == {}
    assert [int(path.name[:4]) for path in decisions()] == list(range(1, len(decisions()) + 1))


def test_decision_without_its_form_is_found() -> None:
    good = "# 7. A title\n\n- Date: 2026-11-24\n- Status: accepted\n\n## Context\n\n## Decision\n\n## Consequences\n"
    assert wrong_form(7, good) == []
    assert wrong_form(8, good) == ["title"]
    assert wrong_form(7, good.replace("2026-11-24", "today")) == ["date"]
    assert wrong_form(7, good.replace("accepted", "maybe")) == ["status"]
    assert wrong_form(7, good.replace("## Decision\n\n", "")) == ["sections"]
    assert wrong_form(7, good + "\nLater: another rule.\n") == ["amended in place"]


def test_list_of_decisions_is_that_of_their_pages() -> None:
    rows = []
    for path in decisions():
        title, status = (re.findall(found, path.read_text(), re.MULTILINE) for found in (_TITLE, _STATUS))
        rows.append(f"| [{path.name[:4]}]({path.name}) | {''.join(title)} | {''.join(status)} |")
    listed = [line for line in (DECISIONS / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert listed == rows
