"""Objects of tests: bytes that differ at every place, as a stream and back."""

from collections.abc import AsyncIterator

from tidings.media.base import MediaStore

MIB = 1024 * 1024


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes in which no two blocks of 64 KiB are equal."""
    block = bytes((place * 7 + seed) % 251 for place in range(65_521))
    return (block * (size // len(block) + 1))[:size]


async def chunks_of(data: bytes, chunk: int = 65_536) -> AsyncIterator[bytes]:
    """The bytes as a client would send them."""
    for begin in range(0, len(data), chunk):
        yield data[begin : begin + chunk]


async def read(store: MediaStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    """A whole range."""
    return b"".join([chunk async for chunk in store.open(key, start, length)])


async def keys_below(store: MediaStore, prefix: str) -> list[str]:
    return sorted([found.key async for found in store.list(prefix)])
