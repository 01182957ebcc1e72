"""What a local folder and S3 do in different ways below obstore: missing objects, deletes and signed URLs."""

import asyncio
import contextlib
import os
import stat
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from tidings.errors import ConfigurationError
from tidings.media import s3_signing
from tidings.media.config import MediaStoreConfig

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config  # only in obstore's stubs

# None of our keys begins with a dot.
FOLDER_MARK = ".tidings-objects"
_NO_SUCH_KEY = "<Code>NoSuchKey</Code>"
_FIRST_BACKOFF = timedelta(milliseconds=100)
_LONGEST_BACKOFF = timedelta(seconds=2)
# obstore's limit for a whole request with its body. A slow reader of a download must not reach it.
_WHOLE_REQUEST = timedelta(hours=1)


class Backend(Protocol):
    """A store of obstore, and what differs. The methods raise obstore's errors."""

    @property
    def store(self) -> ObjectStore: ...

    @property
    def block_bytes(self) -> int:
        """What one request for a part of an object asks for."""
        ...

    @property
    def is_streamed(self) -> bool:
        """Whether a block is read in pieces, and not as a whole."""
        ...

    async def check_there(self) -> None:
        """FileNotFoundError: the store as a whole is gone."""
        ...

    async def is_missing(self, key: str, error: FileNotFoundError) -> bool:
        """Whether `error` is about the object, and not about the store as a whole."""
        ...

    async def check_object(self, key: str) -> None:
        """OSError: reading the object would never end. Call it before an object is read."""
        ...

    async def tidy(self, key: str) -> None:
        """Remove what the store keeps around an object that is gone or never came."""
        ...

    async def delete(self, keys: Sequence[str]) -> None: ...

    async def sign(self, key: str, expires_s: int, content_disposition: str, content_type: str) -> str | None: ...


def prepare_folder(folder: Path) -> bool:
    """Make a folder a store of objects. False: it was one before. Raises OSError.

    The mark distinguishes the store from the empty folder that is there while a volume is not mounted. An object that
    was written into that folder would be lost, and one that is looked for would seem to have been removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / FOLDER_MARK
    is_new = not mark.exists()
    mark.touch()
    return is_new


def backend_of(config: MediaStoreConfig) -> Backend:
    """The store of the configuration. Raises ConfigurationError; no server is asked."""
    try:
        return _S3(config) if config.bucket else _Folder(Path(config.folder))
    except (BaseError, OSError, ValueError) as error:
        place = config.bucket or config.folder
        raise ConfigurationError(f"TIDINGS_MEDIA_STORE_URL: {place!r} cannot be used: {error}") from error


class _Folder:
    """Objects are files. obstore writes the file `<key>#1`, and renames it when it is whole.

    It streams a file in pieces of 8 KiB, each by a thread of its own: 132 ms of CPU for 100 MiB. Blocks that are read
    whole take 43 ms.
    """

    block_bytes = 256 * 1024
    is_streamed = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.store = LocalStore(self._folder, mkdir=True)

    async def check_there(self) -> None:
        if not await asyncio.to_thread((self._folder / FOLDER_MARK).exists):
            raise FileNotFoundError(
                f"{self._folder} has no {FOLDER_MARK}: its volume is not mounted, or `tidings media prepare` never ran"
            )

    async def is_missing(self, key: str, error: FileNotFoundError) -> bool:
        await self.check_there()
        return True

    async def check_object(self, key: str) -> None:
        """obstore opens a FIFO, which then waits for a writer, and holds a thread without end."""
        mode = await asyncio.to_thread(_mode, self._folder / key)
        if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(f"{key} is no regular file")

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                await obstore.delete_async(self.store, key)
            except FileNotFoundError as error:
                if not await self.is_missing(key, error):
                    raise
            await self.tidy(key)

    async def tidy(self, key: str) -> None:
        """obstore makes the folders of a file, and leaves them. It makes them again if they go before it writes."""
        await asyncio.to_thread(_remove_empty, self._folder, key)

    async def sign(self, key: str, expires_s: int, content_disposition: str, content_type: str) -> str | None:
        return None


def _mode(path: Path) -> int | None:
    """The mode of what the path leads to; None if nothing can be said."""
    try:
        return path.stat().st_mode
    except OSError:
        return None  # obstore has the same error, and says which


def _remove_empty(root: Path, key: str) -> None:
    """Remove the folders of an object that are empty, from the innermost on."""
    with contextlib.suppress(OSError):  # one that is not empty ends it
        for folder in (root / key).parents:
            if folder == root:
                return
            folder.rmdir()


class _S3:
    """Objects of a bucket, below a prefix.

    Each block is a request with retries of its own, so a slow reader neither holds one answer for minutes nor wears
    out the retries. A request costs about 30 ms of waiting, against 80 ms for the bytes at 50 MiB/s.
    """

    block_bytes = 4 * 1024 * 1024
    is_streamed = True

    def __init__(self, config: MediaStoreConfig) -> None:
        self._secret_access_key = config.secret_access_key or os.environ.get("AWS_SECRET_ACCESS_KEY", "")
        self._signing_store = self.store = S3Store(
            config.bucket,
            prefix=config.prefix or None,
            config=_s3_config(config),
            client_options=_client_options(config),
            retry_config=_retry_config(config),
        )

    async def check_there(self) -> None:
        """A request to a missing bucket raises by itself."""

    async def check_object(self, key: str) -> None:
        """A request ends within its time-out."""

    async def tidy(self, key: str) -> None:
        """A bucket has no folders."""

    async def is_missing(self, key: str, error: FileNotFoundError) -> bool:
        """S3 answers 404 for a missing bucket too, and only the answer to GET has a body that says which it is."""
        if _NO_SUCH_KEY in str(error):
            return True
        try:
            await obstore.get_async(self.store, key)
        except FileNotFoundError as second:
            return _NO_SUCH_KEY in str(second)
        return False

    async def delete(self, keys: Sequence[str]) -> None:
        await obstore.delete_async(self.store, keys)

    async def sign(self, key: str, expires_s: int, content_disposition: str, content_type: str) -> str | None:
        if not self._secret_access_key:
            return None
        url = await obstore.sign_async(self._signing_store, "GET", key, timedelta(seconds=expires_s))
        return s3_signing.with_headers(url, self._secret_access_key, content_disposition, content_type)


def _s3_config(config: MediaStoreConfig) -> "S3Config":
    """What is left out, obstore takes from the `AWS_*` variables."""
    chosen: S3Config = {"skip_signature": False}
    if config.endpoint:
        # AWS_ENDPOINT_URL_S3 in the environment would go before `endpoint`.
        chosen |= {"endpoint": config.endpoint, "aws_endpoint_url_s3": config.endpoint}
    if config.region:
        chosen["region"] = config.region
    if config.access_key_id:
        chosen |= {"access_key_id": config.access_key_id, "secret_access_key": config.secret_access_key}
    return chosen


def _client_options(config: MediaStoreConfig) -> "ClientConfig":
    return {
        "allow_http": config.allow_http,
        "connect_timeout": timedelta(seconds=config.connect_timeout_s),
        "read_timeout": timedelta(seconds=config.request_timeout_s),
        "timeout": _WHOLE_REQUEST,
    }


def _retry_config(config: MediaStoreConfig) -> "RetryConfig":
    """No retry begins after the time-out of one request, so a call ends within two of them."""
    return {
        "max_retries": config.retries,
        "retry_timeout": timedelta(seconds=config.request_timeout_s),
        "backoff": {"init_backoff": _FIRST_BACKOFF, "max_backoff": _LONGEST_BACKOFF, "base": 2},
    }
