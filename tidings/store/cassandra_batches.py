"""How the rows of one write become batches. Pure.

Per-request overhead is the cost that matters (FIELD-NOTES), so a batch groups
partitions, as long as they share their replicas. It never cuts a mutation of rows in an order.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from tidings.store.base import TaggedRow
from tidings.store.rows import Row, row_bytes
from tidings.store.statements import ROW_CLASSES

# Well below the server's threshold of 1 MiB also when a mutation of 512 KiB comes on top.
BATCH_BYTES = 256 * 1024
BATCH_ROWS = 100
# Above what rows in an order have by law 2 (MUTATION_BYTES, by the same measure), so that only side rows are ever
# cut. One row stays one.
_MUTATION_BYTES = 768 * 1024

_PARTITION_KEY: dict[type[Row], Callable[[Any], Hashable]] = {
    row_class: attrgetter(*row_class.partition_key) for row_class in ROW_CLASSES
}


def batches(rows: Sequence[TaggedRow], replica_set: Callable[[Row], Hashable]) -> Iterator[list[TaggedRow]]:
    """The batches of one write: rows of one replica set, whole mutations, bounded in bytes and rows.

    `replica_set` is asked once a mutation.
    """
    groups: dict[Hashable, list[list[TaggedRow]]] = {}
    for mutation in _mutations(rows):
        groups.setdefault(replica_set(mutation[0].row), []).append(mutation)
    for mutations in groups.values():
        yield from _packed(mutations)


def _mutations(rows: Sequence[TaggedRow]) -> Iterator[list[TaggedRow]]:
    """Rows by partition key value: two tables with the same one make one mutation."""
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
