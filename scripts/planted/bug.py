"""A law taken away."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """What is planted where, and the tests (without parameters) that must fail."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def bug(name: str, file: str, old: str, new: str, *tests: str) -> Bug:
    """With a single edit."""
    return Bug(name, file, ((old, new),), tests)
