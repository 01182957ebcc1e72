"""Who is connected where, from the `presence` and `gateways` topics. Pure.

A connection counts while its gateway's epoch does. A gateway's epoch ends when
a higher one of the same ordinal starts, or at its goodbye; never by a clock (H12).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.presence_pb2 import Presence, PresenceKey


@dataclass(frozen=True, slots=True)
class Connection:
    """One device's live connection."""

    user_id: str
    device_id: str
    gateway: int
    gateway_epoch: int
    connection_id: str


class Gateways:
    """The epoch that counts of every gateway ordinal."""

    __slots__ = ("_current", "_running")

    def __init__(self) -> None:
        """No gateway is known."""
        self._current: dict[int, int] = {}
        self._running: dict[int, int] = {}

    def apply(self, event: GatewayEvent, offset: int) -> None:
        """A start makes its own offset the epoch; a goodbye ends the epoch that it names."""
        current = self._current.get(event.gateway, -1)
        if event.state == GatewayEvent.STATE_STARTED and offset > current:
            self._current[event.gateway] = self._running[event.gateway] = offset
        elif event.state == GatewayEvent.STATE_GOODBYE and event.gateway_epoch >= current:
            # The goodbye's own offset lies above the epoch that it ends, and below the next start.
            self._current[event.gateway] = offset
            self._running.pop(event.gateway, None)

    def is_current(self, gateway: int, epoch: int) -> bool:
        """Whether records for this epoch are read by anybody. A start not seen yet counts too."""
        return epoch >= self._current.get(gateway, 0)

    def current(self) -> Collection[tuple[int, int]]:
        """(ordinal, epoch) of every gateway that has started and not said goodbye since."""
        return self._running.items()


class Presences:
    """The connections of the user partitions that this process delivers for."""

    __slots__ = ("_by_user", "_gateways", "_partitions")

    def __init__(self, gateways: Gateways) -> None:
        """`gateways` is consulted at every look-up."""
        self._gateways = gateways
        # user -> (device, gateway) -> connection: a late `gone` of one gateway leaves the other's alone (H11).
        self._by_user: dict[str, dict[tuple[str, int], Connection]] = {}
        self._partitions: dict[str, int] = {}

    def here(self, key: PresenceKey, value: Presence, partition: int) -> tuple[Connection, Collection[Connection]]:
        """A device is here. Returns its connection and the older ones of the same device that it replaces."""
        new = Connection(key.user_id, key.device_id, key.gateway, value.gateway_epoch, value.connection_id)
        if not self._gateways.is_current(new.gateway, new.gateway_epoch):
            return new, []  # nobody reads what is sent to it
        connections = self._by_user.setdefault(key.user_id, {})
        self._partitions[key.user_id] = partition
        known = connections.get((key.device_id, key.gateway))
        if known is not None and known.gateway_epoch > new.gateway_epoch:
            return new, []  # of a gateway that slept through the start of its successor, which was not read yet
        # A connection that only says again that it is here replaces nobody.
        is_known = known == new
        connections[key.device_id, key.gateway] = new
        return new, [] if is_known else [older for older in connections.values() if self._is_replaced(older, new)]

    def _is_replaced(self, older: Connection, new: Connection) -> bool:
        is_same_device = older.device_id == new.device_id and older.connection_id != new.connection_id
        return is_same_device and self._gateways.is_current(older.gateway, older.gateway_epoch)

    def gone(self, key: PresenceKey, value: Presence) -> None:
        """A device left a gateway; takes back only its own connection."""
        connections = self._by_user.get(key.user_id, {})
        known = connections.get((key.device_id, key.gateway))
        if known is not None and known.connection_id == value.connection_id:
            self._drop(known)

    def void(self, gateway: int) -> None:
        """An epoch of this gateway has begun or ended: its connections of before say no goodbye."""
        connections = [one for of_user in self._by_user.values() for one in of_user.values() if one.gateway == gateway]
        for connection in connections:
            if not self._gateways.is_current(gateway, connection.gateway_epoch):
                self._drop(connection)

    def is_known(self, connection: Connection) -> bool:
        """Whether it is still the connection of its device at its gateway."""
        known = self._by_user.get(connection.user_id, {}).get((connection.device_id, connection.gateway))
        return known == connection

    def gateways_of(self, user_id: str) -> set[tuple[int, int]]:
        """(ordinal, epoch) of every gateway where the user is connected."""
        connections = self._by_user.get(user_id)
        if not connections:
            return set()
        return {
            (connection.gateway, connection.gateway_epoch)
            for connection in connections.values()
            if self._gateways.is_current(connection.gateway, connection.gateway_epoch)
        }

    def keep_only(self, partitions: Iterable[int]) -> None:
        """Forget everyone of other user partitions."""
        kept = set(partitions)
        for user_id in [user for user, partition in self._partitions.items() if partition not in kept]:
            del self._partitions[user_id]
            self._by_user.pop(user_id, None)

    def _drop(self, connection: Connection) -> None:
        connections = self._by_user[connection.user_id]
        del connections[connection.device_id, connection.gateway]
        if not connections:
            del self._by_user[connection.user_id]
            del self._partitions[connection.user_id]
