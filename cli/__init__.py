"""The `tidings` command: operators' verbs on the log and the tables, and chat verbs through the SDK."""

import sys

from tidings.runtime.interrupts import end_at_signals


def main() -> None:
    """Entry point of `tidings` and of `python -m cli`."""
    if sys.argv[1:2] == ["init"]:
        # Each of its steps may be cut off and repeated, and a driver's thread would go on waiting for its server.
        # Before the imports: process 1 of a container has no handlers of its own.
        end_at_signals()
    from cli import app

    app.main()
