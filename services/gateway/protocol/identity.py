"""The user for whom a connection or a call acts. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a verified token, and how long the token stays valid from now, leeway included."""

    user_id: str
    valid_for_ms: int
