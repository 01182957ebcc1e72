"""What the archiver moves and removes, and when. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArchiveRules:
    """What moves when, in days. `retention_days` 0: messages are kept without end. `messages_per_s` 0: no limit."""

    hot_days: float = 90.0
    hot_copy_days: float = 0.0
    retention_days: float = 0.0
    messages_per_s: int = 0
    object_bytes: int = 4 * 1024 * 1024
    is_dry_run: bool = False
