"""Signed URLs: S3 answers them with the wanted headers, and the other stores have none."""

import asyncio
import urllib.request
from email.message import Message

import pytest

from tests.contract.media.conftest import Place
from tests.contract.media.objects import chunks_of

NAME = "attachment; filename=\"a b.pdf\"; filename*=UTF-8''%E5%9B%BE%F0%9F%98%80.pdf"


async def test_signed_url_answers_with_its_headers(place: Place, name: str, request: pytest.FixtureRequest) -> None:
    await place.store.put(f"{name}/d:a=b.c", chunks_of(b"hello"))
    url = await place.store.sign(f"{name}/d:a=b.c", 60, NAME, "text/plain; charset=utf-8")
    if "s3" not in request.node.name:
        assert url is None
        return
    assert url is not None
    headers, body = await asyncio.to_thread(_get, url)
    assert body == b"hello"
    assert headers["Content-Disposition"] == NAME
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Cache-Control"] == "private, no-store"


def _get(url: str) -> tuple[Message, bytes]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.headers, answer.read()
