"""The text printed after the start of Tidings: a table, and one command to paste."""

import shlex
from collections.abc import Sequence
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:8080"


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_first_steps(url: str) -> None:
    """Print how to send a first message to a gateway at this URL."""
    there = "" if url == DEFAULT_URL else f" --url {url}"
    print("\nSend a first message, and read the echo's answer:\n")
    print(f'  .venv/bin/tidings send{there} --from alice --to echo --until answer "hello"\n')
    print(f"or talk to it: .venv/bin/tidings chat{there} --as alice --with echo\n", flush=True)


def print_settings(file: Path) -> None:
    """Print how to make the operators' verbs use the stack whose settings are in this file."""
    print("For `tidings seed`, `archive` and the other verbs of operators, paste this into their shell first:\n")
    print(f"  source {shlex.quote(str(file))}\n", flush=True)
