"""Downloads: errors before the first byte, slow clients, and clients that leave."""

import asyncio
import time
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from services.gateway.media import downloads
from services.gateway.media.downloads import PART_BYTES, Download
from services.gateway.media.places import MOST_BYTES_PER_S, Places
from tidings.errors import MediaUnavailable, Refused
from tidings.pace import MOST_AHEAD_S

Sent = list[MutableMapping[str, Any]]


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def failing() -> AsyncIterator[bytes]:
    raise MediaUnavailable("away")
    yield b""


async def stays() -> MutableMapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def served(content: AsyncIterator[bytes], places: Places, *, receive: Any = stays, delay_s: float = 0.0) -> Sent:
    """What a client was sent that takes each part after a delay."""
    sent: Sent = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if "body" in message:
            await asyncio.sleep(delay_s)
        sent.append(message)

    await Download(content, 200, {"Content-Length": "9"}, "text/plain", places.taken("alice"))({}, receive, send)
    return sent


def body_of(sent: Sent) -> bytes:
    return b"".join(message.get("body", b"") for message in sent)


async def test_content_is_sent_in_parts_and_the_place_is_free_again() -> None:
    places = Places("downloads", 1, 1)
    for _ in range(2):
        sent = await served(chunks(b"a" * (PART_BYTES + 5), b"b"), places)
        assert body_of(sent) == b"a" * (PART_BYTES + 5) + b"b"
        assert max(len(message.get("body", b"")) for message in sent) == PART_BYTES
        assert not sent[-1]["more_body"]


async def test_download_is_paced() -> None:
    began = time.monotonic()
    await served(chunks(b"a" * MOST_BYTES_PER_S), Places("downloads", 1, 1))
    assert time.monotonic() - began >= 1 - MOST_AHEAD_S


async def test_errors_come_before_the_first_byte() -> None:
    places = Places("downloads", 1, 1)
    with pytest.raises(MediaUnavailable):
        await served(failing(), places)
    with places.taken("alice"), pytest.raises(Refused, match="rate_limited"):
        await served(chunks(b"a"), places)
    assert body_of(await served(chunks(b"a"), places)) == b"a"


async def test_slow_client_ends_its_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PART_S", 0.01)
    places = Places("downloads", 1, 1)
    sent = await served(chunks(b"a", b"b"), places, delay_s=0.1)
    assert body_of(sent) == b""
    with places.taken("alice"):
        pass


async def test_client_that_leaves_ends_its_download() -> None:
    async def leaves() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    sent = await served(chunks(b"a", b"b", b"c"), Places("downloads", 1, 1), receive=leaves, delay_s=0.01)
    assert len(body_of(sent)) <= 1
