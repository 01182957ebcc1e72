"""Kafka alone, on the same servers in the same run: a lower bound for all latencies."""

import asyncio
import time
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.generator import percentile
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.topics import Topic

_TOPIC = "bench.bare"
_PARTITIONS = 8
_VALUE = b"x" * 512


async def kafka_hop(bootstrap: str, rate: float, seconds: float) -> dict[str, Any]:
    """The latency of one record from produce to consume with acks=all, at a given rate, in ms."""
    admin = KafkaBroker(KafkaConfig(bootstrap)).admin()
    await admin.start()
    await admin.create_topics([Topic(_TOPIC, _PARTITIONS, {})], 1)
    await admin.stop()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0, enable_idempotence=True)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, fetch_max_wait_ms=50, enable_auto_commit=False)
    await producer.start()
    await consumer.start()
    places = [TopicPartition(_TOPIC, number) for number in range(_PARTITIONS)]
    consumer.assign(places)
    await consumer.seek_to_end(*places)
    count = int(rate * seconds)
    hops: list[float] = []
    acks: list[float] = []

    async def read() -> None:
        while len(hops) < count:
            batches = await consumer.getmany(timeout_ms=200)
            now = time.perf_counter()
            hops.extend(now - float(record.key) for records in batches.values() for record in records)

    async def send(number: int) -> None:
        started = time.perf_counter()
        key = str(started).encode()
        await producer.send_and_wait(_TOPIC, _VALUE, key=key, partition=number % _PARTITIONS)
        acks.append(time.perf_counter() - started)

    reading = asyncio.create_task(read())
    start, sending = time.perf_counter(), []
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        sending.append(asyncio.create_task(send(number)))
    await asyncio.gather(*sending)
    await asyncio.wait_for(reading, 30)
    await consumer.stop()
    await producer.stop()
    return {
        "rate": rate,
        "hop_p50_ms": percentile(hops, 0.5),
        "hop_p99_ms": percentile(hops, 0.99),
        "ack_p50_ms": percentile(acks, 0.5),
    }
