from tidings.wire import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Command(_message.Message):
    __slots__ = ("stamps", "origin", "session_id", "sender_id", "client_msg_id", "digest", "attempt", "post", "create_group", "add_members", "remove_member", "change_member", "transfer_group", "change_group", "dissolve_group", "close_segment")
    STAMPS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_MSG_ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    POST_FIELD_NUMBER: _ClassVar[int]
    CREATE_GROUP_FIELD_NUMBER: _ClassVar[int]
    ADD_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_MEMBER_FIELD_NUMBER: _ClassVar[int]
    CHANGE_MEMBER_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_GROUP_FIELD_NUMBER: _ClassVar[int]
    CHANGE_GROUP_FIELD_NUMBER: _ClassVar[int]
    DISSOLVE_GROUP_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    stamps: _common_pb2.Stamps
    origin: _common_pb2.Origin
    session_id: str
    sender_id: str
    client_msg_id: str
    digest: bytes
    attempt: int
    post: Post
    create_group: CreateGroup
    add_members: AddMembers
    remove_member: RemoveMember
    change_member: ChangeMember
    transfer_group: TransferGroup
    change_group: ChangeGroup
    dissolve_group: DissolveGroup
    close_segment: CloseSegment
    def __init__(self, stamps: _Optional[_Union[_common_pb2.Stamps, _Mapping]] = ..., origin: _Optional[_Union[_common_pb2.Origin, _Mapping]] = ..., session_id: _Optional[str] = ..., sender_id: _Optional[str] = ..., client_msg_id: _Optional[str] = ..., digest: _Optional[bytes] = ..., attempt: _Optional[int] = ..., post: _Optional[_Union[Post, _Mapping]] = ..., create_group: _Optional[_Union[CreateGroup, _Mapping]] = ..., add_members: _Optional[_Union[AddMembers, _Mapping]] = ..., remove_member: _Optional[_Union[RemoveMember, _Mapping]] = ..., change_member: _Optional[_Union[ChangeMember, _Mapping]] = ..., transfer_group: _Optional[_Union[TransferGroup, _Mapping]] = ..., change_group: _Optional[_Union[ChangeGroup, _Mapping]] = ..., dissolve_group: _Optional[_Union[DissolveGroup, _Mapping]] = ..., close_segment: _Optional[_Union[CloseSegment, _Mapping]] = ...) -> None: ...

class Post(_message.Message):
    __slots__ = ("kind", "body", "reply_to", "mentions", "media_ids")
    KIND_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    MENTIONS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_IDS_FIELD_NUMBER: _ClassVar[int]
    kind: _common_pb2.Kind
    body: bytes
    reply_to: int
    mentions: _containers.RepeatedScalarFieldContainer[str]
    media_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kind: _Optional[_Union[_common_pb2.Kind, str]] = ..., body: _Optional[bytes] = ..., reply_to: _Optional[int] = ..., mentions: _Optional[_Iterable[str]] = ..., media_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GroupSettings(_message.Message):
    __slots__ = ("share_history", "who_can_send", "who_can_add")
    SHARE_HISTORY_FIELD_NUMBER: _ClassVar[int]
    WHO_CAN_SEND_FIELD_NUMBER: _ClassVar[int]
    WHO_CAN_ADD_FIELD_NUMBER: _ClassVar[int]
    share_history: bool
    who_can_send: str
    who_can_add: str
    def __init__(self, share_history: _Optional[bool] = ..., who_can_send: _Optional[str] = ..., who_can_add: _Optional[str] = ...) -> None: ...

class CreateGroup(_message.Message):
    __slots__ = ("name", "member_ids", "settings", "blocking_ids")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMBER_IDS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    BLOCKING_IDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    member_ids: _containers.RepeatedScalarFieldContainer[str]
    settings: GroupSettings
    blocking_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., member_ids: _Optional[_Iterable[str]] = ..., settings: _Optional[_Union[GroupSettings, _Mapping]] = ..., blocking_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class AddMembers(_message.Message):
    __slots__ = ("user_ids", "blocking_ids")
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    BLOCKING_IDS_FIELD_NUMBER: _ClassVar[int]
    user_ids: _containers.RepeatedScalarFieldContainer[str]
    blocking_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user_ids: _Optional[_Iterable[str]] = ..., blocking_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class RemoveMember(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ChangeMember(_message.Message):
    __slots__ = ("user_id", "role", "muted_until_ms")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    MUTED_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    role: str
    muted_until_ms: int
    def __init__(self, user_id: _Optional[str] = ..., role: _Optional[str] = ..., muted_until_ms: _Optional[int] = ...) -> None: ...

class TransferGroup(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class ChangeGroup(_message.Message):
    __slots__ = ("name", "settings")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    settings: GroupSettings
    def __init__(self, name: _Optional[str] = ..., settings: _Optional[_Union[GroupSettings, _Mapping]] = ...) -> None: ...

class DissolveGroup(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CloseSegment(_message.Message):
    __slots__ = ("segment", "last_seq")
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    segment: int
    last_seq: int
    def __init__(self, segment: _Optional[int] = ..., last_seq: _Optional[int] = ...) -> None: ...
