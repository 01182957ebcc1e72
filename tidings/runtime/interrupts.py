"""Signals before a loop listens for them.

The kernel drops SIGTERM for process 1 of a container that has no handler, so a pod that is deleted while Python
loads the drivers would be killed at the end of its grace period.
"""

import os
import signal
from types import FrameType

_ENDINGS = (signal.SIGTERM, signal.SIGINT)


def end_at_signals(exit_code: int | None = None) -> None:
    """From now on SIGTERM and SIGINT end the process at once, whatever its threads do.

    For code that may stop anywhere. Without `exit_code` it is 128 + the number of the signal, as shells have it.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        os.write(2, b"stopped by a signal before the work was done\n")
        os._exit(128 + number if exit_code is None else exit_code)

    for number in _ENDINGS:
        signal.signal(number, end)
