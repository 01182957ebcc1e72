"""The ports of the stack's processes."""

import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from deploy.local.probes import HOST

BLOCK = 64
# Below the range of ports that Linux uses for outgoing connections (from 32768). Otherwise another program could get a
# port of the stack while its process is restarting.
FIRST_FREE, LAST_FREE = 20_000, 32_000


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of a stack. Those of services are for ordinal 0; other ordinals follow (up to 10 of each)."""

    kafka: int = 9092
    kafka_controller: int = 9093
    cassandra: int = 9042
    cassandra_storage: int = 7000
    gateway: int = 8080
    gateway_admin: int = 9101
    persister_admin: int = 9111
    fanout_admin: int = 9121
    receipts_admin: int = 9131
    prometheus: int = 9090

    def admin(self, kind: str, ordinal: int) -> int:
        """The port of `/metrics`, `/healthz` and `/readyz` of a service."""
        return int(getattr(self, f"{kind}_admin")) + ordinal


def free_ports() -> Ports:
    """Free ports, all in one block. Raises OSError if 200 blocks are in use."""
    for _ in range(200):
        base = random.randrange(FIRST_FREE, LAST_FREE - BLOCK, BLOCK)
        if all(is_free(port) for port in range(base, base + BLOCK)):
            return block(base)
    raise OSError(f"no {BLOCK} neighbouring free ports found between {FIRST_FREE} and {LAST_FREE}")


def block(base: int) -> Ports:
    """The ports of a stack, counted from one number."""
    return Ports(
        kafka=base,
        kafka_controller=base + 1,
        cassandra=base + 2,
        cassandra_storage=base + 3,
        gateway=base + 10,
        gateway_admin=base + 20,
        persister_admin=base + 30,
        fanout_admin=base + 40,
        receipts_admin=base + 50,
        prometheus=base + 60,
    )


def ports_asked(environment: Mapping[str, str]) -> Ports:
    """The ports from PORT_BASE, or the defaults, with single ports replaced by their own variables."""
    base = environment.get("PORT_BASE")
    chosen = {field: int(environment[name]) for name, field in port_settings().items() if environment.get(name)}
    return replace(block(int(base)) if base else Ports(), **chosen)


def port_settings() -> dict[str, str]:
    """The field of each setting: gateway for GATEWAY_PORT, gateway_admin for GATEWAY_ADMIN_PORT …"""
    return {f"{field.name.upper()}_PORT": field.name for field in fields(Ports)}


def is_free(port: int) -> bool:
    """Whether no process listens on this port."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
        return True
