"""The `tidings` command: verbs for operators on the log and the tables, and chat verbs through the SDK."""

import sys

from tidings.runtime.interrupts import end_at_signals


def main() -> None:
    """Entry point of `tidings` and of `python -m cli`."""
    if sys.argv[1:2] == ["init"]:
        # Each step of `init` may be cut off and repeated, and otherwise a driver's thread would still wait for its
        # server. Called before the imports, because process 1 of a container has no signal handlers.
        end_at_signals()
    from cli import app

    app.main()
