from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_TEXT: _ClassVar[Kind]
    KIND_IMAGE: _ClassVar[Kind]
    KIND_FILE: _ClassVar[Kind]
    KIND_CUSTOM: _ClassVar[Kind]
    KIND_SYSTEM: _ClassVar[Kind]
    KIND_RECALL: _ClassVar[Kind]
    KIND_EDIT: _ClassVar[Kind]
    KIND_REACTION: _ClassVar[Kind]

class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MODE_UNSPECIFIED: _ClassVar[Mode]
    MODE_WRITE: _ClassVar[Mode]
    MODE_READ: _ClassVar[Mode]
KIND_UNSPECIFIED: Kind
KIND_TEXT: Kind
KIND_IMAGE: Kind
KIND_FILE: Kind
KIND_CUSTOM: Kind
KIND_SYSTEM: Kind
KIND_RECALL: Kind
KIND_EDIT: Kind
KIND_REACTION: Kind
MODE_UNSPECIFIED: Mode
MODE_WRITE: Mode
MODE_READ: Mode

class Coordinates(_message.Message):
    __slots__ = ("epoch", "partition", "offset", "part")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    partition: int
    offset: int
    part: int
    def __init__(self, epoch: _Optional[int] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., part: _Optional[int] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("gateway", "gateway_epoch", "connection_id", "ref")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    gateway: int
    gateway_epoch: int
    connection_id: str
    ref: str
    def __init__(self, gateway: _Optional[int] = ..., gateway_epoch: _Optional[int] = ..., connection_id: _Optional[str] = ..., ref: _Optional[str] = ...) -> None: ...

class Stamps(_message.Message):
    __slots__ = ("rules", "segment_messages", "bucket_rows", "recipients_per_part", "write_diffusion_max", "month_shards", "group_members_max")
    RULES_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BUCKET_ROWS_FIELD_NUMBER: _ClassVar[int]
    RECIPIENTS_PER_PART_FIELD_NUMBER: _ClassVar[int]
    WRITE_DIFFUSION_MAX_FIELD_NUMBER: _ClassVar[int]
    MONTH_SHARDS_FIELD_NUMBER: _ClassVar[int]
    GROUP_MEMBERS_MAX_FIELD_NUMBER: _ClassVar[int]
    rules: int
    segment_messages: int
    bucket_rows: int
    recipients_per_part: int
    write_diffusion_max: int
    month_shards: int
    group_members_max: int
    def __init__(self, rules: _Optional[int] = ..., segment_messages: _Optional[int] = ..., bucket_rows: _Optional[int] = ..., recipients_per_part: _Optional[int] = ..., write_diffusion_max: _Optional[int] = ..., month_shards: _Optional[int] = ..., group_members_max: _Optional[int] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("message_id", "session_id", "seq", "sender_id", "client_msg_id", "at_ms", "kind", "body", "reply_to", "mentions", "count")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SENDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_MSG_ID_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    MENTIONS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    message_id: int
    session_id: str
    seq: int
    sender_id: str
    client_msg_id: str
    at_ms: int
    kind: Kind
    body: bytes
    reply_to: int
    mentions: _containers.RepeatedScalarFieldContainer[str]
    count: int
    def __init__(self, message_id: _Optional[int] = ..., session_id: _Optional[str] = ..., seq: _Optional[int] = ..., sender_id: _Optional[str] = ..., client_msg_id: _Optional[str] = ..., at_ms: _Optional[int] = ..., kind: _Optional[_Union[Kind, str]] = ..., body: _Optional[bytes] = ..., reply_to: _Optional[int] = ..., mentions: _Optional[_Iterable[str]] = ..., count: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "text")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    code: str
    text: str
    def __init__(self, code: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...
