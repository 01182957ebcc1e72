"""Uploads and downloads of files, with a progress bar on a terminal."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cli.patience import GaveUp
from tidings_client import ApiError, Upload
from tidings_client.media import MediaCalls
from tidings_client.media import Progress as ByteProgress


async def upload_shown(calls: MediaCalls, path: Path, content_type: str = "") -> Upload:
    """Upload a file, with a progress bar on a terminal. Raises the SDK's ApiError and Unreachable, and OSError."""
    with bytes_shown() as progress:
        return await calls.upload(path, content_type=content_type, progress=progress)


async def upload_image(calls: MediaCalls, path: Path) -> Upload:
    """Upload an image. Raises GaveUp if the file is none, and as `upload_shown`."""
    try:
        return await upload_shown(calls, path, "image/*")
    except ApiError as error:
        # The server's text names a header, which a user of the command line cannot set.
        if error.code == "invalid_body" and "Content-Type" in str(error):
            raise GaveUp(f"{path} is not an image (PNG, JPEG, GIF or WebP): send it with --file") from error
        raise


@contextlib.contextmanager
def bytes_shown() -> Iterator[ByteProgress]:
    """A function that shows the bytes done, and of how many, while the block runs."""
    # Here, because they take 0.2 s and `send` mostly sends a text.
    from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn

    from cli.progress_bar import progress_bar

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("", total=None)

        def update(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield update
