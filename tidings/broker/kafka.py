"""The log on Kafka. The parts work around the promises of the port that aiokafka 0.14 does not keep."""

from tidings.broker.kafka_admin import KafkaAdmin
from tidings.broker.kafka_config import KafkaConfig
from tidings.broker.kafka_consumer import KafkaGroupConsumer
from tidings.broker.kafka_producer import KafkaProducer
from tidings.broker.kafka_reader import KafkaReader
from tidings.topics import Group


class KafkaBroker:
    """Implements Broker."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config

    def producer(self, client_id: str) -> KafkaProducer:
        return KafkaProducer(self._config, client_id)

    def group_consumer(self, client_id: str, group: Group) -> KafkaGroupConsumer:
        return KafkaGroupConsumer(self._config, client_id, group)

    def reader(self, client_id: str) -> KafkaReader:
        return KafkaReader(self._config, client_id)

    def admin(self) -> KafkaAdmin:
        return KafkaAdmin(self._config)
