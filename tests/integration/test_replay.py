"""The log read again from its beginning, into the same tables, on the real servers: nothing changes."""

import uuid

from deploy.local.stack import Stack
from tests.integration.line import Line
from tests.unit.persister.builders import command, uuid7
from tidings import ids
from tidings.clock import SystemClock
from tidings.store.cassandra_config import CassandraConfig
from tidings.topics import MESSAGES_INBOUND, RECEIPTS_INBOUND
from tidings.wire.receipts_pb2 import Receipt

POISON = b"\xff\xff poison"


async def test_a_replay_from_offset_0_changes_no_row(servers: Stack, config: CassandraConfig) -> None:
    line = Line(servers, config)
    name = uuid.uuid4().hex[:8]
    sessions = [ids.direct_session(f"{name}-a", f"{name}-{other}") for other in "bcd"]
    poisoned = sessions[0]
    sent = [_command(session_id, number) for number in range(40) for session_id in sessions]
    async with line.services():
        for session_id in sessions:
            values = [value for its_session, value in sent if its_session == session_id]
            await line.publish(MESSAGES_INBOUND, session_id, *values[:20])
            await line.publish(
                MESSAGES_INBOUND, session_id, *([POISON] if session_id == poisoned else []), *values[10:]
            )
            await line.settled()
            said = Receipt(session_id=session_id, user_id=f"{name}-a", delivered_seq=30, read_seq=12)
            await line.publish(RECEIPTS_INBOUND, session_id, said.SerializeToString())
        await line.settled()
    before = await line.dump()
    assert len(before["messages"]) == len(sent)
    assert len(before["inbox"]) == 2 * len(sent)
    assert before["receipts"]
    letters = [letter for letter in await line.dead_letters() if letter.value == POISON]
    assert [(letter.topic, bool(letter.reason)) for letter in letters] == [(MESSAGES_INBOUND, True)]
    await line.rewind()
    async with line.services():
        await line.settled()
    assert await line.dump() == before


def _command(session_id: str, number: int) -> tuple[str, bytes]:
    client_msg_id = uuid7(SystemClock().wall_ms(), number) if number % 2 else f"id{number}"
    sender = ids.direct_users(session_id)[number % 2]
    sent = command(client_msg_id, f"text {number}", sender, session_id, segment_messages=7)
    sent.stamps.bucket_rows = 11
    return session_id, sent.SerializeToString()
