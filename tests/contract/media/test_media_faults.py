"""S3 that is busy, slow, cut or gone: MediaUnavailable in bounded time, no part as a whole, and nothing deleted."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.contract.media.conftest import s3_config
from tests.contract.media.faulty_proxy import Fault, FaultyProxy
from tests.contract.media.moto_running import MotoServer
from tests.contract.media.objects import MIB, chunks_of, keys_below, pattern, read
from tidings.errors import MediaUnavailable
from tidings.media.base import MediaStore
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore

# Time-out 2 s and 2 retries: a call ends within two time-outs and the waits between. A busy machine gets more.
BOUND_S = 15
TRIES = 3
SMALL = b"0123456789" * 1000


@pytest_asyncio.fixture
async def proxy(moto: MotoServer) -> AsyncIterator[FaultyProxy]:
    proxy = FaultyProxy(moto.port)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest_asyncio.fixture
async def faulty(moto: MotoServer, proxy: FaultyProxy) -> AsyncIterator[MediaStore]:
    """S3 through the proxy."""
    store = ObstoreMediaStore(s3_config(moto, proxy.endpoint))
    yield store
    await store.close()


@pytest_asyncio.fixture
async def direct(moto: MotoServer) -> AsyncIterator[MediaStore]:
    """The same objects without the proxy."""
    store = ObstoreMediaStore(s3_config(moto))
    yield store
    await store.close()


def always(fault: Fault, method: str = "") -> Callable[[str], Fault]:
    return lambda line: fault if line.startswith(method) else Fault.NONE


def first(fault: Fault, times: int, method: str = "") -> Callable[[str], Fault]:
    left = [fault] * times
    return lambda line: left.pop() if left and line.startswith(method) else Fault.NONE


async def _list(store: MediaStore, name: str) -> None:
    await keys_below(store, name)


_CALLS: dict[str, Callable[[MediaStore, str], Awaitable[object]]] = {
    "put": lambda store, name: store.put(f"{name}/put", chunks_of(SMALL)),
    "put_parts": lambda store, name: store.put(f"{name}/parts", chunks_of(pattern(11 * MIB))),
    "read": lambda store, name: read(store, f"{name}/kept", 0, len(SMALL)),
    "size": lambda store, name: store.size(f"{name}/kept"),
    "delete": lambda store, name: store.delete([f"{name}/kept"]),
    "list": _list,
}


@pytest.mark.parametrize("call", _CALLS)
@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.SILENT])
async def test_store_that_does_not_answer_is_unavailable(
    faulty: MediaStore, direct: MediaStore, proxy: FaultyProxy, name: str, call: str, fault: Fault
) -> None:
    await direct.put(f"{name}/kept", chunks_of(SMALL))
    proxy.fault = always(fault)
    begin = time.monotonic()
    with pytest.raises(MediaUnavailable):
        await _CALLS[call](faulty, name)
    assert time.monotonic() - begin < BOUND_S
    assert fault is not Fault.BUSY or len(proxy.requests) >= TRIES
    assert await keys_below(direct, name) == [f"{name}/kept"]
    assert await read(direct, f"{name}/kept") == SMALL


@pytest.mark.parametrize("call", _CALLS)
async def test_server_that_is_gone_is_unavailable(
    faulty: MediaStore, direct: MediaStore, proxy: FaultyProxy, name: str, call: str
) -> None:
    await direct.put(f"{name}/kept", chunks_of(SMALL))
    await proxy.stop()
    begin = time.monotonic()
    with pytest.raises(MediaUnavailable, match="error sending request"):
        await _CALLS[call](faulty, name)
    assert time.monotonic() - begin < BOUND_S
    assert await read(direct, f"{name}/kept") == SMALL


@pytest.mark.parametrize("call", _CALLS)
async def test_short_trouble_is_retried(faulty: MediaStore, proxy: FaultyProxy, name: str, call: str) -> None:
    await faulty.put(f"{name}/kept", chunks_of(SMALL))
    proxy.fault = first(Fault.BUSY, TRIES - 1)
    await _CALLS[call](faulty, name)


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.SHORTENED])
@pytest.mark.parametrize("size", [10_000, 9 * MIB])
async def test_body_cut_every_time_never_ends_as_whole(
    faulty: MediaStore, direct: MediaStore, proxy: FaultyProxy, name: str, fault: Fault, size: int
) -> None:
    data = pattern(size)
    await direct.put(f"{name}/kept", chunks_of(data))
    proxy.fault = always(fault, "GET")
    received = bytearray()
    with pytest.raises(MediaUnavailable, match="cut short" if fault is Fault.SHORTENED else None):
        await _read_into(received, faulty, f"{name}/kept", size)
    assert len(received) < size
    assert data.startswith(received)


async def test_body_cut_once_is_read_on(faulty: MediaStore, direct: MediaStore, proxy: FaultyProxy, name: str) -> None:
    data = pattern(9 * MIB)
    await direct.put(f"{name}/kept", chunks_of(data))
    proxy.fault = first(Fault.CUT, 1, "GET")
    assert await read(faulty, f"{name}/kept") == data
    assert proxy.count("GET") == 4  # three blocks, and the rest of the first


async def test_object_replaced_while_read_is_unavailable(faulty: MediaStore, name: str) -> None:
    await faulty.put(f"{name}/one", chunks_of(pattern(9 * MIB, seed=1)))
    reading = faulty.open(f"{name}/one")
    await anext(reading)
    await faulty.put(f"{name}/one", chunks_of(pattern(9 * MIB, seed=2)))
    with pytest.raises(MediaUnavailable, match="precondition"):
        await _rest(reading)


async def test_failed_part_leaves_no_upload(
    faulty: MediaStore, proxy: FaultyProxy, moto: MotoServer, name: str
) -> None:
    proxy.fault = always(Fault.BUSY, "PUT")
    with pytest.raises(MediaUnavailable, match="503"):
        await faulty.put(f"{name}/parts", chunks_of(pattern(40 * MIB)))
    assert moto.unfinished_uploads() == []
    assert proxy.count("DELETE") == 1


async def test_lost_answers_of_a_put_leave_a_whole_object_or_none(
    faulty: MediaStore, direct: MediaStore, proxy: FaultyProxy, name: str
) -> None:
    proxy.fault = always(Fault.LOST_ANSWER, "PUT")
    with pytest.raises(MediaUnavailable):
        await faulty.put(f"{name}/one", chunks_of(SMALL))
    assert await read(direct, f"{name}/one") == SMALL


async def test_missing_bucket_is_no_missing_object(moto: MotoServer) -> None:
    store = ObstoreMediaStore(_other_bucket(moto))
    for call in (store.size("a"), anext(store.open("a", 0, 5)), store.delete(["a"]), store.put("a", chunks_of(b"x"))):
        with pytest.raises(MediaUnavailable):
            await call
    with pytest.raises(MediaUnavailable, match="NoSuchBucket"):
        await keys_below(store, "")
    await store.close()


async def test_cancelled_call_does_not_wait_for_the_server(faulty: MediaStore, proxy: FaultyProxy, name: str) -> None:
    proxy.fault = always(Fault.SILENT)
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(faulty.size(f"{name}/one"), 0.2)
    assert time.monotonic() - begin < 1


def _other_bucket(moto: MotoServer) -> MediaStoreConfig:
    config = s3_config(moto)
    return MediaStoreConfig(**{name: getattr(config, name) for name in config.__slots__} | {"bucket": "no-such-bucket"})


async def _read_into(received: bytearray, store: MediaStore, key: str, size: int) -> None:
    async for chunk in store.open(key, 0, size):
        received += chunk


async def _rest(reading: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in reading])
