"""What the archiver reads and changes."""

from typing import NamedTuple

from tidings.clock import Clock
from tidings.cold.closing import ClosingLog
from tidings.media.base import MediaStore
from tidings.store.archive_tables import ArchiveTables
from tidings.store.base import Store


class Ports(NamedTuple):
    """Tables, log, objects and time."""

    tables: ArchiveTables
    store: Store
    objects: MediaStore
    closing: ClosingLog
    clock: Clock
