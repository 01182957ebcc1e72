"""Our partition of an id is the one that any Kafka client's default partitioner chooses."""

from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as their_murmur2
from hypothesis import given
from hypothesis import strategies as st

from tidings.ids import murmur2, partition_of


@given(st.binary(max_size=200))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == their_murmur2(data)


@given(st.text(min_size=1, max_size=80).filter(lambda text: text.isprintable()), st.integers(1, 300))
def test_the_partition_is_the_default_partitioners(identifier: str, partitions: int) -> None:
    everything = list(range(partitions))
    assert partition_of(identifier, partitions) == DefaultPartitioner()(identifier.encode(), everything, everything)
