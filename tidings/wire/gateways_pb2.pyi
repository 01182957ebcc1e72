from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GatewayEvent(_message.Message):
    __slots__ = ("gateway", "state", "gateway_epoch")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[GatewayEvent.State]
        STATE_STARTED: _ClassVar[GatewayEvent.State]
        STATE_GOODBYE: _ClassVar[GatewayEvent.State]
    STATE_UNSPECIFIED: GatewayEvent.State
    STATE_STARTED: GatewayEvent.State
    STATE_GOODBYE: GatewayEvent.State
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    gateway: int
    state: GatewayEvent.State
    gateway_epoch: int
    def __init__(self, gateway: _Optional[int] = ..., state: _Optional[_Union[GatewayEvent.State, str]] = ..., gateway_epoch: _Optional[int] = ...) -> None: ...
