from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PresenceKey(_message.Message):
    __slots__ = ("user_id", "device_id", "gateway")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    device_id: str
    gateway: int
    def __init__(self, user_id: _Optional[str] = ..., device_id: _Optional[str] = ..., gateway: _Optional[int] = ...) -> None: ...

class Presence(_message.Message):
    __slots__ = ("gateway_epoch", "connection_id", "state", "since_ms")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Presence.State]
        STATE_HERE: _ClassVar[Presence.State]
        STATE_GONE: _ClassVar[Presence.State]
    STATE_UNSPECIFIED: Presence.State
    STATE_HERE: Presence.State
    STATE_GONE: Presence.State
    GATEWAY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    gateway_epoch: int
    connection_id: str
    state: Presence.State
    since_ms: int
    def __init__(self, gateway_epoch: _Optional[int] = ..., connection_id: _Optional[str] = ..., state: _Optional[_Union[Presence.State, str]] = ..., since_ms: _Optional[int] = ...) -> None: ...
