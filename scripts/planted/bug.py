"""The definition of a planted bug."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """Edits of one file, and the tests (without parameters) that must fail with them."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def bug(name: str, file: str, old: str, new: str, *tests: str) -> Bug:
    """A bug with a single edit."""
    return Bug(name, file, ((old, new),), tests)
