from tidings.wire import common_pb2 as _common_pb2
from tidings.wire import deliveries_pb2 as _deliveries_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Push(_message.Message):
    __slots__ = ("gateway_epoch", "send_ack", "send_error", "message", "live", "watermark", "group_counts", "resync", "replaced")
    GATEWAY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEND_ACK_FIELD_NUMBER: _ClassVar[int]
    SEND_ERROR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    GROUP_COUNTS_FIELD_NUMBER: _ClassVar[int]
    RESYNC_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    gateway_epoch: int
    send_ack: SendAck
    send_error: SendError
    message: PushedMessage
    live: Live
    watermark: _deliveries_pb2.Watermark
    group_counts: _deliveries_pb2.GroupCounts
    resync: Resync
    replaced: Replaced
    def __init__(self, gateway_epoch: _Optional[int] = ..., send_ack: _Optional[_Union[SendAck, _Mapping]] = ..., send_error: _Optional[_Union[SendError, _Mapping]] = ..., message: _Optional[_Union[PushedMessage, _Mapping]] = ..., live: _Optional[_Union[Live, _Mapping]] = ..., watermark: _Optional[_Union[_deliveries_pb2.Watermark, _Mapping]] = ..., group_counts: _Optional[_Union[_deliveries_pb2.GroupCounts, _Mapping]] = ..., resync: _Optional[_Union[Resync, _Mapping]] = ..., replaced: _Optional[_Union[Replaced, _Mapping]] = ...) -> None: ...

class SendAck(_message.Message):
    __slots__ = ("origin", "session_id", "client_msg_id", "message_id", "seq", "at_ms", "duplicate", "left_out")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_MSG_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    origin: _common_pb2.Origin
    session_id: str
    client_msg_id: str
    message_id: int
    seq: int
    at_ms: int
    duplicate: bool
    left_out: _containers.RepeatedCompositeFieldContainer[LeftOut]
    def __init__(self, origin: _Optional[_Union[_common_pb2.Origin, _Mapping]] = ..., session_id: _Optional[str] = ..., client_msg_id: _Optional[str] = ..., message_id: _Optional[int] = ..., seq: _Optional[int] = ..., at_ms: _Optional[int] = ..., duplicate: _Optional[bool] = ..., left_out: _Optional[_Iterable[_Union[LeftOut, _Mapping]]] = ...) -> None: ...

class LeftOut(_message.Message):
    __slots__ = ("user_id", "code")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    code: str
    def __init__(self, user_id: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class SendError(_message.Message):
    __slots__ = ("origin", "session_id", "client_msg_id", "refusal")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_MSG_ID_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    origin: _common_pb2.Origin
    session_id: str
    client_msg_id: str
    refusal: _common_pb2.Refusal
    def __init__(self, origin: _Optional[_Union[_common_pb2.Origin, _Mapping]] = ..., session_id: _Optional[str] = ..., client_msg_id: _Optional[str] = ..., refusal: _Optional[_Union[_common_pb2.Refusal, _Mapping]] = ...) -> None: ...

class PushedMessage(_message.Message):
    __slots__ = ("message", "user_ids", "inbox_seqs", "mode", "mode_from", "mode_to", "joined_ids", "left_ids", "dissolves", "member_ids")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    INBOX_SEQS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODE_FROM_FIELD_NUMBER: _ClassVar[int]
    MODE_TO_FIELD_NUMBER: _ClassVar[int]
    JOINED_IDS_FIELD_NUMBER: _ClassVar[int]
    LEFT_IDS_FIELD_NUMBER: _ClassVar[int]
    DISSOLVES_FIELD_NUMBER: _ClassVar[int]
    MEMBER_IDS_FIELD_NUMBER: _ClassVar[int]
    message: _common_pb2.Message
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    inbox_seqs: _containers.RepeatedScalarFieldContainer[int]
    mode: _common_pb2.Mode
    mode_from: _common_pb2.Mode
    mode_to: _common_pb2.Mode
    joined_ids: _containers.RepeatedScalarFieldContainer[str]
    left_ids: _containers.RepeatedScalarFieldContainer[str]
    dissolves: bool
    member_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, message: _Optional[_Union[_common_pb2.Message, _Mapping]] = ..., user_ids: _Optional[_Iterable[str]] = ..., inbox_seqs: _Optional[_Iterable[int]] = ..., mode: _Optional[_Union[_common_pb2.Mode, str]] = ..., mode_from: _Optional[_Union[_common_pb2.Mode, str]] = ..., mode_to: _Optional[_Union[_common_pb2.Mode, str]] = ..., joined_ids: _Optional[_Iterable[str]] = ..., left_ids: _Optional[_Iterable[str]] = ..., dissolves: _Optional[bool] = ..., member_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Live(_message.Message):
    __slots__ = ("user_id", "connection_id", "inbox_seq")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    INBOX_SEQ_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    connection_id: str
    inbox_seq: int
    def __init__(self, user_id: _Optional[str] = ..., connection_id: _Optional[str] = ..., inbox_seq: _Optional[int] = ...) -> None: ...

class Resync(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Replaced(_message.Message):
    __slots__ = ("user_id", "device_id", "connection_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    device_id: str
    connection_id: str
    def __init__(self, user_id: _Optional[str] = ..., device_id: _Optional[str] = ..., connection_id: _Optional[str] = ...) -> None: ...
