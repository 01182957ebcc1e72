"""Identifiers."""

import uuid

import pytest
from aiokafka.partitioner import DefaultPartitioner, murmur2
from hypothesis import given
from hypothesis import strategies as st

from tidings import ids


@given(st.binary(max_size=200))
def test_murmur2_is_kafkas(data: bytes) -> None:
    assert ids.murmur2(data) == murmur2(data) & 0xFFFFFFFF


@given(st.text(min_size=1, max_size=80).filter(lambda text: text.isprintable()), st.integers(1, 300))
def test_the_partition_is_the_default_partitioners(identifier: str, partitions: int) -> None:
    """Which any Kafka client chooses."""
    everything = list(range(partitions))
    assert ids.partition_of(identifier, partitions) == DefaultPartitioner()(identifier.encode(), everything, everything)


@given(st.integers(0, 63), st.integers(0, 1023), st.integers(0, 2**47 - 1))
def test_a_message_id_holds_the_place_of_its_command(epoch: int, partition: int, offset: int) -> None:
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


def test_direct_session_is_the_same_from_either_side() -> None:
    assert ids.direct_session("bob", "alice") == ids.direct_session("alice", "bob") == "d:alice:bob"
    assert ids.direct_users("d:alice:bob") == ("alice", "bob")
    assert ids.direct_users("d:alice:alice") == ("alice",)


def test_text_that_is_no_session_id_has_no_users() -> None:
    for text in ("d:bob:alice", "d:a", "d:a:b:c", "d::a", "g:abc", "", "d:a:ü", "x:a:b"):
        assert ids.direct_users(text) == ()
        assert ids.is_session_id(text) == (text == "g:abc")


def test_months_are_utc() -> None:
    assert ids.month_of(1_795_435_200_000) == 202611
    assert ids.month_of(0) == 197001


DOTS = st.integers(1, 64).map(lambda count: "." * count)
SOME_ID = st.text("abzAZ09_.@-", min_size=1, max_size=64)


@pytest.mark.field_case("1")
@given(DOTS)
def test_id_of_dots_only_is_no_id(dots: str) -> None:
    assert not ids.is_user_id(dots)
    for session_id in (ids.direct_session(dots, "bob"), f"d:{dots}:{dots}", ids.direct_session("...", dots)):
        assert not ids.is_session_id(session_id)
        assert ids.direct_users(session_id) == ()
    assert not ids.is_session_id(f"g:{dots}")


@given(SOME_ID)
def test_text_with_anything_but_dots_is_an_id(text: str) -> None:
    assert ids.is_user_id(text) == bool(text.strip("."))


@given(SOME_ID, SOME_ID)
def test_logged_ids_are_those_of_the_first_builds(one: str, other: str) -> None:
    session_id = ids.direct_session(one, other)
    assert ids.is_logged_user_id(one)
    assert ids.is_logged_session_id(session_id)
    assert {*ids.logged_direct_users(session_id)} == {one, other}
    if ids.is_session_id(session_id):
        assert ids.direct_users(session_id) == ids.logged_direct_users(session_id)


def test_month_bounds_are_those_of_the_calendar() -> None:
    assert ids.month_of(ids.month_end_ms(202512)) == 202601
    assert ids.month_of(ids.month_end_ms(202512) - 1) == 202512
    assert ids.month_of(ids.month_begin_ms(202602)) == 202602
    assert ids.month_of(ids.month_begin_ms(202602) - 1) == 202601
