"""The object store to test: memory, a local folder, S3 by moto."""

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.contract.media.moto_running import MotoServer, moto_server
from tidings.media.backends import prepare_folder
from tidings.media.base import MediaStore
from tidings.media.config import MediaStoreConfig
from tidings.media.memory import MemoryMediaStore
from tidings.media.obstore_store import ObstoreMediaStore


@dataclass(frozen=True)
class Place:
    """A store, and the keys or files of uploads that are not finished."""

    store: MediaStore
    unfinished: Callable[[], list[str]]


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    """S3 for all tests."""
    with moto_server() as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["memory", "folder", "s3"])
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """Each adapter in turn."""
    place: Place
    if request.param == "memory":
        place = Place(MemoryMediaStore(), list)
    elif request.param == "folder":
        folder = tmp_path_factory.mktemp("media")
        prepare_folder(folder)
        place = Place(ObstoreMediaStore(MediaStoreConfig(folder=str(folder))), lambda: _drafts(folder))
    else:
        server: MotoServer = request.getfixturevalue("moto")
        place = Place(ObstoreMediaStore(s3_config(server)), server.unfinished_uploads)
    yield place
    await place.store.close()


@pytest.fixture
def store(place: Place) -> MediaStore:
    return place.store


@pytest.fixture
def name() -> str:
    """A folder of this test alone."""
    return f"media/{uuid.uuid4().hex[:12]}"


def s3_config(server: MotoServer, endpoint: str | None = None) -> MediaStoreConfig:
    """The bucket of moto, below a prefix, with short time-outs."""
    return MediaStoreConfig(
        bucket=server.bucket,
        prefix="below/a-prefix",
        endpoint=endpoint or server.endpoint,
        region="us-east-1",
        access_key_id="contract",
        secret_access_key="contract-secret",
        allow_http=True,
        connect_timeout_s=1.0,
        request_timeout_s=2.0,
        retries=2,
    )


def _drafts(folder: Path) -> list[str]:
    """Files of uploads that have not ended, and folders without any file."""
    return [path.name for path in folder.rglob("*") if "#" in path.name or (path.is_dir() and not list(path.iterdir()))]
