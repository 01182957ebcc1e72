"""Builds fanout's two workers from their ports, in one process. `__main__` builds the adapters."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace

from services.fanout.deliver_worker import DeliverStage
from services.fanout.expand_worker import ExpandStage
from services.fanout.presence_reader import PresenceReader
from services.fanout.settings import FanoutSettings
from tidings.broker.base import Broker
from tidings.runtime.health import Health
from tidings.runtime.hints import HintSender
from tidings.runtime.round_request import RoundRequest
from tidings.runtime.stage import WorkerConfig
from tidings.runtime.start import check_topics, started
from tidings.runtime.worker import Worker
from tidings.store.base import Store
from tidings.topics import DELIVER, EXPAND

# A recipient takes about 15 bytes of a record and becomes one inbox row: at most 17,000 rows in a round, 2 s of work.
_DELIVER_ROUND_BYTES = 256 * 1024


async def serve(
    settings: FanoutSettings, broker: Broker, store: Store, health: Health, stopping: asyncio.Event
) -> None:
    """Fan out until `stopping` is set. `store` is started and stopped by the caller."""
    kafka = settings.kafka
    await check_topics(broker, kafka.sizes(), stopping)
    name = f"fanout-{settings.process.ordinal}"
    config = WorkerConfig(kafka.epoch, kafka.session_timeout_ms, EXPAND.partitions(kafka.sizes()))
    producer, read_producer, hints_producer, reader = (
        broker.producer(f"{name}-expand"),
        broker.producer(f"{name}-expand-hints"),
        broker.producer(f"{name}-hints"),
        broker.reader(f"{name}-presence"),
    )
    # A sender per stage, so that lost or queued hints of one stage do not delay the other.
    read_hints = HintSender(read_producer, ExpandStage.name, kafka.push_partitions)
    hints = HintSender(hints_producer, DeliverStage.name, kafka.push_partitions)
    request = RoundRequest()
    presence = PresenceReader(reader, request.make)
    expand = Worker(
        ExpandStage(store, producer, read_hints, presence, kafka.user_partitions),
        broker.group_consumer(f"{name}-expand", EXPAND),
        config,
        health,
    )
    deliver = Worker(
        DeliverStage(store, hints, presence, kafka.epoch),
        broker.group_consumer(f"{name}-deliver", DELIVER),
        replace(config, partitions=DELIVER.partitions(kafka.sizes()), round_bytes=_DELIVER_ROUND_BYTES),
        health,
        request,
    )
    async with started(producer, read_producer, hints_producer, reader, stopping=stopping):
        health.set_ready(True)
        await _run_together(stopping, expand.run, deliver.run, presence.run)
        await asyncio.gather(read_hints.stop(), hints.stop())


async def _run_together(
    stopping: asyncio.Event, *works: Callable[[asyncio.Event], Coroutine[None, None, None]]
) -> None:
    """Run all until `stopping`. An error of any of them ends the process."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work(stopping))
