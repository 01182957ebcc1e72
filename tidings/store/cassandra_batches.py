"""Groups the rows of one write into batches. Pure.

The overhead per request is the main cost (FIELD-NOTES). So a batch groups partitions
that share their replicas. A mutation of ordered rows is never cut.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from tidings.store.base import TaggedRow
from tidings.store.rows import Row, row_bytes
from tidings.store.statements import ROW_CLASSES

# Well below the server's threshold of 1 MiB, even with a mutation of 512 KiB on top.
BATCH_BYTES = 256 * 1024
BATCH_ROWS = 100
# Above the bound of ordered rows (MUTATION_BYTES, by the same measure), so that only unordered rows are ever cut. A
# single row is never cut. The bound is part of law 2 (what belongs to one key is written in order).
_MUTATION_BYTES = 768 * 1024

_PARTITION_KEY: dict[type[Row], Callable[[Any], Hashable]] = {
    row_class: attrgetter(*row_class.partition_key) for row_class in ROW_CLASSES
}


def batches(rows: Sequence[TaggedRow], replica_set: Callable[[Row], Hashable]) -> Iterator[list[TaggedRow]]:
    """The batches of one write: rows of one replica set, whole mutations, bounded in bytes and rows.

    `replica_set` is called once per mutation.
    """
    groups: dict[Hashable, list[list[TaggedRow]]] = {}
    for mutation in _mutations(rows):
        groups.setdefault(replica_set(mutation[0].row), []).append(mutation)
    for mutations in groups.values():
        yield from _packed(mutations)


def _mutations(rows: Sequence[TaggedRow]) -> Iterator[list[TaggedRow]]:
    """Rows by partition key value. Rows of two tables with the same value make one mutation."""
    by_key: dict[Hashable, list[TaggedRow]] = {}
    for tagged in rows:
        by_key.setdefault(_PARTITION_KEY[type(tagged.row)](tagged.row), []).append(tagged)
    for mutation in by_key.values():
        yield from _cut(mutation) if len(mutation) > 1 else (mutation,)


def _cut(mutation: list[TaggedRow]) -> Iterator[list[TaggedRow]]:
    start, size_bytes = 0, 0
    for index, tagged in enumerate(mutation):
        size_bytes += row_bytes(tagged.row)
        if size_bytes > _MUTATION_BYTES and index > start:
            yield mutation[start:index]
            start, size_bytes = index, row_bytes(tagged.row)
    yield mutation[start:]


def _packed(mutations: Sequence[list[TaggedRow]]) -> Iterator[list[TaggedRow]]:
    batch: list[TaggedRow] = []
    batch_bytes = 0
    for mutation in mutations:
        size_bytes = sum(row_bytes(tagged.row) for tagged in mutation)
        if batch and (batch_bytes + size_bytes > BATCH_BYTES or len(batch) + len(mutation) > BATCH_ROWS):
            yield batch
            batch, batch_bytes = [], 0
        batch.extend(mutation)
        batch_bytes += size_bytes
    if batch:
        yield batch
