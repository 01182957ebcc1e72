"""Settings that do not fit are named by their variable, whichever service reads them."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from services.fanout.settings import FanoutSettings
from services.gateway.settings import GatewaySettings
from services.persister.archive import ArchiverSettings
from services.persister.settings import PersisterSettings
from services.receipts.settings import ReceiptsSettings
from tidings.errors import ConfigurationError
from tidings.runtime.reading_settings import read_group, read_settings
from tidings.runtime.settings import CassandraSettings, KafkaSettings

SERVICES: tuple[type[BaseModel], ...] = (
    GatewaySettings,
    PersisterSettings,
    FanoutSettings,
    ReceiptsSettings,
    ArchiverSettings,
)
INJECTED = "tcp://10.0.0.1:9042"


def groups_of(service: type[BaseModel]) -> Iterator[type[BaseSettings]]:
    for field in service.model_fields.values():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, BaseSettings)
        yield field.annotation


def variables(*kinds: type[Any]) -> list[tuple[type[BaseModel], str]]:
    """Every variable of a service whose field has one of these types."""
    found = []
    for service in SERVICES:
        for group in groups_of(service):
            prefix = group.model_config.get("env_prefix", "")
            for name, field in group.model_fields.items():
                if field.annotation in kinds:
                    found.append((service, f"{prefix}{name}".upper()))
    return found


def refusal(service: type[BaseModel], monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refused:
        read_settings(service)
    return str(refused.value)


@pytest.mark.field_case("43")
@pytest.mark.parametrize(("service", "variable"), variables(int, float, bool))
def test_a_variable_that_kubernetes_injects_is_named(
    service: type[BaseModel], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = refusal(service, monkeypatch, **{variable: INJECTED})
    assert text.startswith(f"{variable}='{INJECTED}': ")
    assert "enableServiceLinks: false" in text


@pytest.mark.parametrize("value", ["", " ", "abc", "nan", "inf", "-1", "1e400", "0x10"])
@pytest.mark.parametrize(("service", "variable"), variables(int, float))
def test_a_value_that_is_no_number_of_ours_names_its_variable(
    service: type[BaseModel], variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(service, monkeypatch, **{variable: value}).startswith(f"{variable}=")


def test_every_variable_that_does_not_fit_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = refusal(
        GatewaySettings, monkeypatch, TIDINGS_DRAIN_S="abc", TIDINGS_CASSANDRA_PORT="0", TIDINGS_LOG_LEVEL="LOUD"
    )
    assert all(name in text for name in ("TIDINGS_DRAIN_S", "TIDINGS_CASSANDRA_PORT", "TIDINGS_LOG_LEVEL"))


@pytest.mark.parametrize("value", [INJECTED, "", "a:1,", "a:0", "a:65536", "a b:9092", "http://a:9092/", "a:b:c"])
def test_brokers_that_are_no_addresses_are_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_KAFKA_BOOTSTRAP", value)
    with pytest.raises(ConfigurationError, match=r"^TIDINGS_KAFKA_BOOTSTRAP="):
        read_group(KafkaSettings)


@pytest.mark.parametrize("value", ["kafka", "a:9092, b:9092", "10.0.0.1:9092", "[::1]:9092", "kafka.kafka.svc:9092"])
def test_brokers_are_hosts_with_ports(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_KAFKA_BOOTSTRAP", value)
    assert read_group(KafkaSettings).bootstrap == value


@pytest.mark.parametrize("value", [INJECTED, "", "a,", "10.0.0.1:9042", "a b"])
def test_contact_points_are_hosts_without_ports(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_CASSANDRA_HOSTS", value)
    with pytest.raises(ConfigurationError, match=r"^TIDINGS_CASSANDRA_HOSTS="):
        read_group(CassandraSettings)
    monkeypatch.setenv("TIDINGS_CASSANDRA_HOSTS", "::1, 10.0.0.1,cassandra.svc")
    read_group(CassandraSettings)


def test_the_value_of_a_secret_is_never_in_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in SERVICES:
        for group in groups_of(service):
            for field in group.model_fields.values():
                assert field.repr or not get_args(field.annotation)
    monkeypatch.setattr(CassandraSettings.model_fields["port"], "repr", False)
    text = refusal(PersisterSettings, monkeypatch, TIDINGS_CASSANDRA_PORT="hush")
    assert text.startswith("TIDINGS_CASSANDRA_PORT: ")
    assert "hush" not in text
