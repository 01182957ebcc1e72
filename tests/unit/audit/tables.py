"""Tables and objects as a sound deployment has them, and an audit of them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders import write_confirmed
from tests.unit.cold.world import NOW_MS, World
from tidings import ids
from tidings.audit.auditor import Audited, Auditor, AuditRules, Place
from tidings.audit.rules import Finding
from tidings.ids import DAY_MS
from tidings.store.base import KeyBucket
from tidings.store.media_rows import MediaRefRow, MediaRow
from tidings.store.memory_audit import MemoryAuditTables
from tidings.store.rows import BucketRow, InboxRow, KeyRow, MessageRow, Row

SESSION = "d:alice:bob"
MEDIA_ID = "a" * 32
OBJECT_KEY = f"20000/{MEDIA_ID}/content"


@dataclass
class Result:
    """What one pass has said, and what it has counted."""

    said: list[Finding]
    done: Audited

    @property
    def kinds(self) -> list[str]:
        return sorted(one.kind for one in self.said)

    @property
    def texts(self) -> list[str]:
        return sorted(f"{one.kind}: {one.place}: {one.problem}" for one in self.said)


class Tables:
    """A world whose messages also have keys and inbox rows."""

    def __init__(self, work_dir: Path, bucket_rows: int = 4) -> None:
        self.world = World(work_dir)
        self.walk = MemoryAuditTables(self.world.store)
        self.inboxes: Counter[str] = Counter()
        self._bucket_rows = bucket_rows

    @property
    def store(self) -> Any:
        return self.world.store

    async def session(self, *segments: tuple[int, int], session_id: str = SESSION) -> None:
        """As World.session, with keys and inbox rows of its new messages. Inbox rows are of today."""
        before = len(self.world.written.get(session_id, ()))
        for message in (await self.world.session(session_id, *segments))[before:]:
            await self.deliver(message)

    async def deliver(self, message: MessageRow) -> None:
        """Write the key, and a row in the inbox of each user."""
        rows: list[Row] = [key_of(message)]
        for user_id in ids.direct_users(message.session_id):
            self.inboxes[user_id] += 1
            rows += self.inbox_rows(user_id, self.inboxes[user_id], message)
        await write_confirmed(self.store, rows)

    def inbox_rows(self, user_id: str, number: int, message: MessageRow, at: int = NOW_MS) -> list[Row]:
        """A row of an inbox, and that of the directory before the first of a bucket."""
        bucket, place = divmod(number - 1, self._bucket_rows)
        opened = BucketRow(user_id, bucket, number, 0, number)
        content = (message.session_id, message.seq, message.message_id, message.at)
        row = InboxRow(user_id, bucket, number, *content, 0, number, at)
        return [opened, row] if place == 0 else [row]

    async def upload(self, media_id: str = MEDIA_ID, key: str = OBJECT_KEY) -> None:
        """An upload to which a message refers."""
        await self.store.add_media(MediaRow(media_id, "alice", key, "image/png", "", 3, b"s" * 32, 1, 1, 0, NOW_MS))
        await self.world.objects.put(key, _chunks(b"abc"))
        await write_confirmed(self.store, [MediaRefRow(media_id, SESSION, 1)])

    def drop(self, table: str, partition: object, key: object) -> None:
        """Delete a row by hand."""
        self.store.partition(table, partition).drop(key)

    async def write(self, *rows: Row) -> None:
        await write_confirmed(self.store, rows)

    def auditor(self, said: list[Finding] | None = None, **rules: float) -> Auditor:
        found = [] if said is None else said
        return Auditor(self.world.ports, self.walk, AuditRules(**{"settle_s": 0.0, **rules}), say=found.append)

    async def audit(self, start: Place | None = None, **rules: float) -> Result:
        """One pass."""
        said: list[Finding] = []
        done = await self.auditor(said, **rules).run(start)
        return Result(said, done)


def key_of(message: MessageRow) -> KeyRow:
    """The key of a message."""
    bucket = KeyBucket.of(message.session_id, message.client_msg_id)
    return KeyRow(
        *bucket,
        sender_id=message.sender_id,
        client_msg_id=message.client_msg_id,
        seq=message.seq,
        message_id=message.message_id,
        digest=b"d" * 32,
        at=message.at,
        log_epoch=message.log_epoch,
        log_offset=message.log_offset,
    )


def days_ago(days: float) -> int:
    return NOW_MS - int(days * DAY_MS)


async def _chunks(content: bytes) -> Any:
    yield content
