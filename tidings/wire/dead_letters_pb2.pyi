from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class DeadLetter(_message.Message):
    __slots__ = ("topic", "epoch", "partition", "offset", "reason", "key", "value", "at_ms")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    epoch: int
    partition: int
    offset: int
    reason: str
    key: bytes
    value: bytes
    at_ms: int
    def __init__(self, topic: _Optional[str] = ..., epoch: _Optional[int] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., reason: _Optional[str] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., at_ms: _Optional[int] = ...) -> None: ...
