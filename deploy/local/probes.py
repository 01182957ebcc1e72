"""Checks readiness with one request in each server's own protocol, because an open port is not enough."""

import http.client
import socket
import struct

HOST = "127.0.0.1"
TIMEOUT_S = 2.0

METADATA_API = 3
METADATA_VERSION = 1
CQL_REQUEST_V4 = 0x04
CQL_OPTIONS = 0x05
CQL_SUPPORTED = 0x06


def kafka_answers(port: int) -> bool:
    """Whether the broker answers a Metadata request and lists at least one broker.

    https://kafka.apache.org/protocol: the request is size, api key, version, correlation id, client id, no topics.
    The answer is size, correlation id, number of brokers.
    """
    request = struct.pack(">hhihi", METADATA_API, METADATA_VERSION, 1, -1, 0)
    answer = _exchange(port, struct.pack(">i", len(request)) + request, 12)
    return answer is not None and int(struct.unpack(">iii", answer)[2]) > 0


def cassandra_answers(port: int) -> bool:
    """Whether the node answers OPTIONS of the native protocol v4 with SUPPORTED."""
    answer = _exchange(port, struct.pack(">BBhBi", CQL_REQUEST_V4, 0, 0, CQL_OPTIONS, 0), 9)
    return answer is not None and answer[4] == CQL_SUPPORTED


def service_health(admin_port: int) -> str:
    """The result of `/readyz`: ready, unready, or no answer."""
    return _health(admin_port, "/readyz")


def prometheus_health(port: int) -> str:
    """The same of Prometheus, which is unready while it reads its data."""
    return _health(port, "/-/ready")


def _health(port: int, path: str) -> str:
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return "ready" if connection.getresponse().status == http.client.OK else "unready"
    except (OSError, http.client.HTTPException):
        return "no answer"
    finally:
        connection.close()


def _exchange(port: int, request: bytes, answer_bytes: int) -> bytes | None:
    """The first bytes of the answer, or None without one within the time-out."""
    try:
        with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
            connection.sendall(request)
            answer = b""
            while len(answer) < answer_bytes:
                chunk = connection.recv(answer_bytes - len(answer))
                if not chunk:
                    return None
                answer += chunk
            return answer
    except OSError:
        return None
