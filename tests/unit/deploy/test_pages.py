"""Pages that can go stale are held against what they speak of."""

import re
from pathlib import Path

from scripts import field_cases, reference_tables
from scripts.planted.tables import BUGS
from tidings.topics import TopicSizes, declared

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP), *sorted(DOCS.rglob("*.md"))]


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them from headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_tables_of_settings_and_metrics_are_those_of_the_code() -> None:
    text = reference_tables.PAGE.read_text()
    assert text == reference_tables.page(text), "stale: run `python -m scripts.reference_tables`"
    assert "TIDINGS_KAFKA_BOOTSTRAP" in text
    assert "tidings_rounds_total" in text


def test_links_between_pages_lead_somewhere() -> None:
    dead = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            path, _, anchor = target.partition("#")
            if "://" in target:
                continue
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in headings(file)):
                dead.append(f"{page.name}: {target}")
    assert dead == []


def test_every_test_that_the_semantics_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "SEMANTICS.md").read_text()))
    files = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    written = {name for text in files for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)}
    assert named - written == set()
    assert len(named) > 50


def test_page_of_field_cases_is_that_of_the_marks() -> None:
    assert field_cases.PAGE.read_text() == field_cases.page(), "stale: run `python -m scripts.field_cases`"


def test_every_field_case_has_a_test() -> None:
    held = field_cases.marked(sorted(field_cases.TESTS.rglob("test_*.py")))
    assert field_cases.CASES.keys() - held.keys() == set()


def test_every_bug_that_can_be_planted_fits_the_source_and_names_tests_that_exist() -> None:
    unfit = [(one.name, old) for one in BUGS for old, _ in one.edits if old not in (ROOT / one.file).read_text()]
    assert unfit == []
    named = {tuple(test.split("::")) for one in BUGS for test in one.tests}
    assert {(file, name) for file, name in named if f"def {name}(" not in (ROOT / file).read_text()} == set()


def test_every_promise_and_every_hazard_has_a_row() -> None:
    text = (DOCS / "SEMANTICS.md").read_text()
    wanted = {f"G{number}" for number in range(1, 12)} | {f"H{number}" for number in range(1, 37)}
    assert wanted - set(re.findall(r"^\| ([GH]\d+) \|", text, re.MULTILINE)) == set()


def test_the_architecture_page_names_every_topic_and_every_table() -> None:
    text = (DOCS / "ARCHITECTURE.md").read_text()
    migrations = "".join(path.read_text() for path in (ROOT / "tidings/store/migrations").glob("*.cql"))
    tables = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", migrations))
    topics = {topic.name for topic in declared(TopicSizes())}
    assert {name for name in tables | topics if f"`{name}`" not in text} == set()


def test_every_runbook_heading_that_the_code_points_to_exists() -> None:
    sources = [path for folder in ("tidings", "services") for path in (ROOT / folder).rglob("*.py")]
    pointed = {name for path in sources for name in re.findall(r"docs/OPERATIONS\.md, ([A-Z][\w ]+)", path.read_text())}
    assert pointed
    assert {name for name in pointed if f"### {name}\n" not in (DOCS / "OPERATIONS.md").read_text()} == set()
