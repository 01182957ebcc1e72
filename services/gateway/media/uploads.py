"""Takes uploads: reads the type from the bytes, checks images, stores the objects, counts the bytes, stores the row.

The row comes last, so that a row always has its objects, and its bytes are always counted. After a crash only objects
without a row are left, which the sweep removes. Their bytes stay counted until the end of the day.
"""

import asyncio
import contextlib
import hashlib
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakValueDictionary

from services.gateway.media.content_types import IMAGE_TYPES, SNIFFED_BYTES, content_type_of, image_type
from services.gateway.media.images import ExaminedImage, ImageExaminer
from services.gateway.media.places import BUSY_MS, MOST_BYTES_PER_S, Places
from services.gateway.protocol.rate_limits import RateLimits
from tidings import ids, metrics
from tidings.clock import Clock
from tidings.errors import MediaUnavailable, Refused, StoreUnavailable
from tidings.logging import logger
from tidings.media.base import MediaStore
from tidings.pace import Pace
from tidings.store.base import Store, TaggedRow
from tidings.store.media_rows import MediaRow, MediaUsageRow

# Of one user at a gateway. A page that uploads ten images at once queues the others itself.
UPLOADS_PER_USER = 4
# In the long run, and at once: an album of photos. Each upload costs a transaction, whatever its size.
UPLOADS_PER_S, UPLOADS_BURST = 1, 50
# What an upload counts at least, so that the rows of a user's day are bounded: 32,768 of 2 GiB.
LEAST_COUNTED_BYTES = 64 * 1024
# For all of one upload. 100 MiB in this time are 58 kB/s.
UPLOAD_S = 1_800
_FILE_CHUNK_BYTES = 256 * 1024
_TOO_MANY = f"more than {UPLOADS_BURST} uploads at once, or more than {UPLOADS_PER_S} a second; wait for retry_after_ms"

_log = logger("tidings.gateway.media")


@dataclass(frozen=True, slots=True)
class UploadRules:
    """A deployment's limits. `key`: derives ids from Idempotency-Keys, the same at every gateway.

    `folder`: for images while they are checked; None: the system's. `at_once`: uploads at the same time.
    """

    key: bytes
    image_bytes: int
    file_bytes: int
    user_bytes_per_day: int
    folder: Path | None = None
    at_once: int = 32


@dataclass(frozen=True, slots=True)
class Upload:
    """What the head of the request says. `idempotency_key` is empty without one."""

    user_id: str
    idempotency_key: str
    content_type: str | None
    name: str


class Uploads:
    """All uploads of one gateway."""

    def __init__(
        self, tables: Store, objects: MediaStore, images: ImageExaminer, clock: Clock, rules: UploadRules
    ) -> None:
        """`tables` and `objects` are shared by the whole gateway."""
        self._places = Places("uploads", rules.at_once, UPLOADS_PER_USER)
        self._rates = RateLimits(UPLOADS_PER_S, UPLOADS_BURST, _TOO_MANY)
        # One image of a user at a time, so that few users cannot hold all places for images.
        self._image_of: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tables = tables
        self._objects = objects
        self._images = images
        self._clock = clock
        self._rules = rules

    @property
    def most_bytes(self) -> int:
        """Of any upload. An image may have fewer, but its first bytes have to be read for that."""
        return max(self._rules.file_bytes, self._rules.image_bytes)

    async def take(self, upload: Upload, body: AsyncIterator[bytes]) -> MediaRow:
        """Store an upload. Raises Refused, StoreUnavailable or MediaUnavailable; then no row is stored.

        The same Idempotency-Key with the same bytes gives the first upload, and with other bytes `conflict`.
        """
        self._rates.take(upload.user_id, 1, self._clock.monotonic_ms())
        try:
            with self._places.taken(upload.user_id):
                async with asyncio.timeout(UPLOAD_S):
                    return await self._taken(upload, body)
        except TimeoutError:
            raise Refused("timeout", f"the upload took more than {UPLOAD_S} s; send it over a faster line") from None
        except OSError as error:
            _log.warning("no room for an upload", reason=str(error))
            raise Refused("unavailable", "the gateway has no room for the upload; retry", BUSY_MS) from None

    async def _taken(self, upload: Upload, body: AsyncIterator[bytes]) -> MediaRow:
        media_id = self._media_id(upload)
        stored = (await self._tables.media((media_id,))).get(media_id) if upload.idempotency_key else None
        first, rest = await _begun(body)
        content = _Content(_chained(first, rest), self._most_bytes(first))
        if stored is not None:
            return await _same(stored, content)
        await self._check_quota(upload.user_id, ids.day_of(self._clock.wall_ms()))
        row = self._row(upload, media_id, content_type_of(first, upload.content_type))
        return await self._added(await self._with_objects(row, content), content.sha256())

    def _media_id(self, upload: Upload) -> str:
        if not upload.idempotency_key:
            return secrets.token_hex(16)
        named = f"{upload.user_id}\n{upload.idempotency_key}".encode()
        return hashlib.blake2b(named, digest_size=16, key=self._rules.key, person=b"tidings media").hexdigest()

    def _row(self, upload: Upload, media_id: str, content_type: str) -> MediaRow:
        """The row without the facts of the content. The random part keeps two tries of one id apart."""
        now_ms = self._clock.wall_ms()
        object_key = f"{ids.day_of(now_ms)}/{media_id}/{secrets.token_hex(8)}"
        return MediaRow(media_id, upload.user_id, object_key, content_type, upload.name, 0, b"", 0, 0, 0, now_ms)

    async def _with_objects(self, row: MediaRow, content: "_Content") -> MediaRow:
        """Store the objects of a row. Returns the row with size and sides."""
        if row.content_type in IMAGE_TYPES:
            return await self._with_image(row, content)
        await self._objects.put(row.object_key, content.chunks())
        return replace(row, size=content.size)

    async def _with_image(self, row: MediaRow, content: "_Content") -> MediaRow:
        with tempfile.TemporaryDirectory(prefix="tidings-upload-", dir=self._rules.folder) as folder:
            path = Path(folder) / "image"
            with path.open("wb") as file:
                async for chunk in content.chunks():
                    file.write(chunk)
            async with self._image_of.setdefault(row.owner_id, asyncio.Lock()):
                image = await self._images.examine(path)
            await self._objects.put(row.object_key, _chunks_of(path))
        await self._objects.put(row.thumb_key, _once(image.thumb))
        return _described(row, image)

    async def _added(self, row: MediaRow, sha256: bytes) -> MediaRow:
        row = replace(row, sha256=sha256)
        try:
            await self._count(row)
        except (Refused, StoreUnavailable):
            await self._delete_objects(row)
            raise
        stored = await self._tables.add_media(row)
        if stored.object_key != row.object_key:
            # Another try of the same Idempotency-Key was faster.
            await self._delete_objects(row)
            return _if_same(stored, sha256)
        metrics.MEDIA_BYTES.labels("in").inc(row.size)
        return stored

    async def _count(self, row: MediaRow) -> None:
        """Count the bytes of an upload whose row is not stored yet. Raises Refused or StoreUnavailable.

        Of uploads at once, the one that is counted last sees all others. So the stored uploads of a day exceed the
        quota by less than one upload, through however many gateways they came.
        """
        day = ids.day_of(row.uploaded_at)
        counted = max(row.size + row.thumb_size, LEAST_COUNTED_BYTES)
        if await self._tables.write([TaggedRow(0, MediaUsageRow(row.owner_id, day, row.media_id, counted))]):
            raise StoreUnavailable("the bytes of an upload may not be counted")
        await self._check_quota(row.owner_id, day, counted)

    async def _delete_objects(self, row: MediaRow) -> None:
        """Remove the objects of an upload without a row. What cannot be removed now is left to the sweep."""
        with contextlib.suppress(MediaUnavailable):
            await self._objects.delete((row.object_key, row.thumb_key))

    def _most_bytes(self, first: bytes) -> int:
        return self._rules.file_bytes if image_type(first) is None else self._rules.image_bytes

    async def _check_quota(self, user_id: str, day: int, own_bytes: int = 0) -> None:
        """Raises Refused if the user's other uploads have reached the quota. `own_bytes`: counted for this one."""
        used = await self._tables.media_usage(user_id, day) - own_bytes
        if used >= self._rules.user_bytes_per_day:
            raise Refused(
                "rate_limited",
                f"your uploads of this UTC day have {self._rules.user_bytes_per_day} bytes "
                "(TIDINGS_MEDIA_USER_BYTES_PER_DAY); upload again tomorrow",
                max(BUSY_MS, (day + 1) * ids.DAY_MS - self._clock.wall_ms()),
            )


class _Content:
    """The bytes of an upload as they pass: counted, hashed, bounded and paced."""

    def __init__(self, body: AsyncIterator[bytes], most_bytes: int) -> None:
        self.size = 0
        self._body = body
        self._most_bytes = most_bytes
        self._sha256 = hashlib.sha256()
        self._pace = Pace(time.monotonic(), MOST_BYTES_PER_S)

    async def chunks(self) -> AsyncIterator[bytes]:
        """All bytes once. Raises Refused(`too_large`) behind the limit."""
        async for chunk in self._body:
            self.size += len(chunk)
            if self.size > self._most_bytes:
                raise too_large(self._most_bytes)
            self._sha256.update(chunk)
            yield chunk
            if wait_s := self._pace.wait_s(len(chunk), time.monotonic()):
                await asyncio.sleep(wait_s)

    def sha256(self) -> bytes:
        """Of the bytes so far."""
        return self._sha256.digest()


def too_large(most_bytes: int) -> Refused:
    """The refusal of an upload above its limit."""
    return Refused(
        "too_large",
        f"an upload of this kind has at most {most_bytes} bytes"
        " (TIDINGS_MEDIA_IMAGE_BYTES, TIDINGS_MEDIA_FILE_BYTES); send a smaller one",
    )


async def _begun(body: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """The first SNIFFED_BYTES or more, and the rest. Raises Refused for an empty body."""
    first = b""
    async for chunk in body:
        first += chunk
        if len(first) >= SNIFFED_BYTES:
            break
    if not first:
        raise Refused("invalid_body", "the upload is empty; send its bytes as the body")
    return first, body


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _chunks_of(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_FILE_CHUNK_BYTES):
            yield chunk


async def _same(stored: MediaRow, content: _Content) -> MediaRow:
    """The stored upload, if the repeat has the same bytes. Raises Refused(`conflict`)."""
    async for _ in content.chunks():
        pass
    return _if_same(stored, content.sha256())


def _if_same(stored: MediaRow, sha256: bytes) -> MediaRow:
    if stored.sha256 != sha256:
        raise Refused("conflict", "the Idempotency-Key belongs to an upload of other bytes; use a new key")
    if stored.removing_at:
        raise Refused("conflict", "the upload under this Idempotency-Key was unused and is removed; use a new key")
    return stored


def _described(row: MediaRow, image: ExaminedImage) -> MediaRow:
    return replace(row, size=image.size, width=image.width, height=image.height, thumb_size=len(image.thumb))
