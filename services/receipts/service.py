"""Builds receipts from its ports. `__main__` builds the adapters."""

import asyncio

from services.receipts.settings import ReceiptsSettings
from services.receipts.worker import ReceiptsStage
from tidings.broker.base import Broker
from tidings.runtime.health import Health
from tidings.runtime.pacing import Spacing
from tidings.runtime.round_request import RoundRequest
from tidings.runtime.stage import WorkerConfig
from tidings.runtime.start import check_topics, started
from tidings.runtime.worker import Worker
from tidings.store.base import Store
from tidings.topics import RECEIPTS


async def serve(
    settings: ReceiptsSettings, broker: Broker, store: Store, health: Health, stopping: asyncio.Event
) -> None:
    """Merge watermarks until `stopping` is set. `store` is started and stopped by the caller."""
    kafka = settings.kafka
    await check_topics(broker, kafka.sizes(), stopping)
    name = f"receipts-{settings.process.ordinal}"
    producer = broker.producer(name)
    request = RoundRequest()
    stage = ReceiptsStage(store, producer, kafka.epoch, kafka.user_partitions, request.make)
    config = WorkerConfig(
        kafka.epoch,
        kafka.session_timeout_ms,
        RECEIPTS.partitions(kafka.sizes()),
        spacing=Spacing(linger_ms=settings.coalesce.coalesce_ms),
    )
    worker = Worker(stage, broker.group_consumer(name, RECEIPTS), config, health, request)
    async with started(producer, stopping=stopping):
        health.set_ready(True)
        await worker.run(stopping)
