"""How many sockets clients may have under a limit of open files, and what those above it are answered."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from services.gateway.http import socket_limits as limits_module
from services.gateway.http.cors import CrossOrigin
from services.gateway.http.socket_limits import REFUSED_AT_ONCE, RESERVED_FILES, limited, socket_limits
from services.gateway.protocol.origins import parsed_origins
from services.gateway.settings import HttpSettings
from tests.deployments import running, settings
from tidings.errors import ConfigurationError


@pytest.mark.field_case("29")
@pytest.mark.parametrize("files", [256, 1_024, 4_096, 65_536, 1_048_576])
def test_clients_leave_files_for_the_admin_port_and_the_servers(files: int) -> None:
    limits = socket_limits(files, HttpSettings().max_connections)
    assert limits.connections < limits.sockets <= files - RESERVED_FILES
    assert 1 <= limits.connections <= HttpSettings().max_connections


def test_the_setting_holds_where_files_suffice() -> None:
    assert socket_limits(65_536, 100).connections == 100


@pytest.mark.parametrize("files", [1, 64, RESERVED_FILES])
def test_a_limit_that_leaves_nothing_is_refused(files: int) -> None:
    with pytest.raises(ConfigurationError, match="TIDINGS_MAX_CONNECTIONS"):
        socket_limits(files, HttpSettings().max_connections)


async def answer_of(port: int, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.05)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


@pytest.mark.field_case("29")
async def test_sockets_above_the_limit_are_answered_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_module, "RESERVED_FILES", 200)
    monkeypatch.setattr("services.gateway.service.raise_file_limit", lambda: 200 + 26)
    async with running(settings(tmp_path, allowed_origins="https://app.example")) as gateway:
        held = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(26)]
        await asyncio.sleep(0.1)
        for request in (
            b"GET /v1/sessions HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n",
            b"",
        ):
            head, _, body = (await answer_of(gateway.port, request)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"application/problem+json" in head
            assert json.loads(body)["code"] == "unavailable"
            assert b"access-control-allow-origin" not in head
        for size in (0, 8_000):  # the page's head in one packet, and in parts
            request = b"GET /v1/sessions HTTP/1.1\r\nHost: a\r\nX: " + b"x" * size
            head = await answer_of(gateway.port, request, b"\r\nOrigin: https://app.example\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\naccess-control-allow-origin: https://app.example\r\n" in head
            assert b"\r\nvary: Origin\r\n" in head
        # More than may wait for their request at a time: all are answered.
        answers = await asyncio.gather(*(answer_of(gateway.port, b"") for _ in range(2 * REFUSED_AT_ONCE)))
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
        for each in held:
            each.close()
        await asyncio.sleep(0.1)
        assert (await answer_of(gateway.port, b"GET /openapi.json HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


def test_limited_keeps_the_protocol_it_is_given() -> None:
    assert issubclass(limited(asyncio.Protocol, 1, CrossOrigin(parsed_origins("", ""))), asyncio.Protocol)
