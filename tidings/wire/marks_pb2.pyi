from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Marks(_message.Message):
    __slots__ = ("version", "marks")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    version: int
    marks: _containers.RepeatedCompositeFieldContainer[Mark]
    def __init__(self, version: _Optional[int] = ..., marks: _Optional[_Iterable[_Union[Mark, _Mapping]]] = ...) -> None: ...

class Mark(_message.Message):
    __slots__ = ("partition", "epoch", "offset", "part")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    partition: int
    epoch: int
    offset: int
    part: int
    def __init__(self, partition: _Optional[int] = ..., epoch: _Optional[int] = ..., offset: _Optional[int] = ..., part: _Optional[int] = ...) -> None: ...
