"""What the scripts that write pages share: the command with its `--check`, tables, and parts between markers."""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write_or_check(page: Path, fresh: Callable[[], str], module: str, description: str | None) -> int:
    """Write the page; with `--check` on the command line, only print whether it is stale. Returns the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is stale")
    is_check = parser.parse_args().check
    text = fresh()
    if not is_check:
        page.write_text(text)
        return 0
    is_stale = text != page.read_text()
    if is_stale:
        print(f"{page.relative_to(ROOT)} is stale: run `python -m {module}`", file=sys.stderr)
    return int(is_stale)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown. A bar inside a cell is written as a sign that looks like one."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '∣') for cell in line)} |" for line in lines)


def filled(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The page with each table between its two marker lines; KeyError for a marker that names no table."""

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}\n\n{tables[found[2]]()}\n\n{found[3]}"

    return re.sub(r"(<!-- generated: (\w+) .*?-->).*?(<!-- end of \2 -->)", fill, text, flags=re.DOTALL)
