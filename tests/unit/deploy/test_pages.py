"""Pages that can go stale are held against what they speak of."""

import re
from pathlib import Path

from scripts import field_cases, reference_tables, semantics
from scripts.marks import marked_tests
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


def test_tables_of_settings_and_metrics_match_the_code() -> None:
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


def test_generated_parts_of_semantics_match_the_sources() -> None:
    text = semantics.PAGE.read_text()
    assert text == semantics.page(text), "stale: run `python -m scripts.semantics`"
    assert "<!-- end of planted -->" in text


def test_every_promise_and_hazard_has_a_row_and_a_test() -> None:
    rows = semantics.rows(semantics.PAGE.read_text())
    assert len(rows) == len(set(rows))
    wanted = {f"G{number}" for number in range(1, 12)} | {f"H{number}" for number in range(1, 37)}
    assert wanted - set(rows) == set()
    assert set(rows) ^ semantics.tests_of_rows().keys() == set()


def test_every_law_is_a_heading_of_semantics() -> None:
    laws = re.findall(r"^### Law (\d+): ", semantics.PAGE.read_text(), re.MULTILINE)
    assert laws == [str(number) for number in range(1, 13)]


def test_page_of_field_cases_is_that_of_the_marks() -> None:
    assert field_cases.PAGE.read_text() == field_cases.page(), "stale: run `python -m scripts.field_cases`"


def test_every_field_case_has_a_test() -> None:
    assert field_cases.CASES.keys() - marked_tests(field_cases.MARK).keys() == set()


def test_planted_bugs_fit_the_source_and_name_existing_tests() -> None:
    unfit = [(one.name, old) for one in BUGS for old, _ in one.edits if old not in (ROOT / one.file).read_text()]
    assert unfit == []
    named = {tuple(test.split("::")) for one in BUGS for test in one.tests}
    assert {(file, name) for file, name in named if f"def {name}(" not in (ROOT / file).read_text()} == set()


def test_architecture_page_names_every_topic_and_table() -> None:
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
