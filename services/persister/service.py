"""Builds the persister from its ports. `__main__` builds the adapters."""

import asyncio

from services.persister.settings import PersisterSettings
from services.persister.worker import PersisterStage
from tidings.broker.base import Broker
from tidings.runtime.health import Health
from tidings.runtime.hints import HintSender
from tidings.runtime.stage import WorkerConfig
from tidings.runtime.start import check_topics, started
from tidings.runtime.worker import Worker
from tidings.store.base import Store
from tidings.topics import PERSISTER


async def serve(
    settings: PersisterSettings, broker: Broker, store: Store, health: Health, stopping: asyncio.Event
) -> None:
    """Persist until `stopping` is set. `store` is started and stopped by the caller."""
    kafka = settings.kafka
    await check_topics(broker, kafka.sizes(), stopping)
    name = f"persister-{settings.process.ordinal}"
    producer, hints_producer = broker.producer(name), broker.producer(f"{name}-hints")
    hints = HintSender(hints_producer, PersisterStage.name, kafka.push_partitions)
    stage = PersisterStage(store, producer, hints, kafka.epoch, kafka.session_partitions)
    config = WorkerConfig(kafka.epoch, kafka.session_timeout_ms, PERSISTER.partitions(kafka.sizes()))
    worker = Worker(stage, broker.group_consumer(name, PERSISTER), config, health)
    async with started(producer, hints_producer, stopping=stopping):
        health.set_ready(True)
        await worker.run(stopping)
        await hints.stop()
