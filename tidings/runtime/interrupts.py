"""Signals that arrive before an event loop handles them.

The kernel drops SIGTERM for process 1 of a container if it has no handler. A pod that is deleted while Python loads
the drivers would then run until the end of its grace period.
"""

import os
import signal
from types import FrameType

_ENDINGS = (signal.SIGTERM, signal.SIGINT)


def end_at_signals(exit_code: int | None = None) -> None:
    """From now on SIGTERM and SIGINT end the process at once, even if threads are still running.

    For code that may stop at any point. Without `exit_code` the code is 128 + the signal's number, as in shells.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        os.write(2, b"stopped by a signal before the work was done\n")
        os._exit(128 + number if exit_code is None else exit_code)

    for number in _ENDINGS:
        signal.signal(number, end)
