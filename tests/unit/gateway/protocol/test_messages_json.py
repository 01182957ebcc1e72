"""A message as clients get it."""

from services.gateway.protocol.messages_json import of_record, of_row
from tests.stored_rows import message_row
from tidings.wire.common_pb2 import KIND_TEXT, Message


def test_a_message_looks_alike_from_the_log_and_from_the_tables() -> None:
    row = message_row(3, reply_to=2, mentions=("bob",))
    record = Message(
        message_id=row.message_id,
        session_id=row.session_id,
        seq=row.seq,
        sender_id=row.sender_id,
        client_msg_id=row.client_msg_id,
        at_ms=row.at,
        kind=KIND_TEXT,
        body=row.body,
        reply_to=2,
        mentions=["bob"],
    )
    assert of_row(row) == of_record(record)
