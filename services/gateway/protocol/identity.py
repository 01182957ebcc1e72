"""The user of a connection or a call. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a verified token, and how long it is valid from now, leeway included."""

    user_id: str
    valid_for_ms: int
