"""Settings from the environment. An error names the environment variable, because that is what the operator sets."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings

from tidings.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)
Group = TypeVar("Group", bound=BaseSettings)

# Kubernetes gives each pod TIDINGS_CASSANDRA_PORT=tcp://10.0.0.1:9042 where a Service is named `tidings-cassandra`.
_INJECTED = ("tcp://", "udp://", "sctp://")
_SHOWN_CHARACTERS = 80


def read_settings(kind: type[Model]) -> Model:
    """All groups of a service from the environment. ConfigurationError names every variable that is not valid."""
    groups, faults = {}, []
    for name, field in kind.model_fields.items():
        group = field.annotation
        assert isinstance(group, type)
        assert issubclass(group, BaseSettings)
        try:
            groups[name] = group()
        except ValidationError as error:
            faults += faults_of(group, error)
    if faults:
        raise ConfigurationError("; ".join(faults))
    return kind(**groups)


def read_group(kind: type[Group]) -> Group:
    """One group from the environment. Raises as `read_settings` does."""
    try:
        return kind()
    except ValidationError as error:
        raise ConfigurationError("; ".join(faults_of(kind, error))) from error


def faults_of(kind: type[BaseSettings], error: ValidationError) -> list[str]:
    """One text per variable: its name, its value unless it is a secret, and the fault."""
    return [_fault(kind, str(fault["loc"][0]), fault["input"], fault["msg"]) for fault in error.errors()]


def _fault(kind: type[BaseSettings], field: str, value: object, reason: str) -> str:
    variable = f"{kind.model_config.get('env_prefix', '')}{field}".upper()
    text = str(value)
    shown = f"={text[:_SHOWN_CHARACTERS]!r}" if kind.model_fields[field].repr else ""
    hint = ""
    if text.startswith(_INJECTED):
        hint = (
            "; Kubernetes sets this variable for a Service of that name:"
            " set `enableServiceLinks: false` in the pod, or the variable itself"
        )
    return f"{variable}{shown}: {reason}{hint}"
