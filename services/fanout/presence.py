"""The connections of users at gateways, from the topics `presence` and `gateways`. Pure.

A connection counts while its gateway's epoch is current. A gateway's epoch ends when a
higher epoch of the same ordinal starts, or at its goodbye; never by a clock (H12).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

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
    # When the device signed in, by the gateway's clock; 0 where the gateway does not say.
    since_ms: int = field(default=0, compare=False)


class Gateways:
    """The current epoch of every gateway ordinal."""

    __slots__ = ("_current", "_running")

    def __init__(self) -> None:
        self._current: dict[int, int] = {}
        self._running: dict[int, int] = {}

    def apply(self, event: GatewayEvent, offset: int) -> None:
        """The offset of a start record becomes the epoch. A goodbye ends the epoch that it names."""
        current = self._current.get(event.gateway, -1)
        if event.state == GatewayEvent.STATE_STARTED and offset > current:
            self._current[event.gateway] = self._running[event.gateway] = offset
        elif event.state == GatewayEvent.STATE_GOODBYE and event.gateway_epoch >= current:
            # The offset of the goodbye is above the epoch that it ends, and below the next start.
            self._current[event.gateway] = offset
            self._running.pop(event.gateway, None)

    def is_current(self, gateway: int, epoch: int) -> bool:
        """Whether a gateway may read records for this epoch. True also for a start that was not read yet."""
        return epoch >= self._current.get(gateway, 0)

    def current(self) -> Collection[tuple[int, int]]:
        """(ordinal, epoch) of every gateway that has started and has sent no goodbye since."""
        return self._running.items()


class Presences:
    """The connections of the user partitions that this process delivers for."""

    __slots__ = ("_by_user", "_gateways", "_partitions")

    def __init__(self, gateways: Gateways) -> None:
        """Every look-up checks the epoch of the connection in `gateways`."""
        self._gateways = gateways
        # user -> (device, gateway) -> connection: a late `gone` of one gateway leaves the other's alone (H11).
        self._by_user: dict[str, dict[tuple[str, int], Connection]] = {}
        self._partitions: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of users with a connection."""
        return len(self._by_user)

    def here(self, key: PresenceKey, value: Presence, partition: int) -> tuple[Connection, Collection[Connection]]:
        """Add a device's connection. Returns it and the older connections of the device that it replaces."""
        names = (key.user_id, key.device_id, key.gateway)
        new = Connection(*names, value.gateway_epoch, value.connection_id, value.since_ms)
        if not self._gateways.is_current(new.gateway, new.gateway_epoch):
            return new, []  # no gateway reads pushes for this epoch
        connections = self._by_user.setdefault(key.user_id, {})
        self._partitions[key.user_id] = partition
        known = connections.get((key.device_id, key.gateway))
        if known is not None and known.gateway_epoch > new.gateway_epoch:
            return new, []  # from a paused gateway whose successor has started; its start record was not read yet
        # A repeated `here` of the same connection replaces no other connection.
        is_known = known == new
        connections[key.device_id, key.gateway] = new
        return new, [] if is_known else [older for older in connections.values() if self._is_replaced(older, new)]

    def _is_replaced(self, older: Connection, new: Connection) -> bool:
        """A device that moves fast may be announced in the wrong order, because its gateways append independently.

        Then no connection is replaced: a client whose newest connection was closed as replaced would not come back
        (H11). The older one ends by itself.
        """
        is_same_device = older.device_id == new.device_id and older.connection_id != new.connection_id
        is_in_order = new.since_ms == 0 or older.since_ms <= new.since_ms
        return is_same_device and is_in_order and self._gateways.is_current(older.gateway, older.gateway_epoch)

    def gone(self, key: PresenceKey, value: Presence) -> None:
        """Remove the connection of a device that left a gateway. A newer connection of the device stays."""
        connections = self._by_user.get(key.user_id, {})
        known = connections.get((key.device_id, key.gateway))
        if known is not None and known.connection_id == value.connection_id:
            self._drop(known)

    def void(self, gateway: int) -> None:
        """Remove the gateway's connections of earlier epochs, because a crashed gateway sends no `gone` for them."""
        connections = [one for of_user in self._by_user.values() for one in of_user.values() if one.gateway == gateway]
        for connection in connections:
            if not self._gateways.is_current(gateway, connection.gateway_epoch):
                self._drop(connection)

    def is_known(self, connection: Connection) -> bool:
        """Whether this is still the device's connection at its gateway."""
        known = self._by_user.get(connection.user_id, {}).get((connection.device_id, connection.gateway))
        return known == connection

    def gateways_of(self, user_id: str) -> set[tuple[int, int]]:
        """(ordinal, epoch) of every gateway that has a connection of the user."""
        connections = self._by_user.get(user_id)
        if not connections:
            return set()
        return {
            (connection.gateway, connection.gateway_epoch)
            for connection in connections.values()
            if self._gateways.is_current(connection.gateway, connection.gateway_epoch)
        }

    def keep_only(self, partitions: Iterable[int]) -> None:
        """Remove the users of all other user partitions."""
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
