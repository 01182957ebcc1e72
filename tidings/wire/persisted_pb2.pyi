from tidings.wire import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Persisted(_message.Message):
    __slots__ = ("source", "stamps", "message", "mode", "mode_from", "mode_to", "joined_ids", "left_ids", "dissolves", "named_ids")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STAMPS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODE_FROM_FIELD_NUMBER: _ClassVar[int]
    MODE_TO_FIELD_NUMBER: _ClassVar[int]
    JOINED_IDS_FIELD_NUMBER: _ClassVar[int]
    LEFT_IDS_FIELD_NUMBER: _ClassVar[int]
    DISSOLVES_FIELD_NUMBER: _ClassVar[int]
    NAMED_IDS_FIELD_NUMBER: _ClassVar[int]
    source: _common_pb2.Coordinates
    stamps: _common_pb2.Stamps
    message: _common_pb2.Message
    mode: _common_pb2.Mode
    mode_from: _common_pb2.Mode
    mode_to: _common_pb2.Mode
    joined_ids: _containers.RepeatedScalarFieldContainer[str]
    left_ids: _containers.RepeatedScalarFieldContainer[str]
    dissolves: bool
    named_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source: _Optional[_Union[_common_pb2.Coordinates, _Mapping]] = ..., stamps: _Optional[_Union[_common_pb2.Stamps, _Mapping]] = ..., message: _Optional[_Union[_common_pb2.Message, _Mapping]] = ..., mode: _Optional[_Union[_common_pb2.Mode, str]] = ..., mode_from: _Optional[_Union[_common_pb2.Mode, str]] = ..., mode_to: _Optional[_Union[_common_pb2.Mode, str]] = ..., joined_ids: _Optional[_Iterable[str]] = ..., left_ids: _Optional[_Iterable[str]] = ..., dissolves: _Optional[bool] = ..., named_ids: _Optional[_Iterable[str]] = ...) -> None: ...
