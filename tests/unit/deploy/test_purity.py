"""A module that calls itself pure is held to it by the import contract."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCES = (ROOT, ROOT / "sdk/python/src")
PACKAGES = ("cli", "services", "tidings", "tidings_client")


def says_pure(path: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return re.search(r"\b[Pp]ure\b", docstring) is not None


def named_modules() -> set[str]:
    paths = [(source, path) for source in SOURCES for name in PACKAGES for path in (source / name).rglob("*.py")]
    return {
        ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
        for source, path in paths
        if says_pure(path)
    }


def test_modules_that_say_pure_are_in_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = [one["source_modules"] for one in contracts if one["name"].startswith("Cores are pure")]
    outside = {name for name in named_modules() if not any(f"{name}.".startswith(f"{one}.") for one in pure)}
    assert outside == set()
