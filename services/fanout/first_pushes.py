"""Whether a record is pushed for the first time, so that a repeated round pushes nothing twice. Pure."""

from tidings.broker.base import Record


class FirstPushes:
    """The highest pushed offset of each partition. Records of a partition are pushed in order."""

    __slots__ = ("_pushed",)

    def __init__(self) -> None:
        """No record was pushed yet."""
        self._pushed: dict[int, int] = {}

    def take(self, record: Record) -> bool:
        """Whether the record was not pushed yet. From then on it counts as pushed."""
        if record.offset <= self._pushed.get(record.partition, -1):
            return False
        self._pushed[record.partition] = record.offset
        return True

    def forget(self) -> None:
        """Drop all offsets, because the partitions were revoked or newly assigned."""
        self._pushed.clear()
