"""What is hot and what is cold, by month."""

from dataclasses import dataclass

from tidings.cold.listing import pages
from tidings.store.archive_tables import ArchiveTables, Shard


@dataclass(slots=True)
class MonthReport:
    """One month. Of unfinished shards `messages` counts the cold segments only, and `object_bytes` nothing."""

    month: int
    shards: int = 0
    shards_finished: int = 0
    segments: int = 0
    cold: int = 0
    hot_copies: int = 0
    messages: int = 0
    object_bytes: int = 0


async def report(tables: ArchiveTables) -> list[MonthReport]:
    """Every month that has segments, oldest first. Reads the index of unfinished shards."""
    finished = {Shard(row.month, row.shard): row for row in await tables.archived_shards()}
    months: dict[int, MonthReport] = {}
    for shard in await tables.indexed_shards():
        one = months.setdefault(shard.month, MonthReport(shard.month))
        one.shards += 1
        if row := finished.get(shard):
            one.shards_finished += 1
            one.segments += row.segments
            one.cold += row.segments
            one.messages += row.messages
            one.object_bytes += row.object_bytes
            continue
        async for page in pages(tables, shard):
            one.segments += len(page)
            cold = [found for found in page if found.segment.cold is not None]
            one.cold += len(cold)
            one.hot_copies += sum(not found.is_dropped for found in cold)
            one.messages += sum(found.segment.cold.rows for found in cold if found.segment.cold)
    return list(months.values())
