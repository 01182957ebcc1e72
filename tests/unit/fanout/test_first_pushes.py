"""First pushes: which records of a repeated round are pushed."""

from services.fanout.first_pushes import FirstPushes
from tidings.broker.base import Record
from tidings.topics import DELIVERIES


def record(offset: int, partition: int = 0) -> Record:
    return Record(DELIVERIES, partition, offset, 0, None, b"")


def test_a_repeated_round_pushes_its_new_records_only() -> None:
    pushes = FirstPushes()
    assert [pushes.take(record(offset)) for offset in (0, 1)] == [True, True]
    assert [pushes.take(record(offset)) for offset in (0, 1, 2)] == [False, False, True]


def test_each_partition_has_its_own_offset() -> None:
    pushes = FirstPushes()
    assert pushes.take(record(7, partition=0))
    assert pushes.take(record(3, partition=1))


def test_records_are_pushed_again_after_a_revocation() -> None:
    pushes = FirstPushes()
    assert pushes.take(record(7))
    pushes.forget()
    assert pushes.take(record(7))
