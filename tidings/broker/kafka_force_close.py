"""Closes aiokafka's clients in bounded time, also when Kafka does not answer.

Their own `stop` flushes first. With a silent broker that never ends, and it goes
on sending records whose call has already failed. So this module uses private parts
of aiokafka 0.14, whose version is pinned for that reason.
"""

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

_STEPS_MAX = 1_000
_STEP_S = 0.01


async def force_close_producer(producer: AIOKafkaProducer) -> None:
    """Send no more records, and close. Records in flight may still be appended."""
    producer._closed = True  # its destructor would warn otherwise
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()  # it now waits for the requests in flight
    await _close_client(producer.client)
    for _ in range(_STEPS_MAX):
        if sender is None or sender.done():
            break
        _end_metadata_wait(producer.client)  # the requests wait for metadata that the client no longer fetches
        await asyncio.sleep(_STEP_S)
    await _end(sender)


async def force_close_consumer(consumer: AIOKafkaConsumer, timeout_s: float) -> None:
    """Leave the group if the coordinator answers in time, and close."""
    with suppress(KafkaError, OSError, TimeoutError, LookupError, AssertionError):
        async with asyncio.timeout(timeout_s):
            await consumer.stop()
            return
    consumer._closed = True
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    for name in ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task"):
        await _end(getattr(coordinator, name, None))
    if fetcher is not None:
        await _end(fetcher._fetch_task)
        for task in tuple(fetcher._pending_tasks):
            await _end(task)
    await _close_client(consumer._client)


def is_dead(consumer: AIOKafkaConsumer) -> bool:
    """Whether one of its tasks has ended by an error, so that it will never fetch or never rejoin."""
    tasks = (
        getattr(consumer._coordinator, "_coordination_task", None),
        getattr(consumer._coordinator, "_reset_committed_task", None),
        getattr(consumer._fetcher, "_fetch_task", None),
    )
    return any(task is not None and task.done() for task in tasks)


async def _close_client(client: AIOKafkaClient) -> None:
    with suppress(KafkaError, OSError, LookupError):
        await client.close()
    _end_metadata_wait(client)


def _end_metadata_wait(client: AIOKafkaClient) -> None:
    if client._md_update_fut is not None and not client._md_update_fut.done():
        client._md_update_fut.set_result(False)


async def _end(task: "asyncio.Task[None] | None") -> None:
    for _ in range(_STEPS_MAX):
        if task is None or task.done():
            break
        task.cancel()
        await asyncio.sleep(0)
    if task is not None and task.done() and not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not warn: the client is closed because of it
