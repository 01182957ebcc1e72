from tidings.wire import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Delivery(_message.Message):
    __slots__ = ("inbox_item", "watermark", "group_counts")
    INBOX_ITEM_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    GROUP_COUNTS_FIELD_NUMBER: _ClassVar[int]
    inbox_item: InboxItem
    watermark: Watermark
    group_counts: GroupCounts
    def __init__(self, inbox_item: _Optional[_Union[InboxItem, _Mapping]] = ..., watermark: _Optional[_Union[Watermark, _Mapping]] = ..., group_counts: _Optional[_Union[GroupCounts, _Mapping]] = ...) -> None: ...

class InboxItem(_message.Message):
    __slots__ = ("source", "stamps", "message", "recipient_ids", "mode", "mode_from", "mode_to", "joined_ids", "left_ids", "dissolves")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STAMPS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODE_FROM_FIELD_NUMBER: _ClassVar[int]
    MODE_TO_FIELD_NUMBER: _ClassVar[int]
    JOINED_IDS_FIELD_NUMBER: _ClassVar[int]
    LEFT_IDS_FIELD_NUMBER: _ClassVar[int]
    DISSOLVES_FIELD_NUMBER: _ClassVar[int]
    source: _common_pb2.Coordinates
    stamps: _common_pb2.Stamps
    message: _common_pb2.Message
    recipient_ids: _containers.RepeatedScalarFieldContainer[str]
    mode: _common_pb2.Mode
    mode_from: _common_pb2.Mode
    mode_to: _common_pb2.Mode
    joined_ids: _containers.RepeatedScalarFieldContainer[str]
    left_ids: _containers.RepeatedScalarFieldContainer[str]
    dissolves: bool
    def __init__(self, source: _Optional[_Union[_common_pb2.Coordinates, _Mapping]] = ..., stamps: _Optional[_Union[_common_pb2.Stamps, _Mapping]] = ..., message: _Optional[_Union[_common_pb2.Message, _Mapping]] = ..., recipient_ids: _Optional[_Iterable[str]] = ..., mode: _Optional[_Union[_common_pb2.Mode, str]] = ..., mode_from: _Optional[_Union[_common_pb2.Mode, str]] = ..., mode_to: _Optional[_Union[_common_pb2.Mode, str]] = ..., joined_ids: _Optional[_Iterable[str]] = ..., left_ids: _Optional[_Iterable[str]] = ..., dissolves: _Optional[bool] = ...) -> None: ...

class Watermark(_message.Message):
    __slots__ = ("session_id", "user_id", "delivered_seq", "read_seq", "at_ms", "recipient_ids")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_SEQ_FIELD_NUMBER: _ClassVar[int]
    READ_SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    user_id: str
    delivered_seq: int
    read_seq: int
    at_ms: int
    recipient_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_id: _Optional[str] = ..., user_id: _Optional[str] = ..., delivered_seq: _Optional[int] = ..., read_seq: _Optional[int] = ..., at_ms: _Optional[int] = ..., recipient_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GroupCounts(_message.Message):
    __slots__ = ("session_id", "recipient_id", "counts")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    recipient_id: str
    counts: _containers.RepeatedCompositeFieldContainer[SeqCount]
    def __init__(self, session_id: _Optional[str] = ..., recipient_id: _Optional[str] = ..., counts: _Optional[_Iterable[_Union[SeqCount, _Mapping]]] = ...) -> None: ...

class SeqCount(_message.Message):
    __slots__ = ("seq", "delivered", "read")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    delivered: int
    read: int
    def __init__(self, seq: _Optional[int] = ..., delivered: _Optional[int] = ..., read: _Optional[int] = ...) -> None: ...
