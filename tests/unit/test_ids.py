"""Identifiers."""

import uuid

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from tidings import ids


@given(st.binary(max_size=40))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert ids.murmur2(data) == murmur2(data) & 0xFFFFFFFF


@given(st.integers(0, 63), st.integers(0, 1023), st.integers(0, 2**47 - 1))
def test_a_message_id_says_where_its_command_stands_and_is_a_positive_int64(
    epoch: int, partition: int, offset: int
) -> None:
    number = ids.message_id(epoch, partition, offset)
    assert ids.split_message_id(number) == (epoch, partition, offset)
    assert 0 <= number < 2**63


@given(st.uuids() | st.uuids(version=4))
def test_only_uuids_of_version_7_have_a_time(any_uuid: uuid.UUID) -> None:
    is_seven = any_uuid.version == 7 and any_uuid.variant == uuid.RFC_4122
    assert (ids.uuid7_time_ms(str(any_uuid)) is not None) == is_seven


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**62 - 1))
def test_the_time_of_a_uuid7_is_its_first_48_bits(time_ms: int, rest: int) -> None:
    number = time_ms << 80 | 7 << 76 | (rest >> 50 & 0xFFF) << 64 | 2 << 62 | rest
    text = str(uuid.UUID(int=number))
    assert ids.uuid7_time_ms(text) == time_ms
    assert ids.uuid7_time_ms(text.upper()) == time_ms
    assert ids.uuid7_time_ms(text.replace("-", "")) is None
    assert ids.uuid7_time_ms("{" + text + "}") is None


def test_a_direct_session_is_the_same_whoever_opens_it() -> None:
    assert ids.direct_session("bob", "alice") == ids.direct_session("alice", "bob") == "d:alice:bob"
    assert ids.direct_users("d:alice:bob") == ("alice", "bob")
    assert ids.direct_users("d:alice:alice") == ("alice",)


def test_what_is_no_session_id_has_no_users() -> None:
    for text in ("d:bob:alice", "d:a", "d:a:b:c", "d::a", "g:abc", "", "d:a:ü", "x:a:b"):
        assert ids.direct_users(text) == ()
        assert ids.is_session_id(text) == (text == "g:abc")


def test_months_are_utc() -> None:
    assert ids.month_of(1_795_435_200_000) == 202611
    assert ids.month_of(0) == 197001
