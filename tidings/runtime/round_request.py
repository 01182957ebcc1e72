"""A round that a stage requests because it has other work than records, such as a timer that has run out."""

import asyncio


class RoundRequest:
    """Built before the stage, which makes requests, and before the worker, which runs a round for them."""

    __slots__ = ("_was_made", "arrived")

    def __init__(self) -> None:
        """No round is requested yet."""
        # The worker waits for this event. Records that arrive set it too.
        self.arrived = asyncio.Event()
        self._was_made = False

    def make(self) -> None:
        """Run a round soon even if no record has arrived."""
        self._was_made = True
        self.arrived.set()

    def take(self) -> bool:
        """Whether a round was requested since the last call."""
        was_made, self._was_made = self._was_made, False
        return was_made
