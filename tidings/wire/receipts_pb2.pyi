from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Receipt(_message.Message):
    __slots__ = ("session_id", "user_id", "delivered_seq", "read_seq", "is_hidden_from_peer")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_SEQ_FIELD_NUMBER: _ClassVar[int]
    READ_SEQ_FIELD_NUMBER: _ClassVar[int]
    IS_HIDDEN_FROM_PEER_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    user_id: str
    delivered_seq: int
    read_seq: int
    is_hidden_from_peer: bool
    def __init__(self, session_id: _Optional[str] = ..., user_id: _Optional[str] = ..., delivered_seq: _Optional[int] = ..., read_seq: _Optional[int] = ..., is_hidden_from_peer: _Optional[bool] = ...) -> None: ...
