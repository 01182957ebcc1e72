"""Client library of Tidings: it retries sends, receives each message exactly once in order, and resumes.

async with Client("ws://127.0.0.1:8080", token) as client:
    sent = await client.send("hello", to="bob")
    await sent.read()
    async for message in client.messages():
        client.mark_read(message.session_id, message.seq)
"""

from tidings_client.client import Client
from tidings_client.cursors import CursorStore, FileCursorStore, MemoryCursorStore
from tidings_client.drafts import Draft, FailedDraft
from tidings_client.effects import (
    Complaint,
    CountsMoved,
    Cursor,
    Event,
    IdChanged,
    Link,
    LinkChanged,
    Status,
    StatusChanged,
    WatermarksMoved,
)
from tidings_client.errors import (
    ApiError,
    FileInUse,
    InvalidId,
    NotAuthorized,
    Replaced,
    SendFailed,
    Stopped,
    TidingsError,
    Unreachable,
)
from tidings_client.frames import Message
from tidings_client.group_calls import Added, Created, Group, LeftOut, Member, MemberPage, Placed
from tidings_client.handles import SentMessage
from tidings_client.ids import direct_session, peer_of
from tidings_client.media import Upload
from tidings_client.outbox import FileOutbox, MemoryOutbox, Outbox
from tidings_client.own_messages import Unsent
from tidings_client.rest import HistoryPage, Reader, ReceiptPage, Session, SessionPage
from tidings_client.tokens import TokenProvider, development_tokens

__all__ = [
    "Added",
    "ApiError",
    "Client",
    "Complaint",
    "CountsMoved",
    "Created",
    "Cursor",
    "CursorStore",
    "Draft",
    "Event",
    "FailedDraft",
    "FileCursorStore",
    "FileInUse",
    "FileOutbox",
    "Group",
    "HistoryPage",
    "IdChanged",
    "InvalidId",
    "LeftOut",
    "Link",
    "LinkChanged",
    "Member",
    "MemberPage",
    "MemoryCursorStore",
    "MemoryOutbox",
    "Message",
    "NotAuthorized",
    "Outbox",
    "Placed",
    "Reader",
    "ReceiptPage",
    "Replaced",
    "SendFailed",
    "SentMessage",
    "Session",
    "SessionPage",
    "Status",
    "StatusChanged",
    "Stopped",
    "TidingsError",
    "TokenProvider",
    "Unreachable",
    "Unsent",
    "Upload",
    "WatermarksMoved",
    "development_tokens",
    "direct_session",
    "peer_of",
]
