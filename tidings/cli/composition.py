"""The adapters of the command line, built here and nowhere else in it.

Imported when a verb needs them: the drivers take half a second to load, and the chat verbs need none.
"""

from tidings.broker.base import Broker
from tidings.runtime.settings import KafkaSettings


def kafka(settings: KafkaSettings) -> Broker:
    """The log that the settings name."""
    from tidings.broker.kafka import KafkaBroker
    from tidings.broker.kafka_config import KafkaConfig

    return KafkaBroker(KafkaConfig.of(settings))
