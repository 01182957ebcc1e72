"""A law taken away."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noticed:
    """The first seed of the simulation that noticed a bug, and its assertion, as `make planted` last printed them."""

    seed: int
    assertion: str


@dataclass(frozen=True, slots=True)
class Bug:
    """What is planted where, the hazards that it lets in, and the tests (without parameters) that must fail."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]
    hazards: tuple[str, ...] = ()
    noticed: Noticed | None = None


def bug(
    name: str,
    file: str,
    old: str,
    new: str,
    *tests: str,
    hazards: tuple[str, ...] = (),
    noticed: Noticed | None = None,
) -> Bug:
    """With a single edit."""
    return Bug(name, file, ((old, new),), tests, hazards, noticed)
