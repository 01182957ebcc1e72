"""The devices that count as connected."""

import pytest

from services.fanout.presence import Gateways, Presences
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.presence_pb2 import Presence, PresenceKey


def key(gateway: int, device: str = "phone") -> PresenceKey:
    return PresenceKey(user_id="alice", device_id=device, gateway=gateway)


def value(connection: str, epoch: int, since_ms: int = 0) -> Presence:
    return Presence(gateway_epoch=epoch, connection_id=connection, state=Presence.STATE_HERE, since_ms=since_ms)


def started(gateways: Gateways, ordinal: int, offset: int) -> None:
    gateways.apply(GatewayEvent(gateway=ordinal, state=GatewayEvent.STATE_STARTED), offset)


def goodbye(gateways: Gateways, ordinal: int, epoch: int, offset: int) -> None:
    gateways.apply(GatewayEvent(gateway=ordinal, state=GatewayEvent.STATE_GOODBYE, gateway_epoch=epoch), offset)


def presences(*epochs: tuple[int, int]) -> Presences:
    gateways = Gateways()
    for ordinal, offset in epochs:
        started(gateways, ordinal, offset)
    return Presences(gateways)


@pytest.mark.hazard("H11")
def test_late_gone_of_the_old_gateway_keeps_the_device_online() -> None:
    known = presences((1, 10), (2, 11))
    known.here(key(1), value("c1", 10), 0)
    known.here(key(2), value("c2", 11), 0)
    known.gone(key(1), value("c1", 10))
    assert known.gateways_of("alice") == {(2, 11)}


@pytest.mark.hazard("H11")
def test_gone_removes_only_its_own_connection() -> None:
    known = presences((1, 10))
    known.here(key(1), value("c1", 10), 0)
    known.here(key(1), value("c2", 10), 0)
    known.gone(key(1), value("c1", 10))
    assert known.gateways_of("alice") == {(1, 10)}


@pytest.mark.hazard("H12")
def test_presence_ends_by_no_clock() -> None:
    """There is no time in this module: only a higher start or a goodbye makes an epoch void."""
    gateways = Gateways()
    started(gateways, 1, 10)
    assert gateways.is_current(1, 10)
    started(gateways, 1, 20)
    assert not gateways.is_current(1, 10)


def test_goodbye_ends_a_gateway_epoch_and_a_start_begins_one() -> None:
    gateways = Gateways()
    started(gateways, 1, 10)
    goodbye(gateways, 1, 10, 15)
    assert not gateways.is_current(1, 10)
    started(gateways, 1, 16)
    assert gateways.is_current(1, 16)


def test_a_goodbye_of_an_older_epoch_leaves_the_newer_alone() -> None:
    gateways = Gateways()
    started(gateways, 1, 20)
    goodbye(gateways, 1, 10, 21)
    assert gateways.is_current(1, 20)


def test_presence_before_the_start_record_of_its_gateway_counts() -> None:
    known = presences((1, 10))
    known.here(key(1), value("c1", 30), 0)
    assert known.gateways_of("alice") == {(1, 30)}


@pytest.mark.parametrize(
    ("announced", "replaced"),
    [
        # (gateway, device, connection, since_ms) in the order of their records; the last one replaces these.
        ([(1, "phone", "c1", 0), (2, "phone", "c2", 0)], ["c1"]),
        ([(1, "phone", "c1", 0), (2, "phone", "c2", 0), (1, "phone", "c1", 0)], []),
        ([(1, "phone", "c1", 0), (1, "laptop", "c2", 0)], []),
        ([(1, "phone", "c1", 1_000), (2, "phone", "c2", 2_000)], ["c1"]),
        # A gateway that names no time.
        ([(1, "phone", "c1", 5), (2, "phone", "c2", 0)], ["c1"]),
    ],
)
def test_newer_connection_of_a_device_replaces_the_older(
    announced: list[tuple[int, str, str, int]], replaced: list[str]
) -> None:
    known = presences((1, 10), (2, 11))
    for gateway, device, connection, since_ms in announced:
        _, older = known.here(key(gateway, device), value(connection, 9 + gateway, since_ms), 0)
    assert [one.connection_id for one in older] == replaced


def test_users_of_revoked_partitions_are_dropped() -> None:
    known = presences((1, 10))
    known.here(key(1), value("c1", 10), 4)
    known.keep_only([5])
    assert known.gateways_of("alice") == set()


def test_late_here_of_a_void_gateway_hides_no_connection() -> None:
    known = presences((1, 20))
    known.here(key(1), value("new", 20), 0)
    _, older = known.here(key(1), value("old", 10), 0)
    assert not older
    assert known.gateways_of("alice") == {(1, 20)}


def test_connection_that_left_before_its_live_is_dropped() -> None:
    known = presences((1, 10), (2, 11))
    known.here(key(2), value("c2", 11), 0)
    late, _ = known.here(key(1), value("c1", 10), 0)
    assert known.is_known(late)
    known.gone(key(1), value("c1", 10))
    assert not known.is_known(late)


def test_gateway_is_running_from_its_start_to_its_goodbye() -> None:
    gateways = Gateways()
    started(gateways, 1, 10)
    started(gateways, 2, 11)
    started(gateways, 1, 20)
    assert sorted(gateways.current()) == [(1, 20), (2, 11)]
    goodbye(gateways, 2, 11, 21)
    goodbye(gateways, 1, 10, 22)
    assert sorted(gateways.current()) == [(1, 20)]


def test_restart_of_a_crashed_gateway_drops_its_connections() -> None:
    gateways = Gateways()
    started(gateways, 1, 10)
    started(gateways, 2, 11)
    known = Presences(gateways)
    known.here(key(1, "lost"), value("c1", 10), 0)
    known.here(key(2), value("c2", 11), 0)
    started(gateways, 1, 20)
    known.void(1)
    known.here(key(1, "late"), value("c3", 10), 0)
    assert [one.connection_id for one in known._by_user["alice"].values()] == ["c2"]
    goodbye(gateways, 2, 11, 21)
    known.void(2)
    assert not known._by_user
    assert not known._partitions


def test_an_older_connection_announced_late_replaces_none() -> None:
    """The device has left gateway 1 for gateway 2, whose record was appended first."""
    known = presences((1, 10), (2, 11))
    known.here(key(2), value("c2", 11, since_ms=2_000), 0)
    _, replaced = known.here(key(1), value("c1", 10, since_ms=1_000), 0)
    assert list(replaced) == []
    known.gone(key(1), value("c1", 10))
    assert known.gateways_of("alice") == {(2, 11)}
