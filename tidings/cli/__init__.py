"""The `tidings` command: operators' verbs on the log and the tables, and chat verbs through the SDK."""

from tidings.cli.app import main

__all__ = ["main"]
