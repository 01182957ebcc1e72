"""The object store on obstore: a local folder or S3."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError

from tidings.errors import MediaUnavailable
from tidings.media.answers import answering, is_outside, missing
from tidings.media.backends import FOLDER_MARK, backend_of
from tidings.media.base import StoredObject, check_key, check_prefix, check_range
from tidings.media.config import MediaStoreConfig
from tidings.media.uploads import Uploads

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult  # only in obstore's stubs

_CHUNK_BYTES = 256 * 1024
_LISTED_AT_ONCE = 1000
# obstore's threads release Python's objects just after they have answered. If the interpreter ends meanwhile, the
# process aborts (pyo3-async-runtimes issue 40): 6 of 30 runs without a wait, none of 60 with 20 ms.
_SETTLE_S = 0.2


class ObstoreMediaStore:
    """Implements MediaStore."""

    def __init__(self, config: MediaStoreConfig) -> None:
        """Raises ConfigurationError. No server is asked."""
        self._backend = backend_of(config)
        self._store = self._backend.store
        self._uploads = Uploads(self._store, self._backend.tidy)

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        check_key(key)
        with answering(f"storing {key}"):
            await self._backend.check_there()
        await self._uploads.put(key, chunks)
        # The store may have gone while the chunks came.
        with answering(f"storing {key}"):
            await self._backend.check_there()

    async def open(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_key(key)
        check_range(start, length)
        with answering(f"reading {key}"):
            await self._backend.check_object(key)
        end = await self._end(key, start, length)
        e_tag = None
        while start < end:
            stop = min(start + self._backend.block_bytes, end)
            block = await self._block(key, start, stop, e_tag)
            if block.meta["size"] < end:
                raise missing(key, end, block.meta["size"])
            e_tag = block.meta["e_tag"]
            with answering(f"reading {key}"):
                async for chunk in _chunks_of(block, is_streamed=self._backend.is_streamed):
                    start += len(chunk)
                    yield chunk
            if start != stop:
                raise MediaUnavailable(f"{key} was cut short: byte {stop:,} was promised, {start:,} have come")

    async def _end(self, key: str, start: int, length: int | None) -> int:
        """The end of the range. Only a range of known length above 0 needs no look at the object."""
        if length:
            return start + length
        size = await self.size(key)
        if size is None or start > size:
            raise missing(key, start, size)
        return size if length is None else start

    async def _block(self, key: str, start: int, stop: int, e_tag: str | None) -> "GetResult":
        options: GetOptions = {"range": (start, stop)}
        if e_tag is not None:
            options["if_match"] = e_tag
        with answering(f"reading {key}"):
            try:
                return await obstore.get_async(self._store, key, options=options)
            except FileNotFoundError as error:
                if await self._backend.is_missing(key, error):
                    raise missing(key, stop) from error
                raise
            except BaseError as error:
                if is_outside(error):
                    raise missing(key, stop) from error
                raise

    async def size(self, key: str) -> int | None:
        check_key(key)
        with answering(f"the size of {key}"):
            await self._backend.check_object(key)
            try:
                return (await obstore.head_async(self._store, key))["size"]
            except FileNotFoundError as error:
                if await self._backend.is_missing(key, error):
                    return None
                raise

    async def delete(self, keys: Sequence[str]) -> None:
        wanted = [check_key(key) for key in keys]
        if wanted:
            with answering(f"deleting {len(wanted)} objects"):
                await self._backend.delete(wanted)

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        prefix = check_prefix(prefix)
        with answering(f"the list of {prefix!r}"):
            await self._backend.check_there()
            async for page in obstore.list(self._store, prefix or None, chunk_size=_LISTED_AT_ONCE):
                for meta in page:
                    if meta["path"] != FOLDER_MARK:
                        yield StoredObject(meta["path"], meta["size"], int(meta["last_modified"].timestamp() * 1000))

    async def sign(self, key: str, expires_s: int, content_disposition: str, content_type: str) -> str | None:
        check_key(key)
        with answering(f"a URL of {key}"):
            return await self._backend.sign(key, expires_s, content_disposition, content_type)

    async def close(self) -> None:
        await self._uploads.settled()
        await asyncio.sleep(_SETTLE_S)


async def _chunks_of(block: "GetResult", *, is_streamed: bool) -> AsyncIterator[bytes]:
    if not is_streamed:
        yield (await block.bytes_async()).to_bytes()
        return
    async for chunk in block.stream(_CHUNK_BYTES):
        yield chunk
